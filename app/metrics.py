"""Numbers that all workers share: counters and histograms in one piece of memory, made before the workers are.

Every worker writes its own part, so nothing is locked; whoever is asked adds the parts up, those of workers that have
died included, so that counters never go back. Knows no HTTP and no text format.
"""

import mmap
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
STAGES = ("request", "decode", "queue", "inference")
# Why a request that named a model was not answered with a prediction.
FAILURES = ("queue_full", "deadline", "client_gone", "invalid", "internal")
# Batches of one to so many rows are counted by their exact size.
EXACT_BATCHES = 64
STATUSES = (200, 206, 304, 307, 400, 401, 403, 404, 405, 408, 413, 415, 416, 422, 429, 431, 499, 500, 503, 504)
GAUGES = ("queued_requests", "models")

# What is counted for models beyond the number of places.
OTHER = ("other", "")
PLACES = 256
NAME_BYTES = 160


@dataclass(frozen=True)
class Field:
    """Where a number or a row of numbers lies, in doubles from the beginning of its record."""

    start: int
    size: int


def _layout(sizes: Mapping[str, int]) -> tuple[dict[str, Field], int]:
    fields, end = {}, 0
    for name, size in sizes.items():
        fields[name] = Field(end, size)
        end += size
    return fields, end


# A histogram is its buckets, the last without a bound, then the sum.
MODEL_FIELDS, MODEL_SIZE = _layout(
    {stage: len(SECONDS) + 2 for stage in STAGES}
    | {"batch_rows": len(ROWS) + 2}
    | {reason: 1 for reason in FAILURES}
    | {"success": 1, "last_inference_ms": 1}
    | {"batch_count": EXACT_BATCHES + 1, "batch_seconds": EXACT_BATCHES + 1}
)
WORKER_FIELDS, WORKER_SIZE = _layout({"responses": len(STATUSES) + 1} | {gauge: 1 for gauge in GAUGES})

Memory: TypeAlias = "memoryview[float]"


class Histogram:
    """Counts by upper bound, and the sum."""

    __slots__ = ("bounds", "memory", "start", "sum")

    def __init__(self, memory: Memory, start: int, bounds: tuple[float, ...]) -> None:
        self.memory, self.start, self.bounds = memory, start, bounds
        self.sum = start + len(bounds) + 1

    def observe(self, value: float) -> None:
        self.memory[self.start + bisect_left(self.bounds, value)] += 1
        self.memory[self.sum] += value


class ModelMetrics:
    """What one worker has seen of one version of a model."""

    __slots__ = ("batch_rows", "decode", "inference", "memory", "queue", "request", "start")

    def __init__(self, memory: Memory, start: int) -> None:
        self.memory, self.start = memory, start
        self.request, self.decode, self.queue, self.inference = (
            Histogram(memory, start + MODEL_FIELDS[stage].start, SECONDS) for stage in STAGES
        )
        self.batch_rows = Histogram(memory, start + MODEL_FIELDS["batch_rows"].start, ROWS)

    def add(self, field: str, place: int = 0, amount: float = 1) -> None:
        self.memory[self.start + MODEL_FIELDS[field].start + place] += amount

    def batch(self, rows: int, seconds: float, now_ms: float) -> None:
        """One call of the model. Sizes beyond EXACT_BATCHES are counted together, at place 0."""
        self.batch_rows.observe(rows)
        self.inference.observe(seconds)
        place = rows if rows <= EXACT_BATCHES else 0
        self.memory[self.start + _BATCH_COUNT + place] += 1
        self.memory[self.start + _BATCH_SECONDS + place] += seconds
        self.memory[self.start + _LAST_INFERENCE] = now_ms

    def success(self, seconds: float) -> None:
        self.memory[self.start + _SUCCESS] += 1
        self.request.observe(seconds)


_BATCH_COUNT = MODEL_FIELDS["batch_count"].start
_BATCH_SECONDS = MODEL_FIELDS["batch_seconds"].start
_LAST_INFERENCE = MODEL_FIELDS["last_inference_ms"].start
_SUCCESS = MODEL_FIELDS["success"].start


