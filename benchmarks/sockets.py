"""Connections that trickle, by the thousand: how long the others wait for their answers.

    .venv/bin/python -m benchmarks.sockets --slow 2000

Each slow connection sends a byte of its head every two seconds, and begins anew when it is given up. Wanted: the 99th
percentile of the others at most five times that without them, and every answer right.
"""

import argparse
import contextlib
import resource
import selectors
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.cases import CASES, questions
from benchmarks.own_process import Percept, percept
from benchmarks.processes import terminated_as_interrupted
from benchmarks.servers import CannotStart, receive

HEAD = b"POST /predict/mnist-cnn HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 4_000
BEAT_SECONDS = 2.0
MOST_TIMES = 5.0


@contextlib.contextmanager
def trickling(port: int, count: int) -> Iterator[None]:
    """So many connections, from one thread, until the end."""
    begun, end = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        thread = pool.submit(_trickle, port, count, begun, end)
        begun.wait()
        try:
            yield
        finally:
            end.set()
            thread.result()


def _trickle(port: int, count: int, begun: threading.Event, end: threading.Event) -> None:
    """Raises OSError if a connection is not to be had."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as watched:
        try:
            for _ in range(count):
                _begin(port, watched, stack)
        finally:
            begun.set()
        place = 1
        while not end.wait(BEAT_SECONDS):
            for key, _ in watched.select(0):  # closed, or told that it is late
                watched.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
                _begin(port, watched, stack)
            for key in list(watched.get_map().values()):
                with contextlib.suppress(OSError):
                    key.fileobj.send(HEAD[place : place + 1])  # type: ignore[union-attr]
            place += 1


def _begin(port: int, watched: selectors.BaseSelector, stack: contextlib.ExitStack) -> None:
    slow = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10.0))
    slow.sendall(HEAD[:20])
    watched.register(slow, selectors.EVENT_READ)


def answered(service: Percept, requests: int) -> list[float]:
    """Seconds of each, one after the other, over new connections: whoever comes has to be accepted, too. Raises
    OSError or HTTPException for one that is not answered, ValueError for another answer than 200."""
    asked = questions(CASES["png_raw"], "/predict/mnist-cnn", None)
    seconds = []
    for number in range(requests):
        message = asked[number % len(asked)].message.raw(service.port)
        began = time.perf_counter()
        with socket.create_connection(("127.0.0.1", service.port), 10.0) as connection:
            connection.sendall(message)
            status = receive(connection).status
        seconds.append(time.perf_counter() - began)
        if status != 200:
            raise ValueError(f"answered with {status}")
    return seconds


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


def beside_slow_ones(slow: int, requests: int, workers: int = 1) -> tuple[float, float]:
    """The 99th percentile without them, and with them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with percept({"PERCEPT_WORKERS": str(workers)}) as service:
            answered(service, 50)
            alone = p99(answered(service, requests))
            with trickling(service.port, slow):
                beside = p99(answered(service, requests))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return alone, beside


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sockets", description=__doc__.partition("\n")[0])
    parser.add_argument("--slow", type=int, default=2_000)
    parser.add_argument("--requests", type=int, default=3_000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    try:
        with terminated_as_interrupted():
            alone, beside = beside_slow_ones(options.slow, options.requests, options.workers)
    except CannotStart as error:
        print(f"percept: {error}", file=sys.stderr)
        return 1
    print(f"p99 alone {1_000 * alone:.2f} ms, beside {options.slow:,} slow connections {1_000 * beside:.2f} ms")
    return 0 if beside <= MOST_TIMES * alone else 1


if __name__ == "__main__":
    sys.exit(main())
