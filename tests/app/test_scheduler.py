"""Rows of several callers go together, each gets its own answer, and nobody waits for nothing or for ever."""

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import pytest
import uvloop
from numpy.typing import NDArray
from onnx import TensorProto, helper

from app.errors import DeadlineExceeded, Overloaded
from app.metrics import Metrics, Totals
from app.model import Model, load_model
from app.profile import Profile
from app.runtime import CPU
from app.scheduler import NICENESS, Job, Result, Scheduler
from tests.conftest import ROOT
from tests.onnx_models import (
    SIDE,
    brightness_graph,
    doubling_graph,
    graph_of,
    mixing_graph,
    picking_graph,
    slow_graph,
    write_model,
)

Value = TypeVar("Value")
FLOAT = TensorProto.FLOAT

PATIENCE = 30
# A profile says where a model runs and whether it merges; real ones say it too, but not on a machine with other work.
CHEAP = Profile({1: 1e-5, 4: 2e-5, 16: 5e-5}, independent=True, merges=True, reason="")
DEAR = Profile({1: 1.0}, independent=True, merges=False, reason="")
SLOW_WIDTH = 512


@dataclass
class Bench:
    """A scheduler and what its worker counted."""

    scheduler: Scheduler
    metrics: Metrics

    def submit(self, model: Model, *rows: Any, deadline: float | None = None, output: str = "y") -> Job:
        [node] = model.session.get_inputs()
        kind = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8}[node.type]
        return self.submit_array(model, np.array(rows, kind), deadline, output)

    def submit_array(self, model: Model, array: NDArray[Any], deadline: float | None = None, output: str = "y") -> Job:
        [node] = model.session.get_inputs()
        return self.scheduler.submit(model, self._of(model), {node.name: array}, [output], deadline)

    def _of(self, model: Model) -> Any:
        return self.metrics.workers[0].model(model.name, str(model.version))

    def totals(self, model: Model) -> Totals:
        return self.metrics.model_totals()[model.name, str(model.version)]

    def batches(self, model: Model) -> dict[int, int]:
        """How many calls of the model there were by their rows."""
        counts = self.totals(model).values("batch_count")
        return {rows: int(count) for rows, count in enumerate(counts) if count}

    def gauge(self) -> float:
        return self.metrics.worker_totals().value("queued_requests")


def run(
    function: Callable[[Bench], Awaitable[Value]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    **limits: Any,
) -> Value:
    """With a scheduler on an event loop of its own, to which nothing happens that nobody is told of."""
    unheard = []

    async def main() -> Value:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context))
        metrics = Metrics()
        bench = Bench(Scheduler(metrics.workers[0], **limits), metrics)
        try:
            return await asyncio.wait_for(function(bench), PATIENCE)
        finally:
            bench.scheduler.close()
            gc.collect()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        value = runner.run(main())
    assert unheard == []
    return value


async def answers(*jobs: Job) -> list[Any]:
    """The first output of each, or what was raised."""
    results = await asyncio.gather(*(job.future for job in jobs), return_exceptions=True)
    return [result.outputs[0].tolist() if isinstance(result, Result) else result for result in results]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Model]:
    folder = tmp_path_factory.mktemp("models")

    def load_once(name: str, graph: onnx.ModelProto, profile: Profile | None = CHEAP) -> Model:
        path = folder / name / "1" / "model.onnx"
        if not path.exists():
            write_model(folder, graph, name)
        model = load_model(name, 1, Path(path), [CPU])
        return replace(model, profile=profile) if profile else model

    return load_once


@pytest.fixture
def doubling(load: Callable[..., Model]) -> Model:
    return load("doubling", doubling_graph(1))


@pytest.fixture
def picking(load: Callable[..., Model]) -> Model:
    return load("picking", picking_graph())


@pytest.fixture
def mixing(load: Callable[..., Model]) -> Model:
    """As it is measured: not independent."""
    return load("mixing", mixing_graph(), None)


@pytest.fixture
def slow(load: Callable[..., Model]) -> Model:
    """Some milliseconds."""
    return load("slow", slow_graph(100, SLOW_WIDTH), replace(DEAR, seconds={1: 0.01}))


ONE = np.ones((1, SLOW_WIDTH), np.float32)


# Answers and batches.


def test_lone_job_is_answered(doubling: Model) -> None:
    async def lone(bench: Bench) -> None:
        [[[answer]]] = await answers(bench.submit(doubling, [21]))

        assert answer == 42
        assert bench.batches(doubling) == {1: 1}

    run(lone)


