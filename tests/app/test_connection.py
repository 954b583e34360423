"""Real sockets: what a connection answers by itself is what the application answers, and it behaves as HTTP wants."""

import gc
import json
import logging
import select
import socket
import struct
import threading
import time
import types
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from io import BytesIO
from typing import Any

import pytest
import uvicorn
from PIL import Image
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app import connection
from app.backpressure import BURST_SECONDS, REFUSAL_SECONDS
from app.connection import MAX_HEAD_BYTES, PATIENCE_SECONDS, Connection, Exchange
from app.envelope import Envelope
from app.logs import ACCESS
from app.main import create_app
from app.metrics import MODEL_FIELDS, STATUSES
from app.request_heads import RequestHeads
from app.routes.hot_path import MAX_BYTES, HotPath
from app.service import Service
from app.settings import Settings
from tests.app.routes.test_hot_path import DISCONNECT, FORM, MAX_FILES, REQUESTS, SEVEN, TWO, Recorder, form

PATIENCE = 20


@dataclass
class Server:
    port: int
    service: Service
    uvicorn: uvicorn.Server
    seen: list[str] = field(default_factory=list)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def ask(self, *pieces: bytes) -> "Answer":
        self.seen.clear()
        with self.connect() as caller:
            for piece in pieces:
                caller.sendall(piece)
                time.sleep(0.05 if len(pieces) > 1 else 0)
            return Answer(caller)


class Answer:
    def __init__(self, caller: socket.socket) -> None:
        response = HTTPResponse(caller)
        response.begin()
        self.status, self.body = response.status, response.read()
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    def comparable(self) -> tuple[int, bytes, dict[str, str]]:
        """All but the time and what belongs to the connection."""
        headers = {name: "" if name in VARYING else value for name, value in self.headers.items()}
        headers.pop("connection", None)
        return self.status, self.body, headers

    def label(self) -> str:
        return str(json.loads(self.body)["predictions"][0]["label"])


VARYING = ("date", "server-timing")


