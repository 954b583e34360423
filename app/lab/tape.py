"""Results that remember what they were computed from. Knows no particular operation (app/lab/operations.py), no chain
rule (app/lab/chain_rule.py) and no text (app/lab/formula.py)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Kink:
    """Where an operation has no derivative, and what is taken for it there. Where it `jumps` it matters to who takes
    differences even if no gradient goes through it."""

    where: Callable[["Result"], Mask]  # in a shape that broadcasts to the result's
    taken: str
    jumps: bool = False


def _nothing(*values: Floats, **options: Any) -> str | None:
    return None


@dataclass(frozen=True, eq=False)
class Operation:
    """`forward` computes on arrays.

    An operation that works element by element has `partials`, one for each argument: the derivative of each element of
    the result by the argument's element that it comes from, in a shape that broadcasts to the result's; None for an
    argument that chooses and gets no gradient. Where one of `blocks`, likewise for each argument, is true, nothing
    goes on, whatever arrives: 0 times infinity would be undefined. Another operation has `pullbacks`: from the result
    and the gradient that arrives at it to the one that goes on to the argument. One that has neither stops gradients.
    `refuse` says of values what is wrong with them, before anything is computed.
    """

    name: str
    forward: Callable[..., Any]
    partials: tuple[Callable[["Result"], "Result"] | None, ...] = ()
    blocks: tuple[Callable[["Result", "Result"], Mask], ...] = ()  # of the result and what arrives at it
    pullbacks: tuple[Callable[["Result", "Result"], "Result"], ...] = ()
    kinks: tuple[Kink, ...] = ()
    refuse: Callable[..., str | None] = _nothing

    def passes_to(self, place: int) -> bool:
        """Whether gradients go on to the argument in that place."""
        return bool(self.pullbacks) or (bool(self.partials) and self.partials[place] is not None)


@dataclass(eq=False, slots=True)
class Result:
    """A value, in float64, that nobody changes: `frozen` would make that sure and takes as long as what is computed.
    `active` if it depends on something that is differentiated by."""

    operation: Operation
    arguments: tuple["Result", ...]
    value: Floats
    active: bool
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape


INPUT = Operation("input", _nothing)
NUMBER = Operation("number", _nothing)


def variable(value: Any) -> Result:
    """Something that is differentiated by."""
    return Result(INPUT, (), np.asarray(value, np.float64), active=True)


def constant(value: Any) -> Result:
    return Result(NUMBER, (), np.asarray(value, np.float64), active=False)


def apply(operation: Operation, *arguments: Result, **options: Any) -> Result:
    value = operation.forward(*[argument.value for argument in arguments], **options)
    active = False
    for place, argument in enumerate(arguments):
        active = active or (argument.active and operation.passes_to(place))
    return Result(operation, arguments, np.asarray(value, np.float64), active, options)


def in_order(result: Result) -> list[Result]:
    """Whatever it was computed from, arguments first and itself last. Without recursion, whose depth is bounded."""
    order: dict[Result, None] = {}
    waiting = [(result, False)]
    while waiting:
        each, arguments_are_done = waiting.pop()
        if each in order:
            continue
        if arguments_are_done:
            order[each] = None
        else:
            waiting.append((each, True))
            waiting.extend((argument, False) for argument in reversed(each.arguments))
    return list(order)
