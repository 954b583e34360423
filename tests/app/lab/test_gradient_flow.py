"""Gradients through a deep network: torch's own on the same weights, and the course's three stories."""

import numpy as np
import pytest
import torch

from app.lab.activations import ACTIVATIONS, curve
from app.lab.chain_rule import gradients
from app.lab.gradient_flow import LAYERS, STARTS, Network, flow, network
from app.lab.tape import apply, variable


@pytest.mark.parametrize("start", sorted(STARTS))
@pytest.mark.parametrize("activation", sorted(LAYERS))
def test_norms_are_torchs(activation: str, start: str) -> None:
    asked = network(depth=7, width=12, samples=20, start=start, seed=3)
    loss, layers = flow(asked, activation)

    weights = [torch.tensor(each, requires_grad=True) for each in asked.weights]
    hidden, given = torch.tensor(asked.inputs), []
    for weight in weights[:-1]:
        hidden = getattr(torch, activation)(hidden @ weight)
        given.append(hidden)
    given.append(hidden @ weights[-1])
    theirs = (given[-1] - torch.tensor(asked.targets)).square().mean()
    theirs.backward()

    assert loss == pytest.approx(theirs.item(), rel=1e-12)
    assert [layer.gradient_norm for layer in layers] == pytest.approx(
        [float(weight.grad.norm()) for weight in weights if weight.grad is not None], rel=1e-10
    )
    assert [layer.mean for layer in layers] == pytest.approx([each.mean().item() for each in given], rel=1e-10)
    assert [layer.deviation for layer in layers] == pytest.approx(
        [each.std(correction=0).item() for each in given], rel=1e-10
    )


@pytest.mark.parametrize("activation", sorted(LAYERS))
def test_layers_have_the_activation_functions_of_the_lab(activation: str) -> None:
    """And a unit is flat where the lab calls them saturated."""
    x = np.linspace(-8, 8, 201)
    facts = ACTIVATIONS[activation]
    told = curve(facts, x, facts.by_default)
    at = variable(x)
    given = apply(LAYERS[activation], at)
    one_layer = Network(x[:, None], np.zeros((201, 1)), (np.ones((1, 1)), np.ones((1, 1))))

    assert given.value == pytest.approx(told.values, rel=1e-15)
    assert gradients(given, np.ones(x.shape), [at])[0] == pytest.approx(told.derivatives, rel=1e-15)
    assert flow(one_layer, activation)[1][0].flat == told.saturated.mean() > 0


def test_sigmoid_vanishes_and_relu_does_not() -> None:
    asked = network(depth=15, width=32, samples=64, start="he", seed=0)
    ratios = {}
    for activation in ("sigmoid", "relu"):
        _, layers = flow(asked, activation)
        ratios[activation] = layers[0].gradient_norm / layers[-1].gradient_norm

    assert ratios["sigmoid"] < 1e-6
    assert ratios["relu"] > 0.05


def test_units_that_let_nothing_through_are_counted() -> None:
    asked = network(depth=2, width=8, samples=5, start="xavier", seed=1)
    asked.weights[0][:, 3] = 0  # its ReLU is at 0 for every sample
    _, layers = flow(asked, "relu")
    hidden = np.maximum(asked.inputs @ asked.weights[0], 0)

    assert layers[0].dead == int((hidden == 0).all(0).sum()) >= 1
    assert layers[0].flat == (hidden == 0).mean()
    assert (layers[-1].flat, layers[-1].dead) == (0, 0)
    _, saturated = flow(network(depth=3, width=16, samples=30, start="large", seed=2), "tanh")
    assert saturated[1].flat > 0.2
