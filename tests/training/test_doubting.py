"""Calibrated probabilities and the warning, by their formulas."""

import numpy as np
import pytest
import torch
from torch import nn

from training import calibration
from training.calibration import Temperature, one_temperature
from training.classifier import ImageClassifier
from training.data import Split
from training.digits import RECIPE
from training.doubting import OUTPUTS, WARNED_SHARE, Doubting, Judged, as_they_are, doubts, strangeness
from training.export import Exportable, check_parity, run, to_onnx


def small_network() -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 0.1, 0.3).eval().requires_grad_(False)


def noise(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=generator)
    return Split(images, torch.randint(0, 10, (count,), generator=generator))


def test_outputs_are_logits_calibrated_probabilities_and_a_warning() -> None:
    network, temperature, least = small_network(), 0.7, 2.5
    images = noise(50, 1).images
    logits, probabilities, unlike = Doubting(network, Temperature(temperature), least)(images)
    exact = logits.double().numpy()

    np.testing.assert_array_equal(logits, network(images))
    powers = np.exp(exact / temperature)
    np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(unlike, np.log(np.exp(exact).sum(1)) < least)
    assert list(OUTPUTS) == ["logits", "probabilities", "unlike_training_data"]


def test_a_temperature_that_falls_with_the_margin_is_exported() -> None:
    images = noise(64, 3).images
    what = Exportable(Doubting(small_network(), Temperature(1.2, 0.4), 2.5), "image", OUTPUTS)

    graph = to_onnx(what, images)
    assert check_parity(what, graph, images) < 1e-5
    logits, probabilities = (run(graph, images.numpy())[name] for name in ("logits", "probabilities"))
    largest = np.sort(logits, axis=1)[:, -2:]
    powers = np.exp(logits / (1.2 * (1 + largest[:, 1:] - largest[:, :1]) ** -0.4))
    np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)


def test_the_temperature_is_of_clean_and_spoilt_pictures_and_the_threshold_of_clean_ones() -> None:
    network, clean, spoilt = small_network(), noise(300, 5), noise(200, 6)
    temperature, least = doubts(network, Judged(clean, spoilt), one_temperature)

    logits, labels = network(torch.cat([clean.images, spoilt.images])), torch.cat([clean.labels, spoilt.labels])
    assert temperature == Temperature(pytest.approx(calibration.fitted_temperature(logits, labels), rel=1e-3))
    warned = (network(clean.images).logsumexp(1) < least).float().mean()
    assert float(warned) == pytest.approx(WARNED_SHARE, abs=4e-3)


def test_pictures_as_they_are_have_none_that_are_spoilt() -> None:
    network, validation = small_network(), noise(300, 5)
    judged = as_they_are(validation, RECIPE)

    assert judged.clean is validation
    assert len(judged.spoilt) == 0
    expected = calibration.fitted_temperature(network(validation.images), validation.labels)
    assert doubts(network, judged, one_temperature)[0].level == pytest.approx(expected, rel=1e-3)


def test_strangeness_is_less_the_larger_the_logits() -> None:
    answers = {"logits": np.array([[0.0, 0.0], [5.0, 0.0]], np.float32)}

    np.testing.assert_allclose(strangeness(answers), [-np.log(2), -np.log(np.exp(5) + 1)])
