"""Open-loop load: requests leave at times that were fixed beforehand, whether or not the server keeps up.

A latency is counted from the time a request was to leave, so one that had to wait for a free connection, or for this
generator, has waited; what the generator itself was late is recorded too. asyncio on uvloop, raw request bytes, and a
timerfd, since the loop's own timers know milliseconds only. Knows no case and no server.
"""

import asyncio
import contextlib
import ctypes
import gc
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import uvloop
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BROKEN, UNANSWERED = 0, -1
FIRST_CONNECTIONS = 16
# Those under way when the last has left get so long to be answered.
GRACE_SECONDS = 10.0
# A process that is started anew needs so long until it can send.
SPAWN_SECONDS = 2.0
# A generator that is later than this in one request of a hundred is not sending at the rate it says.
LATE_MILLISECONDS = 5.0
ABSOLUTE = 1  # TFD_TIMER_ABSTIME
REFUSED = (429, 503)


@dataclass(frozen=True)
class Outcome:
    """Arrays with one entry per request, in the order of the schedule; times are seconds."""

    latency: Floats
    status: NDArray[np.int16]
    retry_after: NDArray[np.bool_]
    late: Floats


@dataclass(frozen=True)
class Summary:
    """Latencies are milliseconds, those of the answers with 200 unless they say otherwise."""

    offered_per_second: float
    served_per_second: float
    requests: int
    statuses: dict[str, int]
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    refused: int
    refused_p50: float | None
    refused_p99: float | None
    refused_without_retry_after: int
    generator_late_p99: float
    kept_up: bool


def schedule(rate: float, seconds: float, seed: int | None = None) -> Floats:
    """When requests leave, in seconds from the start: evenly, or with a seed as independent callers would (Poisson)."""
    count = max(1, round(rate * seconds))
    if seed is None:
        return np.arange(count) / rate
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))


