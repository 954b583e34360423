"""Arrival times, percentiles and what counts as served, refused and late; and the generator against a real socket."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from benchmarks.arrivals import (
    BROKEN,
    UNANSWERED,
    Outcome,
    generate,
    is_complete,
    percentile,
    schedule,
    summarise,
)
from benchmarks.servers import free_port


def test_even_schedule_is_fixed_beforehand() -> None:
    assert schedule(4, 1).tolist() == [0, 0.25, 0.5, 0.75]


def test_poisson_schedule_has_the_rate_and_depends_on_the_seed_alone() -> None:
    times = schedule(1_000, 20, seed=3)

    assert len(times) == 20_000
    assert times[-1] == pytest.approx(20, rel=0.03)
    assert np.diff(times).std() == pytest.approx(0.001, rel=0.05)
    assert times.tolist() == schedule(1_000, 20, seed=3).tolist()


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.9, 90), (0.99, 99), (0.999, 100), (1, 100), (0, 1)])
def test_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile(np.arange(100, 0, -1.0), share) == value


def test_percentile_of_nothing() -> None:
    assert percentile(np.array([]), 0.5) is None


def test_summary() -> None:
    outcome = Outcome(
        latency=np.array([0.010, 0.020, 0.001, 0.002, 0.5, np.nan]),
        status=np.array([200, 200, 429, 503, BROKEN, UNANSWERED], np.int16),
        retry_after=np.array([False, False, True, False, False, False]),
        late=np.array([0, 0, 0, 0, 0, 0.006]),
    )
    found = summarise(outcome, np.arange(6) / 2.5)

    assert (found.offered_per_second, found.served_per_second, found.requests) == (3, 1, 6)
    assert (found.p50, found.p99, found.p999) == (10, 20, 20)
    assert (found.refused, found.refused_p50, found.refused_p99, found.refused_without_retry_after) == (2, 1, 2, 1)
    assert found.statuses == {"unanswered": 1, "connection broken": 1, "200": 2, "429": 1, "503": 1}
    assert (found.generator_late_p99, found.kept_up) == (6, False)


def test_what_is_answered_after_the_end_does_not_count_as_faster() -> None:
    outcome = Outcome(np.array([1.0, 4.0]), np.array([200, 200], np.int16), np.zeros(2, np.bool_), np.zeros(2))

    assert summarise(outcome, np.array([0.0, 1.0])).served_per_second == 2 / 5


@pytest.mark.parametrize(
    ("head", "body", "complete"),
    [
        (b"http/1.1 200 ok\r\ncontent-length: 3", b"ab", False),
        (b"http/1.1 200 ok\r\ncontent-length: 3\r\nx: y", b"abc", True),
        (b"http/1.1 200 ok\r\ntransfer-encoding: chunked", b"3\r\nabc\r\n", False),
        (b"http/1.1 200 ok\r\ntransfer-encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n", True),
    ],
)
def test_end_of_a_response(head: bytes, body: bytes, complete: bool) -> None:
    assert is_complete(head, body) is complete


@contextmanager
def refusing_every_third(port: int) -> Iterator[None]:
    """A server in a thread: every third request is refused, with Retry-After."""
    started, stopped = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    count = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        while await reader.readline():
            await reader.readuntil(b"\r\n")
            count += 1
            refused = b"HTTP/1.1 429 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" if count % 3 else refused)
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", port):
            started.set()
            await stopped.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait(5)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(5)
        loop.close()


def test_generator_sends_at_the_times_and_tells_refusals() -> None:
    port, times = free_port(), schedule(300, 0.2)
    with refusing_every_third(port):
        outcome = generate([b"GET / HTTP/1.1\r\n\r\n"], port, times, time.monotonic() + 0.05, 4)
    found = summarise(outcome, times)

    assert found.statuses == {"200": 40, "429": 20}
    assert found.refused_without_retry_after == 0
    assert found.p50 is not None and 0 < found.p50 < 1_000
