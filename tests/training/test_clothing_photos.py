"""Losses, likeness and answers by their formulas; what is left as it was stays so."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from training import clothing_photos, photograph_fit
from training.calibration import expected_calibration_error, fitted_temperature
from training.clothing_dataset import CLASSES, Photographs
from training.clothing_photos import crossed, doubts
from training.compact import round_to_half
from training.data import Split
from training.efficientnet import pretrained
from training.normalised_conv import folded
from training.photograph_fit import Learned, learn, loss_of_allowed, mixture
from training.photograph_net import OUTPUTS, TEN, WARNED_SHARE, Answering, PhotographNet, likeness


def scores(rows: int = 40, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(rows, len(CLASSES), generator=torch.Generator().manual_seed(seed))


def photographs(rows: int = 40) -> Photographs:
    """Of half of them the label is known; every fourth is none of the ten."""
    generator = torch.Generator().manual_seed(2)
    classes = torch.arange(rows) % TEN
    classes[::4] = TEN + 1
    labels = torch.where(torch.arange(rows) % 2 == 1, classes, -1)
    pixels = torch.randint(0, 256, (rows, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return Photographs(pixels, labels, F.one_hot(classes, len(CLASSES)).bool(), torch.arange(rows) % 5)


def test_the_loss_of_one_class_is_cross_entropy_and_of_several_that_of_their_sum() -> None:
    given, labels = scores(), torch.arange(40) % len(CLASSES)
    one = F.one_hot(labels, len(CLASSES)).bool()
    torch.testing.assert_close(loss_of_allowed(given, one), F.cross_entropy(given, labels, reduction="none"))

    several = one | F.one_hot((labels + 3) % len(CLASSES), len(CLASSES)).bool()
    expected = -(given.softmax(1) * several).sum(1).log()
    torch.testing.assert_close(loss_of_allowed(given, several), expected)
    torch.testing.assert_close(loss_of_allowed(given, torch.ones_like(one)), torch.zeros(40), atol=1e-6, rtol=0)


def test_likeness_is_the_energy_of_the_ten_and_their_share_of_the_probability() -> None:
    given = scores()
    energy = given[:, :TEN].exp().sum(1).log()
    share = given.softmax(1)[:, :TEN].sum(1)

    torch.testing.assert_close(likeness(given), energy + share.log(), atol=1e-4, rtol=1e-4)


def test_a_mixture_leaves_each_picture_at_least_half() -> None:
    shares = [mixture(8, torch.Generator().manual_seed(seed)) for seed in range(200)]

    assert min(share for share, _ in shares) >= 0.5
    assert 0.35 < np.mean([share == 1 for share, _ in shares]) < 0.65
    assert all(sorted(order.tolist()) == list(range(8)) for _, order in shares)


class Given(nn.Module):
    """The mean colours, as logits of the first classes."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return F.pad(pictures.mean((2, 3)) / 50, (0, len(CLASSES) - 3))


def test_answers_are_of_the_ten_calibrated_and_warn() -> None:
    pixels = photographs().pixels
    logits, probabilities, unlike = Answering(Given(), 1.7, 5.2)(pixels)
    wanted = Given()(pixels.permute(0, 3, 1, 2).float())

    torch.testing.assert_close(logits, wanted[:, :TEN])
    torch.testing.assert_close(probabilities, (wanted[:, :TEN] / 1.7).softmax(1))
    assert torch.equal(unlike, likeness(wanted) < 5.2)
    assert list(OUTPUTS) == ["logits", "probabilities", "unlike_training_data"]


def test_the_threshold_warns_of_its_share_of_known_photographs() -> None:
    known = photographs(400)
    given = scores(400) + 12 * known.allowed
    temperature, least, figures = doubts(given, known)
    rows = known.labels >= 0

    warned = (likeness(given[rows]) < least).float().mean()
    assert float(warned) == pytest.approx(WARNED_SHARE, abs=1 / 200)
    ten, labels, folds = given[rows][:, :TEN], known.labels[rows], known.folds[rows]
    assert temperature == pytest.approx(fitted_temperature(ten, labels), rel=1e-6)
    # Those that are none of the ten have large logits of other classes.
    assert 0.9 < figures["roc_auc_against_other_clothes"] <= 1
    others = [fitted_temperature(ten[folds != fold], labels[folds != fold]) for fold in folds.tolist()]
    answers = (ten / torch.tensor(others)[:, None]).softmax(1).numpy()
    error = expected_calibration_error(answers, labels.numpy())
    assert figures["unseen_senders_calibration"] == pytest.approx(1 - error, abs=1e-6)


def test_each_fold_is_answered_by_a_network_that_has_seen_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given, calls = photographs(100), []

    def learned(train: Photographs, aside: Photographs, *_rest: object, **_more: object) -> Learned:
        calls.append((train, aside))
        return Learned(Given(), [1.0, 0.5], [0.2, 0.4], [(2.0, 0.1), (1.0, 0.3)])  # type: ignore[arg-type]

    monkeypatch.setattr(clothing_photos, "learn", learned)
    found = crossed(given, Split(torch.zeros(1, 28, 28), torch.zeros(1)), epochs=2, seed=1, folds=5)

    for fold, (train, aside) in enumerate(calls):
        assert set(aside.folds.tolist()) == {fold}
        assert fold not in train.folds.tolist()
        assert len(train) + len(aside) == 100
    wanted = Given()(given.pixels.permute(0, 3, 1, 2).float())
    torch.testing.assert_close(found.scores, wanted)
    right = [
        (wanted[rows, :TEN].argmax(1) == given.labels[rows]).float().mean().item()
        for rows in ((given.folds == fold) & (given.labels >= 0) for fold in range(5))
    ]
    assert found.accuracies == pytest.approx(right)
    assert [each.validation_accuracy for each in found.history] == [0.1, 0.3]


def test_learning_leaves_the_first_blocks_as_imagenet_made_them_and_changes_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photograph_fit, "BATCH", 8)
    monkeypatch.setattr(photograph_fit, "INPUT", photograph_fit.INPUT.model_copy(update={"height": 32, "width": 32}))
    products = Split(torch.zeros(6, 28, 28, dtype=torch.uint8), torch.arange(6))
    few = photographs(10)
    found = learn(few, few, products, epochs=1, seed=1, name="test")
    before = folded(PhotographNet(pretrained()).eval())
    round_to_half(before)

    states = found.network.state_dict(), before.state_dict()
    for name, now in states[0].items():
        if name.startswith("early."):
            torch.testing.assert_close(now, states[1][name], rtol=0, atol=0)
        elif name.startswith(("late.", "logits.")) and now.dim() > 1:
            assert not torch.equal(now, states[1][name]), name
    assert len(found.losses) == len(found.accuracies) == len(found.judged) == 1
    assert 0 <= found.judged[0][1] <= 1
