"""What a caller asks of an activation function: which, with which parameter, and where. Knows no HTTP."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from app.errors import InvalidRequest
from app.lab.activations import ACTIVATIONS, SOFTMAX, Activation, Parameters
from app.lab.document import number, numbers, read_object, whole
from app.lab.tape import Floats
from app.rows import quoted

MOST_BYTES = 100_000  # who reads the body sees to it
MOST_POINTS, MOST_OF_SOFTMAX = 1_001, 64
MOST_X, MOST_ALPHA, MOST_SLOPE = 1e6, 1e3, 10.0
MOST = {"alpha": MOST_ALPHA, "slope": MOST_SLOPE}
FROM, TO, POINTS = -6.0, 6.0, 121
RANGE = ("from", "to", "points")
# As measured, for telling long queues from short ones.
SECONDS, POINT_SECONDS = 2e-4, 1e-6


@with_config(ConfigDict(extra="forbid"))
class ActivationRequest(TypedDict):
    """A function, and where it is to be computed: over a range, or at x."""

    function: Annotated[
        Literal["step", "sigmoid", "tanh", "softplus", "relu", "leaky-relu", "softmax"],
        Field(description="The step is 1 above 0 and 0 elsewhere. `softmax` is of a vector: it takes `x`, no range."),
    ]
    alpha: NotRequired[
        Annotated[
            float, Field(description="Of sigmoid and tanh: x times this.", ge=-MOST_ALPHA, le=MOST_ALPHA, default=1)
        ]
    ]
    slope: NotRequired[
        Annotated[float, Field(description="Of leaky-relu, below 0.", ge=-MOST_SLOPE, le=MOST_SLOPE, default=0.01)]
    ]
    from_: NotRequired[
        Annotated[float, Field(alias="from", description="The first x.", ge=-MOST_X, le=MOST_X, default=FROM)]
    ]
    to: NotRequired[
        Annotated[float, Field(description="The last x, greater than the first.", ge=-MOST_X, le=MOST_X, default=TO)]
    ]
    points: NotRequired[
        Annotated[int, Field(description="How many x, evenly spread.", ge=2, le=MOST_POINTS, default=POINTS)]
    ]
    x: NotRequired[
        Annotated[
            list[float],
            Field(
                description=f"In the place of a range; at most {MOST_POINTS:,} numbers, {MOST_OF_SOFTMAX} for softmax, "
                f"none beyond {MOST_X:g}.",
                min_length=1,
                max_length=MOST_POINTS,
            ),
        ]
    ]


@dataclass(frozen=True)
class Asked:
    name: str
    parameters: Parameters
    x: Floats

    @property
    def activation(self) -> Activation:
        return ACTIVATIONS[self.name]

    @property
    def seconds(self) -> float:
        """As is to be expected, roughly."""
        passes = self.x.size if self.name == SOFTMAX else 1
        return passes * SECONDS + POINT_SECONDS * self.x.size


def read_activation(body: bytes) -> Asked:
    """Raises InvalidRequest, or ContentTooLarge beyond a limit of size, which name the culprit and what is allowed."""
    document = read_object(body, ["function"], [*MOST, *RANGE, "x"])
    name = document["function"]
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise InvalidRequest(f"function is {quoted(name)}; allowed are {', '.join(ACTIVATIONS)}")
    return Asked(name, _parameters(document, name), _x(document, name))


def _parameters(document: dict[str, Any], name: str) -> Parameters:
    activation = ACTIVATIONS[name]
    for parameter in MOST:
        if parameter in document and parameter != activation.parameter:
            takers = [each for each, one in ACTIVATIONS.items() if one.parameter == parameter]
            raise InvalidRequest(f"{name} takes no {parameter}; those that do: {', '.join(takers)}")
    if activation.parameter is None:
        return {}
    most = MOST[activation.parameter]
    return {activation.parameter: number(document, activation.parameter, activation.default, -most, most)}


def _x(document: dict[str, Any], name: str) -> Floats:
    ranged = [each for each in RANGE if each in document]
    if "x" in document:
        if ranged:
            raise InvalidRequest(f"there are x and {ranged[0]}; allowed is a list of x, or a range")
        return _listed(document["x"], MOST_OF_SOFTMAX if name == SOFTMAX else MOST_POINTS)
    if name == SOFTMAX:
        raise InvalidRequest("softmax is of a vector, and there is no x; allowed is a list of numbers")
    first, last = (number(document, *each, -MOST_X, MOST_X) for each in (("from", FROM), ("to", TO)))
    if first >= last:
        raise InvalidRequest(f"the range is from {first:g} to {last:g}; allowed is a to that is greater than from")
    return np.linspace(first, last, whole(document, "points", POINTS, 2, MOST_POINTS))


def _listed(value: Any, most: int) -> Floats:
    found = numbers(value, "x", most)
    if found.ndim != 1:
        raise InvalidRequest(f"x is {quoted(value)}; allowed is a list of numbers")
    if (largest := np.abs(found).max()) > MOST_X:
        raise InvalidRequest(f"x has a number of size {largest:g}; at most {MOST_X:g} is allowed")
    return found
