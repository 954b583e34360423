"""The command line of training, run as a person runs it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.training.datasets import bars_dataset
from training.__main__ import RECIPES, SYSTEMS, arguments, chosen, main
from training.system import Workplace
from training.train import ImageSystem


def recipe_names(*argv: str) -> list[str]:
    parser = arguments()
    return [recipe.name for recipe in chosen(parser, parser.parse_args(argv))]


def test_models_are_trained_in_the_order_they_are_named() -> None:
    assert recipe_names("mnist-lenet", "mnist-dnn") == ["mnist-lenet", "mnist-dnn"]
    assert recipe_names("--all") == list(SYSTEMS)


def test_options_override_the_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = []
    monkeypatch.setattr("training.train.train", lambda recipe, *rest: given.append(recipe))
    monkeypatch.setattr("training.system.load", lambda *_: bars_dataset())
    ImageSystem(RECIPES["mnist-dnn"]).train(Workplace(tmp_path, torch.device("cpu"), epochs=3, seed=9))

    assert given == [replace(RECIPES["mnist-dnn"], epochs=3, seed=9)]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name the models to train, or --all; there are xor-perceptron"),
        (["mnist-dnn", "--all"], "name the models to train, or --all"),
        (["letters"], "no recipe is called letters; there are xor-perceptron"),
    ],
)
def test_wrong_names_are_told(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)

    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_damaged_data_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    file.parent.mkdir()
    file.write_bytes(b"not a gzip file")

    assert main(["mnist-dnn", "--data", str(tmp_path)]) == 1
    assert f"percept train: {file} is damaged, truncated or another file" in capsys.readouterr().err


def test_folder_that_cannot_be_written_is_told_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")

    assert main(["mnist-dnn", "--out", str(tmp_path / "file"), "--data", str(tmp_path)]) == 1
    assert "percept train: " in capsys.readouterr().err


@pytest.mark.parametrize("epochs", ["0", "-1", "many"])
def test_number_of_epochs_is_checked(epochs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["mnist-dnn", f"--epochs={epochs}"])

    assert f"'{epochs}': allowed is a whole number, 1 and more" in capsys.readouterr().err


@pytest.mark.parametrize("name", SYSTEMS)
def test_dry_run_takes_every_step_and_keeps_nothing(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--dry-run", "--data", str(data), "--out", str(tmp_path), "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"{name}: every step ran; nothing was kept\n"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_stops_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "mnist-dnn", "--data", str(data), "--out", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    started = ""
    while "mnist-dnn  1/40" not in started:
        started += process.stderr.read(1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "interrupted; no half-written artifact was left" in rest
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
