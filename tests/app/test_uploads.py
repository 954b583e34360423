"""Multipart bodies are read as they arrive, in memory, and never beyond the limits."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive

from app import uploads
from app.errors import AppError, ContentTooLarge, InvalidRequest, Overloaded, RequestTimeout, UnsupportedMediaType
from app.problems import DOCUMENTED
from app.uploads import UNCOUNTED_BYTES, Arriving, MultipartFiles, read_json, read_limited, read_upload

BOUNDARY = b"xYz"
MULTIPART = b"multipart/form-data; boundary=xYz"
FILES = [b"first", b"\r\n--xY not the boundary\r\n", b"", bytes(range(256))]


def form(*files: bytes, field: bytes = b"file") -> bytes:
    parts = b"".join(
        b'--xYz\r\nContent-Disposition: form-data; name="%b"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n%b\r\n'
        % (field, file)
        for file in files
    )
    return parts + b"--xYz--\r\n"


def request_of(headers: list[tuple[bytes, bytes]], receive: Receive, arriving: int = 1_000_000) -> Request:
    state = {"arriving": Arriving(arriving)}
    return Request({"type": "http", "method": "POST", "headers": headers, "state": state}, receive)


def read(body: bytes | list[bytes], content_type: bytes = MULTIPART, **headers: bytes) -> tuple[list[bytes], int]:
    """The files, and how many chunks of the body were asked for."""
    chunks = [body] if isinstance(body, bytes) else body
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": chunks[asked - 1], "more_body": asked < len(chunks)}

    raw = [
        (b"content-type", content_type),
        *((name.replace("_", "-").encode(), value) for name, value in headers.items()),
    ]
    request = request_of(raw, receive)
    try:
        return asyncio.run(read_upload(request, max_body_bytes=1_000, max_files=5)).files, asked
    except AppError as error:
        error.headers["asked"] = str(asked)
        raise


def test_files_come_back_byte_for_byte_and_in_order() -> None:
    assert read(form(*FILES)) == (FILES, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_where_the_body_is_cut_into_chunks_makes_no_difference(size: int) -> None:
    body = form(*FILES)

    assert read([body[start : start + size] for start in range(0, len(body), size)])[0] == FILES


def test_raw_image_is_the_whole_body() -> None:
    assert read([b"ab", b"cd"], b"image/png") == ([b"abcd"], 2)


def test_announced_length_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(ContentTooLarge, match=r"the body has 1,001 bytes; at most 1,000") as error:
        read(form(b"x"), content_length=b"1001")

    assert error.value.headers == {"asked": "0"}


def test_unannounced_length_beyond_the_limit_is_refused_as_soon_as_it_is_passed() -> None:
    with pytest.raises(ContentTooLarge, match="at most 1,000 bytes") as error:
        read([b"x" * 600] * 10, b"image/png")

    assert error.value.headers["asked"] == "2"


@pytest.mark.parametrize(
    ("limit", "most", "asked", "allowed"),
    [(1_000, 500, 1, "at most 500 bytes are read of points"), (1_000, 2_000, 2, "PERCEPT_MAX_BODY_BYTES")],
)
def test_smaller_of_two_limits_ends_the_reading_of_json(limit: int, most: int, asked: int, allowed: str) -> None:
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b" " * 600, "more_body": True}

    with pytest.raises(ContentTooLarge, match=allowed):
        asyncio.run(read_json(request_of([(b"content-type", b"application/json")], receive), limit, "points", most))
    assert received == asked


def test_too_many_files_are_refused_at_the_first_too_many() -> None:
    with pytest.raises(ContentTooLarge, match=r"more than 5 files; at most 5 are allowed \(PERCEPT_MAX_FILES\)"):
        read(form(*[b"x"] * 6))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty or cut off"),
        (form(b"x")[:-10], "empty or cut off"),
        (b"--xYz--\r\n", "has no file: send multipart/form-data with one or many parts named 'file'"),
        (form(b"x", field=b"image"), "a field 'image' that is not read here"),
        (b"no boundary at all", "malformed"),
    ],
    ids=["empty", "cut off", "no file", "wrong field", "malformed"],
)
def test_form_without_files_says_what_is_expected(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read(body)


def test_missing_boundary_is_named() -> None:
    with pytest.raises(InvalidRequest, match="lacks its boundary"):
        read(form(b"x"), b"multipart/form-data")


@pytest.mark.parametrize("content_type", [b"", b"text/json", b"application/x-www-form-urlencoded"])
def test_other_content_types_are_refused_and_named(content_type: bytes) -> None:
    with pytest.raises(UnsupportedMediaType, match=f"content type '{content_type.decode()}' is not read here"):
        read(b"{}", content_type)


def test_boundary_that_is_too_long_is_the_callers_fault() -> None:
    with pytest.raises(InvalidRequest, match="Boundary length 257 exceeds maximum"):
        read(b"", b"multipart/form-data; boundary=" + b"a" * 257)


def test_caller_who_stops_sending_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "IDLE_SECONDS", 0.05)

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits so long")

    request = request_of([(b"content-type", b"image/png")], receive)
    with pytest.raises(RequestTimeout, match=r"nothing of the body has come for 0\.05 seconds"):
        asyncio.run(read_upload(request, max_body_bytes=1_000, max_files=5))


def test_caller_who_sends_too_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short the time between two pieces is."""
    monkeypatch.setattr(uploads, "IDLE_SECONDS", 0.1)
    sent = 0

    async def receive() -> Message:
        nonlocal sent
        await asyncio.sleep(0.02)
        sent += 1
        return {"type": "http.request", "body": b"x", "more_body": True}

    request = request_of([(b"content-type", b"image/png")], receive)
    with pytest.raises(RequestTimeout, match=r"the body comes with less than 10,000 bytes a second"):
        asyncio.run(read_upload(request, max_body_bytes=1_000, max_files=5))
    assert 2 <= sent <= 8


