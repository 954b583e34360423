"""Temperatures against SciPy's minima, calibration errors against sums by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import softmax

from training.calibration import (
    Temperature,
    expected_calibration_error,
    fitted_temperature,
    margin_temperature,
    one_temperature,
)


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


def probabilities_by_hand(logits: torch.Tensor, level: float, fall: float) -> NDArray[np.float64]:
    exact = logits.double().numpy()
    ordered = np.sort(exact, axis=1)
    divided = exact / (level * (1 + ordered[:, -1:] - ordered[:, -2:-1]) ** -fall)
    return np.asarray(softmax(divided, axis=1))


@pytest.mark.parametrize("fall", [0.0, 0.4, -0.3])
def test_probabilities_by_their_formula(fall: float) -> None:
    logits = answers()[0][:200]

    told = Temperature(0.7, fall).probabilities(logits.double())
    np.testing.assert_allclose(told, probabilities_by_hand(logits, 0.7, fall), atol=1e-12)
    assert (told.argmax(1) == logits.argmax(1)).all()


def test_the_temperature_by_margin_is_where_the_answers_log_loss_is_least() -> None:
    """Logits that are too small where they are sure and too large where they are not."""
    logits, labels = answers()
    logits = torch.tensor(np.log(probabilities_by_hand(logits, 1.0, -0.4)))
    right = (logits.argmax(1) == labels).numpy()

    def log_loss(place: NDArray[np.float64]) -> float:
        confidence = probabilities_by_hand(logits, *place).max(1)
        return float(-np.where(right, np.log(confidence), np.log1p(-confidence)).mean())

    found = minimize(log_loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12})
    temperature = margin_temperature(logits, labels)
    one = one_temperature(logits, labels)

    assert (temperature.level, temperature.fall) == pytest.approx(tuple(found.x), rel=1e-3)
    assert one == Temperature(fitted_temperature(logits, labels))
    errors = [
        expected_calibration_error(each.probabilities(logits).numpy(), labels.numpy()) for each in (temperature, one)
    ]
    assert errors[0] < 0.02 < errors[1]


def test_the_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.0, 1.0]])
    truth = np.array([0, 1, 1, 1])

    # Of 15 bins two answers of 0.9 share one, half of them right; 0.6 and 1.0 are alone and right.
    assert expected_calibration_error(probabilities, truth) == pytest.approx((2 * 0.4 + 0.4 + 0.0) / 4)


def test_certainty_that_is_always_right_has_no_error() -> None:
    assert expected_calibration_error(np.eye(4), np.arange(4)) == 0
