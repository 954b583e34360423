"""POST /gradients/flow: how gradients come through deep networks. POST /gradients/approximation: how one hidden layer
follows a curve."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import TypeAdapter

from app.computation import TOO_LATE, Work, compute, require_room_for
from app.errors import ContentTooLarge, DeadlineExceeded, InvalidRequest, UnsupportedMediaType
from app.lab import approximation_answer, approximation_request, flow_answer, flow_request
from app.lab.approximation_answer import Approximation
from app.lab.approximation_request import ApproximationRequest, read_approximation
from app.lab.flow_answer import Flow
from app.lab.flow_request import FlowRequest, read_flow
from app.problems import documented, documented_as, documented_overload
from app.routes.accepted import JSON, SVG, wants
from app.routes.callers import gone
from app.routes.dependencies import DeadlineDep, ServiceDep
from app.uploads import read_json

router = APIRouter(tags=["gradients"])


def _drawn(picture: object) -> bytes:
    return str(picture).encode()


FLOW, APPROXIMATION = "gradients/flow", "gradients/approximation"
FLOW_TOLD: Work[flow_request.Asked] = Work(FLOW, read_flow, flow_answer.answer)
FLOW_DRAWN: Work[flow_request.Asked] = Work(
    FLOW, read_flow, lambda asked, go_on: flow_answer.draw(flow_answer.answer(asked, go_on)), _drawn
)
FITTED: Work[approximation_request.Asked] = Work(APPROXIMATION, read_approximation, approximation_answer.answer)
FITTED_DRAWN: Work[approximation_request.Asked] = Work(
    APPROXIMATION,
    read_approximation,
    lambda asked, go_on: approximation_answer.draw(approximation_answer.answer(asked, go_on)),
    _drawn,
)
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "As JSON, or as a picture for who asks for it: `Accept: image/svg+xml`.",
        "content": {SVG: {"schema": {"type": "string"}}},
    }
}


def _body(request_type: Any) -> dict[str, Any]:
    schema = TypeAdapter(request_type).json_schema()
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


def _faults(most_bytes: int, wrong: str) -> dict[int, Any]:
    return {
        413: ("More bytes than are allowed.", ContentTooLarge(f"at most {most_bytes:,} bytes are read of settings")),
        415: (
            "Something else than JSON.",
            UnsupportedMediaType("content type 'text/plain' is not read here: send settings as application/json"),
        ),
        422: ("Readable, but out of range.", InvalidRequest(wrong)),
        504: ("The time that X-Request-Timeout-Ms allows was over before the answer was.", DeadlineExceeded(TOO_LATE)),
    }


async def _flow_settings(request: Request, service: ServiceDep) -> bytes:
    require_room_for(service, FLOW_TOLD)
    return await read_json(request, service.settings.max_body_bytes, "settings", flow_request.MOST_BYTES)


async def _curve(request: Request, service: ServiceDep) -> bytes:
    require_room_for(service, FITTED)
    return await read_json(request, service.settings.max_body_bytes, "settings", approximation_request.MOST_BYTES)


@router.post(
    "/gradients/flow",
    summary="Gradients through a deep network",
    responses=documented(408)
    | documented_as(_faults(flow_request.MOST_BYTES, "depth is 31; allowed is a whole number of 1 to 30"))
    | documented_overload()
    | PICTURE,
    response_model=Flow,
    openapi_extra=_body(FlowRequest),
)
async def gradient_flow(
    request: Request, deadline: DeadlineDep, settings: Annotated[bytes, Depends(_flow_settings)], service: ServiceDep
) -> Response:
    """One random network under sigmoid, tanh and ReLU: the norm of the loss's gradient at each layer, which vanishes or
    does not, and how many units let next to nothing through. With `Accept: image/svg+xml` it is drawn."""
    drawn = wants(SVG, request.headers.get("accept", ""))
    work = FLOW_DRAWN if drawn else FLOW_TOLD
    told = await compute(service, work, settings, deadline, lambda: gone(request.receive))
    headers = {"Server-Timing": told.timings.header(), "Vary": "Accept"}
    return Response(told.body, media_type=SVG if drawn else JSON, headers=headers)


@router.post(
    "/gradients/approximation",
    summary="How one hidden layer follows a curve",
    responses=documented(408)
    | documented_as(_faults(approximation_request.MOST_BYTES, "high is 2; allowed is more than low, 3"))
    | documented_overload()
    | PICTURE,
    response_model=Approximation,
    openapi_extra=_body(ApproximationRequest),
)
async def approximation(
    request: Request, deadline: DeadlineDep, curve: Annotated[bytes, Depends(_curve)], service: ServiceDep
) -> Response:
    """Networks with one hidden layer of more and more ReLUs, fitted to samples of a curve of yours by least squares:
    the error on the samples and on the curve itself, where it underfits and where it overfits, and how many straight
    pieces depth makes against width. With `Accept: image/svg+xml` it is drawn."""
    drawn = wants(SVG, request.headers.get("accept", ""))
    work = FITTED_DRAWN if drawn else FITTED
    told = await compute(service, work, curve, deadline, lambda: gone(request.receive))
    headers = {"Server-Timing": told.timings.header(), "Vary": "Accept"}
    return Response(told.body, media_type=SVG if drawn else JSON, headers=headers)
