"""What a caller asks of a descent: settings, where to begin, how many steps, out of JSON, within limits. Knows no
HTTP."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from app.errors import InvalidRequest, NotFound
from app.lab.descent import (
    OPTIMISERS,
    PROBLEMS,
    SQUARES,
    Graphs,
    OptimiserFacts,
    Position,
    Problem,
    at_random,
    settings_for,
)
from app.lab.document import numbers, read_object, truth, whole
from app.lab.tape import Floats
from app.rows import quoted

MOST_BYTES = 200_000  # who reads the body sees to it
MOST_STEPS, MOST_STEPS_SO_FAR, MOST_SEED = 300, 10**9, 2**32 - 1
# Numbers of weights, told after each step; of more only the last are told.
MOST_TOLD = 20_000
# As measured; and measuring what gradients cost takes as long as so many steps.
STEP_SECONDS, MEASURED = 1.5e-4, 60
# More than 0, and at most: by setting. Others are from 0 to below 1.
LARGEST = {"learning_rate": 10.0, "epsilon": 1.0}

SETTING = Field(description="If it is not sent, the optimiser's own; GET /train tells.")
Setting = Annotated[float, SETTING]


@with_config(ConfigDict(extra="forbid"))
class DescentRequest(TypedDict):
    """Some steps of gradient descent. Nothing is kept: send `weights`, `state` and `steps_so_far` of an answer to go on
    from there."""

    optimiser: NotRequired[
        Annotated[str, Field(description=f"One of {', '.join(f'`{name}`' for name in OPTIMISERS)}.", default="sgd")]
    ]
    steps: NotRequired[Annotated[int, Field(description="How many.", default=10, ge=0, le=MOST_STEPS)]]
    learning_rate: NotRequired[Setting]
    weight_decay: NotRequired[Setting]
    momentum: NotRequired[Setting]
    decay: NotRequired[Setting]
    beta1: NotRequired[Setting]
    beta2: NotRequired[Setting]
    epsilon: NotRequired[Setting]
    weights: NotRequired[
        Annotated[
            dict[str, Any], Field(description="By name, in the shapes that GET /train tells; all or none of them.")
        ]
    ]
    state: NotRequired[
        Annotated[
            dict[str, list[float]], Field(description="Of the optimiser, as an answer told it; without it, zeros.")
        ]
    ]
    steps_so_far: NotRequired[
        Annotated[int, Field(description="As an answer told it; Adam counts.", default=0, ge=0, le=MOST_STEPS_SO_FAR)]
    ]
    seed: NotRequired[
        Annotated[
            int, Field(description="Of a network's first weights, if none are sent.", default=0, ge=0, le=MOST_SEED)
        ]
    ]
    tell_weights: NotRequired[
        Annotated[
            bool,
            Field(
                description=f"After each step, if they are at most {MOST_TOLD:,} numbers in all; else only the last.",
                default=True,
            ),
        ]
    ]
    measure: NotRequired[
        Annotated[bool, Field(description="Also what the gradients cost, beside the loss alone.", default=False)]
    ]


@dataclass(frozen=True)
class Asked:
    """A request that can be answered."""

    name: str
    problem: Problem
    optimiser: str
    settings: Mapping[str, float]
    start: Position
    steps: int
    tell_weights: bool
    measure: bool = False

    @property
    def facts(self) -> OptimiserFacts:
        return OPTIMISERS[self.optimiser]

    @property
    def seconds(self) -> float:
        """As is to be expected, roughly."""
        return (self.steps + 1 + MEASURED * self.measure) * STEP_SECONDS


def require_problem(name: str) -> None:
    """Raises NotFound and lists what there is."""
    if name not in PROBLEMS:
        raise NotFound(f"there is no problem {name[:40]!r} to train on; there are: {', '.join(PROBLEMS)}")


def read_descent(name: str, body: bytes, graphs: Graphs) -> Asked:
    """Raises InvalidRequest, which names the culprit and what is allowed."""
    document = read_object(body, [], list(DescentRequest.__annotations__))
    optimiser = document.get("optimiser", "sgd")
    if not isinstance(optimiser, str) or optimiser not in OPTIMISERS:
        raise InvalidRequest(f"optimiser is {quoted(optimiser)}; allowed is one of {', '.join(OPTIMISERS)}")
    facts = OPTIMISERS[optimiser]
    problem = graphs.problem(name)
    steps = whole(document, "steps", 10, 0, MOST_STEPS)
    seed = whole(document, "seed", 0, 0, MOST_SEED)
    start = Position(
        _weights(document["weights"], problem) if "weights" in document else _first(name, problem, seed),
        _state(document.get("state", {}), facts, optimiser, problem),
        whole(document, "steps_so_far", 0, 0, MOST_STEPS_SO_FAR),
    )
    fits = (steps + 1) * problem.size <= MOST_TOLD
    tell_weights = truth(document, "tell_weights", True) and fits
    settings = _settings(document, name, optimiser)
    measure = truth(document, "measure", False)
    return Asked(name, problem, optimiser, settings, start, steps, tell_weights, measure)


def _first(name: str, problem: Problem, seed: int) -> dict[str, Floats]:
    given = PROBLEMS[name].start
    return {each: np.array(value, np.float64) for each, value in given.items()} if given else at_random(problem, seed)


def _settings(document: dict[str, Any], problem: str, optimiser: str) -> dict[str, float]:
    defaults = settings_for(problem, optimiser)
    names = {name for each in OPTIMISERS.values() for name in each.settings}
    for name in document:
        if name in names and name not in defaults:
            allowed = ", ".join(defaults)
            raise InvalidRequest(f"{name} is no setting of the optimiser {optimiser!r}; allowed are {allowed}")
    return {name: _setting(document.get(name, default), name) for name, default in defaults.items()}


def _setting(value: Any, name: str) -> float:
    if type(value) in (int, float) and math.isfinite(value):
        if name in LARGEST and 0 < value <= LARGEST[name]:
            return float(value)
        if name not in LARGEST and 0 <= value < 1:
            return float(value)
    allowed = f"a number above 0, at most {LARGEST[name]:g}" if name in LARGEST else "a number from 0 to below 1"
    raise InvalidRequest(f"{name} is {quoted(value)}; allowed is {allowed}")


def _weights(value: Any, problem: Problem) -> dict[str, Floats]:
    wanted = ", ".join(f"{name} {list(shape)}" for name, shape in problem.shapes.items())
    if not isinstance(value, dict) or value.keys() != problem.shapes.keys():
        got = (
            f"has {', '.join(map(quoted, list(value)[:3])) or 'nothing'}"
            if isinstance(value, dict)
            else f"is {quoted(value)}"
        )
        raise InvalidRequest(f"weights {got}; allowed is an object of {wanted}")
    return {name: _finite(value[name], f"weights: {name}", shape) for name, shape in problem.shapes.items()}


def _state(value: Any, facts: OptimiserFacts, optimiser: str, problem: Problem) -> dict[str, Floats]:
    if value == {}:
        return {name: np.zeros(problem.size) for name in facts.state}
    if not isinstance(value, dict) or value.keys() != set(facts.state):
        allowed = ", ".join(facts.state) or "nothing"
        got = f"has {', '.join(map(quoted, list(value)[:3]))}" if isinstance(value, dict) else f"is {quoted(value)}"
        raise InvalidRequest(f"state {got}; allowed for the optimiser {optimiser!r} is {allowed}")
    state = {name: _finite(value[name], f"state: {name}", (problem.size,)) for name in facts.state}
    if (squares := state.get(SQUARES, np.zeros(0)))[squares < 0].size:
        raise InvalidRequest(f"state: {SQUARES} has {squares.min():g} in it; allowed are numbers from 0 on")
    return state


def _finite(value: Any, name: str, shape: tuple[int, ...]) -> Floats:
    found = numbers(value, name, 10_000)
    if found.shape != shape:
        raise InvalidRequest(f"{name} has the shape {list(found.shape)}; allowed is {list(shape)}")
    if not np.isfinite(found).all():
        raise InvalidRequest(f"{name} has a number that is more than float64 can hold; allowed are smaller ones")
    return found
