"""What a formula's numbers alone do not say: where something is infinite or undefined, where there is no derivative,
which input has no influence. Knows no HTTP."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from app.lab.chain_rule import Backward
from app.lab.formula import Formula
from app.lab.operations import COMPARISONS, STOP, WHERE
from app.lab.tape import Floats, Mask, Result

INFINITE, UNDEFINED, KINK, UNUSED = "infinite", "undefined", "kink", "unused"


class Note(TypedDict):
    """Something that the numbers alone do not say."""

    code: Annotated[str, Field(description="`kink`, `infinite`, `undefined` or `unused`.")]
    step: Annotated[int | None, Field(description="Of the graph.")]
    message: str


class Kinked(NamedTuple):
    """A step that has no derivative at some of its elements. It `matters` to the gradients if one arrives there that is
    not 0; else it can only matter to other derivatives."""

    place: int
    at: Mask
    taken: str
    matters: bool


def kinks_of(formula: Formula, steps: list[Result], gone: Backward) -> list[Kinked]:
    """Of the steps that move with an input and that the result moves with."""
    found = []
    for place, result in enumerate(steps):
        for kink in result.operation.kinks:
            if not (result.active or kink.jumps):
                continue
            at = kink.where(result)
            if not at.any() or not _moves_the_result(formula, place):
                continue
            arrived = gone.arrived.get(result)
            if arrived is not None and (matters := at & (arrived.value != 0)).any():
                found.append(Kinked(place, matters, kink.taken, True))
            else:
                found.append(Kinked(place, np.broadcast_to(at, result.shape), kink.taken, not result.active))
    return found


def _moves_the_result(formula: Formula, place: int) -> bool:
    """But for what `stop` holds, and for comparisons that only decide a `where`, which tells of them itself."""
    needed = {len(formula.steps) - 1}
    for each in range(len(formula.steps) - 1, place, -1):
        step = formula.steps[each]
        if each not in needed or step.operation is STOP:
            continue
        for at, argument in enumerate(step.arguments):
            other = formula.steps[argument]
            decides = step.operation is WHERE and at == 0 and other.operation in COMPARISONS.values()
            needed.update(other.arguments if decides else [argument])
    return place in needed


def notes_of(
    formula: Formula,
    steps: list[Result],
    inputs: Mapping[str, Result],
    gone: Backward,
    kinks: list[Kinked],
) -> Iterator[Note]:
    """Of the steps, of the pass backwards, and of the inputs' gradients."""
    places = {result: place for place, result in enumerate(steps)}
    finite = {result: _is_finite(result) for result in (*steps, *gone.arrived.values())}
    for place, result in enumerate(steps):
        text = formula.steps[place].text
        if not finite[result] and all(finite[argument] for argument in result.arguments):
            yield from not_finite(result.value, text, place)
        for kink in kinks:
            if kink.place == place:
                yield Note(code=KINK, step=place, message=f"{text} has no derivative{_where(kink.at)}: {kink.taken}")
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
