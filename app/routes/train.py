"""GET /train and POST /train/{problem}: gradient descent, step by step, on small problems."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.openapi.models import Example
from pydantic import TypeAdapter

from app.computation import TOO_LATE, Telling, Work, compute, require_room_for, stream
from app.errors import ContentTooLarge, DeadlineExceeded, InvalidRequest, NotFound, UnsupportedMediaType
from app.events import MEDIA_TYPE as EVENTS
from app.lab.descent import Graphs
from app.lab.descent_answer import Descent, Lessons, answer, lessons, tell
from app.lab.descent_request import MOST_BYTES, Asked, DescentRequest, read_descent, require_problem
from app.problems import documented, documented_as, documented_overload
from app.routes.accepted import JSON, wants
from app.routes.callers import gone
from app.routes.dependencies import DeadlineDep, ServiceDep
from app.routes.streams import EventStream
from app.uploads import read_json

router = APIRouter(tags=["gradients"])

COUNTED_AS = "train/problem"
NAMES: dict[str, Example] = {name: {"value": name} for name in ("rosenbrock", "xor", "iris")}
BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {JSON: {"schema": TypeAdapter(DescentRequest).json_schema()}}}
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "As JSON, or as server-sent events for who asks for them: `Accept: text/event-stream`.",
        "content": {EVENTS: {"schema": {"type": "string"}}},
    }
}
FAULTS = {
    404: (
        "There is no such problem.",
        NotFound("there is no problem 'parity' to train on; there are: bowl, ravine, saddle, rosenbrock, xor, iris"),
    ),
    413: (
        "More bytes or numbers than are allowed.",
        ContentTooLarge("weights: point has 20,000 numbers; at most 10,000 are allowed"),
    ),
    415: (
        "Something else than JSON.",
        UnsupportedMediaType("content type 'text/plain' is not read here: send settings as application/json"),
    ),
    422: (
        "Readable, but nothing to descend by: a setting, weights or a state that do not fit.",
        InvalidRequest('optimiser is "lbfgs"; allowed is one of sgd, momentum, nesterov, rmsprop, adam'),
    ),
    504: ("The time that X-Request-Timeout-Ms allows was over before the steps were.", DeadlineExceeded(TOO_LATE)),
}


def _work(graphs: Graphs, problem: str) -> Work[Asked]:
    return Work(COUNTED_AS, partial(_read, problem, graphs), lambda asked, go_on: answer(asked, graphs, go_on))


def _telling(graphs: Graphs, problem: str) -> Telling[Asked]:
    return Telling(
        COUNTED_AS, partial(_read, problem, graphs), lambda asked, go_on, send: tell(asked, graphs, go_on, send)
    )


def _read(problem: str, graphs: Graphs, body: bytes) -> Asked:
    return read_descent(problem, body, graphs)


async def _settings(
    problem: Annotated[str, Path(description="What GET /train lists.", openapi_examples=NAMES)],
    request: Request,
    service: ServiceDep,
) -> tuple[str, bytes]:
    require_problem(problem)
    require_room_for(service, _work(service.lab.descent, problem))
    return problem, await read_json(request, service.settings.max_body_bytes, "settings", MOST_BYTES)


@router.get("/train", summary="What can be trained here", response_model=Lessons)
async def list_lessons(service: ServiceDep) -> Lessons:
    """Small problems and optimisers, each with its mathematics, its settings and its weights' shapes."""
    return lessons(service.lab.descent)


@router.post(
    "/train/{problem}",
    summary="Descend some steps",
    responses=documented(408) | documented_as(FAULTS) | documented_overload() | STREAM,
    response_model=Descent,
    openapi_extra=BODY,
)
async def descend(
    request: Request,
    deadline: DeadlineDep,
    asked: Annotated[tuple[str, bytes], Depends(_settings)],
    service: ServiceDep,
) -> Response:
    """Loss, accuracy, gradient norms and weights before the first step and after each. Both the gradients and the step
    are graphs exported from PyTorch, in float64. Nothing is kept here: the answer has what goes on from where it ends.
    With `Accept: text/event-stream` each step is an event, `step`, sent as it is taken; then comes `end` with the rest,
    or `problem` in the place of it if the steps could not go on."""
    problem, body = asked
    graphs = service.lab.descent
    if wants(EVENTS, request.headers.get("accept", "")):
        return EventStream(
            await stream(service, _telling(graphs, problem), body, deadline, lambda: gone(request.receive))
        )
    told = await compute(service, _work(graphs, problem), body, deadline, lambda: gone(request.receive))
    headers = {"Server-Timing": told.timings.header(), "Vary": "Accept"}
    return Response(told.body, media_type=JSON, headers=headers)
