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
from app.service import INLINE_BYTES, Admission, Gone, Service, Timings, unless_gone

# What it is counted as; no model can be called so.
COUNTED_AS = ("cluster/fit", "")


class FitAnswer(NamedTuple):
    body: bytes
    timings: Timings


class _Computed(NamedTuple):
    body: bytes
    started: float
    ended: float


def require_room_to_fit(service: Service) -> None:
    """Before a body is read. Raises Overloaded."""
    service.scheduler.require_room(_metrics(service))


async def fit_points(service: Service, body: bytes, deadline: float | None, gone: Gone | None = None) -> FitAnswer:
    """JSON in, every round out, as JSON. Raises an AppError for what cannot be fitted, and beyond the deadline (on the
    clock of `time.perf_counter`), when the rounds end; CallerGone if `gone` returns before."""
    metrics, scheduler = _metrics(service), service.scheduler
    with Admission(scheduler, metrics) as admission:
        short = len(body) <= INLINE_BYTES
        asked = read_fit(body) if short else await scheduler.decode(0, read_fit, body)
        admission.undertake(asked.seconds)
        read = time.perf_counter()
        metrics.decode.observe(read - admission.started)
        computed = await _compute(service, asked, metrics, deadline, gone)
        queue_seconds, seconds = computed.started - read, computed.ended - computed.started
        metrics.queue.observe(queue_seconds)
        metrics.inference.observe(seconds)
    return FitAnswer(computed.body, Timings(read - admission.started, queue_seconds, seconds))


async def _compute(
    service: Service, asked: Asked, metrics: ModelMetrics, deadline: float | None, gone: Gone | None
) -> _Computed:
    """In a thread, which stops before its next round when nobody waits any more."""
    unwanted = threading.Event()

    def go_on() -> None:
        if unwanted.is_set():
            raise CallerGone

    left = None if deadline is None else deadline - time.perf_counter()
    try:
        async with asyncio.timeout(left):
            work = service.scheduler.decode(0, _computed, asked, service.lloyd, go_on)
            return await unless_gone(asyncio.ensure_future(work), gone)
    except TimeoutError:
        metrics.add("deadline")
        raise DeadlineExceeded("the time that the caller allows was over before the rounds were") from None
    except CallerGone:
        metrics.add("client_gone")
        raise
    finally:
        unwanted.set()


def _computed(asked: Asked, lloyd: Lloyd, go_on: GoOn) -> _Computed:
    started = time.perf_counter()
    body = orjson.dumps(answer(asked, lloyd, go_on))
    return _Computed(body, started, time.perf_counter())


def _metrics(service: Service) -> ModelMetrics:
    return service.worker.model(*COUNTED_AS)
