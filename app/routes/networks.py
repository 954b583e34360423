"""POST /gradients/flow: how gradients come through deep networks. POST /gradients/approximation: how one hidden layer
follows a curve."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.computation import Work, drawn
from app.errors import ContentTooLarge, InvalidRequest
from app.lab import approximation_answer, approximation_request, flow_answer, flow_request
from app.lab.approximation_answer import Approximation
from app.lab.approximation_request import ApproximationRequest, read_approximation
from app.lab.flow_answer import Flow
from app.lab.flow_request import FlowRequest, read_flow
from app.problems import documented
from app.routes.accepted import JSON, SVG
from app.routes.dependencies import DeadlineDep, ServiceDep
from app.routes.lab import Fault, body_of, faults, gives_too, not_json, respond, takes

router = APIRouter(tags=["gradients"])

FLOW: Work[flow_request.Asked] = Work("gradients/flow", read_flow, flow_answer.answer)
FITTED: Work[approximation_request.Asked] = Work(
    "gradients/approximation", read_approximation, approximation_answer.answer
)
PICTURE = gives_too(SVG, "As JSON, or as a picture for who asks for it: `Accept: image/svg+xml`.", {"type": "string"})


def _faults(most_bytes: int, wrong: str) -> dict[int, Fault]:
    return {
        413: ("More bytes than are allowed.", ContentTooLarge(f"at most {most_bytes:,} bytes are read of settings")),
        415: not_json("settings"),
        422: ("Readable, but out of range.", InvalidRequest(wrong)),
    }


@router.post(
    "/gradients/flow",
    summary="Gradients through a deep network",
    responses=documented(408)
    | faults(_faults(flow_request.MOST_BYTES, "depth is 31; allowed is a whole number of 1 to 30"))
    | PICTURE,
    response_model=Flow,
    openapi_extra=takes(FlowRequest),
)
async def gradient_flow(
    request: Request,
    deadline: DeadlineDep,
    settings: Annotated[bytes, Depends(body_of(FLOW, "settings", flow_request.MOST_BYTES))],
    service: ServiceDep,
) -> Response:
    """One random network under sigmoid, tanh and ReLU: the norm of the loss's gradient at each layer, which vanishes or
    does not, and how many units let next to nothing through. With `Accept: image/svg+xml` it is drawn."""
    return await respond(request, service, {JSON: FLOW, SVG: drawn(FLOW, flow_answer.draw)}, settings, deadline)


@router.post(
    "/gradients/approximation",
    summary="How one hidden layer follows a curve",
    responses=documented(408)
    | faults(_faults(approximation_request.MOST_BYTES, "high is 2; allowed is more than low, 3"))
    | PICTURE,
    response_model=Approximation,
    openapi_extra=takes(ApproximationRequest),
)
async def approximation(
    request: Request,
    deadline: DeadlineDep,
    curve: Annotated[bytes, Depends(body_of(FITTED, "settings", approximation_request.MOST_BYTES))],
    service: ServiceDep,
) -> Response:
    """Networks with one hidden layer of more and more ReLUs, fitted to samples of a curve of yours by least squares:
    the error on the samples and on the curve itself, where it underfits and where it overfits, and how many straight
    pieces depth makes against width. With `Accept: image/svg+xml` it is drawn."""
    forms = {JSON: FITTED, SVG: drawn(FITTED, approximation_answer.draw)}
    return await respond(request, service, forms, curve, deadline)
