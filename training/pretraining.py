"""Whether pretraining helps: an encoder under a softmax layer against the same network from scratch, with few and with
many labels. Knows nothing of how the encoder came about.
"""

import copy
import sys
from collections.abc import Mapping
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
from training.layerwise import descend, pixels_of
from training.system import Workplace

CLASSES = 10
SCRATCH = "from scratch"


class Labelled(NamedTuple):
    """How a number of labels is learned from."""

    labels: int
    seeds: int
    epochs: int
    batch: int
    rates: tuple[float, ...]  # the best on the validation split is taken, for each way of starting its own


RATES = (1e-3, 3e-3, 1e-2)
# All labels are training and validation split together: nothing is left to choose a rate with.
PLAN = (
    Labelled(100, seeds=10, epochs=60, batch=50, rates=RATES),
    Labelled(1_000, seeds=5, epochs=40, batch=100, rates=RATES),
    Labelled(60_000, seeds=2, epochs=8, batch=256, rates=(2e-3,)),
)
DRY_PLAN = (Labelled(100, seeds=2, epochs=1, batch=50, rates=(1e-3, 3e-3)),)


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
        how.epochs,
        None,
        rate,
        how.batch,
        weight_decay=1e-2,
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

    def comparisons(self) -> list[Comparison]:
        """For each number of labels; the spread is the standard deviation over seeds."""
        return [
            Comparison(
                what=f"the encoder under a softmax layer, {labels:,} labels, "
                f"{len(next(iter(by_start.values())))} seeds: test accuracy, mean and standard deviation",
                metrics={
                    f"{start.replace(' ', '_').replace('-', '_')}_{figure}": value
                    for start, values in by_start.items()
                    for figure, value in (
                        ("mean", float(values.mean())),
                        ("deviation", float(values.std(ddof=1))),
                        ("learning_rate", self.rates[labels][start]),
                    )
                },
            )
            for labels, by_start in self.accuracies.items()
        ]


@dataclass(frozen=True)
class Tried:
    """The networks of the chosen rates, before anything is tested."""

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
        return Tested(accuracies, self.rates)


def compare(encoders: Mapping[str, nn.Sequential], dataset: Dataset, workplace: Workplace, name: str) -> Tried:
    """Each of the encoders, and one from scratch, learns from the same labels; every seed draws others."""
    plan = DRY_PLAN if workplace.dry_run else PLAN
    tried, ways = Tried(), (SCRATCH, *encoders)
    total = sum(how.seeds * len(how.rates) * len(ways) for how in plan)
    with tqdm(total=total, desc=f"{name}, under a classifier", file=sys.stderr, dynamic_ncols=True) as bar:
        for how in plan:
            splits = [_labelled(dataset, how, seed) for seed in range(how.seeds)]
            tried.networks[how.labels], tried.rates[how.labels] = {}, {}
            for start in ways:
                by_rate: dict[float, list[nn.Sequential]] = {}
                for rate in how.rates:
                    by_rate[rate] = []
                    for seed, split in enumerate(splits):
                        torch.manual_seed(seed)
                        below = encoders[start] if start in encoders else anew(next(iter(encoders.values())))
                        by_rate[rate].append(classify(below, split, how, rate, seed))
                        bar.update()
                rate = best_rate(by_rate, dataset.validation)
                tried.networks[how.labels][start], tried.rates[how.labels][start] = by_rate[rate], rate
    return tried


def best_rate(by_rate: Mapping[float, list[nn.Sequential]], validation: Split) -> float:
    """By the mean over seeds."""
    if len(by_rate) == 1:
        return next(iter(by_rate))
    return max(by_rate, key=lambda rate: sum(accuracy_of(network, validation) for network in by_rate[rate]))


def _labelled(dataset: Dataset, how: Labelled, seed: int) -> Split:
    train, validation = dataset.train, dataset.validation
    if how.labels > len(train):
        return Split(torch.cat([train.images, validation.images]), torch.cat([train.labels, validation.labels]))
    rows = balanced(train.labels, how.labels, seed)
    return Split(train.images[rows], train.labels[rows])
