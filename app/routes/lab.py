"""What the routes of the lab have in common: how their bodies and answers are documented, and the way from one to the
other. Knows nothing of what is computed."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request, Response
from pydantic import TypeAdapter

from app.computation import TOO_LATE, Telling, Work, compute, require_room_for, stream
from app.errors import AppError, DeadlineExceeded, InvalidRequest, UnsupportedMediaType
from app.problems import documented_as, documented_overload
from app.routes.accepted import JSON, wants
from app.routes.callers import gone
from app.routes.dependencies import ServiceDep
from app.routes.streams import EventStream
from app.service import Service
from app.uploads import read_json

# What a status means, and a fault that it was really given for.
Fault = tuple[str, AppError]
Responses = dict[int | str, dict[str, Any]]
# What an answer is made by, in each form in which it may be asked for: JSON, and others for who would rather have them.
Forms = Mapping[str, Work[Any] | Telling[Any]]

LATE: Fault = (
    "The time that X-Request-Timeout-Ms allows was over before the answer was.",
    DeadlineExceeded(TOO_LATE),
)


# Of a route that nothing is sent to.
LIST_FAULTS: dict[int, Fault] = {
    422: (
        "A header that cannot be read.",
        InvalidRequest("X-Request-Timeout-Ms is 'soon'; allowed is a whole number, 1 and more"),
    ),
}


def takes(document: Any) -> dict[str, Any]:
    """The `openapi_extra` of a route whose body is JSON of this type."""
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema_of(document)}}}}


def schema_of(document: Any) -> dict[str, Any]:
    """Of a type, whole: what pydantic puts under `$defs`, where a document of OpenAPI has nothing, in its place."""
    schema = TypeAdapter(document).json_schema()
    named = schema.pop("$defs", {})

    def whole(part: Any) -> Any:
        if isinstance(part, list):
            return [whole(each) for each in part]
        if not isinstance(part, dict):
            return part
        rest = {name: whole(each) for name, each in part.items() if name != "$ref"}
        return whole(named[part["$ref"].removeprefix("#/$defs/")]) | rest if "$ref" in part else rest

    resolved: dict[str, Any] = whole(schema)
    return resolved


def gives_too(media_type: str, description: str, schema: dict[str, Any]) -> Responses:
    """The `responses` of a route whose answer has another form beside JSON."""
    return {200: {"description": description, "content": {media_type: {"schema": schema}}}}


def faults(named: Mapping[int, Fault]) -> Responses:
    """The `responses` of a route that refuses like this, and in any case when too much waits or the time is over."""
    return documented_as({**named, 504: named.get(504, LATE)}) | documented_overload()


def not_json(what: str, sent: str = "text/plain") -> Fault:
    return (
        "Something else than JSON.",
        UnsupportedMediaType(f"content type {sent!r} is not read here: send {what} as application/json"),
    )


def body_of(work: Work[Any], what: str, most: int) -> Callable[[Request, Service], Awaitable[bytes]]:
    """A dependency: the body, which has to be JSON of at most so many bytes, if there is room for the work."""

    async def read(request: Request, service: ServiceDep) -> bytes:
        require_room_for(service, work)
        return await read_json(request, service.settings.max_body_bytes, what, most)

    return read


async def respond(request: Request, service: Service, forms: Forms, body: bytes, deadline: float | None) -> Response:
    """In the form that the caller would rather have. Raises as `compute` does."""
    accept = request.headers.get("accept", "")
    usual = JSON if JSON in forms else next(iter(forms))
    form = next((other for other in forms if other != usual and wants(other, accept)), usual)
    work = forms[form]
    if isinstance(work, Telling):
        return EventStream(await stream(service, work, body, deadline, lambda: gone(request.receive)))
    told = await compute(service, work, body, deadline, lambda: gone(request.receive))
    headers = {"Server-Timing": told.timings.header()} | ({"Vary": "Accept"} if len(forms) > 1 else {})
    return Response(told.body, media_type=form, headers=headers)
