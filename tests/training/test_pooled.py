"""The network that halves by pooling, and that its normalisations may be done before the maximum is taken."""

import copy

import torch
from torch import nn

from training.clothing import RECIPE
from training.normalised_conv import NormalisedConv, folded
from training.pooled import pooled_network


def test_the_recipe_has_the_parameters_it_states() -> None:
    assert sum(parameter.numel() for parameter in RECIPE.body().parameters()) == RECIPE.parameters <= 5_000_000


def test_sides_are_halved_and_channels_are_as_asked() -> None:
    shapes = []
    network = pooled_network(8, (16, 24, 32), classes=10, dropout=0)
    for part in network.modules():
        if isinstance(part, NormalisedConv):
            part.register_forward_hook(lambda _part, _given, maps: shapes.append(tuple(maps.shape[1:])))
    logits = network.eval()(torch.zeros(2, 28, 28))

    assert shapes == [(8, 28, 28), (16, 14, 14), (16, 14, 14), (24, 7, 7), (24, 7, 7), (32, 3, 3), (32, 3, 3)]
    assert logits.shape == (2, 10)


def test_folding_a_normalisation_that_follows_a_maximum_gives_the_same_logits() -> None:
    torch.manual_seed(0)
    network, pictures = pooled_network(8, (16, 24, 32), classes=10, dropout=0.2), torch.randn(16, 28, 28)
    for _ in range(3):
        network(torch.randn(32, 28, 28) * 2 + 1)
    wanted = network.eval()(pictures)
    smaller = folded(copy.deepcopy(network))

    torch.testing.assert_close(smaller(pictures), wanted, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in smaller.modules())


def test_what_follows_a_maximum_learns_no_factors_that_could_become_negative() -> None:
    pooled, plain = NormalisedConv(3, 4, pool=2), NormalisedConv(3, 4)

    assert not pooled.norm.weight.requires_grad
    assert plain.norm.weight.requires_grad  # type: ignore[union-attr]
    assert pooled.norm.bias.requires_grad  # type: ignore[union-attr]
