"""Latency at a fixed arrival rate, the time that callers see: counted from when each request was to be sent.

    .venv/bin/python -m benchmarks.open_loop --case png_multipart --shares 0.25 0.5 0.75
    .venv/bin/python -m benchmarks.open_loop --server floor --case png_raw --rates 500 1000 --no-write

Rates are given, or are shares of the capacity that a short closed-loop run with wrk finds first.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.arrivals import Summary, offer, schedule
from benchmarks.cases import CASES, Question
from benchmarks.environments import InstallationFailed
from benchmarks.machine import busy_share, cores, this_machine
from benchmarks.processes import terminated_as_interrupted
from benchmarks.report import record
from benchmarks.servers import SERVERS, CannotStart, Running, Server, check, python_of, running
from benchmarks.wrk import NoLoad, drive

CAPACITY_CONNECTIONS = 16
WARM_UP_SECONDS = 1.0


def capacity(asked: Sequence[Question], port: int, seconds: float) -> float:
    """Requests/s in a closed loop, after a second of warming."""
    drive(asked, port, WARM_UP_SECONDS, CAPACITY_CONNECTIONS)
    return drive(asked, port, seconds, CAPACITY_CONNECTIONS).requests_per_second


def require_right_answers(asked: list[Question], process: Running) -> None:
    wrong = check(asked, process.port)
    if wrong:
        raise CannotStart(wrong)


def measure(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    asked = server.questions(options.case)
    with running(server, python_of(server), cores()) as process:
        require_right_answers(asked, process)
        most = capacity(asked, process.port, options.seconds / 2)
        print(f"{server.title}, {CASES[options.case].title}: closed loop {most:,.0f} requests/s", flush=True)
        raw = [question.message.raw(process.port) for question in asked]
        summaries = []
        for rate in options.rates or [share * most for share in options.shares]:
            times = schedule(rate, options.seconds, None if options.even else options.seed)
            summaries.append(offer(raw, process.port, times, options.connections, options.processes))
            print(f"  {sentence(summaries[-1])}", flush=True)
    return {"capacity": most, "summaries": [asdict(one) for one in summaries]}


def sentence(summary: Summary) -> str:
    figures = [f"{name} {value:.2f}" for name in ("p50", "p90", "p99", "p999") if (value := getattr(summary, name))]
    statuses = ", ".join(f"{count} × {status}" for status, count in summary.statuses.items())
    behind = "" if summary.kept_up else f" (THE GENERATOR WAS LATE: p99 {summary.generator_late_p99:.1f} ms)"
    return f"{summary.offered_per_second:,.0f}/s: {' '.join(figures)} ms; {statuses}{behind}"


def arguments(text: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=SERVERS, default="percept")
    parser.add_argument("--case", choices=CASES, default="png_multipart")
    parser.add_argument("--connections", type=int, default=256, help="at most")
    parser.add_argument("--processes", type=int, default=1, help="that generate the load")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--even", action="store_true", help="evenly spaced, instead of as independent callers come")
    parser.add_argument("--no-write", action="store_true", help="print only, leave docs/ as it is")
    return parser


def command(module: str) -> str:
    return shlex.join(["python", "-m", f"benchmarks.{module}", *sys.argv[1:]])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rates", type=float, nargs="+", help="requests per second")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.25, 0.5, 0.75], help="of the capacity")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    server = SERVERS[options.server]
    if options.case not in server.endpoints:
        parser.error(f"{server.title} answers {', '.join(server.endpoints)}")
    before = busy_share()
    try:
        with terminated_as_interrupted():
            result = measure(server, options)
    except (CannotStart, InstallationFailed, NoLoad) as error:
        sys.exit(f"benchmarks.open_loop: {server.title}: {error}")
    except KeyboardInterrupt:
        sys.exit("benchmarks.open_loop: interrupted; nothing is written")
    if not options.no_write:
        about = {"server": server.title, "case": CASES[options.case].title, "even": options.even}
        record(
            "open_loop",
            about | {"command": command("open_loop"), "machine": asdict(this_machine(before, busy_share()))} | result,
        )


if __name__ == "__main__":
    main()
