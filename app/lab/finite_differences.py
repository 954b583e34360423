"""Gradients against central differences of the values, element by element: how far they are apart, and where.

Knows no formula: who calls it computes the values, and tells how large the numbers are whose rounding reaches them.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from app.lab.tape import Floats

EPSILON = float(np.finfo(np.float64).eps)
# Where the error of rounding, of the order of eps / h, and that of the formula, h², are alike.
STEP = EPSILON ** (1 / 3)
SHORT = 1 / 30
MOST_CHECKED, LEAST_CHECKED = 8, 2
# Numbers to compute for one check.
MOST_WORK = 200_000
AGREES = 1e-6
# Beyond this share of the gradient, rounding leaves nothing to compare.
UNRELIABLE = 1e-6
# Rounding errors of a formula are some units in the last place.
UNITS = 8

# Of the formula as one number, when the named input has this value and the others stay as they are.
Value = Callable[[str, Floats], float]
# Of what is computed from the named input on the way to that number: how large it is together, each part as far as it
# reaches the number.
Magnitude = Callable[[str], float]
Place = tuple[int, ...]


@dataclass(frozen=True)
class Difference:
    """At one element. `error` is relative to the larger of both, absolute below 1."""

    name: str
    place: Place
    exact: float
    numeric: float
    error: float


@dataclass(frozen=True)
class Checked:
    """`elements` were compared, of so many that have a finite gradient; the worst of them, or None if there is none."""

    elements: int
    of: int
    worst: Difference | None

    @property
    def agrees(self) -> bool | None:
        """None if there was nothing to compare."""
        return None if self.worst is None else self.worst.error <= AGREES


def check(
    value: Value, magnitude: Magnitude, inputs: Mapping[str, Floats], gradients: Mapping[str, Floats], work: int
) -> Checked:
    """Of many elements some are looked at, evenly spread. Left out is what cannot be compared: where the value or a
    difference is infinite or undefined, or where the difference is less than what rounding does to the value. `work`
    is how many numbers a value takes. `magnitude` is asked only where the result's own does not explain a difference:
    large numbers that cancel leave their rounding behind."""
    finite = {name: np.flatnonzero(np.isfinite(gradient)) for name, gradient in gradients.items()}
    count = sum(len(places) for places in finite.values())
    most = min(MOST_CHECKED, max(LEAST_CHECKED, MOST_WORK // (4 * work)))
    compared = [
        difference
        for name, place in _spread(finite, inputs, most)
        if (difference := _best(value, magnitude, name, inputs[name], place, float(gradients[name][place])))
    ]
    worst = max(compared, key=lambda each: each.error, default=None)
    return Checked(len(compared), count, worst)


def _spread(
    finite: Mapping[str, "np.ndarray[tuple[int], np.dtype[np.intp]]"], inputs: Mapping[str, Floats], most: int
) -> Iterator[tuple[str, Place]]:
    ends = list(accumulate(len(places) for places in finite.values()))
    if not ends or not ends[-1]:
        return
    names = list(finite)
    apart = (ends[-1] - 1) / max(1, most - 1)
    for each in dict.fromkeys(round(apart * number) for number in range(most)):
        which = bisect_right(ends, each)
        name = names[which]
        flat = finite[name][each - (ends[which - 1] if which else 0)]
        yield name, tuple(int(index) for index in np.unravel_index(flat, inputs[name].shape))


def _best(
    value: Value, magnitude: Magnitude, name: str, values: Floats, place: Place, exact: float
) -> Difference | None:
    """By the first step that agrees, else the nearest: one that does not shrink with the number, one relative to it,
    which stays in the domain of log, say, and a short one, for high powers."""
    at = abs(float(values[place]))
    best: Difference | None = None
    for step in dict.fromkeys([STEP * max(1.0, at), STEP * at or STEP, SHORT * STEP * (at or 1.0)]):
        found = _difference(value, magnitude, name, values, place, exact, step)
        if found and (best is None or found.error < best.error):
            best = found
        if best and best.error <= AGREES:
            break
    return best


def _difference(
    value: Value, magnitude: Magnitude, name: str, values: Floats, place: Place, exact: float, step: float
) -> Difference | None:
    """None if nothing can be said by it."""
    at = float(values[place])
    high, low = (value(name, _moved(values, place, to)) for to in (at + step, at - step))
    width = (at + step) - (at - step)
    if not np.isfinite(high - low) or not width:
        return None
    numeric = (high - low) / width
    scale = max(1.0, abs(numeric), abs(exact))
    apart = abs(numeric - exact)
    rounding = UNITS * EPSILON * (abs(high) + abs(low)) / width
    if apart - rounding > AGREES * scale:
        rounding = max(rounding, UNITS * EPSILON * 2 * magnitude(name) / width)
    # A number so large that its neighbours are far away may be anything to a function that turns quickly.
    tells_nothing = rounding > UNRELIABLE * scale or np.spacing(abs(at)) > UNRELIABLE
    if tells_nothing and apart > AGREES * scale:
        return None
    return Difference(name, place, exact, numeric, max(0.0, apart - rounding) / scale)


def _moved(values: Floats, place: Place, to: float) -> Floats:
    moved = values.copy()
    moved[place] = to
    return moved
