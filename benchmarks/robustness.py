"""New versions dropped in under load, and workers killed under load: how many requests fail, and for how long.

    .venv/bin/python -m benchmarks.robustness --reloads 50 --kills 5

A failed request is any that was not answered with a status below 400: refused, broken, or not in time.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from glob import glob
from pathlib import Path
from typing import NamedTuple

from benchmarks.cases import MODEL, Question
from benchmarks.machine import busy_share, cores, this_machine
from benchmarks.model_folders import add_version, remove_version
from benchmarks.open_loop import command, require_right_answers
from benchmarks.processes import PROC, children, terminated_as_interrupted
from benchmarks.report import record, robustness
from benchmarks.servers import PERCEPT, CannotStart, Running, ask, receive, running
from benchmarks.wrk import Load, NoLoad, background, finish

CASE = "png_raw"
NAME = "mnist-cnn"
# Ended as soon as the last reload is over.
MOST_LOAD_SECONDS = 1_800
RELOAD_SECONDS = 15.0
REPLACED_SECONDS = 15.0
WANTED_REPLACED_SECONDS = 2.0
POLL_SECONDS = 0.02
# Every worker has to say the new version; which one answers a new connection is the kernel's choice.
ANSWERS_IN_A_ROW = 20
SETTLE_SECONDS = 1.0
LISTEN_BACKLOG_PROBES = 16

Bar = tuple[str, str, str, bool]


class Unavailable(Exception):
    """The service does not do what this run is about; the text says what was seen."""


def reloads(count: int, connections: int) -> list[Bar]:
    with tempfile.TemporaryDirectory(prefix="percept-artifacts-") as place:
        folder, content = Path(place), MODEL.read_bytes()
        add_version(folder, NAME, 1, content)
        with running(PERCEPT, Path(sys.executable), cores(), {"PERCEPT_ARTIFACTS": place}) as process:
            asked = PERCEPT.questions(CASE)
            require_right_answers(asked, process)
            with background(asked, process.port, MOST_LOAD_SECONDS, connections) as wrk:
                try:
                    seconds = [reload(folder, number, content, asked[0], process) for number in range(2, count + 2)]
                finally:
                    load = finish(wrk)
    title = f"{count} reloads: failed requests"
    return [
        (title, "0", f"{load.errors:,} of {load.requests:,}", load.errors == 0),
        ("reload: until every worker says the new version", "told", spread(seconds), True),
    ]


def reload(folder: Path, version: int, content: bytes, question: Question, process: Running) -> float:
    """Seconds until every answer is the new version's. The one before the last goes."""
    begin = time.monotonic()
    add_version(folder, NAME, version, content)
    if not wait_for(lambda: says(str(version), question, process), RELOAD_SECONDS):
        raise Unavailable(f"version {version} did not answer within {RELOAD_SECONDS:.0f} s of being put there")
    seconds = time.monotonic() - begin
    if version > 2:
        remove_version(folder, NAME, version - 2)
    print(f"  version {version} after {seconds:.2f} s", flush=True)
    return seconds


def says(version: str, question: Question, process: Running) -> bool:
    return all(version_of(question, process) == version for _ in range(ANSWERS_IN_A_ROW))


def version_of(question: Question, process: Running) -> str | None:
    try:
        answer = ask(question.message, process.port)
        found: str = json.loads(answer.body)["version"]
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return None
    return found


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(POLL_SECONDS)
    return False


def kills(count: int, connections: int) -> list[Bar]:
    with running(PERCEPT, Path(sys.executable), cores()) as process:
        asked = PERCEPT.questions(CASE)
        require_right_answers(asked, process)
        before = listening(process)
        if len(before) < 2:
            raise Unavailable(f"{len(before)} worker processes listen: there is none to kill and another to go on")
        with background(asked, process.port, MOST_LOAD_SECONDS, connections) as wrk:
            time.sleep(SETTLE_SECONDS)
            try:
                seconds = [kill_one(asked[0], process) for _ in range(count)]
            finally:
                load = finish(wrk)
    return kill_bars(count, connections, load, seconds)


def kill_bars(count: int, connections: int, load: Load, seconds: list[float]) -> list[Bar]:
    return [
        (
            f"{count} workers killed: failed requests",
            f"≤ {count * connections} (in flight)",
            f"{load.errors:,} of {load.requests:,}",
            load.errors <= count * connections,
        ),
        (
            "until as many workers answer as before",
            f"≤ {WANTED_REPLACED_SECONDS:g} s",
            spread(seconds),
            max(seconds) <= WANTED_REPLACED_SECONDS,
        ),
    ]


