"""Gradients against central differences of the values, element by element: how far they are apart, and where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from app.lab.tape import Floats

# Where the error of rounding, of the order of eps / h, and that of the formula, h², are alike.
STEP = float(np.finfo(np.float64).eps ** (1 / 3))
MOST_CHECKED = 16
AGREES = 1e-6


@dataclass(frozen=True)
class Difference:
    """At one element. `error` is relative to the larger of both, absolute below 1."""

    name: str
    place: tuple[int, ...]
    exact: float
    numeric: float
    error: float


@dataclass(frozen=True)
class Checked:
    """`elements` of so many that have a finite gradient; the worst of them, or None if there is none."""

    elements: int
    of: int
    worst: Difference | None

    @property
    def agrees(self) -> bool | None:
        """None if there was nothing to check."""
        return None if self.worst is None else self.worst.error <= AGREES


# Of the formula as one number, when the named input has this value and the others stay as they are.
Value = Callable[[str, Floats], float]


def check(value: Value, inputs: Mapping[str, Floats], gradients: Mapping[str, Floats]) -> Checked:
    """Of many elements some are looked at, evenly spread; none if the value itself is infinite or undefined."""
    places = [
        (name, place)
        for name, gradient in gradients.items()
        for place in np.ndindex(gradient.shape)
        if np.isfinite(gradient[place])
    ]
    if not places or not np.isfinite(value(places[0][0], inputs[places[0][0]])):
        return Checked(0, len(places), None)
    spread = np.linspace(0, len(places) - 1, MOST_CHECKED).round().astype(int)
    chosen = [places[each] for each in np.unique(spread)]
    differences = [_difference(value, inputs, name, place, float(gradients[name][place])) for name, place in chosen]
    # A difference that is no number is the worst of all.
    worst = max(differences, key=lambda each: np.inf if np.isnan(each.error) else each.error, default=None)
    return Checked(len(chosen), len(places), worst)


def _difference(
    value: Value, inputs: Mapping[str, Floats], name: str, place: tuple[int, ...], exact: float
) -> Difference:
    at = float(inputs[name][place])
    step = STEP * max(1.0, abs(at))
    above, below = (_moved(inputs[name], place, to) for to in (at + step, at - step))
    numeric = (value(name, above) - value(name, below)) / ((at + step) - (at - step))
    error = abs(numeric - exact) / max(1.0, abs(numeric), abs(exact))
    return Difference(name, place, exact, numeric, error)


def _moved(values: Floats, place: tuple[int, ...], to: float) -> Floats:
    moved = values.copy()
    moved[place] = to
    return moved
