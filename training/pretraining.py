"""Whether pretraining helps: an encoder under a softmax layer against the same network from scratch, with few and with
many labels. Knows nothing of how the encoder came about.
"""

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from app.card import Comparison
from training.data import Dataset, Split
from training.fit import accuracy
from training.layerwise import pixels_of
from training.one_cycle import Cycle, descend
from training.system import Workplace

CLASSES = 10
SCRATCH = "from scratch"
VALIDATION_ROWS = 5_000  # of either data set
WEIGHT_DECAY = 1e-2


class Labelled(NamedTuple):
    """How a number of labels is learned from."""

    labels: int
    seeds: int
    epochs: int
    batch: int
    # Each way of starting has the rate that is best with `trials` seeds on labels of the validation split, of which it
    # has as many as it learns from: who has 100 labels to learn from has no 5,000 to choose with.
    trials: int
    rates: tuple[float, ...]


RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
PLAN = (
    Labelled(100, seeds=10, epochs=60, batch=50, trials=3, rates=RATES),
    Labelled(1_000, seeds=5, epochs=30, batch=100, trials=2, rates=RATES),
    # All labels are both splits together. The rate is chosen when 55,000 have been learned.
    Labelled(60_000, seeds=3, epochs=6, batch=512, trials=1, rates=RATES[1:]),
)
DRY_PLAN = (Labelled(100, seeds=2, epochs=1, batch=50, trials=1, rates=(1e-3, 3e-3)),)


def copied(encoder: nn.Sequential) -> nn.Sequential:
    return copy.deepcopy(encoder)


def stacked(encoder: nn.Sequential) -> nn.Sequential:
    """A copy of it under a softmax layer (its logits). No ReLU between: the code was learned without."""
    last = encoder[-1]
    assert isinstance(last, nn.Linear)
    return nn.Sequential(copied(encoder), nn.Linear(last.out_features, CLASSES).to(last.weight.device))


def anew(encoder: nn.Sequential) -> nn.Sequential:
    """The same layers with weights as PyTorch draws them."""
    fresh = copied(encoder)
    for layer in fresh:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    return fresh


