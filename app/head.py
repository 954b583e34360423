"""HEAD is answered wherever GET is (RFC 9110, section 9.3.2): probes and link checkers ask with it."""

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """Middleware. The application sees a GET; the server, which knows better, sends the headers alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        await self.app({**scope, "method": "GET"} if is_head else scope, receive, send)
