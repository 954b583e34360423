"""What a caller says about waiting, how long and that it does no longer, and about the answer's form."""

import time

from starlette.types import Receive

from app.errors import InvalidRequest

TIMEOUT = b"x-request-timeout-ms"
MOST_MILLISECONDS = 999_999_999


def deadline_of(timeout_ms: str | None) -> float | None:
    """X-Request-Timeout-Ms as a time on the clock of `time.perf_counter`. Raises InvalidRequest."""
    if timeout_ms is None:
        return None
    if not timeout_ms.isdecimal() or len(timeout_ms) > len(str(MOST_MILLISECONDS)) or not int(timeout_ms):
        raise InvalidRequest(f"X-Request-Timeout-Ms is {timeout_ms!r}; allowed is a whole number, 1 and more")
    return time.perf_counter() + int(timeout_ms) / 1_000


async def gone(receive: Receive) -> None:
    """Returns when the caller has closed the connection. The body has to be read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
