"""The residual network, and that folding its normalisations changes nothing but its size."""

import copy

import numpy as np
import torch
from torch import nn

from training import export, saliency
from training.classifier import ImageClassifier
from training.digits import RECIPE
from training.normalised_conv import NormalisedConv, folded
from training.recipe import DIGIT_INPUT
from training.residual import residual_network


def trained_a_little() -> nn.Module:
    """With statistics and scales that are no longer what they started as."""
    torch.manual_seed(0)
    network = residual_network((8, 16, 32), (1, 1, 2), classes=10, dropout=0.2)
    for _ in range(3):
        network(torch.randn(32, 28, 28) * 2 + 1)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.5, 2)
                part.bias.uniform_(-1, 1)
    return network.eval()


def test_the_recipe_has_the_parameters_it_states() -> None:
    assert sum(parameter.numel() for parameter in RECIPE.body().parameters()) == RECIPE.parameters <= 2_000_000


def test_folding_gives_the_same_logits_without_normalisations() -> None:
    network, pictures = trained_a_little(), torch.randn(16, 28, 28)
    wanted = network(pictures)
    smaller = folded(copy.deepcopy(network))

    torch.testing.assert_close(smaller(pictures), wanted, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in smaller.modules())
    assert sum(map(torch.numel, smaller.parameters())) < sum(map(torch.numel, network.parameters()))


def test_folding_twice_is_folding_once() -> None:
    once = folded(trained_a_little())
    before = {name: value.clone() for name, value in once.state_dict().items()}

    for name, value in folded(once).state_dict().items():
        assert torch.equal(value, before[name])


def test_other_networks_are_left_alone() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))

    assert folded(network) is network
    assert isinstance(network[1], nn.BatchNorm1d)


def test_sides_are_halved_and_channels_are_as_asked() -> None:
    shapes = []
    network = residual_network((8, 16, 32), (1, 1, 2), classes=10, dropout=0)
    for part in network.modules():
        if isinstance(part, NormalisedConv):
            part.register_forward_hook(lambda _part, _given, maps: shapes.append(tuple(maps.shape[1:])))
    network.eval()(torch.zeros(1, 28, 28))

    assert shapes[0] == (8, 28, 28)
    assert (16, 14, 14) in shapes
    assert shapes[-1] == (32, 7, 7)


def test_gradients_by_pixels_go_back_through_convolutions_in_steps_of_two() -> None:
    """`saliency_graph` itself compares them with autograd's."""
    network = ImageClassifier(folded(trained_a_little()), 0.1, 0.3).eval().requires_grad_(False)
    graph = saliency.saliency_graph(network, DIGIT_INPUT)
    pixels = 255 * torch.rand(3, 28, 28, generator=torch.Generator().manual_seed(1))
    index = torch.tensor([0, 5, 9])
    [ours] = export.opened(graph).run(["gradient"], {"pixels": pixels.numpy(), "index": index.numpy()})
    theirs, _ = saliency.saliency(network, pixels, index)

    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5 * float(theirs.abs().max()))
