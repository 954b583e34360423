"""docs/benchmark.json and the docs/benchmark.md that is written from it. Every run replaces its own section only."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.arrivals import Summary
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
    "server", "requests/s", "slowest … fastest round", "images/s", "p50 ms", "p99 ms", "p99.9 ms", "errors",
    "memory MB", "start s", "Percept is"
)  # fmt: skip
RATE_HEADER = ("arrivals", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "answers", "late ms")
OVERLOAD_HEADER = (
    "load", "served/s", "p50 ms", "p99 ms", "refused", "refused p50 ms", "refused p99 ms", "answers", "late ms"
)  # fmt: skip
BAR_HEADER = ("bar", "wanted", "measured", "reached")
VERDICT_HEADER = ("bar", "wanted", "measured", "lowest … highest round", "reached")


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
    parts += ["### Bars\n", table(VERDICT_HEADER, map(bar_row, verdicts(samples)))]
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
        "idle. Figures are medians of the rounds, errors their sum, memory what the whole process tree holds after the "
        "load, start the time to the first 200, and “Percept is” the median of the ratios within the rounds "
        "(requests/s; for the idle server how many times lower its p50 is). wrk spreads the delay of a late answer "
        "over the requests it held up, for all servers alike.\n\n"
        "Which of several workers gets how many of the connections is the kernel's draw, once per run of wrk: where "
        "one got nearly all, Percept with two workers was seen near the speed of one. That and other work on the same "
        "cores make rounds of one server differ; “median only” marks a bar that did not hold in every round.\n"
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
    spread = f"{median.slowest:,.0f} … {median.fastest:,.0f}"
    rates = [f"{median.requests_per_second:,.0f}", spread, f"{median.rows_per_second:,.0f}"]
    return [title, *rates, *latencies, str(median.errors), *memory, "" if lead is None else f"{lead:.2f} ×"]


def bar_row(verdict: Verdict) -> list[str]:
    """A median on the right side with a round on the wrong one is told apart from a bar that always held."""
    if verdict.value is None:
        return [verdict.bar.title, verdict.bar.target(), "not measured", "", "no"]
    spread = f"{min(verdict.rounds):.2f} … {max(verdict.rounds):.2f}"
    reached = ("yes" if verdict.in_every_round else "median only") if verdict.reached else "no"
    return [verdict.bar.title, verdict.bar.target(), f"{verdict.value:.2f}", spread, reached]


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body)) + "\n"


def about(title: str, result: Mapping[str, Any]) -> str:
    return f"## {title}\n\n`{result['command']}` · {Machine(**result['machine']).sentence()}.\n"


def open_loop(result: Mapping[str, Any]) -> str:
    summaries = [Summary(**one) for one in result["summaries"]]
    spacing = "evenly spaced" if result["even"] else "as independent callers come (Poisson)"
    text = (
        f"{result['server']}, {result['case']}: requests leave at times fixed beforehand, {spacing}, and a latency "
        "counts from the time a request was to leave. The closed loop reached "
        f"{result['capacity']:,.0f} requests/s. “Late” is how long after their time requests left, p99, by the "
        "generator's own fault.\n"
    )
    return "\n".join([about("Latency at a fixed rate", result), text, table(RATE_HEADER, map(rate_row, summaries))])


def rate_row(summary: Summary) -> list[str]:
    latencies = [milliseconds(value) for value in (summary.p50, summary.p90, summary.p99, summary.p999)]
    late = f"{summary.generator_late_p99:.2f}{'' if summary.kept_up else ' (could not keep up)'}"
    return [f"{summary.offered_per_second:,.0f}/s", *latencies, statuses(summary), late]


def milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def statuses(summary: Summary) -> str:
    return ", ".join(f"{count:,} × {status}" for status, count in summary.statuses.items())


def overload(result: Mapping[str, Any]) -> str:
    parts = [about("Overload", result)]
    for run in result["runs"]:
        calm, loaded = Summary(**run["unloaded"]), Summary(**run["overloaded"])
        parts.append(
            f"### {run['case']}\n\nCapacity in a closed loop {run['capacity']:,.0f} requests/s, on "
            f"{run['cores']} core{'s' * (run['cores'] > 1)} beside the generator's; then "
            f"{loaded.offered_per_second:,.0f}/s for {run['seconds']:g} s. Memory {run['memory_start']:.0f} MB "
            f"at the start, at most {run['memory_most']:.0f}, at the end {run['memory_end']:.0f}.\n"
        )
        parts.append(table(OVERLOAD_HEADER, [overload_row("unloaded", calm), overload_row("overloaded", loaded)]))
        parts.append(table(BAR_HEADER, [[*row[:3], "yes" if row[3] else "no"] for row in run["bars"]]))
    return "\n".join(parts)


def overload_row(title: str, summary: Summary) -> list[str]:
    late = f"{summary.generator_late_p99:.2f}{'' if summary.kept_up else ' (could not keep up)'}"
    return [
        title,
        f"{summary.served_per_second:,.0f}",
        milliseconds(summary.p50),
        milliseconds(summary.p99),
        f"{summary.refused:,}",
        milliseconds(summary.refused_p50),
        milliseconds(summary.refused_p99),
        statuses(summary),
        late,
    ]


def robustness(result: Mapping[str, Any]) -> str:
    return "\n".join([about("Reload and lost workers under load", result), table(BAR_HEADER, result["bars"])])


def scaling(result: Mapping[str, Any]) -> str:
    pictures = [f"![{title}](figures/{name}.png)\n" for name, title in result["figures"].items()]
    notes = [f"- {note}" for note in result["notes"]]
    return "\n".join([about("Scaling", result), *pictures, *notes, *([""] if notes else [])])


SECTIONS = {
    "comparison": comparison,
    "open_loop": open_loop,
    "overload": overload,
    "robustness": robustness,
    "scaling": scaling,
}
