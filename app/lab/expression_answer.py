"""What a caller of a formula is answered: value, gradients, every step with the chain rule's numbers, a check. Knows no
HTTP."""

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from app.errors import ContentTooLarge, GoOn, InvalidRequest
from app.lab import formula as formulas
from app.lab.chain_rule import Backward, backward, hessian, jacobian
from app.lab.expression_graph import StepTold, graph_told
from app.lab.expression_notes import Note, kinks_of, not_finite, notes_of
from app.lab.expression_request import SHAPES, Asked
from app.lab.finite_differences import AGREES, MOST_CHECKED, check
from app.lab.tape import Floats, Result, constant, variable

# Numbers in a Jacobian or Hessian matrix.
MOST_DERIVATIVES = 10_000
# A step takes some microseconds, as much as so many numbers in one; a second pass goes over the first one's steps, too.
STEP_WORK, HESSIAN_WEIGHT, MOST_WORK = 1_000, 4, 3_000_000

Told = Annotated[
    Any, Field(description=f"{SHAPES} null stands for what is infinite or undefined; `notes` tells which.")
]


class CheckTold(TypedDict):
    """Central differences of the value, (f(x + h) − f(x − h)) / 2h, against the gradients."""

    agrees: Annotated[
        bool | None,
        Field(
            description=f"Whether the largest error is at most {AGREES:g}. null if differences cannot tell: nothing is "
            "finite, all digits are lost to rounding, or the gradients pass a kink that `notes` tell of."
        ),
    ]
    largest_error: Annotated[
        float | None, Field(description="Relative to the larger of both, absolute below 1; null if it is no number.")
    ]
    at: Annotated[dict[str, Any] | None, Field(description="Where: input, index, gradient, difference.")]
    checked: Annotated[int, Field(description=f"So many elements, at most {MOST_CHECKED}, evenly spread.")]
    of: Annotated[int, Field(description="So many elements have a finite gradient.")]


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


def answer(asked: Asked, go_on: GoOn = lambda: None) -> Differentiated:
    """Raises InvalidRequest for shapes that do not fit, ContentTooLarge beyond the limits. `go_on` is called before
    each piece of work, and what it raises ends it."""
    with np.errstate(all="ignore"):  # what is infinite or undefined is told
        return _answer(asked, go_on)


def _answer(asked: Asked, go_on: GoOn) -> Differentiated:
    inputs = {name: variable(value) for name, value in asked.inputs.items()}
    constants = {name: constant(value) for name, value in asked.constants.items()}
    steps = formulas.run(asked.formula, {**inputs, **constants})
    result = steps[-1]
    v = _v(asked, result)
    go_on()
    gone = backward(result, constant(v)) if v is not None else Backward({}, [])
    kinks = kinks_of(asked.formula, steps, gone)
    every = asked.jacobian or asked.hessian
    told_kinks = [each for each in kinks if each.matters or every]
    told = Differentiated(
        expression=asked.formula.text,
        shape=list(result.shape),
        value=result.value.tolist(),
        gradients=None,
        notes=list(notes_of(asked.formula, steps, inputs, gone, told_kinks)),
    )
    if v is not None:
        gradients = {name: _arrived(gone, each) for name, each in inputs.items()}
        told["gradients"] = {name: each.tolist() for name, each in gradients.items()}
    if asked.jacobian:
        go_on()
        told["jacobian"] = _jacobian(steps, inputs, told["notes"], go_on)
    if asked.hessian:
        go_on()
        told["hessian"] = _hessian(steps, inputs, told["notes"], go_on)
    if asked.graph:
        go_on()
        told["graph"] = graph_told(asked.formula, steps, gone)
    if asked.check and v is not None:
        go_on()
        told["check"] = _check(asked, steps, v, gone, gradients, any(each.matters for each in kinks))
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


def _require_few(steps: list[Result], passes: int, weight: int, elements: int, what: str) -> None:
    """`weight` is how many times as long a pass takes as one backwards over the steps."""
    if elements > MOST_DERIVATIVES:
        raise ContentTooLarge(f"the {what} has {elements:,} elements; at most {MOST_DERIVATIVES:,} are allowed")
    work = weight * sum(STEP_WORK + step.value.size for step in steps)
    most = MOST_WORK // work
    if passes > most:
        raise ContentTooLarge(
            f"the {what} takes {passes:,} passes over {len(steps)} steps of this size; at most {most:,} are allowed"
        )


def _jacobian(steps: list[Result], inputs: Mapping[str, Result], notes: list[Note], go_on: GoOn) -> dict[str, Any]:
    result, elements = steps[-1], sum(each.value.size for each in inputs.values())
    _require_few(steps, result.value.size, 1, result.value.size * elements, "jacobian")
    found = dict(zip(inputs, jacobian(result, list(inputs.values()), go_on), strict=True))
    for name, each in found.items():
        notes.extend(not_finite(each, f"the jacobian by {name}"))
    return {name: each.tolist() for name, each in found.items()}


def _hessian(
    steps: list[Result], inputs: Mapping[str, Result], notes: list[Note], go_on: GoOn
) -> dict[str, dict[str, Any]]:
    result, elements = steps[-1], sum(each.value.size for each in inputs.values())
    if result.shape:
        raise InvalidRequest(f"the hessian is that of one number; the result has the shape {list(result.shape)}")
    _require_few(steps, elements, HESSIAN_WEIGHT, elements**2, "hessian")
    told: dict[str, dict[str, Any]] = {}
    for one, row in zip(inputs, hessian(result, list(inputs.values()), go_on), strict=True):
        for other, each in zip(inputs, row, strict=True):
            notes.extend(not_finite(each, f"the hessian by {one} and {other}"))
        told[one] = {other: each.tolist() for other, each in zip(inputs, row, strict=True)}
    return told


# --- the check -------------------------------------------------------------------------------------------------------


def _check(
    asked: Asked, steps: list[Result], v: Floats, gone: Backward, gradients: Mapping[str, Floats], has_kinks: bool
) -> CheckTold:
    values = [step.value for step in steps]
    moving = {name: formulas.moving_with(asked.formula, name) for name in asked.inputs}

    def value(name: str, moved: Floats) -> float:
        result = formulas.moved(asked.formula, values, moving[name], moved)
        return float((v * result).sum())

    def magnitude(name: str) -> float:
        """Of each number that moves, or goes into one that does: what a rounding of it, by its gradient, does to the
        result."""
        into = {*moving[name], *(each for place in moving[name] for each in asked.formula.steps[place].arguments)}
        reached = [steps[place] for place in into if steps[place] in gone.arrived]
        return float(sum(np.nansum(np.abs(gone.arrived[each].value * each.value)) for each in reached))

    checked = check(value, magnitude, asked.inputs, gradients, work=sum(each.size for each in values))
    worst = checked.worst
    return CheckTold(
        agrees=None if has_kinks and not checked.agrees else checked.agrees,
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
