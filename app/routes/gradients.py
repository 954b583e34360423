"""GET /gradients: the demos; POST /gradients/{demo}: one of them. POST /gradients/expression: a formula of the caller's
own, its value, its gradients and how they came about."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.openapi.models import Example

from app.computation import Work, drawn, require_room_for, unasked
from app.errors import ContentTooLarge, InvalidRequest, NotFound
from app.lab import demo_answer, demo_request
from app.lab.demo_answer import DemoAnswer, DemosListed
from app.lab.demo_request import DemoRequest, read_demo_request
from app.lab.drawing import draw
from app.lab.expression_answer import Differentiated, answer
from app.lab.expression_request import MOST_BYTES, Asked, ExpressionRequest, read_expression
from app.problems import documented
from app.routes.accepted import JSON, SVG
from app.routes.dependencies import DeadlineDep, ServiceDep
from app.routes.lab import LIST_FAULTS, body_of, faults, gives_too, not_json, respond, takes
from app.uploads import read_json

router = APIRouter(tags=["gradients"])

TOLD: Work[Asked] = Work("gradients/expression", read_expression, answer)
DRAWN = drawn(replace(TOLD, read=lambda body: read_expression(body).to_draw()), draw)
PICTURE = gives_too(
    SVG, "As JSON, or the graph as a picture for who asks for it: `Accept: image/svg+xml`.", {"type": "string"}
)
FAULTS = {
    413: (
        "More bytes, numbers or passes than are allowed.",
        ContentTooLarge("input 'x' has 40,000 numbers; at most 10,000 are allowed"),
    ),
    415: not_json("an expression"),
    422: (
        "Readable, but no formula that can be computed: what is wrong with it, where, and what is allowed.",
        InvalidRequest("expression: 9**9**9: an exponent is 3.8742e+08; at most 1,000 is allowed"),
    ),
}


# The first is what Swagger UI fills in.
NAMES: dict[str, Example] = {name: {"value": name} for name in ("first-backward-pass", "control-flow", "perceptron")}
DEMO_FAULTS = {
    404: (
        "No such demo.",
        NotFound(
            "there is no demo 'first'; there are: control-flow, first-backward-pass, hessian, higher-order, neuron, "
            "node-add, node-fan-out, node-max, node-multiply, node-relu, node-sigmoid, perceptron, requires-gradient, "
            "several-derivatives, sum-then-square, vector-jacobian"
        ),
    ),
    413: (
        "More bytes or numbers than are allowed.",
        ContentTooLarge("input 'x' has 500 numbers; at most 400 are allowed"),
    ),
    415: not_json("a demo's inputs"),
    422: (
        "Readable, but not what the demo takes: another input, another shape, a number out of bounds.",
        InvalidRequest("input 'x' has 2e+06 in it; allowed is -1e+06 to 1e+06"),
    ),
}


LISTING = "gradients/list"


@router.get(
    "/gradients",
    summary="The gradient lab",
    responses=faults(LIST_FAULTS),
    response_model=DemosListed,
)
async def list_demos(request: Request, deadline: DeadlineDep, service: ServiceDep) -> Response:
    """The demos: what each computes and takes, within which bounds, and a call to paste. Each is a function that
    PyTorch has differentiated, exported as a graph."""
    base_url = str(request.base_url).rstrip("/")
    work = unasked(LISTING, demo_request.SECONDS, lambda: demo_answer.listed(service.lab.demos, base_url))
    return await respond(request, service, {JSON: work}, b"", deadline)


@router.post(
    "/gradients/expression",
    summary="Differentiate a formula of your own",
    responses=documented(408) | faults(FAULTS) | PICTURE,
    response_model=Differentiated,
    openapi_extra=takes(ExpressionRequest),
)
async def differentiate(
    request: Request,
    deadline: DeadlineDep,
    expression: Annotated[bytes, Depends(body_of(TOLD, "an expression", MOST_BYTES))],
    service: ServiceDep,
) -> Response:
    """The value of the formula, the gradient of every input, every step of the computation with the chain rule's
    numbers (upstream gradient × local gradient = downstream gradient), and a check by differences of the value; in
    float64. It is read by an allow-list and never run as code. Where there is no derivative `notes` says what was taken
    for it. With `Accept: image/svg+xml` the graph is drawn."""
    return await respond(request, service, {JSON: TOLD, SVG: DRAWN}, expression, deadline)


async def _demo(
    demo: Annotated[str, Path(description="As `/gradients` lists it.", openapi_examples=NAMES)], service: ServiceDep
) -> Work[demo_request.Asked]:
    service.lab.demos.require(demo)
    work = Work(
        f"gradients/{demo}",
        read_demo_request,
        lambda asked, _go_on: demo_answer.answer(asked, service.lab.demos.find(demo)),
    )
    require_room_for(service, work)
    return work


DemoDep = Annotated[Work[demo_request.Asked], Depends(_demo)]


async def _inputs(request: Request, work: DemoDep, service: ServiceDep) -> bytes:
    """After the demo's name."""
    return await read_json(request, service.settings.max_body_bytes, "a demo's inputs", demo_request.MOST_BYTES)


# After the other, so that "expression" is no demo.
@router.post(
    "/gradients/{demo}",
    summary="Gradients that PyTorch exported",
    responses=documented(408) | faults(DEMO_FAULTS),
    response_model=DemoAnswer,
    openapi_extra=takes(DemoRequest),
)
async def run_demo(
    request: Request,
    work: DemoDep,
    deadline: DeadlineDep,
    inputs: Annotated[bytes, Depends(_inputs)],
    service: ServiceDep,
) -> Response:
    """Numbers of your own, or `{}` for the defaults, through a function and its derivatives: every value on the way and
    every gradient, in float64, and what PyTorch recorded about the tensors."""
    return await respond(request, service, {JSON: work}, inputs, deadline)
