"""What a caller of a formula is answered: value, gradients, every step with the chain rule's numbers, a check. Knows no
HTTP."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from app.errors import ContentTooLarge, InvalidRequest
from app.lab import formula as formulas
from app.lab.chain_rule import Backward, backward, hessian, jacobian, pull_back
from app.lab.expression_request import SHAPES, Asked
from app.lab.finite_differences import AGREES, MOST_CHECKED, Checked, check
from app.lab.formula import Formula
from app.lab.tape import Floats, Result, constant, variable

# Of a step's value, gradient or local gradient; larger ones are left out of the graph.
MOST_TOLD = 100
# Numbers in a Jacobian or Hessian matrix, and passes backwards times steps, each of which takes some microseconds.
MOST_DERIVATIVES, MOST_PASSES_TIMES_STEPS = 10_000, 2_000
# Of the pass backwards that a Hessian goes over again, for each of the first.
HESSIAN_STEPS = 4
INFINITE, UNDEFINED, KINK, UNUSED = "infinite", "undefined", "kink", "unused"

Told = Annotated[
    Any, Field(description=f"{SHAPES} null stands for what is infinite or undefined; `notes` tells which.")
]


class ArgumentTold(TypedDict):
    """An edge: the chain rule is `upstream` times `local` = `downstream`."""

    step: Annotated[int, Field(description="The id of the argument.")]
    local: Annotated[
        Any,
        Field(
            description="The derivative of this step by the argument. Element by element in this step's shape, if it "
            "works so (an argument that was broadcast then gets the sum); else a Jacobian, this step's axes first. "
            "null if nothing flows, or if it has too many numbers."
        ),
    ]
    local_is: Annotated[str, Field(description="`elementwise`, `jacobian` or `none`.")]
    downstream: Annotated[Any, Field(description="The gradient that reaches the argument this way, in its shape.")]


class StepTold(TypedDict):
    """A node of the graph."""

    id: int
    operation: str
    text: Annotated[str, Field(description="The part of the expression that it stands for.")]
    shape: list[int]
    leaf: Annotated[bool, Field(description="An input or a number: nothing leads to it.")]
    requires_gradient: Annotated[bool, Field(description="Whether it depends on an input that has a gradient.")]
    value: Annotated[Any, Field(description=f"null if it has more than {MOST_TOLD} numbers.")]
    upstream: Annotated[
        Any, Field(description="The gradient of the result by it: the sum over all steps that use it. null if none.")
    ]
    used_by: Annotated[list[int], Field(description="Steps that use it; several: their gradients are summed.")]
    arguments: list[ArgumentTold]


class CheckTold(TypedDict):
    """Central differences of the value, (f(x + h) − f(x − h)) / 2h, against the gradients."""

    agrees: Annotated[
        bool | None, Field(description=f"Whether the largest error is at most {AGREES:g}; null if nothing was checked.")
    ]
    largest_error: Annotated[
        float | None, Field(description="Relative to the larger of both, absolute below 1; null if it is no number.")
    ]
    at: Annotated[dict[str, Any] | None, Field(description="Where: input, index, gradient, difference.")]
    checked: Annotated[int, Field(description=f"So many elements, at most {MOST_CHECKED}, evenly spread.")]
    of: Annotated[int, Field(description="So many elements have a finite gradient.")]


class Note(TypedDict):
    """Something that the numbers alone do not say."""

    code: Annotated[str, Field(description="`kink`, `infinite`, `undefined` or `unused`.")]
    step: Annotated[int | None, Field(description="Of the graph.")]
    message: str


class Differentiated(TypedDict):
    """`gradients`, `v`'s if it was given, are by all inputs, 0 for one that the result does not depend on."""

    expression: str
    shape: Annotated[list[int], Field(description="Of the result; [] is a single number.")]
    value: Told
    gradients: Annotated[
        dict[str, Told] | None,
        Field(description="By each input, in its shape. null if there is no `v` and it is needed."),
    ]
    jacobian: NotRequired[Annotated[dict[str, Told], Field(description="By input: the result's axes, then its own.")]]
    hessian: NotRequired[
        Annotated[
            dict[str, dict[str, Told]], Field(description="By two inputs: the axes of the one, then the other's.")
        ]
    ]
    graph: NotRequired[Annotated[list[StepTold], Field(description="In topological order; the last is the result.")]]
    check: NotRequired[CheckTold]
    notes: list[Note]


