"""Responses as the bytes that go over a socket, and the refusal by a full worker, which is worded once and not each
time. Knows no connection."""

from functools import lru_cache

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.envelope import HEADER
from app.problems import Rendered, rendered
from app.scheduler import Scheduler

RawHeaders = tuple[tuple[bytes, bytes], ...]

# Stands for a byte of a request's id where nothing else has it.
PLACEHOLDER = b"#"


def written(response: Rendered, request_id: bytes, always: RawHeaders, keep_alive: bool) -> bytes:
    """`always` are the headers that every response has."""
    status, headers, body = response
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")
    end = b"" if keep_alive else b"connection: close\r\n"
    return b"%b%b%bcontent-length: %d\r\n%b: %b\r\n%b\r\n%b" % (
        *(STATUS_LINE[status], _lines(always), lines),
        *(len(body), HEADER, request_id, end, body),
    )


def refusal_when_full(scheduler: Scheduler, path: str, request_id: bytes, always: RawHeaders) -> bytes:
    """Of a POST to a path without a `#`, on a connection that is kept."""
    length = len(request_id)
    worded = _worded_when_full(scheduler, scheduler.retry_seconds, path, length, always)
    return worded.replace(PLACEHOLDER * length, request_id)


@lru_cache(maxsize=8)
def _lines(headers: RawHeaders) -> bytes:
    """Others every second, when the date is."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


@lru_cache(maxsize=64)
def _worded_when_full(
    scheduler: Scheduler, _retry_seconds: int, path: str, id_length: int, always: RawHeaders
) -> bytes:
    """With as many placeholders as the id has bytes, so that its length is the same."""
    placeholder = PLACEHOLDER * id_length
    scope = {"request_id": placeholder.decode(), "method": "POST", "path": path}
    return written(rendered(scheduler.refusal_when_full(), scope), placeholder, always, True)
