"""The way of a request: admitted, decoded, queued, run, described. Knows no HTTP; every route that predicts uses it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from app.errors import AppError, CallerGone
from app.metrics import Metrics, ModelMetrics, WorkerMetrics
from app.model import Model
from app.prediction import Prediction, fit_pictures, open_pictures, predictions_of, stack, undecoded_pixels
from app.scheduler import Job, Result, Scheduler
from app.settings import Settings
from app.store import Store

# So many pixels are decoded on the event loop, in less than a millisecond: a trip to a thread would not pay.
INLINE_PIXELS = 128 * 128

# Waits until the caller has gone.
Gone = Callable[[], Awaitable[None]]


class Answer(NamedTuple):
    model: Model
    predictions: list[Prediction]
    decode_seconds: float
    queue_seconds: float
    inference_seconds: float

    def json(self) -> bytes:
        """The body of the response."""
        return orjson.dumps(
            {"model": self.model.name, "version": str(self.model.version), "predictions": self.predictions}
        )

    def server_timing(self) -> str:
        """The header of that name: milliseconds by stage."""
        return (
            f"decode;dur={1_000 * self.decode_seconds:.3f}, queue;dur={1_000 * self.queue_seconds:.3f}, "
            f"inference;dur={1_000 * self.inference_seconds:.3f}"
        )


@dataclass(frozen=True)
class Service:
    """What a worker answers with."""

    settings: Settings
    store: Store
    scheduler: Scheduler
    metrics: Metrics
    worker: WorkerMetrics

    async def predict(
        self,
        model: Model,
        files: Sequence[bytes],
        top: int | None = None,
        deadline: float | None = None,
        gone: Gone | None = None,
    ) -> Answer:
        """Raises an AppError for what is no picture, for too much of it, and beyond the deadline (on the clock of
        `time.perf_counter`); CallerGone if `gone` returns before the model has begun."""
        card = model.require_card()
        metrics = self.worker.model(model.name, str(model.version))
        with self._admitted(len(files), metrics):
            started = time.perf_counter()
            opened = open_pictures(files, self.settings.max_pixels)
            if undecoded_pixels(opened) <= INLINE_PIXELS:
                pictures = fit_pictures(opened, card.input)
            else:
                pictures = await self.scheduler.decode(fit_pictures, opened, card.input)
            decoded = time.perf_counter()
            metrics.decode.observe(decoded - started)
            job = self.scheduler.submit(model, metrics, {"image": stack(pictures)}, ["probabilities"], deadline)
            [probabilities], queue_seconds, inference_seconds = await self._result(model, job, gone)
            answer = predictions_of(card, probabilities, pictures, top)
            metrics.success(time.perf_counter() - started)
        return Answer(model, answer, decoded - started, queue_seconds, inference_seconds)

    @contextmanager
    def _admitted(self, rows: int, metrics: ModelMetrics) -> Iterator[None]:
        self.scheduler.admit(rows, metrics)
        try:
            yield
        except AppError as error:
            if error.status < 500:
                metrics.add("invalid")
            raise
        except CallerGone:
            raise
        except Exception:
            metrics.add("internal")
            raise
        finally:
            self.scheduler.release(rows)

    async def _result(self, model: Model, job: Job, gone: Gone | None) -> Result:
        """Jobs that run on the loop are over before a caller could leave; the others are dropped when theirs does."""
        if gone is None or self.scheduler.runs_inline(model, job.rows):
            return await job.future
        watch = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((job.future, watch), return_when=asyncio.FIRST_COMPLETED)
            if not job.future.done():
                raise CallerGone
            return job.future.result()
        finally:
            watch.cancel()
            job.future.cancel()
