"""Percept against other servers: the same model, the same requests, the same load, in turn.

    .venv/bin/python -m benchmarks.serving --rounds 3 --seconds 4
    .venv/bin/python -m benchmarks.serving --servers percept floor --cases png_raw --no-write

Needs wrk on PATH. Every peer gets a virtual environment of its own below .venv-bench when it is first asked for. The
result is printed and written to docs/benchmark.md and docs/benchmark.json.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.comparison import IDLE, IN_PROCESS, Failure, Sample
from benchmarks.environments import InstallationFailed, versions
from benchmarks.machine import busy_share, cores, this_machine
from benchmarks.processes import terminated_as_interrupted
from benchmarks.report import comparison, record
from benchmarks.servers import PERCEPT, SERVERS, CannotStart, Running, Server, check, python_of, running
from benchmarks.wrk import Load, NoLoad, drive, require_wrk

# Percept measures what its models' rows cost when it has said that it is ready: under load that takes 1.5 s.
WARM_UP_SECONDS = 2.0
CONNECTIONS = 16
# What a photograph costs is a matter of decoding; it is for the overload run.
COMPARED = [key for key in CASES if key != "photo"]
# Where the model, not HTTP, is most of the cost: what a server could reach at most.
IN_PROCESS_CASES = ("binary_256",)
ONE_WORKER = replace(
    PERCEPT,
    key="percept_1",
    title="Percept, 1 worker",
    endpoints={"png_raw": PERCEPT.endpoints["png_raw"]},
    environment={"PERCEPT_WORKERS": "1"},
)


@dataclass
class Run:
    """What a command asks for and what has come of it so far."""

    rounds: int
    seconds: float
    connections: int
    workers: int
    cases: list[str]
    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def fail(self, failure: Failure) -> None:
        if failure not in self.failures:
            print(f"  {failure.server} {failure.case}: {failure.reason}", flush=True)
            self.failures.append(failure)


@dataclass(frozen=True)
class Contestant:
    server: Server
    python: Path
    workers: int


def contestants(keys: list[str], run: Run) -> Iterator[Contestant]:
    """Those whose environment could be made; the others are failures in every case they would have run in."""
    for key in keys:
        server = SERVERS[key]
        try:
            print(f"environment of {server.title}", flush=True)
            yield Contestant(server, python_of(server), run.workers)
        except InstallationFailed as error:
            fail_everywhere(server, f"not installed: {error}", run)


def fail_everywhere(server: Server, reason: str, run: Run) -> None:
    for case in server.endpoints:
        if case in run.cases:
            run.fail(Failure(server.key, case, reason))


def compete(contestant: Contestant, number: int, run: Run, idle: bool = True) -> None:
    """One server's part of a round: start, check and measure each case, stop."""
    server = contestant.server
    print(f"round {number} of {run.rounds}: {server.title}", flush=True)
    try:
        with running(server, contestant.python, contestant.workers) as process:
            for case in [case for case in server.endpoints if case in run.cases]:
                measure(server, process, case, number, run)
            if idle and server.idle in run.cases:
                measure_idle(server, process, number, run)
    except CannotStart as error:
        fail_everywhere(server, f"not started: {error}", run)


def measure(server: Server, process: Running, case: str, number: int, run: Run) -> None:
    asked = server.questions(case)
    wrong = check(asked, process.port)
    if wrong:
        run.fail(Failure(server.key, case, wrong))
        return
    try:
        drive(asked, process.port, WARM_UP_SECONDS, run.connections)
        load = drive(asked, process.port, run.seconds, run.connections)
    except NoLoad as error:
        run.fail(Failure(server.key, case, str(error)))
        return
    take(sample(server, process, case, number, load), run)


def measure_idle(server: Server, process: Running, number: int, run: Run) -> None:
    """One connection that asks, waits for the answer, and asks again."""
    asked = server.questions(server.idle)
    if check(asked, process.port) is None:
        load = drive(asked, process.port, max(1.0, run.seconds / 2), 1)
        take(replace(sample(server, process, IDLE, number, load), rows=1), run)


def sample(server: Server, process: Running, case: str, number: int, load: Load) -> Sample:
    return Sample(
        round=number,
        server=server.key,
        case=case,
        rows=CASES[case].rows if case in CASES else 1,
        requests_per_second=load.requests_per_second,
        p50=load.p50,
        p99=load.p99,
        p999=load.p999,
        errors=load.errors,
        memory=process.memory(),
        start_seconds=process.start_seconds,
    )


def take(one: Sample, run: Run) -> None:
    run.samples.append(one)
    print(
        f"  {one.case:<14} {one.requests_per_second:>9,.0f} requests/s  p50 {one.p50:.2f}  p99 {one.p99:.2f} ms  "
        f"{one.errors} errors  {one.memory:.0f} MB",
        flush=True,
    )


def measure_in_process(number: int, run: Run) -> None:
    """In a process of its own, so that nothing of this one is in the way."""
    for case in [case for case in IN_PROCESS_CASES if case in run.cases]:
        count = CASES[case].rows
        options = ["--threads", str(run.workers), "--rows", str(count), "--seconds", str(run.seconds)]
        told = subprocess.check_output([sys.executable, "-m", "benchmarks.in_process", *options], text=True)
        take(Sample(number, IN_PROCESS, case, count, float(told) / count, 0, 0, 0, 0, 0, 0), run)


def compare(keys: list[str], run: Run) -> dict[str, str]:
    """All rounds; returns the versions of the servers."""
    entered = list(contestants(keys, run))
    found = {one.server.key: versions(one.python).get(one.server.package, "unknown") for one in entered}
    for number in range(1, run.rounds + 1):
        for one in entered:
            compete(one, number, run)
        if "percept" in keys:
            compete_with_one_worker(number, run)
        measure_in_process(number, run)
    return found


def compete_with_one_worker(number: int, run: Run) -> None:
    """Only what the bar on memory needs."""
    if "png_raw" in run.cases:
        compete(Contestant(ONE_WORKER, Path(sys.executable), 1), number, run, idle=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of load for each case in each round")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--cases", nargs="+", choices=COMPARED, default=COMPARED)
    parser.add_argument("--no-write", action="store_true", help="print only, leave docs/ as it is")
    options = parser.parse_args()
    run = Run(options.rounds, options.seconds, options.connections, cores(), options.cases)
    before = busy_share()
    try:
        require_wrk()
        with terminated_as_interrupted():
            found = compare(options.servers, run)
    except NoLoad as error:
        sys.exit(f"benchmarks.serving: {error}")
    except KeyboardInterrupt:
        sys.exit("benchmarks.serving: interrupted; nothing is written")
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.serving", *sys.argv[1:]]),
        "machine": asdict(this_machine(before, busy_share())),
        "rounds": run.rounds,
        "seconds": run.seconds,
        "warm_up": WARM_UP_SECONDS,
        "connections": run.connections,
        "workers": run.workers,
        "titles": {server.key: server.title for server in (*SERVERS.values(), ONE_WORKER)}
        | {IN_PROCESS: "onnxruntime in process"},
        "versions": found,
        "samples": [asdict(one) for one in run.samples],
        "failures": [asdict(failure) for failure in run.failures],
    }
    print(comparison(result))
    if not options.no_write:
        record("comparison", result)


if __name__ == "__main__":
    main()
