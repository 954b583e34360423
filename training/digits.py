"""The best model of digits (row A11): two residual networks that have seen other pens than MNIST's, whose probabilities
are calibrated, and that say when a picture is no digit.

percept train digits-net
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from app.images import fit as made_to_fit
from training import corruptions, export
from training.committee import Committee
from training.data import FASHION_MNIST, MNIST, Dataset, Split
from training.doubting import WARNED_SHARE, DoubtingSystem, Judged
from training.drawn_digits import drawn_digit, typed
from training.recipe import DIGIT_INPUT, Closing, Recipe
from training.residual import residual_network
from training.upload_like import UploadLike

# Beside MNIST's 55,000: digits drawn by program, every fifth of them typed.
DRAWN, TYPED_SHARE, DRAWN_SEED = 8_000, 0.2, 1
DRAWN_FOR_VALIDATION, VALIDATION_SEED = 1_000, 2
# Pictures of each corruption that the accuracy is measured on.
CORRUPTED_ROWS = 1_000

RECIPE = Recipe(
    name="digits-net",
    title="Digits, two residual networks",
    description="Two networks of their own, each conv 3×3×32 → two residual blocks of 48 at half the size → two of 80 "
    "at a quarter → mean → dense 10, and the mean of their logits; trained on MNIST and on "
    f"{DRAWN:,} digits that a program has drawn or typed, half of each batch made to look as uploads do, in the last "
    "epochs a fifth.",
    source=MNIST,
    subject="digits",
    input=DIGIT_INPUT,
    body=lambda: Committee([residual_network((32, 48, 80), (0, 2, 2), classes=10, dropout=0.2) for _ in range(2)]),
    parameters=582_420,
    floor=0.9965,
    epochs=32,
    batch_size=256,
    learning_rate=4e-3,
    weight_decay=2e-2,
    augmentation=UploadLike(share=0.5),
    closing=Closing(epochs=8, augmentation=UploadLike(share=0.2)),
    label_smoothing=0.02,
    averaging=0.998,
    precision="bfloat16",
)


def with_drawn_digits(dataset: Dataset, few: bool = False) -> Dataset:
    own, drawn = dataset.train, drawn_digits(100 if few else DRAWN, DRAWN_SEED)
    together = Split(torch.cat([own.images, drawn.images]), torch.cat([own.labels, drawn.labels]))
    return replace(dataset, train=together)


def drawn_digits(count: int, seed: int) -> Split:
    """In the geometry that the service gives uploads."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    pictures = [
        typed(str(label), rng) if rng.random() < TYPED_SHARE else drawn_digit(int(label), rng) for label in labels
    ]
    images = np.stack([made_to_fit(picture, DIGIT_INPUT).pixels for picture in pictures])
    return Split(torch.from_numpy(images), torch.from_numpy(labels))


def judged_by(validation: Split, recipe: Recipe) -> Judged:
    """Validation pictures as they are and drawn digits that were not trained on; and as uploads look."""
    generator = torch.Generator().manual_seed(recipe.seed)
    as_uploads = UploadLike(share=1.0)(validation.images.float(), generator).round().to(torch.uint8)
    drawn = drawn_digits(DRAWN_FOR_VALIDATION, VALIDATION_SEED)
    clean = Split(torch.cat([validation.images, drawn.images]), torch.cat([validation.labels, drawn.labels]))
    return Judged(clean, Split(as_uploads, validation.labels))


def corrupted_accuracies(graph: bytes, test: Split) -> dict[str, float]:
    first = test.first(CORRUPTED_ROWS)
    images, truth = first.images.numpy(), first.labels.numpy()
    right = {
        kind: float((export.run(graph, corruptions.corrupted(images, kind))["logits"].argmax(1) == truth).mean())
        for kind in corruptions.KINDS
    }
    mean = float(np.mean(list(right.values())))
    return {"corrupted_accuracy": mean} | {f"{kind}_accuracy": value for kind, value in right.items()}


FLOORS: Mapping[str, float] = {
    "test_calibration": 0.995,
    "corrupted_accuracy": 0.97,
    "roc_auc_against_the_other_subject": 0.99,
    "roc_auc_against_uniform_noise": 0.999,
    "roc_auc_against_letters": 0.90,
}
SYSTEMS = (
    DoubtingSystem(
        RECIPE,
        other=FASHION_MNIST,
        floors=FLOORS,
        judged_by=judged_by,
        trained_on=with_drawn_digits,
        more_figures=corrupted_accuracies,
        notes=(
            "Pictures that warn of being unlike the training data are mostly none of a single digit; "
            f"{WARNED_SHARE:.0%} of true digits are warned of, too.",
            "A 1 with a long flag and a 7 without a bar are told apart by their angle alone.",
        ),
    ),
)
