"""POST /predict/{model} and /v2/models/{model}/infer as they mostly come: no query, the body small and all there.

Answered without FastAPI's routing, dependencies and validation, by the same functions; all else goes on to the routes.
Knows no sockets; `connection.py` asks it directly, the middleware here is for whatever comes as ASGI.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.envelope import first_by_name
from app.open_inference import LENGTH_HEADER, Reply
from app.problems import is_expected, rendered
from app.protocol import Body, infer
from app.routes.callers import TIMEOUT, deadline_of, gone
from app.service import Service
from app.settings import Settings
from app.sheets import PLAIN
from app.store import Answering
from app.uploads import IMAGES, LENGTH_DIGITS, Upload, split_form

# Names in other letters, and whatever a query asks for besides, are the routes' business.
HOT = re.compile(
    r"/predict/(?P<name>[\w.~-]+)|/v2/models/(?P<model>[\w.~-]+)(?:/versions/(?P<version>[\w.~-]+))?/infer", re.ASCII
)
# Paths are remembered, so they have to be short.
MAX_PATH = 300
# A longer body comes in several pieces anyhow.
MAX_BYTES = 65_536
JSON = "application/json"
JSON_LENGTH = LENGTH_HEADER.lower().encode()

Headers = Mapping[bytes, bytes]


class Asked(NamedTuple):
    """What the path of a hot request says."""

    path: str
    model: str
    version: str | None
    infers: bool  # in the words of the Open Inference Protocol


def what_is_asked(path: str) -> Asked | None:
    """Of a POST without a query; None if it is none of ours."""
    return _what_is_asked(path) if len(path) <= MAX_PATH else None


@lru_cache(maxsize=256)
def _what_is_asked(path: str) -> Asked | None:
    match = HOT.fullmatch(path)
    if match is None:
        return None
    name, model, version = match.groups()
    return Asked(path, name or model, version, infers=name is None)


def is_short(headers: Headers, settings: Settings) -> bool:
    """Whether the body's length is announced and small."""
    return is_allowed(headers, settings) and int(headers[b"content-length"]) <= MAX_BYTES


def is_allowed(headers: Headers, settings: Settings) -> bool:
    """Whether the body's length is announced, and no more than anybody may send."""
    length = headers.get(b"content-length", b"")
    return len(length) <= LENGTH_DIGITS and length.isdigit() and int(length) <= settings.max_body_bytes


async def answer(
    service: Service, asked: Asked, headers: Headers, body: bytes, left: Callable[[], Awaitable[None]]
) -> Reply | None:
    """The reply; None, before anything is waited for, if the body is not so simple. `left` returns when the caller has
    gone. Raises an AppError, or CallerGone."""
    model, photographs = found(service, asked)
    service.require_room(model)
    deadline = deadline_of(headers[TIMEOUT].decode("latin-1") if TIMEOUT in headers else None)
    if asked.infers:
        return await infer(service, model, _body(body, headers), deadline, left)
    files = _files(headers.get(b"content-type", b""), body)
    if files is None or len(files) > service.settings.max_files:
        return None
    answer = await service.predict(model, Upload(files), PLAIN, deadline, left, photographs)
    return Reply(answer.body, {"Content-Type": JSON, "Server-Timing": answer.timings.header()})


def found(service: Service, asked: Asked) -> Answering:
    """Raises NotFound."""
    if asked.infers:
        return Answering(service.store.find_text(asked.model, asked.version), None)
    return service.store.find_answering(asked.model)


class HotPath:
    """Middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        simple = scope["type"] == "http" and scope["method"] == "POST" and not scope["query_string"]
        asked = what_is_asked(scope["path"]) if simple else None
        if asked is None:
            await self.app(scope, receive, send)
            return
        service: Service = scope["state"]["service"]
        headers = first_by_name(scope["headers"])
        message = _without_waiting(receive) if is_short(headers, service.settings) else None
        if message is None or message["type"] != "http.request" or message.get("more_body"):
            await self.app(scope, _again(message, receive), send)
            return
        try:
            reply = await answer(service, asked, headers, message.get("body", b""), lambda: gone(receive))
        except Exception as error:
            await rendered(error, scope).response()(scope, receive, send)
            if not is_expected(error):
                raise
        else:
            if reply is None:
                await self.app(scope, _again(message, receive), send)
            else:
                await _send(reply, send)


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
    await send({"type": "http.response.start", "status": 200, "headers": _raw_headers(reply.headers, reply.body)})
    await send({"type": "http.response.body", "body": reply.body})


def _raw_headers(headers: Mapping[str, str], body: bytes) -> list[tuple[bytes, bytes]]:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"content-length", b"%d" % len(body)))
    return raw
