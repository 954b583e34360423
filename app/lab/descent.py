"""Steps of gradient descent on small problems: each is a graph that gives loss and gradients, and one that moves the
weights, both exported from PyTorch (training/descent.py). Pure: who calls it opens the graphs.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from app.errors import GoOn
from app.lab.tape import Floats

FOLDER = Path(__file__).parent / "descent"
LOSS, ACCURACY, GRADIENT, NEXT = "loss", "accuracy", "gradient_", "next_"

Weights = Mapping[str, Floats]
Run = Callable[[list[str], Mapping[str, Any]], list[Any]]


@dataclass(frozen=True)
class ProblemFacts:
    """`start` is where a function begins; networks begin at random. `learning_rates` are those of optimisers whose own
    is too much for it. `expression` is a function as a formula of the lab, of x and y."""

    title: str
    mathematics: str
    start: Mapping[str, list[float]] = field(default_factory=dict)
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    expression: str | None = None


@dataclass(frozen=True)
class OptimiserFacts:
    """`settings` with their defaults, in the order in which the graph has them."""

    title: str
    mathematics: str
    settings: Mapping[str, float]
    state: tuple[str, ...] = ()


PROBLEMS = {
    "bowl": ProblemFacts(
        "A quadratic bowl", "f(x, y) = (x² + y²) / 2, least at (0, 0)", {"point": [4, 3]}, expression="(x**2 + y**2)/2"
    ),
    "ravine": ProblemFacts(
        "A ravine",
        "f(x, y) = (x² + 25 y²) / 2, steep across and flat along, least at (0, 0)",
        {"point": [4, 1]},
        {"sgd": 0.03},
        "(x**2 + 25*y**2)/2",
    ),
    "saddle": ProblemFacts(
        "A saddle",
        "f(x, y) = (x² − y²) / 2, whose gradient is 0 at (0, 0), no minimum",
        {"point": [4, 0.001]},
        expression="(x**2 - y**2)/2",
    ),
    "rosenbrock": ProblemFacts(
        "Rosenbrock's banana",
        "f(x, y) = (1 − x)² + 100 (y − x²)², least at (1, 1)",
        {"point": [-1.5, 2]},
        {"sgd": 1e-3, "momentum": 1e-4, "nesterov": 1e-4},
        "(1 - x)**2 + 100*(y - x**2)**2",
    ),
    "xor": ProblemFacts(
        "XOR by a network", "2 → 4 → 4 → 2, ReLU between, softmax, cross-entropy over the four corners"
    ),
    "iris": ProblemFacts(
        "Iris by a network", "4 → 16 → 3, ReLU between, softmax, cross-entropy over all 150 flowers, standardised"
    ),
}
# A state that is a mean of squares: a root is taken of it.
SQUARES = "squares"
OPTIMISERS = {
    "sgd": OptimiserFacts("Gradient descent", "w ← w − η (g + λ w)", {"learning_rate": 0.1, "weight_decay": 0}),
    "momentum": OptimiserFacts(
        "Gradient descent with momentum",
        "v ← μ v + g + λ w; w ← w − η v",
        {"learning_rate": 0.02, "weight_decay": 0, "momentum": 0.9},
        ("velocity",),
    ),
    "nesterov": OptimiserFacts(
        "Nesterov's momentum",
        "v ← μ v + g + λ w; w ← w − η (g + λ w + μ v)",
        {"learning_rate": 0.02, "weight_decay": 0, "momentum": 0.9},
        ("velocity",),
    ),
    "rmsprop": OptimiserFacts(
        "RMSProp",
        "s ← ρ s + (1 − ρ) g²; w ← w − η g / (√s + ε), with λ w in g",
        {"learning_rate": 0.01, "weight_decay": 0, "decay": 0.99, "epsilon": 1e-8},
        (SQUARES,),
    ),
    "adam": OptimiserFacts(
        "Adam",
        "m ← β₁ m + (1 − β₁) g; s ← β₂ s + (1 − β₂) g²; w ← w − η m̂ / (√ŝ + ε), "
        "m̂ = m / (1 − β₁ᵗ), ŝ = s / (1 − β₂ᵗ), with λ w in g",
        {"learning_rate": 0.05, "weight_decay": 0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
        ("mean", SQUARES),
    ),
}


@dataclass(frozen=True)
class Problem:
    run: Run
    shapes: Mapping[str, tuple[int, ...]]  # of the weights, by name
    outputs: list[str]

    @property
    def told(self) -> list[str]:
        """The outputs without the gradients."""
        return [name for name in self.outputs if not name.startswith(GRADIENT)]

    @cached_property
    def size(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.shapes.values())


class Graphs:
    """The graphs of the lab's folder, each opened when it is first asked for. `open_graph` makes an onnxruntime
    session of a file's bytes. Threads may share it."""

    def __init__(self, open_graph: Callable[[bytes], Any]) -> None:
        self._open = open_graph
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()

    def to_open(self, *names: str) -> int:
        """How many of these problems nobody has asked for yet. Waits for nobody."""
        return len(set(names) - self._sessions.keys())

    def problem(self, name: str) -> Problem:
        session = self._session(name)
        shapes = {node.name: tuple(node.shape) for node in session.get_inputs()}
        return Problem(session.run, shapes, [node.name for node in session.get_outputs()])

    def forward(self, name: str) -> Run:
        """A problem without its gradients."""
        run: Run = self._session(f"forward_{name}").run
        return run

    def optimiser(self, name: str) -> Run:
        run: Run = self._session(f"by_{name}").run
        return run

    def _session(self, name: str) -> Any:
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = self._open((FOLDER / f"{name}.onnx").read_bytes())
            return self._sessions[name]


