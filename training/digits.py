"""The best model of digits (row A11): a residual network that has seen other pens than MNIST's, whose probabilities are
calibrated, and that says when a picture is no digit.

percept train digits-net
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.images import fit as made_to_fit
from training import calibration, corruptions, doubt, export
from training.classifier import ImageClassifier
from training.data import FASHION_MNIST, MNIST, Dataset, Split
from training.drawn_digits import drawn_digit, typed
from training.export import Exportable
from training.fit import EVALUATION_BATCH, fit
from training.recipe import DIGIT_INPUT, Recipe
from training.residual import residual_network
from training.saliency import Scores
from training.system import Trained, Workplace
from training.train import Facts, as_asked, scores_by, test_figures, trained, why_no_saliency
from training.upload_like import UploadLike

# Beside MNIST's 55,000: digits drawn by program, every fifth of them typed.
DRAWN, TYPED_SHARE, DRAWN_SEED = 8_000, 0.2, 1
DRAWN_FOR_VALIDATION, VALIDATION_SEED = 1_000, 2
# So many of the digits that no weight was chosen by are warned of as no digits: the price of warning of strangers.
WARNED_SHARE = 0.01
# Pictures of each corruption that the accuracy is measured on.
CORRUPTED_ROWS = 1_000
OTHER_STEP = 5  # every fifth test picture of clothing

OUTPUTS = {
    "logits": "Scores before the softmax; only their differences mean something.",
    "probabilities": "Softmax of the logits divided by a temperature, chosen on validation pictures so that the "
    "probability of an answer is the share of such answers that are right.",
    "unlike_training_data": "Whether all logits are small: the logarithm of the sum of their exponentials is below "
    f"what {1 - WARNED_SHARE:.0%} of digits reach that the network was not trained on.",
}

RECIPE = Recipe(
    name="digits-net",
    title="Digits, residual network",
    description="conv 3×3×32 → two residual blocks of 64 at half the size → two of 128 at a quarter → mean → dense 10; "
    f"trained on MNIST and on {DRAWN:,} digits that a program has drawn or typed, half of each batch made to look as "
    "uploads do.",
    source=MNIST,
    subject="digits",
    input=DIGIT_INPUT,
    body=lambda: residual_network((32, 64, 128), (0, 2, 2), classes=10, dropout=0.2),
    parameters=658_922,
    floor=0.997,
    epochs=26,
    batch_size=256,
    learning_rate=4e-3,
    weight_decay=2e-2,
    augmentation=UploadLike(share=0.5),
    label_smoothing=0.02,
    averaging=0.998,
    precision="bfloat16",
)
FLOORS = {
    "test_calibration": 0.995,
    "corrupted_accuracy": 0.97,
    "roc_auc_against_the_other_subject": 0.99,
    "roc_auc_against_uniform_noise": 0.999,
    "roc_auc_against_letters": 0.90,
}


class Doubting(nn.Module):
    """A classifier with calibrated probabilities and an answer to whether it should have been asked."""

    def __init__(self, classifier: nn.Module, temperature: float, least: float) -> None:
        super().__init__()
        self.classifier = classifier
        self.register_buffer("temperature", torch.tensor(temperature))
        self.register_buffer("least", torch.tensor(least))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.classifier(image)
        return logits, (logits / self.temperature).softmax(dim=1), logits.logsumexp(dim=1) < self.least


@dataclass(frozen=True)
class DigitsNet:
    options: ClassVar[frozenset[str]] = frozenset({"epochs", "seed"})
    recipe: Recipe = RECIPE

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def title(self) -> str:
        return self.recipe.title

    @property
    def floor(self) -> dict[str, float]:
        return {"test_accuracy": self.recipe.floor, **FLOORS}

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        return figures_of(workplace, graph, workplace.test(self.recipe.source))

    def scores(self, graph: bytes) -> Scores:
        return scores_by(self.recipe, graph)

    def train(self, workplace: Workplace) -> Trained:
        recipe = as_asked(self.recipe, workplace)
        why = why_no_saliency(recipe)
        dataset = workplace.dataset(recipe.source)
        found = fit(recipe, with_drawn_digits(dataset, workplace.dry_run), workplace.device)
        temperature, least = doubts(found.network, dataset.validation, recipe)
        facts = Facts(
            recipe,
            dataset,
            found,
            workplace.device,
            found.seconds,
            floor=FLOORS,
            why_no_saliency=why,
            notes=[
                "Pictures that warn of being unlike the training data are mostly none of a single digit; "
                f"{WARNED_SHARE:.0%} of true digits are warned of, too.",
                "A 1 with a long flag and a 7 without a bar are told apart by their angle alone.",
            ],
        )
        what = Exportable(Doubting(found.network, temperature, least), "image", OUTPUTS)
        return trained(facts, what, partial(workplace.test, recipe.source), partial(figures_of, workplace))


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


def doubts(network: ImageClassifier, validation: Split, recipe: Recipe) -> tuple[float, float]:
    """The temperature, and the least logarithm of the sum of exponentials that is no warning. Both by validation
    pictures as they are and as uploads look, and by drawn digits that were not trained on."""
    generator = torch.Generator().manual_seed(recipe.seed)
    as_uploads = UploadLike(share=1.0)(validation.images.float(), generator).round().to(torch.uint8)
    drawn = drawn_digits(DRAWN_FOR_VALIDATION, VALIDATION_SEED)
    clean = logits_of(network, torch.cat([validation.images, drawn.images]))
    spoilt = logits_of(network, as_uploads)
    labels = torch.cat([validation.labels, drawn.labels])
    temperature = calibration.fitted_temperature(torch.cat([clean, spoilt]), torch.cat([labels, validation.labels]))
    return temperature, float(clean.logsumexp(1).quantile(WARNED_SHARE))


@torch.inference_mode()
def logits_of(network: ImageClassifier, images: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(rows) for rows in images.split(EVALUATION_BATCH)])


def figures_of(workplace: Workplace, graph: bytes, test: Split) -> dict[str, float]:
    """Of the exported graph."""
    images, truth = test.images.numpy(), test.labels.numpy()
    answers = export.run(graph, images)
    error = calibration.expected_calibration_error(answers["probabilities"], truth)
    other = workplace.test(FASHION_MNIST).images[::OTHER_STEP].numpy()
    strange = {kind: export.run(graph, each) for kind, each in doubt.strangers(images, other, DIGIT_INPUT).items()}
    return {
        **test_figures(graph, test),
        "test_calibration": 1 - error,
        **corrupted_accuracies(graph, test.first(CORRUPTED_ROWS)),
        **doubt.figures(
            strangeness(answers),
            {kind: strangeness(each) for kind, each in strange.items()},
            {"test": answers["unlike_training_data"]}
            | {kind: each["unlike_training_data"] for kind, each in strange.items()},
        ),
    }


def corrupted_accuracies(graph: bytes, test: Split) -> dict[str, float]:
    images, truth = test.images.numpy(), test.labels.numpy()
    right = {
        kind: float((export.run(graph, corruptions.corrupted(images, kind))["logits"].argmax(1) == truth).mean())
        for kind in corruptions.KINDS
    }
    mean = float(np.mean(list(right.values())))
    return {"corrupted_accuracy": mean} | {f"{kind}_accuracy": value for kind, value in right.items()}


def strangeness(answers: export.Answers) -> NDArray[np.float64]:
    """The energy (Liu et al. 2020): the smaller all logits, the stranger."""
    logits = answers["logits"].astype(np.float64)
    return -np.asarray(np.logaddexp.reduce(logits, axis=1))


SYSTEMS = (DigitsNet(),)
