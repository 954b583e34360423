"""Iris by an MLP with batch normalisation, on twenty stratified splits that are trained as one: every weight has a
first axis for the split."""

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from sklearn.model_selection import StratifiedShuffleSplit
from torch import Tensor, nn
from tqdm import tqdm

from app.card import Card, Comparison, DatasetFacts, Feature, RowsInput
from training import export, figures
from training.classifier import OUTPUTS, WithProbabilities
from training.export import Exportable
from training.system import NO_OPTIONS, Trained, Workplace, training_facts

SPLITS, TEST_SHARE, SPLIT_SEED = 20, 0.25, 0
SIZES = ((128, 4), (64, 128), (32, 64), (16, 32), (3, 16))
NORMALISED = 3  # the first layers have batch normalisation behind them
LABELS = ("setosa", "versicolor", "virginica")
FEATURES = ("sepal length", "sepal width", "petal length", "petal width")
EXAMPLE = (5.9, 3.0, 4.2, 1.5)
DIGITS = 4  # of a feature's mean
EPSILON = 1e-5  # as nn.BatchNorm1d has it
SEED = 1
BY_SPLIT = "probabilities_by_split"
ALL_OUTPUTS = OUTPUTS | {
    BY_SPLIT: f"As probabilities, by the network of each of the {SPLITS} splits: [{SPLITS}, 3] for each row. The first "
    "is the one that answers; the others are there so that mean_test_accuracy can be measured again.",
}


@dataclass(frozen=True)
class Rows:
    """[splits, rows, 4] and [splits, rows]."""

    features: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Settings:
    """How the networks are trained. The second half of the epochs is averaged if `averages`."""

    epochs: int
    batch_size: int
    learning_rate: float
    smoothing: float = 0.0
    weight_decay: float = 0.0
    averages: bool = False
    adam: bool = True

    @property
    def in_words(self) -> str:
        return f"weight decay {self.weight_decay:g}, smoothing {self.smoothing:g}, learning rate {self.learning_rate:g}"


COURSE = Settings(epochs=200, batch_size=4, learning_rate=0.001, adam=False)
# Each split chooses among these by its own training part alone. Of settings that do as well, the first is taken: what
# holds the network back most comes first.
GRID = tuple(
    Settings(60, 28, learning_rate, smoothing, weight_decay, averages=True)
    for weight_decay, smoothing, learning_rate in product((2.0, 0.2, 0.02), (0.2, 0.1, 0.0), (0.005, 0.02))
)
INNER_SPLITS = 5