def test_result_says_how_long_the_model_took_and_the_job_waited(slow: Model) -> None:
    async def two(bench: Bench) -> None:
        first, second = [bench.submit_array(slow, ONE) for _ in range(2)]
        one, two = await first.future, await second.future

        assert one.inference_seconds > 0
        assert two.queue_seconds >= one.queue_seconds + one.inference_seconds
        total = bench.totals(slow)
        assert total.values("inference")[-1] == pytest.approx(one.inference_seconds + two.inference_seconds)
        assert total.values("queue")[-1] == pytest.approx(one.queue_seconds + two.queue_seconds)
        assert total.values("batch_seconds")[1] == pytest.approx(one.inference_seconds + two.inference_seconds)

    run(two)


@pytest.mark.parametrize("sizes", [[1] * 10, [1, 3, 2], [64], [1, 63], [32, 32]])
def test_jobs_that_come_together_run_together_and_get_their_own_answers(doubling: Model, sizes: list[int]) -> None:
    async def together(bench: Bench) -> None:
        jobs = [bench.submit(doubling, *[[100 * job + row] for row in range(size)]) for job, size in enumerate(sizes)]

        assert await answers(*jobs) == [
            [[200 * job + 2 * row] for row in range(size)] for job, size in enumerate(sizes)
        ]
        assert bench.batches(doubling) == {sum(sizes): 1}

    run(together)


def test_jobs_of_tasks_that_begin_together_run_together(doubling: Model) -> None:
    async def tasks(bench: Bench) -> None:
        async def one(number: int) -> float:
            result = await bench.submit(doubling, [number]).future
            return float(result.outputs[0][0, 0])

        assert await asyncio.gather(*map(one, range(20))) == [2 * number for number in range(20)]
        assert bench.batches(doubling) == {20: 1}

    run(tasks)


def test_jobs_that_come_while_the_model_runs_are_the_next_batch(slow: Model) -> None:
    merging = replace(slow, profile=replace(slow.profile, merges=True))

    async def meanwhile(bench: Bench) -> None:
        first = bench.submit_array(merging, ONE)
        await asyncio.sleep(0)  # its turn
        await asyncio.sleep(0)
        others = [bench.submit_array(merging, number * ONE) for number in range(7)]

        assert [answer[0][0] for answer in await answers(first, *others)] == [1, 0, 1, 2, 3, 4, 5, 6]
        assert bench.batches(merging) == {1: 1, 7: 1}

    run(meanwhile)


def test_merged_answers_of_a_served_model_are_those_of_single_ones() -> None:
    cnn = load_model("mnist-cnn", 1, ROOT / "artifacts/mnist-cnn/1/model.onnx", [CPU])
    cnn = replace(cnn, profile=replace(cnn.profile, merges=True, seconds=CHEAP.seconds))
    pictures = np.random.default_rng(0).integers(0, 256, (33, 28, 28), np.uint8)

    async def merged(bench: Bench) -> None:
        jobs = [bench.submit_array(cnn, picture[np.newaxis], output="probabilities") for picture in pictures]
        together = np.concatenate(await answers(*jobs))

        assert bench.batches(cnn) == {33: 1}
        alone = [cnn.run({"image": picture[np.newaxis]}, ["probabilities"])[0] for picture in pictures]
        np.testing.assert_allclose(together, np.concatenate(alone), rtol=0, atol=1e-6)

    run(merged)


def test_other_models_are_other_batches(doubling: Model, load: Callable[..., Model]) -> None:
    other = load("other", doubling_graph(1))

    async def two_models(bench: Bench) -> None:
        jobs = [bench.submit(model, [number]) for number in range(3) for model in (doubling, other)]

        assert await answers(*jobs) == [[[0]], [[0]], [[2]], [[2]], [[4]], [[4]]]
        assert (bench.batches(doubling), bench.batches(other)) == ({3: 1}, {3: 1})

    run(two_models)


def test_other_outputs_are_other_batches(load: Callable[..., Model]) -> None:
    graph = graph_of(
        [helper.make_node("Add", ["x", "x"], ["sum"]), helper.make_node("Mul", ["x", "x"], ["square"])],
        {"x": (FLOAT, ["batch", 1])},
        {"sum": (FLOAT, ["batch", 1]), "square": (FLOAT, ["batch", 1])},
    )
    model = load("sum-and-square", graph)

    async def two_outputs(bench: Bench) -> None:
        jobs = [bench.submit(model, [5], output=output) for output in ("sum", "square", "sum")]

        assert await answers(*jobs) == [[[10]], [[25]], [[10]]]
        assert bench.batches(model) == {1: 1, 2: 1}

    run(two_outputs)


def test_other_shapes_are_other_batches(load: Callable[..., Model]) -> None:
    graph = graph_of(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        {"x": (FLOAT, ["batch", "any"])},
        {"y": (FLOAT, ["batch", "any"])},
    )
    model = load("any-width", graph)

    async def two_shapes(bench: Bench) -> None:
        jobs = [bench.submit(model, row) for row in ([1], [1, 2], [3], [3, 4])]

        assert await answers(*jobs) == [[[2]], [[2, 4]], [[6]], [[6, 8]]]
        assert bench.batches(model) == {2: 2}

    run(two_shapes)


