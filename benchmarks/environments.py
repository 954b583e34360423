"""A virtual environment for each peer, made from its pinned `benchmarks/peers/<peer>/requirements.txt`."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
ENVIRONMENTS = ROOT / ".venv-bench"
# Ray alone is 250 MB.
INSTALL_SECONDS = 900
LIST_VERSIONS = (
    "import importlib.metadata as m, json;"
    "print(json.dumps({d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}))"
)


class InstallationFailed(Exception):
    """A peer's packages cannot be had; the text says why."""


def prepare(peer: str) -> Path:
    """The Python of the peer's environment, made anew only when its requirements have changed.

    Raises InstallationFailed with the last lines of what the installer said.
    """
    requirements, folder = PEERS / peer / "requirements.txt", ENVIRONMENTS / peer
    python, stamp = folder / "bin" / "python", folder / "requirements.sha256"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="ascii") != digest:
        shutil.rmtree(folder, ignore_errors=True)
        for command in install_commands(folder, python, requirements):
            _run(command)
        stamp.write_text(digest, encoding="ascii")
    return python


def install_commands(folder: Path, python: Path, requirements: Path) -> list[list[str]]:
    """With uv where there is one, since it takes seconds instead of minutes; else with venv and pip."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(requirements)],
        ]
    return [
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)],
    ]


def versions(python: Path) -> dict[str, str]:
    """Every distribution that this Python sees, by its name in lower case with hyphens."""
    found: dict[str, str] = json.loads(subprocess.check_output([python, "-c", LIST_VERSIONS], text=True))
    return found


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallationFailed(str(error)) from error
    if done.returncode:
        raise InstallationFailed(" ".join(done.stderr.split())[-300:])
