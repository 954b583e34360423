"""The document is made of the results alone, and what could not be measured is in it with its reason."""

from benchmarks.comparison import Failure, Median, Sample
from benchmarks.report import case_rows, document, median_row, table

TITLES = {"percept": "Percept", "floor": "Floor", "ray_serve": "Ray Serve"}


def sample(server: str, rate: float) -> Sample:
    return Sample(1, server, "png_raw", 1, rate, 1.5, 4.25, 9.999, 0, 120.4, 0.61)


def test_rows_are_fastest_first_and_failures_come_last() -> None:
    samples = [sample("floor", 1_000), sample("percept", 2_500)]
    failures = [Failure("ray_serve", "png_raw", "not started: ended with 1"), Failure("floor", "json_1", "elsewhere")]

    assert case_rows("png_raw", samples, failures, TITLES) == [
        ["Percept", "2,500", "2,500 … 2,500", "2,500", "1.50", "4.25", "10.00", "0", "120", "0.6", ""],
        ["Floor", "1,000", "1,000 … 1,000", "1,000", "1.50", "4.25", "10.00", "0", "120", "0.6", "2.50 ×"],
        ["Ray Serve", "not started: ended with 1", *[""] * 9],
    ]


def test_what_is_no_server_has_rates_only() -> None:
    row = median_row("onnxruntime", Median(3, 120.4, 110, 128, 30_822.4, 0, 0, 0, 0, 0, 0), 0.9)

    assert row == ["onnxruntime", "120", "110 … 128", "30,822", "–", "–", "–", "0", "–", "–", "0.90 ×"]


def test_table() -> None:
    assert table(("server", "requests/s"), [("Percept", "2")]) == (
        "| server | requests/s |\n| --- | ---: |\n| Percept | 2 |\n"
    )


def test_document_without_results_is_its_opening() -> None:
    assert document({}).startswith("# Benchmark\n")
