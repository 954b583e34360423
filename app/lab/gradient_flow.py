"""How gradients come through a deep network: the same weights under several activation functions, the norm of the
gradient at each layer, and how much of each layer lets nothing through. Pure NumPy, by the tape.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from app.errors import GoOn
from app.lab.activations import ACTIVATIONS, saturated
from app.lab.chain_rule import backward, each_use
from app.lab.operations import RELU, SIGMOID, TANH, matmul, multiply, subtract, sum_
from app.lab.tape import Floats, Mask, Operation, Result, apply, constant, variable

# Those of app/lab/activations.py that a layer can have here, with their defaults.
LAYERS: Mapping[str, Operation] = {"sigmoid": SIGMOID, "tanh": TANH, "relu": RELU}
# Standard deviation of a weight between so many inputs and outputs: Glorot and Bengio 2010, He et al. 2015.
STARTS: Mapping[str, Callable[[int, int], float]] = {
    "xavier": lambda inputs, outputs: (2 / (inputs + outputs)) ** 0.5,
    "he": lambda inputs, outputs: (2 / inputs) ** 0.5,
    "small": lambda inputs, outputs: 0.05,
    "large": lambda inputs, outputs: 3 / inputs**0.5,
}


@dataclass(frozen=True)
class Network:
    """`weights` of each hidden layer [width, width], then [width, 1]; no biases. The loss is the mean squared
    difference from `targets`."""

    inputs: Floats  # [samples, width]
    targets: Floats  # [samples, 1]
    weights: tuple[Floats, ...]


class Layer(NamedTuple):
    gradient_norm: float  # of the loss by the layer's weights
    mean: float  # of what it gives, over samples and units
    deviation: float
    flat: float  # share of samples and units for which the activation is saturated; 0 for the output
    dead: int  # units that are so for all samples


def network(depth: int, width: int, samples: int, start: str, seed: int) -> Network:
    """`depth` hidden layers."""
    generator = np.random.default_rng(seed)
    sizes = [*[width] * (depth + 1), 1]
    inputs, targets = generator.normal(size=(samples, width)), generator.normal(size=(samples, 1))
    weights = tuple(
        generator.normal(size=(inputs, outputs)) * STARTS[start](inputs, outputs) for inputs, outputs in pairwise(sizes)
    )
    return Network(inputs, targets, weights)


def flow(network: Network, activation: str, go_on: GoOn = lambda: None) -> tuple[float, list[Layer]]:
    """The loss, and each layer from the first hidden one to the output. `go_on` is called before each layer."""
    facts = ACTIVATIONS[activation]
    steepest = facts.steepest(facts.by_default)
    weights = [variable(each) for each in network.weights]
    hidden, outputs, flat = constant(network.inputs), list[Result](), list[Mask]()
    for weight in weights[:-1]:
        go_on()
        hidden = apply(LAYERS[activation], matmul(hidden, weight))
        outputs.append(hidden)
        flat.append(saturated(each_use(hidden, 0, constant(np.ones(hidden.shape))).value, steepest))
    output = matmul(hidden, weights[-1])
    difference = subtract(output, constant(network.targets))
    loss = multiply(sum_(multiply(difference, difference)), constant(1 / len(network.targets)))
    go_on()
    arrived = backward(loss, constant(1)).arrived
    layers = [
        Layer(
            float(np.sqrt(np.square(arrived[weight].value).sum())),
            float(given.value.mean()),
            float(given.value.std()),
            float(asleep.mean()),
            int(asleep.all(0).sum()),
        )
        for weight, given, asleep in zip(
            weights, [*outputs, output], [*flat, np.zeros(output.shape, bool)], strict=True
        )
    ]
    return float(loss.value), layers
