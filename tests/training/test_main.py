"""The command line of training, run as a person runs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from app.card import CARD_KEY
from tests.conftest import ROOT
from tests.training.datasets import bars, bars_dataset
from training import filters
from training.__main__ import RECIPES, SYSTEMS, arguments, attempt, chosen, earlier_seconds, main
from training.progress import DRY
from training.svm import BlobsSvm
from training.system import Trained, Workplace, training_facts
from training.train import ImageSystem, train


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

    assert main(["mnist-dnn", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert f"mnist-dnn (1 of 1) failed after 00:00: {file} is damaged, truncated or another file" in told
    assert told.endswith("\npercept train: failed: mnist-dnn\n")


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


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["xor-mlp", "mnist-dnn", "iris-mlp", "--epochs=7"], "--epochs: xor-mlp, iris-mlp cannot take it; those that"),
        (["fashion-kmeans", "--seed=5", "--epochs=7"], "--epochs: fashion-kmeans cannot take it; those that"),
        (["xor-perceptron", "--seed=0"], "--seed: xor-perceptron cannot take it; those that can are mnist-svm, "),
    ],
)
def test_option_that_a_model_does_not_take_is_refused(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)

    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_with_all_an_option_is_for_those_that_take_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe_names("--all", "--seed=5") == list(SYSTEMS)
    told = capsys.readouterr().err
    assert told.startswith("percept train: --seed is for mnist-svm, mnist-kmeans, fashion-kmeans, frozenlake-dqn")
    assert told.endswith("; the others have no such option\n")

    everywhere = Workplace(Path("unused"), torch.device("cpu"), epochs=7, seed=5)
    given = {name: everywhere.for_system(system.options).options for name, system in SYSTEMS.items()}
    assert given["blobs-svm"] == {}
    assert given["mnist-svm"] == {"seed": 5}
    assert given["mnist-dnn"] == {"epochs": 7, "seed": 5}


def test_command_on_the_card_has_the_options_that_were_given() -> None:
    plain = Workplace(Path("unused"), torch.device("cpu"))

    def command(workplace: Workplace) -> str:
        return training_facts("mnist-svm", workplace, "Newton", 1, 0.0).command

    assert command(plain) == "percept train mnist-svm"
    assert command(replace(plain, seed=0)) == "percept train mnist-svm --seed 0"
    assert command(replace(plain, seed=5, epochs=7)) == "percept train mnist-svm --epochs 7 --seed 5"


@pytest.mark.parametrize("name", SYSTEMS)
def test_dry_run_takes_every_step_and_keeps_nothing(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--dry-run", "--data", str(data), "--out", str(tmp_path), "--device", "cpu"]) == 0
    told = capsys.readouterr()
    assert f"{name} (1 of 1) on cpu: {SYSTEMS[name].title}; 00:00 gone" in told.err
    assert told.out.splitlines()[1].split()[:-1] == [name, *DRY.split()]
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class OnBars(ImageSystem):
    """Learns bars in the place of its own pictures."""

    def train(self, workplace: Workplace) -> Trained:
        return train(self.recipe, bars_dataset(), lambda: bars(100, seed=3), workplace.device)


def test_filters_of_the_service_follow_the_training_of_a_convolutional_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = filters.kept_filters()
    out, where = tmp_path / "artifacts", tmp_path / "filters.json"
    shutil.copy(filters.WHERE, where)
    monkeypatch.setattr(filters, "WHERE", where)
    monkeypatch.setattr(filters, "ARTIFACTS", out)
    system = OnBars(replace(RECIPES["mnist-lenet"], epochs=1, floor=0.0))
    outcome = attempt(system, Workplace(Path("unused"), torch.device("cpu")), out)

    assert not outcome.fault
    learned = onnx.load(out / "mnist-lenet" / "1" / "model.onnx").graph.initializer
    [kernels] = [onnx.numpy_helper.to_array(each) for each in learned if each.name.endswith("conv1.weight")]
    now = filters.kept_filters()
    assert np.array_equal(np.array(now.pop("mnist-lenet")["filters"], np.float32), kernels[:, 0])
    assert committed.pop("mnist-lenet") != {"version": 1, "filters": kernels[:, 0].tolist()}
    assert now == committed


@dataclass(frozen=True)
class Demanding(BlobsSvm):
    """A margin wider than the widest."""

    @property
    def floor(self) -> dict[str, float]:
        return {"margin_width": 1.4}


def test_one_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SYSTEMS, "blobs-svm", Demanding())

    assert main(["blobs-svm", "players-kmeans", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["players-kmeans"]
    first, second, _, done, last = told.err.splitlines()
    assert first.startswith("blobs-svm (1 of 2) on cpu: ")
    assert second.endswith("blobs-svm: margin width 1.3966 is below its floor 1.4000; nothing was written")
    assert done.startswith("players-kmeans (2 of 2) done in 00:")
    assert last == "percept train: failed: blobs-svm"
    _, blobs, players, _, total = (line.split() for line in told.out.splitlines())
    assert blobs[:-1] == ["blobs-svm", "failed"]
    assert players[:-1] == ["players-kmeans", *["same", "as", "scikit", "learn", "to", "1e-6"], "1", "1"]
    assert total[:-1] == ["total", "1", "of", "2"]


class OutOfOrder(BlobsSvm):
    """Fails in a way that no training foresees."""

    def train(self, workplace: Workplace) -> Trained:
        raise RuntimeError("DefaultCPUAllocator: not enough memory")


def test_one_that_fails_as_nobody_foresaw_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SYSTEMS, "blobs-svm", OutOfOrder())

    assert main(["blobs-svm", "players-kmeans", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr()
    fault = "RuntimeError: DefaultCPUAllocator: not enough memory"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["players-kmeans"]
    assert f"\nblobs-svm (1 of 2) failed after 00:00: {fault}\n" in told.err
    assert "Traceback (most recent call last):" in told.err and "in train\n" in told.err
    assert told.err.endswith("\npercept train: failed: blobs-svm\n")
    assert told.out.splitlines()[-1].split()[:-1] == ["total", "1", "of", "2"]


def test_earlier_trainings_say_how_long_the_next_will_take(tmp_path: Path) -> None:
    for name in ("iris-mlp", "moons-svm", "xor-mlp"):
        (tmp_path / name / "1").mkdir(parents=True)
    seconds = []
    for name in ("iris-mlp", "moons-svm"):
        file = shutil.copy(ROOT / "artifacts" / name / "1" / "model.onnx", tmp_path / name / "1")
        [card] = (prop.value for prop in onnx.load(file).metadata_props if prop.key == CARD_KEY)
        seconds.append(json.loads(card)["training"]["seconds"])
    (tmp_path / "xor-mlp" / "1" / "model.onnx").write_bytes(b"not a graph")

    assert earlier_seconds(list(SYSTEMS.values()), tmp_path) == {"iris-mlp": seconds[0], "moons-svm": seconds[1]}


def test_ctrl_c_stops_and_leaves_what_is_whole(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "blobs-svm", "mnist-dnn", "--data", str(data), "--out", str(tmp_path)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell has its background jobs ignore it, and so would all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    started = ""
    while "mnist-dnn  1/40" not in started:
        started += process.stderr.read(1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    table, rest = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "interrupted; no half-written artifact was left" in rest
    assert "Traceback" not in rest
    assert table.splitlines()[-1].split()[:-1] == ["total", "1", "of", "2"]
    assert [path.name for path in tmp_path.iterdir()] == ["blobs-svm"]
    assert [path.name for path in (tmp_path / "blobs-svm").iterdir()] == ["1"]
