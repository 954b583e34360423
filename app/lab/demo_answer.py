"""What a caller of a demo is answered, and the list of all demos. Knows no HTTP."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import Field
from typing_extensions import TypedDict

from app.card import Array, Axis, DemoCard, DemoExample, DemoInput, DemoOutput, NodeFacts, TensorFacts
from app.errors import NotReady
from app.lab.demo import Demo, Demos, array_of
from app.lab.demo_request import Asked, Given, given_to

# A request for a formula.
EXPRESSION = {"expression": "mean(3*(x+2)**2)", "inputs": {"x": [[1, 1], [1, 1]]}}
NAMED = "A number, a list of numbers, an object of them if they were sent with names, or a list of rows."


class DemoAnswer(TypedDict):
    """`tensors` and `nodes` are what PyTorch recorded when the demo was exported. Only what it records for these
    numbers is told: where a loop or a condition decides what is computed, that is known of some inputs alone."""

    demo: str
    title: str
    mathematics: str
    inputs: Annotated[dict[str, Any], Field(description=f"As they were taken, defaults among them. {NAMED}")]
    outputs: Annotated[
        dict[str, Any],
        Field(description=f"In float64; `/gradients` says what each means. {NAMED} null is infinite or undefined."),
    ]
    tensors: Annotated[
        list[TensorFacts] | None,
        Field(
            description="Null where they hang on the numbers, and were recorded for others: those of the defaults are."
        ),
    ]
    nodes: Annotated[list[NodeFacts], Field(description="Empty if they would be others for other numbers.")]


class DemoListed(TypedDict):
    name: str
    title: str
    mathematics: str
    inputs: list[DemoInput]
    axes: Annotated[dict[str, Axis], Field(description="How many numbers there may be along each axis.")]
    outputs: list[DemoOutput]
    call: Annotated[str, Field(description="A call to paste into a terminal, with the defaults.")]


class ExpressionListed(TypedDict):
    name: str
    title: str
    mathematics: str
    call: Annotated[str, Field(description="A call to paste into a terminal.")]


class RefusedDemo(TypedDict):
    name: str
    reason: str


class DemosListed(TypedDict):
    demos: list[DemoListed]
    expression: Annotated[ExpressionListed, Field(description="Any formula of your own.")]
    refused: Annotated[list[RefusedDemo], Field(description="Demos that are not served, and why.")]


def answer(asked: Asked, demo: Demo) -> dict[str, Any]:
    """Raises InvalidRequest or ContentTooLarge for what the demo does not take."""
    card = demo.card
    given = given_to(card, asked.inputs)
    facts = card.model_dump(include={"title", "mathematics", "nodes"})
    return {
        "demo": card.name,
        "title": facts["title"],
        "mathematics": facts["mathematics"],
        "inputs": _told(card.inputs, given.arrays, given),
        "outputs": _told(card.outputs, demo.run(given.arrays), given),
        "tensors": _recorded(card, given),
        "nodes": facts["nodes"],
    }


def _recorded(card: DemoCard, given: Given) -> list[dict[str, Any]] | None:
    """What holds for all numbers, or was recorded for these."""
    if not any(example.tensors for example in card.examples):
        return [each.model_dump() for each in card.tensors]
    return next(
        ([each.model_dump() for each in example.tensors] for example in card.examples if _is(example, card, given)),
        None,
    )


def _is(example: DemoExample, card: DemoCard, given: Given) -> bool:
    return all(
        np.array_equal(array_of(each, example.inputs[each.name]), given.arrays[each.name]) for each in card.inputs
    )


def _told(what: list[DemoInput] | list[DemoOutput], arrays: Mapping[str, Array], given: Given) -> dict[str, Any]:
    return {each.name: _numbers(each.shape, arrays[each.name], given) for each in what}


def _numbers(shape: list[str], array: Array, given: Given) -> Any:
    names = given.names.get(shape[0]) if len(shape) == 1 else None
    return dict(zip(names, array.tolist(), strict=True)) if names else array.tolist()


def listed(demos: Demos, base_url: str) -> dict[str, Any]:
    """`base_url` is where the caller reached the service, without a slash at its end."""
    served, refused = [], []
    for name in demos.names:
        try:
            served.append(_listed(demos.find(name).card, base_url))
        except NotReady as error:
            refused.append({"name": name, "reason": error.detail})
    own = {
        "name": "expression",
        "title": "A formula of your own",
        "mathematics": "Value, gradients, Jacobian and Hessian of any formula, with every step of the chain rule.",
        "call": _call(f"{base_url}/gradients/expression", EXPRESSION),
    }
    return {"demos": served, "expression": own, "refused": refused}


def _listed(card: DemoCard, base_url: str) -> dict[str, Any]:
    facts = card.model_dump(include={"name", "title", "mathematics", "inputs", "axes", "outputs"})
    defaults = {"inputs": {each.name: each.default for each in card.inputs}}
    return {**facts, "call": _call(f"{base_url}/gradients/{card.name}", defaults)}


def _call(address: str, body: Mapping[str, Any]) -> str:
    return f"curl -H 'Content-Type: application/json' -d '{orjson.dumps(body).decode()}' '{address}'"
