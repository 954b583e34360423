"""POST /gradients/expression: a formula of the caller's own, its value, its gradients and how they came about."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import TypeAdapter

from app.computation import TOO_LATE, Work, compute, require_room_for
from app.errors import ContentTooLarge, DeadlineExceeded, InvalidRequest, UnsupportedMediaType
from app.lab.drawing import draw
from app.lab.expression_answer import Differentiated, answer
from app.lab.expression_request import MOST_BYTES, Asked, ExpressionRequest, read_expression
from app.problems import documented, documented_as, documented_overload
from app.routes.callers import gone, prefers
from app.routes.dependencies import DeadlineDep, ServiceDep
from app.uploads import read_json

router = APIRouter(tags=["gradients"])

COUNTED_AS = "gradients/expression"
JSON, SVG = "application/json", "image/svg+xml"
TOLD: Work[Asked] = Work(COUNTED_AS, read_expression, answer)
DRAWN: Work[Asked] = Work(
    COUNTED_AS,
    lambda body: read_expression(body).with_graph(),
    lambda asked, go_on: draw(answer(asked, go_on)),
    lambda picture: str(picture).encode(),
)

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {JSON: {"schema": TypeAdapter(ExpressionRequest).json_schema()}},
    }
}
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "As JSON, or the graph as a picture for who asks for it: `Accept: image/svg+xml`.",
        "content": {SVG: {"schema": {"type": "string"}}},
    }
}
FAULTS = {
    413: (
        "More bytes, numbers or passes than are allowed.",
        ContentTooLarge("input 'x' has 40,000 numbers; at most 10,000 are allowed"),
    ),
    415: (
        "Something else than JSON.",
        UnsupportedMediaType("content type 'text/plain' is not read here: send an expression as application/json"),
    ),
    422: (
        "Readable, but no formula that can be computed: what is wrong with it, where, and what is allowed.",
        InvalidRequest("expression: 9**9**9: an exponent is 3.8742e+08; at most 1,000 is allowed"),
    ),
    504: ("The time that X-Request-Timeout-Ms allows was over before the answer was.", DeadlineExceeded(TOO_LATE)),
}


async def _expression(request: Request, service: ServiceDep) -> bytes:
    require_room_for(service, TOLD)
    return await read_json(request, service.settings.max_body_bytes, "an expression", MOST_BYTES)


@router.post(
    "/gradients/expression",
    summary="Differentiate a formula of your own",
    responses=documented(408) | documented_as(FAULTS) | documented_overload() | PICTURE,
    response_model=Differentiated,
    openapi_extra=BODY,
)
async def differentiate(
    request: Request, deadline: DeadlineDep, expression: Annotated[bytes, Depends(_expression)], service: ServiceDep
) -> Response:
    """The value of the formula, the gradient of every input, every step of the computation with the chain rule's
    numbers (upstream gradient × local gradient = downstream gradient), and a check by differences of the value; in
    float64. It is read by an allow-list and never run as code. Where there is no derivative `notes` says what was taken
    for it. With `Accept: image/svg+xml` the graph is drawn."""
    work, media_type = (DRAWN, SVG) if prefers(request.headers.get("accept", ""), SVG) else (TOLD, JSON)
    told = await compute(service, work, expression, deadline, lambda: gone(request.receive))
    headers = {"Server-Timing": told.timings.header(), "Vary": "Accept"}
    return Response(told.body, media_type=media_type, headers=headers)
