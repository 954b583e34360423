"""Probabilities that mean what they say: temperatures of logits, and how far off they are. Knows no network."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

BINS = 15
# Of a double that is below 1; what is surer than that is as sure.
SUREST = 1 - 1e-12


@dataclass(frozen=True)
class Temperature:
    """What logits are divided by: `level` where the two largest are equal, and less, by the power `fall`, the more
    there is between them; with 0 it is the same everywhere. The order of the logits stays."""

    level: float
    fall: float = 0.0

    def probabilities(self, logits: Tensor) -> Tensor:
        """[N, classes]"""
        if not self.fall:
            return (logits / self.level).softmax(dim=1)
        return _by_margin(logits, 1 / self.level, self.fall).softmax(dim=1)


Calibrate = Callable[[Tensor, Tensor], Temperature]  # logits [N, classes] and labels [N] that nothing was trained on


def one_temperature(logits: Tensor, labels: Tensor) -> Temperature:
    return Temperature(fitted_temperature(logits, labels))


def margin_temperature(logits: Tensor, labels: Tensor) -> Temperature:
    """Such that what is said of the answers alone is best: the log-loss of how probable each is called, whether it is
    right or not. The cross-entropy looks at all classes, and makes answers too sure if no one temperature fits all."""
    logits = logits.detach().double()
    right = (logits.argmax(1) == labels).double()
    start = -np.log(fitted_temperature(logits, labels))
    found = torch.tensor([start, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([found], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        confidence = _by_margin(logits, found[0].exp(), found[1]).softmax(1).amax(1).clamp(max=SUREST)
        value = F.binary_cross_entropy(confidence, right)
        value.backward()
        return value

    optimizer.step(loss)
    logarithm, fall = found.detach().tolist()
    return Temperature(float(np.exp(-logarithm)), fall)


def _by_margin(logits: Tensor, factor: float | Tensor, power: float | Tensor) -> Tensor:
    two = logits.topk(2, dim=1).values
    return logits * (factor * (1 + two[:, :1] - two[:, 1:]) ** power)


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """What logits [N, classes] are divided by so that the cross-entropy is least (Guo et al. 2017, temperature
    scaling); the arg-max stays."""
    logarithm = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logarithm], max_iter=100, line_search_fn="strong_wolfe")
    logits = logits.detach().double()

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(logits * torch.exp(-logarithm), labels)
        value.backward()
        return value

    optimizer.step(loss)
    return float(logarithm.detach().exp())


def expected_calibration_error(probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Of the answers with the largest probability."""
    return calibration_error(probabilities.max(1), probabilities.argmax(1) == truth)


def calibration_error(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """The mean difference between the confidence in answers and the share of them that is right, over equal bins of
    the confidence, weighted by the answers in them (Naeini et al. 2015)."""
    exact = confidence.astype(np.float64)
    gaps = np.bincount(np.minimum((exact * BINS).astype(int), BINS - 1), exact - right, BINS)
    return float(np.abs(gaps).sum() / len(right))
