"""The short way and the general one give the same answers, and what the short way takes is no accident."""

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.testclient import TestClient
from python_multipart.multipart import parse_options_header
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.envelope import Envelope
from app.errors import AppError
from app.main import Percept, create_app
from app.routes.hot_path import MAX_BYTES, HotPath
from app.settings import Settings
from app.uploads import MultipartFiles, split_form
from tests.conftest import SAMPLES

SEVEN, TWO = ((SAMPLES / name).read_bytes() for name in ("seven.png", "two.png"))
PAPER = (SAMPLES / "three-on-paper.jpg").read_bytes()
PNG = b"image/png"
FORM = b"multipart/form-data; boundary=xYz"
HEAD = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png'
MAX_FILES = 5
DISCONNECT: Message = {"type": "http.disconnect"}


def form(*files: bytes, head: bytes = HEAD, boundary: bytes = b"xYz", end: bytes = b"--\r\n") -> bytes:
    parts = b"".join(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, head, file) for file in files)
    return parts + b"--" + boundary + end


class Recorder:
    """Middleware that remembers what comes so far: put inside a short way, what was left to the general one."""

    def __init__(self, app: ASGIApp, seen: list[str]) -> None:
        self.app, self.seen = app, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.seen.append(scope["path"])
        await self.app(scope, receive, send)


@dataclass
class Asked:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    general: bool

    def comparable(self) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        """All but how long it took."""
        named = sorted((name, b"" if name == b"server-timing" else value) for name, value in self.headers)
        return self.status, self.body, named


@dataclass
class Way:
    """An application that is spoken to as a server speaks."""

    client: TestClient
    seen: list[str] = field(default_factory=list)

    def ask(self, *messages: Any, **request_: Any) -> Asked:
        return asyncio.run(self.asked(*messages, **request_))

    async def asked(
        self,
        path: str = "/predict/mnist-dnn",
        *messages: Message | bytes,
        content_type: bytes | None = PNG,
        headers: list[tuple[bytes, bytes]] | None = None,
        method: str = "POST",
        length: bytes | None = None,
    ) -> Asked:
        """Bytes are a message each; when there are none left the caller has gone."""
        pieces = [message for message in messages if isinstance(message, bytes)]
        waiting: list[Message] = [
            {"type": "http.request", "body": message, "more_body": place < len(pieces)}
            if isinstance(message, bytes)
            else message
            for place, message in enumerate(messages, start=1)
        ]
        announced = b"%d" % sum(map(len, pieces)) if length is None else length
        sent: list[Message] = []
        answered = asyncio.Event()

        async def receive() -> Message:
            if waiting:
                return waiting.pop(0)
            await answered.wait()
            return DISCONNECT

        async def send(message: Message) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answered.set()

        address, _, query = path.partition("?")
        scope: Scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": address,
            "raw_path": address.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "server": ("testserver", 80),
            "client": ("caller", 1),
            "headers": [
                (b"host", b"testserver"),
                *([(b"content-type", content_type)] if content_type is not None else []),
                *([(b"content-length", announced)] if announced else []),
                (b"x-request-id", b"the-same"),
                *(headers or []),
            ],
            "state": dict(self.client.app_state),
        }
        self.seen.clear()
        await self.client.app(scope, receive, send)
        starts = [message for message in sent if message["type"] == "http.response.start"]
        if not starts:
            return Asked(0, [], b"", bool(self.seen))
        body = b"".join(message.get("body", b"") for message in sent)
        return Asked(starts[0]["status"], list(starts[0]["headers"]), body, bool(self.seen))


def application(with_hot_path: bool, seen: list[str]) -> Percept:
    app = create_app(Settings(max_files=MAX_FILES, max_pixels=2_000_000))
    app.add_middleware(Recorder, seen=seen)
    if not with_hot_path:
        assert isinstance(app.front, Envelope) and isinstance(app.front.app, HotPath)
        app.front.app = app.front.app.app
    return app


@pytest.fixture(scope="module")
def ways() -> Iterator[tuple[Way, Way]]:
    """The short way and the general one."""
    seen: tuple[list[str], list[str]] = ([], [])
    with (
        TestClient(application(True, seen[0])) as short,
        TestClient(application(False, seen[1])) as general,
    ):
        yield Way(short, seen[0]), Way(general, seen[1])


