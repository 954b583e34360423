"""Every error as problem+json (RFC 9457): the one place that makes error responses and documents them."""

import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from app.errors import AppError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    type: str = Field(description="Names the kind of problem.", examples=["urn:percept:problem:not-found"])
    title: str = Field(description="The kind of problem, in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong here, and what is allowed.")
    request_id: str = Field(description="The X-Request-ID of this response, to find it in logs.")


# What each status means on our routes, for the documentation.
MEANINGS = {
    404: "No such model, version or figure.",
    413: "More bytes, files or pixels than are allowed.",
    415: "A content type that is not read here.",
    422: "Readable, but not what can be answered: no file, a wrong field, no image, a parameter out of range.",
    503: "Some model that should be served is not.",
}


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _unexpected)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems."""
    schema = Problem.model_json_schema()
    return {
        status: {"description": MEANINGS[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses
    }


def _app_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
    return _respond(
        request, f"urn:percept:problem:{kind}", error.title, error.status, error.detail, headers=error.headers
    )


def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    where = f"{request.method} {request.url.path}"
    detail = where if error.detail == phrase else f"{where}: {error.detail}"
    if error.status_code == 405 and error.headers:
        detail += f" is not allowed; allowed: {error.headers.get('Allow')}"
    return _respond(request, "about:blank", phrase, error.status_code, detail, dict(error.headers or {}))


def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        f"{' '.join(map(str, fault['loc']))}: {fault['msg']} (got {fault['input']!r})" for fault in error.errors()
    ]
    return _respond(request, "urn:percept:problem:invalid-request", "Invalid request", 422, "; ".join(faults))


def _unexpected(request: Request, error: Exception) -> Response:
    """The traceback goes to the log, never to the caller."""
    return _respond(request, "about:blank", "Internal Server Error", 500, "the service failed; the log says why")


def _respond(
    request: Request, type: str, title: str, status: int, detail: str, headers: dict[str, str] | None = None
) -> Response:
    request_id = request.scope["request_id"]
    problem = Problem(type=type, title=title, status=status, detail=detail, request_id=request_id)
    return Response(
        problem.model_dump_json(),
        status,
        {**(headers or {}), "X-Request-ID": request_id},
        MEDIA_TYPE,
    )
