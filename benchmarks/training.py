"""Our loop against the plain PyTorch tutorial loop, on the CPU: seconds until each reaches the same accuracy.

    .venv/bin/python -m benchmarks.training mnist-cnn --data …

Both train the recipe's network on the same training pictures; the accuracy to reach is the recipe's floor, on the
validation split, looked at after each epoch.
The tutorial's loop is that of pytorch/examples `mnist/main.py`: a data set that transforms one picture at a time, a
`DataLoader`, Adam, float32 and one `.item()` per batch. Each runs in a process of its own, in turn, so that what one
tells the allocator does not help the other. Our schedule is as long as the training, so its length has to be chosen
beforehand: 1, 2, 3 … epochs are tried, and the time is that of the first run that arrives, not of the search.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from app.card import Epoch
from training.__main__ import RECIPES
from training.classifier import ImageClassifier
from training.data import Dataset, Split, load
from training.fit import build, evaluate, fit
from training.recipe import Recipe

TUTORIAL_BATCH = 64
TUTORIAL_LEARNING_RATE = 1e-3
CPU = torch.device("cpu")

# Recipe, data set, the accuracy to reach, the most epochs to try → seconds and epochs.
Contestant = Callable[[Recipe, Dataset, float, int], tuple[float, int]]


class OneByOne(TorchDataset[tuple[Tensor, Tensor]]):
    """A picture at a time, as torchvision's data sets give them: to float, then normalised."""

    def __init__(self, split: Split, mean: float, std: float) -> None:
        self.split, self.mean, self.std = split, mean, std

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return (self.split.images[row].float() / 255 - self.mean) / self.std, self.split.labels[row]


def tutorial_seconds(recipe: Recipe, dataset: Dataset, accuracy: float, most_epochs: int) -> tuple[float, int]:
    torch.manual_seed(recipe.seed)
    network = build(recipe, recipe.body(), dataset.train)
    mean, std = network.mean.item(), network.std.item()
    loader = DataLoader(OneByOne(dataset.train, mean, std), TUTORIAL_BATCH, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), TUTORIAL_LEARNING_RATE)
    start = time.perf_counter()
    for epoch in range(1, most_epochs + 1):
        tutorial_epoch(network.body, loader, optimizer)
        if validation_accuracy(network, dataset) >= accuracy:
            return time.perf_counter() - start, epoch
    raise RuntimeError(f"the tutorial's loop did not reach {accuracy} in {most_epochs} epochs")


def tutorial_epoch(
    body: nn.Module, loader: DataLoader[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer
) -> None:
    body.train()
    running = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(body(images), labels)
        loss.backward()
        optimizer.step()
        running += loss.item()


def validation_accuracy(network: ImageClassifier, dataset: Dataset) -> float:
    return evaluate(network, dataset.validation)[1]


def our_seconds(recipe: Recipe, dataset: Dataset, accuracy: float, most_epochs: int) -> tuple[float, int]:
    """The fewest epochs whose schedule, run to its end, reaches the accuracy; and the time of that run."""
    for epochs in range(1, most_epochs + 1):
        fitted = fit(replace(recipe, epochs=epochs), dataset, CPU)
        last: Epoch = fitted.history[-1]
        if last.validation_accuracy >= accuracy:
            return fitted.seconds, epochs
    raise RuntimeError(f"our loop did not reach {accuracy} in {most_epochs} epochs")


def measure(contestant: Contestant, options: argparse.Namespace) -> tuple[float, int]:
    recipe = RECIPES[options.model]
    accuracy = options.accuracy or recipe.floor
    return contestant(recipe, load(recipe.source, options.data), accuracy, options.most_epochs)


def alone(contestant: Contestant, options: argparse.Namespace) -> tuple[float, int]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, contestant, options).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=RECIPES)
    parser.add_argument("--accuracy", type=float, help="instead of the recipe's floor")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PERCEPT_DATA", "data")))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most-epochs", type=int, default=40)
    options = parser.parse_args()
    ratios = []
    for number in range(1, options.rounds + 1):
        ours, our_epochs = alone(our_seconds, options)
        theirs, their_epochs = alone(tutorial_seconds, options)
        ratios.append(theirs / ours)
        print(
            f"round {number}: {options.model}: ours {ours:.1f} s ({our_epochs} epochs), "
            f"the tutorial's {theirs:.1f} s ({their_epochs} epochs), ratio {ratios[-1]:.1f}",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()