def test_other_types_are_other_batches(doubling: Model) -> None:
    """The model takes float32; np.concatenate would have made float64 of all."""

    async def two_types(bench: Bench) -> None:
        wrong = bench.submit_array(doubling, np.ones((1, 1)))
        right = [bench.submit(doubling, [number]) for number in (1, 2)]
        error, *values = await answers(wrong, *right)

        assert "Unexpected input data type" in str(error)
        assert values == [[[2]], [[4]]]
        assert bench.batches(doubling) == {1: 1, 2: 1}

    run(two_types)


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([1] * 10, {4: 2, 2: 1}),
        ([3, 3, 3], {3: 3}),
        ([2, 2, 2], {4: 1, 2: 1}),
        ([1, 4, 1], {1: 2, 4: 1}),
        ([1, 9, 1], {1: 2, 9: 1}),
    ],
)
def test_batches_have_no_more_rows_than_allowed(doubling: Model, sizes: list[int], batches: dict[int, int]) -> None:
    async def bounded(bench: Bench) -> None:
        jobs = [bench.submit(doubling, *[[job]] * size) for job, size in enumerate(sizes)]

        assert await answers(*jobs) == [[[2 * job]] * size for job, size in enumerate(sizes)]
        assert bench.batches(doubling) == batches

    run(bounded, max_batch=4)


def test_job_larger_than_a_batch_goes_in_parts_and_equals_the_whole(doubling: Model, mixing: Model) -> None:
    """The second model shows the parts: it takes the mean of each away."""
    mixing = replace(mixing, profile=CHEAP)

    async def parts(bench: Bench) -> None:
        whole, shown = await answers(
            bench.submit(doubling, *[[row] for row in range(11)]),
            bench.submit(mixing, *[[row] * 3 for row in (0, 2, 10, 20, 7)]),
        )

        assert whole == [[2 * row] for row in range(11)]
        assert [row[0] for row in shown] == [-1, 1, -5, 5, 0]
        assert bench.batches(doubling) == {11: 1}

    run(parts, max_batch=2)


def test_model_that_mixes_rows_is_neither_merged_nor_split(mixing: Model) -> None:
    assert not mixing.profile.independent

    async def whole(bench: Bench) -> None:
        long, short = await answers(
            bench.submit(mixing, *[[row] * 3 for row in (0, 2, 10, 20, 8)]),
            bench.submit(mixing, *[[row] * 3 for row in (0, 100)]),
        )

        assert [row[0] for row in long] == [-8, -6, 2, 12, 0]
        assert [row[0] for row in short] == [-50, 50]
        assert bench.batches(mixing) == {5: 1, 2: 1}

    run(whole, max_batch=4)


def test_model_without_a_batch_axis_runs_each_job_as_one_row(load: Callable[..., Model]) -> None:
    graph = graph_of([helper.make_node("Add", ["x", "x"], ["y"])], {"x": (FLOAT, [3])}, {"y": (FLOAT, [3])})
    model = load("three", graph, None)

    async def three(bench: Bench) -> None:
        assert await answers(bench.submit(model, 1, 2, 3), bench.submit(model, 4, 5, 6)) == [[2, 4, 6], [8, 10, 12]]
        assert bench.batches(model) == {1: 2}

    run(three, max_batch=2)


def test_model_that_does_not_merge_runs_each_job_alone(doubling: Model) -> None:
    model = replace(doubling, profile=replace(CHEAP, merges=False))

    async def alone(bench: Bench) -> None:
        assert await answers(*(bench.submit(model, [number]) for number in range(5))) == [
            [[2 * number]] for number in range(5)
        ]
        assert bench.batches(model) == {1: 5}

    run(alone)


def test_batches_beyond_the_exact_sizes_are_counted_together(doubling: Model) -> None:
    async def long(bench: Bench) -> None:
        await answers(bench.submit(doubling, *[[0]] * 65))

        assert bench.totals(doubling).values("batch_count")[0] == 1

    run(long)


# What goes wrong harms nobody else.


def test_bad_row_harms_no_neighbour(picking: Model) -> None:
    async def bad(bench: Bench) -> None:
        jobs = [bench.submit(picking, [index]) for index in (1, 7, 3, -9, 4)]
        one, error, three, another, four = await answers(*jobs)

        assert (one, three, four) == ([[10]], [[30]], [[40]])
        assert "out of data bounds" in str(error)
        assert "out of data bounds" in str(another)
        assert await answers(bench.submit(picking, [2])) == [[[20]]]

    run(bad)


