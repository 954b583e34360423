"""The way of a request: admitted, decoded, queued, run, described. Knows no HTTP; every route that predicts uses it."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson

from app.card import CLUSTERING, INPUT_NAMES, Card, ImageInput, PhotographInput
from app.errors import AppError, CallerGone, Forbidden, InvalidRequest, UnsupportedMediaType
from app.images import Picture, Sheet
from app.inside import Insides
from app.lab.graphs import LabGraphs
from app.membership import Membership, memberships_of, outputs_of_clustering
from app.metrics import Metrics, ModelMetrics, WorkerMetrics
from app.model import Array, Model
from app.photographs import Photograph
from app.pictures import (
    Opened,
    all_of_data_set,
    fit_by_looks,
    fit_photographs,
    fit_pictures,
    fit_sheets,
    open_pictures,
    pixels_to_fit,
    stack,
    undecoded_pixels,
)
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
# Of a thread, for a byte of a long body that is read into arrays: JSON takes 15 ns, rows in lists more.
READING_SECONDS = 2e-8
# And so many numbers of what a model answers are described.
INLINE_NUMBERS = 5_000

# What decoding a photograph takes, roughly; it is to tell long queues from short ones.
PIXEL_SECONDS = 8e-9
# To fit one takes so long besides, if it is in colour, however small it was.
PHOTOGRAPH_SECONDS = 4e-3
# The same for a call of a model that could not be measured.
UNMEASURED_SECONDS = 0.01

Value = TypeVar("Value")
Contract = TypeVar("Contract", ImageInput, PhotographInput)
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


class Part(NamedTuple):
    """What one model answers of a request; mostly all of it."""

    model: Model
    card: Card
    read: Read
    places: Sequence[int] = ()  # of its rows in the request, where others answer the rest
    named: bool = False  # whether each answer has to say which model gave it


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
class _Asking:
    """What is asked of the models, and how it is told."""

    what: str
    wanted: Callable[[Card], list[str]]  # the graph's outputs that `described` needs
    described: Callable[[Outputs, Part], Sequence[Prediction | Membership]]
    wishes: Wishes = PLAIN


def _asked(card: Card) -> list[str]:
    return card.asked


def _read_of(pictures: Sequence[Picture | Photograph]) -> Read:
    return Read(stack([each.pixels for each in pictures]), [each.warnings for each in pictures])


def few_to_fit(opened: Sequence[Opened], contract: ImageInput | PhotographInput) -> bool:
    return pixels_to_fit(opened, contract) <= INLINE_PIXELS


def never(_opened: Sequence[Opened], _contract: ImageInput | PhotographInput) -> bool:
    return False


def _require_files(upload: Upload, card: Card) -> None:
    """Raises UnsupportedMediaType."""
    if upload.document is not None:
        raise UnsupportedMediaType(f"model {card.name!r} takes {what_it_takes(card)}")


def _in_order(
    parts: Sequence[tuple[Part, Sequence[Prediction | Membership]]],
) -> Sequence[Prediction | Membership | dict[str, object]]:
    """The answers of all parts as the rows came, with the model's name where it has to be told."""
    [(first, entries), *others] = parts
    if not others and not first.named:
        return entries
    placed = {
        place: {"model": part.model.name, **entry} if part.named else entry
        for part, entries in parts
        for place, entry in zip(part.places, entries, strict=True)
    }
    return [placed[place] for place in sorted(placed)]


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

    async def read(self, admission: Admission, size: int, function: Callable[..., Value], *arguments: Any) -> Value:
        """Read a body that will have so many bytes in a thread. It counts as work under way, so that few who bring much
        wait with it."""
        admission.undertake(size * READING_SECONDS)
        return await self.scheduler.decode(0, function, *arguments)

    async def predict(
        self,
        model: Model,
        upload: Upload,
        wishes: Wishes = PLAIN,
        deadline: float | None = None,
        gone: Gone | None = None,
        photographs: Model | None = None,
    ) -> Answer:
        """Raises an AppError for what the model does not take, for too much of it, and beyond the deadline (on the
        clock of `time.perf_counter`); CallerGone if `gone` returns before the model has begun. Pictures that do not
        look like the data set of the model go to the one for `photographs`, if there is one."""

        def described(outputs: Outputs, part: Part) -> Sequence[Prediction]:
            card, read = part.card, part.read
            if read.sheets:
                return predictions_of_sheets(card, outputs, read.batch, read.sheets, wishes)
            if wishes.as_seen:
                return predictions_of_pictures(card, outputs, read.batch, read.noticed, wishes)
            return predictions_of(card, outputs, read.noticed, wishes.top)

        asking = _Asking("predictions", _asked, described, wishes)
        return await self._ask(model, photographs, upload, asking, deadline, gone)

    async def cluster(
        self, model: Model, upload: Upload, deadline: float | None = None, gone: Gone | None = None
    ) -> Answer:
        """As `predict`, of a model that clusters: also the cluster's own middle is told."""

        def described(outputs: Outputs, part: Part) -> Sequence[Membership]:
            return memberships_of(part.card, outputs, part.read.noticed)

        asking = _Asking("clusters", outputs_of_clustering, described)
        return await self._ask(model, None, upload, asking, deadline, gone)

    async def _ask(
        self,
        model: Model,
        photographs: Model | None,
        upload: Upload,
        asking: _Asking,
        deadline: float | None,
        gone: Gone | None,
    ) -> Answer:
        """The one way of pictures, rows and texts."""
        card, wishes = model.require_card(), asking.wishes
        with self.admit(model) as admission:
            if wishes is not PLAIN:
                wishes.require_possible(card, len(upload.files))
            if photographs is None or wishes.many:
                parts = [Part(model, card, await self._read(upload, card, admission, gone, wishes.many))]
            else:
                parts = await self._parts(upload, model, photographs, admission, gone)
                admission.metrics = self.metrics_of(parts[0].model)
            decode_seconds = time.perf_counter() - admission.started
            admission.metrics.decode.observe(decode_seconds)
            ran = [(part, await self._run_part(part, asking, admission, deadline, gone)) for part in parts]

            def answer() -> bytes:
                entries = _in_order([(part, asking.described(outputs, part)) for part, (outputs, _) in ran])
                return orjson.dumps({"model": model.name, "version": str(model.version), asking.what: entries})

            told = sum([output.size for _, (_, result) in ran for output in result.outputs])
            if wishes.as_seen:
                told += sum([part.read.batch.size for part in parts])
            body = answer() if told <= INLINE_NUMBERS else await self.scheduler.decode(0, answer)
            queue = sum([result.queue_seconds for _, (_, result) in ran])
            inference = sum([result.inference_seconds for _, (_, result) in ran])
        return Answer(body, Timings(decode_seconds, queue, inference))

    async def _run_part(
        self, part: Part, asking: _Asking, admission: Admission, deadline: float | None, gone: Gone | None
    ) -> tuple[Outputs, Result]:
        inputs, wanted = {INPUT_NAMES[part.card.input.kind]: part.read.batch}, asking.wanted(part.card)
        result = await self.run(part.model, inputs, wanted, admission, deadline, gone)
        outputs = dict(zip(wanted, result.outputs, strict=True))
        if not part.card.takes_pictures:
            require_finite(outputs)
        return outputs, result

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
        if card.takes_pictures:
            _require_files(upload, card)
            if many and isinstance(card.input, ImageInput):
                sheets = await self._pictures(upload.files, card.input, admission, gone, fit_sheets, at_once=never)
                return Read(stack(rows_of(sheets)), (), sheets)
            return _read_of(await self.read_pictures(upload.files, card, admission, gone))
        if upload.document is None:
            raise UnsupportedMediaType(f"model {card.name!r} takes {what_it_takes(card)}")
        if len(upload.document) <= INLINE_BYTES:
            batch = read_batch(upload.document, card, self.settings.max_rows)
        else:
            size, most = len(upload.document), self.settings.max_rows
            batch = await self.read(admission, size, read_batch, upload.document, card, most)
        return Read(batch, [()] * len(batch))

    async def _parts(
        self, upload: Upload, model: Model, photographs: Model, admission: Admission, gone: Gone | None
    ) -> list[Part]:
        """Each picture to the model that knows its like."""
        card, other = model.require_card(), photographs.require_card()
        assert isinstance(card.input, ImageInput) and isinstance(
            other.input, PhotographInput
        )  # the store has seen to it
        _require_files(upload, card)
        by_looks = partial(fit_by_looks, frame=other.input)
        fitted = await self._pictures(
            upload.files, card.input, admission, gone, by_looks, at_once=all_of_data_set, seconds=PHOTOGRAPH_SECONDS
        )
        places = [place for place, each in enumerate(fitted) if isinstance(each, Photograph)]
        if not places:
            return [Part(model, card, _read_of(fitted))]
        rest = [place for place, each in enumerate(fitted) if not isinstance(each, Photograph)]
        parts = [Part(photographs, other, _read_of([fitted[place] for place in places]), places, named=True)]
        return [Part(model, card, _read_of([fitted[place] for place in rest]), rest), *parts] if rest else parts

    async def read_pictures(
        self, files: Sequence[bytes], card: Card, admission: Admission, gone: Gone | None = None
    ) -> Sequence[Picture | Photograph]:
        """Decoded and fitted as a model of pictures takes them, on the event loop if they are few and small. Raises an
        AppError that says which file is at fault; CallerGone if `gone` returns before a thread has begun."""
        if isinstance(card.input, ImageInput):
            return await self._pictures(files, card.input, admission, gone, fit_pictures)
        assert isinstance(card.input, PhotographInput)
        return await self._pictures(
            files, card.input, admission, gone, fit_photographs, at_once=never, seconds=PHOTOGRAPH_SECONDS
        )

    async def _pictures(
        self,
        files: Sequence[bytes],
        contract: Contract,
        admission: Admission,
        gone: Gone | None,
        fitted: Callable[[Sequence[Opened], Contract], list[Value]],
        at_once: Callable[[Sequence[Opened], Contract], bool] = few_to_fit,
        seconds: float = 0.0,
    ) -> list[Value]:
        """On the event loop if they are few and `at_once` says that they are soon fitted. Each is expected to take
        `seconds` beside its decoding."""
        scheduler, most = self.scheduler, self.settings.max_pixels
        if len(files) > INLINE_FILES:
            opened = await scheduler.decode(0, open_pictures, files, most)
        else:
            opened = open_pictures(files, most)
        if len(files) <= INLINE_FILES and at_once(opened, contract):
            return fitted(opened, contract)
        expected = undecoded_pixels(opened) * PIXEL_SECONDS + len(opened) * seconds
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
        job = self.scheduler.submit(model, self.metrics_of(model), inputs, outputs, deadline, alone, priority)
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