def answer(asked: Asked, go_on: Callable[[], None] = lambda: None) -> Differentiated:
    """Raises InvalidRequest for shapes that do not fit, ContentTooLarge beyond the limits. `go_on` is called before
    each piece of work, and what it raises ends it."""
    with np.errstate(all="ignore"):  # what is infinite or undefined is told
        return _answer(asked, go_on)


def _answer(asked: Asked, go_on: Callable[[], None]) -> Differentiated:
    inputs = {name: variable(value) for name, value in asked.inputs.items()}
    constants = {name: constant(value) for name, value in asked.constants.items()}
    steps = formulas.run(asked.formula, {**inputs, **constants})
    result = steps[-1]
    v = _v(asked, result)
    go_on()
    gone = backward(result, constant(v)) if v is not None else Backward({}, [])
    told = Differentiated(
        expression=asked.formula.text,
        shape=list(result.shape),
        value=result.value.tolist(),
        gradients=None,
        notes=list(_notes(asked, steps, inputs, gone)),
    )
    if v is not None:
        gradients = {name: _arrived(gone, each) for name, each in inputs.items()}
        told["gradients"] = {name: each.tolist() for name, each in gradients.items()}
    if asked.jacobian:
        go_on()
        told["jacobian"] = _jacobian(asked, result, inputs)
    if asked.hessian:
        go_on()
        told["hessian"] = _hessian(asked, result, inputs)
    if asked.graph:
        go_on()
        told["graph"] = _graph(asked.formula, steps, gone)
    if asked.check and v is not None:
        go_on()
        told["check"] = _check(asked, steps, v, gradients)
    return told


def _v(asked: Asked, result: Result) -> Floats | None:
    """What is given, 1 for a single number, None if it is not needed."""
    if asked.v is not None:
        if asked.v.shape != result.shape:
            raise InvalidRequest(
                f"v has the shape {list(asked.v.shape)}; allowed is that of the result, {list(result.shape)}"
            )
        return asked.v
    if not result.shape:
        return np.ones(())
    if asked.jacobian:
        return None
    raise InvalidRequest(
        f"the result has the shape {list(result.shape)}, and gradients are those of one number: send v in that shape, "
        "for the vector–Jacobian product, or ask for the jacobian, or take the sum or the mean"
    )


def _arrived(gone: Backward, each: Result) -> Floats:
    return gone.arrived[each].value if each in gone.arrived else np.zeros(each.shape)


def _require_few(asked: Asked, passes: int, steps: int, elements: int, what: str) -> None:
    if elements > MOST_DERIVATIVES:
        raise ContentTooLarge(f"the {what} has {elements:,} elements; at most {MOST_DERIVATIVES:,} are allowed")
    most = MOST_PASSES_TIMES_STEPS // steps
    if passes > most:
        raise ContentTooLarge(
            f"the {what} takes {passes:,} passes over {len(asked.formula.steps)} steps; at most {most:,} are allowed"
        )


def _jacobian(asked: Asked, result: Result, inputs: Mapping[str, Result]) -> dict[str, Any]:
    elements = sum(each.value.size for each in inputs.values())
    _require_few(asked, result.value.size, len(asked.formula.steps), result.value.size * elements, "jacobian")
    found = jacobian(result, list(inputs.values()))
    return {name: each.tolist() for name, each in zip(inputs, found, strict=True)}


def _hessian(asked: Asked, result: Result, inputs: Mapping[str, Result]) -> dict[str, dict[str, Any]]:
    if result.shape:
        raise InvalidRequest(f"the hessian is that of one number; the result has the shape {list(result.shape)}")
    elements = sum(each.value.size for each in inputs.values())
    _require_few(asked, elements, HESSIAN_STEPS * len(asked.formula.steps), elements**2, "hessian")
    found = hessian(result, list(inputs.values()))
    return {
        one: {other: each.tolist() for other, each in zip(inputs, row, strict=True)}
        for one, row in zip(inputs, found, strict=True)
    }


# --- the graph -------------------------------------------------------------------------------------------------------


