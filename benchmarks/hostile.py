"""Broken and hostile bodies for every POST route of a running service: what each is answered, and how soon.

    .venv/bin/python -m benchmarks.hostile --bodies 20000 --seed 1

A failure is an answer of 500 and more but for 504 to who named a deadline himself, a 429, a status or a form that the
documentation does not have, no answer, a worker that died, and an answer that took a second and, asked for again alone,
takes the workers a second of processor time: others may share the machine. Bodies come one after the other; with
`--callers` several come at once, and who is refused because of the others asks again, which is counted. What
failed lies afterwards in a folder; `--replay FILE` sends it again.
"""

import argparse
import http.client
import json
import os
import re
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cases import Message
from benchmarks.hostile_bodies import Hostile, bodies
from benchmarks.processes import PROC, children, terminated_as_interrupted
from benchmarks.servers import PERCEPT, CannotStart, Running, receive, running

SECONDS = 1.0
# Whoever shares the machine may hold up one answer; not the same one three times.
TRIES = 3
ANSWER_SECONDS = 30.0
LATE = "took "
# An answer of whose time less than this was spent computing was waited for.
WAITING = 0.25
PROBLEM = ["type", "title", "status", "detail", "request_id"]
OVERLOADED, TOO_LATE = 429, 504
AGAIN_SECONDS = 0.02
# Before a route is chosen: a slash too many, no such address, no such method.
UNROUTED = (307, 404, 405)


@dataclass
class Seen:
    """Of one kind."""

    statuses: Counter[int] = field(default_factory=Counter)  # 0: no answer
    slowest: float = 0.0
    refused: int = 0  # because of others, and asked again

    def add(self, outcome: "Outcome") -> None:
        self.statuses[outcome.status] += 1
        self.slowest = max(self.slowest, outcome.seconds)
        self.refused += outcome.refused


class Outcome(NamedTuple):
    """Of one body. `seconds` are those of the quickest try."""

    status: int
    seconds: float
    refused: int
    wrong: str | None


@dataclass(frozen=True)
class Failed:
    hostile: Hostile
    why: str


class Target:
    """A running service, and what its documentation allows it to answer."""

    def __init__(self, port: int, document: Mapping[str, Any]) -> None:
        self.port = port
        self.operations = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), methods["post"])
            for path, methods in sorted(document["paths"].items(), key=lambda each: "{" in each[0])
            if "post" in methods
        ]
        self.local = threading.local()

    def ask(self, message: Message) -> tuple[http.client.HTTPResponse, bytes, float]:
        """Over the thread's own connection, or a new one. Raises OSError or HTTPException."""
        connection: socket.socket | None = getattr(self.local, "connection", None)
        self.local.connection = None
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS)
        try:
            began = time.perf_counter()
            connection.sendall(message.raw(self.port))
            response = http.client.HTTPResponse(connection, method="POST")
            response.begin()
            body = response.read()
            seconds = time.perf_counter() - began
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self.local.connection = connection
        return response, body, seconds

    def holds_a_connection(self) -> bool:
        """One that the server may have closed meanwhile."""
        return getattr(self.local, "connection", None) is not None

    def hang_up(self) -> None:
        """The thread's own connection, if it has one."""
        connection: socket.socket | None = getattr(self.local, "connection", None)
        if connection is not None:
            connection.close()

    def documented(self, path: str) -> set[int]:
        path = path.partition("?")[0]
        for pattern, operation in self.operations:
            if pattern.fullmatch(path):
                return {int(status) for status in operation["responses"]} | set(UNROUTED)
        return set(UNROUTED)


def fault(target: Target, message: Message, response: http.client.HTTPResponse, body: bytes) -> str | None:
    """What is wrong with an answer; None if nothing is."""
    status, content_type = response.status, response.headers.get("content-type", "")
    if status >= 500 and not (status == TOO_LATE and names_a_deadline(message)):
        return f"{status}: {body[:200]!r}"
    if status not in target.documented(message.path):
        return f"{status} is not documented: {body[:200]!r}"
    if status < 400:
        return _no_json(body) if content_type == "application/json" else None
    if message.path.startswith("/v2/") or message.path == "/v2":
        return None if list(_read(body)) == ["error"] else f"{status} in no form of the protocol: {body[:200]!r}"
    problem = _read(body)
    if content_type != "application/problem+json" or list(problem) != PROBLEM or problem["status"] != status:
        return f"{status} in no form of a problem: {body[:200]!r}"
    return None


def names_a_deadline(message: Message) -> bool:
    """In the head, or as the protocol's parameter."""
    if any(name.lower() == "x-request-timeout-ms" for name in message.headers):
        return True
    return message.path.partition("?")[0].endswith("/infer") and b'"timeout"' in message.body


def _no_json(body: bytes) -> str | None:
    try:
        json.loads(body, parse_constant=lambda name: _refuse(name))
    except ValueError as error:
        return f"what is answered is no JSON: {error}"
    return None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is none of its numbers")


