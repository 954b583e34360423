"""The command line of batches: `percept batch IN OUT`, or `python -m on_ray IN OUT`, which runs the same."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from app.errors import AppError
from app.settings import read_settings

# Ray's name for a machine that is no part of a cluster. Only then it listens on 127.0.0.1, whatever address it is told.
LOOPBACK = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
PART = 1_000
INTERRUPTED = 130  # what a shell reports for a process ended by Ctrl-C


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="percept batch",
        description="Score many pictures, rows or texts: one row of the output for each, as Parquet. The same command "
        "again goes on where it was stopped.",
    )
    parser.add_argument(
        "inputs",
        metavar="IN",
        help="a folder of pictures or of Parquet files, one such file, or a pattern in quotes, 'scans/**/*.png'",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder that the answers are written into")
    parser.add_argument("--model", default="digits", help="a model's name or an alias (default: digits)")
    parser.add_argument(
        "--column",
        help="of a table: the column with the pictures' bytes or paths (default: image), or with the texts (text); "
        "rows have a column for each feature",
    )
    parser.add_argument("--part", type=_positive, default=PART, help=f"inputs in one file of OUT (default: {PART:,})")
    parser.add_argument(
        "--address",
        help="a Ray cluster, HOST:PORT or auto, whose nodes all see IN and OUT at these paths (default: this machine)",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is a whole number, 1 and more")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """0 if every input has an answer, 1 if some have an error instead, 2 if it could not go on."""
    options = arguments().parse_args(argv)
    if options.address is None:
        os.environ.setdefault(*LOOPBACK)
    from on_ray.batch import planned, run  # Ray reads its environment when it is imported
    from on_ray.progress import Progress

    try:
        batch = planned(options.inputs, options.out, options.model, options.column, options.part, read_settings())
        whole = run(batch, options.address, Progress(batch.count))
    except (AppError, OSError) as error:
        print(f"percept batch: {error.detail if isinstance(error, AppError) else error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("percept batch: stopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    print(f"{options.out}: {whole.rows:,} rows, {whole.errors:,} with an error")
    return 1 if whole.errors else 0


if __name__ == "__main__":
    sys.exit(main())
