"""The way of a request to fit points: admitted, read, computed in a thread, told. Knows no HTTP; app/lab computes."""

import asyncio
import threading
import time
from typing import NamedTuple

import orjson

from app.errors import CallerGone, DeadlineExceeded
from app.lab.fit_answer import answer
from app.lab.fit_request import Asked, read_fit
from app.lab.kmeans import GoOn, Lloyd
from app.metrics import ModelMetrics
from app.service import INLINE_BYTES, Admission, Answer, Gone, Service, Timings, unless_gone

# What it is counted as; no model can be called so.
COUNTED_AS = ("cluster/fit", "")
TOO_LATE = "the time that the caller allows was over before the rounds were"


class _Computed(NamedTuple):
    body: bytes
    started: float
    ended: float


def require_room_to_fit(service: Service) -> None:
    """Before a body is read. Raises Overloaded."""
    service.scheduler.require_room(_metrics(service))


async def fit_points(service: Service, body: bytes, deadline: float | None, gone: Gone | None = None) -> Answer:
    """JSON in, every round out, as JSON. Raises an AppError for what cannot be fitted, and beyond the deadline (on the
    clock of `time.perf_counter`); CallerGone if `gone` returns before. The thread stops before its next round then."""
    metrics, scheduler = _metrics(service), service.scheduler
    unwanted = threading.Event()

    def go_on() -> None:
        if unwanted.is_set():
            raise CallerGone

    with Admission(scheduler, metrics) as admission:
        left = None if deadline is None else deadline - time.perf_counter()
        try:
            async with asyncio.timeout(left):
                asked = await _read(service, body, gone)
                admission.undertake(asked.seconds)
                read = time.perf_counter()
                metrics.decode.observe(read - admission.started)
                work = scheduler.decode(0, _computed, asked, service.lloyd, go_on)
                computed = await unless_gone(asyncio.ensure_future(work), gone)
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


async def _read(service: Service, body: bytes, gone: Gone | None) -> Asked:
    """A long body in a thread, which does not begin when nobody waits any more."""
    if len(body) <= INLINE_BYTES:
        return read_fit(body)
    return await unless_gone(asyncio.ensure_future(service.scheduler.decode(0, read_fit, body)), gone)


def _computed(asked: Asked, lloyd: Lloyd, go_on: GoOn) -> _Computed:
    started = time.perf_counter()
    body = orjson.dumps(answer(asked, lloyd, go_on))
    return _Computed(body, started, time.perf_counter())


def _metrics(service: Service) -> ModelMetrics:
    return service.worker.model(*COUNTED_AS)
