"""The command line of training: `python -m training mnist-cnn`, or `percept train mnist-cnn`, which runs the same."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from app.card import Card
from training import autoencoder, clusters, cnn, iris, mlp, q_learning, svm, xor
from training.data import DataError
from training.export import ExportError
from training.fit import choose_device
from training.recipe import Recipe
from training.system import BelowFloor, System, Workplace, keep
from training.train import ImageSystem

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*mlp.RECIPES, *cnn.RECIPES)}
IMAGES = tuple(ImageSystem(recipe) for recipe in RECIPES.values())
FAMILIES: tuple[Sequence[System], ...] = (
    *(xor.SYSTEMS, iris.SYSTEMS, svm.SYSTEMS),
    *(clusters.SYSTEMS, q_learning.SYSTEMS, autoencoder.SYSTEMS, IMAGES),
)
SYSTEMS: dict[str, System] = {system.name: system for family in FAMILIES for system in family}
INTERRUPTED = 130  # what a shell reports for a process ended by Ctrl-C


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="percept train", description="Train models and export them as artifacts.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(SYSTEMS))
    parser.add_argument("--all", action="store_true", help="train every model")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("PERCEPT_DATA", "data")),
        help="folder of the data sets; what it lacks is downloaded into it (default: PERCEPT_DATA, else ./data)",
    )
    parser.add_argument("--out", type=Path, default=Path("artifacts"), help="where artifacts go (default: artifacts)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--epochs", type=positive, help="instead of the recipe's own number")
    parser.add_argument("--seed", type=int, help="instead of the recipe's own")
    parser.add_argument("--dry-run", action="store_true", help="one epoch on a few rows; writes nothing that stays")
    return parser


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
    return [SYSTEMS[name] for name in (SYSTEMS if options.all else options.models)]


def main(argv: Sequence[str] | None = None) -> int:
    parser = arguments()
    options = parser.parse_args(argv)
    systems = chosen(parser, options)
    try:
        device = choose_device(options.device)
        workplace = Workplace(options.data, device, options.epochs, options.seed, options.dry_run)
        if not options.dry_run:
            check_writable(options.out)
        for place, system in enumerate(systems, start=1):
            print(f"{system.name} ({place} of {len(systems)}) on {device}: {system.title}", file=sys.stderr)
            trained = system.train(workplace)
            if options.dry_run:
                print(f"{system.name}: every step ran; nothing was kept")
            else:
                keep(trained, options.out)
                print(f"{system.name}: {reached(trained.card)}, written to {options.out / system.name}")
    except (DataError, ExportError, BelowFloor, ValueError, OSError) as error:
        print(f"percept train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\npercept train: interrupted; no half-written artifact was left", file=sys.stderr)
        return INTERRUPTED
    return 0


def reached(card: Card) -> str:
    figures = [
        f"{metric.replace('_', ' ')} {card.metrics[metric]:.4g} (floor {floor:g})"
        for metric, floor in card.floor.items()
    ]
    return ", ".join([*figures, f"{card.training.seconds:.0f} s"])


if __name__ == "__main__":
    sys.exit(main())
