"""The check of what was exported: artifacts that are good, spoilt, boastful, missing, broken."""

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from sklearn.cluster import KMeans
from sklearn.svm import SVC

from app.card import CARD_KEY, Card, read_card
from tests.conftest import ROOT
from training import clusters, export, filters, saliency, xor
from training.__main__ import SYSTEMS
from training.check import NOT_MEASURED, SHORT, check, fault_of, main
from training.svm import BlobsSvm, blobs
from training.system import System, Workplace, keep

QUICK = ["xor-mlp", "xor-sigmoid", "iris-mlp", "blobs-svm", "players-kmeans"]
NOWHERE = Workplace(Path("unused"), torch.device("cpu"))
NAN = float("nan")


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """A copy of the committed models that need no data sets."""
    for name in QUICK:
        shutil.copytree(ROOT / "artifacts" / name, tmp_path / name)
    return tmp_path


def file_of(artifacts: Path, name: str) -> Path:
    return artifacts / name / "1" / "model.onnx"


def change(path: Path, how: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(path)
    how(model)
    onnx.save(model, path)


def card_of(model: onnx.ModelProto) -> Card:
    card = read_card({prop.key: prop.value for prop in model.metadata_props})
    assert card is not None
    return card


def write_card(model: onnx.ModelProto, card: Card) -> None:
    props = {prop.key: prop.value for prop in model.metadata_props}
    onnx.helper.set_model_props(model, props | {CARD_KEY: card.model_dump_json()})


def boast(metric: str, value: float) -> Callable[[onnx.ModelProto], None]:
    def how(model: onnx.ModelProto) -> None:
        card = card_of(model)
        write_card(model, card.model_copy(update={"metrics": card.metrics | {metric: value}}))

    return how


def lower_the_floor(model: onnx.ModelProto) -> None:
    """As if it had been trained when less was asked."""
    card = card_of(model)
    some = dict(list(card.floor.items())[1:])
    write_card(model, card.model_copy(update={"floor": some}))


def double_a_weight(model: onnx.ModelProto) -> None:
    weight = next(each for each in model.graph.initializer if list(each.dims) == [2])
    spoilt = numpy_helper.to_array(weight) * np.array([2, 1], np.float32)
    weight.CopyFrom(numpy_helper.from_array(spoilt, weight.name))


def measured(name: str, artifacts: Path) -> dict[str, float | None]:
    return {each.figure: each.measured for each in check(SYSTEMS[name], artifacts, NOWHERE)}


def run(artifacts: Path, *argv: str) -> int:
    return main([*argv, "--artifacts", str(artifacts)])


def unaligned(table: str) -> list[str]:
    return [" ".join(line.split()) for line in table.splitlines()]


# --- what is good ----------------------------------------------------------------------------------------------------


def test_good_artifacts_are_measured_and_found_good(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(artifacts, *QUICK) == 0
    told = capsys.readouterr()
    lines = unaligned(told.out)

    assert lines[0] == "model figure goal card measured verdict"
    assert "xor-mlp accuracy 1 1 1 ok" in lines
    assert "iris-mlp mean test accuracy 0.97 0.971053 0.971053 ok" in lines
    assert told.err.splitlines()[:2] == ["xor-mlp (1 of 5)", "xor-sigmoid (2 of 5)"]
    assert told.err.endswith("figures of 5 models measured again; faults: 0\n")


def test_margin_is_measured_from_outside_as_scikit_learn_has_it(artifacts: Path) -> None:
    points, found = blobs(), measured("blobs-svm", artifacts)
    oracle = SVC(kernel="linear", C=1e10, tol=1e-10).fit(points.at, points.labels)

    assert [found["weight_x1"], found["weight_x2"]] == pytest.approx(oracle.coef_[0], abs=1e-5)
    assert found["bias"] == pytest.approx(oracle.intercept_[0], abs=1e-5)
    assert found["margin_width"] == pytest.approx(2 / np.linalg.norm(oracle.coef_), abs=1e-5)
    assert found["support_vectors"] == len(oracle.support_)
    assert (found["train_accuracy"], found["equals_scikit_learn_to_1e-3"]) == (1, 1)


def test_clusters_are_measured_as_scikit_learn_has_them(artifacts: Path) -> None:
    found = measured("players-kmeans", artifacts)
    oracle = KMeans(n_clusters=2, n_init=10, random_state=5).fit(clusters.PLAYERS.numpy())

    assert found["inertia"] == pytest.approx(oracle.inertia_, rel=1e-9)
    assert (found["same_as_scikit_learn_to_1e-6"], found["110_passes_and_3_goals_are_many"]) == (1, 1)


@pytest.mark.parametrize("system", [BlobsSvm(), clusters.Players(), xor.Perceptron()], ids=lambda system: system.name)
def test_what_was_just_trained_has_the_card_that_the_check_finds(system: System, tmp_path: Path) -> None:
    trained = system.train(NOWHERE)
    keep(trained, tmp_path)
    found = list(check(system, tmp_path, NOWHERE))

    assert [each.verdict for each in found] == ["ok"] * len(found)
    assert {each.figure: each.claimed for each in found} == {each.figure: each.measured for each in found}
    assert {each.figure for each in found} >= set(trained.card.floor)


def test_pictures_are_measured_on_the_test_split(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fashion-mlp", "--artifacts", str(ROOT / "artifacts"), "--data", str(data)]) == 0
    assert "fashion-mlp test accuracy 0.885 0.8941 0.8941 ok" in unaligned(capsys.readouterr().out)


def test_no_network_is_built(artifacts: Path) -> None:
    """With PyTorch's modules and exporter out of order."""
    code = (
        "import sys, torch\n"
        "from training.check import main\n"
        "torch.nn.Module.__init__ = torch.nn.Module.__call__ = torch.onnx.export = None\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *QUICK, "--artifacts", str(artifacts)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ, check=False)

    assert (done.returncode, done.stderr.splitlines()[-1].split("; ")[1]) == (0, "faults: 0")


# --- what is not -----------------------------------------------------------------------------------------------------


def test_spoilt_weight_is_found(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(file_of(artifacts, "blobs-svm"), double_a_weight)

    assert run(artifacts, "blobs-svm", "xor-mlp") == 1
    told = capsys.readouterr().err.splitlines()
    assert "blobs-svm: equals scikit learn to 1e-3: 1 below its goal" in told
    assert "blobs-svm: weight x1: the card says 0.2355 less" in told
    assert not [line for line in told if line.startswith("xor-mlp: ")]


@pytest.mark.parametrize(
    ("model", "metric", "value", "fault"),
    [
        ("xor-mlp", "accuracy", 2.0, "accuracy: the card says 1 more"),
        ("blobs-svm", "margin_width", 1.39, "margin width: the card says 0.006597 less"),
        ("iris-mlp", "mean_test_accuracy", 0.9, "mean test accuracy: the card says 0.07105 less"),
        ("iris-mlp", "mean_test_accuracy", 0.99, "mean test accuracy: the card says 0.01895 more"),
    ],
)
def test_card_that_says_something_else_is_found(
    artifacts: Path, model: str, metric: str, value: float, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(file_of(artifacts, model), boast(metric, value))

    assert run(artifacts, model) == 1
    assert f"{model}: {fault}" in capsys.readouterr().err.splitlines()


def test_goal_that_was_set_after_the_training_is_found(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Though the figure reaches it."""
    change(file_of(artifacts, "players-kmeans"), lower_the_floor)

    assert run(artifacts, "players-kmeans") == 1
    fault = "same as scikit learn to 1e-6: its card has no such floor: percept train players-kmeans"
    assert f"players-kmeans: {fault}" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("name", SYSTEMS)
def test_committed_models_were_asked_for_what_is_asked_now(name: str) -> None:
    card = card_of(onnx.load(file_of(ROOT / "artifacts", name)))

    assert card.floor == dict(SYSTEMS[name].floor)
    assert not card.training.commit.endswith("+changes")


def test_missing_and_broken_artifacts_do_not_stop_the_others(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(artifacts / "xor-mlp")
    file_of(artifacts, "blobs-svm").write_bytes(b"not a graph")
    shutil.copy(file_of(artifacts, "xor-sigmoid"), file_of(artifacts, "players-kmeans"))

    assert run(artifacts, *QUICK) == 1
    told = capsys.readouterr()
    missing, blob, players, last = told.err.splitlines()[len(QUICK) :]
    assert missing == f"xor-mlp: missing: there is none in {artifacts / 'xor-mlp'}; percept train xor-mlp makes it"
    assert blob.startswith(f"blobs-svm: broken: {file_of(artifacts, 'blobs-svm')}: ")
    assert players.endswith("ValueError: its card is of 'xor-sigmoid', not of 'players-kmeans'")
    assert last == "5 figures of 5 models measured again; faults: 3"
    assert "missing: " in told.out


def test_graph_that_answers_something_else_is_broken(artifacts: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["other" if name == "probabilities" else name for name in node.output]
            node.input[:] = ["other" if name == "probabilities" else name for name in node.input]
        next(output for output in model.graph.output if output.name == "probabilities").name = "other"

    change(file_of(artifacts, "xor-mlp"), rename)
    [finding] = check(SYSTEMS["xor-mlp"], artifacts, NOWHERE)

    assert (finding.figure, finding.code) == ("", SHORT)
    assert finding.verdict.endswith("KeyError: 'probabilities'")


CLASSIFIER = "mnist-dnn"


def without_saliency(artifacts: Path, beside: Path) -> None:
    beside.unlink()


def with_another_model(artifacts: Path, beside: Path) -> None:
    """As after a training that left it behind."""
    model = file_of(artifacts, CLASSIFIER)
    model.write_bytes(export.with_overridable_weights(model.read_bytes()))


def with_no_graph(artifacts: Path, beside: Path) -> None:
    beside.write_bytes(b"not a graph")


def with_another_graph(artifacts: Path, beside: Path) -> None:
    shutil.copy(file_of(artifacts, CLASSIFIER), beside)


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        (without_saliency, "there is none; "),
        (with_another_model, "stale: it belongs to another model file; "),
        (with_no_graph, "broken: DecodeError: "),
        (with_another_graph, "broken: it does not take pixels and index; "),
    ],
)
def test_saliency_that_is_not_the_models_is_found(
    artifacts: Path, data: Path, how: Callable[[Path, Path], None], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the model is measured all the same."""
    shutil.copytree(ROOT / "artifacts" / CLASSIFIER, artifacts / CLASSIFIER)
    beside = file_of(artifacts, CLASSIFIER).with_name(saliency.FILE)
    how(artifacts, beside)

    assert run(artifacts, CLASSIFIER, "--data", str(data)) == SHORT
    _, line, last = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{CLASSIFIER}: {beside}: {fault}")
    assert line.endswith(f"; python -m training.beside {CLASSIFIER} makes it again")
    assert last == "2 figures of 1 models measured again; faults: 1"


def test_saliency_is_checked_without_data_too(artifacts: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "artifacts" / CLASSIFIER, artifacts / CLASSIFIER)
    beside = file_of(artifacts, CLASSIFIER).with_name(saliency.FILE)
    beside.unlink()
    file = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    file.parent.mkdir()
    file.write_bytes(gzip.compress(b"other content"))
    first, second = check(SYSTEMS[CLASSIFIER], artifacts, Workplace(tmp_path, torch.device("cpu")))

    assert first.verdict.startswith(f"{beside}: there is none; ")
    assert second.verdict.startswith("not measured: ")


def test_filters_of_another_network_are_found(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = filters.kept_filters()
    kept["mnist-lenet"]["filters"][5][0][0] += 1e-3
    (tmp_path / "filters.json").write_text(filters.as_json(kept))
    monkeypatch.setattr(filters, "WHERE", tmp_path / "filters.json")

    assert run(ROOT / "artifacts", "mnist-lenet", "--data", str(data)) == SHORT
    _, line, _ = capsys.readouterr().err.splitlines()
    model = file_of(ROOT / "artifacts", "mnist-lenet")
    where = tmp_path / "filters.json"
    assert line == (
        f"mnist-lenet: {where}: stale: not the filters of {model}; python -m training.beside mnist-lenet makes it again"
    )


def test_every_version_is_checked(artifacts: Path) -> None:
    shutil.copytree(artifacts / "xor-mlp" / "1", artifacts / "xor-mlp" / "10")
    shutil.copytree(artifacts / "xor-mlp" / "1", artifacts / "xor-mlp" / "2")
    (artifacts / "xor-mlp" / ".3-draft").mkdir()

    assert [each.model for each in check(SYSTEMS["xor-mlp"], artifacts, NOWHERE)] == [
        *("xor-mlp 1", "xor-mlp 2", "xor-mlp 10")
    ]


def test_models_of_others_are_left_alone_and_told(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(artifacts / "xor-mlp", artifacts / "somebodys")
    shutil.copytree(ROOT / "artifacts" / "toy-network", artifacts / "toy-network")
    shutil.rmtree(artifacts / "xor-mlp")
    for name in ("blobs-svm", "iris-mlp", "xor-sigmoid"):
        shutil.rmtree(artifacts / name)

    assert run(artifacts) == 1
    told = capsys.readouterr()
    assert told.err.splitlines()[:2] == [
        "not checked, because no training here makes them: somebodys",
        "not checked, because they have no card that claims anything: toy-network",
    ]
    assert "somebodys" not in told.out
    assert "toy-network" not in told.out
    assert told.out.count("missing: ") == len(SYSTEMS) - 1


def test_data_that_cannot_be_read_is_told_and_leaves_the_others(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "artifacts" / "mnist-dnn", artifacts / "mnist-dnn")
    file = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    file.parent.mkdir()
    file.write_bytes(gzip.compress(b"other content"))

    assert run(artifacts, "mnist-dnn", "xor-mlp", "--data", str(tmp_path)) == NOT_MEASURED == 2
    told = capsys.readouterr()
    assert f"mnist-dnn: not measured: {file} is damaged" in told.err
    assert "xor-mlp accuracy 1 1 1 ok" in unaligned(told.out)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["letters"], "no model is called letters; there are xor-perceptron"),
        (["--artifacts", "nowhere"], "--artifacts nowhere: there is no such folder"),
    ],
)
def test_wrong_arguments_are_told(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)

    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("goal", "claimed", "now", "fault"),
    [
        (0.97, 0.98, 0.98, None),
        (0.97, 0.97, 0.97, None),
        (0.97, 0.98, 0.96, "0.01 below its goal"),
        (0.97, 0.98, NAN, "nan below its goal"),
        (None, 0.98, 0.9799, None),
        (None, 0.98, 0.9796, "the card says 0.0004 more"),
        (None, 0.98, 0.99, "the card says 0.01 less"),
        (None, 1.5e6, 1.5001e6, None),
        (None, NAN, 0.98, "the card says nan less"),
        (0.97, None, 0.98, None),
        (0.97, 0.96, None, "0.01 below its goal"),
        (0.97, 0.98, None, None),
        (0.97, None, None, "neither measured nor on the card"),
    ],
)
def test_faults_by_hand(goal: float | None, claimed: float | None, now: float | None, fault: str | None) -> None:
    assert fault_of(goal, claimed, now) == fault
