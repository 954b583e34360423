"""What surrounds every response: its X-Request-ID (the caller's own if harmless), its count, its line in the log."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import ACCESS

HEADER = b"x-request-id"
# On every response: what is answered is what its type says, and no browser may take it for a script.
ALWAYS = ((b"x-content-type-options", b"nosniff"),)
# Goes into logs and headers, so nothing that could break either.
HARMLESS = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class RequestIds:
    """Ids need to be unique, not secret: chance tells the processes apart, a number their requests."""

    def __init__(self) -> None:
        self.prefix, self.numbers = secrets.token_hex(4).encode(), itertools.count()

    def choose(self, given: bytes | None) -> bytes:
        """The caller's own, if it is harmless."""
        if given is not None and HARMLESS.fullmatch(given):
            return given
        return b"%b%08x" % (self.prefix, next(self.numbers))


class Envelope:
    """Middleware. The id is in `scope["request_id"]` for whatever runs inside; `count` is told every status."""

    def __init__(self, app: ASGIApp, count: Callable[[int], None], ids: RequestIds) -> None:
        self.app, self.count, self.ids = app, count, ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = self.ids.choose(_given(scope))
        scope["request_id"] = request_id.decode()

        status = 0
        started = time.perf_counter() if ACCESS.isEnabledFor(logging.INFO) else 0.0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *ALWAYS, (HEADER, request_id)]
                status = message["status"]
                self.count(status)
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            if not status:
                self.count(500)  # the server will answer so
            raise
        finally:
            if started:
                log_request(scope, status, time.perf_counter() - started)


def first_by_name(headers: Sequence[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    """Of several headers with one name the first counts."""
    return dict(reversed(headers))


def log_request(scope: Scope, status: int, seconds: float) -> None:
    fields = {
        "request_id": scope["request_id"],
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "ms": round(1_000 * seconds, 3),
    }
    ACCESS.info("request", extra={"fields": fields})


def _given(scope: Scope) -> bytes | None:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return next((value for name, value in headers if name == HEADER), None)
