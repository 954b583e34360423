"""What a caller of a descent is answered: each step, and where to go on from; whole, or as events while it is
computed. Knows no HTTP."""

from collections.abc import Callable
from typing import Annotated, Any, NotRequired

import numpy as np
import orjson
from pydantic import Field
from typing_extensions import TypedDict

from app.errors import GoOn
from app.events import event
from app.lab.descent import OPTIMISERS, PROBLEMS, Graphs, Position, Seen, descend, is_finite, settings_for
from app.lab.descent_cost import measure
from app.lab.descent_request import Asked

Number = float | None  # null: infinite or undefined


class StepTold(TypedDict):
    """Before the first step, and after each."""

    step: Annotated[int, Field(description="So many were taken, those of earlier requests among them.")]
    loss: Annotated[Number, Field(description="null if it is infinite or undefined.")]
    accuracy: Annotated[Number, Field(description="Share of the samples that are answered right; null for a function.")]
    gradient_norm: Annotated[Number, Field(description="Euclidean, of the loss by all weights.")]
    gradient_norms: Annotated[dict[str, Number], Field(description="The same of each weight by its name.")]
    weights: Annotated[dict[str, Any] | None, Field(description="By name; null if they are not told.")]


class Stopped(TypedDict):
    code: Annotated[str, Field(description="`steps` or `diverged`.")]
    message: str


class CostTold(TypedDict):
    """What the problem's loss takes here and now, and what its gradients add: medians of runs in turns, wall time. A
    call of onnxruntime, some microseconds, is in `forward_seconds`; of a function of two numbers it is nearly all."""

    forward_seconds: Annotated[float, Field(description="The loss alone, by a graph of its own.")]
    both_seconds: Annotated[float, Field(description="The loss and all gradients.")]
    backward_seconds: Annotated[float, Field(description="The difference.")]
    backward_to_forward: Annotated[float, Field(description="By how much longer it takes; rule of thumb: 1.5 to 2.")]
    runs: Annotated[int, Field(description="Of each.")]


class Descent(TypedDict):
    """`weights`, `state` and `steps_so_far`, sent again, go on from here."""

    problem: str
    optimiser: str
    settings: dict[str, float]
    steps: list[StepTold]
    weights: Annotated[dict[str, Any], Field(description="After the last step, by name.")]
    state: Annotated[dict[str, list[Number]], Field(description="Of the optimiser: vectors over all weights.")]
    steps_so_far: int
    stopped: Stopped
    cost: NotRequired[Annotated[CostTold, Field(description="If `measure` is true.")]]


class ProblemTold(TypedDict):
    name: str
    title: str
    mathematics: str
    expression: Annotated[
        str | None, Field(description="Of a function of x and y, for `/gradients/expression`; null: a network.")
    ]
    weights: Annotated[dict[str, list[int]], Field(description="Shapes by name.")]
    start: Annotated[dict[str, list[float]] | None, Field(description="null: at random, by `seed`.")]
    learning_rates: Annotated[dict[str, float], Field(description="By optimiser, if none is sent.")]


class OptimiserTold(TypedDict):
    name: str
    title: str
    mathematics: Annotated[str, Field(description="w weights, g gradient, η learning rate, λ weight decay.")]
    settings: Annotated[dict[str, float], Field(description="With what is taken for those that are not sent.")]
    state: list[str]


class Lessons(TypedDict):
    """What there is to train on, and by what."""

    problems: list[ProblemTold]
    optimisers: list[OptimiserTold]


MESSAGES = {
    "steps": "All steps that were asked for have been taken.",
    "diverged": "The loss or a gradient has become infinite or undefined; a smaller learning rate may help.",
}


def lessons(graphs: Graphs) -> Lessons:
    return Lessons(
        problems=[
            ProblemTold(
                name=name,
                title=facts.title,
                mathematics=facts.mathematics,
                expression=facts.expression,
                weights={each: list(shape) for each, shape in graphs.problem(name).shapes.items()},
                start={each: list(value) for each, value in facts.start.items()} or None,
                learning_rates={each: settings_for(name, each)["learning_rate"] for each in OPTIMISERS},
            )
            for name, facts in PROBLEMS.items()
        ],
        optimisers=[
            OptimiserTold(
                name=name,
                title=facts.title,
                mathematics=facts.mathematics,
                settings=dict(facts.settings),
                state=list(facts.state),
            )
            for name, facts in OPTIMISERS.items()
        ],
    )


def answer(asked: Asked, graphs: Graphs, go_on: GoOn = lambda: None) -> Descent:
    """`go_on` is called before each step, and what it raises ends it."""
    steps: list[StepTold] = []
    told = _descended(asked, graphs, go_on, steps.append)
    told["steps"] = steps
    return told


def tell(asked: Asked, graphs: Graphs, go_on: GoOn, send: Callable[[bytes], None]) -> None:
    """As server-sent events, each as soon as it is known: a `step` for each step, then an `end` with the rest."""
    told = _descended(asked, graphs, go_on, lambda step: send(event("step", orjson.dumps(step))))
    rest = {name: value for name, value in told.items() if name != "steps"}
    send(event("end", orjson.dumps(rest)))


def _descended(asked: Asked, graphs: Graphs, go_on: GoOn, each: Callable[[StepTold], None]) -> Descent:
    """Without the steps, of which `each` is told."""
    optimiser = graphs.optimiser(asked.optimiser)
    with np.errstate(all="ignore"):  # what diverges is told
        for last, seen in descend(
            asked.problem, optimiser, asked.facts, asked.start, asked.settings, asked.steps, go_on
        ):
            each(_told(last, seen, asked.tell_weights))
    code = "steps" if is_finite(seen) else "diverged"
    told = Descent(
        problem=asked.name,
        optimiser=asked.optimiser,
        settings=dict(asked.settings),
        steps=[],
        weights=_weights(last),
        state={name: value.tolist() for name, value in last.state.items()},
        steps_so_far=last.steps,
        stopped=Stopped(code=code, message=MESSAGES[code]),
    )
    if asked.measure:
        told["cost"] = _cost(asked, graphs, go_on)
    return told


def _cost(asked: Asked, graphs: Graphs, go_on: GoOn) -> CostTold:
    cost = measure(asked.problem, graphs.forward(asked.name), asked.start.weights, go_on)
    return CostTold(
        forward_seconds=cost.forward,
        both_seconds=cost.both,
        backward_seconds=cost.backward,
        backward_to_forward=cost.ratio,
        runs=cost.runs,
    )


def _told(position: Position, seen: Seen, tell_weights: bool) -> StepTold:
    norms = seen.norms
    return StepTold(
        step=position.steps,
        loss=seen.loss,
        accuracy=seen.accuracy,
        gradient_norm=float(np.sqrt(sum(each * each for each in norms.values()))),
        gradient_norms=dict(norms),
        weights=_weights(position) if tell_weights else None,
    )


def _weights(position: Position) -> dict[str, Any]:
    return {name: each.tolist() for name, each in position.weights.items()}
