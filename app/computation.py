"""The way of a request to the lab: admitted, read, computed in a thread, told. Knows no HTTP; app/lab computes."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import orjson

from app.errors import CallerGone, DeadlineExceeded
from app.metrics import ModelMetrics
from app.service import INLINE_BYTES, Admission, Answer, Gone, Service, Timings, unless_gone

TOO_LATE = "the time that the caller allows was over before the answer was computed"


class Estimated(Protocol):
    @property
    def seconds(self) -> float:
        """As is to be expected, roughly."""


A = TypeVar("A", bound=Estimated)
# Called before each piece of work; raises if it is not wanted any more.
GoOn = Callable[[], None]


@dataclass(frozen=True)
class Work(Generic[A]):
    """What the lab can be asked: a request out of a body, and the answer to it, to be told as JSON unless `written`
    says otherwise. `counted_as` is no model's name, since it has a slash."""

    counted_as: str
    read: Callable[[bytes], A]
    answer: Callable[[A, GoOn], object]
    written: Callable[[object], bytes] = orjson.dumps


class _Computed(NamedTuple):
    body: bytes
    started: float
    ended: float


def require_room_for(service: Service, work: Work[A]) -> None:
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
                asked = await _read(service, work, body, gone)
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


async def _read(service: Service, work: Work[A], body: bytes, gone: Gone | None) -> A:
    """A long body in a thread, which does not begin when nobody waits any more."""
    if len(body) <= INLINE_BYTES:
        return work.read(body)
    return await unless_gone(asyncio.ensure_future(service.scheduler.decode(0, work.read, body)), gone)


def _computed(work: Work[A], asked: A, go_on: GoOn) -> _Computed:
    started = time.perf_counter()
    body = work.written(work.answer(asked, go_on))
    return _Computed(body, started, time.perf_counter())


def _metrics(service: Service, work: Work[A]) -> ModelMetrics:
    return service.worker.model(work.counted_as, "")