def balanced(labels: Tensor, count: int, seed: int) -> Tensor:
    """The numbers of `count` rows, as many of each class, drawn anew with each seed."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    return torch.cat([order[labels[order] == label][: count // CLASSES] for label in range(CLASSES)])


def classify(start: nn.Sequential, split: Split, how: Labelled, rate: float, seed: int) -> nn.Sequential:
    """All layers learn."""
    torch.manual_seed(seed)
    network = stacked(start)
    device = next(network.parameters()).device
    pixels, labels = pixels_of(split.images).to(device), split.labels.to(device)
    steps = descend(
        list(network.parameters()),
        lambda numbers: F.cross_entropy(network(pixels[numbers]), labels[numbers]),
        len(labels),
        Cycle(how.epochs, how.batch, rate, WEIGHT_DECAY),
    )
    for _ in steps:
        pass
    return network.eval()


@torch.inference_mode()
def accuracy_of(network: nn.Sequential, split: Split) -> float:
    device = next(network.parameters()).device
    return accuracy(network(pixels_of(split.images).to(device)), split.labels.to(device))


@dataclass(frozen=True)
class Tested:
    """Test accuracies by number of labels and start, one for each seed."""

    accuracies: Mapping[int, Mapping[str, NDArray[np.float64]]]
    rates: Mapping[int, Mapping[str, float]]
    plan: Sequence[Labelled]

    def comparisons(self) -> list[Comparison]:
        """For each number of labels; the spread is the standard deviation over seeds."""
        return [
            Comparison(
                what=f"the encoder under a softmax layer, {how.labels:,} labels, {how.seeds} seeds: test accuracy, "
                f"mean and standard deviation. {chosen_by(how)}",
                metrics={
                    f"{start.replace(' ', '_').replace('-', '_')}_{figure}": value
                    for start, values in self.accuracies[how.labels].items()
                    for figure, value in (
                        ("mean", float(values.mean())),
                        ("deviation", float(values.std(ddof=1))),
                        ("learning_rate", self.rates[how.labels][start]),
                    )
                },
            )
            for how in self.plan
        ]

    def outcome(self) -> str:
        """What came out, in a sentence for each start but the one from scratch."""
        starts = [start for start in next(iter(self.accuracies.values())) if start != SCRATCH]
        return " ".join(
            f"Under a classifier, {start} instead of {SCRATCH} changed the test accuracy by "
            + ", ".join(self._gain(labels, start) for labels in self.accuracies)
            + "."
            for start in starts
        )

    def _gain(self, labels: int, start: str) -> str:
        """In points; ± is the standard error of the difference of the two means."""
        before, after = self.accuracies[labels][SCRATCH], self.accuracies[labels][start]
        error = (before.var(ddof=1) / len(before) + after.var(ddof=1) / len(after)) ** 0.5
        return f"{after.mean() - before.mean():+.1%} ± {error:.1%} with {labels:,} labels"


def chosen_by(how: Labelled) -> str:
    seeds = "1 seed" if how.trials == 1 else f"{how.trials} seeds"
    labels = "as many labels" if how.labels < VALIDATION_ROWS else f"the {VALIDATION_ROWS:,} labels"
    learned = "" if how.labels < VALIDATION_ROWS else ", the others learned"
    rates = ", ".join(f"{rate:g}" for rate in how.rates)
    return f"The learning rate, of {rates}, is the best of {seeds} on {labels} of the validation split{learned}"


@dataclass(frozen=True)
class Tried:
    """The networks of the chosen rates, before anything is tested."""

    plan: Sequence[Labelled]
    networks: dict[int, dict[str, list[nn.Sequential]]] = field(default_factory=dict)
    rates: dict[int, dict[str, float]] = field(default_factory=dict)

    def tested(self, test: Split) -> Tested:
        """The one look at the test split."""
        accuracies = {
            labels: {
                start: np.array([accuracy_of(network, test) for network in networks])
                for start, networks in by_start.items()
            }
            for labels, by_start in self.networks.items()
        }
        return Tested(accuracies, self.rates, self.plan)


def compare(encoders: Mapping[str, nn.Sequential], dataset: Dataset, workplace: Workplace, name: str) -> Tried:
    """Each of the encoders, and one from scratch, learns from the same labels; every seed draws others."""
    plan = DRY_PLAN if workplace.dry_run else PLAN
    tried, ways = Tried(plan), (SCRATCH, *encoders)
    total = sum((how.trials * len(how.rates) + how.seeds) * len(ways) for how in plan)
    with tqdm(total=total, desc=f"{name}, under a classifier", file=sys.stderr, dynamic_ncols=True) as bar:

        def learned(start: str, how: Labelled, split: Split, rate: float, seed: int) -> nn.Sequential:
            torch.manual_seed(seed)
            below = encoders[start] if start in encoders else anew(next(iter(encoders.values())))
            network = classify(below, split, how, rate, seed)
            bar.update()
            return network

        for how in plan:
            tried.networks[how.labels], tried.rates[how.labels] = {}, {}
            trials = [(seed, *trial(dataset, how.labels, seed)) for seed in range(how.trials)]
            for start in ways:
                by_rate = {
                    rate: [
                        accuracy_of(learned(start, how, split, rate, seed), held_out)
                        for seed, split, held_out in trials
                    ]
                    for rate in how.rates
                }
                rate = best_rate(by_rate)
                tried.rates[how.labels][start] = rate
                tried.networks[how.labels][start] = [
                    learned(start, how, labelled(dataset, how.labels, seed), rate, seed) for seed in range(how.seeds)
                ]
    return tried


def best_rate(accuracies: Mapping[float, Sequence[float]]) -> float:
    """By the mean over trials; the smallest of equals."""
    return max(sorted(accuracies), key=lambda rate: sum(accuracies[rate]))


def labelled(dataset: Dataset, labels: int, seed: int) -> Split:
    """So many labelled pictures of the training split; of both splits, all of them, if it has not so many."""
    train, validation = dataset.train, dataset.validation
    if labels > len(train):
        return Split(torch.cat([train.images, validation.images]), torch.cat([train.labels, validation.labels]))
    return few(train, labels, seed)


def trial(dataset: Dataset, labels: int, seed: int) -> tuple[Split, Split]:
    """What a rate is tried with: pictures to learn from, and as many others to judge it by. Both are all there are
    where there are not so many."""
    return few(dataset.train, labels, seed), few(dataset.validation, labels, seed)


def few(split: Split, labels: int, seed: int) -> Split:
    if labels >= len(split):
        return split
    rows = balanced(split.labels, labels, seed)
    return Split(split.images[rows], split.labels[rows])
