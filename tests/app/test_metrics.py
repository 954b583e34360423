"""Numbers in shared memory: each worker writes its own part, whoever is asked adds them up, the dead's included."""

import os
from collections.abc import Callable

import pytest

from app.metrics import (
    EXACT_BATCHES,
    FAILURES,
    GAUGES,
    MODEL_FIELDS,
    MODEL_SIZE,
    NAME_BYTES,
    OTHER,
    PLACES,
    ROWS,
    SECONDS,
    STAGES,
    STATUSES,
    WORKER_BYTES,
    WORKER_FIELDS,
    WORKER_SIZE,
    Field,
    Metrics,
    ModelMetrics,
)

MODEL = ("digits", "1")


def in_another_process(work: Callable[[], None]) -> None:
    """Forked, and ended without a word to pytest."""
    process = os.fork()
    if not process:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(process, 0)[1] == 0


def numbers(metrics: Metrics, key: tuple[str, str] = MODEL) -> dict[str, list[float]]:
    """All that is not 0."""
    totals = metrics.model_totals()[key]
    return {name: totals.values(name) for name in MODEL_FIELDS if any(totals.values(name))}


@pytest.mark.parametrize(("fields", "size"), [(MODEL_FIELDS, MODEL_SIZE), (WORKER_FIELDS, WORKER_SIZE)])
def test_fields_lie_one_behind_the_other(fields: dict[str, Field], size: int) -> None:
    places = [place for field in fields.values() for place in range(field.start, field.start + field.size)]

    assert places == list(range(size))


def test_nothing_has_been_counted_at_the_beginning() -> None:
    metrics = Metrics(3)

    assert metrics.model_totals() == {}
    assert metrics.worker_totals().numbers == [0.0] * WORKER_SIZE


def test_model_that_nobody_has_asked_for_is_there_with_zeros() -> None:
    metrics = Metrics()
    metrics.workers[0].model(*MODEL)

    assert list(metrics.model_totals()) == [MODEL]
    assert numbers(metrics) == {}


@pytest.mark.parametrize("stage", STAGES)
def test_histogram_counts_each_value_at_the_first_bound_that_it_does_not_pass(stage: str) -> None:
    metrics = Metrics()
    histogram = getattr(metrics.workers[0].model(*MODEL), stage)
    for bound in SECONDS:
        histogram.observe(bound)
        histogram.observe(bound * 1.0001)
    histogram.observe(0)
    *counts, total = metrics.model_totals()[MODEL].values(stage)

    assert counts == [2.0] + [2.0] * (len(SECONDS) - 1) + [1.0]
    assert total == pytest.approx(sum(SECONDS) * 2.0001)
    assert list(numbers(metrics)) == [stage]


def test_batches_are_counted_by_rows_and_by_their_exact_size() -> None:
    metrics = Metrics()
    model = metrics.workers[0].model(*MODEL)
    for rows in (1, 3, 3, 4, EXACT_BATCHES, EXACT_BATCHES + 1, 2_000):
        model.batch(rows, rows / 1_000, 7_000.0 + rows)
    totals = metrics.model_totals()[MODEL]
    counts, seconds = totals.values("batch_count"), totals.values("batch_seconds")

    assert {rows: count for rows, count in enumerate(counts) if count} == {0: 2, 1: 1, 3: 2, 4: 1, 64: 1}
    assert {rows: total for rows, total in enumerate(seconds) if total} == pytest.approx(
        {0: 2.065, 1: 0.001, 3: 0.006, 4: 0.004, 64: 0.064}
    )
    *buckets, rows = totals.values("batch_rows")
    assert dict(zip((*ROWS, None), buckets, strict=True)) == dict.fromkeys((*ROWS, None), 0.0) | {
        1: 1,
        4: 3,
        64: 1,
        128: 1,
        None: 1,
    }
    assert rows == 1 + 3 + 3 + 4 + 64 + 65 + 2_000
    assert totals.value("last_inference_ms") == 9_000
    assert sum(totals.values("inference")[:-1]) == 7


def test_success_is_counted_with_its_time() -> None:
    metrics = Metrics()
    metrics.workers[0].model(*MODEL).success(0.25)

    assert numbers(metrics) == {
        "success": [1.0],
        "request": [*(float(bound == 0.25) for bound in SECONDS), 0.0, 0.25],
    }


@pytest.mark.parametrize("reason", FAILURES)
def test_failures_are_counted_by_reason(reason: str) -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.workers[0].model(*MODEL).add(reason)

    assert numbers(metrics) == {reason: [3.0]}


def test_workers_add_up() -> None:
    metrics = Metrics(3)
    for number, worker in enumerate(metrics.workers, start=1):
        model = worker.model(*MODEL)
        model.success(0.001 * number)
        model.add("invalid", amount=10**number)
        worker.model("only", str(number)).add("deadline")
        worker.response(200)
        worker.gauge("queued_requests", number)

    assert numbers(metrics)["success"] == [3.0]
    assert numbers(metrics)["invalid"] == [1_110.0]
    assert numbers(metrics)["request"][-1] == pytest.approx(0.006)
    assert sorted(metrics.model_totals()) == [MODEL, ("only", "1"), ("only", "2"), ("only", "3")]
    assert metrics.worker_totals().value("queued_requests") == 6
    assert metrics.worker_totals().values("responses")[0] == 3


def test_workers_that_met_the_models_in_another_order_add_up_too() -> None:
    metrics = Metrics(2)
    for worker, order in zip(metrics.workers, ("abc", "cba"), strict=True):
        for name in order:
            worker.model(name, "1").add("success", amount=ord(name))

    assert {name: totals.value("success") for (name, _), totals in metrics.model_totals().items()} == {
        "a": 194,
        "b": 196,
        "c": 198,
    }


