"""One process that answers: the application in uvicorn, with the models loaded. It imports all that serving needs; the
supervisor leaves that to it.
"""

import asyncio
import contextlib
import gc
import os
import socket
import sys
import warnings
from collections.abc import Callable

import uvicorn

from app import logs
from app.connection import STOPPING, Connection
from app.errors import AppError
from app.main import create_app, open_repository
from app.runtime import give_back_freed_memory
from app.settings import GRACE_SECONDS, Settings
from app.shared import Shared
from app.supervisor import tell

STARTUP_FAILED = 3
MISCONFIGURED = 2
# So long what the kernel has accepted is still taken, while it accepts no more: what waited when the socket is closed
# would be reset.
ACCEPT_SECONDS = 0.05
# So long an idle connection is kept: longer than proxies and load balancers keep theirs, which is mostly a minute. Who
# closes while the other one asks breaks that request, and they know when they ask.
KEEP_ALIVE_SECONDS = 75
# So many new objects before the collector looks for cycles: a few hundred requests under way are none.
GARBAGE = 10_000
# The event loop waits no longer than this for a thread that decodes; Python's own 5 ms would be noticed.
SWITCH_SECONDS = 0.0005


def serve(
    settings: Settings, shared: Shared, slot: int, listening: socket.socket, ready: Callable[[], object], life: int
) -> int:
    """One worker. Tells `ready` when it answers; ends when `life` does, whose other end the supervisor has."""
    logs.configure(settings.access_log)
    # Of odd pictures; each text is kept to be told once, and a caller can make as many texts as he likes.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        app = create_app(settings, shared, slot, open_repository(settings, shared, slot, measuring=False))
    except AppError as error:
        tell(f"percept: {error.detail}")
        return MISCONFIGURED
    sys.setswitchinterval(SWITCH_SECONDS)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        # Without these two uvicorn reads variables of its own: FORWARDED_ALLOW_IPS and WEB_CONCURRENCY.
        forwarded_allow_ips=list(settings.proxies),
        workers=1,
    )
    server = Server(config, ready, life)
    # SIGINT has already been answered by a graceful stop when uvicorn raises it again.
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listening])
    return 0 if server.started else STARTUP_FAILED


class Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], object], life: int) -> None:
        super().__init__(config)
        self._ready, self._life = ready, life

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(self._life, self._supervisor_is_gone)
        # What the start has made lives as long as the process and need never be looked at again; `percept serve`
        # paused the collector at its beginning.
        gc.freeze()
        gc.enable()
        gc.set_threshold(GARBAGE)
        give_back_freed_memory()
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """What has been accepted is answered; connections are told that it was the last."""
        self.lifespan.state[STOPPING] = True
        for listening in sockets or []:
            listening.listen(0)
        await asyncio.sleep(ACCEPT_SECONDS)
        await super().shutdown(sockets)

    def _supervisor_is_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._life)
        os.close(self._life)
        self.should_exit = True
