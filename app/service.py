"""The way of a request: admitted, decoded, queued, run, described. Knows no HTTP; every route that predicts uses it."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import orjson

from app.card import CLUSTERING, INPUT_NAMES, Card, ImageInput
from app.errors import AppError, CallerGone, Forbidden, InvalidRequest, UnsupportedMediaType
from app.images import Picture, Sheet
from app.inside import Insides
from app.lab.graphs import LabGraphs
from app.membership import Membership, memberships_of, outputs_of_clustering
from app.metrics import Metrics, ModelMetrics, WorkerMetrics
from app.model import Array, Model
from app.pictures import Opened, fit_pictures, fit_sheets, open_pictures, pixels_to_fit, stack, undecoded_pixels
from app.prediction import Noticed, Outputs, Prediction, predictions_of
from app.repository import Repository
from app.rows import read_batch, require_few_and_short, require_finite, what_it_takes
from app.scheduler import Result, Scheduler
from app.settings import Settings
from app.sheets import PLAIN, Wishes, predictions_of_pictures, predictions_of_sheets, rows_of
from app.store import Store
from app.uploads import Upload

# So many pixels are decoded and fitted on the event loop, mostly in less than a millisecond: a thread would not pay.
INLINE_PIXELS = 128 * 128
# The same of so many files, however small.
INLINE_FILES = 8

# So many bytes are read or written on the event loop; more would hold it up, and go to a thread.
INLINE_BYTES = 65_536
# And so many numbers of what a model answers are described.
INLINE_NUMBERS = 5_000

# What decoding a photograph takes, roughly; it is to tell long queues from short ones.
PIXEL_SECONDS = 8e-9
# The same for a call of a model that could not be measured.
UNMEASURED_SECONDS = 0.01

Value = TypeVar("Value")
# Waits until the caller has gone.
Gone = Callable[[], Awaitable[None]]


class Timings(NamedTuple):
    """Seconds by stage."""

    decode: float
    queue: float
    inference: float

    def header(self) -> str:
        """As Server-Timing has it, in milliseconds."""
        return (
            f"decode;dur={1_000 * self.decode:.3f}, queue;dur={1_000 * self.queue:.3f}, "
            f"inference;dur={1_000 * self.inference:.3f}"
        )


class Read(NamedTuple):
    """What a body brought."""

    batch: Array
    noticed: Noticed  # of each row; of sheets it is told with them
    sheets: Sequence[Sheet] = ()  # of which the rows are the objects


class Answer(NamedTuple):
    body: bytes  # JSON
    timings: Timings


class Admission:
    """A context: a request under way from the first work on it to the answer, and how it ended, counted."""

    __slots__ = ("metrics", "scheduler", "seconds", "started")

    def __init__(self, scheduler: Scheduler, metrics: ModelMetrics) -> None:
        self.scheduler, self.metrics, self.seconds = scheduler, metrics, 0.0

    def __enter__(self) -> "Admission":
        """Raises Overloaded."""
        self.scheduler.admit(self.metrics)
        self.started = time.perf_counter()
        return self

    def undertake(self, seconds: float) -> None:
        """When it is known how long the work will take."""
        self.scheduler.undertake(seconds)
        self.seconds += seconds

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.scheduler.release(self.seconds)
        if error is None:
            self.metrics.success(time.perf_counter() - self.started)
        elif isinstance(error, AppError):
            if error.status < 500:  # the others are counted where they arise
                self.metrics.add("invalid")
        elif isinstance(error, Exception) and not isinstance(error, CallerGone):
            self.metrics.add("internal")


@dataclass(frozen=True)
class Service:
    """What a worker answers with."""

    settings: Settings
    repository: Repository
    scheduler: Scheduler
    metrics: Metrics
    worker: WorkerMetrics
    lab: LabGraphs
    insides: Insides = field(default_factory=Insides)

    @property
    def store(self) -> Store:
        """The models of this moment."""
        return self.repository.store

    def metrics_of(self, model: Model) -> ModelMetrics:
        return self.worker.model(model.name, str(model.version))

    def require_room(self, model: Model) -> None:
        """Before a body is read. Raises Overloaded."""
        self.scheduler.require_room(self.metrics_of(model))

    def admit(self, model: Model) -> Admission:
        return Admission(self.scheduler, self.metrics_of(model))

    async def predict(
        self,
        model: Model,
        upload: Upload,
        wishes: Wishes = PLAIN,
        deadline: float | None = None,
        gone: Gone | None = None,
    ) -> Answer:
        """Raises an AppError for what the model does not take, for too much of it, and beyond the deadline (on the
        clock of `time.perf_counter`); CallerGone if `gone` returns before the model has begun."""
        card = model.require_card()

        def described(outputs: Outputs, read: Read) -> Sequence[Prediction]:
            if read.sheets:
                return predictions_of_sheets(card, outputs, read.batch, read.sheets, wishes)
            if wishes.as_seen:
                return predictions_of_pictures(card, outputs, read.batch, read.noticed, wishes)
            return predictions_of(card, outputs, read.noticed, wishes.top)

        return await self._ask(model, upload, card.asked, "predictions", described, deadline, gone, wishes)

    async def cluster(
        self, model: Model, upload: Upload, deadline: float | None = None, gone: Gone | None = None
    ) -> Answer:
        """As `predict`, of a model that clusters: also the cluster's own middle is told."""
        card = model.require_card()

        def described(outputs: Outputs, read: Read) -> Sequence[Membership]:
            return memberships_of(card, outputs, read.noticed)

        return await self._ask(model, upload, outputs_of_clustering(card), "clusters", described, deadline, gone)

    async def _ask(
        self,
        model: Model,
        upload: Upload,
        wanted: list[str],
        what: str,
        described: Callable[[Outputs, Read], Sequence[Prediction | Membership]],
        deadline: float | None,
        gone: Gone | None,
        wishes: Wishes = PLAIN,
    ) -> Answer:
        """The one way of pictures, rows and texts; `wanted` are the graph's outputs that `described` needs."""
        card = model.require_card()
        with self.admit(model) as admission:
            if wishes is not PLAIN:
                wishes.require_possible(card, len(upload.files))
            read = await self._read(upload, card, admission, gone, wishes.many)
            inputs = {INPUT_NAMES[card.input.kind]: read.batch}
            decode_seconds = time.perf_counter() - admission.started
            admission.metrics.decode.observe(decode_seconds)
            result = await self.run(model, inputs, wanted, admission, deadline, gone)
            outputs = dict(zip(wanted, result.outputs, strict=True))
            if not isinstance(card.input, ImageInput):
                require_finite(outputs)

            def answer() -> bytes:
                entries = described(outputs, read)
                return orjson.dumps({"model": model.name, "version": str(model.version), what: entries})

            told = sum([output.size for output in result.outputs]) + (read.batch.size if wishes.as_seen else 0)
            body = answer() if told <= INLINE_NUMBERS else await self.scheduler.decode(0, answer)
        return Answer(body, Timings(decode_seconds, result.queue_seconds, result.inference_seconds))

    def require_clustering(self, model: Model) -> None:
        """Raises InvalidRequest that names the models that cluster."""
        task = model.card.task if model.card else "not known"
        if task != CLUSTERING:
            others = [each.name for each in self.store.newest() if each.card and each.card.task == CLUSTERING]
            raise InvalidRequest(
                f"model {model.name!r} does not cluster, its task is {task}; those that do: "
                f"{', '.join(others) or 'none'}"
            )

    def require_model_control(self) -> None:
        """Raises Forbidden."""
        if not self.settings.model_control:
            raise Forbidden("loading and unloading are not allowed here; PERCEPT_MODEL_CONTROL=true allows them")

    async def _read(self, upload: Upload, card: Card, admission: Admission, gone: Gone | None, many: bool) -> Read:
        """The batch, and what was noticed of each picture in it."""
        if isinstance(card.input, ImageInput):
            if upload.document is not None:
                raise UnsupportedMediaType(f"model {card.name!r} takes {what_it_takes(card)}")
            if many:
                sheets = await self._pictures(upload.files, card.input, admission, gone, fit_sheets, inline=False)
                return Read(stack(rows_of(sheets)), (), sheets)
            pictures = await self.read_pictures(upload.files, card.input, admission, gone)
            return Read(stack([each.pixels for each in pictures]), [each.warnings for each in pictures])
        if upload.document is None:
            raise UnsupportedMediaType(f"model {card.name!r} takes {what_it_takes(card)}")
        if len(upload.document) <= INLINE_BYTES:
            batch = read_batch(upload.document, card, self.settings.max_rows)
        else:
            batch = await self.scheduler.decode(0, read_batch, upload.document, card, self.settings.max_rows)
        return Read(batch, [()] * len(batch))

    async def read_pictures(
        self, files: Sequence[bytes], contract: ImageInput, admission: Admission, gone: Gone | None = None
    ) -> list[Picture]:
        """Decoded and fitted, on the event loop if they are few and small. Raises an AppError that says which file is
        at fault; CallerGone if `gone` returns before a thread has begun."""
        return await self._pictures(files, contract, admission, gone, fit_pictures)

    async def _pictures(
        self,
        files: Sequence[bytes],
        contract: ImageInput,
        admission: Admission,
        gone: Gone | None,
        fitted: Callable[[Sequence[Opened], ImageInput], list[Value]],
        inline: bool = True,
    ) -> list[Value]:
        scheduler, most = self.scheduler, self.settings.max_pixels
        if len(files) > INLINE_FILES:
            opened = await scheduler.decode(0, open_pictures, files, most)
        else:
            opened = open_pictures(files, most)
        if inline and len(files) <= INLINE_FILES and pixels_to_fit(opened, contract) <= INLINE_PIXELS:
            return fitted(opened, contract)
        expected = undecoded_pixels(opened) * PIXEL_SECONDS
        admission.undertake(expected * scheduler.pace)
        return await unless_gone(asyncio.ensure_future(scheduler.decode(expected, fitted, opened, contract)), gone)

    async def run(
        self,
        model: Model,
        inputs: dict[str, Array],
        outputs: list[str],
        admission: Admission,
        deadline: float | None = None,
        gone: Gone | None = None,
        alone: bool = False,
        priority: int = 0,
    ) -> Result:
        """Through the queue. Jobs that run on the loop are over before a caller could leave; the others are dropped
        when theirs does. Raises ContentTooLarge for a text that is too long, or for too many."""
        require_few_and_short(inputs, self.settings.max_rows, self.settings.max_characters)
        job = self.scheduler.submit(model, admission.metrics, inputs, outputs, deadline, alone, priority)
        expected = model.profile.estimate(job.weight)
        admission.undertake(expected if expected < math.inf else UNMEASURED_SECONDS)
        try:
            if self.scheduler.runs_inline(model, job.weight):
                return await job.future
            return await unless_gone(job.future, gone)
        finally:
            del job  # its error has this frame in its traceback: a circle that would keep the request in memory


async def unless_gone(future: "asyncio.Future[Value]", gone: Gone | None) -> Value:
    """Its result. Raises CallerGone, and cancels it, if `gone` returns before."""
    if gone is None:
        return await future
    watch = asyncio.ensure_future(gone())
    try:
        await asyncio.wait((future, watch), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise CallerGone
        return future.result()
    finally:
        watch.cancel()
        future.cancel()
        del watch, future  # as in `run`
