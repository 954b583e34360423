"""A formula's steps as they are told: each a node with its value and gradient, each argument an edge with the chain
rule's numbers. Knows no HTTP."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from app.lab.chain_rule import Backward, local_derivatives, pull_back
from app.lab.formula import Formula
from app.lab.tape import Floats, Result, constant

# Of a step's value, gradient or local gradient; larger ones are left out.
MOST_TOLD = 100
# Of a local gradient that is a Jacobian: each row is a pass of its own.
MOST_ROWS = 10


class ArgumentTold(TypedDict):
    """An edge: the chain rule is `upstream` times `local` = `downstream`."""

    step: Annotated[int, Field(description="The id of the argument.")]
    local: Annotated[
        Any,
        Field(
            description="The derivative of this step by the argument. Element by element in this step's shape, if it "
            "works so (an argument that was broadcast then gets the sum); else a Jacobian, this step's axes first. "
            "null if nothing flows, or if it has too many numbers."
        ),
    ]
    local_is: Annotated[str, Field(description="`elementwise`, `jacobian` or `none`.")]
    downstream: Annotated[Any, Field(description="The gradient that reaches the argument this way, in its shape.")]


class StepTold(TypedDict):
    """A node of the graph."""

    id: int
    operation: str
    text: Annotated[str, Field(description="The part of the expression that it stands for.")]
    shape: list[int]
    leaf: Annotated[bool, Field(description="An input or a number: nothing leads to it.")]
    requires_gradient: Annotated[bool, Field(description="Whether it depends on an input that has a gradient.")]
    value: Annotated[Any, Field(description=f"null if it has more than {MOST_TOLD} numbers.")]
    upstream: Annotated[
        Any, Field(description="The gradient of the result by it: the sum over all steps that use it. null if none.")
    ]
    used_by: Annotated[list[int], Field(description="Steps that use it; several: their gradients are summed.")]
    arguments: list[ArgumentTold]


def graph_told(formula: Formula, steps: list[Result], gone: Backward) -> list[StepTold]:
    users: list[list[int]] = [[] for _ in steps]
    for place, step in enumerate(formula.steps):
        for argument in dict.fromkeys(step.arguments):
            users[argument].append(place)
    downstream = {(edge.result, edge.place): edge.downstream for edge in gone.edges}
    return [
        StepTold(
            id=place,
            operation=step.operation.name,
            text=step.text,
            shape=list(result.shape),
            leaf=not step.arguments,
            requires_gradient=result.active,
            value=_few(result.value),
            upstream=_few(gone.arrived[result].value) if result in gone.arrived else None,
            used_by=users[place],
            arguments=[
                _argument(argument, result, at, downstream.get((result, at)))
                for at, argument in enumerate(step.arguments)
            ],
        )
        for place, (step, result) in enumerate(zip(formula.steps, steps, strict=True))
    ]


def _argument(step: int, result: Result, place: int, downstream: Result | None) -> ArgumentTold:
    if downstream is None:
        return ArgumentTold(step=step, local=None, local_is="none", downstream=None)
    local, kind = _local(result, place)
    return ArgumentTold(step=step, local=local, local_is=kind, downstream=_few(downstream.value))


def _local(result: Result, place: int) -> tuple[Any, str]:
    if result.operation.partials:
        return _few(local_derivatives(result, place)), "elementwise"
    argument = result.arguments[place]
    if result.value.size > MOST_ROWS or result.value.size * argument.value.size > MOST_TOLD:
        return None, "jacobian"
    rows = [
        pull_back(result, place, constant(direction.reshape(result.shape))).value
        for direction in np.eye(result.value.size)
    ]
    return np.array(rows).reshape((*result.shape, *argument.shape)).tolist(), "jacobian"


def _few(values: Floats) -> Any:
    return values.tolist() if values.size <= MOST_TOLD else None