def _read(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def tried(target: Target, hostile: Hostile, others: bool) -> Outcome:
    """With `others` who is refused because of them comes again, since nothing was looked at."""
    best, status, attempts, refused = ANSWER_SECONDS, 0, 0, 0
    refused_until = time.monotonic() + ANSWER_SECONDS
    while attempts < TRIES:
        used = target.holds_a_connection()
        try:
            response, body, seconds = target.ask(hostile.message)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, (ConnectionError, http.client.RemoteDisconnected)) and used:
                continue  # it was closed as idle, or for the request before; the next one is new
            return Outcome(0, best, refused, f"no answer: {type(error).__name__}: {error}")
        if response.status == OVERLOADED:
            if not others or time.monotonic() > refused_until:
                return Outcome(OVERLOADED, best, refused, f"{OVERLOADED}, and nobody else asks: {body[:200]!r}")
            refused += 1
            time.sleep(AGAIN_SECONDS)
            continue
        status, best, attempts = response.status, min(best, seconds), attempts + 1
        if wrong := fault(target, hostile.message, response, body):
            return Outcome(status, best, refused, wrong)
        if best < SECONDS:
            return Outcome(status, best, refused, None)
    return Outcome(status, best, refused, f"{LATE}{best:.2f} s at best of {TRIES}")


def processor_seconds(processes: Collection[int]) -> float:
    """Of all their threads, since they began."""
    stats = [(PROC / str(process) / "stat").read_text().rpartition(")")[2].split() for process in processes]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def alone(target: Target, one: Failed, workers: Collection[int]) -> str | None:
    """What is wrong with it when nobody else asks. An answer is late that takes a second of the processor, or in which
    the service waits; where something else held up its computing, it is not."""
    if not one.why.startswith(LATE):
        return one.why
    before = processor_seconds(workers)
    again = tried(target, one.hostile, others=False)
    seconds = (processor_seconds(workers) - before) / TRIES
    if again.wrong is None or not again.wrong.startswith(LATE):
        return again.wrong
    if seconds >= SECONDS or seconds < WAITING * again.seconds:
        return f"{again.wrong}, {seconds:.2f} s of processor time"
    return None


def bombard(
    target: Target, hostile: Iterator[Hostile], workers: Collection[int], callers: int = 1
) -> tuple[dict[str, Seen], list[Failed]]:
    """All of them, by some callers at once. `workers` are the processes that answer."""
    seen: dict[str, Seen] = defaultdict(Seen)
    failed: list[Failed] = []
    lock = threading.Lock()

    def call(_: int) -> None:
        while True:
            with lock:
                one = next(hostile, None)
            if one is None:
                target.hang_up()
                return
            outcome = tried(target, one, others=callers > 1)
            with lock:
                seen[one.kind].add(outcome)
                if outcome.wrong:
                    failed.append(Failed(one, outcome.wrong))

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(call, range(callers)))
    again = [(one, alone(target, one, workers)) for one in failed]
    target.hang_up()
    return dict(seen), [Failed(one.hostile, why) for one, why in again if why]


def documentation(port: int) -> Any:
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=ANSWER_SECONDS))


def bombarded(service: Running, count: int, seed: int, callers: int) -> tuple[dict[str, Seen], list[Failed], int]:
    """What was answered, what was wrong, and how many workers died."""
    before = {process.pid for process in children(service.pid)}
    document = documentation(service.port)
    seen, failed = bombard(Target(service.port, document), islice(bodies(document, seed), count), before, callers)
    return seen, failed, len(before - {process.pid for process in children(service.pid)})


def table(seen: Mapping[str, Seen]) -> str:
    lines = ["| kind | bodies | answers | refused before | slowest s |", "|---|--:|---|--:|--:|"]
    whole = Seen()
    for kind, of_kind in sorted(seen.items()):
        lines.append(_line(kind, of_kind))
        whole.statuses.update(of_kind.statuses)
        whole.slowest = max(whole.slowest, of_kind.slowest)
        whole.refused += of_kind.refused
    return "\n".join([*lines, _line("all", whole)])


def _line(kind: str, seen: Seen) -> str:
    answers = ", ".join(f"{status}: {times:,}" for status, times in sorted(seen.statuses.items()))
    return f"| {kind} | {seen.statuses.total():,} | {answers} | {seen.refused:,} | {seen.slowest:.2f} |"


def keep(failed: list[Failed], folder: Path) -> None:
    """Each as the bytes that went over the wire, with a host that `--replay` does not look at."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(failed):
        (folder / f"{number:04}.http").write_bytes(one.hostile.message.raw(0))
        (folder / f"{number:04}.txt").write_text(f"{one.hostile.kind}\n{one.why}\n")


def replay(file: Path, port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection:
        connection.sendall(file.read_bytes())
        answer = receive(connection)
    return f"{answer.status} {answer.body[:2_000].decode(errors='replace')}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__.partition("\n")[0])
    parser.add_argument("--bodies", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--callers", type=int, default=1, help="that ask at once")
    parser.add_argument("--failures", type=Path, default=Path(tempfile.gettempdir()) / "percept-hostile")
    parser.add_argument("--replay", type=Path, help="a file out of the folder of failures")
    options = parser.parse_args()
    try:
        with (
            terminated_as_interrupted(),
            running(PERCEPT, Path(sys.executable), 1, {"PERCEPT_WORKERS": str(options.workers)}) as service,
        ):
            if options.replay:
                print(replay(options.replay, service.port))
                return 0
            seen, failed, dead = bombarded(service, options.bodies, options.seed, options.callers)
    except CannotStart as error:
        print(f"percept: {error}", file=sys.stderr)
        return 1
    print(table(seen))
    print(f"\n{len(failed)} failures, {dead} dead workers, seed {options.seed}")
    for one in failed[:20]:
        print(f"  {one.hostile.kind}, {one.hostile.message.path[:60]}: {one.why[:300]}")
    if failed:
        keep(failed, options.failures)
        print(f"they lie in {options.failures}")
    return 1 if failed or dead else 0


if __name__ == "__main__":
    sys.exit(main())
