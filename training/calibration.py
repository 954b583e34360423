"""Probabilities that mean what they say: one temperature for all logits, and how far off they are. Knows no network."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

BINS = 15


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
