"""Accuracy by source is what was answered; mistakes are drawn; where there are no pictures it says so."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.uploads import COLUMNS, SIDE, main
from tests.photographs import photograph


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sources: one whose third picture has a wrong label, one that is right; one label is no digit."""
    (tmp_path / "uploads").mkdir()
    rows = [("scans", 3, "3"), ("scans", 5, "5"), ("scans", 7, "1"), ("phones", 2, "2"), ("phones", 4, "four")]
    with (tmp_path / "uploads" / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        manifest = csv.writer(file)
        manifest.writerow(["path", "task", "label", "source", "licence"])
        manifest.writerow(["coat.jpg", "clothing", "Coat", "phones", "none"])
        for place, (source, digit, label) in enumerate(rows):
            manifest.writerow([f"{place}.jpg", "digits", label, source, "none"])
            (tmp_path / "uploads" / f"{place}.jpg").write_bytes(photograph("gradient", digit, place).jpeg)
    return tmp_path


def test_accuracy_is_told_by_source(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(data), "--model", "mnist-cnn"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "| mnist-cnn 1 | pictures | right |",
        "|---|---:|---:|",
        "| phones | 1 | 1.0000 |",
        "| scans | 3 | 0.6667 |",
        "| mean over sources | 4 | 0.8333 |",
        "1 pictures have a label that the model has not.",
    ]


def test_mistakes_are_drawn(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mistakes.png"

    assert main(["--data", str(data), "--sheet", str(file)]) == 0
    assert f"1 mistakes are drawn in {file}" in capsys.readouterr().out
    with Image.open(file) as sheet:
        assert sheet.size[0] > COLUMNS * 2 * SIDE
        assert len(sheet.convert("L").getcolors() or []) > 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "uploads/manifest.csv"),
        (["--model", "letters"], "there is no model 'letters'"),
    ],
)
def test_what_is_not_there_is_said(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path), *arguments]) == 2
    assert "not measured: " in (told := capsys.readouterr().err)
    assert said in told


def test_task_without_pictures_is_said(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(data), "--task", "letters"]) == 2
    assert "has no picture of 'letters'" in capsys.readouterr().err
