"""The network is the one that learned ImageNet: it still knows what is on scikit-learn's photographs."""

import copy
from importlib import resources

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_images

from training import efficientnet
from training.efficientnet import FEATURES, WEIGHTS, EfficientNetLite0, pretrained, unit
from training.normalised_conv import folded

# Of ImageNet's thousand.
BELL_COTE, PALACE, DAISY = 442, 698, 985


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    return pretrained().eval().requires_grad_(False)


def photographs() -> torch.Tensor:
    """A Chinese palace and a flower."""
    pixels = torch.stack([torch.tensor(photograph) for photograph in load_sample_images().images])
    square = pixels.permute(0, 3, 1, 2).float()[:, :, :, 100:527]
    return (F.interpolate(square, (224, 224), mode="bilinear", antialias=True) - 127) / 128


def test_it_knows_a_palace_and_a_flower(network: EfficientNetLite0) -> None:
    package, name = WEIGHTS
    with resources.as_file(resources.files(package) / name) as file:
        weights = torch.load(file, weights_only=True)
    first, second = F.linear(network(photographs()), weights["_fc.weight"], weights["_fc.bias"]).topk(2).indices

    assert set(first.tolist()) == {PALACE, BELL_COTE}
    assert second[0] == DAISY


def test_folding_changes_nothing_but_its_size(network: EfficientNetLite0) -> None:
    pictures = photographs()
    features = network(pictures)

    assert features.shape == (2, FEATURES)
    torch.testing.assert_close(folded(copy.deepcopy(network))(pictures), features, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("size", "before", "after"), [(3, 0, 1), (5, 1, 2)])
def test_steps_of_two_are_padded_at_the_end_as_tensorflow_does(size: int, before: int, after: int) -> None:
    torch.manual_seed(0)
    layer, maps = unit(4, 6, size, stride=2).eval(), torch.randn(1, 4, 8, 8)
    padded = F.pad(maps, (before, after, before, after))
    wanted = F.conv2d(padded, layer.conv.weight, stride=2) / (1 + efficientnet.EPSILON) ** 0.5

    torch.testing.assert_close(layer(maps), wanted)


def test_weights_that_are_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "SHA256", "0" * 64)

    with pytest.raises(ValueError, match=r"efficientnet-lite0-57934424.pth should have SHA-256 0{64}, it has 5793"):
        pretrained()