class Seen(NamedTuple):
    """A problem at some weights."""

    loss: float
    accuracy: float | None
    gradients: dict[str, Floats]

    @property
    def norms(self) -> dict[str, float]:
        return {name: float(np.sqrt(np.square(each).sum())) for name, each in self.gradients.items()}


@dataclass(frozen=True)
class Position:
    """Where a descent is: enough to go on from. `state` are vectors over all weights; `steps` were taken already."""

    weights: Weights
    state: Mapping[str, Floats]
    steps: int = 0


def look(problem: Problem, weights: Weights) -> Seen:
    outputs = dict(zip(problem.outputs, problem.run(problem.outputs, weights), strict=True))
    accuracy = outputs.get(ACCURACY)
    gradients = {name: outputs[f"{GRADIENT}{name}"] for name in problem.shapes}
    return Seen(float(outputs[LOSS]), None if accuracy is None else float(accuracy), gradients)


def step(
    optimiser: Run, facts: OptimiserFacts, position: Position, seen: Seen, settings: Mapping[str, float]
) -> Position:
    """`settings` has those of the facts; Adam counts its steps itself."""
    names = list(position.weights)
    scalars = {name: np.float64(settings[name]) for name in facts.settings}
    if "beta1" in scalars:
        scalars["step"] = np.float64(position.steps + 1)
    feed = {"weights": _vector(position.weights), "gradient": _vector(seen.gradients), **position.state, **scalars}
    outputs = [f"{NEXT}{name}" for name in ("weights", *facts.state)]
    vector, *state = optimiser(outputs, {name: np.asarray(value) for name, value in feed.items()})
    ends = np.cumsum([position.weights[name].size for name in names])[:-1]
    parts = np.split(vector, ends)
    weights = {name: part.reshape(position.weights[name].shape) for name, part in zip(names, parts, strict=True)}
    return Position(weights, dict(zip(facts.state, state, strict=True)), position.steps + 1)


def descend(
    problem: Problem,
    optimiser: Run,
    facts: OptimiserFacts,
    start: Position,
    settings: Mapping[str, float],
    steps: int,
    go_on: GoOn = lambda: None,
) -> Iterator[tuple[Position, Seen]]:
    """The start and what is seen there, then the same after each step; ends before that where a number becomes infinite
    or undefined. `go_on` is called before each."""
    position = start
    for taken in range(steps + 1):
        go_on()
        seen = look(problem, position.weights)
        yield position, seen
        if taken == steps or not is_finite(seen):
            return
        position = step(optimiser, facts, position, seen, settings)


def settings_for(problem: str, optimiser: str) -> dict[str, float]:
    """What is taken for settings that a caller does not send."""
    facts, own = OPTIMISERS[optimiser], PROBLEMS[problem].learning_rates
    return {**facts.settings, "learning_rate": own.get(optimiser, facts.settings["learning_rate"])}


def is_finite(seen: Seen) -> bool:
    return bool(np.isfinite(seen.loss)) and all(np.isfinite(each).all() for each in seen.gradients.values())


def at_random(problem: Problem, seed: int) -> dict[str, Floats]:
    """Uniform in ±1/√inputs of the layer, as PyTorch's dense layers begin."""
    generator = np.random.default_rng(seed)
    weights: dict[str, Floats] = {}
    inputs = 1
    for name, shape in problem.shapes.items():
        inputs = shape[1] if len(shape) == 2 else inputs  # a bias follows its weight
        weights[name] = generator.uniform(-1, 1, shape) / np.sqrt(inputs)
    return weights


def _vector(weights: Weights) -> Floats:
    return np.concatenate([each.ravel() for each in weights.values()])
