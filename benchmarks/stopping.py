"""SIGTERM under load: whether every request that was sent is answered.

    .venv/bin/python -m benchmarks.stopping --clients 32 --rounds 5

Clients with connections that are kept alive ask as fast as they can, each until its connection is closed with an
answer; then it connects anew, until nobody listens any more. Lost is a request without an answer, on a connection that
had been answered before, or that was there before the signal. A newer one may be reset while the sockets close: nobody
has accepted it then, and its client asks elsewhere; these are counted beside.
"""

import argparse
import http.client
import signal
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from benchmarks.cases import CASES, questions
from benchmarks.own_process import percept
from benchmarks.processes import terminated_as_interrupted
from benchmarks.servers import CannotStart

ANSWER_SECONDS = 15.0
LOAD_SECONDS = 1.0
LOST, RESET = "lost", "reset before the first"


def ask_until_gone(port: int, message: bytes, told: threading.Event, stop: threading.Event) -> Counter[str]:
    """`told` is set when the service is told to stop."""
    counted = Counter[str]()
    while not stop.is_set():
        try:
            connection = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
        except OSError:
            counted["refused"] += 1
            return counted
        with connection:
            counted.update(_ask(connection, message, RESET if told.is_set() else LOST, stop))
    return counted


def _ask(connection: socket.socket, message: bytes, if_none: str, stop: threading.Event) -> Counter[str]:
    """Until the connection is closed; `if_none` is what it is called when not even the first is answered."""
    counted = Counter[str]()
    while not stop.is_set():
        try:
            connection.sendall(message)
            response = http.client.HTTPResponse(connection, method="POST")
            response.begin()
            response.read()
        except (OSError, http.client.HTTPException):
            counted[LOST if counted["answered"] else if_none] += 1
            return counted
        counted["answered"] += 1
        counted[str(response.status)] += 1
        if response.will_close:
            counted["closed with an answer"] += 1
            return counted
    return counted


def stopped_under_load(clients: int, workers: int) -> tuple[Counter[str], float]:
    """What the clients saw, and how long the service took to stop."""
    [question, *_] = questions(CASES["png_raw"], "/predict/mnist-cnn", None)
    with percept({"PERCEPT_WORKERS": str(workers)}) as service, ThreadPoolExecutor(clients) as pool:
        told, stop, message = threading.Event(), threading.Event(), question.message.raw(service.port)
        asking = [pool.submit(ask_until_gone, service.port, message, told, stop) for _ in range(clients)]
        time.sleep(LOAD_SECONDS)
        began = time.monotonic()
        told.set()
        service.process.send_signal(signal.SIGTERM)
        try:
            service.process.wait(ANSWER_SECONDS)
        finally:
            stop.set()
        seconds = time.monotonic() - began
        counted = Counter[str]()
        for each in asking:
            counted.update(each.result())
    return counted, seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stopping", description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    lost = 0
    with terminated_as_interrupted():
        for _ in range(options.rounds):
            try:
                counted, seconds = stopped_under_load(options.clients, options.workers)
            except CannotStart as error:
                print(f"percept: {error}", file=sys.stderr)
                return 1
            lost += counted["lost"]
            print(f"stopped in {seconds:.1f} s: " + ", ".join(f"{name} {n:,}" for name, n in sorted(counted.items())))
    print(f"lost: {lost}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