def test_bad_job_in_a_thread_gives_its_slot_back(picking: Model) -> None:
    model = replace(picking, profile=DEAR)

    async def bad(bench: Bench) -> None:
        for _ in range(3):
            [error] = await answers(bench.submit(model, [7]))
            assert "out of data bounds" in str(error)
        assert await answers(bench.submit(model, [2])) == [[[20]]]

    run(bad)


def test_output_that_is_not_there_is_told(doubling: Model) -> None:
    async def unknown(bench: Bench) -> None:
        jobs = [bench.submit(doubling, [number], output="z") for number in range(2)]

        assert all(isinstance(answer, Exception) for answer in await answers(*jobs))

    run(unknown)


def test_job_whose_caller_has_gone_is_not_run(doubling: Model) -> None:
    async def gone(bench: Bench) -> None:
        jobs = [bench.submit(doubling, [number]) for number in range(3)]
        jobs[1].future.cancel()

        assert await answers(jobs[0], jobs[2]) == [[[0]], [[4]]]
        assert bench.batches(doubling) == {2: 1}
        assert bench.totals(doubling).value("client_gone") == 1

    run(gone)


def test_when_all_callers_have_gone_nothing_is_run_and_later_ones_are_answered(doubling: Model) -> None:
    async def gone(bench: Bench) -> None:
        for _ in range(2):
            for job in [bench.submit(doubling, [0]) for _ in range(3)]:
                job.future.cancel()
            await asyncio.sleep(0.01)

        assert bench.batches(doubling) == {}
        assert bench.totals(doubling).value("client_gone") == 6
        assert await answers(bench.submit(doubling, [1])) == [[[2]]]

    run(gone)


def test_caller_who_goes_while_the_model_runs_gives_the_slot_back(slow: Model) -> None:
    async def gone(bench: Bench) -> None:
        job = bench.submit_array(slow, ONE)
        await asyncio.sleep(0.001)
        job.future.cancel()

        assert [answer[0][0] for answer in await answers(bench.submit_array(slow, 5 * ONE))] == [5]

    run(gone)


def test_job_whose_time_is_over_is_not_run(doubling: Model) -> None:
    async def late(bench: Bench) -> None:
        now = time.perf_counter()
        error, answer = await answers(
            bench.submit(doubling, [1], deadline=now - 0.001), bench.submit(doubling, [2], deadline=now + PATIENCE)
        )

        assert isinstance(error, DeadlineExceeded)
        assert error.detail == "the time that the caller allows was over in the queue"
        assert answer == [[4]]
        assert bench.batches(doubling) == {1: 1}
        assert bench.totals(doubling).value("deadline") == 1

    run(late)


def test_time_that_is_over_behind_a_slow_model_is_over(slow: Model) -> None:
    async def late(bench: Bench) -> None:
        first = bench.submit_array(slow, ONE)
        second = bench.submit_array(slow, ONE, time.perf_counter() + 1e-5)
        answer, error = await answers(first, second)

        assert answer[0][0] == 1
        assert isinstance(error, DeadlineExceeded)
        assert bench.batches(slow) == {1: 1}

    run(late)


LONG = np.ones((1_024, SLOW_WIDTH), np.float32)  # a fraction of a second of the slow model


def test_job_behind_a_slow_model_is_told_when_its_time_is_over(slow: Model) -> None:
    async def waiting(bench: Bench) -> None:
        first = bench.submit_array(slow, LONG)
        second = bench.submit_array(slow, ONE, time.perf_counter() + 0.01)
        third = bench.submit_array(slow, 3 * ONE, time.perf_counter() + PATIENCE)
        [error] = await answers(second)

        assert not first.future.done()
        assert isinstance(error, DeadlineExceeded)
        assert (await answers(third))[0][0][0] == 3
        assert sum(bench.batches(slow).values()) == 2
        assert bench.totals(slow).value("deadline") == 1
        assert (bench.scheduler._queues, bench.scheduler._unseen) == ({}, {})
        assert third.alarm is None

    run(waiting)


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop])
def test_job_that_waits_alone_leaves_no_queue_behind_when_its_time_is_over(
    slow: Model, doubling: Model, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
) -> None:
    dear = replace(doubling, profile=DEAR)

    async def waiting(bench: Bench) -> None:
        first = bench.submit_array(slow, LONG)
        await asyncio.sleep(0)
        [error] = await answers(bench.submit(dear, [1], deadline=time.perf_counter() + 0.01))

        assert not first.future.done()
        assert isinstance(error, DeadlineExceeded)
        assert bench.scheduler._queues == {}
        assert (await answers(first, bench.submit(dear, [2])))[1] == [[4]]
        assert bench.batches(dear) == {1: 1}

    run(waiting, loop_factory)