def _graph(formula: Formula, steps: list[Result], gone: Backward) -> list[StepTold]:
    users: list[list[int]] = [[] for _ in steps]
    for place, step in enumerate(formula.steps):
        for argument in dict.fromkeys(step.arguments):
            users[argument].append(place)
    downstream = {(edge.result, edge.place): edge.downstream for edge in gone.edges}
    return [
        StepTold(
            id=place,
            operation=step.operation.name,
            text=step.text,
            shape=list(result.shape),
            leaf=not step.arguments,
            requires_gradient=result.active,
            value=_few(result.value),
            upstream=_few(gone.arrived[result].value) if result in gone.arrived else None,
            used_by=users[place],
            arguments=[
                _argument(argument, result, at, downstream.get((result, at)))
                for at, argument in enumerate(step.arguments)
            ],
        )
        for place, (step, result) in enumerate(zip(formula.steps, steps, strict=True))
    ]


def _argument(step: int, result: Result, place: int, downstream: Result | None) -> ArgumentTold:
    if downstream is None:
        return ArgumentTold(step=step, local=None, local_is="none", downstream=None)
    local, kind = _local(result, place)
    return ArgumentTold(step=step, local=local, local_is=kind, downstream=_few(downstream.value))


def _local(result: Result, place: int) -> tuple[Any, str]:
    if result.operation.partials:
        return _few(np.broadcast_to(result.operation.partials[place](result).value, result.shape)), "elementwise"
    argument = result.arguments[place]
    if result.value.size * argument.value.size > MOST_TOLD:
        return None, "jacobian"
    rows = [
        pull_back(result, place, constant(direction.reshape(result.shape))).value
        for direction in np.eye(result.value.size)
    ]
    return np.array(rows).reshape((*result.shape, *argument.shape)).tolist(), "jacobian"


def _few(values: Floats) -> Any:
    return values.tolist() if values.size <= MOST_TOLD else None


# --- the check -------------------------------------------------------------------------------------------------------


def _check(asked: Asked, steps: list[Result], v: Floats, gradients: Mapping[str, Floats]) -> CheckTold:
    values = [step.value for step in steps]
    moving = {name: formulas.moving_with(asked.formula, name) for name in asked.inputs}

    def value(name: str, moved: Floats) -> float:
        result = formulas.moved(asked.formula, values, moving[name], moved)
        return float((v * result).sum())

    return _told(check(value, asked.inputs, gradients))


def _told(checked: Checked) -> CheckTold:
    worst = checked.worst
    return CheckTold(
        agrees=checked.agrees,
        largest_error=worst.error if worst else None,
        at={
            "input": worst.name,
            "index": list(worst.place),
            "gradient": worst.exact,
            "difference": worst.numeric,
        }
        if worst
        else None,
        checked=checked.elements,
        of=checked.of,
    )


# --- notes -----------------------------------------------------------------------------------------------------------


def _notes(asked: Asked, steps: list[Result], inputs: Mapping[str, Result], gone: Backward) -> Iterator[Note]:
    places = {result: place for place, result in enumerate(steps)}
    finite = {result: _is_finite(result) for result in (*steps, *gone.arrived.values())}
    for place, result in enumerate(steps):
        text = asked.formula.steps[place].text
        if not finite[result] and all(finite[argument] for argument in result.arguments):
            yield from _not_finite(result.value, place, f"{text} is")
        if result.operation.kink and result.active and (at := result.operation.kink.where(result)).any():
            message = f"{text} has no derivative{_where(at)}: {result.operation.kink.taken}"
            yield Note(code=KINK, step=place, message=message)
    for edge in gone.edges:
        if finite[gone.arrived[edge.result]] and not _is_finite(edge.downstream):
            step, by = (asked.formula.steps[places[each]].text for each in (edge.result, edge.argument))
            what = f"the gradient that goes from {step} to {by} is"
            yield from _not_finite(edge.downstream.value, places[edge.result], what)
    for name, each in inputs.items():
        if gone.arrived and each not in gone.arrived:
            yield Note(
                code=UNUSED, step=places.get(each), message=f"the result does not depend on {name} by a gradient"
            )


def _is_finite(result: Result) -> bool:
    return bool(np.isfinite(result.value).all())


def _not_finite(values: Floats, step: int, what: str) -> Iterator[Note]:
    for code, at in ((INFINITE, np.isinf(values)), (UNDEFINED, np.isnan(values))):
        if at.any():
            yield Note(code=code, step=step, message=f"{what} {code}{_where(at)}")


def _where(at: Any) -> str:
    """Which element is the first, and how many more there are."""
    if not at.ndim:
        return ""
    first, more = np.argwhere(at)[0].tolist(), int(at.sum()) - 1
    return f" at {first}" + (f" and {more:,} more" if more else "")