def test_versions_are_counted_apart_and_the_same_one_in_one_place() -> None:
    worker = Metrics().workers[0]

    assert worker.model("m", "1") is worker.model("m", "1")
    assert worker.model("m", "1").start != worker.model("m", "11").start


def test_statuses_that_nobody_expected_are_counted_together() -> None:
    metrics = Metrics()
    for status in (*STATUSES, 418, 201, 204):
        metrics.workers[0].response(status)

    assert metrics.worker_totals().values("responses") == [1.0] * len(STATUSES) + [3.0]


@pytest.mark.parametrize("name", GAUGES)
def test_gauges_are_set(name: str) -> None:
    metrics = Metrics()
    for value in (7, 5):
        metrics.workers[0].gauge(name, value)

    assert {each: metrics.worker_totals().value(each) for each in GAUGES} == dict.fromkeys(GAUGES, 0) | {name: 5}


def successor(metrics: Metrics, slot: int) -> Metrics:
    """As the next worker in the slot sees the memory: it knows nothing by heart."""
    metrics.workers[slot]._models.clear()
    return metrics


def test_successor_in_a_slot_goes_on_counting_where_the_dead_one_stopped() -> None:
    metrics = Metrics(2)
    for name in ("a", "b", "c"):
        metrics.workers[1].model(name, "1").success(0.1)
    for name in ("c", "d", "a"):
        successor(metrics, 1).workers[1].model(name, "1").success(0.1)

    assert {name: totals.value("success") for (name, _), totals in metrics.model_totals().items()} == {
        "a": 2,
        "b": 1,
        "c": 2,
        "d": 1,
    }


def test_beyond_the_last_place_is_other() -> None:
    metrics = Metrics()
    worker = metrics.workers[0]
    for number in range(PLACES + 44):
        worker.model("m", str(number)).success(0.1)
    totals = metrics.model_totals()

    assert len(totals) == PLACES
    assert totals[OTHER].value("success") == 45
    assert all(totals["m", str(number)].value("success") == 1 for number in range(PLACES - 1))
    assert ("m", str(PLACES - 1)) not in totals


def test_other_is_told_only_when_there_is_any() -> None:
    metrics = Metrics()
    metrics.workers[0].model(*MODEL).success(0.1)

    assert list(metrics.model_totals()) == [MODEL]


@pytest.mark.parametrize(("letters", "fits"), [(NAME_BYTES - 3, True), (NAME_BYTES - 2, False)])
def test_name_that_is_too_long_for_its_place_is_other(letters: int, fits: bool) -> None:
    metrics = Metrics()
    name = "n" * letters
    metrics.workers[0].model(name, "1").success(0.1)
    metrics.workers[0].model("next", "1").success(0.1)

    assert list(metrics.model_totals()) == ([(name, "1"), ("next", "1")] if fits else [OTHER, ("next", "1")])


def test_names_of_any_script_come_back() -> None:
    metrics = Metrics()
    metrics.workers[0].model("Ziffern-äöü-☃", "12").success(0.1)

    assert list(metrics.model_totals()) == [("Ziffern-äöü-☃", "12")]


def test_last_place_of_the_last_worker_lies_in_the_memory() -> None:
    metrics = Metrics(2)
    for number in range(1, PLACES):
        model = metrics.workers[1].model("m", str(number))
        model.add("batch_seconds", EXACT_BATCHES, number)
    totals = metrics.model_totals()

    assert totals["m", str(PLACES - 1)].values("batch_seconds")[-1] == PLACES - 1
    assert metrics.workers[0].numbers().tolist() == [0.0] * WORKER_SIZE
    assert WORKER_BYTES % 8 == 0


def test_models_do_not_write_into_each_other() -> None:
    metrics = Metrics(2)
    models: list[ModelMetrics] = [worker.model(name, "1") for worker in metrics.workers for name in ("a", "b")]
    for place in range(MODEL_SIZE):
        for number, model in enumerate(models, start=1):
            model.memory[model.start + place] += number

    for name, sum_, latest in (("a", 1.0 + 3.0, 3.0), ("b", 2.0 + 4.0, 4.0)):
        numbers = metrics.model_totals()[name, "1"].numbers
        assert numbers.pop(MODEL_FIELDS["last_inference_ms"].start) == latest
        assert numbers == [sum_] * (MODEL_SIZE - 1)
    assert metrics.worker_totals().numbers == [0.0] * WORKER_SIZE


def test_what_a_process_writes_another_reads() -> None:
    metrics = Metrics(2)
    metrics.workers[0].model(*MODEL).success(0.1)

    def write() -> None:
        worker = metrics.workers[1]
        for _ in range(1_000):
            worker.model(*MODEL).success(0.1)
            worker.response(503)
        worker.gauge("queued_requests", 4)
        worker.model("new", "2").add("internal")

    in_another_process(write)

    assert metrics.model_totals()[MODEL].value("success") == 1_001
    assert metrics.model_totals()["new", "2"].value("internal") == 1
    assert metrics.worker_totals().values("responses")[STATUSES.index(503)] == 1_000
    assert metrics.worker_totals().value("queued_requests") == 4


def test_process_that_takes_the_place_of_a_dead_one_finds_its_names() -> None:
    metrics = Metrics(2)

    for names in ("ab", "bc", "a"):

        def write(names: str = names) -> None:
            for name in names:
                metrics.workers[1].model(name, "1").success(0.1)

        in_another_process(write)

    assert {name: totals.value("success") for (name, _), totals in metrics.model_totals().items()} == {
        "a": 2,
        "b": 2,
        "c": 1,
    }