def test_job_that_needs_no_slot_does_not_wait_behind_one_whose_time_is_over(slow: Model, doubling: Model) -> None:
    uneven = replace(doubling, profile=Profile({1: 1e-5, 16: 1.0}, independent=True, merges=False, reason=""))

    async def waiting(bench: Bench) -> None:
        long = bench.submit_array(slow, LONG)
        await asyncio.sleep(0)
        many = bench.submit(uneven, *[[0]] * 16, deadline=time.perf_counter() + 0.01)
        error, answer = await answers(many, bench.submit(uneven, [1]))

        assert not long.future.done()
        assert isinstance(error, DeadlineExceeded)
        assert answer == [[2]]

    run(waiting)


def test_what_has_begun_in_time_is_answered(slow: Model) -> None:
    async def begun(bench: Bench) -> None:
        started = time.perf_counter()
        [answer] = await answers(bench.submit_array(slow, LONG, started + 0.01))

        assert time.perf_counter() - started > 0.01
        assert answer[0][0] == 1
        assert bench.totals(slow).value("deadline") == 0

    run(begun)


def test_caller_who_has_gone_is_not_told_that_his_time_is_over(slow: Model) -> None:
    async def gone(bench: Bench) -> None:
        first = bench.submit_array(slow, LONG)
        second = bench.submit_array(slow, ONE, time.perf_counter() + 0.01)
        await asyncio.sleep(0)
        second.future.cancel()
        await answers(first)
        await asyncio.sleep(0.02)

        assert [bench.totals(slow).value(count) for count in ("client_gone", "deadline")] == [1, 0]

    run(gone)


# Too much is refused.


def test_requests_beyond_the_bound_are_refused_until_others_have_gone(doubling: Model) -> None:
    async def bounded(bench: Bench) -> None:
        scheduler, metrics = bench.scheduler, bench._of(doubling)
        for _ in range(2):
            scheduler.admit(metrics)
        with pytest.raises(Overloaded, match=r"2 requests are under way, and 2 may be \(PERCEPT_MAX_QUEUE\)") as error:
            scheduler.admit(metrics)

        assert error.value.headers == {"Retry-After": "1"}
        assert (scheduler.admitted, bench.gauge()) == (2, 2)
        scheduler.release(0.0)
        scheduler.admit(metrics)
        with pytest.raises(Overloaded):
            scheduler.admit(metrics)
        scheduler.release(0.0)
        scheduler.release(0.0)
        assert (scheduler.admitted, bench.gauge()) == (0, 0)
        assert bench.totals(doubling).value("queue_full") == 2

    run(bounded, max_queue=2)


def test_work_that_would_wait_too_long_is_refused(doubling: Model) -> None:
    async def bounded(bench: Bench) -> None:
        scheduler, metrics = bench.scheduler, bench._of(doubling)
        for _ in range(2):
            scheduler.admit(metrics)
        scheduler.undertake(5.0)  # of any size, when nothing else is under way
        with pytest.raises(
            Overloaded, match=r"under way takes 2,500 ms, and a request waits 1,000 ms at most"
        ) as error:
            scheduler.admit(metrics)

        assert error.value.headers == {"Retry-After": "3"}
        scheduler.release(5.0)
        scheduler.admit(metrics)
        scheduler.undertake(0.5)
        scheduler.release(0.5)
        scheduler.release(0.0)
        assert (scheduler.work, scheduler.admitted) == (0.0, 0)

    run(bounded, max_wait=1.0, slots=2)


def test_requests_of_a_worker_that_died_are_forgotten_by_its_successor() -> None:
    metrics = Metrics()
    metrics.workers[0].gauge("queued_requests", 7)
    Scheduler(metrics.workers[0]).close()

    assert metrics.worker_totals().value("queued_requests") == 0


# Where work runs.


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process has one priority for all its threads")
def test_threads_that_compute_let_the_loop_go_first() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def compare(bench: Bench) -> None:
        before = niceness()
        assert await bench.scheduler.decode(0, niceness) == min(19, before + NICENESS)
        assert bench.scheduler._inference.submit(niceness).result() == min(19, before + NICENESS)
        assert niceness() == before

    run(compare)


def test_short_work_runs_on_the_loop_and_long_work_does_not(doubling: Model) -> None:
    async def where(bench: Bench) -> None:
        for seconds, rows, inline in (
            ({1: 0.002}, 1, True),
            ({1: 0.0021}, 1, False),
            ({1: 0.0001, 4: 0.0002, 16: 0.0004}, 64, True),
            ({1: 0.0001, 4: 0.0002, 16: 0.0004}, 200, False),  # in parts of 64, but all of them at once
            ({}, 1, False),
        ):
            model = replace(doubling, profile=Profile(seconds, True, True, ""))
            assert bench.scheduler.runs_inline(model, rows) is inline, (seconds, rows)

            before = set(threading.enumerate())
            await bench.submit(model, *[[0]] * rows).future
            started = {thread.name for thread in set(threading.enumerate()) - before}
            assert any(name.startswith("inference") for name in started) is not inline, (seconds, rows)
            bench.scheduler.close()
            bench = Bench(Scheduler(bench.metrics.workers[0]), bench.metrics)
        bench.scheduler.close()

    run(where)


