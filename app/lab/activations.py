"""Activation functions and their derivatives, as formulas of the lab. Knows no request and no picture.

At a kink the derivative is PyTorch's choice. An activation is saturated where its derivative is 0, or below a hundredth
of the greatest that it has anywhere: hardly any gradient passes there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.lab.chain_rule import gradients, jacobian
from app.lab.formula import read_formula, run
from app.lab.tape import Floats, Mask, Result, constant, variable

SATURATED = 0.01
SOFTMAX = "softmax"

Parameters = Mapping[str, float]


@dataclass(frozen=True)
class Activation:
    expression: str
    steepest: Callable[[Parameters], float]  # the greatest derivative anywhere, without its sign
    parameter: str | None = None
    default: float = 0.0
    at_zero: Callable[[Parameters], float] | None = None  # what is taken for the derivative, if there is a kink

    @property
    def by_default(self) -> Parameters:
        return {} if self.parameter is None else {self.parameter: self.default}


ACTIVATIONS: Mapping[str, Activation] = {
    "step": Activation("x > 0", lambda given: 0, at_zero=lambda given: 0),
    "sigmoid": Activation("sigmoid(alpha*x)", lambda given: abs(given["alpha"]) / 4, "alpha", 1),
    "tanh": Activation("tanh(alpha*x)", lambda given: abs(given["alpha"]), "alpha", 1),
    "softplus": Activation("softplus(x)", lambda given: 1),
    "relu": Activation("relu(x)", lambda given: 1, at_zero=lambda given: 0),
    "leaky-relu": Activation(
        "where(x > 0, x, slope*x)",
        lambda given: max(1, abs(given["slope"])),
        "slope",
        0.01,
        at_zero=lambda given: given["slope"],
    ),
    # Of its elements each by itself: p(1 − p).
    SOFTMAX: Activation("softmax(x)", lambda given: 0.25),
}


class Curve(NamedTuple):
    values: Floats
    derivatives: Floats  # of each value by the x in its place
    saturated: Mask
    jacobian: Floats | None = None  # of softmax, whose elements depend on each other


def curve(activation: Activation, x: Floats, given: Parameters) -> Curve:
    """Of each element of x."""
    at = variable(x)
    result = _computed(activation, at, given)
    [derivatives] = gradients(result, np.ones(x.shape), [at])
    return Curve(result.value, derivatives, saturated(derivatives, activation.steepest(given)))


def softmax(x: Floats) -> Curve:
    """Of a vector."""
    at = variable(x)
    result = _computed(ACTIVATIONS[SOFTMAX], at, {})
    [full] = jacobian(result, [at])
    own = np.diagonal(full)
    return Curve(result.value, own, saturated(own, ACTIVATIONS[SOFTMAX].steepest({})), full)


def _computed(activation: Activation, at: Result, given: Parameters) -> Result:
    parameters = {name: constant(value) for name, value in given.items()}
    return run(read_formula(activation.expression, ["x", *given]), {"x": at, **parameters})[-1]


def saturated(derivatives: Floats, steepest: float) -> Mask:
    """`steepest` is the greatest derivative that the function has anywhere."""
    flat: Mask = (derivatives == 0) | (np.abs(derivatives) < SATURATED * steepest)
    return flat
