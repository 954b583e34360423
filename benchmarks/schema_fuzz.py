"""Schemathesis against the whole OpenAPI document of a running service, all checks on.

    .venv/bin/python -m benchmarks.schema_fuzz --examples 100

With `--keys` the service asks for API keys, and the document says so; `--rate` makes it refuse whoever asks more often.
What is expected beyond the defaults of the checks stands in benchmarks/schemathesis.toml, with the reason.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from app.keys import RIGHTS, line_of, new_key
from benchmarks.environments import ROOT
from benchmarks.own_process import percept
from benchmarks.processes import terminated_as_interrupted
from benchmarks.servers import CannotStart

CONFIGURATION = ROOT / "benchmarks" / "schemathesis.toml"
PHASES = "examples,coverage,fuzzing"


def fuzz(port: int, examples: int, seed: int, phases: str = PHASES, *more: str) -> int:
    """Its exit code: 0 if nothing was found."""
    with tempfile.TemporaryDirectory(prefix="percept-schema-") as folder:
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"]
        options = ["--checks", "all", "--phases", phases, "--max-examples", str(examples), "--seed", str(seed)]
        where = f"http://127.0.0.1:{port}/openapi.json"
        environment = os.environ | {"PYTHONPATH": f"{CONFIGURATION.parent}:{ROOT}"}  # for its hooks
        whole = [*command, where, *options, "--continue-on-failure", "--no-color", *more]
        return subprocess.run(whole, cwd=folder, env=environment).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schema_fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=100, help="of each operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keys", action="store_true")
    parser.add_argument("--rate", type=int, default=0, help="requests in a second; 0: any number")
    options = parser.parse_args()
    settings, more = {"PERCEPT_WORKERS": "1", "PERCEPT_RATE_LIMIT": str(options.rate)}, []
    with tempfile.TemporaryDirectory() as folder, terminated_as_interrupted():
        if options.keys:
            key, file = new_key(), Path(folder) / "keys"
            file.write_text(line_of("fuzz", RIGHTS, key) + "\n")
            settings |= {"PERCEPT_KEYS": str(file)}
            more = ["--header", f"Authorization: Bearer {key}"]
        try:
            with percept(settings) as service:
                return fuzz(service.port, options.examples, options.seed, PHASES, *more)
        except CannotStart as error:
            print(f"percept: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
