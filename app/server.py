"""The server: a socket, workers around it, uvicorn and the application in each."""

import asyncio
import contextlib
import gc
import os
import socket
import sys
from collections.abc import Callable

import uvicorn

from app import logs
from app.connection import Connection
from app.errors import AppError, ConfigurationError
from app.main import Shared, create_app, open_repository, shared_by
from app.settings import Settings, worker_count
from app.supervisor import supervise

STARTUP_FAILED = 3
MISCONFIGURED = 2
# Requests that are under way get so long to end when the server is told to stop.
GRACE_SECONDS = 10
BACKLOG = 2_048
# So many new objects before the collector looks for cycles: a few hundred requests under way are none.
GARBAGE = 10_000
# The event loop waits no longer than this for a thread that decodes; Python's own 5 ms would be noticed.
SWITCH_SECONDS = 0.0005


def run(settings: Settings) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code. Raises ConfigurationError if the address is not to be had.

    The models are loaded in the workers: sessions, and CUDA above all, do not outlive a fork."""
    workers = worker_count(settings)
    sockets = listen(settings.host, settings.port, workers)
    shared = shared_by(workers)
    address = f"http://{_host_of(sockets[0])}:{sockets[0].getsockname()[1]}"

    def work(slot: int, ready: Callable[[], object], life: int) -> int:
        close([other for other in sockets if other is not sockets[slot]])
        return serve(settings, shared, slot, sockets[slot], ready, life)

    def close(given_up: list[socket.socket]) -> None:
        """A connection is accepted as long as anybody holds the socket, and answered only by its worker."""
        for listening in given_up:
            listening.close()

    def announce() -> None:
        print(f"Percept answers on {address} with {workers} worker{'s' * (workers > 1)}", flush=True)

    gc.freeze()  # what is imported is shared by all workers as long as no collector touches it
    code = supervise(workers, work, announce, GRACE_SECONDS + 2, lambda: close(sockets))
    print("Percept has stopped", flush=True)
    return code


def listen(host: str, port: int, workers: int) -> list[socket.socket]:
    """A socket for each worker, all on one address: the kernel then spreads connections evenly, where workers around
    one socket would take as many as they are quick. They belong to the supervisor: while a worker that died is being
    replaced, its connections wait. Raises ConfigurationError."""
    try:
        [*_, (family, _, _, _, address)] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # Sockets that share an address would share it with those of another service, too; this one says if it is taken.
        with socket.create_server(address[:2], family=family) as probe:
            address = probe.getsockname()
        if workers == 1 or sys.platform != "linux":  # elsewhere the kernel does not spread them
            return [socket.create_server(address[:2], family=family, backlog=BACKLOG)] * workers
        return [
            socket.create_server(address[:2], family=family, backlog=BACKLOG, reuse_port=True) for _ in range(workers)
        ]
    except OSError as error:
        unknown = isinstance(error, socket.gaierror)  # its numbers are others
        reason = str(error.strerror) if unknown or not error.errno else os.strerror(error.errno)
        raise ConfigurationError(f"cannot listen on {host}:{port}: {reason}") from error


def _host_of(listening: socket.socket) -> str:
    host: str = listening.getsockname()[0]
    return f"[{host}]" if listening.family == socket.AF_INET6 else host


def serve(
    settings: Settings, shared: Shared, slot: int, listening: socket.socket, ready: Callable[[], object], life: int
) -> int:
    """One worker. Tells `ready` when it answers; ends when `life` does, whose other end the supervisor has."""
    logs.configure(settings.access_log)
    try:
        app = create_app(settings, shared, slot, open_repository(settings, shared, slot))
    except AppError as error:
        print(f"percept: {error.detail}", file=sys.stderr)
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
        self._ready()

    def _supervisor_is_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._life)
        os.close(self._life)
        self.should_exit = True