SHORT, GENERAL = True, False
# name: whether the short way answers, and the request
REQUESTS: dict[str, tuple[bool, dict[str, Any]]] = {
    # Forms.
    "one file": (SHORT, {"body": [form(SEVEN)], "content_type": FORM}),
    "two files": (SHORT, {"body": [form(SEVEN, TWO)], "content_type": FORM}),
    "as many files as are allowed": (SHORT, {"body": [form(*[TWO] * MAX_FILES)], "content_type": FORM}),
    "a file too many": (GENERAL, {"body": [form(*[TWO] * (MAX_FILES + 1))], "content_type": FORM}),
    "65 files": (GENERAL, {"body": [form(*[TWO] * 65)], "content_type": FORM}),
    "no end of line at the end": (SHORT, {"body": [form(SEVEN, end=b"--")], "content_type": FORM}),
    "something after the end": (GENERAL, {"body": [form(SEVEN, end=b"--\r\nmore")], "content_type": FORM}),
    "something before the beginning": (GENERAL, {"body": [b"\r\n" + form(SEVEN)], "content_type": FORM}),
    "cut off": (GENERAL, {"body": [form(SEVEN)[:-4]], "content_type": FORM}),
    "cut in the middle": (GENERAL, {"body": [form(SEVEN)[:200]], "content_type": FORM}),
    "no part": (GENERAL, {"body": [b"--xYz--\r\n"], "content_type": FORM}),
    "empty form": (GENERAL, {"body": [b""], "content_type": FORM}),
    "no form": (GENERAL, {"body": [b"no form at all"], "content_type": FORM}),
    "an empty file": (SHORT, {"body": [form(b"")], "content_type": FORM}),
    "an empty file among others": (SHORT, {"body": [form(SEVEN, b"", TWO)], "content_type": FORM}),
    "no picture": (SHORT, {"body": [form(b"text")], "content_type": FORM}),
    "the second is no picture": (SHORT, {"body": [form(SEVEN, b"text")], "content_type": FORM}),
    "another field": (
        GENERAL,
        {"body": [form(SEVEN, head=HEAD.replace(b'"file"', b'"image"'))], "content_type": FORM},
    ),
    "field in capitals": (
        GENERAL,
        {"body": [form(SEVEN, head=HEAD.replace(b'"file"', b'"FILE"'))], "content_type": FORM},
    ),
    "name in capitals": (GENERAL, {"body": [form(SEVEN, head=HEAD.replace(b"name=", b"NAME="))], "content_type": FORM}),
    "header in small letters": (
        SHORT,
        {"body": [form(SEVEN, head=HEAD.replace(b"Content-D", b"content-d"))], "content_type": FORM},
    ),
    "no filename": (
        SHORT,
        {"body": [form(SEVEN, head=b'Content-Disposition: form-data; name="file"')], "content_type": FORM},
    ),
    "name without quotes": (
        GENERAL,
        {"body": [form(SEVEN, head=b"Content-Disposition: form-data; name=file")], "content_type": FORM},
    ),
    "a third header": (GENERAL, {"body": [form(SEVEN, head=HEAD + b"\r\nX-More: 1")], "content_type": FORM}),
    "a filename of 5,000 letters": (
        GENERAL,
        {"body": [form(SEVEN, head=HEAD.replace(b"a.png", b"a" * 5_000))], "content_type": FORM},
    ),
    "a type of 5,000 letters": (GENERAL, {"body": [form(SEVEN, head=HEAD + b"a" * 5_000)], "content_type": FORM}),
    "a filename that pretends": (
        SHORT,
        {"body": [form(SEVEN, head=HEAD.replace(b"a.png", b"a; name=other"))], "content_type": FORM},
    ),
    "a filename with a backslash": (
        SHORT,
        {"body": [form(SEVEN, head=HEAD.replace(b"a.png", b"C:\\\\a\\"))], "content_type": FORM},
    ),
    "almost the boundary in a file": (SHORT, {"body": [form(SEVEN, b"\r\n--xY", b"a--xYz")], "content_type": FORM}),
    "the boundary at the beginning of a file": (GENERAL, {"body": [form(SEVEN, b"--xYz")], "content_type": FORM}),
    "the boundary at the end of a file": (GENERAL, {"body": [form(SEVEN + b"\r\n--xYz")], "content_type": FORM}),
    "quoted boundary": (GENERAL, {"body": [form(SEVEN)], "content_type": b'multipart/form-data; boundary="xYz"'}),
    "a parameter after the boundary": (GENERAL, {"body": [form(SEVEN)], "content_type": FORM + b"; charset=utf-8"}),
    "boundary with a space": (GENERAL, {"body": [form(SEVEN, boundary=b"x Yz")], "content_type": FORM[:-2] + b" Yz"}),
    "boundary and a space": (GENERAL, {"body": [form(SEVEN)], "content_type": FORM + b" "}),
    "boundary that is too long": (
        GENERAL,
        {"body": [form(SEVEN, boundary=b"x" * 300)], "content_type": FORM[:-3] + b"x" * 300},
    ),
    "browser's boundary": (
        SHORT,
        {
            "body": [form(SEVEN, boundary=b"----WebKitFormBoundary7MA4YWxkTrZu0gW")],
            "content_type": FORM[:-3] + b"----WebKitFormBoundary7MA4YWxkTrZu0gW",
        },
    ),
    "no boundary": (GENERAL, {"body": [form(SEVEN)], "content_type": b"multipart/form-data"}),
    "empty boundary": (GENERAL, {"body": [form(SEVEN)], "content_type": b"multipart/form-data; boundary="}),
    "multipart in capitals": (GENERAL, {"body": [form(SEVEN)], "content_type": b"Multipart/Form-Data; boundary=xYz"}),
    "another multipart": (GENERAL, {"body": [form(SEVEN)], "content_type": b"multipart/mixed; boundary=xYz"}),
    # Raw bodies.
    "raw PNG": (SHORT, {"body": [SEVEN]}),
    "raw JPEG": (SHORT, {"body": [PAPER], "content_type": b"image/jpeg"}),
    "raw PNG that is called JPEG": (SHORT, {"body": [SEVEN], "content_type": b"image/jpeg"}),
    "any image": (SHORT, {"body": [SEVEN], "content_type": b"image/*"}),
    "image with a parameter": (SHORT, {"body": [SEVEN], "content_type": b"image/png; q=1"}),
    "image in capitals": (GENERAL, {"body": [SEVEN], "content_type": b"IMAGE/PNG"}),
    "empty body": (SHORT, {"body": [b""]}),
    "text that is called an image": (SHORT, {"body": [b"text"]}),
    "half a picture": (SHORT, {"body": [SEVEN[:100]]}),
    "too many pixels": (
        SHORT,
        {"body": [b"BM" + bytes(8) + b"\x1a\0\0\0\x0c\0\0\0\xff\xff\xff\xff\1\0\1\0" + bytes(20)]},
    ),
    "no content type": (GENERAL, {"body": [SEVEN], "content_type": None}),
    "empty content type": (GENERAL, {"body": [SEVEN], "content_type": b""}),
    "JSON": (GENERAL, {"body": [b"{}"], "content_type": b"application/json"}),
    "content type that is no ASCII": (GENERAL, {"body": [SEVEN], "content_type": b"im\xe4ge/png"}),
    "two content types": (SHORT, {"body": [SEVEN], "headers": [(b"content-type", b"text/plain")]}),
    "two content types, the other way round": (
        GENERAL,
        {"body": [SEVEN], "content_type": b"text/plain", "headers": [(b"content-type", PNG)]},
    ),
    # How it comes.
    "in two pieces": (GENERAL, {"body": [SEVEN[:50], SEVEN[50:]]}),
    "form in many pieces": (
        GENERAL,
        {"body": [form(SEVEN)[at : at + 100] for at in range(0, len(form(SEVEN)), 100)], "content_type": FORM},
    ),
    "length not announced": (GENERAL, {"body": [SEVEN], "length": b""}),
    "length that is no number": (GENERAL, {"body": [SEVEN], "length": b"many"}),
    "as long as the short way takes": (SHORT, {"body": [SEVEN + bytes(MAX_BYTES - len(SEVEN))]}),
    "longer than the short way takes": (GENERAL, {"body": [SEVEN + bytes(MAX_BYTES - len(SEVEN) + 1)]}),
    "longer than anybody takes": (GENERAL, {"body": [SEVEN], "length": b"21000000"}),
    "caller who leaves at once": (GENERAL, {"body": [DISCONNECT], "length": b"100"}),
    "caller with a form who leaves at once": (
        GENERAL,
        {"body": [DISCONNECT], "length": b"100", "content_type": FORM},
    ),
    # Addresses.
    "alias": (SHORT, {"path": "/predict/digits", "body": [SEVEN]}),
    "another alias": (SHORT, {"path": "/predict/clothing", "body": [SEVEN]}),
    "unknown model": (SHORT, {"path": "/predict/letters", "body": [SEVEN]}),
    "unknown model and no body that is read": (
        SHORT,
        {"path": "/predict/letters", "body": [b"{}"], "content_type": b"a/b"},
    ),
    "unknown model in other letters": (GENERAL, {"path": "/predict/Ziffern-äöü ☃", "body": [SEVEN]}),
    "capitals": (SHORT, {"path": "/predict/DIGITS", "body": [SEVEN]}),
    "no model": (GENERAL, {"path": "/predict/", "body": [SEVEN]}),
    "not even a slash": (GENERAL, {"path": "/predict", "body": [SEVEN]}),
    "slash at the end": (GENERAL, {"path": "/predict/digits/", "body": [SEVEN]}),
    "slash in the name": (GENERAL, {"path": "/predict/digits/1", "body": [SEVEN]}),
    "two slashes": (GENERAL, {"path": "/predict//digits", "body": [SEVEN]}),
    "line break in the name": (GENERAL, {"path": "/predict/digits\n", "body": [SEVEN]}),
    "query": (GENERAL, {"path": "/predict/digits?top=2", "body": [SEVEN]}),
    "another method": (GENERAL, {"method": "PUT", "body": [SEVEN]}),
    # Deadlines.
    "time enough": (SHORT, {"body": [SEVEN], "headers": [(b"x-request-timeout-ms", b"60000")]}),
    "no time at all": (SHORT, {"body": [SEVEN], "headers": [(b"x-request-timeout-ms", b"0")]}),
    "empty time": (SHORT, {"body": [SEVEN], "headers": [(b"x-request-timeout-ms", b"")]}),
    "time that is no number": (SHORT, {"body": [SEVEN], "headers": [(b"x-request-timeout-ms", b"soon")]}),
    "time that is no whole number": (SHORT, {"body": [SEVEN], "headers": [(b"x-request-timeout-ms", b"1.5")]}),
    "negative time": (SHORT, {"body": [SEVEN], "headers": [(b"x-request-timeout-ms", b"-1")]}),
    "time of another script": (SHORT, {"body": [SEVEN], "headers": [(b"x-request-timeout-ms", b"\xb2")]}),
    "time beyond all measure": (SHORT, {"body": [SEVEN], "headers": [(b"x-request-timeout-ms", b"9" * 5_000)]}),
    "two times": (
        SHORT,
        {"body": [SEVEN], "headers": [(b"x-request-timeout-ms", b"60000"), (b"x-request-timeout-ms", b"soon")]},
    ),
    "unknown model and a time that is no number": (
        SHORT,
        {"path": "/predict/letters", "body": [SEVEN], "headers": [(b"x-request-timeout-ms", b"soon")]},
    ),
    "time that is no number and a body that is not read": (
        SHORT,
        {"body": [b"{}"], "content_type": b"a/b", "headers": [(b"x-request-timeout-ms", b"soon")]},
    ),
}


