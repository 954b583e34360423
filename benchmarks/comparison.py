"""The figures of a comparison: medians over rounds, ratios, and the bars that Percept has to reach. Pure."""

import operator
import statistics
from collections.abc import Iterable, Mapping
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
        rows_per_second=rate * group[0].rows,
        p50=of("p50"),
        p99=of("p99"),
        p999=of("p999"),
        errors=sum(sample.errors for sample in group),
        memory=of("memory"),
        start_seconds=of("start_seconds"),
    )


def ratio(samples: Iterable[Sample], ours: Cell, theirs: Cell, measure: str = "requests_per_second") -> float | None:
    """Ours by theirs: the median of the ratios within each round, so that a machine that drifts between rounds does
    not count. None where no round has both."""
    kept = list(samples)
    here, there = _by_round(kept, ours, measure), _by_round(kept, theirs, measure)
    ratios = [here[number] / there[number] for number in here if there.get(number)]
    return statistics.median(ratios) if ratios else None


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
    value: float | None  # None: not measured

    @property
    def reached(self) -> bool:
        compare = operator.le if self.bar.at_most else operator.ge
        return self.value is not None and compare(self.value, self.bar.wanted)


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
    found = medians(samples)
    return [Verdict(bar, _value(bar, samples, found)) for bar in bars]


def _value(bar: Bar, samples: list[Sample], found: Mapping[Cell, Median]) -> float | None:
    if bar.theirs is not None:
        return ratio(samples, bar.ours, bar.theirs, bar.measure)
    if bar.ours not in found:
        return None
    value: float = getattr(found[bar.ours], bar.measure)
    return value
