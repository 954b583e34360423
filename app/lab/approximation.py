"""How well one hidden layer of p units follows a curve, and how many straight pieces depth makes against width. Pure
NumPy.

The hidden units are ReLUs whose kinks lie at equal distances, so that only the output layer is left to fit: by least
squares, the best that there is for these kinks, without a training that may get stuck.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.lab.tape import Floats


@dataclass(frozen=True)
class Shallow:
    """bias + Σ weights · relu(x − kinks)."""

    kinks: Floats  # [p]
    weights: Floats  # [p]
    bias: float

    def __call__(self, x: Floats) -> Floats:
        values: Floats = np.maximum(x[:, np.newaxis] - self.kinks, 0) @ self.weights + self.bias
        return values


class Samples(NamedTuple):
    x: Floats  # [n], in order
    y: Floats  # [n]


def fit(samples: Samples, low: float, high: float, units: int) -> Shallow:
    """The first kink is at `low`, so that one unit is a straight line."""
    kinks = low + (high - low) * np.arange(units) / units
    design = np.column_stack([np.maximum(samples.x[:, np.newaxis] - kinks, 0), np.ones(len(samples.x))])
    *weights, bias = np.linalg.lstsq(design, samples.y, rcond=None)[0]
    return Shallow(kinks, np.array(weights), float(bias))


def rmse(network: Shallow, samples: Samples) -> float:
    return float(np.sqrt(np.square(network(samples.x) - samples.y).mean()))


def folded(x: Floats, layers: int) -> Floats:
    """A network of so many layers with two ReLUs each; every layer folds the interval from 0 to 1 in two (Telgarsky
    2016)."""
    for _ in range(layers):
        x = 2 * np.maximum(x, 0) - 4 * np.maximum(x - 0.5, 0)
    return x


def pieces(layers: int) -> int:
    """Straight pieces of `folded` from 0 to 1, counted where its slope changes. Exact: kinks and values are dyadic."""
    x = np.arange(2 ** (layers + 1) + 1) / 2 ** (layers + 1)
    slopes = np.diff(folded(x, layers))
    return 1 + int((slopes[1:] != slopes[:-1]).sum())
