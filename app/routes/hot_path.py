"""POST /predict/{model} and /v2/models/{model}/infer as they mostly come: no query, the body small and all there.

Answered without FastAPI's routing, dependencies and validation, by the same functions; all else goes on to the routes.
"""

import asyncio
from collections.abc import Awaitable, Mapping

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import AppError, CallerGone
from app.open_inference import LENGTH_HEADER, Reply
from app.problems import CLIENT_CLOSED_REQUEST, failure_response, problem_response
from app.protocol import Body, infer
from app.routes.callers import TIMEOUT, deadline_of, gone
from app.service import Service
from app.uploads import IDLE_SECONDS, IMAGES, idle, split_form

PREDICT, MODELS, INFER = "/predict/", "/v2/models/", "/infer"
# A longer body comes in several pieces anyhow.
MAX_BYTES = 65_536
JSON = "application/json"
JSON_LENGTH = LENGTH_HEADER.lower().encode()

Headers = Mapping[bytes, bytes]


class HotPath:
    """Middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"]:
            await self.app(scope, receive, send)
            return
        try:
            reply, read = await _answer(scope, receive)
        except AppError as error:
            await problem_response(error, scope)(scope, receive, send)
        except CallerGone:
            await Response(status_code=CLIENT_CLOSED_REQUEST)(scope, receive, send)
        except Exception as error:
            await failure_response(error, scope)(scope, receive, send)
            raise
        else:
            if reply is None:
                await self.app(scope, _again(read, receive), send)
            else:
                await _send(reply, send)


async def _answer(scope: Scope, receive: Receive) -> tuple[Reply | None, Message | None]:
    """The reply; or None and what has been read of the body, if the request is none of ours or not so simple."""
    path: str = scope["path"]
    predicts = path.startswith(PREDICT)
    if not predicts and not (path.startswith(MODELS) and path.endswith(INFER)):
        return None, None
    service: Service = scope["state"]["service"]
    headers: Headers = dict(reversed(scope["headers"]))  # of several with one name the first counts
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or int(length) > min(MAX_BYTES, service.settings.max_body_bytes):
        return None, None
    name, version = (path[len(PREDICT) :], None) if predicts else _asked(path)
    if not name or "/" in name:
        return None, None
    model = service.store.find_text(name, version)
    service.require_room(model)
    deadline = deadline_of(headers.get(TIMEOUT, b"").decode("latin-1"))
    message = _without_waiting(receive) or await _with_patience(receive)
    if message["type"] == "http.disconnect":
        raise CallerGone
    if message.get("more_body"):
        return None, message
    body: bytes = message.get("body", b"")

    def left() -> Awaitable[None]:
        return gone(receive)

    if not predicts:
        return await infer(service, model, _body(body, headers), deadline, left), None
    files = _files(headers.get(b"content-type", b""), body)
    if files is None or len(files) > service.settings.max_files:
        return None, message
    answer = await service.predict(model, files, None, deadline, left)
    return Reply(answer.json(), {"Content-Type": JSON, "Server-Timing": answer.timings.header()}), None


def _asked(path: str) -> tuple[str, str | None]:
    """The model and the version of a path to /infer; no name if it is none."""
    name, *version = path[len(MODELS) : -len(INFER)].split("/versions/")
    if len(version) > 1 or "/" in "".join(version):
        return "", None
    return name, version[0] if version else None


def _body(content: bytes, headers: Headers) -> Body:
    length, coding, accepted = (headers.get(name) for name in (JSON_LENGTH, b"content-encoding", b"accept-encoding"))
    return Body(
        content,
        None if length is None else length.decode("latin-1"),
        (coding or b"").decode("latin-1"),
        (accepted or b"").decode("latin-1"),
    )


def _without_waiting(receive: Receive) -> Message | None:
    """What is there already, as it mostly is: a timer would cost more than all else of reading. None if it is not."""
    step = receive()
    try:
        step.send(None)  # type: ignore[attr-defined]  # a coroutine, as all that servers give
    except StopIteration as done:
        message: Message = done.value
        return message
    step.close()  # type: ignore[attr-defined]
    return None


async def _with_patience(receive: Receive) -> Message:
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            return await receive()
    except TimeoutError:
        raise idle() from None


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


async def _send(reply: Reply, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