def test_crowd_of_short_jobs_that_do_not_merge_stays_on_the_loop(doubling: Model) -> None:
    """All of them together would be long; but it is one at a time."""
    model = replace(doubling, profile=Profile({1: 0.001}, True, False, ""))

    async def crowd(bench: Bench) -> None:
        before = set(threading.enumerate())
        await answers(*(bench.submit(model, [number]) for number in range(50)))

        assert set(threading.enumerate()) == before
        assert bench.batches(model) == {1: 50}

    run(crowd)


def test_slow_models_are_measured_as_such(load: Callable[..., Model]) -> None:
    model = load("very-slow", slow_graph(400, SLOW_WIDTH), None)

    async def measured(bench: Bench) -> None:
        assert not bench.scheduler.runs_inline(model, 1)

    run(measured)


def overlap(jobs: Sequence[Job], results: Sequence[Result]) -> int:
    """The most that ran at the same time."""
    events = []
    for job, result in zip(jobs, results, strict=True):
        started = job.entered + result.queue_seconds
        events += [(started, 1), (started + result.inference_seconds - 1e-7, -1)]
    running = most = 0
    for _, change in sorted(events):
        running += change
        most = max(most, running)
    return most


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_as_many_slow_batches_run_at_once_as_there_are_slots(slow: Model, slots: int) -> None:
    async def at_once(bench: Bench) -> None:
        jobs = [bench.submit_array(slow, np.ones((32, SLOW_WIDTH), np.float32)) for _ in range(8)]
        results = await asyncio.gather(*(job.future for job in jobs))

        assert min(slots, 2) <= overlap(jobs, results) <= slots
        assert bench.batches(slow) == {32: 8}

    run(at_once, slots=slots)


def test_fast_model_goes_on_being_answered_while_all_slots_are_taken(slow: Model, doubling: Model) -> None:
    async def meanwhile(bench: Bench) -> None:
        slow_jobs = [bench.submit_array(slow, ONE) for _ in range(10)]
        for number in range(50):
            [answer] = await answers(bench.submit(doubling, [number]))
            assert answer == [[2 * number]]

        assert sum(job.future.done() for job in slow_jobs) < 10
        await answers(*slow_jobs)
        assert bench.batches(slow) == {1: 10}

    run(meanwhile)


def test_loop_turns_while_slow_models_run(slow: Model) -> None:
    async def turns(bench: Bench) -> None:
        job, count = bench.submit_array(slow, np.ones((64, SLOW_WIDTH), np.float32)), 0
        while not job.future.done():
            await asyncio.sleep(0)
            count += 1

        assert count > 20

    run(turns)


def test_pictures_are_decoded_in_threads_and_what_they_raise_is_raised() -> None:
    async def decoded(bench: Bench) -> None:
        name = await bench.scheduler.decode(0, lambda: threading.current_thread().name)

        assert name.startswith("decoding")
        with pytest.raises(ValueError, match="invalid literal"):
            await bench.scheduler.decode(0, int, "seven")

    run(decoded)


# Fairness.


async def finished_in_order(jobs: dict[str, list[Job]]) -> list[tuple[str, float]]:
    """Names with the seconds that each took, in the order in which they ended."""
    order: list[tuple[str, float]] = []

    async def wait(name: str, job: Job) -> None:
        order.append((name, (await job.future).inference_seconds))

    await asyncio.gather(*(wait(name, job) for name, waiting in jobs.items() for job in waiting))
    return order


def assert_fair(order: Sequence[tuple[str, float]], names: Sequence[str]) -> None:
    """While both wait, neither is ahead of the other by more than one of its batches."""
    longest, left = max(seconds for _, seconds in order), {name: [n for n, _ in order].count(name) for name in names}
    served = dict.fromkeys(names, 0.0)
    for name, seconds in order:
        served[name] += seconds
        left[name] -= 1
        if not all(left.values()):
            return
        one, other = served.values()
        assert abs(one - other) <= 2 * longest
    raise AssertionError("one never waited")


@pytest.fixture
def middling(load: Callable[..., Model]) -> Model:
    """A quarter of what the slow one takes, and in threads too."""
    return load("middling", slow_graph(25, SLOW_WIDTH), replace(DEAR, seconds={1: 0.0025}))


