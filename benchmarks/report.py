"""docs/benchmark.json and the docs/benchmark.md that is written from it. Every run replaces its own section only."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.cases import CASES
from benchmarks.comparison import IDLE, Cell, Failure, Median, Sample, Verdict, medians, ratio, verdicts
from benchmarks.environments import ROOT
from benchmarks.machine import Machine

RESULTS = ROOT / "docs" / "benchmark.json"
DOCUMENT = ROOT / "docs" / "benchmark.md"
FIGURES = ROOT / "docs" / "figures"

OPENING = """# Benchmark

Written by the commands it names, from `docs/benchmark.json`; do not edit. Machines differ: compare within one run.
"""
HEADER = (
    "server", "requests/s", "images/s", "p50 ms", "p99 ms", "p99.9 ms", "errors", "memory MB", "start s", "Percept is"
)  # fmt: skip
BAR_HEADER = ("bar", "wanted", "measured", "reached")


def record(section: str, result: Mapping[str, Any]) -> None:
    """Put one run's result into both files."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results[section] = result
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    DOCUMENT.write_text(document(results), encoding="utf-8")


def document(results: Mapping[str, Any]) -> str:
    written = [write(results[name]) for name, write in SECTIONS.items() if name in results]
    return "\n".join([OPENING, *written])


def comparison(result: Mapping[str, Any]) -> str:
    samples = [Sample(**sample) for sample in result["samples"]]
    failures = [Failure(**failure) for failure in result["failures"]]
    titles, versions = result["titles"], result["versions"]
    parts = ["## Against other servers\n", settings(result)]
    for case in (*CASES, IDLE):
        body = case_rows(case, samples, failures, titles)
        if body:
            parts.append(f"### {CASES[case].title if case in CASES else 'idle server, one connection'}\n")
            parts.append(table(HEADER, body))
    parts += ["### Bars\n", table(BAR_HEADER, map(bar_row, verdicts(samples)))]
    named = (f"{titles[server]} {version}" for server, version in versions.items())
    parts.append(f"Versions: {', '.join(named)}.\n")
    return "\n".join(parts)


def settings(result: Mapping[str, Any]) -> str:
    return (
        f"`{result['command']}` · {Machine(**result['machine']).sentence()}.\n\n"
        f"{result['connections']} connections with keep-alive from one thread of wrk on the same cores, "
        f"{result['rounds']} rounds of {result['seconds']:g} s after {result['warm_up']:g} s of warming, "
        f"{result['workers']} workers each. In every round each server is started, checked (every answer against "
        "onnxruntime in process, 1e-4), measured and stopped, one after the other: some burn processor time while "
        "idle. Figures are medians of the rounds, errors their sum, memory the PSS of the whole process tree after the "
        "load, start the time to the first 200, and “Percept is” the median of the ratios within the rounds "
        "(requests/s; for the idle server how many times lower its p50 is). wrk spreads the delay of a late answer "
        "over the requests it held up, for all servers alike.\n"
    )


def case_rows(
    case: str, samples: Sequence[Sample], failures: Iterable[Failure], titles: Mapping[str, str]
) -> list[list[str]]:
    """Fastest first, then those that gave no figure, with the reason."""
    found = {cell.server: median for cell, median in medians(samples).items() if cell.case == case}
    order = sorted(found, key=lambda server: -found[server].requests_per_second)
    body = [median_row(titles[server], found[server], _lead(case, server, samples)) for server in order]
    missing = {failure.server: failure.reason for failure in failures if failure.case == case}
    body += [[titles[server], reason, *[""] * (len(HEADER) - 2)] for server, reason in missing.items()]
    return body


def _lead(case: str, server: str, samples: Sequence[Sample]) -> float | None:
    if server == "percept":
        return None
    if case == IDLE:
        return ratio(samples, Cell(server, case), Cell("percept", case), "p50")
    return ratio(samples, Cell("percept", case), Cell(server, case))


def median_row(title: str, median: Median, lead: float | None) -> list[str]:
    if median.p50 == 0:  # no server, so no requests
        latencies, memory = ["–"] * 3, ["–"] * 2
    else:
        latencies = [f"{value:.2f}" for value in (median.p50, median.p99, median.p999)]
        memory = [f"{median.memory:.0f}", f"{median.start_seconds:.1f}"]
    rates = [f"{median.requests_per_second:,.0f}", f"{median.rows_per_second:,.0f}"]
    return [title, *rates, *latencies, str(median.errors), *memory, "" if lead is None else f"{lead:.2f} ×"]


def bar_row(verdict: Verdict) -> list[str]:
    measured = "not measured" if verdict.value is None else f"{verdict.value:.2f}"
    return [verdict.bar.title, verdict.bar.target(), measured, "yes" if verdict.reached else "no"]


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body)) + "\n"


SECTIONS = {"comparison": comparison}
