"""A caller's curve: its values on a fine grid, and samples of it with noise. Knows no network."""

import numpy as np

from app.errors import InvalidRequest
from app.lab.approximation import Samples
from app.lab.approximation_request import MOST_VALUE, Asked
from app.lab.formula import Formula, run
from app.lab.tape import Floats, variable

# The clean curve is looked at in so many places.
GRID = 301


def sampled(asked: Asked) -> tuple[Samples, Samples]:
    """The samples, and the curve itself. Raises InvalidRequest for one that is no function of each x alone, or without
    a value somewhere."""
    clean, exact = (_on(asked.curve, np.linspace(asked.low, asked.high, count)) for count in (GRID, asked.points))
    _require_alone(asked.curve, clean)
    noise = asked.noise * np.random.default_rng(asked.seed).normal(size=asked.points)
    return Samples(exact.x, exact.y + noise), clean


def _on(curve: Formula, x: Floats) -> Samples:
    y = _values(curve, x)
    wrong = np.flatnonzero(~(np.abs(y) <= MOST_VALUE**2))
    if len(wrong):
        raise InvalidRequest(
            f"curve is {y[wrong[0]]:g} at x = {x[wrong[0]]:g}; allowed are numbers of −{MOST_VALUE**2:g} to "
            f"{MOST_VALUE**2:g} everywhere from low to high"
        )
    return Samples(x, y)


def _values(curve: Formula, x: Floats) -> Floats:
    with np.errstate(all="ignore"):
        values = run(curve, {"x": variable(x)})[-1].value
    if values.shape not in ((), x.shape):
        raise InvalidRequest(
            f"curve gives {list(values.shape)} for {len(x)} values of x; allowed is one number for each of them"
        )
    return np.broadcast_to(values, x.shape)


def _require_alone(curve: Formula, clean: Samples) -> None:
    half = GRID // 2  # the first: every other place would have the same mean
    if not np.allclose(_values(curve, clean.x[:half]), clean.y[:half], rtol=1e-9, atol=1e-12):
        raise InvalidRequest(
            "curve is another one for other values of x beside it; allowed are functions of each x alone"
        )