def test_models_share_a_slot_by_time_and_not_by_number(slow: Model, middling: Model) -> None:
    async def shared(bench: Bench) -> None:
        jobs = {
            "slow": [bench.submit_array(slow, ONE) for _ in range(12)],
            "middling": [bench.submit_array(middling, ONE) for _ in range(40)],
        }
        order = await finished_in_order(jobs)

        assert_fair(order, ("slow", "middling"))
        assert len(order) == 52

    run(shared)


def test_model_that_was_idle_has_saved_nothing_up(slow: Model, middling: Model) -> None:
    async def idle(bench: Bench) -> None:
        await answers(*(bench.submit_array(slow, ONE) for _ in range(10)))
        jobs = {
            "slow": [bench.submit_array(slow, ONE) for _ in range(6)],
            "middling": [bench.submit_array(middling, ONE) for _ in range(20)],
        }

        assert_fair(await finished_in_order(jobs), ("slow", "middling"))

    run(idle)


def test_turn_of_a_model_that_waited_for_a_slot_does_not_set_time_back(
    slow: Model, middling: Model, load: Callable[..., Model]
) -> None:
    """Two short models on the loop; the one that comes later has no more claim than the one that was there."""
    short = replace(DEAR, seconds={1: 0.001})
    old, new = (load(name, slow_graph(25, SLOW_WIDTH), short) for name in ("old", "new"))

    async def later(bench: Bench) -> None:
        long = bench.submit_array(slow, np.ones((64, SLOW_WIDTH), np.float32))
        waits = bench.submit_array(middling, ONE)
        while not long.future.done():
            await answers(bench.submit_array(old, ONE))
        await waits.future
        order = await finished_in_order(
            {
                "new": [bench.submit_array(new, ONE) for _ in range(30)],
                "old": [bench.submit_array(old, ONE) for _ in range(30)],
            }
        )

        names = [name for name, _ in order]
        assert names[:30] != ["new"] * 30

    run(later)


# Waiting for others.

LOOPS = pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


@LOOPS
@pytest.mark.parametrize("delay", [0.0003, 0.001, 0.0016, 0.02])
def test_with_a_delay_a_lone_job_waits_so_long_and_no_longer(
    doubling: Model, delay: float, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
) -> None:
    async def lone(bench: Bench) -> None:
        for _ in range(5):
            result = await asyncio.wait_for(bench.submit(doubling, [1]).future, 5)
            assert result.queue_seconds >= delay

    run(lone, loop_factory, max_delay=delay)


@LOOPS
def test_with_a_delay_jobs_that_come_within_it_run_together(
    doubling: Model, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
) -> None:
    async def gathered(bench: Bench) -> None:
        jobs = []
        for number in range(5):
            jobs.append(bench.submit(doubling, [number]))
            await asyncio.sleep(0.001)
        await answers(*jobs)

        assert bench.batches(doubling) == {5: 1}

    run(gathered, loop_factory, max_delay=0.5)


def test_with_a_delay_a_full_batch_waits_for_nothing(doubling: Model) -> None:
    async def full(bench: Bench) -> None:
        assert await answers(*(bench.submit(doubling, [number]) for number in range(4))) == [[[0]], [[2]], [[4]], [[6]]]
        assert bench.batches(doubling) == {4: 1}

    run(full, max_delay=PATIENCE * 10, max_batch=4)


def test_with_a_delay_a_model_that_does_not_merge_waits_for_nothing(doubling: Model) -> None:
    model = replace(doubling, profile=replace(CHEAP, merges=False))

    async def alone(bench: Bench) -> None:
        assert await answers(bench.submit(model, [1])) == [[[2]]]

    run(alone, max_delay=PATIENCE * 10)


@LOOPS
def test_with_a_delay_what_is_left_of_a_crowd_is_not_forgotten(
    doubling: Model, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
) -> None:
    async def crowd(bench: Bench) -> None:
        first = bench.submit(doubling, [0])
        await asyncio.sleep(0.01)
        others = [bench.submit(doubling, *[[number]] * rows) for number, rows in ((1, 3), (2, 1), (3, 1))]
        await asyncio.wait_for(answers(first, *others), 5)

        assert bench.batches(doubling) == {4: 1, 2: 1}

    run(crowd, loop_factory, max_delay=0.02, max_batch=4)


@LOOPS
def test_with_a_delay_no_model_is_forgotten_for_another(
    doubling: Model, load: Callable[..., Model], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
) -> None:
    others = [load(f"other-{number}", doubling_graph(1)) for number in range(3)]

    async def several(bench: Bench) -> None:
        jobs = [bench.submit(model, [1]) for model in (doubling, *others)]

        assert await asyncio.wait_for(answers(*jobs), 5) == [[[2]]] * 4

    run(several, loop_factory, max_delay=0.005)


