"""How requests/s change with connections, rows in a request, models loaded and workers; drawn into docs/figures.

.venv/bin/python -m benchmarks.scaling --seconds 2 --rounds 3
.venv/bin/python -m benchmarks.scaling --runs models --models 1 100 --no-write
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.cases import CASES, Question, questions, rows
from benchmarks.environments import InstallationFailed
from benchmarks.in_process import rows_per_second
from benchmarks.machine import busy_share, cores, this_machine
from benchmarks.model_folders import add_version, renamed
from benchmarks.open_loop import command, require_right_answers
from benchmarks.processes import terminated_as_interrupted
from benchmarks.report import FIGURES, record, scaling
from benchmarks.servers import PERCEPT, SERVERS, CannotStart, Running, Server, check, python_of, running
from benchmarks.wrk import NoLoad, drive

WARM_UP_SECONDS = 1.0
CONNECTIONS = 16
CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BATCHES = (1, 4, 16, 64, 256, 1_024)
MODELS = (1, 10, 30, 100)
WANTED_WITH_MANY_MODELS = 0.9
COLOURS = ("#2563c9", "#e08a1e", "#5b8c5a")
DPI = 80


@dataclass(frozen=True)
class Series:
    """One line of a figure; x → the figures of all rounds."""

    label: str
    values: Mapping[int, list[float]]

    def medians(self) -> dict[int, float]:
        return {x: statistics.median(rounds) for x, rounds in self.values.items() if rounds}


@dataclass(frozen=True)
class Scaling:
    """One figure, and a sentence or more about it."""

    title: str
    x: str
    y: str
    series: list[Series]
    notes: list[str]


@contextmanager
def ready(server: Server, workers: int, environment: Mapping[str, str], asked: list[Question]) -> Iterator[Running]:
    with running(server, python_of(server), workers, environment) as process:
        require_right_answers(asked, process)
        yield process


def rate(asked: Sequence[Question], process: Running, seconds: float, connections: int = CONNECTIONS) -> float:
    """Requests/s; what fails is none."""
    drive(asked, process.port, WARM_UP_SECONDS, connections)
    load = drive(asked, process.port, seconds, connections)
    if load.errors:
        print(f"    {load.errors} of {load.requests} failed", flush=True)
    return load.requests_per_second


def by_connections(options: argparse.Namespace) -> Scaling:
    series = []
    for server in (PERCEPT, SERVERS["floor"]):
        asked = server.questions("png_raw")
        values: dict[int, list[float]] = {count: [] for count in CONCURRENCIES}
        with ready(server, cores(), {}, asked) as process:
            for count in CONCURRENCIES:
                values[count].append(rate(asked, process, options.seconds, count))
                tell(f"{server.title}, {count} connections", values[count][-1])
        series.append(Series(server.title, values))
    return Scaling("One PNG, raw body", "connections", "requests/s", series, [])


def by_rows(options: argparse.Namespace) -> Scaling:
    """A form that the service refuses at some size ends there, and is told."""
    ours: dict[int, list[float]] = {count: [] for count in BATCHES}
    alone: dict[int, list[float]] = {count: [] for count in BATCHES}
    notes = []
    with running(PERCEPT, Path(sys.executable), cores()) as process:
        for count in BATCHES:
            asked = questions(replace(CASES["binary_1"], rows=count), PERCEPT.endpoints["binary_1"].path)
            wrong = check(asked, process.port)
            if wrong:
                notes.append(f"{count:,} rows in a request: {wrong}.")
                continue
            ours[count].append(count * rate(asked, process, options.seconds))
            tell(f"{count} rows", ours[count][-1])
    for count in BATCHES:
        batch = rows(count)
        alone[count].append(rows_per_second(cores(), batch, options.seconds / 2))
    series = [Series("Percept, binary tensor", ours), Series("onnxruntime in process", alone)]
    return Scaling("Rows in a request", "rows", "images/s", series, notes)


def by_models(options: argparse.Namespace) -> Scaling:
    """Asked for one of them, and for all in turn: the first is what being loaded costs, the second also loses merged
    batches and caches. Few and many are measured in turn, so that drift is not taken for cost; by one worker, since how
    connections are divided among several changes from run to run by more than what is looked for."""
    one: dict[int, list[float]] = {count: [] for count in options.models}
    turn: dict[int, list[float]] = {count: [] for count in options.models}
    for _ in range(options.rounds):
        for count in options.models:
            rates = rates_with_models(count, options.seconds)
            one[count].append(rates[0])
            turn[count].append(rates[1])
            tell(f"{count} models, one asked", rates[0])
            tell(f"{count} models, all asked in turn", rates[1])
    kept = ratio_of_ends(one)
    reached = "reached" if kept >= WANTED_WITH_MANY_MODELS else "not reached"
    notes = [
        f"{max(one)} models loaded against {min(one)}, one worker, requests to one of them: {kept:.2f} × the "
        f"requests/s (rounds {listed(one)}; wanted ≥ {WANTED_WITH_MANY_MODELS:g}: {reached}); to all in turn: "
        f"{ratio_of_ends(turn):.2f} × (rounds {listed(turn)})."
    ]
    series = [Series("Percept, one of them asked", one), Series("Percept, all asked in turn", turn)]
    return Scaling("Models loaded", "models", "requests/s", series, notes)


def ratios_of_ends(values: Mapping[int, list[float]]) -> list[float]:
    """The most against the least, in each round."""
    least, most = values[min(values)], values[max(values)]
    return [many / few for many, few in zip(most, least, strict=True)]


def ratio_of_ends(values: Mapping[int, list[float]]) -> float:
    return statistics.median(ratios_of_ends(values))


def listed(values: Mapping[int, list[float]]) -> str:
    return ", ".join(f"{ratio:.2f}" for ratio in ratios_of_ends(values))


def rates_with_models(count: int, seconds: float) -> tuple[float, float]:
    """Requests/s to one of them, and to all in turn."""
    names = [f"copy-{number}" for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="percept-artifacts-") as place:
        for name in names:
            add_version(Path(place), name, 1, renamed(name))
        endpoint = PERCEPT.endpoints["png_raw"]._replace(path="/predict/copy-0")
        server = replace(PERCEPT, endpoints={"png_raw": endpoint})
        alone = server.questions("png_raw")
        turn = [questions(CASES["png_raw"], f"/predict/{name}")[number % 10] for number, name in enumerate(names)]
        # With one model both are the same requests.
        turn = turn if count > 1 else alone
        with ready(server, 1, {"PERCEPT_ARTIFACTS": place, "PERCEPT_WORKERS": "1"}, turn) as process:
            return rate(alone, process, seconds), rate(turn, process, seconds)


def by_workers(options: argparse.Namespace) -> Scaling:
    asked = PERCEPT.questions("png_raw")
    counts = range(1, cores() + 1)
    values: dict[int, list[float]] = {count: [] for count in counts}
    memory: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(options.rounds):
        for count in counts:
            with ready(PERCEPT, count, {"PERCEPT_WORKERS": str(count)}, asked) as process:
                values[count].append(rate(asked, process, options.seconds))
                memory[count].append(process.memory())
                tell(f"{count} workers", values[count][-1])
    notes = [f"{count} workers hold {statistics.median(memory[count]):.0f} MB." for count in counts]
    return Scaling("Workers", "workers", "requests/s", [Series("Percept, one PNG, raw body", values)], notes)


def tell(what: str, value: float) -> None:
    print(f"  {what}: {value:,.0f}/s", flush=True)


def draw(found: Scaling, path: Path) -> None:
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for colour, series in zip(COLOURS, found.series, strict=False):
        medians = series.medians()
        axes.plot(list(medians), list(medians.values()), color=colour, marker="o", markersize=4, label=series.label)
    places = sorted({x for series in found.series for x in series.values})
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, [f"{x:,}" for x in places], minor=False)
    axes.minorticks_off()
    axes.set(xlabel=found.x, ylabel=found.y, title=found.title)
    axes.set_ylim(bottom=0)
    axes.grid(color="#eceef1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)


RUNS: dict[str, Callable[[argparse.Namespace], Scaling]] = {
    "connections": by_connections,
    "rows": by_rows,
    "models": by_models,
    "workers": by_workers,
}


def attempt(name: str, options: argparse.Namespace) -> Scaling | str:
    """What the service does not answer is a note, not the end of the other runs."""
    print(name, flush=True)
    try:
        return RUNS[name](options)
    except (CannotStart, InstallationFailed) as error:
        print(f"  {error}", flush=True)
        return f"{name}: {error}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="of models and workers")
    parser.add_argument("--models", type=int, nargs="+", default=list(MODELS))
    parser.add_argument("--no-write", action="store_true", help="print only, leave docs/ as it is")
    options = parser.parse_args()
    before = busy_share()
    try:
        with terminated_as_interrupted():
            found = {name: attempt(name, options) for name in options.runs}
    except NoLoad as error:
        sys.exit(f"benchmarks.scaling: {error}")
    except KeyboardInterrupt:
        sys.exit("benchmarks.scaling: interrupted; nothing is written")
    result = {
        "command": command("scaling"),
        "machine": asdict(this_machine(before, busy_share())),
        "figures": {name: one.title for name, one in found.items() if isinstance(one, Scaling)},
        "notes": [note for one in found.values() for note in ([one] if isinstance(one, str) else one.notes)],
        "runs": {name: asdict(one) for name, one in found.items() if isinstance(one, Scaling)},
    }
    print(scaling(result))
    if not options.no_write:
        for name, one in found.items():
            if isinstance(one, Scaling):
                draw(one, FIGURES / f"{name}.png")
        record("scaling", result)


if __name__ == "__main__":
    main()
