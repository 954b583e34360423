"""The way of a request to the lab: admitted, read, computed in a thread, told, at once or piece by piece. Knows no
HTTP; app/lab computes."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import orjson

from app.errors import CallerGone, DeadlineExceeded, GoOn
from app.metrics import ModelMetrics
from app.service import INLINE_BYTES, Admission, Answer, Gone, Service, Timings, unless_gone

TOO_LATE = "the time that the caller allows was over before the answer was computed"


class Estimated(Protocol):
    @property
    def seconds(self) -> float:
        """As is to be expected, roughly."""


A = TypeVar("A", bound=Estimated)
# Takes a piece of an answer, from the thread that computes it.
Send = Callable[[bytes], None]


@dataclass(frozen=True)
class Work(Generic[A]):
    """What the lab can be asked: a request out of a body, and the answer to it, to be told as JSON unless `written`
    says otherwise. `counted_as` is no model's name, since it has a slash. `reads_quickly`: a short body may be read on
    the event loop."""

    counted_as: str
    read: Callable[[bytes], A]
    answer: Callable[[A, GoOn], object]
    written: Callable[[object], bytes] = orjson.dumps
    reads_quickly: bool = True


@dataclass(frozen=True)
class Telling(Generic[A]):
    """Work whose answer is told while it is computed: `tell` sends its pieces."""

    counted_as: str
    read: Callable[[bytes], A]
    tell: Callable[[A, GoOn, Send], None]
    reads_quickly: bool = True


class Expected(NamedTuple):
    """What is known of work that nothing is sent for."""

    seconds: float


def unasked(counted_as: str, seconds: float, answer: Callable[[], object]) -> Work[Expected]:
    """Work that nothing is sent for."""
    return Work(counted_as, lambda _body: Expected(seconds), lambda _asked, _go_on: answer())


def drawn(work: Work[A], draw: Callable[[Any], str]) -> Work[A]:
    """The same, told as a picture, SVG."""
    return replace(
        work,
        answer=lambda asked, go_on: draw(work.answer(asked, go_on)),
        written=lambda picture: str(picture).encode(),
    )


class _Computed(NamedTuple):
    body: bytes
    started: float
    ended: float


def require_room_for(service: Service, work: Work[A] | Telling[A]) -> None:
    """Before a body is read. Raises Overloaded."""
    service.scheduler.require_room(_metrics(service, work))


async def compute(
    service: Service, work: Work[A], body: bytes, deadline: float | None, gone: Gone | None = None
) -> Answer:
    """Raises an AppError for what cannot be answered, and beyond the deadline (on the clock of `time.perf_counter`);
    CallerGone if `gone` returns before. The thread stops before its next piece of work then."""
    metrics, scheduler = _metrics(service, work), service.scheduler
    unwanted = threading.Event()

    def go_on() -> None:
        if unwanted.is_set():
            raise CallerGone

    with Admission(scheduler, metrics) as admission:
        left = None if deadline is None else deadline - time.perf_counter()
        try:
            async with asyncio.timeout(left):
                asked = await _read(service, work, body, admission, gone)
                admission.undertake(asked.seconds)
                read = time.perf_counter()
                metrics.decode.observe(read - admission.started)
                task = asyncio.ensure_future(scheduler.decode(0, _computed, work, asked, go_on))
                computed = await unless_gone(task, gone)
        except TimeoutError:
            metrics.add("deadline")
            raise DeadlineExceeded(TOO_LATE) from None
        except CallerGone:
            metrics.add("client_gone")
            raise
        finally:
            unwanted.set()
        queue_seconds, seconds = computed.started - read, computed.ended - computed.started
        metrics.queue.observe(queue_seconds)
        metrics.inference.observe(seconds)
    return Answer(computed.body, Timings(read - admission.started, queue_seconds, seconds))


class Pieces:
    """An asynchronous iterator of an answer that is being computed: whatever has come since it was last asked. It ends
    with the computation, and raises what ended that.

    The thread waits for no reader, so that a slow one holds up neither it nor other callers. What nobody has taken yet
    is kept; it is no more than the whole answer, which the limits of a request bound."""

    def __init__(self, computation: Callable[[Send], Coroutine[Any, Any, Answer]]) -> None:
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        self._kept: deque[bytes] = deque()
        self._computing = asyncio.ensure_future(computation(self._send))
        self._computing.add_done_callback(self._end)

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> bytes:
        while not self._kept:
            if self._computing.done():
                self._computing.result()
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return b"".join([self._kept.popleft() for _ in range(len(self._kept))])

    async def begin(self) -> None:
        """Waits until there is something to take, or raises what ended the computation before."""
        self._kept.appendleft(await anext(self, b""))

    async def aclose(self) -> None:
        """Nobody wants more: the thread stops before its next piece of work."""
        self._computing.cancel()

    def _send(self, piece: bytes) -> None:
        """In the thread."""
        self._kept.append(piece)
        self._loop.call_soon_threadsafe(self._news.set)

    def _end(self, computing: "asyncio.Future[Answer]") -> None:
        self._news.set()
        if not computing.cancelled():
            computing.exception()  # whoever takes the pieces is told; asyncio is not to say that nobody was


async def stream(
    service: Service, telling: Telling[A], body: bytes, deadline: float | None, gone: Gone | None = None
) -> Pieces:
    """As `compute`, whose way it goes. What is wrong before the first piece is raised here, what is later by the
    pieces."""

    def computation(send: Send) -> Coroutine[Any, Any, Answer]:
        work: Work[A] = Work(
            telling.counted_as,
            telling.read,
            lambda asked, go_on: telling.tell(asked, go_on, send),
            lambda _: b"",
            telling.reads_quickly,
        )
        return compute(service, work, body, deadline, gone)

    pieces = Pieces(computation)
    try:
        await pieces.begin()
    except BaseException:
        await pieces.aclose()
        raise
    return pieces


async def _read(service: Service, work: Work[A], body: bytes, admission: Admission, gone: Gone | None) -> A:
    """A long body, and one that may take long to read, in a thread, which does not begin when nobody waits any more."""
    if work.reads_quickly and len(body) <= INLINE_BYTES:
        return work.read(body)
    return await unless_gone(asyncio.ensure_future(service.read(admission, len(body), work.read, body)), gone)


def _computed(work: Work[A], asked: A, go_on: GoOn) -> _Computed:
    started = time.perf_counter()
    body = work.written(work.answer(asked, go_on))
    return _Computed(body, started, time.perf_counter())


def _metrics(service: Service, work: Work[A] | Telling[A]) -> ModelMetrics:
    return service.worker.model(work.counted_as, "")