def percentile(values: Floats, share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed; None of nothing."""
    if not len(values):
        return None
    return float(np.sort(values)[max(0, int(np.ceil(share * len(values))) - 1)])


def summarise(outcome: Outcome, times: Floats) -> Summary:
    milliseconds, status = outcome.latency * 1_000, outcome.status
    served, refused = milliseconds[status == 200], milliseconds[np.isin(status, REFUSED)]
    answered = (times + outcome.latency)[status == 200]
    late = percentile(outcome.late * 1_000, 0.99) or 0.0
    return Summary(
        offered_per_second=len(times) / float(times[-1]) if len(times) > 1 else 0.0,
        # To the last answer: a server that works off a queue afterwards has not served faster.
        served_per_second=len(served) / max(float(times[-1]), float(answered.max())) if len(answered) else 0.0,
        requests=len(times),
        statuses=statuses(status),
        p50=percentile(served, 0.5),
        p90=percentile(served, 0.9),
        p99=percentile(served, 0.99),
        p999=percentile(served, 0.999),
        refused=len(refused),
        refused_p50=percentile(refused, 0.5),
        refused_p99=percentile(refused, 0.99),
        refused_without_retry_after=int((np.isin(status, REFUSED) & ~outcome.retry_after).sum()),
        generator_late_p99=late,
        kept_up=late <= LATE_MILLISECONDS,
    )


def statuses(status: NDArray[np.int16]) -> dict[str, int]:
    """How many got what."""
    codes, counts = np.unique(status, return_counts=True)
    return {_status_name(int(code)): int(count) for code, count in zip(codes, counts, strict=True)}


def _status_name(code: int) -> str:
    return {BROKEN: "connection broken", UNANSWERED: "unanswered"}.get(code, str(code))


@contextlib.contextmanager
def offering(
    requests: Sequence[bytes], port: int, times: Floats, connections: int, processes: int
) -> Iterator["Offered"]:
    """The load runs in processes of its own while the block runs; `Offered.outcome` waits for its end."""
    begin = time.monotonic() + SPAWN_SECONDS
    # Without the collector, whose pauses would look like the server's.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), gc.disable) as pool:
        try:
            parts = [
                pool.submit(generate, requests, port, times[part::processes], begin, max(1, connections // processes))
                for part in range(processes)
            ]
            yield Offered(begin, times, parts)
        except BaseException:
            for process in (pool._processes or {}).values():
                process.kill()
            raise


@dataclass(frozen=True)
class Offered:
    """Load under way. `begin` is when the first request leaves, by the monotonic clock."""

    begin: float
    times: Floats
    parts: list[Any]

    def outcome(self) -> Outcome:
        """Put back into the order of the schedule."""
        found = [part.result() for part in self.parts]
        merged = []
        for name in Outcome.__dataclass_fields__:
            whole = np.empty(len(self.times), getattr(found[0], name).dtype)
            for number, part in enumerate(found):
                whole[number :: len(found)] = getattr(part, name)
            merged.append(whole)
        return Outcome(*merged)


def offer(requests: Sequence[bytes], port: int, times: Floats, connections: int = 256, processes: int = 1) -> Summary:
    with offering(requests, port, times, connections, processes) as offered:
        return summarise(offered.outcome(), times)


def generate(requests: Sequence[bytes], port: int, times: Floats, begin: float, connections: int) -> Outcome:
    """One process's part."""
    return uvloop.run(Generator(requests, port, times, begin, connections).run())


class Generator:
    """Sends what is due over whichever connection is free, and opens more while there are fewer than allowed."""

    def __init__(self, requests: Sequence[bytes], port: int, times: Floats, begin: float, connections: int) -> None:
        self.requests, self.port, self.limit = requests, port, connections
        self.due = (begin + times).tolist()
        self.outcome = Outcome(
            np.full(len(times), np.nan),
            np.full(len(times), UNANSWERED, np.int16),
            np.zeros(len(times), np.bool_),
            np.zeros(len(times)),
        )
        self.next, self.opened, self.left = 0, 0, len(times)
        self.open: set[Connection] = set()
        self.free: list[Connection] = []
        self.waiting: deque[int] = deque()
        self.finished = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcome:
        self.loop = asyncio.get_running_loop()
        await asyncio.gather(*(self.connect() for _ in range(min(FIRST_CONNECTIONS, self.limit))))
        with timer() as clock:
            self.clock = clock
            self.loop.add_reader(clock, self.tick)
            self.tick_at(self.due[0])
            patience = self.due[-1] - time.monotonic() + GRACE_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.finished.wait(), patience)
            self.loop.remove_reader(clock)
        await self.close()
        return self.outcome

    async def close(self) -> None:
        """What is unanswered now stays so, and is not counted as broken because this end closes."""
        for task in self.tasks:
            task.cancel()
        for connection in list(self.open):
            connection.number = None
            connection.transport.abort()
        while self.open:
            await asyncio.sleep(0.001)

    def tick_at(self, due: float) -> None:
        set_timer(self.clock, due)

    def tick(self) -> None:
        """Everything that is due by now leaves; the timer is set for what comes next."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.clock, 8)
        now = time.monotonic()
        while self.next < len(self.due) and self.due[self.next] <= now:
            self.outcome.late[self.next] = now - self.due[self.next]
            self.send(self.next)
            self.next += 1
        if self.next < len(self.due):
            self.tick_at(self.due[self.next])

    def send(self, number: int) -> None:
        if self.free:
            self.free.pop().send(number, self.requests[number % len(self.requests)])
            return
        self.waiting.append(number)
        if self.opened < self.limit:
            task = self.loop.create_task(self.connect())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def connect(self) -> None:
        self.opened += 1
        try:
            await self.loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
        except OSError:
            self.opened -= 1
            if self.waiting:
                self.take(self.waiting.popleft(), BROKEN, False)

    def ready(self, connection: "Connection") -> None:
        if self.waiting:
            number = self.waiting.popleft()
            connection.send(number, self.requests[number % len(self.requests)])
        else:
            self.free.append(connection)

    def take(self, number: int, status: int, retry_after: bool) -> None:
        self.outcome.latency[number] = time.monotonic() - self.due[number]
        self.outcome.status[number] = status
        self.outcome.retry_after[number] = retry_after
        self.left -= 1
        if not self.left:
            self.finished.set()

    def lost(self, connection: "Connection") -> None:
        self.opened -= 1
        self.open.discard(connection)
        with contextlib.suppress(ValueError):
            self.free.remove(connection)


class Connection(asyncio.Protocol):
    """One request at a time. Answers have to say their length, or that they come in chunks."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.number: int | None = None
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.generator.open.add(self)
        self.generator.ready(self)

    def send(self, number: int, request: bytes) -> None:
        self.number = number
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head_end = self.received.find(b"\r\n\r\n")
        if head_end < 0 or self.number is None:
            return
        head = self.received[:head_end].lower()
        if not is_complete(head, self.received[head_end + 4 :]):
            return
        number, self.number, self.received = self.number, None, b""
        self.generator.take(number, int(head[9:12]), b"\r\nretry-after:" in head)
        if b"\r\nconnection: close" in head:
            self.transport.close()
        else:
            self.generator.ready(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.generator.lost(self)
        if self.number is not None:
            self.generator.take(self.number, BROKEN, False)


def is_complete(head: bytes, body: bytes) -> bool:
    """Of a response, whose head is in lower case."""
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if found:
        return len(body) >= int(rest.split(b"\r\n", 1)[0])
    return body.endswith(b"0\r\n\r\n")


# Python has timerfd from 3.13.
libc = ctypes.CDLL(None, use_errno=True)


class Moment(ctypes.Structure):
    """struct timespec"""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Timing(ctypes.Structure):
    """struct itimerspec"""

    _fields_ = (("interval", Moment), ("value", Moment))


@contextlib.contextmanager
def timer() -> Iterator[int]:
    descriptor = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def set_timer(descriptor: int, moment: float) -> None:
    """Readable once, at this time of the monotonic clock; at once if it has passed."""
    seconds, fraction = divmod(moment, 1)
    timing = Timing(Moment(0, 0), Moment(int(seconds), max(1, int(fraction * 1e9))))
    if libc.timerfd_settime(descriptor, ABSOLUTE, ctypes.byref(timing), None):
        raise OSError(ctypes.get_errno(), "timerfd_settime")
