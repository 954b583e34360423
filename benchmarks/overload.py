"""More requests than can be carried, in an open loop: what becomes of those served, those refused, and of memory.

    .venv/bin/python -m benchmarks.overload --cases png_raw photo --factor 4 --seconds 60

The capacity and the unloaded latency are those of the defaults, measured first; then comes the load, with the settings
that are given. The service has all cores but one and the generator has that one, as it would have a machine of its own.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.arrivals import Summary, offer, offering, schedule, summarise
from benchmarks.cases import CASES
from benchmarks.machine import busy_share, this_machine
from benchmarks.open_loop import WARM_UP_SECONDS, capacity, command, require_right_answers, sentence
from benchmarks.processes import terminated_as_interrupted
from benchmarks.report import overload, record
from benchmarks.servers import PERCEPT, CannotStart, running
from benchmarks.wrk import NoLoad, drive

CAPACITY_SECONDS = 4.0
UNLOADED_SECONDS = 5.0
# Few, so that a short queue has room for all.
WARM_UP_CONNECTIONS = 2
# Low enough that requests hardly ever meet.
UNLOADED_SHARE = 0.1
SAMPLE_SECONDS = 1.0
# What counts as flat: allocators keep what a burst needed once.
MOST_GROWTH = 1.1
MOST_SLOWER = 5.0
MOST_REFUSAL_MILLISECONDS = 10.0


def measure(case: str, options: argparse.Namespace) -> dict[str, Any]:
    serving, generating = divided(os.sched_getaffinity(0))
    with on_processors(generating):
        return overloaded(case, options, serving)


def overloaded(case: str, options: argparse.Namespace, serving: set[int]) -> dict[str, Any]:
    asked, python = PERCEPT.questions(case), Path(sys.executable)
    with running(PERCEPT, python, len(serving), processors=serving) as process:
        require_right_answers(asked, process)
        most = capacity(asked, process.port, CAPACITY_SECONDS)
        raw = [question.message.raw(process.port) for question in asked]
        calm = offer(raw, process.port, schedule(UNLOADED_SHARE * most, UNLOADED_SECONDS, options.seed))
    print(f"{CASES[case].title}: capacity {most:,.0f} requests/s; unloaded {sentence(calm)}", flush=True)
    environment = dict(setting.split("=", 1) for setting in options.settings)
    with running(PERCEPT, python, len(serving), environment, serving) as process:
        require_right_answers(asked, process)
        drive(asked, process.port, WARM_UP_SECONDS, WARM_UP_CONNECTIONS)
        raw = [question.message.raw(process.port) for question in asked]
        times = schedule(options.factor * most, options.seconds, options.seed)
        memory = [process.memory()]
        with offering(raw, process.port, times, options.connections, options.processes) as offered:
            end = offered.begin + options.seconds
            while time.monotonic() < end - SAMPLE_SECONDS:
                time.sleep(SAMPLE_SECONDS)
                memory.append(process.memory())
            loaded = summarise(offered.outcome(), times)
        print(f"  overloaded {sentence(loaded)}; memory {memory[0]:.0f} → {memory[-1]:.0f} MB", flush=True)
    return {
        "case": CASES[case].title,
        "capacity": most,
        "seconds": options.seconds,
        "cores": len(serving),
        "unloaded": asdict(calm),
        "overloaded": asdict(loaded),
        "memory_start": memory[0],
        "memory_most": max(memory),
        "memory_end": memory[-1],
        "bars": bars(calm, loaded, memory),
    }


def divided(processors: set[int]) -> tuple[set[int], set[int]]:
    """Those of the service, and that of the generator; of one processor they have half each."""
    *serving, generating = sorted(processors)
    return set(serving) or {generating}, {generating}


@contextlib.contextmanager
def on_processors(processors: set[int]) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def bars(calm: Summary, loaded: Summary, memory: list[float]) -> list[tuple[str, str, str, bool]]:
    """Title, wanted, measured, reached."""
    slower = loaded.p99 / calm.p99 if loaded.p99 is not None and calm.p99 else None
    growth = memory[-1] / memory[0]
    other = loaded.requests - loaded.refused - loaded.statuses.get("200", 0)
    refusal = loaded.refused_p99
    return [
        (
            "p99 of what is served, against unloaded",
            f"≤ {MOST_SLOWER:g} ×",
            "nothing was served" if slower is None else f"{slower:.1f} ×",
            slower is not None and slower <= MOST_SLOWER,
        ),
        (
            "time to be refused, p99",
            f"≤ {MOST_REFUSAL_MILLISECONDS:g} ms",
            "nothing was refused" if refusal is None else f"{refusal:.1f} ms",
            refusal is not None and refusal <= MOST_REFUSAL_MILLISECONDS,
        ),
        (
            "refused without Retry-After",
            "0",
            str(loaded.refused_without_retry_after),
            loaded.refused > 0 and not loaded.refused_without_retry_after,
        ),
        ("neither served nor refused", "0", f"{other:,}", other == 0),
        ("memory at the end, against the start", f"≤ {MOST_GROWTH:g} ×", f"{growth:.2f} ×", growth <= MOST_GROWTH),
        (
            "the generator kept its times",
            "yes",
            "yes" if loaded.kept_up else f"late by {loaded.generator_late_p99:.0f} ms, p99",
            loaded.kept_up,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=PERCEPT.endpoints, default=["png_raw", "photo"])
    parser.add_argument("--factor", type=float, default=4, help="times the capacity")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=512, help="at most")
    parser.add_argument("--processes", type=int, default=1, help="that generate the load")
    parser.add_argument(
        "--settings", nargs="+", default=[], metavar="PERCEPT_…=…", help="of Percept, else the defaults"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-write", action="store_true", help="print only, leave docs/ as it is")
    options = parser.parse_args()
    before = busy_share()
    try:
        with terminated_as_interrupted():
            runs = [measure(case, options) for case in options.cases]
    except (CannotStart, NoLoad) as error:
        sys.exit(f"benchmarks.overload: {error}")
    except KeyboardInterrupt:
        sys.exit("benchmarks.overload: interrupted; nothing is written")
    result = {"command": command("overload"), "machine": asdict(this_machine(before, busy_share())), "runs": runs}
    print(overload(result))
    if not options.no_write:
        record("overload", result)


if __name__ == "__main__":
    main()