@pytest.mark.parametrize(("short", "request_"), REQUESTS.values(), ids=REQUESTS)
def test_both_ways_give_the_same_answer(ways: tuple[Way, Way], short: bool, request_: dict[str, Any]) -> None:
    given = dict(request_)
    path, body = given.pop("path", "/predict/mnist-dnn"), given.pop("body")
    ours, theirs = (way.ask(path, *body, **given) for way in ways)

    assert ours.comparable() == theirs.comparable()
    assert (not ours.general, theirs.general) == (short, True)
    named = dict(ours.headers)
    assert named[b"x-request-id"] == b"the-same"
    assert (b"server-timing" in named) == (ours.status == 200)
    assert ours.status in (200, 307, 404, 405, 413, 415, 422, 499)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("one file", 200),
        ("two files", 200),
        ("raw PNG", 200),
        ("raw JPEG", 200),
        ("alias", 200),
        ("in two pieces", 200),
        ("an empty file", 422),
        ("too many pixels", 413),
        ("unknown model", 404),
        ("slash in the name", 404),
        ("slash at the end", 307),
        ("no time at all", 422),
        ("unknown model and a time that is no number", 404),
        ("65 files", 413),
        ("JSON", 415),
        ("caller who leaves at once", 499),
    ],
)
def test_answers_have_the_status_that_they_should(ways: tuple[Way, Way], request_: str, status: int) -> None:
    given = dict(REQUESTS[request_][1])
    answer = ways[0].ask(given.pop("path", "/predict/mnist-dnn"), *given.pop("body"), **given)

    assert answer.status == status
    if status == 200:
        assert [each["label"] for each in json.loads(answer.body)["predictions"]][:1] in (["7"], ["3"])