@dataclass
class Networks:
    """One for each split. `weights`: weight and bias of each layer, then scale and shift of each normalisation."""

    weights: list[Tensor]
    means: list[Tensor] = field(default_factory=list)
    variances: list[Tensor] = field(default_factory=list)

    def logits(self, rows: Tensor, statistics: Sequence[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """[splits, rows, 3]. With the statistics of the batch unless others are given."""
        layers, scales = self.weights[: 2 * len(SIZES)], self.weights[2 * len(SIZES) :]
        hidden, own = rows, []
        for place in range(len(SIZES)):
            weight, bias = layers[2 * place : 2 * place + 2]
            hidden = torch.einsum("sri,soi->sro", hidden, weight) + bias[:, None]
            if place < NORMALISED:
                mean, variance = statistics[place] if statistics else (hidden.mean(1), hidden.var(1, correction=0))
                own.append((mean.detach(), variance.detach()))
                scale, shift = scales[2 * place : 2 * place + 2]
                normal = (hidden - mean[:, None]) / (variance[:, None] + EPSILON).sqrt()
                hidden = normal * scale[:, None] + shift[:, None]
            if place < len(SIZES) - 1:
                hidden = F.relu(hidden)
        self.means, self.variances = [mean for mean, _ in own], [variance for _, variance in own]
        return hidden

    def at(self, splits: Tensor) -> "Networks":
        """Those of some splits, with the statistics that they have now."""
        parts = (self.weights, self.means, self.variances)
        return Networks(*([tensor[splits] for tensor in part] for part in parts))

    @staticmethod
    def side_by_side(several: Sequence["Networks"]) -> "Networks":
        parts = (zip(*each, strict=True) for each in zip(*(vars(one).values() for one in several), strict=True))
        return Networks(*([torch.cat(tensors) for tensors in part] for part in parts))

    def of_split(self, split: int) -> nn.Sequential:
        """One of them as a module, in evaluation mode, with the statistics that it has now."""
        body = nn.Sequential()
        for place, (outputs, inputs) in enumerate(SIZES):
            layer = nn.Linear(inputs, outputs)
            layer.weight.data, layer.bias.data = (
                tensor[split].clone() for tensor in self.weights[2 * place : 2 * place + 2]
            )
            body.add_module("logits" if place == len(SIZES) - 1 else f"dense{place + 1}", layer)
            if place < NORMALISED:
                norm = nn.BatchNorm1d(outputs)
                at = 2 * len(SIZES) + 2 * place
                norm.weight.data, norm.bias.data = (tensor[split].clone() for tensor in self.weights[at : at + 2])
                norm.running_mean, norm.running_var = self.means[place][split], self.variances[place][split]
                body.add_module(f"norm{place + 1}", norm)
            if place < len(SIZES) - 1:
                body.add_module(f"relu{place + 1}", nn.ReLU())
        return body.eval()


class EverySplit(nn.Module):
    """Networks side by side, their normalisation folded into the layers before it: rows → logits [rows, splits, 3]."""

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        layers, scales = networks.weights[: 2 * len(SIZES)], networks.weights[2 * len(SIZES) :]
        for place in range(len(SIZES)):
            weight, bias = layers[2 * place : 2 * place + 2]
            if place < NORMALISED:
                scale, shift = scales[2 * place : 2 * place + 2]
                factor = scale / (networks.variances[place] + EPSILON).sqrt()
                weight = weight * factor[..., None]
                bias = (bias - networks.means[place]) * factor + shift
            self.register_buffer(f"weight{place + 1}", weight.mT.contiguous())  # [splits, inputs, outputs]
            self.register_buffer(f"bias{place + 1}", bias[:, None].contiguous())

    def forward(self, rows: Tensor) -> Tensor:
        hidden = rows
        for place in range(1, len(SIZES) + 1):
            hidden = hidden @ self.get_buffer(f"weight{place}") + self.get_buffer(f"bias{place}")
            if place < len(SIZES):
                hidden = F.relu(hidden)
        return hidden.transpose(0, 1)


class ServedAndOthers(nn.Module):
    """What is served by one network, and the probabilities of all."""

    def __init__(self, served: nn.Module, every: EverySplit) -> None:
        super().__init__()
        self.served, self.every = WithProbabilities(served), every

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return *self.served(rows), self.every(rows).softmax(dim=2)


def begin(splits: int, generator: torch.Generator) -> Networks:
    """As PyTorch begins its layers."""
    weights: list[Tensor] = []
    for outputs, inputs in SIZES:
        bound = inputs**-0.5
        for shape in ((splits, outputs, inputs), (splits, outputs)):
            weights.append((torch.rand(shape, generator=generator) * 2 - 1) * bound)
    for outputs, _ in SIZES[:NORMALISED]:
        weights += [torch.ones(splits, outputs), torch.zeros(splits, outputs)]
    return Networks(weights)


def fit(name: str, train: Rows, settings: Settings, seed: int) -> tuple[Networks, figures.Runs]:
    """Networks whose statistics are those of all their training rows; and of each epoch and split the cross-entropy,
    without the smoothing by which it may have learned, and the share of right answers, as the batches gave them."""
    generator = torch.Generator().manual_seed(seed)
    splits, rows = train.labels.shape
    networks = begin(splits, generator)
    for weight in networks.weights:
        weight.requires_grad_()
    steps = settings.epochs * -(-rows // settings.batch_size)
    optimizer: torch.optim.Optimizer
    if settings.adam:
        optimizer = torch.optim.AdamW(networks.weights, settings.learning_rate, weight_decay=settings.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps + 1)
    else:
        optimizer, schedule = torch.optim.SGD(networks.weights, settings.learning_rate), None
    averages, averaged = [torch.zeros_like(weight) for weight in networks.weights], 0
    curves: list[tuple[Tensor, Tensor]] = []
    for epoch in tqdm(range(settings.epochs), desc=name, file=sys.stderr, dynamic_ncols=True):
        order = torch.rand(splits, rows, generator=generator).argsort(1)
        losses, right = torch.zeros(splits), torch.zeros(splits)
        for chosen in order.split(settings.batch_size, dim=1):
            features = train.features.gather(1, chosen[..., None].expand(-1, -1, 4))
            logits, truth = networks.logits(features), train.labels.gather(1, chosen)
            optimizer.zero_grad(set_to_none=True)
            cross_entropies(logits, truth, settings.smoothing).mean(1).sum().backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            losses += cross_entropies(logits.detach(), truth).sum(1)
            right += (logits.argmax(2) == truth).sum(1)
        curves.append((losses / rows, right / rows))
        if settings.averages and 2 * epoch >= settings.epochs:
            averaged += 1
            for average, weight in zip(averages, networks.weights, strict=True):
                average += (weight.detach() - average) / averaged
    final = Networks(averages if averaged else [weight.detach() for weight in networks.weights])
    final.logits(train.features)
    losses_by_epoch, right_by_epoch = (torch.stack(each).numpy() for each in zip(*curves, strict=True))
    return final, figures.Runs(losses_by_epoch, right_by_epoch)


def cross_entropies(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """[splits, rows]"""
    flat = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none", label_smoothing=smoothing)
    return flat.view(labels.shape)


def accuracies(networks: Networks, rows: Rows) -> tuple[Tensor, Tensor]:
    """Of each split; and the answers."""
    statistics = list(zip(networks.means, networks.variances, strict=True))
    answers = networks.logits(rows.features, statistics).argmax(2)
    return (answers == rows.labels).float().mean(1), answers


def flowers() -> tuple[Tensor, Tensor]:
    """float32 [150, 4], in cm, and the species int64 [150]"""
    bunch = load_iris()
    return torch.tensor(bunch.data, dtype=torch.float32), torch.tensor(bunch.target)


def described(train: Rows) -> RowsInput:
    """What is taken, with the means of the flowers that the served network has learned from."""
    means = train.features[0].double().mean(0).tolist()
    return RowsInput(
        features=[
            Feature(name=name, unit="cm", example=example, usual=[round(mean, DIGITS)])
            for name, example, mean in zip(FEATURES, EXAMPLE, means, strict=True)
        ]
    )


def digest() -> str:
    bunch = load_iris()
    return hashlib.sha256(bunch.data.tobytes() + bunch.target.tobytes()).hexdigest()


def split_rows(features: Tensor, labels: Tensor, seed: int) -> tuple[Rows, Rows]:
    """Training and test parts of twenty stratified splits."""
    shuffled = StratifiedShuffleSplit(SPLITS, test_size=TEST_SHARE, random_state=seed).split(features, labels)
    train, test = (torch.tensor(np.stack(parts)) for parts in zip(*shuffled, strict=True))
    return Rows(features[train], labels[train]), Rows(features[test], labels[test])


def inner_splits(train: Rows) -> tuple[Rows, Rows]:
    """Of every training part five stratified splits, one after the other: [splits · 5, 84, …] to learn from and
    [splits · 5, 28, …] to choose by."""
    shuffler = StratifiedShuffleSplit(INNER_SPLITS, test_size=TEST_SHARE, random_state=SPLIT_SEED)
    parts: list[list[Tensor]] = []
    for features, labels in zip(train.features, train.labels, strict=True):
        for chosen in shuffler.split(features, labels):
            parts.append([part[torch.tensor(rows)] for rows in chosen for part in (features, labels)])
    learned_features, learned_labels, held_features, held_labels = (
        torch.stack(each) for each in zip(*parts, strict=True)
    )
    return Rows(learned_features, learned_labels), Rows(held_features, held_labels)


def inner_accuracies(name: str, train: Rows, grid: Sequence[Settings], seed: int) -> Tensor:
    """float64 [settings, splits]: how often each is right on parts of the split's own training part that it did not
    learn from. No test part is looked at."""
    learned, held_out = inner_splits(train)
    shares = []
    for place, settings in enumerate(grid, start=1):
        networks, _ = fit(f"{name}: settings {place} of {len(grid)}", learned, settings, seed)
        shares.append(accuracies(networks, held_out)[0].view(-1, INNER_SPLITS).mean(1))
    # Rounded, so that sums of the same numbers in another order are as good as each other, and the first is taken.
    return torch.stack(shares).double().round(decimals=6)


def first_of_the_best(accuracies: Tensor) -> list[int]:
    """Of each column, [settings, columns] → the first row that no other is above."""
    places: list[int] = (accuracies == accuracies.amax(0)).int().argmax(0).tolist()
    return places


def fit_chosen(
    name: str, train: Rows, grid: Sequence[Settings], chosen: Sequence[int], seed: int
) -> tuple[Networks, figures.Runs]:
    """Each split by its own settings; all begin as they would with one for all."""
    splits = len(chosen)
    networks: list[Networks] = []
    runs: list[figures.Runs] = []
    order: list[int] = []
    for place in sorted(set(chosen)):
        fitted, curves = fit(f"{name}: {place + 1}", train, grid[place], seed)
        mine = [split for split in range(splits) if chosen[split] == place]
        networks.append(fitted.at(torch.tensor(mine)))
        runs.append(figures.Runs(curves.losses[:, mine], curves.right[:, mine]))
        order += mine
    back = torch.tensor(order).argsort()
    losses, right = (np.concatenate([getattr(each, part) for each in runs], 1)[:, back] for part in ("losses", "right"))
    return Networks.side_by_side(networks).at(back), figures.Runs(losses, right)


def answers_by_split(graph: bytes, test: Rows) -> NDArray[np.int64]:
    """[splits, rows]: what the network of each split answers to its own test part."""
    splits, rows = test.labels.shape
    probabilities = export.run(graph, test.features.flatten(0, 1).numpy())[BY_SPLIT].reshape(splits, rows, splits, -1)
    every = np.arange(splits)
    answers: NDArray[np.int64] = probabilities[every, :, every].argmax(2)
    return answers


def test_figures(accuracies: NDArray[np.floating]) -> dict[str, float]:
    """Of one accuracy for each split."""
    return {
        "mean_test_accuracy": float(accuracies.mean(dtype=np.float64)),
        "spread_of_test_accuracy": float(accuracies.std(ddof=1, dtype=np.float64)),
        "lowest_test_accuracy": float(accuracies.min()),
    }


def in_words(chosen: Sequence[int], grid: Sequence[Settings]) -> str:
    """Which settings how many splits chose, the most frequent first."""
    return (
        "; ".join(
            f"{grid[place].in_words} in {number} of {len(chosen)}" for place, number in Counter(chosen).most_common()
        )
        + "."
    )


@dataclass(frozen=True)
class Iris:
    options: ClassVar[frozenset[str]] = NO_OPTIONS
    name: str = "iris-mlp"
    title: str = "Iris by an MLP"

    @property
    def floor(self) -> dict[str, float]:
        return {"mean_test_accuracy": 0.97}

    def takes(self) -> RowsInput:
        return described(split_rows(*flowers(), SPLIT_SEED)[0])

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        """Of the networks of all splits, each on its own test part, and of the one that is served."""
        _, test = split_rows(*flowers(), SPLIT_SEED)
        truth = test.labels.numpy()
        served = export.run(graph, test.features[0].numpy())["probabilities"].argmax(1)
        return test_figures((answers_by_split(graph, test) == truth).mean(1)) | {
            "test_accuracy_of_the_served_split": float((served == truth[0]).mean())
        }

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        features, labels = flowers()
        train, test = split_rows(features, labels, SPLIT_SEED)
        course, grid = COURSE, GRID
        if workplace.dry_run:
            course, grid = replace(COURSE, epochs=2), tuple(replace(each, epochs=2) for each in GRID[:2])
        reference, their_runs = fit(f"{self.name} (the course's)", train, course, SEED)
        inner = inner_accuracies(self.name, train, grid, SEED)
        chosen = first_of_the_best(inner)
        networks, runs = fit_chosen(self.name, train, grid, chosen, SEED)
        [common] = first_of_the_best(inner.mean(1, keepdim=True))
        one_for_all, _ = fit(f"{self.name} (one setting for all)", train, grid[common], SEED)
        body = networks.of_split(0)
        what = Exportable(ServedAndOthers(body, EverySplit(networks)), "rows", ALL_OUTPUTS)
        graph = export.to_onnx(what, features[:2])
        told = {
            "validation_accuracy_of_what_was_chosen": inner.amax(0).mean().item(),
            "onnx_max_difference": export.check_parity(what, graph, features[::2]),
        }
        theirs, _ = accuracies(reference, test)
        alike, _ = accuracies(one_for_all, test)
        answers = answers_by_split(graph, test)
        ours = (answers == test.labels.numpy()).mean(1)
        seconds = time.perf_counter() - start
        served = grid[chosen[0]]
        card = Card(
            name=self.name,
            title=self.title,
            description="4 → 128 BN → 64 BN → 32 BN → 16 → 3, ReLU between.",
            task="classification",
            input=described(train),
            outputs=ALL_OUTPUTS,
            notes=[
                f"Accuracies are those of {SPLITS} networks on {SPLITS} stratified splits of 112 and 38 flowers; the "
                "first of them is served. One flower is 2.6 % of a test part: a figure of a single split says little.",
                "Weight decay, label smoothing and learning rate were chosen inside each split, of "
                f"{len(grid)} settings by the accuracy on {INNER_SPLITS} inner splits of its own training part (84 and "
                "28 flowers); of the best the first was taken, the strongest weight decay and smoothing first. "
                f"{in_words(chosen, grid)}",
                "The curves of the training are those of its batches as the networks saw them, normalised by the "
                "batch: of 4 flowers in the course's run, which is why its accuracy there is far below that on test "
                "parts.",
                "Parameters and layers are those of the served network; the graph holds all of them.",
            ],
            labels=list(LABELS),
            parameters=sum(parameter.numel() for parameter in body.parameters()),
            layers=export.layer_table(body, body, features[:1]),
            metrics=told | self.evaluate(graph, workplace, told),
            floor=self.floor,
            dataset=DatasetFacts(
                name="iris",
                source="Fisher 1936, as scikit-learn carries it",
                licence="public domain",
                train_rows=len(train.labels[0]),
                validation_rows=0,
                test_rows=len(test.labels[0]),
                sha256={"load_iris": digest()},
            ),
            training=training_facts(
                self.name,
                workplace,
                "AdamW, one-cycle schedule; weights averaged over the second half of the epochs; the served network's "
                f"label smoothing is {served.smoothing:g}",
                served.epochs,
                seconds,
                seed=SEED,
                batch_size=served.batch_size,
                learning_rate=served.learning_rate,
                weight_decay=served.weight_decay,
            ),
            comparisons=[
                Comparison(
                    what="the course's run: SGD, learning rate 0.001, batches of 4, 200 epochs, the same splits",
                    metrics=test_figures(theirs.numpy()),
                ),
                Comparison(
                    what=f"one setting for all splits: {grid[common].in_words}; chosen by all training parts "
                    "together, in which every test flower is some other split's to learn from",
                    metrics=test_figures(alike.numpy()),
                ),
            ],
        )
        truth = test.labels.flatten().numpy()
        return Trained(
            graph,
            card,
            export.golden_rows(what, features[::40]),
            {
                "training": figures.training_bands(
                    {"AdamW": runs, "the course's SGD": their_runs},
                    "cross-entropy",
                    "splits",
                    "epoch",
                    "training batches",
                ),
                "splits": figures.split_accuracies(
                    {"ours": ours, "the course's": theirs.numpy()}, self.floor["mean_test_accuracy"]
                ),
                "confusion": figures.confusion_matrix(truth, answers.flatten(), LABELS, "flowers"),
            },
        )


SYSTEMS = (Iris(),)
