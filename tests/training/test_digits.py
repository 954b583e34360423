"""What the best model of digits is beside a network: drawn digits, a temperature, a threshold, by their formulas."""

import numpy as np
import pytest
import torch
from torch import nn

from training import calibration, digits
from training.classifier import ImageClassifier
from training.data import MNIST, Dataset, Split
from training.digits import DRAWN_FOR_VALIDATION, OUTPUTS, RECIPE, VALIDATION_SEED, WARNED_SHARE, DigitsNet, Doubting
from training.recipe import DIGIT_INPUT
from training.upload_like import UploadLike


def small_network() -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 0.1, 0.3).eval().requires_grad_(False)


def test_drawn_digits_have_the_geometry_of_uploads_and_their_labels() -> None:
    drawn = digits.drawn_digits(200, seed=3)

    assert drawn.images.shape == (200, 28, 28)
    assert drawn.images.dtype == torch.uint8
    assert set(drawn.labels.tolist()) == set(range(10))
    rows, columns = ((drawn.images > 0).any(axis) for axis in (2, 1))
    longer = torch.maximum(rows.sum(1), columns.sum(1))
    # The longer side of the ink is the box; faint edges of what was reduced may be 0 after all.
    assert ((longer >= DIGIT_INPUT.box - 2) & (longer <= DIGIT_INPUT.box)).float().mean() > 0.9


def test_drawn_digits_are_the_same_again_and_those_for_validation_are_others() -> None:
    one, same, other = (digits.drawn_digits(20, seed) for seed in (1, 1, 2))

    assert torch.equal(one.images, same.images)
    assert torch.equal(one.labels, same.labels)
    assert not torch.equal(one.images, other.images)


def test_drawn_digits_are_trained_on_beside_mnists_and_not_judged_by() -> None:
    own = Split(torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
    together = digits.with_drawn_digits(Dataset(MNIST, own, own), few=True)

    assert len(together.train) == 105
    assert torch.equal(together.train.images[:5], own.images)
    assert together.validation is own


def test_outputs_are_logits_calibrated_probabilities_and_a_warning() -> None:
    network, temperature, least = small_network(), 0.7, 2.5
    images = torch.randint(0, 256, (50, 28, 28), dtype=torch.uint8)
    logits, probabilities, unlike = Doubting(network, temperature, least)(images)
    exact = logits.double().numpy()

    np.testing.assert_array_equal(logits, network(images))
    powers = np.exp(exact / temperature)
    np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(unlike, np.log(np.exp(exact).sum(1)) < least)
    assert list(OUTPUTS) == ["logits", "probabilities", "unlike_training_data"]


def test_the_temperature_and_the_threshold_are_of_pictures_that_were_not_trained_on() -> None:
    network = small_network()
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (300, 28, 28), dtype=torch.uint8, generator=generator)
    validation = Split(images, torch.randint(0, 10, (300,), generator=generator))
    temperature, least = digits.doubts(network, validation, RECIPE)

    drawn = digits.drawn_digits(DRAWN_FOR_VALIDATION, VALIDATION_SEED)
    spoilt = UploadLike(1.0)(images.float(), torch.Generator().manual_seed(RECIPE.seed)).round().to(torch.uint8)
    clean = torch.cat([network(images), network(drawn.images)])
    labels = torch.cat([validation.labels, drawn.labels, validation.labels])

    expected = calibration.fitted_temperature(torch.cat([clean, network(spoilt)]), labels)
    assert temperature == pytest.approx(expected, rel=1e-3)
    warned = (clean.logsumexp(1) < least).float().mean()
    assert float(warned) == pytest.approx(WARNED_SHARE, abs=1e-3)


def test_strangeness_is_less_the_larger_the_logits() -> None:
    answers = {"logits": np.array([[0.0, 0.0], [5.0, 0.0]], np.float32)}

    np.testing.assert_allclose(digits.strangeness(answers), [-np.log(2), -np.log(np.exp(5) + 1)])


def test_it_may_be_trained_for_other_epochs_and_from_another_seed() -> None:
    assert DigitsNet().options == {"epochs", "seed"}
    assert DigitsNet().floor["test_accuracy"] == RECIPE.floor >= 0.997