def test_server_timing_tells_the_stages(ways: tuple[Way, Way]) -> None:
    for way in ways:
        timing = dict(way.ask("/predict/mnist-dnn", SEVEN).headers)[b"server-timing"].decode()
        stages = dict(stage.split(";dur=") for stage in timing.split(", "))

        assert list(stages) == ["decode", "queue", "inference"]
        assert all(0 <= float(milliseconds) < 10_000 for milliseconds in stages.values())


def test_both_ways_count_the_same(ways: tuple[Way, Way]) -> None:
    def counted(way: Way) -> dict[str, float]:
        service = way.client.app_state["service"]
        totals = service.metrics.model_totals().get(("mnist-dnn", "1"))
        fields = ("success", "invalid", "internal", "deadline", "queue_full", "client_gone")
        counts = {name: totals.value(name) if totals else 0.0 for name in fields}
        counts["rows"] = totals.values("batch_rows")[-1] if totals else 0.0
        responses = service.metrics.worker_totals().values("responses")
        return counts | {f"response {place}": count for place, count in enumerate(responses)}

    differences = []
    for way in ways:
        before = counted(way)
        for _, request_ in REQUESTS.values():
            given = dict(request_)
            way.ask(given.pop("path", "/predict/mnist-dnn"), *given.pop("body"), **given)
        after = counted(way)
        differences.append({name: after[name] - before[name] for name in after})

    assert differences[0] == differences[1]
    assert differences[0]["success"] > 20
    assert differences[0]["invalid"] > 5


