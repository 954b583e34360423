"""The command line: percept serve | health | predict | batch | models | key | train. Each command imports what it needs
when it runs."""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from app.errors import AppError
from app.settings import Settings, read_settings

# A health check that takes longer than this has failed; Dockerfile's --timeout is above it.
HEALTH_SECONDS = 2.0
# Who listens on every address is asked on this machine's own.
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Need(NamedTuple):
    """A package that is no part of a base install."""

    module: str
    missing: str


PYTORCH = Need("torch", "PyTorch is not installed; the README's section on training says how")
RAY = Need("ray", "Ray is not installed; pip install 'percept[ray]' brings it")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["train"]:
        return hand_over("percept train", "training", arguments[1:], PYTORCH)
    if arguments[:1] == ["batch"]:
        return hand_over("percept batch", "on_ray", arguments[1:], RAY)
    if arguments[:1] == ["models"] and "--check" in arguments:
        rest = [argument for argument in arguments[1:] if argument != "--check"]
        return hand_over("percept models --check", "training.check", rest, PYTORCH)
    options = parser().parse_args(arguments)
    try:
        settings = read_settings()
        code: int = options.run(options, settings)
    except (AppError, OSError) as error:
        print(f"percept: {error.detail if isinstance(error, AppError) else error}", file=sys.stderr)
        return 2
    return code


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="percept", description="Small learning systems, served.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("serve", help="answer over HTTP")
    command.add_argument("--host", help="address to listen on (PERCEPT_HOST, default 127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on (PERCEPT_PORT, default 8000)")
    command.set_defaults(run=serve)

    command = commands.add_parser("health", help="ask a running service whether it is ready; the exit code tells")
    command.add_argument("--port", type=int, help="port that it listens on (PERCEPT_PORT, default 8000)")
    command.set_defaults(run=health)

    command = commands.add_parser("predict", help="classify files without a server")
    command.add_argument("files", nargs="+", type=Path, metavar="FILE")
    command.add_argument("--model", default="digits", help="a model's name or an alias (default: digits)")
    command.add_argument("--top", type=_positive, default=1, help="how many classes to tell (default: 1)")
    command.set_defaults(run=predict)

    command = commands.add_parser("models", help="what is served, with its measured figures")
    command.add_argument("--write", type=Path, metavar="README", help="put the table between its marks in this file")
    # Dispatched before parsing, as `train` is, since its options are the other half's own; here for `--help`.
    command.add_argument(
        "--check",
        action="store_true",
        help="measure again what the exported models have to reach, all or those named (needs the train extra)",
    )
    command.set_defaults(run=models)

    command = commands.add_parser("key", help="make an API key and the line that PERCEPT_KEYS has of it")
    command.add_argument("name", help="whose it is, or what for")
    command.add_argument(
        "--rights",
        default="predict",
        help="predict, admin (load, unload, metrics), or both with a comma; default: predict",
    )
    command.set_defaults(run=key)

    commands.add_parser("batch", help="score many files or rows (needs the ray extra)", add_help=False)
    commands.add_parser("train", help="train and export models (needs the train extra)", add_help=False)
    return top


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is a whole number, 1 and more")
    return int(text)


def serve(options: argparse.Namespace, settings: Settings) -> int:
    # A tenth of the start is spent looking for garbage among imports; app.server resumes it once that is over.
    gc.disable()
    from app.server import run

    given = {name: value for name in ("host", "port") if (value := getattr(options, name)) is not None}
    return run(replace(settings, **given))


def health(options: argparse.Namespace, settings: Settings) -> int:
    """For containers, whose image has no curl. 0 when every model is served, else 1 with the reason."""
    from http.client import HTTPConnection, HTTPException

    # Not urllib: it would ask the proxy that an environment may name.
    host = EVERY_ADDRESS.get(settings.host, settings.host)
    port = settings.port if options.port is None else options.port
    connection = HTTPConnection(host, port, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        print(response.read().decode())
    except (OSError, HTTPException) as error:
        print(f"percept: nobody answers on {host}, port {port}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0 if response.status == 200 else 1


def predict(options: argparse.Namespace, settings: Settings) -> int:
    from app.main import open_store
    from app.prediction import chosen
    from app.prediction import predict as predict_files

    model, photographs = open_store(settings).find_answering(options.model)
    failures = 0
    for file in options.files:
        try:
            content = file.read_bytes()
            asked = chosen(model, photographs, content, settings.max_pixels)
            [prediction] = predict_files(asked, [content], settings.max_pixels, options.top)
        except (AppError, OSError) as error:
            failures += 1
            print(f"{file}: {error.detail if isinstance(error, AppError) else error.strerror}", file=sys.stderr)
            continue
        answers = ", ".join(f"{best['label']} {best['probability']:.2%}" for best in prediction.get("alternatives", ()))
        remarks = [asked.name] if asked is photographs else []
        remarks += [notice["code"] for notice in prediction["warnings"]]
        noticed = f"  ({', '.join(remarks)})" if remarks else ""
        print(f"{file}: {answers or prediction['label']}{noticed}")
    return 1 if failures else 0


def models(options: argparse.Namespace, settings: Settings) -> int:
    from app.catalogue import catalogue
    from app.main import open_store
    from app.table import replace_table, table

    text = table(catalogue(open_store(settings)))
    if options.write is None:
        print(text)
    else:
        options.write.write_text(replace_table(options.write.read_text(encoding="utf-8"), text), encoding="utf-8")
    return 0


def key(options: argparse.Namespace, settings: Settings) -> int:
    """The line on standard output, to be appended to the file; the key, never seen again, on standard error."""
    from app.keys import line_of, new_key

    made = new_key()
    print(line_of(options.name, options.rights.split(","), made))
    print(f"the key of {options.name}, told this once: {made}", file=sys.stderr)
    return 0


def hand_over(command: str, module: str, arguments: Sequence[str], need: Need) -> int:
    """Another part of the house: it becomes this process, and nothing of it is imported here."""
    if find_spec(need.module) is None:
        print(f"{command}: {need.missing}", file=sys.stderr)
        return 2
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


if __name__ == "__main__":
    sys.exit(main())
