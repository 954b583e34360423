"""What surrounds every response: its X-Request-ID, the caller's own if it is harmless, else a new one; its count."""

import re
import secrets
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = b"x-request-id"
# Goes into logs and headers, so nothing that could break either.
HARMLESS = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Envelope:
    """Middleware. The id is in `scope["request_id"]` for whatever runs inside; `count` is told every status."""

    def __init__(self, app: ASGIApp, count: Callable[[int], None]) -> None:
        self.app, self.count = app, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _given(scope) or secrets.token_hex(8).encode()
        scope["request_id"] = request_id.decode()
        counted = False

        async def send_with_id(message: Message) -> None:
            nonlocal counted
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (HEADER, request_id)]
                self.count(message["status"])
                counted = True
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            if not counted:
                self.count(500)  # answered further out, by Starlette's last resort
            raise


def _given(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == HEADER:
            return value if HARMLESS.fullmatch(value) else None
    return None