def ten_times(way: Way, **request_: Any) -> set[int]:
    return {way.ask("/predict/mnist-dnn", SEVEN, **request_).status for _ in range(10)}


def test_caller_who_leaves_while_the_model_runs_is_counted_both_ways_alike(
    ways: tuple[Way, Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.scheduler.INLINE_SECONDS", 0.0)  # as if the model were slow

    async def leave(way: Way) -> tuple[Asked, float]:
        service = way.client.app_state["service"]
        metrics, held = service.metrics, threading.Event()
        await way.asked("/predict/mnist-dnn", SEVEN)
        before = metrics.model_totals()["mnist-dnn", "1"].value("client_gone")
        service.scheduler._inference.submit(held.wait)  # it takes for ever
        answer = await way.asked("/predict/mnist-dnn", SEVEN, DISCONNECT)
        held.set()
        await way.asked("/predict/mnist-dnn", SEVEN)  # a slot is free again
        return answer, metrics.model_totals()["mnist-dnn", "1"].value("client_gone") - before

    answers, gone = zip(*(asyncio.run(leave(way)) for way in ways), strict=True)
    assert answers[0].comparable() == answers[1].comparable()
    assert answers[0].status == 499
    assert gone == (1, 1)


def test_full_queue_refuses_both_ways_alike(ways: tuple[Way, Way]) -> None:
    answers = []
    for way in ways:
        scheduler = way.client.app_state["service"].scheduler
        scheduler.admitted += 128
        try:
            answers.append(way.ask("/predict/mnist-dnn", SEVEN))
        finally:
            scheduler.admitted -= 128

    assert answers[0].comparable() == answers[1].comparable()
    assert answers[0].status == 429
    assert dict(answers[0].headers)[b"retry-after"] == b"1"
    assert ten_times(ways[0]) == {200}


# Forms, taken apart twice.


def read_apart(content_type: bytes, body: bytes) -> list[bytes] | str:
    """What the general way makes of a form: its files, or why it is refused."""
    media_type, options = parse_options_header(content_type)
    if media_type != b"multipart/form-data" or not options.get(b"boundary"):
        return "no form"
    try:
        parser = MultipartFiles(options[b"boundary"], max_files=100)
        parser.feed(body)
        return parser.finish()
    except AppError as error:
        return error.detail


PIECES = [
    *(
        b"\r\n",
        b"--",
        b"--xYz",
        b"\r\n--xYz",
        b"\r\n--xYz--",
        b"--xYz--\r\n",
        b"\r",
        b"\n",
        b"-",
        b"xYz",
        b"\0",
        b"\xff",
    ),
    *(b"\r\n\r\n", HEAD, HEAD + b"\r\n\r\n", b"Content-Type: a/b", b'Content-Disposition: form-data; name="file"'),
    *(b'; filename="', b'"', b";", b":", b" ", b"\t", b"name=", b'filename="x"', b"file", b"FILE", b"\\", b"content"),
]


def random_content(generator: random.Random) -> bytes:
    return b"".join(
        generator.choice((*PIECES, generator.randbytes(generator.randrange(8)))) for _ in range(generator.randrange(6))
    )


def test_random_forms_are_taken_apart_alike() -> None:
    generator = random.Random(0)
    taken = 0
    for _ in range(4_000):
        files = [random_content(generator) for _ in range(generator.randrange(4))]
        end = generator.choice((b"--", b"--\r\n", b"--\r\n", b"-", b"", b"--\r\n\r\n", b"--more"))
        body = form(*files, end=end)
        ours = split_form(FORM, body)
        if ours is not None:
            taken += 1
            assert ours == read_apart(FORM, body), body

    assert taken > 500


def test_mutated_forms_are_taken_apart_alike() -> None:
    generator = random.Random(1)
    taken = 0
    for _ in range(30_000):
        body = bytearray(form(b"first", b"\r\nsecond--"))
        for _ in range(generator.randint(1, 3)):
            place = generator.randrange(len(body))
            match generator.randrange(4):
                case 0:
                    body[place] = generator.randrange(256)
                case 1:
                    del body[place : place + generator.randint(1, 8)]
                case 2:
                    body[place:place] = generator.choice(PIECES)
                case 3:
                    body[place : place + 1] = bytes(body[place : place + 1]).swapcase()
        ours = split_form(FORM, bytes(body))
        if ours is not None:
            taken += 1
            assert ours == read_apart(FORM, bytes(body)), bytes(body)

    assert taken > 1_000


def test_mutated_content_types_are_read_alike() -> None:
    generator = random.Random(2)
    taken = 0
    for _ in range(20_000):
        content_type = bytearray(FORM)
        for _ in range(generator.randint(1, 3)):
            place = generator.randrange(len(content_type) + 1)
            if generator.randrange(2):
                content_type[place:place] = generator.choice(
                    (b";", b'"', b" ", b"\\", b"*", b"=", b"x", b"\t", b"\xe4")
                )
            else:
                del content_type[place : place + 1]
        boundary = bytes(content_type).partition(b"boundary=")[2]
        for given in (boundary, boundary.strip(), b"xYz"):
            body = form(b"content", boundary=given)
            ours = split_form(bytes(content_type), body)
            if ours is not None:
                taken += 1
                assert ours == read_apart(bytes(content_type), body), (content_type, body)

    assert taken > 1_000


@pytest.mark.parametrize("length", [1, 70, 200, 255, 256, 257, 300])
def test_long_boundaries_are_read_alike(length: int) -> None:
    content_type, body = FORM[:-3] + b"b" * length, form(SEVEN, boundary=b"b" * length)
    ours = split_form(content_type, body)

    assert ours in (None, read_apart(content_type, body))
    assert (ours is not None) == (length <= 70)


@pytest.mark.parametrize("length", [100, 200, 201, 4_000, 4_200, 4_300, 9_000])
@pytest.mark.parametrize("where", [b"a.png", b"image/png"])
def test_long_heads_are_read_alike(length: int, where: bytes) -> None:
    body = form(SEVEN, head=HEAD.replace(where, b"a" * length))
    ours = split_form(FORM, body)

    assert ours in (None, read_apart(FORM, body))
    assert (ours is not None) == (length <= 200)
