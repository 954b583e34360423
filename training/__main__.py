"""The command line of training: `python -m training mnist-cnn`, or `percept train mnist-cnn`, which runs the same."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from training import cnn, mlp
from training.data import DataError, Dataset, Source, load, load_test
from training.export import ExportError
from training.fit import choose_device
from training.recipe import Recipe
from training.train import BelowFloor, dry_run, train

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*mlp.RECIPES, *cnn.RECIPES)}
INTERRUPTED = 130  # what a shell reports for a process ended by Ctrl-C


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="percept train", description="Train models and export them as artifacts.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(RECIPES))
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


def chosen(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[Recipe]:
    unknown = [name for name in options.models if name not in RECIPES]
    if unknown:
        parser.error(f"no recipe is called {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    if bool(options.models) == options.all:
        parser.error(f"name the models to train, or --all; there are {', '.join(RECIPES)}")
    overridden = {name: value for name in ("epochs", "seed") if (value := getattr(options, name)) is not None}
    names = list(RECIPES) if options.all else options.models
    return [replace(RECIPES[name], **overridden) for name in names]


def main(argv: Sequence[str] | None = None) -> int:
    parser = arguments()
    options = parser.parse_args(argv)
    recipes = chosen(parser, options)

    @cache
    def dataset(name: str) -> Dataset:
        return load(sources[name], options.data)

    sources: dict[str, Source] = {recipe.source.name: recipe.source for recipe in recipes}
    try:
        device = choose_device(options.device)
        if not options.dry_run:
            check_writable(options.out)
        for place, recipe in enumerate(recipes, start=1):
            print(f"{recipe.name} ({place} of {len(recipes)}) on {device}: {recipe.title}", file=sys.stderr)
            read_test = partial(load_test, recipe.source, options.data)
            if options.dry_run:
                with tempfile.TemporaryDirectory() as nowhere:
                    dry_run(recipe, dataset(recipe.source.name), read_test, device, Path(nowhere))
                print(f"{recipe.name}: every step ran; nothing was kept")
            else:
                card = train(recipe, dataset(recipe.source.name), read_test, device, options.out)
                print(
                    f"{recipe.name}: test accuracy {card.metrics['test_accuracy']:.2%} (floor {recipe.floor:.1%}), "
                    f"{card.training.seconds:.0f} s, written to {options.out / recipe.name}"
                )
    except (DataError, ExportError, BelowFloor, ValueError, OSError) as error:
        print(f"percept train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\npercept train: interrupted; no half-written artifact was left", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
