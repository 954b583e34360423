"""What the exported models have to reach, measured again: `python -m training.check`, or `percept models --check`, the
same. Reads artifacts as they lie there and asks onnxruntime; builds no network and changes nothing."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from app.card import Card, ImageInput, read_card
from training import export, filters, saliency
from training.__main__ import INTERRUPTED, SYSTEMS
from training.data import DataError
from training.system import System, Workplace
from training.table import aligned

# Two of 10,000 test pictures whose best classes are as good as each other may be answered the other way on another
# processor. Of figures above 1 it is a share.
ROUNDING = 2e-4
WELL, SHORT, NOT_MEASURED = 0, 1, 2


@dataclass(frozen=True)
class Finding:
    """One figure of one artifact, or with `figure` empty what is to be said of the whole."""

    model: str
    figure: str
    goal: float | None
    claimed: float | None  # by the card
    measured: float | None
    verdict: str
    code: int = WELL


def check(system: System, artifacts: Path, workplace: Workplace) -> Iterator[Finding]:
    """Every version that lies there."""
    files = export.versions(artifacts / system.name)
    if not files:
        missing = f"missing: there is none in {artifacts / system.name}; percept train {system.name} makes it"
        yield whole(system.name, missing, SHORT)
    for file in files:
        model = system.name if len(files) == 1 else f"{system.name} {file.parent.name}"
        try:
            graph = file.read_bytes()
            card = card_of(graph, system.name)
            yield from beside(model, file, graph, card)
            if file == files[-1] and filters.stale(artifacts, system.name):
                yield whole(model, f"{filters.WHERE}: stale: not the filters of {file}; {again(system.name)}", SHORT)
            measured = system.evaluate(graph, workplace, card.metrics)
        except DataError as error:
            yield whole(model, f"not measured: {error}", NOT_MEASURED)
        # A graph that is not what it should be fails in any way that onnxruntime and NumPy know.
        except Exception as error:
            yield whole(model, f"broken: {file}: {type(error).__name__}: {error}", SHORT)
        else:
            yield from compare(model, system, card, measured)


def beside(model: str, file: Path, graph: bytes, card: Card) -> Iterator[Finding]:
    """Beside an image classifier lies the gradient of its scores, without which the service explains less; its card
    says so where there can be none."""
    if card.task != "classification" or not isinstance(card.input, ImageInput):
        return
    lies = file.with_name(saliency.FILE)
    why = next((note for note in card.notes if note.startswith(saliency.WITHOUT)), None)
    if why and not lies.is_file():
        yield whole(model, why, WELL)
        return
    fault = saliency.fault(lies.read_bytes(), graph) if lies.is_file() else "there is none"
    if fault:
        yield whole(model, f"{lies}: {fault}; {again(card.name)}", SHORT)


def again(name: str) -> str:
    return f"python -m training.beside {name} makes it again"


def card_of(graph: bytes, name: str) -> Card:
    """Raises ValueError if it has none, or another model's."""
    card = read_card(export.opened(graph).get_modelmeta().custom_metadata_map)
    if card is None or card.name != name:
        raise ValueError(f"its card is of {card.name!r}, not of {name!r}" if card else "it has no card")
    return card


def whole(model: str, verdict: str, code: int) -> Finding:
    return Finding(model, "", None, None, None, verdict, code)


def compare(model: str, system: System, card: Card, measured: Mapping[str, float]) -> Iterator[Finding]:
    """What has to reach something first; then what is only to be as the card says. A goal that the card does not know
    was set after the training."""
    goals = {
        figure: max(floor.get(figure, -float("inf")) for floor in (system.floor, card.floor))
        for figure in (*system.floor, *card.floor)
    }
    for figure in dict.fromkeys([*goals, *measured]):
        goal, claimed, now = goals.get(figure), card.metrics.get(figure), measured.get(figure)
        fault = fault_of(goal, claimed, now)
        if fault is None and figure in system.floor and figure not in card.floor:
            fault = f"its card has no such floor: percept train {system.name}"
        told = f"from the training: percept train {system.name}" if now is None else "ok"
        yield Finding(model, figure, goal, claimed, now, fault or told, SHORT if fault else WELL)


