"""Losses, likeness and answers by their formulas; what is left as it was stays so."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from training import clothing_photos
from training.clothing_dataset import CLASSES, Photographs
from training.clothing_photos import (
    OUTPUTS,
    TEN,
    Answering,
    PhotographNet,
    doubts,
    learn,
    likeness,
    loss_of_allowed,
    mixture,
)
from training.data import Split
from training.efficientnet import pretrained


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
    given, known = scores(), photographs()
    temperature, least, figures = doubts(given, known)

    warned = (likeness(given[known.labels >= 0]) < least).float().mean()
    assert float(warned) == pytest.approx(clothing_photos.WARNED_SHARE, abs=1 / 20)
    assert temperature > 0
    assert set(figures) == {"unseen_senders_calibration", "roc_auc_against_other_clothes"}


def test_learning_leaves_the_first_blocks_as_imagenet_made_them_and_changes_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clothing_photos, "BATCH", 8)
    monkeypatch.setattr(clothing_photos, "INPUT", clothing_photos.INPUT.model_copy(update={"height": 32, "width": 32}))
    products = Split(torch.zeros(6, 28, 28, dtype=torch.uint8), torch.arange(6))
    few = photographs(10)
    found = learn(few, few, products, epochs=1, seed=1, name="test")
    before = PhotographNet(pretrained()).eval()

    pictures = few.pixels.permute(0, 3, 1, 2).float()
    torch.testing.assert_close(found.network.early(pictures / 128), before.early(pictures / 128), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(found.network(pictures), before(pictures))
    assert len(found.losses) == len(found.accuracies) == len(found.judged) == 1
    assert 0 <= found.judged[0][1] <= 1
