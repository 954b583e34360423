"""Files out of a request body, held in memory, with the limits applied while it arrives. Knows nothing of images."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from app.errors import ContentTooLarge, InvalidRequest, Overloaded, RequestTimeout, UnsupportedMediaType

FIELD = "file"
IMAGES, JSON = b"image/", b"application/json"
FORM = b"multipart/form-data; boundary="
EXPECTED = f"send multipart/form-data with one or many parts named {FIELD!r}, or the raw bytes as image/*"
ALLOWED = f"{EXPECTED}; rows and texts as application/json"
# A caller who sends nothing for so long is not waited for.
IDLE_SECONDS = 20
# Who sends more slowly than that is not waited for either, looked at as often as that: what was sent quickly at first
# does not buy time.
SLOWEST_BYTES_PER_SECOND = 10_000
# Python refuses to read numbers of thousands of digits, and no body is that long.
LENGTH_DIGITS = 20
# So much of each body is not counted: small ones are not refused for large ones that hold the room.
UNCOUNTED_BYTES = 65_536


class Upload(NamedTuple):
    """What came: pictures as files, or a JSON document, as bytes."""

    files: list[bytes]
    document: bytes | None = None


class Picture(NamedTuple):
    """An encoded picture that came alone."""

    file: bytes


class Arriving:
    """The bodies that one worker is receiving: each has a limit, and a caller has as many connections as he likes."""

    __slots__ = ("bytes", "most")

    def __init__(self, most: int) -> None:
        self.bytes, self.most = 0, most

    def take(self, size: int) -> None:
        """Raises Overloaded."""
        if self.bytes + size > self.most:
            raise Overloaded(
                f"bodies of {self.bytes:,} bytes are on their way, and {self.most:,} may be "
                "(PERCEPT_MAX_ARRIVING_BYTES); try again",
                {"Retry-After": "1"},
            )
        self.bytes += size


async def read_upload(request: Request, max_body_bytes: int, max_files: int) -> Upload:
    """The files of a multipart body, or the whole body if it is an image or JSON. Raises an AppError beyond a limit,
    for another content type, for a field of another name and for no file at all.

    What is left of a refused body the server reads and forgets, so that a caller who sends first and listens
    afterwards gets the answer too."""
    content_type = request.headers.get("content-type", "")
    media_type, options = parse_options_header(content_type)
    chunks = read_limited(request, max_body_bytes)
    if media_type.startswith(IMAGES):
        return Upload([b"".join([chunk async for chunk in chunks])])
    if media_type == JSON:
        return Upload([], b"".join([chunk async for chunk in chunks]))
    if media_type != b"multipart/form-data":
        raise UnsupportedMediaType(f"content type {content_type!r} is not read here: {ALLOWED}")
    if not options.get(b"boundary"):
        raise InvalidRequest("the content type multipart/form-data lacks its boundary")
    form = MultipartFiles(options[b"boundary"], max_files)
    async for chunk in chunks:
        form.feed(chunk)
    return Upload(form.finish())


async def read_json(request: Request, max_body_bytes: int, what: str, most: int, allowed: str = "") -> bytes:
    """A body that has to be JSON, as bytes. Raises an AppError for another content type, and beyond the smaller limit:
    that of all bodies, or `most` of what this is. `allowed` is what may be sent, in words, if that is more."""
    content_type = request.headers.get("content-type", "")
    media_type, _ = parse_options_header(content_type)
    if media_type != JSON:
        allowed = allowed or f"{what} as application/json"
        raise UnsupportedMediaType(f"content type {content_type!r} is not read here: send {allowed}")
    if max_body_bytes <= most:
        chunks = read_limited(request, max_body_bytes)
    else:
        chunks = read_limited(request, most, f"at most {most:,} bytes are read of {what}")
    return b"".join([chunk async for chunk in chunks])


async def read_json_or_picture(
    request: Request, max_body_bytes: int, max_files: int, what: str, most: int
) -> bytes | Picture:
    """JSON as `read_json` reads it, or one picture as `read_upload` does. Raises as they do, and for several."""
    media_type, _ = parse_options_header(request.headers.get("content-type", ""))
    if media_type != b"multipart/form-data" and not media_type.startswith(IMAGES):
        either = (
            f"{what} as application/json, or a picture as image/* or multipart/form-data with a part named {FIELD!r}"
        )
        return await read_json(request, max_body_bytes, what, most, either)
    upload = await read_upload(request, max_body_bytes, max_files)
    if len(upload.files) > 1:
        raise InvalidRequest(f"the form has {len(upload.files)} files; allowed is one")
    return Picture(upload.files[0])


async def read_limited(request: Request, max_body_bytes: int, allowed: str = "") -> AsyncIterator[bytes]:
    """The body in chunks. Raises ContentTooLarge by the announced length before reading any of it, else as soon as
    more has come than is `allowed`, in words; Overloaded if too much comes from all callers together."""
    allowed = allowed or f"at most {max_body_bytes:,} bytes are allowed (PERCEPT_MAX_BODY_BYTES)"
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > LENGTH_DIGITS or int(announced) > max_body_bytes):
        length = f"{int(announced):,}" if len(announced) <= LENGTH_DIGITS else f"a number of {len(announced)} digits of"
        raise ContentTooLarge(f"the body has {length} bytes; {allowed}")
    received, counted = 0, 0
    looked, before = time.monotonic(), 0
    stream, arriving = request.stream(), cast(Arriving, request.state.arriving)
    try:
        while (chunk := await _next(stream)) is not None:
            received += len(chunk)
            now = time.monotonic()
            if now - looked > IDLE_SECONDS:
                if received - before < SLOWEST_BYTES_PER_SECOND * (now - looked):
                    raise RequestTimeout(f"the body comes with less than {SLOWEST_BYTES_PER_SECOND:,} bytes a second")
                looked, before = now, received
            if received > max_body_bytes:
                raise ContentTooLarge(f"the body is longer than allowed; {allowed}")
            more = max(0, received - UNCOUNTED_BYTES) - counted
            arriving.take(more)
            counted += more
            yield chunk
    finally:
        arriving.bytes -= counted


async def _next(stream: AsyncGenerator[bytes, None]) -> bytes | None:
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            return await anext(stream, None)
    except TimeoutError:
        raise idle() from None


def idle() -> RequestTimeout:
    return RequestTimeout(f"nothing of the body has come for {IDLE_SECONDS} seconds")


# The boundaries and heads that curl, browsers and Python's clients give to a form and to a part that is a file.
PLAIN_BOUNDARY = re.compile(rb"[0-9A-Za-z_-]{1,70}")
PLAIN_HEAD = re.compile(
    rb'(?i:Content-Disposition): form-data; name="file"(?:; filename="[^"\r\n]{0,200}")?'
    rb"(?:\r\n(?i:Content-Type): [^\r\n]{1,200})?"
)


def split_form(content_type: bytes, body: bytes) -> list[bytes] | None:
    """The files of a whole multipart body whose every part is plain. None for everything else, which MultipartFiles
    reads, and refuses if it is wrong."""
    if not content_type.startswith(FORM) or not PLAIN_BOUNDARY.fullmatch(content_type, len(FORM)):
        return None
    delimiter = b"--" + content_type[len(FORM) :]
    if not body.startswith(delimiter):
        return None
    *parts, end = body[len(delimiter) :].split(b"\r\n" + delimiter)
    if not parts or end not in (b"--\r\n", b"--"):
        return None
    files = []
    for part in parts:
        head, blank, content = part.partition(b"\r\n\r\n")
        if not blank or not head.startswith(b"\r\n") or not PLAIN_HEAD.fullmatch(head, 2):
            return None
        files.append(content)
    return files


class MultipartFiles:
    """Collects the parts named `file` of a multipart body (RFC 7578), fed in chunks."""

    def __init__(self, boundary: bytes, max_files: int) -> None:
        self.max_files = max_files
        self.files: list[bytearray] = []
        self.ended = False
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = b""
        callbacks: dict[str, Callable[..., None]] = {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_file,
            "on_part_data": lambda data, start, end: self.files[-1].extend(data[start:end]),
            "on_end": self._end,
        }
        with _malformed():
            self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]

    def feed(self, chunk: bytes) -> None:
        with _malformed():
            self._parser.write(chunk)

    def finish(self) -> list[bytes]:
        if not self.ended:
            raise InvalidRequest("the multipart body is empty or cut off: its closing boundary is missing")
        if not self.files:
            raise InvalidRequest(f"the form has no file: {EXPECTED}")
        return [bytes(file) for file in self.files]

    def _begin_part(self) -> None:
        self._disposition = b""
        if len(self.files) == self.max_files:
            raise ContentTooLarge(
                f"the request has more than {self.max_files} files; at most {self.max_files} are allowed "
                "(PERCEPT_MAX_FILES)"
            )

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _open_file(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name != FIELD:
            raise InvalidRequest(f"the form has a field {name!r} that is not read here: {ALLOWED}")
        self.files.append(bytearray())

    def _end(self) -> None:
        self.ended = True


@contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise InvalidRequest(f"the multipart body is malformed: {error}") from error