class WorkerMetrics:
    """The part of one worker."""

    def __init__(self, memory: mmap.mmap, start: int) -> None:
        self._names = memoryview(memory)[start : start + PLACES * NAME_BYTES]
        first = start + PLACES * NAME_BYTES
        self._numbers = memoryview(memory)[first : first + NUMBERS_BYTES].cast("d")
        self._responses = {status: place for place, status in enumerate(STATUSES)}
        self._models: dict[tuple[str, str], ModelMetrics] = {}

    def response(self, status: int) -> None:
        self._numbers[self._responses.get(status, len(STATUSES))] += 1

    def gauge(self, name: str, value: float) -> None:
        self._numbers[WORKER_FIELDS[name].start] = value

    def model(self, name: str, version: str) -> ModelMetrics:
        """Its place, the one it had before a restart included; beyond the last place, that of `other`."""
        key = (name, version)
        if key not in self._models:
            self._models[key] = ModelMetrics(self._numbers, WORKER_SIZE + self._place(key) * MODEL_SIZE)
        return self._models[key]

    def _place(self, key: tuple[str, str]) -> int:
        wanted = "\0".join(key).encode()
        if len(wanted) < NAME_BYTES:
            for place in range(1, PLACES):
                name = self._name(place)
                if not name:
                    self._names[place * NAME_BYTES : place * NAME_BYTES + len(wanted)] = wanted
                if not name or name == wanted:
                    return place
        return 0

    def _name(self, place: int) -> bytes:
        return bytes(self._names[place * NAME_BYTES : (place + 1) * NAME_BYTES]).rstrip(b"\0")

    def records(self) -> Iterator[tuple[tuple[str, str], Memory]]:
        """The numbers of each model, place 0 for those that found none."""
        for place in range(PLACES):
            name = self._name(place)
            if place and not name:
                return
            start = WORKER_SIZE + place * MODEL_SIZE
            model, _, version = name.decode().partition("\0")
            yield (model, version) if place else OTHER, self._numbers[start : start + MODEL_SIZE]

    def numbers(self) -> Memory:
        return self._numbers[:WORKER_SIZE]


NUMBERS_BYTES = 8 * (WORKER_SIZE + PLACES * MODEL_SIZE)
WORKER_BYTES = PLACES * NAME_BYTES + NUMBERS_BYTES


class Metrics:
    """The memory of all workers. Made before they are, so that they inherit it."""

    def __init__(self, workers: int = 1) -> None:
        # Pages that nobody has written to cost nothing.
        memory = mmap.mmap(-1, workers * WORKER_BYTES)
        self.workers = [WorkerMetrics(memory, slot * WORKER_BYTES) for slot in range(workers)]

    def model_totals(self) -> dict[tuple[str, str], "Totals"]:
        """By model and version, added up over the workers."""
        totals: dict[tuple[str, str], list[float]] = {}
        for worker in self.workers:
            for key, record in worker.records():
                sums = totals.setdefault(key, [0.0] * MODEL_SIZE)
                latest = max(sums[_LAST_INFERENCE], record[_LAST_INFERENCE])
                for place, value in enumerate(record):
                    sums[place] += value
                sums[_LAST_INFERENCE] = latest
        return {key: Totals(sums, MODEL_FIELDS) for key, sums in totals.items() if key != OTHER or any(sums)}

    def worker_totals(self) -> "Totals":
        sums = [sum(values) for values in zip(*(worker.numbers() for worker in self.workers), strict=True)]
        return Totals(sums, WORKER_FIELDS)


@dataclass(frozen=True)
class Totals:
    """Numbers by the names of their fields."""

    numbers: list[float]
    fields: Mapping[str, Field]

    @classmethod
    def zeros(cls) -> "Totals":
        """Of a model that nobody has asked yet."""
        return cls([0.0] * MODEL_SIZE, MODEL_FIELDS)

    def values(self, name: str) -> list[float]:
        field = self.fields[name]
        return self.numbers[field.start : field.start + field.size]

    def value(self, name: str) -> float:
        return self.numbers[self.fields[name].start]
