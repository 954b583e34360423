"""Medians, ratios and bars, with figures that can be checked in the head."""

import pytest

from benchmarks.comparison import Bar, Cell, Sample, Verdict, medians, ratio, verdicts

OURS, THEIRS = Cell("percept", "json_64"), Cell("mlserver", "json_64")


def sample(number: int, server: str, rate: float, p50: float = 1.0, errors: int = 0) -> Sample:
    return Sample(number, server, "json_64", 64, rate, p50, 2.0, 3.0, errors, 100.0, 0.5)


SAMPLES = [
    sample(1, "percept", 10, p50=4, errors=1),
    sample(1, "mlserver", 5, p50=2),
    sample(2, "percept", 30, p50=6, errors=2),
    sample(2, "mlserver", 10, p50=2),
    sample(3, "percept", 20, p50=5),
    sample(3, "mlserver", 20, p50=10),
]


def test_median_is_of_the_rounds_and_errors_are_their_sum() -> None:
    median = medians(SAMPLES)[OURS]

    assert (median.rounds, median.requests_per_second, median.rows_per_second) == (3, 20, 1_280)
    assert (median.slowest, median.fastest) == (10, 30)
    assert (median.p50, median.p99, median.p999, median.errors) == (5, 2, 3, 3)


def test_ratio_is_the_median_of_those_within_a_round() -> None:
    assert ratio(SAMPLES, OURS, THEIRS) == 2  # of 2, 3 and 1; the medians themselves are 20 and 10
    assert ratio(SAMPLES, OURS, THEIRS, "p50") == 2  # of 2, 3 and 0.5


def test_ratio_needs_a_round_that_has_both() -> None:
    assert ratio([sample(1, "percept", 10), sample(2, "mlserver", 5)], OURS, THEIRS) is None
    assert ratio([], OURS, THEIRS) is None


@pytest.mark.parametrize(
    ("bar", "rounds", "value", "reached", "in_every_round"),
    [
        (Bar("reached exactly", OURS, 2.0, THEIRS), [2, 3, 1], 2.0, True, False),
        (Bar("in every round", OURS, 1.0, THEIRS), [2, 3, 1], 2.0, True, True),
        (Bar("not reached", OURS, 2.1, THEIRS), [2, 3, 1], 2.0, False, False),
        (Bar("at most", OURS, 4.9, measure="p50", at_most=True), [4, 6, 5], 5.0, False, False),
        (Bar("not measured", Cell("percept", "png_raw"), 1.0), [], None, False, False),
    ],
    ids=lambda value: value.title if isinstance(value, Bar) else "",
)
def test_bar(bar: Bar, rounds: list[float], value: float | None, reached: bool, in_every_round: bool) -> None:
    [verdict] = verdicts(SAMPLES, [bar])

    assert verdict == Verdict(bar, rounds)
    assert (verdict.value, verdict.reached, verdict.in_every_round) == (value, reached, in_every_round)


def test_target_names_sign_and_unit() -> None:
    assert Bar("", OURS, 1.2, THEIRS).target() == "≥ 1.2 ×"
    assert Bar("", OURS, 0.5, measure="p50", at_most=True).target() == "≤ 0.5 ms"
