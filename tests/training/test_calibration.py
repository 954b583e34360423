"""Temperatures against SciPy's minimum, calibration errors against sums by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar

from training.calibration import expected_calibration_error, fitted_temperature


def answers(scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose softmax, at scale 1, is the truth about the labels."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(5_000, 10, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return logits * scale, labels


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_is_where_the_cross_entropy_is_least(scale: float) -> None:
    logits, labels = answers(scale)
    found = minimize_scalar(
        lambda logarithm: F.cross_entropy(logits.double() / np.exp(logarithm), labels).item(), bounds=(-4, 4)
    )

    assert fitted_temperature(logits, labels) == pytest.approx(np.exp(found.x), rel=1e-3)
    assert fitted_temperature(logits, labels) == pytest.approx(scale, rel=0.05)


def test_overconfident_answers_become_calibrated() -> None:
    logits, labels = answers(4.0)
    before = expected_calibration_error(logits.softmax(1).numpy(), labels.numpy())
    after = expected_calibration_error((logits / fitted_temperature(logits, labels)).softmax(1).numpy(), labels.numpy())

    assert before > 0.2
    assert after < 0.03


def test_the_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.0, 1.0]])
    truth = np.array([0, 1, 1, 1])

    # Of 15 bins two answers of 0.9 share one, half of them right; 0.6 and 1.0 are alone and right.
    assert expected_calibration_error(probabilities, truth) == pytest.approx((2 * 0.4 + 0.4 + 0.0) / 4)


def test_certainty_that_is_always_right_has_no_error() -> None:
    assert expected_calibration_error(np.eye(4), np.arange(4)) == 0
