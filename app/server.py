"""The server: a socket for each worker, and a supervisor around them. It imports nothing heavy: with one worker, nobody
would share it."""

import contextlib
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable

from app.errors import ConfigurationError
from app.lean_imports import import_fastapi
from app.settings import GRACE_SECONDS, Settings, worker_count
from app.shared import shared_by
from app.supervisor import HEEDED, STDOUT, supervise, tell

BACKLOG = 2_048
# Who takes nothing of an answer for so long is not waited for.
DEAF_SECONDS = 20.0


def run(settings: Settings) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code. Raises ConfigurationError if the address is not to be had.

    The models are loaded in the workers: sessions, and CUDA above all, do not outlive a fork."""
    # From here on, and not only when the supervisor listens: what says stop to a container's first process before that
    # would be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
    workers = worker_count(settings)
    allow_many_files()
    sockets = listen(settings.host, settings.port, workers)
    shared = shared_by(workers)
    address = f"http://{_host_of(sockets[0])}:{sockets[0].getsockname()[1]}"

    def work(slot: int, ready: Callable[[], object], life: int) -> int:
        serve = import_worker()
        close([other for other in sockets if other is not sockets[slot]])
        return serve(settings, shared, slot, sockets[slot], ready, life)

    def close(given_up: list[socket.socket]) -> None:
        """A connection is accepted as long as anybody holds the socket, and answered only by its worker."""
        for listening in given_up:
            listening.close()

    def announce() -> None:
        tell(f"Percept answers on {address} with {workers} worker{'s' * (workers > 1)}", STDOUT)

    if workers > 1:
        # What is imported before the fork is there once for all of them; a single worker would share it with nobody
        # but its supervisor, which has no use for it.
        import_worker()
    gc.freeze()  # shared as long as no collector touches it
    code = supervise(workers, work, announce, GRACE_SECONDS + 2, lambda: close(sockets))
    tell("Percept has stopped", STDOUT)
    return code


def import_worker() -> Callable[..., int]:
    """Its `serve`, with all that serving needs, and of the libraries no more."""
    import_fastapi()
    from app.worker import serve

    return serve


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
            return [give_up_the_deaf(socket.create_server(address[:2], family=family, backlog=BACKLOG))] * workers
        return [
            give_up_the_deaf(socket.create_server(address[:2], family=family, backlog=BACKLOG, reuse_port=True))
            for _ in range(workers)
        ]
    except OSError as error:
        unknown = isinstance(error, socket.gaierror)  # its numbers are others
        reason = str(error.strerror) if unknown or not error.errno else os.strerror(error.errno)
        raise ConfigurationError(f"cannot listen on {host}:{port}: {reason}") from error


def allow_many_files() -> None:
    """As many as this process may have: a connection is a file, and the soft limit is 1,024 on most machines."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard or soft == resource.RLIM_INFINITY:
        with contextlib.suppress(ValueError, OSError):  # macOS says that there is no limit, and has one
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def give_up_the_deaf(listening: socket.socket) -> socket.socket:
    """Connections get this from the socket that accepts them: what is not taken for so long is not kept for ever."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1_000 * DEAF_SECONDS))
    return listening


def _host_of(listening: socket.socket) -> str:
    host: str = listening.getsockname()[0]
    return f"[{host}]" if listening.family == socket.AF_INET6 else host
