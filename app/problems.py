"""Every error as problem+json (RFC 9457), under /v2 as the Open Inference Protocol has it: the one place that makes
error responses and documents them."""

import logging
import re
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope
from typing_extensions import TypedDict

from app.errors import (
    AppError,
    BadRequest,
    CallerGone,
    ContentTooLarge,
    DeadlineExceeded,
    Forbidden,
    HeadTooLarge,
    InvalidRequest,
    NotFound,
    NotReady,
    OutOfMemory,
    Overloaded,
    RequestTimeout,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
)

logger = logging.getLogger("percept")

MEDIA_TYPE, JSON = "application/problem+json", "application/json"
PROTOCOL = "/v2"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CLIENT_CLOSED_REQUEST = 499  # nginx's number for it


class Problem(TypedDict):
    type: Annotated[str, Field(description="Names the kind of problem.", examples=["urn:percept:problem:not-found"])]
    title: Annotated[str, Field(description="The kind of problem, in words.")]
    status: Annotated[int, Field(description="The HTTP status.")]
    detail: Annotated[str, Field(description="What was wrong here, and what is allowed.")]
    request_id: Annotated[str, Field(description="The X-Request-ID of this response, to find it in logs.")]


class ProtocolError(TypedDict):
    """An error as the Open Inference Protocol has it."""

    error: Annotated[str, Field(description="What was wrong here, and what is allowed.")]


# For the documentation: what each status means on our routes, and a fault that it was really given for.
DOCUMENTED: dict[int, tuple[str, AppError]] = {
    400: (
        "Not what the protocol or the model's tensors allow.",
        BadRequest("input 'image' has shape [1, 27, 27]; the model takes [-1, 28, 28], where -1 is any size"),
    ),
    401: (
        "No API key, or one that is not known.",
        Unauthorized("this needs an API key: send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"),
    ),
    403: (
        "The operator has not allowed it.",
        Forbidden("loading and unloading are not allowed here; PERCEPT_MODEL_CONTROL=true allows them"),
    ),
    404: (
        "No such model, version or figure.",
        NotFound("model 'mnist-cnn' has no version 7; there are: 1"),
    ),
    408: (
        "The body stopped coming.",
        RequestTimeout("nothing of the body has come for 20 seconds"),
    ),
    413: (
        "More bytes, files or pixels than are allowed.",
        ContentTooLarge("the body has 21,000,000 bytes; at most 20,000,000 bytes are allowed (PERCEPT_MAX_BODY_BYTES)"),
    ),
    415: (
        "A content type that is not read here, or not by this model.",
        UnsupportedMediaType(
            "model 'mnist-cnn' takes pictures: send multipart/form-data with one or many parts named 'file', or the "
            "raw bytes as image/*"
        ),
    ),
    422: (
        "Readable, but not what can be answered: no file, a wrong field, no image, a parameter out of range.",
        InvalidRequest("the file is not an image that can be decoded: PNG, JPEG, WebP, GIF, BMP, TIFF"),
    ),
    429: (
        "More requests than one may send; Retry-After says when to come again.",
        TooManyRequests(
            "this key 'alice' has asked more than 10 times a second (PERCEPT_RATE_LIMIT), and than 100 times at once; "
            "come again in 0.1 seconds"
        ),
    ),
    431: (
        "The request line and its headers are too long; no route has been asked.",
        HeadTooLarge("the request line and its headers are longer than 65,536 bytes"),
    ),
    503: (
        "Some model that should be served is not.",
        NotReady("1 artifact is not served: broken 1: it has a card and no golden rows to prove it by"),
    ),
    504: (
        "The time that X-Request-Timeout-Ms allows was over before the model began.",
        DeadlineExceeded("the time that the caller allows was over in the queue"),
    ),
}
# Under /v2 another one is in the place of it.
DOCUMENTED_PROTOCOL: dict[int, tuple[str, AppError]] = {
    **DOCUMENTED,
    415: (
        "A content encoding that is not read here.",
        UnsupportedMediaType("content encoding 'br' is not read here; allowed: gzip, deflate"),
    ),
}
OVERLOADED = (
    "More is waiting than may wait; Retry-After says when to come again.",
    Overloaded("128 requests are under way, and 128 may be (PERCEPT_MAX_QUEUE); try again"),
)
# What was asked may be small and have come beside something large; that is over soon.
NO_MEMORY = OutOfMemory(
    "there is no memory to answer this with now; come again, or send something smaller", {"Retry-After": "1"}
)
SHORT_OF_MEMORY = ("There is no memory for it; Retry-After says when to come again.", NO_MEMORY)
EXAMPLE_ID = "f0801f50f66f0534"


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(CallerGone, _client_gone)
    app.add_exception_handler(MemoryError, _no_memory)
    app.add_exception_handler(Exception, _unexpected)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems."""
    return {status: _documented(*DOCUMENTED[status]) for status in statuses}


def documented_as(faults: Mapping[int, tuple[str, AppError]]) -> dict[int | str, dict[str, Any]]:
    """The same of a route whose problems of these statuses are others."""
    return {status: _documented(*fault) for status, fault in faults.items()}


def documented_protocol(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route under /v2 that may answer with these errors."""
    return {status: _documented_protocol(*DOCUMENTED_PROTOCOL[status]) for status in statuses}


