"""POST /gradients/activations: an activation function and its derivative, as numbers or as a picture."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.computation import Work, drawn
from app.errors import ContentTooLarge, InvalidRequest
from app.lab.activation_answer import Activated, answer
from app.lab.activation_request import MOST_BYTES, ActivationRequest, Asked, read_activation
from app.lab.curves import draw
from app.problems import documented
from app.routes.accepted import JSON, SVG
from app.routes.dependencies import DeadlineDep, ServiceDep
from app.routes.lab import body_of, faults, gives_too, not_json, respond, takes

router = APIRouter(tags=["gradients"])

TOLD: Work[Asked] = Work("gradients/activations", read_activation, answer)
PICTURE = gives_too(
    SVG,
    "As JSON, or the curves as a picture for who asks for it: `Accept: image/svg+xml`.",
    {"type": "string"},
)
FAULTS = {
    413: (
        "More bytes or numbers than are allowed.",
        ContentTooLarge("x has 1,002 numbers; at most 1,001 are allowed"),
    ),
    415: not_json("an activation function"),
    422: (
        "Readable, but nothing that can be computed: no such function, a parameter that it does not take, or one out "
        "of range.",
        InvalidRequest("relu takes no alpha; those that do: sigmoid, tanh"),
    ),
}


@router.post(
    "/gradients/activations",
    summary="An activation function and its derivative",
    responses=documented(408) | faults(FAULTS) | PICTURE,
    response_model=Activated,
    openapi_extra=takes(ActivationRequest),
)
async def activate(
    request: Request,
    deadline: DeadlineDep,
    function: Annotated[bytes, Depends(body_of(TOLD, "an activation function", MOST_BYTES))],
    service: ServiceDep,
) -> Response:
    """Step, sigmoid, tanh, softplus, ReLU or leaky ReLU over a range or at x of your own, in float64, and where it is
    saturated; softmax of a vector, with its Jacobian. With `Accept: image/svg+xml` the curves are drawn, saturated
    parts shaded."""
    return await respond(request, service, {JSON: TOLD, SVG: drawn(TOLD, draw)}, function, deadline)
