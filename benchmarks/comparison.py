"""The figures of a comparison: medians over rounds, ratios, and the bars that Percept has to reach. Pure."""

import operator
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

IDLE = "idle"
IN_PROCESS = "onnxruntime"


@dataclass(frozen=True)
class Sample:
    """One server, one case, one round."""

    round: int
    server: str
    case: str
    rows: int
    requests_per_second: float
    p50: float
    p99: float
    p999: float
    errors: int
    memory: float
    start_seconds: float


@dataclass(frozen=True)
class Failure:
    """What could not be measured, and why."""

    server: str
    case: str  # empty for the server as a whole
    reason: str


class Cell(NamedTuple):
    server: str
    case: str


@dataclass(frozen=True)
class Median:
    """Of the rounds; errors are those of all rounds together."""

    rounds: int
    requests_per_second: float
    slowest: float
    fastest: float
    rows_per_second: float
    p50: float
    p99: float
    p999: float
    errors: int
    memory: float
    start_seconds: float


def medians(samples: Iterable[Sample]) -> dict[Cell, Median]:
    groups: dict[Cell, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(Cell(sample.server, sample.case), []).append(sample)
    return {cell: _median(group) for cell, group in groups.items()}


def _median(group: list[Sample]) -> Median:
    def of(name: str) -> float:
        return float(statistics.median(getattr(sample, name) for sample in group))

    rate = of("requests_per_second")
    return Median(
        rounds=len({sample.round for sample in group}),
        requests_per_second=rate,
        slowest=min(sample.requests_per_second for sample in group),
        fastest=max(sample.requests_per_second for sample in group),
        rows_per_second=rate * group[0].rows,
        p50=of("p50"),
        p99=of("p99"),
        p999=of("p999"),
        errors=sum(sample.errors for sample in group),
        memory=of("memory"),
        start_seconds=of("start_seconds"),
    )


def ratios(samples: Iterable[Sample], ours: Cell, theirs: Cell, measure: str = "requests_per_second") -> list[float]:
    """Ours by theirs within each round, so that a machine that drifts between rounds does not count."""
    kept = list(samples)
    here, there = _by_round(kept, ours, measure), _by_round(kept, theirs, measure)
    return [here[number] / there[number] for number in here if there.get(number)]


def ratio(samples: Iterable[Sample], ours: Cell, theirs: Cell, measure: str = "requests_per_second") -> float | None:
    """The median of the rounds; None where no round has both."""
    found = ratios(samples, ours, theirs, measure)
    return statistics.median(found) if found else None


def _by_round(samples: Iterable[Sample], cell: Cell, measure: str) -> dict[int, float]:
    return {one.round: getattr(one, measure) for one in samples if (one.server, one.case) == cell}


@dataclass(frozen=True)
class Bar:
    """A figure of ours, by itself or against a peer's, and what it has to be."""

    title: str
    ours: Cell
    wanted: float
    theirs: Cell | None = None
    measure: str = "requests_per_second"
    at_most: bool = False

    def target(self) -> str:
        sign = "≤" if self.at_most else "≥"
        return f"{sign} {self.wanted:g}{' ×' if self.theirs else UNITS.get(self.measure, '')}"


UNITS = {"p50": " ms", "p99": " ms", "memory": " MB", "start_seconds": " s"}


@dataclass(frozen=True)
class Verdict:
    bar: Bar
    rounds: list[float]  # what each gave; none: not measured

    @property
    def value(self) -> float | None:
        return statistics.median(self.rounds) if self.rounds else None

    @property
    def in_every_round(self) -> bool:
        return bool(self.rounds) and all(self._holds(value) for value in self.rounds)

    @property
    def reached(self) -> bool:
        return self.value is not None and self._holds(self.value)

    def _holds(self, value: float) -> bool:
        return bool((operator.le if self.bar.at_most else operator.ge)(value, self.bar.wanted))


BARS = (
    Bar("multipart, against the floor", Cell("percept", "png_multipart"), 1.0, Cell("floor", "png_multipart")),
    Bar("raw body, against the floor", Cell("percept", "png_raw"), 1.0, Cell("floor", "png_raw")),
    Bar("raw body, p99 against the floor's", Cell("percept", "png_raw"), 1.0, Cell("floor", "png_raw"), "p99", True),
    Bar("multipart, against the tutorial", Cell("percept", "png_multipart"), 3.0, Cell("tutorial", "png_multipart")),
    Bar("multipart, against LitServe", Cell("percept", "png_multipart"), 7.0, Cell("litserve", "png_multipart")),
    Bar("multipart, against BentoML", Cell("percept", "png_multipart"), 15.0, Cell("bentoml", "png_multipart")),
    Bar("JSON, 1 row, against MLServer", Cell("percept", "json_1"), 3.0, Cell("mlserver", "json_1")),
    Bar("JSON, 64 rows, against MLServer", Cell("percept", "json_64"), 1.2, Cell("mlserver", "json_64")),
    Bar("binary, 1 row, against Triton", Cell("percept", "binary_1"), 3.0, Cell("triton", "binary_1")),
    Bar(
        "binary, 256 rows, against onnxruntime in process",
        Cell("percept", "binary_256"),
        0.9,
        Cell(IN_PROCESS, "binary_256"),
    ),
    Bar("idle, one PNG, p50", Cell("percept", IDLE), 0.5, measure="p50", at_most=True),
    Bar("start, every model loaded", Cell("percept", IDLE), 0.6, measure="start_seconds", at_most=True),
    Bar("memory, one worker", Cell("percept_1", "png_raw"), 110.0, measure="memory", at_most=True),
)


def verdicts(samples: list[Sample], bars: Iterable[Bar] = BARS) -> list[Verdict]:
    return [Verdict(bar, _rounds(bar, samples)) for bar in bars]


def _rounds(bar: Bar, samples: list[Sample]) -> list[float]:
    if bar.theirs is not None:
        return ratios(samples, bar.ours, bar.theirs, bar.measure)
    return list(_by_round(samples, bar.ours, bar.measure).values())