def documented_overload(protocol: bool = False) -> dict[int | str, dict[str, Any]]:
    """Of a route that queues: what it answers when there is too much to do, or no memory to do it in."""
    told = _documented_protocol if protocol else _documented
    return {fault.status: told(meaning, fault) for meaning, fault in (OVERLOADED, SHORT_OF_MEMORY)}


def _documented_protocol(meaning: str, error: AppError) -> dict[str, Any]:
    content = {"schema": _schema(ProtocolError), "example": {"error": error.detail}}
    return {"description": meaning, "content": {JSON: content}}


def _documented(meaning: str, error: AppError) -> dict[str, Any]:
    content = {"schema": _schema(Problem), "example": _problem(error, EXAMPLE_ID)}
    return {"description": meaning, "content": {MEDIA_TYPE: content}}


@cache
def _schema(kind: type) -> dict[str, Any]:
    """Made once: a hundred of them were a tenth of the imports."""
    return TypeAdapter(kind).json_schema()


def _problem(error: AppError, request_id: str) -> Problem:
    return Problem(
        type=_type_of(type(error).__name__),
        title=error.title,
        status=error.status,
        detail=error.detail,
        request_id=request_id,
    )


@cache
def _type_of(fault: str) -> str:
    """`NotFound` → `urn:percept:problem:not-found`."""
    return "urn:percept:problem:" + re.sub(r"(?<!^)(?=[A-Z])", "-", fault).lower()


class Rendered(NamedTuple):
    """A response before it has the form of any framework."""

    status: int
    headers: dict[str, str]
    body: bytes

    def response(self) -> Response:
        return Response(self.body, self.status, self.headers)


def rendered(error: BaseException, scope: Scope) -> Rendered:
    """Any error, for whoever answers before there is a Request; a fault of the service is logged."""
    if isinstance(error, AppError):
        return _render(scope, _problem(error, scope["request_id"]), error.headers)
    if isinstance(error, CallerGone):
        return Rendered(CLIENT_CLOSED_REQUEST, {}, b"")
    if isinstance(error, MemoryError):
        logger.warning("request %s: no memory for %s %s", scope["request_id"], scope["method"], scope["path"])
        return rendered(NO_MEMORY, scope)
    return _failure(error, scope)


def is_expected(error: BaseException) -> bool:
    """Whether it is an answer rather than a fault of the service."""
    return isinstance(error, (AppError, CallerGone, MemoryError))


def _app_error(request: Request, error: Exception) -> Response:
    return rendered(error, request.scope).response()


def _no_memory(request: Request, error: Exception) -> Response:
    return rendered(error, request.scope).response()


def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    where = f"{request.method} {request.url.path}"
    detail = where if error.detail == phrase else f"{where}: {error.detail}"
    headers = error.headers
    if error.status_code == 405:
        allowed = ", ".join(_allowed(request))
        headers = {**(headers or {}), "Allow": allowed}
        detail += f" is not allowed; allowed: {allowed}"
    return _render(request.scope, _plain(request.scope, error.status_code, detail), headers).response()


def _allowed(request: Request) -> list[str]:
    """Of all routes with this path; Starlette names those of the first."""
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        f"{' '.join(map(str, fault['loc']))}: {fault['msg']} (got {fault['input']!r})" for fault in error.errors()
    ]
    return _app_error(request, InvalidRequest("; ".join(faults)))


def _client_gone(request: Request, error: Exception) -> Response:
    """Nobody reads this; without it the log would call a closed connection a failure of the service."""
    return rendered(CallerGone(), request.scope).response()


def _unexpected(request: Request, error: Exception) -> Response:
    return _failure(error, request.scope).response()


def _failure(error: BaseException, scope: Scope) -> Rendered:
    """The traceback goes to the log, never to the caller, who gets the id to find it by."""
    request_id = scope["request_id"]
    message = f"request {request_id} failed: {scope['method']} {scope['path']}"
    logger.error(message, exc_info=error, extra={"fields": {"request_id": request_id}})
    return _render(scope, _plain(scope, 500, "the service failed; the log says why"))


def _plain(scope: Scope, status: int, detail: str) -> Problem:
    """A problem that says no more than its HTTP status (RFC 9457, section 4.2.1)."""
    phrase = HTTPStatus(status).phrase
    return Problem(type="about:blank", title=phrase, status=status, detail=detail, request_id=scope["request_id"])


def _render(scope: Scope, problem: Problem, headers: Mapping[str, str] | None = None) -> Rendered:
    status = problem["status"]
    if speaks_protocol(scope):
        status = 400 if status == InvalidRequest.status else status  # the protocol's word for it
        return Rendered(
            status, {"Content-Type": JSON, **(headers or {})}, orjson.dumps(ProtocolError(error=problem["detail"]))
        )
    return Rendered(status, {"Content-Type": MEDIA_TYPE, **(headers or {})}, orjson.dumps(problem))


def speaks_protocol(scope: Scope) -> bool:
    """Whether the path, without a proxy's prefix, is of those that the Open Inference Protocol has."""
    path: str = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
    return path == PROTOCOL or path.startswith(f"{PROTOCOL}/")
