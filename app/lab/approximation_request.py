"""What a caller asks of networks that follow a curve, out of JSON, within limits. Knows no HTTP."""

from dataclasses import dataclass
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from app.errors import InvalidRequest
from app.lab.document import number, read_object, whole
from app.lab.formula import Formula, read_formula
from app.rows import quoted

MOST_BYTES = 20_000  # who reads the body sees to it
MOST_UNITS, MOST_NETWORKS, FEWEST_POINTS, MOST_POINTS, MOST_SEED = 100, 10, 5, 200, 2**32 - 1
MOST_VALUE, MOST_NOISE = 1e3, 10.0
CURVE, UNITS, POINTS = "sin(x) + x/3", [1, 2, 4, 8, 16, 32], 40
LOW, HIGH, NOISE = 0.0, 9.0, 0.0
NARROWEST = 1e-6
# Of a network, and of a step of the curve.
NETWORK_SECONDS, STEP_SECONDS = 1.5e-3, 2e-5


@with_config(ConfigDict(extra="forbid"))
class ApproximationRequest(TypedDict):
    """A curve, samples of it, and how many hidden units are to follow it."""

    curve: NotRequired[
        Annotated[
            str,
            Field(
                description="A formula of `x`, as /gradients/expression reads them, that answers each x alone: no sums "
                "or softmax over all of them.",
                default=CURVE,
            ),
        ]
    ]
    low: NotRequired[Annotated[float, Field(description="Where x begins.", default=LOW, ge=-MOST_VALUE, le=MOST_VALUE)]]
    high: NotRequired[
        Annotated[float, Field(description="Where it ends.", default=HIGH, ge=-MOST_VALUE, le=MOST_VALUE)]
    ]
    points: NotRequired[
        Annotated[
            int,
            Field(description="Samples, at equal distances.", default=POINTS, ge=FEWEST_POINTS, le=MOST_POINTS),
        ]
    ]
    noise: NotRequired[
        Annotated[
            float, Field(description="Standard deviation of what is added to them.", default=NOISE, ge=0, le=MOST_NOISE)
        ]
    ]
    units: NotRequired[
        Annotated[
            list[Annotated[int, Field(ge=1, le=MOST_UNITS)]],
            Field(
                description=f"Hidden units of each network, 1 to {MOST_UNITS}, in rising order.",
                default=UNITS,
                min_length=1,
                max_length=MOST_NETWORKS,
            ),
        ]
    ]
    seed: NotRequired[Annotated[int, Field(description="Of the noise.", default=0, ge=0, le=MOST_SEED)]]


@dataclass(frozen=True)
class Asked:
    """A request that can be read; whether the curve has values everywhere is seen when it is computed."""

    curve: Formula
    low: float
    high: float
    points: int
    noise: float
    seed: int
    units: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """As is to be expected, roughly."""
        return len(self.units) * NETWORK_SECONDS + len(self.curve.steps) * STEP_SECONDS


def read_approximation(body: bytes) -> Asked:
    """Raises InvalidRequest, which names the culprit and what is allowed."""
    document = read_object(body, [], list(ApproximationRequest.__annotations__))
    curve = document.get("curve", CURVE)
    if not isinstance(curve, str):
        raise InvalidRequest(f"curve is {quoted(curve)}; allowed is a formula of x")
    formula = read_formula(curve, ["x"])
    low = number(document, "low", LOW, -MOST_VALUE, MOST_VALUE)
    high = number(document, "high", HIGH, -MOST_VALUE, MOST_VALUE)
    if not high - low >= NARROWEST * max(1.0, abs(low), abs(high)):
        raise InvalidRequest(f"high is {high:g}; allowed is more than low, {low:g}")
    noise = number(document, "noise", NOISE, 0, MOST_NOISE)
    points = whole(document, "points", POINTS, FEWEST_POINTS, MOST_POINTS)
    seed = whole(document, "seed", 0, 0, MOST_SEED)
    return Asked(formula, low, high, points, noise, seed, _units(document.get("units", UNITS)))


def _units(value: Any) -> tuple[int, ...]:
    allowed = f"a list of at most {MOST_NETWORKS} whole numbers of 1 to {MOST_UNITS}, in rising order"
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_NETWORKS:
        raise InvalidRequest(f"units is {quoted(value)}; allowed is {allowed}")
    right = all(type(each) is int and 1 <= each <= MOST_UNITS for each in value)
    if not right or sorted(set(value)) != value:
        raise InvalidRequest(f"units is {quoted(value)}; allowed is {allowed}")
    return tuple(value)
