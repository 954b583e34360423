"""POST /train/{problem} as server-sent events, over sockets: each is sent as its step is taken, the last tells
whatever happens later, and who leaves or does not read holds up nobody."""

import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from typing import Any

import pytest

from app.lab import descent
from app.lab.descent import Problem, Seen, Weights
from app.metrics import FAILURES
from tests.app.test_connection import PATIENCE, Server, counted, serving, until

EVENTS = b"Accept: text/event-stream"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


class Brake:
    """Lets as many steps be taken as it is told, and counts those that were begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.allowed, self.begun = threading.Semaphore(0), 0
        self.look = descent.look
        monkeypatch.setattr(descent, "look", self)

    def __call__(self, problem: Problem, weights: Weights) -> Seen:
        self.begun += 1
        assert self.allowed.acquire(timeout=PATIENCE)
        return self.look(problem, weights)

    def release(self, steps: int = 1_000) -> None:
        self.allowed.release(steps)


@pytest.fixture
def brake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Brake]:
    brake = Brake(monkeypatch)
    yield brake
    brake.release()


def ask(server: Server, problem: str, *headers: bytes, room: int | None = None, **settings: Any) -> socket.socket:
    """`room` bytes or so come before they are read."""
    body = json.dumps(settings).encode()
    head = (
        b"POST /train/%b HTTP/1.1" % problem.encode(),
        b"Host: testserver",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        *headers,
    )
    caller = socket.socket()
    caller.settimeout(PATIENCE)
    if room is not None:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    caller.connect(("127.0.0.1", server.port))
    caller.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body)
    return caller


def response(caller: socket.socket) -> HTTPResponse:
    response = HTTPResponse(caller)
    response.begin()
    return response


def next_event(stream: HTTPResponse) -> tuple[str, Any] | None:
    """None after the last."""
    kind, data = stream.readline(), stream.readline()
    if not kind:
        return None
    assert stream.readline() == b"\n"
    return kind.decode().removeprefix("event: ").strip(), json.loads(data.removeprefix(b"data: "))


def rest(stream: HTTPResponse) -> list[tuple[str, Any]]:
    return list(iter(lambda: next_event(stream), None))


def counts(server: Server) -> dict[str, float]:
    """How requests ended."""
    totals = server.service.metrics.model_totals().get(("train/problem", ""))
    return {name: totals.value(name) if totals else 0.0 for name in ("success", *FAILURES)}


def more(server: Server, before: dict[str, float]) -> dict[str, float]:
    """How those ended that have since."""
    return {name: value - before[name] for name, value in counts(server).items() if value != before[name]}


def leave(caller: socket.socket) -> None:
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()


def wait_for_threads(server: Server) -> None:
    """Until each has ended what it had begun: all are at the barrier then."""
    pool = server.service.scheduler._decoding
    barrier = threading.Barrier(pool._max_workers + 1)
    for _ in range(pool._max_workers):
        pool.submit(barrier.wait, PATIENCE)
    barrier.wait(PATIENCE)


def test_events_tell_what_json_tells(server: Server) -> None:
    settings = {"optimiser": "adam", "steps": 60, "seed": 3}
    with ask(server, "iris", EVENTS, **settings) as caller:
        stream = response(caller)
        *steps, end = rest(stream)
    with ask(server, "iris", **settings) as caller:
        told = json.load(response(caller))

    assert stream.getheader("content-type") == "text/event-stream; charset=utf-8"
    assert (stream.getheader("vary"), stream.getheader("cache-control")) == ("Accept", "no-store")
    assert steps == [("step", step) for step in told.pop("steps")]
    assert end == ("end", told)


def test_each_event_comes_before_the_next_step_is_taken(server: Server, brake: Brake) -> None:
    before = counts(server)
    brake.release(1)
    with ask(server, "rosenbrock", EVENTS, steps=4) as caller:
        stream = response(caller)
        for step in range(4):
            kind, told = next_event(stream) or ("", {})
            assert (kind, told["step"]) == ("step", step)
            assert server.service.scheduler.admitted == 1
            brake.release(1)
        assert [kind for kind, _ in rest(stream)] == ["step", "end"]

    assert server.service.scheduler.admitted == 0
    assert more(server, before) == {"success": 1}


def test_caller_who_leaves_ends_the_work_within_a_step(server: Server, brake: Brake) -> None:
    before, left = counts(server), counted(server, 200)
    brake.release(3)
    caller = ask(server, "xor", EVENTS, steps=300)
    stream = response(caller)
    assert [next_event(stream) is not None for _ in range(3)] == [True] * 3
    stream.close()
    leave(caller)
    until(lambda: server.service.scheduler.admitted == 0)
    brake.release()
    wait_for_threads(server)

    assert brake.begun in (3, 4)  # the fourth may have begun before they left
    assert more(server, before) == {"client_gone": 1}
    assert server.service.scheduler.work == 0
    assert counted(server, 200) == left + 1


def test_time_that_is_over_is_the_last_event(server: Server, brake: Brake) -> None:
    before = counts(server)
    brake.release(2)
    with ask(server, "xor", EVENTS, b"X-Request-Timeout-Ms: 300", b"X-Request-ID: mine", steps=5) as caller:
        stream = response(caller)
        first, second, last = rest(stream)

    assert stream.status == 200
    assert [kind for kind, _ in (first, second)] == ["step", "step"]
    assert last == (
        "problem",
        {
            "type": "urn:percept:problem:deadline-exceeded",
            "title": "Deadline exceeded",
            "status": 504,
            "detail": "the time that the caller allows was over before the answer was computed",
            "request_id": "mine",
        },
    )
    assert more(server, before) == {"deadline": 1}
    assert server.service.scheduler.admitted == 0


def test_what_is_wrong_before_the_first_step_is_a_problem_with_its_status(server: Server, brake: Brake) -> None:
    for status, settings, headers in (
        (422, {"optimiser": "lbfgs"}, ()),
        (504, {}, (b"X-Request-Timeout-Ms: 50",)),
    ):
        with ask(server, "xor", EVENTS, *headers, **settings) as caller:
            refused = response(caller)
            assert refused.status == status
            assert refused.getheader("content-type") == "application/problem+json"
            assert json.load(refused)["status"] == status
    with ask(server, "parity", EVENTS) as caller:
        assert response(caller).status == 404


def test_steps_that_diverge_end_with_what_they_came_to(server: Server) -> None:
    with ask(server, "rosenbrock", EVENTS, steps=300, learning_rate=1) as caller:
        *steps, (kind, told) = rest(response(caller))

    assert len(steps) < 20
    assert (kind, told["stopped"]["code"], told["steps_so_far"]) == ("end", "diverged", len(steps) - 1)


def test_fault_of_the_service_is_told_and_logged(
    server: Server, brake: Brake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = counts(server)
    steps = iter([brake.look] * 2)
    monkeypatch.setattr(brake, "look", lambda *asked: next(steps)(*asked))
    brake.release()
    with caplog.at_level(logging.ERROR), ask(server, "xor", EVENTS, steps=5) as caller:
        first, second, (kind, told) = rest(response(caller))

    assert (first[0], second[0], kind) == ("step", "step", "problem")
    assert (told["status"], told["detail"]) == (500, "the service failed; the log says why")
    assert f"request {told['request_id']} failed: POST /train/xor" in caplog.text
    assert more(server, before) == {"internal": 1}


def test_callers_who_do_not_read_hold_up_nobody() -> None:
    """What they asked for is computed and kept; the threads and their places are others'."""
    settings = {"optimiser": "adam", "steps": 151}  # as many as have their weights told
    with serving() as server, ExitStack() as open_sockets:
        [listener] = server.uvicorn.servers[0].sockets
        with socket.socket(fileno=os.dup(listener.fileno())) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        callers = [ask(server, "iris", EVENTS, room=4_096, **settings) for _ in range(8)]
        streams = [response(open_sockets.enter_context(caller)) for caller in callers]
        connections = list(server.uvicorn.server_state.connections)
        until(lambda: counts(server)["success"] == 8)
        until(lambda: all(connection.transport.get_write_buffer_size() for connection in connections))
        admitted, work = server.service.scheduler.admitted, server.service.scheduler.work
        with ask(server, "iris", **settings) as caller:
            told = json.load(response(caller))["steps"]
        events = [rest(stream) for stream in streams]

    assert (len(connections), admitted, work) == (8, 0, 0)
    for each in events:
        assert [step for kind, step in each if kind == "step"] == told
