"""What a formula's numbers alone do not say: where something is infinite or undefined, where there is no derivative,
which input has no influence. Knows no HTTP."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from app.lab.chain_rule import Backward
from app.lab.formula import Formula, moving_with
from app.lab.tape import Floats, Result

INFINITE, UNDEFINED, KINK, UNUSED = "infinite", "undefined", "kink", "unused"


class Note(TypedDict):
    """Something that the numbers alone do not say."""

    code: Annotated[str, Field(description="`kink`, `infinite`, `undefined` or `unused`.")]
    step: Annotated[int | None, Field(description="Of the graph.")]
    message: str


def notes_of(formula: Formula, steps: list[Result], inputs: Mapping[str, Result], gone: Backward) -> Iterator[Note]:
    """Of the steps, of the pass backwards, and of the inputs' gradients."""
    places = {result: place for place, result in enumerate(steps)}
    finite = {result: _is_finite(result) for result in (*steps, *gone.arrived.values())}
    moving = {place for name in inputs for place in moving_with(formula, name)}
    for place, result in enumerate(steps):
        text = formula.steps[place].text
        if not finite[result] and all(finite[argument] for argument in result.arguments):
            yield from not_finite(result.value, text, place)
        kink = result.operation.kink
        if kink and place in moving and (at := kink.where(result)).any():
            yield Note(code=KINK, step=place, message=f"{text} has no derivative{_where(at)}: {kink.taken}")
    for edge in gone.edges:
        if finite[gone.arrived[edge.result]] and not _is_finite(edge.downstream):
            step, by = (formula.steps[places[each]].text for each in (edge.result, edge.argument))
            what = f"the gradient that goes from {step} to {by}"
            yield from not_finite(edge.downstream.value, what, places[edge.result])
    for name, each in inputs.items():
        if each in gone.arrived:
            yield from not_finite(gone.arrived[each].value, f"the gradient of {name}", places.get(each))
        elif gone.arrived:
            message = f"the result does not depend on {name} by a gradient"
            yield Note(code=UNUSED, step=places.get(each), message=message)


def not_finite(values: Floats, what: str, step: int | None = None) -> Iterator[Note]:
    """Element by element, the first of each kind."""
    if np.isfinite(values).all():
        return
    for code, shown, at in (
        (INFINITE, "∞", np.isposinf(values)),
        (INFINITE, "−∞", np.isneginf(values)),
        (UNDEFINED, "undefined", np.isnan(values)),
    ):
        if at.any():
            yield Note(code=code, step=step, message=f"{what} is {shown}{_where(at)}")


def _is_finite(result: Result) -> bool:
    value = result.value
    return bool(np.isfinite(value).all()) if value.ndim else math.isfinite(value)


def _where(at: Any) -> str:
    """Which element is the first, and how many more there are."""
    if not at.ndim:
        return ""
    first, more = np.argwhere(at)[0].tolist(), int(at.sum()) - 1
    return f" at {first}" + (f" and {more:,} more" if more else "")
