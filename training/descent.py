"""Loss and gradients of small problems, and one step of each optimiser, as ONNX graphs for a service that has no
PyTorch: `python -m training.descent` writes them. Knows nothing of how many steps are taken, or from where.

Everything is float64. A problem takes its weights by name; an optimiser takes all of them as one vector.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_iris
from torch import Tensor

from training import export
from training.differentiation import traced

WHERE = Path(__file__).resolve().parent.parent / "app" / "lab" / "descent"
Shape = tuple[int, ...]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Problem:
    """`function` gives the loss and, where there are classes, the accuracy."""

    shapes: Mapping[str, Shape]
    function: Callable[[Weights], tuple[Tensor, ...]]


def function_of_two(formula: Callable[[Tensor, Tensor], Tensor]) -> Problem:
    return Problem({"point": (2,)}, lambda weights: (formula(*weights["point"]),))


def dense(sizes: Sequence[int], samples: Tensor, labels: Tensor) -> Problem:
    """Dense layers with ReLUs between them, softmax and cross-entropy, over all samples at once."""
    shapes: dict[str, Shape] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        shapes |= {f"weight{layer}": (outputs, inputs), f"bias{layer}": (outputs,)}
    wanted = F.one_hot(labels, sizes[-1]).double()
    layers = len(sizes) - 1

    def function(weights: Weights) -> tuple[Tensor, Tensor]:
        hidden = samples
        for layer in range(1, layers + 1):
            hidden = hidden @ weights[f"weight{layer}"].T + weights[f"bias{layer}"]
            hidden = hidden.relu() if layer < layers else hidden
        loss = -(wanted * hidden.log_softmax(1)).sum(1).mean()
        return loss, (hidden.argmax(1) == labels).double().mean()

    return Problem(shapes, function)


def iris() -> Problem:
    """Fisher's 150 flowers, each measure less its mean and by its standard deviation."""
    bunch = load_iris()
    rows = torch.tensor(bunch.data, dtype=torch.float64)
    return dense((4, 16, 3), (rows - rows.mean(0)) / rows.std(0, correction=0), torch.tensor(bunch.target))


def xor() -> Problem:
    corners = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
    return dense((2, 4, 4, 2), corners, torch.tensor([0, 1, 1, 0]))


def problems() -> dict[str, Problem]:
    return {
        "bowl": function_of_two(lambda x, y: (x * x + y * y) / 2),
        "ravine": function_of_two(lambda x, y: (x * x + 25 * y * y) / 2),
        "saddle": function_of_two(lambda x, y: (x * x - y * y) / 2),
        "rosenbrock": function_of_two(lambda x, y: (1 - x) * (1 - x) + 100 * (y - x * x) * (y - x * x)),
        "xor": xor(),
        "iris": iris(),
    }


TOLD = ["loss", "accuracy"]


def problem_graph(problem: Problem) -> bytes:
    """Weights → `loss`, `accuracy` where there is one, and `gradient_<name>` of each."""
    names = list(problem.shapes)

    def differentiated(*weights: Tensor) -> tuple[Tensor, ...]:
        leaves = [weight.detach().requires_grad_(True) for weight in weights]
        loss, *rest = problem.function(dict(zip(names, leaves, strict=True)))
        return (loss.detach(), *(each.detach() for each in rest), *torch.autograd.grad(loss, leaves))

    examples = _examples(problem)
    told = TOLD[: len(differentiated(*examples)) - len(names)]
    outputs = [*told, *(f"gradient_{name}" for name in names)]
    return _graph(differentiated, examples, names, outputs)


def forward_graph(problem: Problem) -> bytes:
    """The same without gradients, to measure what they cost: onnxruntime computes all outputs of a graph, whichever are
    asked for."""
    names = list(problem.shapes)

    def forward(*weights: Tensor) -> tuple[Tensor, ...]:
        return problem.function(dict(zip(names, weights, strict=True)))

    examples = _examples(problem)
    return _graph(forward, examples, names, TOLD[: len(forward(*examples))])


def _examples(problem: Problem) -> tuple[Tensor, ...]:
    return tuple(torch.rand(shape, dtype=torch.float64) for shape in problem.shapes.values())


# --- optimisers: Goodfellow, Bengio and Courville 2016, chapter 8, in the form that torch.optim gives them -----------


def sgd(weights: Tensor, gradient: Tensor, learning_rate: Tensor, weight_decay: Tensor) -> tuple[Tensor, ...]:
    return (weights - learning_rate * (gradient + weight_decay * weights),)


