"""What going backwards costs beside going forwards: PyTorch's gradients by the weights, and by the pixels as the
exported graphs compute them. The course says 1.5 to 2 times.

.venv/bin/python -m benchmarks.backward --rounds 15
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from app.gradient_saliency import FILE, MODEL_FILE
from app.runtime import CPU, open_session
from benchmarks.environments import ROOT
from training.cnn import RECIPES as CNN_RECIPES
from training.mlp import RECIPES as MLP_RECIPES

BATCH, EXPLAINED = 256, 16


def seconds(function: Callable[[], object], rounds: int) -> float:
    """The median, after one that is not counted."""
    function()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def by_weights(network: nn.Module, rounds: int) -> tuple[float, float]:
    """Seconds of a batch forwards, and of the pass backwards alone."""
    pictures, labels = torch.rand(BATCH, 28, 28), torch.arange(BATCH) % 10

    def forwards() -> torch.Tensor:
        return F.cross_entropy(network(pictures), labels)

    def both() -> None:
        network.zero_grad(set_to_none=True)
        forwards().backward()

    with torch.no_grad():
        alone = seconds(forwards, rounds)
    return alone, seconds(both, rounds) - seconds(forwards, rounds)


def by_pixels(name: str, rounds: int) -> tuple[float, float]:
    """Seconds of pictures through the model, and of what its saliency graph takes more."""
    folder = ROOT / "artifacts" / name / "1"
    content, beside = ((folder / file).read_bytes() for file in (MODEL_FILE, FILE))
    model, graph = open_session(content, [CPU]), open_session(beside, [CPU], {MODEL_FILE: content})
    pictures = np.random.default_rng(0).integers(0, 256, (EXPLAINED, 28, 28), np.uint8)
    feed = {"pixels": pictures.astype(np.float32), "index": np.zeros(EXPLAINED, np.int64)}
    forwards = seconds(lambda: model.run(["logits"], {"image": pictures}), rounds)
    return forwards, seconds(lambda: graph.run(["gradient"], feed), rounds) - forwards


def row(name: str, what: str, forwards: float, backwards: float) -> str:
    return f"| `{name}` | {what} | {1_000 * forwards:.2f} | {1_000 * backwards:.2f} | {backwards / forwards:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    print("| network | backwards to | forwards ms | backwards ms | ratio |\n|---|---|---:|---:|---:|")
    for recipe in (*MLP_RECIPES, *CNN_RECIPES):
        weights = by_weights(recipe.body(), rounds)
        print(row(recipe.name, f"the weights, {BATCH} pictures", *weights))
        print(row(recipe.name, f"the pixels, {EXPLAINED} pictures", *by_pixels(recipe.name, rounds)))


if __name__ == "__main__":
    main()
