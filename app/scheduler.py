"""Runs rows through models: what waits goes together, slots are shared fairly, too much is refused.

Batching while busy, without a timer: whatever has come while the model ran is the next batch, and a lone request never
waits. Knows models and arrays; no HTTP, no pictures.
"""

import asyncio
import contextlib
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from app.errors import DeadlineExceeded, Overloaded
from app.metrics import ModelMetrics, WorkerMetrics
from app.model import Model

Array = NDArray[Any]
Value = TypeVar("Value")

# What is expected to take less runs at once, on the event loop: a trip to a thread and back costs more, and no other
# caller waits noticeably for it.
INLINE_SECONDS = 0.002
# Of threads that compute, more than the event loop's.
NICENESS = 10
# How much the last job says of the pace, beside those before.
PACE_SHARE = 0.1
# Within these, so that no odd picture makes a worker refuse others.
PACES = (0.5, 4.0)
# The Open Inference Protocol's 0, "the default", lies between what goes before (1 to 99) and behind.
USUAL_PRIORITY = 100


class Result(NamedTuple):
    outputs: list[Array]
    queue_seconds: float
    inference_seconds: float


class Done(NamedTuple):
    """A job with its outputs, or with what went wrong."""

    job: "Job"
    outputs: list[Array] | None
    error: Exception | None


@dataclass(eq=False, slots=True)
class Job:
    """The rows of one request. `deadline` is on the clock of `time.perf_counter`."""

    inputs: dict[str, Array]
    rows: int
    weight: float  # rows of the size that was measured
    future: "asyncio.Future[Result]"
    deadline: float | None
    entered: float
    priority: int
    alarm: asyncio.TimerHandle | None = None  # for the deadline, once the job has to wait


@dataclass(eq=False, slots=True)
class Queue:
    """Jobs that can go together: one model, the same outputs, types and shapes."""

    key: tuple[Any, ...]
    model: Model
    outputs: list[str]
    metrics: ModelMetrics
    alone: bool
    jobs: deque[Job] = field(default_factory=deque)
    rows: int = 0
    weight: float = 0.0

    @property
    def merges(self) -> bool:
        return self.model.profile.merges and not self.alone