@contextmanager
def serving(short_way: bool = True, max_connections: int = 4_096) -> Iterator[Server]:
    seen: list[str] = []
    app = create_app(Settings(max_files=MAX_FILES, max_pixels=2_000_000, max_connections=max_connections))
    app.front = Recorder(app.front, seen)  # what comes here the connection has not answered by itself
    config = uvicorn.Config(
        app, http=Connection, ws="none", port=0, log_config=None, access_log=False, server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    server.lifespan.state["short_way"] = short_way
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Server(port, server.lifespan.state["service"], server, seen)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def general() -> Iterator[Server]:
    """The same, and everything goes through the application and its routes."""
    with serving(short_way=False) as server:
        app: Any = server.uvicorn.config.app
        assert isinstance(app.front, Recorder) and isinstance(app.front.app, Envelope)
        assert isinstance(app.front.app.app, HotPath)
        app.front.app.app = app.front.app.app.app
        yield server


def request(
    body: bytes = SEVEN,
    path: str = "/predict/mnist-dnn",
    content_type: bytes = b"image/png",
    *more: bytes,
    version: bytes = b"1.1",
    length: int | None = None,
) -> bytes:
    announced = len(body) if length is None else length
    lines = [
        b"POST %b HTTP/%b" % (path.encode(), version),
        b"Host: testserver",
        b"Content-Type: " + content_type,
        b"Content-Length: %d" % announced,
        *more,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def spoken(request_: dict[str, Any]) -> bytes:
    """A request of `test_hot_path.py` as it goes over a socket."""
    path, _, query = request_.get("path", "/predict/mnist-dnn").partition("?")
    path = urllib.parse.quote(path) + (f"?{query}" if query else "")
    body = b"".join(request_["body"])
    lines = [
        b"%b %b HTTP/1.1" % (request_.get("method", "POST").encode(), path.encode()),
        b"Host: testserver",
        b"X-Request-ID: the-same",
    ]
    content_type = request_.get("content_type", b"image/png")
    if content_type is not None:
        lines.append(b"Content-Type: " + content_type)
    length = request_.get("length")
    if length is None:
        lines.append(b"Content-Length: %d" % len(body))
    elif length:
        lines.append(b"Content-Length: " + length)
    else:
        lines.append(b"Transfer-Encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    lines += [name + b": " + value for name, value in request_.get("headers") or []]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


# Of what a server gives to an application, this cannot come over a socket.
SPEAKABLE = {
    name: (short or name in ("in two pieces", "form in many pieces"), request_)
    for name, (short, request_) in REQUESTS.items()
    if DISCONNECT not in request_["body"] and name != "length that is no number"
}


@pytest.mark.parametrize(("short", "request_"), SPEAKABLE.values(), ids=SPEAKABLE)
def test_connection_and_routes_give_the_same_answer(
    server: Server, general: Server, short: bool, request_: dict[str, Any]
) -> None:
    theirs = general.ask(spoken(request_))

    for _time in ("first", "second"):  # when the head may be known
        ours = server.ask(spoken(request_))
        assert ours.comparable() == theirs.comparable()
        assert ours.headers["x-request-id"] == "the-same"
        assert (not server.seen, not general.seen) == (short, False)


INFER = json.dumps(
    {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": [0] * 784}]}
).encode()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v2/models/mnist-dnn/infer", INFER, 200),
        ("/v2/models/mnist-dnn/versions/1/infer", INFER, 200),
        ("/v2/models/mnist-dnn/versions/2/infer", INFER, 404),
        ("/v2/models/mnist-dnn/infer", b"{}", 400),
        ("/v2/models/letters/infer", INFER, 404),
    ],
)
def test_protocol_is_spoken_alike(server: Server, general: Server, path: str, body: bytes, status: int) -> None:
    asked = request(body, path, b"application/json", b"X-Request-ID: the-same")
    theirs = general.ask(asked)

    for _time in ("first", "second"):
        ours = server.ask(asked)
        assert ours.comparable() == theirs.comparable()
        assert ours.status == status
        assert not server.seen


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The addresses that the parser finds from now on."""
    addresses: list[bytes] = []

    def on_url(connection: Connection, url: bytes) -> None:
        addresses.append(url)
        HttpToolsProtocol.on_url(connection, url)

    monkeypatch.setattr(Connection, "on_url", on_url, raising=False)
    return addresses


def test_head_that_is_known_is_not_parsed_again(server: Server, parsed: list[bytes]) -> None:
    mine = request(SEVEN, "/predict/mnist-dnn", b"image/png", b"X-Only-Here: 1")

    assert [server.ask(mine).label() for _ in range(3)] == ["7"] * 3
    assert parsed == [b"/predict/mnist-dnn"]
    # On a connection where something else comes before and behind, and with another picture of as many bytes.
    another = TWO + bytes(len(SEVEN) - len(TWO)) if len(TWO) <= len(SEVEN) else SEVEN[:-1] + b"\0"
    health = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with server.connect() as caller:
        for asked in (health, mine, health, mine, mine[: -len(SEVEN)] + another):
            caller.sendall(asked)
            assert Answer(caller).status == 200
    assert parsed == [b"/predict/mnist-dnn", b"/health/live", b"/health/live"]


def test_head_with_a_secret_is_parsed_each_time(server: Server, parsed: list[bytes]) -> None:
    mine = request(SEVEN, "/predict/mnist-dnn", b"image/png", b"Authorization: Bearer key")

    assert [server.ask(mine).label() for _ in range(2)] == ["7"] * 2
    assert len(parsed) == 2


def begun(cycle: Any) -> bool:
    return isinstance(cycle, Exchange) and cycle.more_body


def test_nobody_teaches_what_another_head_means(server: Server) -> None:
    """Two requests in one piece, so long that the second would seem to be the body of the first; or empty lines, after
    which a request would."""
    heads: RequestHeads = server.uvicorn.lifespan.state["request_heads"]
    first = request(b"12345", "/predict/letters", b"image/png", b"X-Only-There: 1")
    second = request(b"", "/predict/mnist-dnn", length=400)
    pieces = first + second + b"x" * (400 - len(second) - 5)
    known = len(heads)
    with server.connect() as caller:
        caller.sendall(pieces)
        assert Answer(caller).status == 404
    seeming = first[:-5] + b"x" * 400

    assert len(seeming) == len(pieces)
    assert len(heads) == known
    assert heads.of(seeming) is None
    assert server.ask(first).status == 404

    later = b"\r\n\r\n" + request(b"", "/predict/mnist-dnn", length=400)
    later += b"x" * (404 - len(later))
    with server.connect() as caller:
        caller.sendall(later)
        until(lambda: [each for each in list(server.uvicorn.server_state.connections) if begun(each.cycle)])
    assert heads.of(b"\r\n\r\n" + b"x" * 400) is None


def test_empty_lines_before_a_request_are_no_head(server: Server) -> None:
    """RFC 9112, section 2.2."""
    for _time in range(2):
        assert server.ask(b"\r\n\r\n" + request()).label() == "7"


def test_request_id_is_the_callers_own_or_a_new_one(server: Server) -> None:
    own = server.ask(request(SEVEN, "/predict/mnist-dnn", b"image/png", b"X-Request-ID: mine"))
    given = [server.ask(request()).headers["x-request-id"] for _ in range(3)]

    assert own.headers["x-request-id"] == "mine"
    assert len(set(given)) == 3


def test_head_and_body_may_come_one_after_the_other(server: Server) -> None:
    whole = request()

    assert server.ask(whole[: -len(SEVEN)], SEVEN[:100], SEVEN[100:]).label() == "7"
    assert not server.seen


def test_many_small_pieces_are_put_together(server: Server) -> None:
    whole = request(form(SEVEN), "/predict/mnist-dnn", FORM)

    assert server.ask(*[whole[at : at + 100] for at in range(0, len(whole), 100)]).label() == "7"


def test_body_that_takes_its_time_is_left_to_the_application(server: Server) -> None:
    server.seen.clear()
    with server.connect() as caller:
        began = time.monotonic()
        caller.sendall(request()[:-100])
        time.sleep(PATIENCE_SECONDS / 2)
        assert not server.seen or time.monotonic() - began > PATIENCE_SECONDS
        until(lambda: server.seen == ["/predict/mnist-dnn"])
        caller.sendall(SEVEN[-100:])
        assert Answer(caller).label() == "7"
        # And the next one on this connection is simple again.
        server.seen.clear()
        caller.sendall(request(TWO))
        assert Answer(caller).label() == "2"
        assert not server.seen


def test_what_the_application_refuses_before_the_body_it_refuses_though_the_body_never_comes(server: Server) -> None:
    assert server.ask(request(b"", "/predict/letters", length=100)).status == 404


def test_caller_who_leaves_before_the_body_is_counted_and_harms_nobody(server: Server) -> None:
    before = counted(server, 499)
    with server.connect() as caller:
        caller.sendall(request()[:-100])
        time.sleep(0.05)
    until(lambda: counted(server, 499) == before + 1)

    assert server.ask(request()).label() == "7"


def test_full_queue_refuses_and_says_when_to_come_again(server: Server) -> None:
    scheduler = server.service.scheduler
    scheduler.admitted += 128
    try:
        refused = [
            server.ask(request(form(SEVEN), content_type=FORM)),
            server.ask(request(b"x", "/v2/models/mnist-dnn/infer")),
        ]
    finally:
        scheduler.admitted -= 128

    assert [answer.status for answer in refused] == [429, 429]
    assert [answer.headers["retry-after"] for answer in refused] == ["1", "1"]
    assert [answer.headers["content-type"] for answer in refused] == ["application/problem+json", "application/json"]
    assert not server.seen
    assert server.ask(request()).label() == "7"


LONG = SEVEN + bytes(200_000)  # more than the short way takes


@contextmanager
def full(*servers: Server) -> Iterator[None]:
    for each in servers:
        each.service.scheduler.admitted += 128
    try:
        yield
    finally:
        for each in servers:
            each.service.scheduler.admitted -= 128


FULL = {
    "picture": request(),
    "form": request(form(SEVEN), content_type=FORM),
    "protocol": request(INFER, "/v2/models/mnist-dnn/infer", b"application/json"),
    "id of one's own": request(SEVEN, "/predict/mnist-dnn", b"image/png", b"X-Request-ID: mine"),
    "id of one letter": request(SEVEN, "/predict/mnist-dnn", b"image/png", b"X-Request-ID: h"),
    "no model": request(SEVEN, "/predict/letters"),
    "no version": request(INFER, "/v2/models/mnist-dnn/versions/7/infer", b"application/json"),
    "last request": request(SEVEN, "/predict/mnist-dnn", b"image/png", b"Connection: close"),
}


@pytest.mark.parametrize("asked", FULL.values(), ids=FULL)
def test_full_worker_refuses_heads_that_it_knows_in_the_same_words(
    server: Server, general: Server, asked: bytes, parsed: list[bytes]
) -> None:
    server.ask(asked)  # now it is known
    parsed.clear()
    ways = (server, general)
    before = [counted(way, 429) for way in ways]
    with full(*ways):
        ours, theirs = (way.ask(asked) for way in ways)
        assert parsed == [parsed[0]]  # by the other way alone
    ids = [answer.headers["x-request-id"] for answer in (ours, theirs)]

    assert ours.status == (404 if b"letters" in asked or b"versions/7" in asked else 429)
    assert without_id(ours, ids[0]) == without_id(theirs, ids[1])
    assert ("connection" in ours.headers) == ("connection" in theirs.headers) == (b"close" in asked)
    assert ours.headers["date"]
    assert (ids[0] == ids[1]) == (b"X-Request-ID" in asked)
    assert [counted(way, 429) for way in ways] == [count + (ours.status == 429) for count in before]
    if b"/predict/mnist-dnn" in asked:
        assert json.loads(ours.body)["request_id"] == ids[0]


def without_id(answer: Answer, request_id: str) -> Any:
    status, body, headers = answer.comparable()
    return (
        status,
        body.replace(request_id.encode(), b"") if len(request_id) > 1 else body,
        headers | {"x-request-id": ""},
    )


@pytest.mark.parametrize("path", ["/predict/mnist-dnn", "/v2/models/mnist-dnn/infer"])
def test_long_body_that_there_is_no_room_for_is_refused_before_it_comes(
    server: Server, general: Server, path: str
) -> None:
    """In the words of the application, without asking it; whoever sends the body nonetheless may ask again."""
    asked = request(LONG, path, b"image/png", b"X-Request-ID: the-same")
    with full(server, general):
        theirs = general.ask(asked)
        before = counted(server, 429)
        server.seen.clear()
        with server.connect() as caller:
            caller.sendall(asked[: -len(LONG)])
            ours = Answer(caller)
            assert ours.comparable() == theirs.comparable()
            assert (ours.status, server.seen) == (429, [])
            caller.sendall(LONG)
            caller.sendall(request(TWO, "/predict/letters"))
            assert Answer(caller).status == 404

    assert counted(server, 429) == before + 1
    assert server.ask(request(LONG)).label() == "7"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(LONG, "/predict/letters"), 404),
        (request(b"x" * 1_000, length=21_000_000), 429),
        (request(LONG, "/predict/mnist-dnn", b"image/png", b"Connection: close"), 429),
        (request(LONG, "/predict/mnist-dnn?top=2"), 429),
    ],
)
def test_what_else_there_is_to_say_of_a_long_body_the_application_says(
    server: Server, asked: bytes, status: int
) -> None:
    server.seen.clear()
    with full(server), server.connect() as caller:
        caller.sendall(asked.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert Answer(caller).status == status

    assert len(server.seen) == 1


HEALTH = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def long_pause(server: Server, monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds after each refusal of a long body."""
    monkeypatch.setattr("app.backpressure.SHARE", REFUSAL_SECONDS / 0.8)
    monkeypatch.setattr("app.backpressure.BYTE_SECONDS", 0.0)
    return 0.8 - BURST_SECONDS


def test_who_sends_long_bodies_all_the_time_is_not_listened_to_all_the_time(server: Server, long_pause: float) -> None:
    with full(server), server.connect() as hasty, server.connect() as other:
        began = time.monotonic()
        hasty.sendall(request(LONG))
        assert Answer(hasty).status == 429
        hasty.sendall(HEALTH)
        other.sendall(HEALTH)
        assert Answer(other).status == 200
        nothing_yet = select.select([hasty], [], [], 0)[0] == []
        assert nothing_yet or time.monotonic() - began > long_pause
        assert Answer(hasty).status == 200

    assert time.monotonic() - began > long_pause - 0.05


def test_pause_does_not_end_with_the_answer_to_what_came_in_the_same_piece(server: Server, long_pause: float) -> None:
    body = SEVEN + bytes(MAX_BYTES)
    with full(server), server.connect() as caller:
        began = time.monotonic()
        caller.sendall(request(body) + HEALTH)
        response = caller.makefile("rb")
        assert [read_status(response) for _ in range(2)] == [429, 200]
        caller.sendall(HEALTH)
        assert read_status(response) == 200

    assert time.monotonic() - began > long_pause - 0.05


def test_who_is_not_listened_to_may_leave(server: Server, long_pause: float) -> None:
    def unheard() -> list[Connection]:
        return [each for each in list(server.uvicorn.server_state.connections) if each.flow.read_paused]

    with full(server), server.connect() as caller:
        began = time.monotonic()
        caller.sendall(request(LONG)[:-150_000])
        assert Answer(caller).status == 429
        assert unheard() or time.monotonic() - began > long_pause
    until(lambda: not unheard())

    assert server.ask(request()).label() == "7"


def test_server_that_stops_does_not_wait_for_whom_it_does_not_listen_to(long_pause: float) -> None:
    with serving() as server, full(server):
        server.uvicorn.config.timeout_keep_alive = 600
        with server.connect() as caller:
            caller.sendall(request(LONG))
            assert Answer(caller).status == 429
            server.uvicorn.should_exit = True
            assert caller.recv(1) == b""


def test_refusals_leave_nothing_to_collect(server: Server) -> None:
    """An error that is held by a frame that its own traceback holds would keep a piece of the body until then."""
    server.ask(request(LONG))
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        with full(server):
            for asked in (request(LONG), request(TWO, "/predict/mnist-dnn", b"image/png", b"X-New: 1"), request()):
                assert server.ask(asked).status == 429
        gc.collect()
        left = [each for each in gc.garbage if isinstance(each, types.FrameType | Exception)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert left == []


def test_full_worker_keeps_the_connection_and_counts_by_model(server: Server) -> None:
    service, asked = server.service, request()
    server.ask(asked)
    metrics = service.worker.model("mnist-dnn", "1")
    place = metrics.start + MODEL_FIELDS["queue_full"].start
    before = metrics.memory[place]
    with server.connect() as caller:
        with full(server):
            for _ in range(3):
                caller.sendall(asked)
                assert Answer(caller).status == 429
        caller.sendall(asked)
        assert Answer(caller).label() == "7"

    assert metrics.memory[place] == before + 3


def test_full_worker_logs_refusals_if_requests_are_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.ask(request())
    with full(server), caplog.at_level(logging.INFO, ACCESS.name):
        assert server.ask(request()).status == 429

    [record] = [each for each in caplog.records if each.name == ACCESS.name]
    assert vars(record)["fields"]["status"] == 429


@contextmanager
def busy(server: Server) -> Iterator[None]:
    """No slot is free."""
    held, scheduler = threading.Event(), server.service.scheduler
    for _ in range(scheduler.slots):
        scheduler._inference.submit(held.wait, PATIENCE)
    scheduler._free_slots -= scheduler.slots
    try:
        yield
    finally:
        scheduler._free_slots += scheduler.slots
        held.set()


def test_work_that_is_cancelled_is_answered_and_the_connection_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is when the server stops and waits no longer."""
    monkeypatch.setattr("app.scheduler.INLINE_SECONDS", 0.0)
    scheduler = server.service.scheduler
    with busy(server), server.connect() as caller:
        caller.sendall(request())
        until(lambda: scheduler._queues)
        [queue] = scheduler._queues.values()
        loop = next(iter(server.uvicorn.server_state.connections)).loop
        loop.call_soon_threadsafe(queue.jobs[0].future.cancel)
        answer = Answer(caller)
        assert (answer.status, answer.headers["connection"]) == (500, "close")
        assert caller.recv(1) == b""

    assert server.ask(request()).label() == "7"
    assert scheduler.admitted == 0


PATIENT = {
    "header": request(SEVEN, "/predict/mnist-dnn", b"image/png", b"X-Request-Timeout-Ms: 50"),
    "parameter": request(
        json.dumps(json.loads(INFER) | {"parameters": {"timeout": 50_000}}).encode(),  # microseconds
        "/v2/models/mnist-dnn/infer",
        b"application/json",
    ),
}


@pytest.mark.parametrize("asked", PATIENT.values(), ids=PATIENT)
def test_time_that_is_over_in_the_queue_is_told(server: Server, monkeypatch: pytest.MonkeyPatch, asked: bytes) -> None:
    monkeypatch.setattr("app.scheduler.INLINE_SECONDS", 0.0)
    metrics = server.service.worker.model("mnist-dnn", "1")
    place = metrics.start + MODEL_FIELDS["deadline"].start
    before = metrics.memory[place]
    with busy(server):
        answer = server.ask(asked)

    assert answer.status == 504
    assert b"time that the caller allows was over" in answer.body
    assert metrics.memory[place] == before + 1
    assert server.service.scheduler.admitted == 0


def test_both_ways_count_the_same(server: Server, general: Server) -> None:
    counts = []
    for way in (server, general):
        before = way.service.metrics.worker_totals().values("responses")
        for _, request_ in SPEAKABLE.values():
            way.ask(spoken(request_))
        after = way.service.metrics.worker_totals().values("responses")
        counts.append({status: now - then for status, now, then in zip(STATUSES, after, before, strict=False)})

    assert counts[0] == counts[1]
    assert sum(counts[0].values()) == len(SPEAKABLE)


def test_requests_that_fail_in_a_thread_leave_nothing_to_collect(server: Server) -> None:
    """A future, its error, the traceback and its frames may hold each other, and the picture with them."""
    truncated = request(wide_png()[:-40])
    server.ask(truncated)
    gc.collect()
    gc.disable()
    try:
        answers = [server.ask(truncated).status for _ in range(20)]
        held = gc.collect()
    finally:
        gc.enable()

    assert answers == [422] * 20
    assert held < 20


def test_connection_is_used_again(server: Server) -> None:
    server.seen.clear()
    with server.connect() as caller:
        for picture, label in [(SEVEN, "7"), (TWO, "2")] * 5:
            caller.sendall(request(picture))
            assert Answer(caller).label() == label
        caller.sendall(b"GET /health/live HTTP/1.1\r\nHost: testserver\r\n\r\n")
        assert Answer(caller).status == 200
        caller.sendall(request(TWO))
        assert Answer(caller).label() == "2"

    assert server.seen == ["/health/live"]


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """RFC 9112, section 9.3.2: answered in the order in which they came, errors that need no waiting among them."""
    pictures = [SEVEN, TWO, b"text", SEVEN, TWO, TWO]
    with server.connect() as caller:
        caller.sendall(b"".join(request(picture) for picture in pictures))
        response = caller.makefile("rb")
        answers = [read_one(response) for _ in pictures]

    assert answers == ["7", "2", "422", "7", "2", "2"]


def test_pipelined_error_goes_before_what_follows(server: Server) -> None:
    with server.connect() as caller:
        caller.sendall(request(path="/predict/letters") + request(TWO) + request(path="/predict/letters"))
        response = caller.makefile("rb")
        answers = [read_one(response) for _ in range(3)]

    assert answers == ["404", "2", "404"]


def read_one(response: Any) -> str:
    """The label, or the status if there is none."""
    status, body = read(response)
    return str(json.loads(body)["predictions"][0]["label"]) if status == 200 else str(status)


def read_status(response: Any) -> int:
    return read(response)[0]


def read(response: Any) -> tuple[int, bytes]:
    status = int(response.readline().split()[1])
    length = 0
    while (line := response.readline().strip()) != b"":
        name, _, value = line.partition(b": ")
        length = int(value) if name == b"content-length" else length
    return status, response.read(length)


@pytest.mark.parametrize("picture", [SEVEN, b"text"])
def test_connection_is_closed_if_the_caller_wishes_it(server: Server, picture: bytes) -> None:
    with server.connect() as caller:
        caller.sendall(request(picture, "/predict/mnist-dnn", b"image/png", b"Connection: close"))
        answer = Answer(caller)
        assert answer.headers["connection"] == "close"
        assert answer.status == (200 if picture is SEVEN else 422)
        assert caller.recv(1) == b""


@pytest.mark.parametrize(
    "asked",
    [
        request(version=b"1.0"),
        request(path="http://testserver/predict/mnist-dnn"),
        request(path="/predict/mnist%2Ddnn"),
        request(path="/predict/mnist-dnn#part"),
        request(SEVEN, "/predict/mnist-dnn", b"image/png", b"Expect: 100-continue"),
    ],
)
def test_what_is_rare_is_left_to_the_application(server: Server, asked: bytes) -> None:
    server.seen.clear()
    with server.connect() as caller:
        caller.sendall(asked)
        answer = Answer(caller)  # http.client passes over "100 Continue"

    assert answer.label() == "7"
    assert server.seen == ["/predict/mnist-dnn"]


def test_what_is_no_http_closes_the_connection(server: Server) -> None:
    with server.connect() as caller:
        caller.sendall(b"no HTTP at all\r\n\r\n")
        rest = caller.makefile("rb").read()  # until it is closed

    assert refused_before_there_is_a_request(rest, 400) == "Invalid HTTP request received."
    assert server.ask(request()).label() == "7"


def test_chunk_that_is_none_is_told_before_there_is_an_answer(server: Server) -> None:
    with server.connect() as caller:
        caller.sendall(CHUNKED)
        time.sleep(0.1)
        caller.sendall(b"no length\r\n")
        told = what_is_told(caller)

    assert refused_before_there_is_a_request(told, 400) == "Invalid HTTP request received."


def test_connections_beyond_the_limit_are_refused_and_taken_when_others_have_gone() -> None:
    with serving(max_connections=3) as server:
        held = [server.connect() for _ in range(3)]
        for caller in held:
            caller.sendall(request())
            assert Answer(caller).label() == "7"
        with server.connect() as caller:
            told = what_is_told(caller)
        held.pop().close()
        until(lambda: len(server.uvicorn.server_state.connections) == 2)
        answer = server.ask(request())
        for caller in held:
            caller.close()

    detail = refused_before_there_is_a_request(told, 429)
    assert detail == "3 connections are open, and 3 may be (PERCEPT_MAX_CONNECTIONS); try again"
    assert b"\r\nRetry-After: 1\r\n" in told
    assert answer.label() == "7"


def refused_before_there_is_a_request(told: bytes, status: int) -> str:
    """All that a connection said: a problem like any other, with what stands on every response. The detail."""
    head, _, body = told.partition(b"\r\n\r\n")
    line, *headers = head.decode().lower().split("\r\n")
    assert line.startswith(f"http/1.1 {status} ")
    assert {"x-content-type-options: nosniff", "connection: close"} < {*headers}
    assert "content-type: application/problem+json" in headers
    problem = json.loads(body)
    assert f"x-request-id: {problem['request_id']}" in headers
    assert problem["status"] == status
    return str(problem["detail"])


def test_upgrade_that_is_not_offered_does_not_answer_the_last_request_again(server: Server) -> None:
    upgrade = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    before = counted(server, 200)
    with server.connect() as caller:
        caller.sendall(request())
        assert Answer(caller).label() == "7"
        caller.sendall(upgrade)
        answer = Answer(caller)

    assert (answer.status, answer.body) == (200, b'{"live":true}')
    assert counted(server, 200) - before == 2


@pytest.mark.parametrize(
    "asked",
    [
        request(path=f"/predict/{'x' * 400}"),
        request(path=f"/predict/{'x' * 60_000}"),
    ],
)
def test_long_path_is_not_remembered(server: Server, asked: bytes) -> None:
    assert server.ask(asked).status == 404
    assert server.seen


def test_length_of_thousands_of_digits_is_told(server: Server) -> None:
    asked = request().replace(b"Content-Length: ", b"Content-Length: " + b"0" * 5_000)

    answer = server.ask(asked)
    assert answer.status == 413
    assert "a number of 5003 digits of bytes" in json.loads(answer.body)["detail"]


def test_fault_of_the_service_is_a_problem_and_goes_to_the_log(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("secret")

    with monkeypatch.context() as patch:
        patch.setattr("app.service.predictions_of", fail)
        answer = server.ask(request(SEVEN, "/predict/mnist-dnn", b"image/png", b"X-Request-ID: mine"))

    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "request mine failed: POST /predict/mnist-dnn" in caplog.messages
    assert server.ask(request()).label() == "7"


def test_request_is_logged_if_the_operator_wishes_it(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, ACCESS.name):
        server.ask(request(SEVEN, "/predict/mnist-dnn", b"image/png", b"X-Request-ID: mine"))

    [record] = [record for record in caplog.records if record.name == ACCESS.name]
    fields: Any = record.__dict__["fields"]
    assert fields.pop("ms") > 0
    assert fields == {"request_id": "mine", "method": "POST", "path": "/predict/mnist-dnn", "status": 200}


def wide_png(side: int = 1_400) -> bytes:
    """Few bytes and many pixels: takes a while to decode, in a thread."""
    file = BytesIO()
    image = Image.new("RGB", (side, side), "white")
    image.paste((0, 0, 0), (side // 3, side // 4, side // 2, side // 2))
    image.save(file, "PNG")
    return file.getvalue()


def test_caller_who_leaves_while_a_picture_waits_is_noticed(server: Server) -> None:
    held = threading.Event()
    pool = server.service.scheduler._decoding
    for _ in range(pool._max_workers):
        pool.submit(held.wait, PATIENCE)
    before = counted(server, 499)
    caller = server.connect()
    caller.sendall(request(wide_png()))
    until(lambda: server.service.scheduler.admitted == 1)
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()
    until(lambda: counted(server, 499) == before + 1 and server.service.scheduler.admitted == 0)
    held.set()

    assert server.ask(request()).label() == "7"


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def counted(server: Server, status: int) -> float:
    return server.service.metrics.worker_totals().values("responses")[STATUSES.index(status)]


def test_server_that_stops_answers_first() -> None:
    with serving() as server, server.connect() as caller:
        held = threading.Event()
        pool = server.service.scheduler._decoding
        for _ in range(pool._max_workers):
            pool.submit(held.wait, PATIENCE)
        caller.sendall(request(wide_png()))
        time.sleep(0.1)
        server.uvicorn.should_exit = True
        time.sleep(0.3)
        held.set()
        answer = Answer(caller)

    assert answer.status == 200
    assert answer.headers["connection"] == "close"


def test_nothing_is_left_of_a_connection_that_was_closed(server: Server) -> None:
    """Its timers are for minutes when there are none; thousands of callers may come and go within."""
    for _ in range(5):
        with server.connect() as caller:
            caller.sendall(request())
            assert Answer(caller).label() == "7"
            caller.sendall(request()[:-100])
            time.sleep(0.05)
    deadline = time.monotonic() + PATIENCE_SECONDS / 2
    while [one for one in gc.get_objects() if type(one) is Connection and one.service is server.service]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("first", [request(), HEALTH], ids=["by itself", "by the application"])
def test_request_that_came_while_the_loop_was_busy_is_answered_though_the_connection_is_about_to_be_closed(
    monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    def slow(timeout_ms: str) -> None:
        time.sleep(1.0 if timeout_ms else 0.0)

    with serving() as server:
        server.uvicorn.config.timeout_keep_alive = 1
        with server.connect() as caller, server.connect() as other:
            caller.sendall(first)
            assert Answer(caller).status == 200
            time.sleep(0.5)
            monkeypatch.setattr("app.routes.hot_path.deadline_of", slow)
            other.sendall(request(SEVEN, "/predict/mnist-dnn", b"image/png", b"X-Request-Timeout-Ms: 60000"))
            time.sleep(0.1)
            caller.sendall(request(TWO))  # read when the second is over
            assert Answer(caller).label() == "2"
            assert Answer(other).label() == "7"


@pytest.mark.parametrize("last", [request(), HEALTH], ids=["by itself", "by the application"])
def test_silent_connection_is_closed_after_a_while_and_no_other(last: bytes) -> None:
    """What the application answered does not end what goes on after it."""
    with serving() as server:
        server.uvicorn.config.timeout_keep_alive = 1
        with server.connect() as caller:
            for asked in (HEALTH, *[request()] * 6, last):
                caller.sendall(asked)
                assert Answer(caller).status == 200
                time.sleep(0.25 if asked is not last else 0)
            began = time.monotonic()
            assert caller.recv(1) == b""

    assert 0.5 < time.monotonic() - began < 5


def what_is_told(caller: socket.socket) -> bytes:
    """All that comes until the server closes."""
    told = b""
    while piece := caller.recv(65_536):
        told += piece
    return told


@pytest.mark.parametrize("before", [b"", request()], ids=["first request", "second request"])
def test_head_that_trickles_is_not_waited_for(server: Server, before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often another byte of it comes (slow loris)."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.4)
    with server.connect() as caller:
        if before:
            caller.sendall(before)
            assert Answer(caller).status == 200
        began = time.monotonic()
        for byte in request()[:40]:
            try:
                caller.sendall(bytes([byte]))
            except OSError:
                break
            time.sleep(0.03)
        told = what_is_told(caller)
        took = time.monotonic() - began

    detail = refused_before_there_is_a_request(told, 408)
    assert detail == "the request line and its headers have not come in 0.4 seconds"
    assert took < PATIENCE


def test_connection_that_says_nothing_is_closed_without_a_word(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    with server.connect() as caller:
        assert what_is_told(caller) == b""


@pytest.mark.parametrize("piece", [b"X-Many: x\r\n", b"X-Long: " + b"x" * 2_000], ids=["many", "long"])
def test_head_that_does_not_end_is_refused(server: Server, piece: bytes) -> None:
    """The system takes some megabytes that nobody reads; then there is nobody to send to."""
    with server.connect() as caller:
        caller.sendall(b"POST /predict/mnist-dnn HTTP/1.1\r\nHost: testserver\r\n")
        with pytest.raises(OSError):
            for _ in range(64_000_000 // len(piece)):
                caller.sendall(piece)
    assert server.ask(request()).status == 200


def test_head_that_is_too_long_is_told_why(server: Server) -> None:
    with server.connect() as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
        for _ in range(MAX_HEAD_BYTES // 1_000 + 1):
            caller.sendall(b"x" * 1_000)
        told = what_is_told(caller)

    detail = refused_before_there_is_a_request(told, 431)
    assert detail == "the request line and its headers are longer than 65,536 bytes"


CHUNKED = (
    b"POST /predict/mnist-dnn HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def test_what_came_before_in_the_same_read_is_no_head(server: Server) -> None:
    """Hundreds of requests at once, cut within a head."""
    asked = request() * 400
    with server.connect() as caller:
        caller.sendall(asked[:-300])
        time.sleep(0.3)
        caller.sendall(asked[-300:] + request(SEVEN, "/predict/mnist-dnn", b"image/png", b"Connection: close"))
        answers = what_is_told(caller)

    assert answers.count(b"HTTP/1.1 200 OK") == 401


@pytest.mark.parametrize("target", ["http://x", "http://x:99999/", "//", "http://[::1", "*"])
def test_address_that_cannot_be_read_is_told(server: Server, target: str, caplog: pytest.LogCaptureFixture) -> None:
    with server.connect() as caller:
        caller.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        told = what_is_told(caller)

    assert told.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b"HTTP/1.1 405 "))
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_trailer_is_no_header(server: Server) -> None:
    """What is behind a body no proxy and no guard has looked at."""
    body = b"%x\r\n%b\r\n0\r\n" % (len(SEVEN), SEVEN)
    answer = server.ask(CHUNKED + body + b"X-Request-ID: from-behind\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")

    assert answer.label() == "7"
    assert answer.headers["x-request-id"] != "from-behind"


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (b"0\r\n", b"X-Many: x\r\n"),
        (b"0\r\nX-Long: ", b"x" * 2_000),
        (b"1;extension=", b"x" * 2_000),
        (b"", b"1;" + b"x" * 500 + b"\r\nx\r\n"),
    ],
    ids=["many trailers", "a long trailer", "a long extension", "many extensions"],
)
def test_what_is_around_a_body_has_an_end(server: Server, begun: bytes, piece: bytes) -> None:
    with server.connect() as caller:
        caller.sendall(CHUNKED + begun)
        with pytest.raises(OSError):
            for _ in range(64_000_000 // len(piece)):
                caller.sendall(piece)
    assert server.ask(request()).status == 200


def test_body_in_pieces_of_one_byte_is_read(server: Server) -> None:
    pieces = b"".join(b"1\r\n%b\r\n" % bytes([byte]) for byte in SEVEN + bytes(300_000))

    assert server.ask(CHUNKED + pieces + b"0\r\n\r\n").label() == "7"


REFUSED_EARLY = (
    b"POST /predict/mnist-dnn HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 30000000\r\n\r\n"
)


def test_rest_of_a_body_that_nobody_reads_is_not_taken_for_ever(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.4)
    with server.connect() as caller:
        caller.sendall(REFUSED_EARLY)
        assert Answer(caller).status == 413
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began < PATIENCE:
                caller.sendall(b"x")
                time.sleep(0.03)

    assert time.monotonic() - began > 0.3


def test_who_has_sent_the_rest_of_a_refused_body_may_ask_again_and_is_not_kept_for_ever() -> None:
    with serving() as server:
        server.uvicorn.config.timeout_keep_alive = 1
        with server.connect() as caller:
            caller.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n")
            assert Answer(caller).status == 200
            for _ in range(4):
                caller.sendall(b"x" * 100_000)
            time.sleep(0.2)
            caller.sendall(request())
            assert Answer(caller).label() == "7"
            caller.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
            assert Answer(caller).status == 200
            caller.sendall(b"rest")
            began = time.monotonic()
            assert caller.recv(1) == b""

    assert 0.5 < time.monotonic() - began < 5


def test_line_breaks_between_requests_do_not_keep_a_connection(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.4)
    with server.connect() as caller:
        caller.sendall(request())
        assert Answer(caller).label() == "7"
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began < PATIENCE:
                caller.sendall(b"\r\n")
                time.sleep(0.03)


STEPS, END = 300, b"\r\n0\r\n\r\n"


def test_answer_that_takes_long_is_not_interrupted_by_the_next_head(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"optimiser": "adam", "learning_rate": 0.05, "seed": 1, "steps": STEPS}).encode()
    with server.connect() as caller:
        caller.sendall(request(body, "/train/xor", b"application/json", b"Accept: text/event-stream"))
        told = caller.recv(65_536)
        monkeypatch.setattr(connection, "HEAD_SECONDS", 0.02)
        began = time.monotonic()
        caller.sendall(b"POST /predict")
        while END not in told and (piece := caller.recv(65_536)):
            told += piece
        took = time.monotonic() - began
        answer, _, late = (told + what_is_told(caller)).partition(END)

    assert took > 0.02  # the time for a head was over
    assert answer.count(b"event: step") == STEPS + 1
    assert b"HTTP/1.1 408" not in answer
    assert late.startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_head_of_the_largest_size_is_read(server: Server) -> None:
    filler = [b"X-Filler-%d: %b" % (number, b"x" * 1_000) for number in range(60)]

    assert server.ask(request(SEVEN, "/predict/mnist-dnn", b"image/png", *filler)).label() == "7"