def test_who_sent_quickly_at_first_has_no_time_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a few would hold the room of all bodies for half an hour."""
    monkeypatch.setattr(uploads, "IDLE_SECONDS", 0.1)
    sent = 0

    async def receive() -> Message:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0 if sent == 1 else 0.02)
        return {"type": "http.request", "body": b"x" * (500_000 if sent == 1 else 1), "more_body": True}

    request = request_of([(b"content-type", b"image/png")], receive)
    with pytest.raises(RequestTimeout, match=r"the body comes with less than 10,000 bytes a second"):
        asyncio.run(read_upload(request, max_body_bytes=1_000_000, max_files=5))
    assert sent <= 15


def test_documented_example_of_a_timeout_names_the_time_that_is_waited() -> None:
    _, example = DOCUMENTED[408]

    assert example.detail == f"nothing of the body has come for {uploads.IDLE_SECONDS} seconds"


def test_part_without_a_name_is_refused() -> None:
    parser = MultipartFiles(BOUNDARY, max_files=5)

    with pytest.raises(InvalidRequest, match="a field ''"):
        parser.feed(b"--xYz\r\nContent-Type: image/png\r\n\r\nx\r\n--xYz--\r\n")


def test_what_comes_from_all_callers_together_is_bounded() -> None:
    """Also after some were refused, left, or are through."""
    arriving = Arriving(100_000)

    async def body(chunks: list[bytes]) -> int:
        """Read to where nothing more comes."""
        left = iter(chunks)

        async def receive() -> Message:
            chunk = next(left, None)
            if chunk is None:
                await asyncio.sleep(60)
            return {"type": "http.request", "body": chunk, "more_body": chunk != b""}

        request = request_of([], receive)
        request.state.arriving = arriving
        return sum([len(chunk) async for chunk in read_limited(request, 20_000_000)])

    async def scenario() -> None:
        first = asyncio.create_task(body([b"x" * 80_000, b"x" * 20_000]))
        many = [asyncio.create_task(body([b"x" * 60_000])) for _ in range(10)]  # small ones have room
        await asyncio.sleep(0.05)
        assert arriving.bytes == 100_000 - UNCOUNTED_BYTES
        with pytest.raises(Overloaded, match=r"bodies of 68,928 bytes are on their way, and 100,000 may be"):
            await body([b"x" * 100_000, b"x" * 100_000])
        assert await body([b"x" * 130_000, b""]) == 130_000
        assert arriving.bytes == 100_000 - UNCOUNTED_BYTES
        for task in (first, *many):
            task.cancel()
        await asyncio.gather(first, *many, return_exceptions=True)
        assert arriving.bytes == 0

    asyncio.run(scenario())
