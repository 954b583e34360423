"""POST /gradients/activations: an activation function and its derivative, as numbers or as a picture."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import TypeAdapter

from app.computation import TOO_LATE, Work, compute, require_room_for
from app.errors import ContentTooLarge, DeadlineExceeded, InvalidRequest, UnsupportedMediaType
from app.lab.activation_answer import Activated, answer
from app.lab.activation_request import MOST_BYTES, ActivationRequest, Asked, read_activation
from app.lab.curves import draw
from app.problems import documented, documented_as, documented_overload
from app.routes.accepted import JSON, SVG, wants
from app.routes.callers import gone
from app.routes.dependencies import DeadlineDep, ServiceDep
from app.uploads import read_json

router = APIRouter(tags=["gradients"])

COUNTED_AS = "gradients/activations"
TOLD: Work[Asked] = Work(COUNTED_AS, read_activation, answer)
DRAWN: Work[Asked] = Work(
    COUNTED_AS,
    read_activation,
    lambda asked, go_on: draw(answer(asked, go_on)),
    lambda picture: str(picture).encode(),
)
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {JSON: {"schema": TypeAdapter(ActivationRequest).json_schema()}},
    }
}
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "As JSON, or the curves as a picture for who asks for it: `Accept: image/svg+xml`.",
        "content": {SVG: {"schema": {"type": "string"}}},
    }
}
FAULTS = {
    413: (
        "More bytes or numbers than are allowed.",
        ContentTooLarge("x has 1,002 numbers; at most 1,001 are allowed"),
    ),
    415: (
        "Something else than JSON.",
        UnsupportedMediaType(
            "content type 'text/plain' is not read here: send an activation function as application/json"
        ),
    ),
    422: (
        "Readable, but nothing that can be computed: no such function, a parameter that it does not take, or one out "
        "of range.",
        InvalidRequest("relu takes no alpha; those that do: sigmoid, tanh"),
    ),
    504: ("The time that X-Request-Timeout-Ms allows was over before the answer was.", DeadlineExceeded(TOO_LATE)),
}


async def _function(request: Request, service: ServiceDep) -> bytes:
    require_room_for(service, TOLD)
    return await read_json(request, service.settings.max_body_bytes, "an activation function", MOST_BYTES)


@router.post(
    "/gradients/activations",
    summary="An activation function and its derivative",
    responses=documented(408) | documented_as(FAULTS) | documented_overload() | PICTURE,
    response_model=Activated,
    openapi_extra=BODY,
)
async def activate(
    request: Request, deadline: DeadlineDep, function: Annotated[bytes, Depends(_function)], service: ServiceDep
) -> Response:
    """Step, sigmoid, tanh, softplus, ReLU or leaky ReLU over a range or at x of your own, in float64, and where it is
    saturated; softmax of a vector, with its Jacobian. With `Accept: image/svg+xml` the curves are drawn, saturated
    parts shaded."""
    work, kind = (DRAWN, SVG) if wants(SVG, request.headers.get("accept", "")) else (TOLD, JSON)
    told = await compute(service, work, function, deadline, lambda: gone(request.receive))
    headers = {"Server-Timing": told.timings.header(), "Vary": "Accept"}
    return Response(told.body, media_type=kind, headers=headers)
