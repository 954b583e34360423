"""What cannot be installed is in the table with its reason; environments are made by the tool that is there."""

from pathlib import Path

import pytest

from benchmarks import environments, serving
from benchmarks.comparison import Failure
from benchmarks.environments import InstallationFailed, install_commands
from benchmarks.serving import Run, contestants


def test_a_peer_that_cannot_be_installed_is_reported_for_each_of_its_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_packages(server: object) -> Path:
        raise InstallationFailed("no matching distribution")

    monkeypatch.setattr(serving, "python_of", no_packages)
    run = Run(rounds=1, seconds=1, connections=1, workers=1, cases=["json_1", "json_64", "png_raw"])

    assert list(contestants(["mlserver"], run)) == []
    assert run.failures == [
        Failure("mlserver", "json_1", "not installed: no matching distribution"),
        Failure("mlserver", "json_64", "not installed: no matching distribution"),
    ]


@pytest.mark.parametrize(("found", "tools"), [("/bin/uv", ["venv", "pip"]), (None, ["-m", "-m"])])
def test_uv_where_there_is_one(monkeypatch: pytest.MonkeyPatch, found: str | None, tools: list[str]) -> None:
    monkeypatch.setattr(environments.shutil, "which", lambda *_, **__: found)
    commands = install_commands(Path("there"), Path("there/bin/python"), Path("requirements.txt"))

    assert [command[1] for command in commands] == tools
    assert commands[-1][-2:] == ["-r", "requirements.txt"]
