"""What a caller asks of gradients through a deep network, out of JSON, within limits. Knows no HTTP."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from app.errors import InvalidRequest
from app.lab.document import read_object, whole
from app.lab.gradient_flow import LAYERS, STARTS
from app.rows import quoted

MOST_BYTES = 10_000  # who reads the body sees to it
MOST_DEPTH, MOST_WIDTH, MOST_SAMPLES, MOST_SEED = 30, 64, 64, 2**32 - 1
DEPTH, WIDTH, SAMPLES, START = 10, 32, 64, "xavier"
# Of one layer under one activation function, there and back.
LAYER_SECONDS = 3e-4


@with_config(ConfigDict(extra="forbid"))
class FlowRequest(TypedDict):
    """The same deep network under several activation functions."""

    activations: NotRequired[
        Annotated[
            list[Literal["sigmoid", "tanh", "relu"]],
            Field(
                description="Which, each once; all of them if it is left out.",
                min_length=1,
                max_length=len(LAYERS),
                json_schema_extra={"uniqueItems": True},
            ),
        ]
    ]
    depth: NotRequired[Annotated[int, Field(description="Hidden layers.", default=DEPTH, ge=1, le=MOST_DEPTH)]]
    width: NotRequired[Annotated[int, Field(description="Units in each.", default=WIDTH, ge=1, le=MOST_WIDTH)]]
    samples: NotRequired[
        Annotated[int, Field(description="Random ones that go through.", default=SAMPLES, ge=1, le=MOST_SAMPLES)]
    ]
    start: NotRequired[
        Annotated[
            Literal["xavier", "he", "small", "large"],
            Field(
                description="The weights' standard deviation: `xavier` √(2 / (inputs + outputs)), `he` √(2 / inputs), "
                "`small` 0.05, `large` 3 / √inputs.",
                default=START,
            ),
        ]
    ]
    seed: NotRequired[
        Annotated[int, Field(description="The same seed, the same network.", default=0, ge=0, le=MOST_SEED)]
    ]


@dataclass(frozen=True)
class Asked:
    activations: tuple[str, ...]
    depth: int
    width: int
    samples: int
    start: str
    seed: int

    @property
    def seconds(self) -> float:
        """As is to be expected, roughly."""
        return len(self.activations) * self.depth * LAYER_SECONDS


def read_flow(body: bytes) -> Asked:
    """Raises InvalidRequest, which names the culprit and what is allowed."""
    document = read_object(body, [], list(FlowRequest.__annotations__))
    start = document.get("start", START)
    if not isinstance(start, str) or start not in STARTS:
        raise InvalidRequest(f"start is {quoted(start)}; allowed is one of {', '.join(STARTS)}")
    return Asked(
        _activations(document.get("activations", list(LAYERS))),
        whole(document, "depth", DEPTH, 1, MOST_DEPTH),
        whole(document, "width", WIDTH, 1, MOST_WIDTH),
        whole(document, "samples", SAMPLES, 1, MOST_SAMPLES),
        start,
        whole(document, "seed", 0, 0, MOST_SEED),
    )


def _activations(value: Any) -> tuple[str, ...]:
    known = isinstance(value, list) and all(isinstance(each, str) and each in LAYERS for each in value)
    if not known or not value or len(set(value)) != len(value):
        raise InvalidRequest(
            f"activations is {quoted(value)}; allowed is a list of {', '.join(LAYERS)}, each once at most"
        )
    return tuple(value)