def test_with_a_delay_slow_models_run_when_a_slot_is_free(slow: Model) -> None:
    merging = replace(slow, profile=replace(slow.profile, merges=True))

    async def slots(bench: Bench) -> None:
        jobs = []
        for number in range(20):
            jobs.append(bench.submit_array(merging, number * ONE))
            await asyncio.sleep(0.001)

        assert [answer[0][0] for answer in await answers(*jobs)] == list(range(20))

    run(slots, max_delay=0.002, max_batch=3)


def test_with_a_delay_idle_schedulers_do_not_turn(doubling: Model) -> None:
    async def idle(bench: Bench) -> None:
        await answers(bench.submit(doubling, [1]))
        await asyncio.sleep(0)

        assert bench.scheduler._timer is None
        assert not bench.scheduler._turn_is_due

    run(idle, max_delay=0.001)


def test_thousand_jobs_of_many_models_are_all_answered(
    doubling: Model, slow: Model, picking: Model, mixing: Model
) -> None:
    """Random models, rows, delays, deadlines and callers who leave: nobody waits for ever, nothing is counted twice."""
    generator = np.random.default_rng(0)

    async def many(bench: Bench) -> None:
        asked = {"doubling": 0, "picking": 0}

        async def one(kind: int, rows: int) -> None:
            match kind:
                case 0 | 1 | 2:
                    asked["doubling"] += rows
                    [answer] = await answers(bench.submit(doubling, *[[rows]] * rows))
                    assert answer == [[2 * rows]] * rows
                case 3:
                    [answer] = await answers(bench.submit(mixing, *[[rows] * 3] * rows))
                    assert answer == [[0, 0, 0]] * rows
                case 4:
                    asked["picking"] += 1
                    [answer] = await answers(bench.submit(picking, [rows]))
                    assert answer == [[10 * rows]] if rows < 5 else isinstance(answer, Exception)
                case 5:
                    bench.submit(doubling, [1], [2]).future.cancel()
                case 6:
                    [answer] = await answers(bench.submit(doubling, [1], deadline=time.perf_counter() - 1))
                    assert isinstance(answer, DeadlineExceeded)
                case 7:
                    [answer] = await answers(bench.submit_array(slow, rows * ONE))
                    assert answer[0][0] == rows
                case 8:
                    [answer] = await answers(bench.submit_array(slow, ONE, time.perf_counter() + 1e-3 * rows))
                    assert isinstance(answer, DeadlineExceeded) or answer[0][0] == 1

        tasks = []
        kinds = generator.choice(9, 1_000, p=[0.2, 0.2, 0.18, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]).tolist()
        for kind, rows in zip(kinds, generator.integers(1, 8, 1_000).tolist(), strict=True):
            tasks.append(asyncio.ensure_future(one(kind, rows)))
            if rows == 1:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        await asyncio.sleep(0.01)

        for model in (doubling, picking):
            assert bench.totals(model).values("batch_rows")[-1] == asked[model.name]
        assert (bench.scheduler._queues, bench.scheduler._unseen) == ({}, {})

    run(many, slots=2, max_batch=16)


def test_pictures_of_an_artifact_are_rows(load: Callable[..., Model]) -> None:
    model = load("bright", brightness_graph())

    async def pictures(bench: Bench) -> None:
        dark, light = np.zeros((1, SIDE, SIDE), np.uint8), np.full((2, SIDE, SIDE), 255, np.uint8)
        jobs = [bench.submit_array(model, array, output="probabilities") for array in (dark, light)]

        assert await answers(*jobs) == [[[1, 0]], [[0, 1], [0, 1]]]
        assert bench.batches(model) == {3: 1}

    run(pictures)


# Queues of one model.


def test_busy_queue_does_not_starve_another_of_the_same_model(doubling: Model) -> None:
    """Other shapes are another queue; the model has been served the same for both."""

    async def starved(bench: Bench) -> None:
        over = asyncio.Event()

        async def crowd() -> None:
            while not over.is_set():
                await bench.submit(doubling, [1]).future

        callers = [asyncio.create_task(crowd()) for _ in range(4)]
        await asyncio.sleep(0.01)
        single = bench.scheduler.submit(doubling, bench._of(doubling), {"x": np.zeros((1, 1), np.float32)}, ["y", "y"])
        await asyncio.wait_for(single.future, 5)
        over.set()
        await asyncio.gather(*callers)

    run(starved, max_batch=1)


def test_pace_stays_within_bounds() -> None:
    async def odd(bench: Bench) -> None:
        for _ in range(50):
            await bench.scheduler.decode(1e-9, time.sleep, 0.0001)
        assert bench.scheduler.pace <= 4.0
        for _ in range(50):
            await bench.scheduler.decode(1_000.0, int, 1)
        assert bench.scheduler.pace >= 0.5

    run(odd)