def fault_of(goal: float | None, claimed: float | None, measured: float | None) -> str | None:
    """What cannot be measured on the graph has to reach its goal by what the card says of the training."""
    value = claimed if measured is None else measured
    if value is None:
        return "neither measured nor on the card"
    if goal is not None and not value >= goal:
        return f"{goal - value:.4g} below its goal"
    if claimed is None or measured is None or abs(measured - claimed) <= ROUNDING * max(1.0, abs(claimed)):
        return None
    return f"the card says {abs(claimed - measured):.4g} {'more' if claimed > measured else 'less'}"


def table(findings: Sequence[Finding]) -> str:
    head = ("model", "figure", "goal", "card", "measured", "verdict")
    rows = [
        (
            each.model,
            each.figure.replace("_", " "),
            *map(number, (each.goal, each.claimed, each.measured)),
            each.verdict,
        )
        for each in findings
    ]
    return aligned(head, rows)


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"


def summary(findings: Sequence[Finding]) -> str:
    models = dict.fromkeys(each.model for each in findings)
    measured = sum(each.measured is not None for each in findings)
    faults = [
        f"{each.model}: {each.figure.replace('_', ' ')}{': ' if each.figure else ''}{each.verdict}"
        for each in findings
        if each.code
    ]
    return "\n".join([*faults, f"{measured} figures of {len(models)} models measured again; faults: {len(faults)}"])


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="percept models --check",
        description="Measure again, with onnxruntime alone, what the exported models have to reach. Exit status: 0 if "
        "all is well, 1 if a figure falls short or is not what the card says, or an artifact or what has to lie beside "
        "it is missing, broken or stale, 2 if something could not be measured.",
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"all unless named: {', '.join(SYSTEMS)}")
    parser.add_argument(
        "--artifacts",
        type=Path,
        default=Path(os.environ.get("PERCEPT_ARTIFACTS", Path(__file__).resolve().parent.parent / "artifacts")),
        help="folder of the models (default: as for `percept serve`, PERCEPT_ARTIFACTS, else the project's artifacts)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("PERCEPT_DATA", "data")),
        help="folder of the data sets; what it lacks is downloaded into it (default: PERCEPT_DATA, else ./data)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = arguments()
    options = parser.parse_args(argv)
    unknown = [name for name in options.models if name not in SYSTEMS]
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    if not options.artifacts.is_dir():
        parser.error(f"--artifacts {options.artifacts}: there is no such folder")
    for reason, others in ({} if options.models else strangers(options.artifacts)).items():
        if others:
            print(f"not checked, because {reason}: {', '.join(others)}", file=sys.stderr)
    workplace = Workplace(options.data, torch.device("cpu"))
    findings: list[Finding] = []
    names = options.models or list(SYSTEMS)
    try:
        for place, name in enumerate(names, start=1):
            print(f"{name} ({place} of {len(names)})", file=sys.stderr)
            findings += check(SYSTEMS[name], options.artifacts, workplace)
    except KeyboardInterrupt:
        print("\npercept models --check: interrupted", file=sys.stderr)
        return INTERRUPTED
    print(table(findings))
    print(summary(findings), file=sys.stderr)
    codes = {finding.code for finding in findings}
    return next((code for code in (SHORT, NOT_MEASURED) if code in codes), WELL)


def strangers(artifacts: Path) -> dict[str, list[str]]:
    """Models that are no system's, by why they are not checked."""
    found = {file.parent.parent.name: file for file in artifacts.glob("*/*/model.onnx")}
    others = {name: export.card_in(file) for name, file in sorted(found.items()) if name not in SYSTEMS}
    return {
        "no training here makes them": [name for name, card in others.items() if card],
        "they have no card that claims anything": [name for name, card in others.items() if not card],
    }


if __name__ == "__main__":
    sys.exit(main())