def momentum(
    weights: Tensor,
    gradient: Tensor,
    velocity: Tensor,
    learning_rate: Tensor,
    weight_decay: Tensor,
    momentum: Tensor,
) -> tuple[Tensor, ...]:
    velocity = momentum * velocity + gradient + weight_decay * weights
    return weights - learning_rate * velocity, velocity


def nesterov(
    weights: Tensor,
    gradient: Tensor,
    velocity: Tensor,
    learning_rate: Tensor,
    weight_decay: Tensor,
    momentum: Tensor,
) -> tuple[Tensor, ...]:
    gradient = gradient + weight_decay * weights
    velocity = momentum * velocity + gradient
    return weights - learning_rate * (gradient + momentum * velocity), velocity


def rmsprop(
    weights: Tensor,
    gradient: Tensor,
    squares: Tensor,
    learning_rate: Tensor,
    weight_decay: Tensor,
    decay: Tensor,
    epsilon: Tensor,
) -> tuple[Tensor, ...]:
    gradient = gradient + weight_decay * weights
    squares = decay * squares + (1 - decay) * gradient * gradient
    return weights - learning_rate * gradient / (squares.sqrt() + epsilon), squares


def adam(
    weights: Tensor,
    gradient: Tensor,
    mean: Tensor,
    squares: Tensor,
    step: Tensor,
    learning_rate: Tensor,
    weight_decay: Tensor,
    beta1: Tensor,
    beta2: Tensor,
    epsilon: Tensor,
) -> tuple[Tensor, ...]:
    """`step` is 1 for the first."""
    gradient = gradient + weight_decay * weights
    mean = beta1 * mean + (1 - beta1) * gradient
    squares = beta2 * squares + (1 - beta2) * gradient * gradient
    unbiased, spread = mean / (1 - beta1**step), (squares / (1 - beta2**step)).sqrt()
    return weights - learning_rate * unbiased / (spread + epsilon), mean, squares


@dataclass(frozen=True)
class Optimiser:
    function: Callable[..., tuple[Tensor, ...]]
    state: tuple[str, ...]
    settings: tuple[str, ...]


OPTIMISERS = {
    "sgd": Optimiser(sgd, (), ("learning_rate", "weight_decay")),
    "momentum": Optimiser(momentum, ("velocity",), ("learning_rate", "weight_decay", "momentum")),
    "nesterov": Optimiser(nesterov, ("velocity",), ("learning_rate", "weight_decay", "momentum")),
    "rmsprop": Optimiser(rmsprop, ("squares",), ("learning_rate", "weight_decay", "decay", "epsilon")),
    "adam": Optimiser(
        adam, ("mean", "squares"), ("step", "learning_rate", "weight_decay", "beta1", "beta2", "epsilon")
    ),
}


def optimiser_graph(optimiser: Optimiser) -> bytes:
    """Weights, gradient, state and settings → the next weights and state, as `next_weights`, `next_<state>`."""
    vectors, settings = ("weights", "gradient", *optimiser.state), optimiser.settings
    examples = (
        *(torch.rand(5, dtype=torch.float64) for _ in vectors),
        *(torch.rand((), dtype=torch.float64) for _ in settings),
    )
    size = torch.export.Dim("size")
    sizes = (*({0: size} for _ in vectors), *({} for _ in settings))
    outputs = [f"next_{name}" for name in ("weights", *optimiser.state)]
    return _graph(optimiser.function, examples, [*vectors, *settings], outputs, sizes)


def _graph(
    function: Callable[..., tuple[Tensor, ...]],
    examples: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    sizes: tuple[dict[int, Any], ...] | None = None,
) -> bytes:
    open_sizes = sizes if sizes is not None else tuple({} for _ in inputs)
    return export.graph_of(traced(function, examples), examples, inputs, outputs, open_sizes)


def graphs() -> dict[str, bytes]:
    """By the file's name."""
    return {
        **{f"{name}.onnx": problem_graph(problem) for name, problem in problems().items()},
        **{f"forward_{name}.onnx": forward_graph(problem) for name, problem in problems().items()},
        **{f"by_{name}.onnx": optimiser_graph(optimiser) for name, optimiser in OPTIMISERS.items()},
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.descent", description="Export problems and optimisers.")
    parser.add_argument("--out", type=Path, default=WHERE, help="the folder to write (default: app/lab/descent)")
    out: Path = parser.parse_args(argv).out
    out.mkdir(parents=True, exist_ok=True)
    for name, graph in graphs().items():
        (out / name).write_bytes(graph)
        print(f"{out / name}: {len(graph):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