def kill_one(question: Question, process: Running) -> float:
    """Seconds until as many workers answer as before: until one that was not there has answered."""
    before = listening(process)
    victim = min(before)
    begin = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    if not wait_for(lambda: bool(answering(question, process) - before), REPLACED_SECONDS):
        raise Unavailable(f"a killed worker was not replaced within {REPLACED_SECONDS:.0f} s")
    seconds = time.monotonic() - begin
    print(f"  killed {victim}, replaced after {seconds:.2f} s", flush=True)
    time.sleep(SETTLE_SECONDS)
    return seconds


def listening(process: Running) -> set[int]:
    """The worker processes that hold a listening socket of the port."""
    held = held_sockets([child.pid for child in children(process.pid)])
    table = parse_tcp((PROC / "net" / "tcp").read_text())
    listeners = {one.inode for one in table if (one.local_port, one.remote_port) == (process.port, 0)}
    return {pid for pid, inodes in held.items() if inodes & listeners}


def answering(question: Question, process: Running) -> set[int]:
    """The worker processes that answer new connections, found by who holds the other end of each."""
    workers: set[int] = set()
    connections: list[socket.socket] = []
    try:
        for _ in range(LISTEN_BACKLOG_PROBES):
            connections.append(socket.create_connection(("127.0.0.1", process.port), 1.0))
            connections[-1].sendall(question.message.raw(process.port))
        answered = [connection for connection in connections if receive(connection).status == 200]
        inodes = {server_side(connection.getsockname()[1], process.port) for connection in answered}
        held = held_sockets([child.pid for child in children(process.pid)])
        workers = {pid for pid, sockets in held.items() if sockets & inodes}
    except (OSError, http.client.HTTPException):
        pass  # a connection that was given to the one that is gone; the next look is without it
    finally:
        for connection in connections:
            connection.close()
    return workers


class Established(NamedTuple):
    local_port: int
    remote_port: int
    inode: int


def parse_tcp(text: str) -> list[Established]:
    """The lines of /proc/net/tcp; ports are hexadecimal."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        local, remote = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
        found.append(Established(local, remote, int(fields[9])))
    return found


def server_side(client_port: int, server_port: int) -> int | None:
    """The inode of the socket that the server has for this connection."""
    for one in parse_tcp((PROC / "net" / "tcp").read_text()):
        if (one.local_port, one.remote_port) == (server_port, client_port):
            return one.inode
    return None


def held_sockets(pids: list[int]) -> dict[int, set[int | None]]:
    """Process → the inodes of its open sockets. A listening socket may have several holders."""
    holders: dict[int, set[int | None]] = {pid: set() for pid in pids}
    for pid in pids:
        for descriptor in glob(f"{PROC}/{pid}/fd/*"):
            with contextlib.suppress(OSError):  # one that has just been closed says nothing of the next
                if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor)):
                    holders[pid].add(int(found[1]))
    return holders


def spread(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s"


def attempt(title: str, run: Callable[[], list[Bar]]) -> list[Bar]:
    """What the service does not do is a line of the table, not the end of the run."""
    print(title, flush=True)
    try:
        return run()
    except (Unavailable, CannotStart) as error:
        print(f"  {error}", flush=True)
        return [(title, "answered", str(error), False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reloads", type=int, default=50)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--no-write", action="store_true", help="print only, leave docs/ as it is")
    options = parser.parse_args()
    before = busy_share()
    try:
        with terminated_as_interrupted():
            bars = attempt("reload under load", lambda: reloads(options.reloads, options.connections))
            bars += attempt("workers killed under load", lambda: kills(options.kills, options.connections))
    except (NoLoad, subprocess.TimeoutExpired) as error:
        sys.exit(f"benchmarks.robustness: {error}")
    except KeyboardInterrupt:
        sys.exit("benchmarks.robustness: interrupted; nothing is written")
    written = [[*bar[:3], "yes" if bar[3] else "no"] for bar in bars]
    result = {"command": command("robustness"), "machine": asdict(this_machine(before, busy_share())), "bars": written}
    print(robustness(result))
    if not options.no_write:
        record("robustness", result)


if __name__ == "__main__":
    main()
