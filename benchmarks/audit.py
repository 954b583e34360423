"""What is known to be unsafe among the packages that the images hold, by pip-audit, which asks PyPI. It gets an
environment of its own (.venv-audit): nothing of it is part of the project.

.venv/bin/python -m benchmarks.audit

Ends with 1 if something is known, and with 3 if not all could be asked for: without network nothing is known.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKED = sorted((ROOT / "deploy").glob("requirements*.txt"))
ENVIRONMENT = ROOT / ".venv-audit"
TOOL = "pip-audit>=2.10,<3"
INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "10", TOOL)
# What is locked is all that there is: nothing has to be resolved.
OPTIONS = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--timeout", "10", "--format", "json")
CLEAN, FOUND, NOT_ASKED = 0, 1, 3


class NotAsked(Exception):
    """Nothing was learned; the text says why."""


def main() -> int:
    try:
        document = report(install(), LOCKED)
    except NotAsked as error:
        print(f"audit: nothing was asked for: {error}")
        return NOT_ASKED
    result, lines = verdict(document)
    print("\n".join(lines))
    return result


def install() -> Path:
    """Raises NotAsked."""
    tool = ENVIRONMENT / "bin" / "pip-audit"
    if not tool.exists():
        _run([sys.executable, "-m", "venv", str(ENVIRONMENT)])
        _run([str(ENVIRONMENT / "bin" / "python"), *INSTALL])
    return tool


def report(tool: Path, locked: Sequence[Path]) -> dict[str, Any]:
    """As pip-audit writes it. It ends with 1 when something is known, and when it breaks. Raises NotAsked."""
    done = _run([str(tool), *OPTIONS, *(f"--requirement={path}" for path in locked)], allowed=(0, 1))
    try:
        document: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise NotAsked(_last_line(done)) from None
    return document


def verdict(document: dict[str, Any]) -> tuple[int, list[str]]:
    """How to end, and what to say. A package of which PyPI knows nothing counts as not asked for: pip-audit would
    call it clean, also where all that answers is a mirror without advisories."""
    packages = document["dependencies"]
    skipped = sorted(f"{each['name']}: {each['skip_reason']}" for each in packages if "skip_reason" in each)
    known = sorted(_told(each, fault) for each in packages for fault in each.get("vulns", ()))
    asked = (
        f"audit: {len(packages) - len(skipped)} of {len(packages)} packages were asked for, {len(known)} faults known"
    )
    missed = (
        [f"not asked for: {skipped[0]}" + (f", and {len(skipped) - 1} more" * (len(skipped) > 1))] if skipped else []
    )
    result = FOUND if known else CLEAN if packages and not skipped else NOT_ASKED
    return result, [asked, *known, *missed]


def _told(package: dict[str, Any], fault: dict[str, Any]) -> str:
    mended = ", ".join(fault["fix_versions"]) or "no version yet"
    return f"{package['name']} {package['version']}: {fault['id']}, mended in {mended}"


def _run(command: Sequence[str], allowed: Sequence[int] = (0,)) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in allowed:
        raise NotAsked(_last_line(done))
    return done


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    return ((done.stderr or done.stdout).strip().splitlines() or [f"{done.args[0]} said nothing"])[-1]


if __name__ == "__main__":
    sys.exit(main())
