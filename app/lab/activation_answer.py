"""What a caller of an activation function is answered: values, derivatives, where it is saturated. Knows no HTTP."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from app.errors import GoOn
from app.lab.activation_request import Asked
from app.lab.activations import SATURATED, SOFTMAX, curve, softmax


class KinkTold(TypedDict):
    """Where there is no derivative."""

    x: float
    derivative: Annotated[float, Field(description="What is taken for it, as PyTorch does.")]


class Activated(TypedDict):
    """The lists are as long as x."""

    function: str
    expression: Annotated[str, Field(description="The same for `/gradients/expression`.")]
    parameters: Annotated[dict[str, float], Field(description="Those of the expression.")]
    x: list[float]
    values: list[float]
    derivatives: Annotated[
        list[float], Field(description="Of softmax each element by the x in its place: the Jacobian's diagonal.")
    ]
    steepest: Annotated[float, Field(description="The greatest derivative that it has anywhere, without its sign.")]
    saturated: Annotated[
        list[bool],
        Field(
            description=f"Where the derivative is 0, or without its sign less than {SATURATED:g} of the steepest: "
            "hardly any gradient passes."
        ),
    ]
    kink: KinkTold | None
    jacobian: NotRequired[
        Annotated[list[list[float]], Field(description="Of softmax: a row for each element, a column for each x.")]
    ]


def answer(asked: Asked, go_on: GoOn = lambda: None) -> Activated:
    """`go_on` is called before the work, and what it raises ends it."""
    go_on()
    activation, given = asked.activation, asked.parameters
    found = softmax(asked.x) if asked.name == SOFTMAX else curve(activation, asked.x, given)
    told = Activated(
        function=asked.name,
        expression=activation.expression,
        parameters=dict(given),
        x=asked.x.tolist(),
        values=found.values.tolist(),
        derivatives=found.derivatives.tolist(),
        steepest=float(activation.steepest(given)),
        saturated=found.saturated.tolist(),
        kink=None if activation.at_zero is None else KinkTold(x=0.0, derivative=float(activation.at_zero(given))),
    )
    if found.jacobian is not None:
        told["jacobian"] = found.jacobian.tolist()
    return told
