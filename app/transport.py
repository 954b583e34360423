"""A response in one write: uvicorn hands the head and the body to the transport one by one, and each would be a system
call of its own here, a wake-up and a read at the caller's. Knows nothing of HTTP."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# More than this is not worth copying.
LARGE_BYTES = 16_384


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol on such a transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]


class OneWrite:
    """Holds a write back until the next one, or until the loop has done what it has in hand."""

    __slots__ = ("_call_soon", "_held", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._call_soon = transport, loop.call_soon
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        held = self._held
        if held and len(data) <= LARGE_BYTES:
            self._held = b""
            self._transport.write(held + data)
        elif held or len(data) > LARGE_BYTES:
            self.flush()
            self._transport.write(data)
        elif data:
            self._held = data
            self._call_soon(self.flush)

    def flush(self) -> None:
        held, self._held = self._held, b""
        if held:
            self._transport.write(held)

    def close(self) -> None:
        self.flush()
        self._transport.close()