class Scheduler:
    """One per worker, used from its event loop alone. `slots` batches run in threads at once, beside those that are
    so short that they run on the loop."""

    def __init__(
        self,
        metrics: WorkerMetrics,
        *,
        slots: int = 1,
        max_queue: int = 128,
        max_wait: float = 0.25,
        max_batch: int = 64,
        max_delay: float = 0.0,
    ) -> None:
        self.metrics, self.slots = metrics, slots
        self.max_queue, self.max_wait, self.max_batch, self.max_delay = max_queue, max_wait, max_batch, max_delay
        self.admitted, self.work = 0, 0.0  # requests under way, and the seconds that they are expected to take
        self.pace = 1.0  # seconds that an expected second of decoding takes
        metrics.gauge("queued_requests", 0)  # another worker may have died in this one's place
        self._queues: dict[tuple[Any, ...], Queue] = {}
        self._free_slots = slots
        self._inference = ThreadPoolExecutor(slots, "inference", _yield_to_the_loop)
        self._decoding = ThreadPoolExecutor(slots, "decoding", _yield_to_the_loop)
        self._turn_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        # Jobs with a deadline that no turn has seen yet: most are run in the next one and need no alarm.
        self._unseen: dict[Job, Queue] = {}
        # Fair queueing by time: the queue whose model has been served least goes first, and none saves up while idle.
        self._served: WeakKeyDictionary[Model, float] = WeakKeyDictionary()
        self._virtual_time = 0.0

    def close(self) -> None:
        for pool in (self._inference, self._decoding):
            pool.shutdown(wait=False, cancel_futures=True)

    def require_room(self, metrics: ModelMetrics) -> None:
        """Raises Overloaded if a request that came now would be refused, whatever it costs."""
        # In no variable: errors whose traceback has the frame that has the error hold a body until they are collected.
        if self.is_full:
            metrics.add("queue_full")
            raise self.refusal_when_full()
        wait = self.work / self.slots
        if wait > self.max_wait:
            metrics.add("queue_full")
            raise self._refusal(
                f"the work under way takes {1_000 * wait:,.0f} ms, and a request waits {1_000 * self.max_wait:,.0f} ms "
                "at most (PERCEPT_MAX_WAIT_MS)"
            )

    @property
    def is_full(self) -> bool:
        return self.admitted >= self.max_queue

    @property
    def retry_seconds(self) -> int:
        return max(1, math.ceil(self.work / self.slots))

    def refusal_when_full(self) -> Overloaded:
        """The same words as long as `retry_seconds` are the same."""
        limit = self.max_queue
        return self._refusal(f"{limit} requests are under way, and {limit} may be (PERCEPT_MAX_QUEUE)")

    def admit(self, metrics: ModelMetrics) -> None:
        """Before any work is put into a request. Raises Overloaded as `require_room` does. Every admission is followed
        by a `release`."""
        self.require_room(metrics)
        self.admitted += 1
        self.metrics.gauge("queued_requests", self.admitted)

    def undertake(self, seconds: float) -> None:
        """When it is known what an admitted request will cost; one of any size is taken once it is admitted."""
        self.work += seconds

    def release(self, seconds: float) -> None:
        """`seconds` are those that were undertaken."""
        self.admitted -= 1
        self.work = self.work - seconds if self.admitted else 0.0  # so that rounding does not add up
        self.metrics.gauge("queued_requests", self.admitted)

    def _refusal(self, reason: str) -> Overloaded:
        return Overloaded(f"{reason}; try again", {"Retry-After": str(self.retry_seconds)})

    async def decode(self, seconds: float, function: Callable[..., Value], *arguments: Any) -> Value:
        """Run work that is not inference in a thread; as many at once as there are slots. From what it takes, and was
        expected to take, it is learned how quick this machine is at this moment."""
        value, taken = await asyncio.get_running_loop().run_in_executor(self._decoding, _timed, function, *arguments)
        if seconds:
            self.pace += PACE_SHARE * (min(max(taken / seconds, PACES[0]), PACES[1]) - self.pace)
        return value

    def submit(
        self,
        model: Model,
        metrics: ModelMetrics,
        inputs: dict[str, Array],
        outputs: list[str],
        deadline: float | None = None,
        alone: bool = False,
        priority: int = 0,
    ) -> Job:
        """Queue inputs that are already right in type and shape. The job's future gets a Result, or raises what the
        model raised, or DeadlineExceeded; cancelling it drops what no batch has taken yet. A job that is to be run
        `alone` is neither put together with others nor split. Priority 1 is the highest; 0 is that of most jobs."""
        first = next(iter(inputs.values()))
        rows = len(first) if model.profile.batched and first.ndim else 1
        alone = alone or not model.profile.independent or rows == 0
        rows = max(1, rows)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        job = Job(
            inputs,
            rows,
            model.profile.weight(inputs),
            future,
            deadline,
            time.perf_counter(),
            priority or USUAL_PRIORITY,
        )
        queue = self._queue(model, metrics, inputs, outputs, job if alone else None)
        _insert(queue.jobs, job)
        queue.rows += rows
        queue.weight += job.weight
        if deadline is not None:
            self._unseen[job] = queue
        self._turn_soon()
        return job

    def runs_inline(self, model: Model, weight: float) -> bool:
        return model.profile.estimate(weight) <= INLINE_SECONDS

    def _queue(
        self, model: Model, metrics: ModelMetrics, inputs: dict[str, Array], outputs: list[str], alone: Job | None
    ) -> Queue:
        alike = tuple([(name, array.dtype, array.shape[1:]) for name, array in inputs.items()])
        key = (model, alone, alike, *outputs)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = Queue(key, model, outputs, metrics, alone is not None)
            self._served[model] = max(self._served.get(model, 0.0), self._virtual_time)
        return queue

    def _turn_soon(self) -> None:
        """After what the loop has already in hand, so that requests that came together go together."""
        if not self._turn_is_due:
            self._turn_is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Start batches on free slots; of those that run on the loop one, then the loop looks after its callers."""
        self._turn_is_due = False
        for queue in sorted(self._queues.values(), key=self._turn_of):
            if self._wait(queue) != 0:
                continue
            inline, batch = self._next_is_inline(queue), self._take(queue)
            if not queue.jobs:
                del self._queues[queue.key]
            if not batch:
                continue
            # A queue that had to wait for a slot may lag behind; time does not go back to it.
            self._virtual_time = max(self._virtual_time, self._served[queue.model])
            if inline:
                self._finish(queue, *_run(queue, batch, self.max_batch))
                break
            self._start(queue, batch)
        if self._unseen:
            self._set_alarms()
        if self._queues or self._timer:
            self._come_back()

    def _turn_of(self, queue: Queue) -> tuple[float, int, float]:
        """Less served models first; of one model's queues the one whose next job has priority, or has come before."""
        return self._served[queue.model], queue.jobs[0].priority, queue.jobs[0].entered

    def _come_back(self) -> None:
        """See to it that there is another turn, now or in time, if a queue can go on without a slot becoming free."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = [wait for wait in map(self._wait, self._queues.values()) if wait is not None]
        if not waits:
            return
        if (wait := min(waits)) > 0:
            self._timer = asyncio.get_running_loop().call_later(wait, self._turn_soon)
        else:
            self._turn_soon()

    def _wait(self, queue: Queue) -> float | None:
        """Seconds until the next batch may begin; None if it needs a slot and there is none."""
        if not self._free_slots and not self._next_is_inline(queue):
            return None
        if not self.max_delay or not queue.merges or queue.rows >= self.max_batch:
            return 0.0
        return max(0.0, queue.jobs[0].entered + self.max_delay - time.perf_counter())

    def _next_is_inline(self, queue: Queue) -> bool:
        """A job that is larger than a batch is a batch of its own."""
        weight = queue.jobs[0].weight
        if queue.merges:
            weight = min(queue.weight, max(weight, self.max_batch * queue.weight / queue.rows))
        return self.runs_inline(queue.model, weight)

    def _take(self, queue: Queue) -> list[Job]:
        """The next batch: at least one job, then as many as fit. Those whose caller has gone or whose time is over
        are dropped on the way."""
        batch: list[Job] = []
        rows, now = 0, time.perf_counter()
        while queue.jobs:
            job = queue.jobs[0]
            if batch and (rows + job.rows > self.max_batch or not queue.merges):
                break
            queue.jobs.popleft()
            queue.rows -= job.rows
            queue.weight -= job.weight
            if job.deadline is not None:
                self._unset_alarm(job)
            if job.future.cancelled():
                queue.metrics.add("client_gone")
            elif job.deadline is not None and now > job.deadline:
                _tell_that_time_is_over(queue, job)
            else:
                batch.append(job)
                rows += job.rows
        return batch

    def _set_alarms(self) -> None:
        """A job that has to wait is told when its time is over, not when its queue is looked at again."""
        loop, now = asyncio.get_running_loop(), time.perf_counter()
        for job, queue in self._unseen.items():
            assert job.deadline is not None
            job.alarm = loop.call_later(max(0.0, job.deadline - now), self._give_up, queue, job)
        self._unseen.clear()

    def _unset_alarm(self, job: Job) -> None:
        self._unseen.pop(job, None)
        if job.alarm is not None:
            job.alarm.cancel()
            job.alarm = None

    def _give_up(self, queue: Queue, job: Job) -> None:
        """The time of a job that still waits is over. One that is cancelled, too, is dropped by `_take`."""
        job.alarm = None
        if job.future.done():
            return
        queue.jobs.remove(job)
        queue.rows -= job.rows
        queue.weight -= job.weight
        if queue.jobs:
            self._turn_soon()  # what is first now may need no slot
        else:
            del self._queues[queue.key]
        _tell_that_time_is_over(queue, job)

    def _start(self, queue: Queue, batch: list[Job]) -> None:
        loop = asyncio.get_running_loop()
        self._free_slots -= 1

        def work() -> None:
            done = _run(queue, batch, self.max_batch)
            loop.call_soon_threadsafe(self._slot_is_free, queue, *done)

        self._inference.submit(work)

    def _slot_is_free(self, queue: Queue, done: Sequence[Done], started: float, ended: float) -> None:
        self._free_slots += 1
        self._finish(queue, done, started, ended)
        if self._queues:
            self._turn_soon()

    def _finish(self, queue: Queue, done: Sequence[Done], started: float, ended: float) -> None:
        seconds = ended - started
        queue.metrics.batch(sum(job.rows for job, _, _ in done), seconds, time.time() * 1_000)
        self._served[queue.model] = self._served.get(queue.model, self._virtual_time) + seconds
        for job, outputs, error in done:
            waited = started - job.entered
            queue.metrics.queue.observe(waited)
            if job.future.done():  # cancelled while it ran
                queue.metrics.add("client_gone")
                continue
            if outputs is None:
                job.future.set_exception(error or RuntimeError("the model gave no answer"))
            else:
                job.future.set_result(Result(outputs, waited, seconds))


def _yield_to_the_loop() -> None:
    """Threads that compute let the event loop go first where they share a core: it answers, and refuses, at once."""
    if sys.platform != "linux":  # elsewhere it would be the whole process
        return
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)


def _timed(function: Callable[..., Value], *arguments: Any) -> tuple[Value, float]:
    started = time.perf_counter()
    value = function(*arguments)
    return value, time.perf_counter() - started


def _tell_that_time_is_over(queue: Queue, job: Job) -> None:
    queue.metrics.add("deadline")
    job.future.set_exception(DeadlineExceeded("the time that the caller allows was over in the queue"))


def _insert(jobs: deque[Job], job: Job) -> None:
    """Behind those of its priority."""
    place = len(jobs)
    while place and jobs[place - 1].priority > job.priority:
        place -= 1
    jobs.insert(place, job)


def _run(queue: Queue, batch: Sequence[Job], max_batch: int) -> tuple[list[Done], float, float]:
    """All jobs in one call of the model; if that fails each alone, so that a bad row harms no neighbour."""
    started = time.perf_counter()
    done: list[Done]
    try:
        done = _run_together(queue, batch, max_batch)
    except Exception as error:  # onnxruntime has no common class for its exceptions
        done = [_failed(batch[0], error)] if len(batch) == 1 else _run_singly(queue, batch, max_batch)
    return done, started, time.perf_counter()


def _run_together(queue: Queue, batch: Sequence[Job], max_batch: int) -> list[Done]:
    if len(batch) == 1:
        return [Done(batch[0], _run_in_parts(queue, batch[0], max_batch), None)]
    inputs = {name: np.concatenate([job.inputs[name] for job in batch]) for name in batch[0].inputs}
    answers = queue.model.run(inputs, queue.outputs)
    done, start = [], 0
    for job in batch:
        end = start + job.rows
        done.append(Done(job, [answer[start:end] for answer in answers], None))
        start = end
    return done


def _run_in_parts(queue: Queue, job: Job, max_batch: int) -> list[Array]:
    """A job of very many rows goes in parts: its memory stays within bounds, and so do the processor's caches."""
    if queue.alone or job.rows <= max_batch:
        return queue.model.run(job.inputs, queue.outputs)
    parts = [
        queue.model.run({name: array[start : start + max_batch] for name, array in job.inputs.items()}, queue.outputs)
        for start in range(0, job.rows, max_batch)
    ]
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def _run_singly(queue: Queue, batch: Sequence[Job], max_batch: int) -> list[Done]:
    done = []
    for job in batch:
        try:
            done.append(Done(job, _run_in_parts(queue, job, max_batch), None))
        except Exception as error:
            done.append(_failed(job, error))
    return done


def _failed(job: Job, error: Exception) -> Done:
    """Without the traceback, which has frames that have the job, whose future will have the error: a circle."""
    return Done(job, None, error.with_traceback(None))
