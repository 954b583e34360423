"""POST /predict/{model} as it mostly comes: without a query, the body small and all there. Answered without FastAPI's
routing, dependencies and validation, by the same service; everything else goes on to routes/predict.py."""

import asyncio

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import AppError, CallerGone
from app.problems import CLIENT_CLOSED_REQUEST, problem_response
from app.routes.callers import TIMEOUT, deadline_of, gone
from app.service import Answer, Service
from app.uploads import IDLE_SECONDS, IMAGES, idle, split_form

PREFIX = "/predict/"
# A longer body comes in several pieces anyhow.
MAX_BYTES = 65_536
JSON = (b"content-type", b"application/json")


class HotPath:
    """Middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or scope["query_string"]
            or not scope["path"].startswith(PREFIX)
        ):
            await self.app(scope, receive, send)
            return
        try:
            answer, read = await _answer(scope, receive)
        except AppError as error:
            await problem_response(error, scope["request_id"])(scope, receive, send)
        except CallerGone:
            await Response(status_code=CLIENT_CLOSED_REQUEST)(scope, receive, send)
        else:
            if answer is None:
                await self.app(scope, _again(read, receive), send)
            else:
                await _send(answer, send)


async def _answer(scope: Scope, receive: Receive) -> tuple[Answer | None, Message | None]:
    """The answer; or None and what has been read of the body, if the request is not so simple."""
    service: Service = scope["state"]["service"]
    content_type, length, timeout = b"", b"", b""
    for name, value in reversed(scope["headers"]):  # of several with one name the first counts
        if name == b"content-type":
            content_type = value
        elif name == b"content-length":
            length = value
        elif name == TIMEOUT:
            timeout = value
    limit = min(MAX_BYTES, service.settings.max_body_bytes)
    named = scope["path"][len(PREFIX) :]
    if not length.isdigit() or int(length) > limit or not named or "/" in named:
        return None, None
    model = service.store.find(named)
    deadline = deadline_of(timeout.decode("latin-1"))
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            message = await receive()
    except TimeoutError:
        raise idle() from None
    whole = message["type"] == "http.request" and not message.get("more_body")
    files = _files(content_type, message.get("body", b"")) if whole else None
    if files is None or len(files) > service.settings.max_files:
        return None, message
    return await service.predict(model, files, None, deadline, lambda: gone(receive)), None


def _files(content_type: bytes, body: bytes) -> list[bytes] | None:
    return [body] if content_type.startswith(IMAGES) else split_form(content_type, body)


def _again(read: Message | None, receive: Receive) -> Receive:
    """`receive`, beginning with what has been read already."""
    if read is None:
        return receive
    waiting = [read]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


async def _send(answer: Answer, send: Send) -> None:
    body = answer.json()
    headers = [
        JSON,
        (b"content-length", b"%d" % len(body)),
        (b"server-timing", answer.server_timing().encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
