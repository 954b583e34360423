"""GET /train and POST /train/{problem}: gradient descent, step by step, on small problems."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.openapi.models import Example

from app.computation import TOO_LATE, Telling, Work, require_room_for, unasked
from app.errors import ContentTooLarge, DeadlineExceeded, InvalidRequest, NotFound
from app.events import MEDIA_TYPE as EVENTS
from app.lab.descent import PROBLEMS, Graphs
from app.lab.descent_answer import Descent, Lessons, answer, lessons, tell
from app.lab.descent_request import MOST_BYTES, Asked, DescentRequest, read_descent, require_problem
from app.problems import documented
from app.routes.accepted import JSON
from app.routes.dependencies import DeadlineDep, ServiceDep
from app.routes.lab import LIST_FAULTS, Forms, faults, gives_too, not_json, respond, takes
from app.uploads import read_json

router = APIRouter(tags=["gradients"])

COUNTED_AS, LISTING = "train/problem", "train/list"
# Roughly: to tell of the problems, and to open a graph that nobody has asked for yet.
LISTING_SECONDS, OPENING_SECONDS = 0.0002, 0.003
NAMES: dict[str, Example] = {name: {"value": name} for name in ("rosenbrock", "xor", "iris")}
STREAM = gives_too(
    EVENTS,
    "As JSON, or as server-sent events for who asks for them: `Accept: text/event-stream`.",
    {"type": "string"},
)
FAULTS = {
    404: (
        "There is no such problem.",
        NotFound("there is no problem 'parity' to train on; there are: bowl, ravine, saddle, rosenbrock, xor, iris"),
    ),
    413: (
        "More bytes or numbers than are allowed.",
        ContentTooLarge("weights: point has 20,000 numbers; at most 10,000 are allowed"),
    ),
    415: not_json("settings"),
    422: (
        "Readable, but nothing to descend by: a setting, weights or a state that do not fit.",
        InvalidRequest('optimiser is "lbfgs"; allowed is one of sgd, momentum, nesterov, rmsprop, adam'),
    ),
    504: ("The time that X-Request-Timeout-Ms allows was over before the steps were.", DeadlineExceeded(TOO_LATE)),
}


def _forms(problem: str, graphs: Graphs) -> Forms:
    def read(body: bytes) -> Asked:
        return read_descent(problem, body, graphs)

    is_open = not graphs.to_open(problem)
    return {
        JSON: Work(COUNTED_AS, read, lambda asked, go_on: answer(asked, graphs, go_on), reads_quickly=is_open),
        EVENTS: Telling(
            COUNTED_AS, read, lambda asked, go_on, send: tell(asked, graphs, go_on, send), reads_quickly=is_open
        ),
    }


async def _settings(
    problem: Annotated[str, Path(description="What GET /train lists.", openapi_examples=NAMES)],
    request: Request,
    service: ServiceDep,
) -> tuple[Forms, bytes]:
    require_problem(problem)
    forms = _forms(problem, service.lab.descent)
    require_room_for(service, forms[JSON])
    return forms, await read_json(request, service.settings.max_body_bytes, "settings", MOST_BYTES)


@router.get("/train", summary="What can be trained here", responses=faults(LIST_FAULTS), response_model=Lessons)
async def list_lessons(request: Request, deadline: DeadlineDep, service: ServiceDep) -> Response:
    """Small problems and optimisers, each with its mathematics, its settings and its weights' shapes."""
    graphs = service.lab.descent
    seconds = LISTING_SECONDS + OPENING_SECONDS * graphs.to_open(*PROBLEMS)
    work = unasked(LISTING, seconds, lambda: lessons(graphs))
    return await respond(request, service, {JSON: work}, b"", deadline)


@router.post(
    "/train/{problem}",
    summary="Descend some steps",
    responses=documented(408) | faults(FAULTS) | STREAM,
    response_model=Descent,
    openapi_extra=takes(DescentRequest),
)
async def descend(
    request: Request,
    deadline: DeadlineDep,
    asked: Annotated[tuple[Forms, bytes], Depends(_settings)],
    service: ServiceDep,
) -> Response:
    """Loss, accuracy, gradient norms and weights before the first step and after each. Both the gradients and the step
    are graphs exported from PyTorch, in float64. Nothing is kept here: the answer has what goes on from where it ends.
    With `Accept: text/event-stream` each step is an event, `step`, sent as it is taken; then comes `end` with the rest,
    or `problem` in the place of it if the steps could not go on."""
    forms, body = asked
    return await respond(request, service, forms, body, deadline)
