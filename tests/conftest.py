"""Fixtures that several files share: the service over the committed artifacts, and the data sets if they are here."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"
# The models that are committed.
MODELS = sorted(folder.name for folder in (ROOT / "artifacts").iterdir() if folder.is_dir())


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No PERCEPT_ variable of the caller's shell changes what a test sees."""
    for name in [name for name in os.environ if name.startswith("PERCEPT_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings())) as client:
        yield client


def _data_folder() -> Path | None:
    folder = Path(os.environ.get("PERCEPT_DATA", ROOT / "data"))
    return folder if all((folder / name).is_dir() for name in ("mnist", "fashion-mnist", "bbc-news")) else None


DATA = _data_folder()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the data sets."""
    if DATA is None:
        pytest.skip("the data sets are not here: set PERCEPT_DATA, or `percept train` once to download them")
    return DATA


@pytest.fixture(scope="session")
def uploads(data: Path) -> Path:
    """The folder of the data sets, with pictures that people made in it: nobody but people can fetch those."""
    if not (data / "uploads" / "manifest.csv").is_file():
        pytest.skip(f"{data / 'uploads'} is not here: README.md says what belongs there")
    return data


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
