"""What a caller sends to a demo: numbers for its inputs, out of JSON, within the bounds of its card. Knows no HTTP."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, NotRequired

import numpy as np
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from app.card import Array, Axis, DemoCard, DemoInput
from app.errors import InvalidRequest
from app.lab.demo import array_of
from app.lab.document import count, numbers, read_object
from app.rows import quoted

MOST_BYTES = 50_000  # who reads the body sees to it
MOST_OF_A_NAME = 40
MOST_NUMBERS = 400  # of an input; its axes may allow less
SECONDS = 0.0005  # of the largest one, as measured, for telling long queues from short ones

Sent = float | list[float] | dict[str, float] | list[list[float]]


@with_config(ConfigDict(extra="forbid"))
class DemoRequest(TypedDict):
    """Numbers for a demo's inputs."""

    inputs: NotRequired[
        Annotated[
            dict[str, Sent],
            Field(
                description="By name; what is not sent is as by default. A number, a list of numbers (a vector), a "
                "list of rows of one length (a matrix), or an object: a vector whose numbers have names, by which they "
                "are told again. Names, shapes, defaults and bounds of each demo are at `/gradients`; no input may "
                "have more than 400 numbers, and no number may be beyond 1e6.",
            ),
        ]
    ]


class Asked(NamedTuple):
    """A request that can be read; whether it is what the demo takes, its card tells."""

    inputs: Mapping[str, Any]
    seconds: float = SECONDS


class Given(NamedTuple):
    """What the graph takes, and what the numbers along an axis are called, if they have names."""

    arrays: dict[str, Array]
    names: dict[str, list[str]]


def read_demo_request(body: bytes) -> Asked:
    """Raises InvalidRequest."""
    inputs = read_object(body, [], list(DemoRequest.__annotations__)).get("inputs", {})
    if not isinstance(inputs, dict):
        raise InvalidRequest(f"inputs is {quoted(inputs)}; allowed is an object of numbers by name")
    return Asked(inputs)


def given_to(card: DemoCard, inputs: Mapping[str, Any]) -> Given:
    """Raises InvalidRequest, or ContentTooLarge for too many numbers, which name the culprit and what is allowed."""
    known = [each.name for each in card.inputs]
    for name in inputs:
        if name not in known:
            raise InvalidRequest(f"demo {card.name!r} has no input {quoted(name)}; it has: {', '.join(known)}")
    values = {each.name: inputs.get(each.name, each.default) for each in card.inputs}
    names = _names(card, values, inputs)
    arrays = {}
    for each in card.inputs:
        value = values[each.name]
        if isinstance(value, dict):
            value = [value[name] for name in names[each.shape[0]]]
        arrays[each.name] = _array(card, each, value)
    _require_equal_axes(card, arrays, inputs)
    return Given(arrays, names)


def _names(card: DemoCard, values: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, list[str]]:
    """By axis, in the order in which the first input that has them names its numbers."""
    found: dict[str, tuple[str, list[str]]] = {}
    for each in card.inputs:
        value = values[each.name]
        if not isinstance(value, dict):
            continue
        if len(each.shape) != 1:
            raise InvalidRequest(f"input {each.name!r} is an object; allowed is {_shape(each)}")
        for name in value:
            if len(name) > MOST_OF_A_NAME:
                raise InvalidRequest(
                    f"input {each.name!r} has a name of {len(name):,} characters; at most {MOST_OF_A_NAME} are allowed"
                )
        other, names = found.setdefault(each.shape[0], (each.name, list(value)))
        if set(names) != set(value):
            raise InvalidRequest(
                f"inputs {other!r} and {each.name!r} name different numbers: {quoted(names)}, {quoted(list(value))}"
                f"{_hint(sent, other, each.name)}"
            )
    return {axis: names for axis, (_, names) in found.items()}


def _array(card: DemoCard, each: DemoInput, value: Any) -> Array:
    what = f"input {each.name!r}"
    array = numbers(value, what, MOST_NUMBERS)
    if array.ndim != len(each.shape):
        raise InvalidRequest(f"{what} has the shape {list(array.shape)}; allowed is {_shape(each)}")
    for axis, size in zip(each.shape, array.shape, strict=True):
        _require_size(what, axis, size, card.axes[axis])
    if (wrong := array[(array < each.least) | (array > each.most)]).size:
        raise InvalidRequest(f"{what} has {wrong[0]:g} in it; allowed is {each.least:g} to {each.most:g}")
    if each.whole and array != np.floor(array):
        raise InvalidRequest(f"{what} is {array:g}; allowed is a whole number of {each.least:g} to {each.most:g}")
    if (norm := float(np.linalg.norm(array))) < each.least_norm:
        raise InvalidRequest(f"{what} has the norm {norm:g}; allowed is {each.least_norm:g} and more")
    return array_of(each, array.tolist())


def _shape(each: DemoInput) -> str:
    """In words."""
    return ("a number", "a list of numbers, or an object of them", "a list of rows of numbers")[len(each.shape)]


def _require_size(what: str, axis: str, size: int, allowed: Axis) -> None:
    if not allowed.least <= size <= allowed.most:
        raise InvalidRequest(
            f"{what} has {size:,} along its axis {axis}; allowed are {allowed.least} to {allowed.most}"
        )


def _require_equal_axes(card: DemoCard, arrays: Mapping[str, Array], sent: Mapping[str, Any]) -> None:
    sizes: dict[str, tuple[str, int]] = {}
    for each in card.inputs:
        for axis, size in zip(each.shape, arrays[each.name].shape, strict=True):
            other, before = sizes.setdefault(axis, (each.name, size))
            if size != before:
                raise InvalidRequest(
                    f"inputs {other!r} and {each.name!r} have {count(before, 'number')} and {size:,}; "
                    f"allowed are equally many{_hint(sent, other, each.name)}"
                )


def _hint(sent: Mapping[str, Any], *names: str) -> str:
    """Of what does not fit together, what the caller has left out."""
    return next((f"; {name!r} is as by default: send it, too" for name in names if name not in sent), "")
