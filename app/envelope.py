"""What surrounds every response: its X-Request-ID (the caller's own if harmless), its count, its line in the log."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import ACCESS

HEADER = b"x-request-id"
# Goes into logs and headers, so nothing that could break either.
HARMLESS = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Envelope:
    """Middleware. The id is in `scope["request_id"]` for whatever runs inside; `count` is told every status."""

    def __init__(self, app: ASGIApp, count: Callable[[int], None]) -> None:
        self.app, self.count = app, count
        # Ids need to be unique, not secret: chance tells the processes apart, a number their requests.
        self.prefix, self.numbers = secrets.token_hex(4).encode(), itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _given(scope) or b"%b%08x" % (self.prefix, next(self.numbers))
        scope["request_id"] = request_id.decode()

        status = 0
        started = time.perf_counter() if ACCESS.isEnabledFor(logging.INFO) else 0.0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (HEADER, request_id)]
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
                _log(scope, status, time.perf_counter() - started)


def _log(scope: Scope, status: int, seconds: float) -> None:
    fields = {
        "request_id": scope["request_id"],
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "ms": round(1_000 * seconds, 3),
    }
    ACCESS.info("request", extra={"fields": fields})


def _given(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == HEADER:
            return value if HARMLESS.fullmatch(value) else None
    return None
