"""An answer as server-sent events, sent while it is computed; what ends it too early is its last event."""

from contextlib import aclosing

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.computation import Pieces
from app.errors import CallerGone
from app.events import MEDIA_TYPE, event
from app.problems import rendered

# nginx would otherwise collect events before it hands them on.
HEADERS = {"Vary": "Accept", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """Whether the caller is still there the computation itself looks after: it ends, and so do the pieces."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__(pieces, media_type=MEDIA_TYPE, headers=HEADERS)
        self.pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.pieces):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            last = b""
            try:
                async for piece in self.pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except CallerGone:
                pass  # nobody reads what would be told
            except Exception as error:
                last = event("problem", rendered(error, scope).body)
            await send({"type": "http.response.body", "body": last, "more_body": False})
