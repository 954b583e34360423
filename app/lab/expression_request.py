"""What a caller asks of a formula: its inputs and what is wanted, out of JSON, within limits. Knows no HTTP.

The limits keep one request to a few hundredths of a second of one thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from app.errors import ContentTooLarge, InvalidRequest
from app.lab.document import numbers, read_object, truth
from app.lab.formula import FUNCTIONS, MOST_CHARACTERS, MOST_STEPS, Formula, read_formula, require_input_name
from app.lab.operations import MOST_ELEMENTS
from app.lab.tape import Floats
from app.rows import quoted

MOST_BYTES = 500_000  # who reads the body sees to it
MOST_INPUTS, MOST_DRAWN = 20, 60
# As measured, for telling long queues from short ones.
BASE_SECONDS, STEP_SECONDS, ELEMENT_SECONDS, DERIVATIVES = 5e-4, 5e-5, 2e-7, 10
# Numbers of all inputs together.
MOST_NUMBERS = 20_000

Numbers = float | list[float] | list[list[float]]
SHAPES = "A number, a list of numbers (a vector) or a list of rows of one length (a matrix)."


@with_config(ConfigDict(extra="forbid"))
class ExpressionRequest(TypedDict):
    """A formula of the caller's own, and numbers for its inputs."""

    expression: Annotated[
        str,
        Field(
            description="Numbers, named inputs, `pi`, `+ - * / ** @`, comparisons (1 where they are so, else 0), "
            f"parentheses and the functions {', '.join(f'`{name}`' for name in FUNCTIONS)}. Shapes broadcast as in "
            "NumPy and PyTorch. `sum`, `mean`, `max`, `min` and `norm` take `axis` and `keepdims`, `softmax` takes "
            "`axis`; `max` and `min` of two arguments choose element by element; `stop(x)` is x without a gradient. "
            f"At most {MOST_CHARACTERS:,} characters and {MOST_STEPS} steps.",
            min_length=1,
            max_length=MOST_CHARACTERS,
        ),
    ]
    inputs: NotRequired[
        Annotated[
            dict[str, Numbers],
            Field(
                description=f"What the result is differentiated by, at most {MOST_INPUTS}, by name: letters and "
                f"digits. {SHAPES}"
            ),
        ]
    ]
    constants: NotRequired[
        Annotated[dict[str, Numbers], Field(description="Inputs that need no gradient, as `requires_grad=False`.")]
    ]
    v: NotRequired[
        Annotated[
            Numbers,
            Field(
                description="In the shape of the result, which may then be a vector or a matrix: gradients are those "
                "of the sum of `v` times the result, the vector–Jacobian product."
            ),
        ]
    ]
    jacobian: NotRequired[
        Annotated[
            bool,
            Field(
                description="Also each element of the result by each element of each input; a result that is no "
                "single number then needs no `v`.",
                default=False,
            ),
        ]
    ]
    hessian: NotRequired[
        Annotated[bool, Field(description="Also the second derivatives of a result that is one number.", default=False)]
    ]
    graph: NotRequired[
        Annotated[bool, Field(description="Every step, with its value, gradient and local gradients.", default=True)]
    ]
    check: NotRequired[Annotated[bool, Field(description="Gradients against differences of the values.", default=True)]]


@dataclass(frozen=True)
class Asked:
    """A request that can be read; whether its shapes fit, computing it tells."""

    formula: Formula
    inputs: Mapping[str, Floats]
    constants: Mapping[str, Floats]
    v: Floats | None = None
    jacobian: bool = False
    hessian: bool = False
    graph: bool = True
    check: bool = True

    def to_draw(self) -> "Asked":
        """Raises InvalidRequest for more steps than a picture has room for."""
        if len(self.formula.steps) > MOST_DRAWN:
            raise InvalidRequest(
                f"expression has {len(self.formula.steps)} steps; at most {MOST_DRAWN} are drawn, as JSON all are told"
            )
        return replace(self, graph=True, check=False)

    @property
    def seconds(self) -> float:
        """As is to be expected, roughly."""
        largest = max((value.size for value in (*self.inputs.values(), *self.constants.values())), default=1)
        seconds = BASE_SECONDS + len(self.formula.steps) * (STEP_SECONDS + ELEMENT_SECONDS * largest)
        return seconds * (DERIVATIVES if self.jacobian or self.hessian else 1)


def read_expression(body: bytes) -> Asked:
    """Raises InvalidRequest, or ContentTooLarge beyond a limit of size, which name the culprit and what is allowed."""
    optional = [name for name in ExpressionRequest.__annotations__ if name != "expression"]
    document = read_object(body, ["expression"], optional)
    text = document["expression"]
    if not isinstance(text, str):
        raise InvalidRequest(f"expression is {quoted(text)}; allowed is a string")
    inputs, constants = (_named(document.get(name, {}), name) for name in ("inputs", "constants"))
    if both := [name for name in inputs if name in constants]:
        raise InvalidRequest(f"{both[0]!r} is in inputs and in constants; allowed is one of them")
    if len(inputs) + len(constants) > MOST_INPUTS:
        raise InvalidRequest(f"there are {len(inputs) + len(constants)} inputs; at most {MOST_INPUTS} are allowed")
    count = sum(value.size for value in (*inputs.values(), *constants.values()))
    if count > MOST_NUMBERS:
        raise ContentTooLarge(f"the inputs have {count:,} numbers together; at most {MOST_NUMBERS:,} are allowed")
    return Asked(
        read_formula(text, [*inputs, *constants]),
        inputs,
        constants,
        numbers(document["v"], "v", MOST_ELEMENTS) if "v" in document else None,
        truth(document, "jacobian", False),
        truth(document, "hessian", False),
        truth(document, "graph", True),
        truth(document, "check", True),
    )


def _named(value: Any, what: str) -> dict[str, Floats]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} is {quoted(value)}; allowed is an object of numbers by name")
    for name in value:
        require_input_name(name)
    kind = what.removesuffix("s")
    return {name: numbers(each, f"{kind} {name!r}", MOST_ELEMENTS) for name, each in value.items()}
