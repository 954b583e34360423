"""The command line of training: `python -m training mnist-cnn`, or `percept train mnist-cnn`, which runs the same."""

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from training import (
    autoencoder,
    clothing,
    clothing_photos,
    clusters,
    cnn,
    digits,
    filters,
    iris,
    mlp,
    news,
    prototypes,
    q_learning,
    svm,
    xor,
)
from training.data import DataError
from training.export import ExportError, card_in
from training.fit import choose_device
from training.progress import Outcome, Progress
from training.recipe import Recipe
from training.system import OPTIONS, VERSION, BelowFloor, System, Workplace, keep
from training.train import ImageSystem

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*mlp.RECIPES, *cnn.RECIPES)}
IMAGES = tuple(ImageSystem(recipe) for recipe in RECIPES.values())
FAMILIES: tuple[Sequence[System], ...] = (
    *(xor.SYSTEMS, iris.SYSTEMS, svm.SYSTEMS),
    *(clusters.SYSTEMS, prototypes.SYSTEMS, q_learning.SYSTEMS, news.SYSTEMS, autoencoder.SYSTEMS, IMAGES),
    *(digits.SYSTEMS, clothing.SYSTEMS, clothing_photos.SYSTEMS),
)
SYSTEMS: dict[str, System] = {system.name: system for family in FAMILIES for system in family}
INTERRUPTED = 130  # what a shell reports for a process ended by Ctrl-C


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="percept train", description="Train models and export them as artifacts.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(SYSTEMS))
    parser.add_argument("--all", action="store_true", help="train every model; one that fails leaves the others")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("PERCEPT_DATA", "data")),
        help="folder of the data sets; what it lacks is downloaded into it (default: PERCEPT_DATA, else ./data)",
    )
    parser.add_argument("--out", type=Path, default=Path("artifacts"), help="where artifacts go (default: artifacts)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--epochs", type=positive, help=f"instead of the model's own number; for {takers('epochs')}")
    parser.add_argument("--seed", type=int, help=f"instead of the model's own; for {takers('seed')}")
    parser.add_argument("--dry-run", action="store_true", help="one epoch on a few rows; writes nothing that stays")
    return parser


def takers(option: str) -> str:
    return ", ".join(name for name, system in SYSTEMS.items() if option in system.options)


def positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is a whole number, 1 and more")
    return int(text)


def check_writable(out: Path) -> None:
    """Raises OSError now rather than after the training."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass


def chosen(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[System]:
    unknown = [name for name in options.models if name not in SYSTEMS]
    if unknown:
        parser.error(f"no recipe is called {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    if bool(options.models) == options.all:
        parser.error(f"name the models to train, or --all; there are {', '.join(SYSTEMS)}")
    systems = [SYSTEMS[name] for name in (SYSTEMS if options.all else options.models)]
    for option in OPTIONS:
        others = [system.name for system in systems if option not in system.options]
        if getattr(options, option) is None or not others:
            continue
        if not options.all:
            parser.error(f"--{option}: {', '.join(others)} cannot take it; those that can are {takers(option)}")
        print(f"percept train: --{option} is for {takers(option)}; the others have no such option", file=sys.stderr)
    return systems


def main(argv: Sequence[str] | None = None) -> int:
    parser = arguments()
    options = parser.parse_args(argv)
    systems = chosen(parser, options)
    out = None if options.dry_run else options.out
    try:
        device = choose_device(options.device)
        if out is not None:
            check_writable(out)
    except (ValueError, OSError) as error:
        print(f"percept train: {error}", file=sys.stderr)
        return 1
    workplace = Workplace(options.data, device, options.epochs, options.seed, options.dry_run)
    progress = Progress([system.name for system in systems], earlier_seconds(systems, out) if out else {})
    code = train_all(systems, workplace, out, progress)
    print(progress.table())
    if progress.failed:
        print(f"percept train: failed: {', '.join(progress.failed)}", file=sys.stderr)
    return code or (1 if progress.failed else 0)


def train_all(systems: Sequence[System], workplace: Workplace, out: Path | None, progress: Progress) -> int:
    """One after the other, whatever becomes of each; until Ctrl-C, which leaves what is written."""
    try:
        for system in systems:
            place = progress.place(system.name)
            print(f"{place} on {workplace.device}: {system.title}; {progress.left()}", file=sys.stderr)
            progress.outcomes.append(attempt(system, workplace, out))
            print(f"{place} {progress.outcomes[-1]}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\npercept train: interrupted; no half-written artifact was left", file=sys.stderr)
        return INTERRUPTED
    return 0


def attempt(system: System, workplace: Workplace, out: Path | None) -> Outcome:
    """Without a folder nothing is kept. What nobody foresaw, as memory that is used up, fails this one system too: told
    with its type, and where it came from on standard error."""
    start, card = time.perf_counter(), None
    try:
        trained = system.train(workplace.for_system(system.options))
        if out is not None:
            keep(trained, out)
            filters.follow(out, system.name)
            card = trained.card
    except (DataError, ExportError, BelowFloor, OSError) as error:
        return Outcome(system.name, time.perf_counter() - start, fault=str(error))
    except Exception as error:
        traceback.print_exc()
        return Outcome(system.name, time.perf_counter() - start, fault=f"{type(error).__name__}: {error}")
    return Outcome(system.name, time.perf_counter() - start, card)


def earlier_seconds(systems: Sequence[System], out: Path) -> dict[str, float]:
    """What the trainings took whose artifacts are there."""
    cards = (card_in(out / system.name / str(VERSION) / "model.onnx") for system in systems)
    return {card.name: card.training.seconds for card in cards if card is not None}


if __name__ == "__main__":
    sys.exit(main())
