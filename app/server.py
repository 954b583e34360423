"""The server process: uvicorn around the application, started quickly and stopped politely."""

import contextlib
import gc
from socket import socket

import uvicorn

from app.main import create_app, open_store
from app.settings import Settings

STARTUP_FAILED = 3
# Requests that are under way get so long to end when the server is told to stop.
GRACE_SECONDS = 10


class Server(uvicorn.Server):
    """Ends the pause of the garbage collector that `percept serve` began (docs/performance.md): what the start has
    made lives as long as the process and need never be looked at again."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        gc.freeze()
        gc.enable()


def run(settings: Settings) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code. Raises ConfigurationError before it listens."""
    config = uvicorn.Config(
        create_app(settings, open_store(settings)),
        host=settings.host,
        port=settings.port,
        log_level="info",
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    # Ctrl-C has already been answered by a graceful stop when uvicorn raises it again.
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else STARTUP_FAILED
