"""Something that is known ends the audit with 1; what could not be asked for is never called clean."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.audit import CLEAN, FOUND, LOCKED, NOT_ASKED, NotAsked, report, verdict
from tests.conftest import ROOT

# As pip-audit 2.10 writes them.
SOUND = {"name": "orjson", "version": "3.13.0", "vulns": []}
FAULT = {"id": "PYSEC-2021-66", "fix_versions": ["2.11.3"], "aliases": ["CVE-2020-28493"], "description": "Slow."}
UNSAFE = {"name": "jinja2", "version": "2.4.1", "vulns": [FAULT, FAULT | {"id": "PYSEC-2024-1", "fix_versions": []}]}
WHY = "Dependency not found on PyPI and could not be audited: numpy (2.4.6)"
SKIPPED = {"name": "numpy", "skip_reason": WHY}


@pytest.mark.parametrize(
    ("packages", "result", "lines"),
    [
        ([SOUND], CLEAN, ["audit: 1 of 1 packages were asked for, 0 faults known"]),
        (
            [SOUND, UNSAFE],
            FOUND,
            [
                "audit: 2 of 2 packages were asked for, 2 faults known",
                "jinja2 2.4.1: PYSEC-2021-66, mended in 2.11.3",
                "jinja2 2.4.1: PYSEC-2024-1, mended in no version yet",
            ],
        ),
        (
            [SKIPPED, SOUND],
            NOT_ASKED,
            ["audit: 1 of 2 packages were asked for, 0 faults known", f"not asked for: numpy: {WHY}"],
        ),
        ([], NOT_ASKED, ["audit: 0 of 0 packages were asked for, 0 faults known"]),
    ],
)
def test_what_is_known_and_what_could_not_be_asked_for(
    packages: list[dict[str, Any]], result: int, lines: list[str]
) -> None:
    assert verdict({"dependencies": packages, "fixes": []}) == (result, lines)


def test_what_is_known_counts_for_more_than_what_was_not_asked_for() -> None:
    result, lines = verdict({"dependencies": [SKIPPED, SKIPPED, UNSAFE], "fixes": []})

    assert result == FOUND
    assert lines[-1] == f"not asked for: numpy: {WHY}, and 1 more"


def tool(folder: Path, script: str) -> Path:
    path = folder / "pip-audit"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_all_that_is_locked_is_asked_for(tmp_path: Path) -> None:
    """Both images, and what builds our wheel."""
    said = report(tool(tmp_path, """printf '{"dependencies": [], "said": "%s"}' "$*"; exit 1"""), LOCKED)["said"]

    assert [path.name for path in LOCKED] == ["requirements-build.txt", "requirements-cuda.txt", "requirements.txt"]
    assert all(f"--requirement={ROOT / 'deploy' / path.name}" in said for path in LOCKED)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo Traceback >&2; echo 'ProxyError: no way out' >&2; exit 1", "ProxyError: no way out"),
        ("echo 'usage: pip-audit' >&2; exit 2", "usage: pip-audit"),
        ("exit 1", "pip-audit said nothing"),
    ],
)
def test_without_a_report_the_reason_is_told(tmp_path: Path, script: str, reason: str) -> None:
    with pytest.raises(NotAsked, match=reason):
        report(tool(tmp_path, script), LOCKED)
