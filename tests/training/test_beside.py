"""What lies beside a model, made again from its weights."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from training import beside, filters
from training.cnn import RECIPES

ARTIFACTS = ROOT / "artifacts"


def copied(name: str, to: Path) -> Path:
    folder = to / name / "1"
    folder.mkdir(parents=True)
    shutil.copy(ARTIFACTS / name / "1" / "model.onnx", folder)
    return folder


@pytest.mark.parametrize("name", ["mnist-dnn", "mnist-lenet", "mnist-svm"])
def test_it_is_made_again_as_it_was(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(name, tmp_path)
    copied("xor-mlp", tmp_path)

    assert beside.main(["--artifacts", str(tmp_path)]) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["model.onnx", "saliency.onnx"]
    made = (folder / "saliency.onnx").read_bytes()
    assert made == (ARTIFACTS / name / "1" / "saliency.onnx").read_bytes()
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{folder / 'saliency.onnx'}: {len(made):,} bytes, ")


def test_only_image_classifiers_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        beside.main(["xor-mlp"])

    assert stop.value.code == 2
    assert "no image classifier is called xor-mlp; there are mnist-svm, mnist-dnn" in capsys.readouterr().err


def test_filters_are_made_again_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    committed = filters.WHERE.read_bytes()
    monkeypatch.setattr(filters, "ARTIFACTS", tmp_path / "artifacts")
    monkeypatch.setattr(filters, "WHERE", tmp_path / "filters.json")
    for recipe in reversed(RECIPES):
        copied(recipe.name, tmp_path / "artifacts")

    assert (
        beside.main(["--artifacts", str(tmp_path / "artifacts"), *(recipe.name for recipe in reversed(RECIPES))]) == 0
    )
    assert (tmp_path / "filters.json").read_bytes() == committed
    assert capsys.readouterr().out.endswith(f"{tmp_path / 'filters.json'}: {len(committed):,} bytes\n")
