"""Saliency by gradients through POST /explain, against autograd, and against its own sums."""

from collections.abc import Callable
from pathlib import Path
from shutil import copy, copytree
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from fastapi.testclient import TestClient
from torch import Tensor

from app.errors import ArtifactRejected
from app.gradient_saliency import (
    FILE,
    NOISE,
    NOISY_PICTURES,
    PICTURES,
    PICTURES_FOR,
    SEED,
    STEPS,
    WHITE,
    SaliencyGraphs,
    gradients,
    one_map,
    require_weights_beside,
)
from app.main import create_app
from app.model import load_model
from app.settings import Settings
from app.store import load_store
from tests.app.routes.test_explain import PICTURED, SEVEN, explained, pixels_of
from tests.conftest import ROOT
from training import beside, saliency

CLASSIFIERS = [name for name in PICTURED if (ROOT / "artifacts" / name / "1" / FILE).is_file()]


def autograd(model: str, pictures: Tensor, index: int) -> tuple[Tensor, Tensor]:
    scores = beside.CLASSIFIERS[model].scores((ROOT / "artifacts" / model / "1" / "model.onnx").read_bytes())
    return saliency.saliency(scores, pictures.float(), torch.full((len(pictures),), index))


def assert_near(ours: Any, theirs: Tensor) -> None:
    """To 1e-5 of the largest."""
    values = np.array(ours["values"])
    assert np.abs(values - theirs.double().numpy()).max() <= 1e-5 * float(theirs.abs().max())
    drawn = pixels_of(ours["picture"])
    assert drawn[np.unravel_index(values.argmax(), values.shape)] >= 127
    assert np.abs(drawn - (127.5 + 127.5 * values / np.abs(values).max())).max() <= 1


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_maps_are_those_of_autograd(client: TestClient, model: str) -> None:
    told = explained(client, model, occlusion=False)
    found, picture = told["methods"]["gradients"], torch.from_numpy(pixels_of(told["input"]).copy()).double()
    index = told["prediction"]["index"]
    [plain, _], scores = autograd(model, torch.stack([picture, torch.zeros_like(picture)]), index)
    noise = np.random.default_rng(SEED).normal(scale=NOISE * WHITE, size=(NOISY_PICTURES, *picture.shape))
    smooth, _ = autograd(model, picture + torch.from_numpy(noise), index)
    way, _ = autograd(model, (torch.arange(STEPS) + 0.5)[:, None, None] / STEPS * picture, index)

    assert (found["index"], len(CLASSIFIERS)) == (index, 7)
    assert found["score"] == pytest.approx(float(scores[0, index]), abs=1e-4)
    assert_near(found["gradient"], plain)
    assert_near(found["gradient_times_input"], plain * picture)
    assert_near(found["smoothgrad"], smooth.double().mean(0))
    assert_near(found["integrated_gradients"], way.double().mean(0) * picture)


def test_maps_of_another_class_are_those_of_autograd(client: TestClient) -> None:
    """What of a 7 speaks for a 2."""
    told = explained(client, "mnist-lenet", occlusion=False, **{"class": "2"})
    found, picture = told["methods"]["gradients"], torch.from_numpy(pixels_of(told["input"]).copy())
    [gradient], scores = autograd("mnist-lenet", picture[None], 2)

    assert (found["index"], told["prediction"]["index"], told["explained"]["index"]) == (2, 7, 2)
    assert found["score"] == pytest.approx(float(scores[0, 2]), abs=1e-4)
    assert_near(found["gradient"], gradient)


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_integrated_gradients_add_up_to_the_score(client: TestClient, model: str) -> None:
    told = explained(client, model, occlusion=False)["methods"]["gradients"]
    picture = pixels_of(explained(client, model, occlusion=False)["input"])
    _, scores = autograd(
        model, torch.stack([torch.from_numpy(picture.copy()), torch.zeros(picture.shape)]), told["index"]
    )
    risen = float(scores[0, told["index"]] - scores[1, told["index"]])
    total = np.array(told["integrated_gradients"]["values"]).sum()

    assert told["integrated_gradients"]["missing"] == pytest.approx(risen - total, abs=1e-3)
    assert abs(told["integrated_gradients"]["missing"]) <= 0.2 * abs(risen)


def test_they_can_be_left_out_and_are_not_there_without_a_graph(client: TestClient) -> None:
    assert list(explained(client, "mnist-dnn", gradients=False)["methods"]) == ["occlusion"]
    assert list(explained(client, "mnist-dnn")["methods"]) == ["gradients", "occlusion"]
    assert list(explained(client, "mnist-kmeans")["methods"]) == ["occlusion"]


def test_graph_of_another_model_is_not_used(tmp_path: Path) -> None:
    copytree(ROOT / "artifacts" / "mnist-dnn", tmp_path / "mnist-dnn")
    copy(ROOT / "artifacts" / "fashion-mlp" / "1" / FILE, tmp_path / "mnist-dnn" / "1" / FILE)
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        assert list(explained(client, "mnist-dnn", SEVEN)["methods"]) == ["occlusion"]


def test_few_sessions_are_kept(tmp_path: Path) -> None:
    graphs = SaliencyGraphs()
    models = [
        model
        for model in load_store(ROOT / "artifacts", ["CPUExecutionProvider"]).newest()
        if model.name in CLASSIFIERS
    ]
    sessions = [graphs.of(model) for model in models]

    assert graphs.of(models[-1]) is sessions[-1]
    assert graphs.of(models[0]) is not sessions[0]


def test_graph_with_other_inputs_is_not_used(tmp_path: Path) -> None:
    copytree(ROOT / "artifacts" / "mnist-dnn", tmp_path / "mnist-dnn")
    file = tmp_path / "mnist-dnn" / "1" / FILE
    other = onnx.load(file, load_external_data=False)
    for node in other.graph.node:
        node.input[:] = ["class" if name == "index" else name for name in node.input]
    next(each for each in other.graph.input if each.name == "index").name = "class"
    file.write_bytes(other.SerializeToString())
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        assert list(explained(client, "mnist-dnn", SEVEN)["methods"]) == ["occlusion"]


def outside(graph: onnx.ModelProto) -> None:
    next(each for each in graph.graph.initializer if each.external_data).external_data[0].value = "../model.onnx"


def beyond(graph: onnx.ModelProto) -> None:
    next(each for each in graph.graph.initializer if each.external_data).external_data[1].value = "1000000000"


@pytest.mark.parametrize("how", [outside, beyond])
def test_graph_that_takes_weights_from_elsewhere_is_not_used(
    tmp_path: Path, how: Callable[[onnx.ModelProto], None]
) -> None:
    """Also where there is such a file."""
    folder = tmp_path / "mnist-dnn" / "1"
    copytree(ROOT / "artifacts" / "mnist-dnn", tmp_path / "mnist-dnn")
    copy(folder / "model.onnx", tmp_path / "mnist-dnn" / "model.onnx")
    graph = onnx.load(folder / FILE, load_external_data=False)
    how(graph)
    (folder / FILE).write_bytes(graph.SerializeToString())
    model = load_model("mnist-dnn", 1, folder / "model.onnx", ["CPUExecutionProvider"])

    assert SaliencyGraphs().of(model) is None


def test_one_map_is_the_very_one_of_all_and_asks_for_its_own_pictures_alone() -> None:
    file = ROOT / "artifacts" / "mnist-mlp" / "1" / "model.onnx"
    model = load_model("mnist-mlp", 1, file, ["CPUExecutionProvider"])
    session, runs = SaliencyGraphs().of(model), list[int]()
    assert session is not None
    picture = np.arange(784.0).reshape(28, 28) % 256
    together = gradients(session, picture, 3)

    class Counted:
        def run(self, names: list[str], feed: dict[str, Any]) -> Any:
            runs.append(len(feed["index"]))
            return session.run(names, feed)

    for which, pictures in PICTURES_FOR.items():
        runs.clear()
        alone = one_map(Counted(), picture, 3, which, lambda: None)  # type: ignore[arg-type]
        assert alone == {"values": together[which]["values"], "picture": together[which]["picture"]}  # type: ignore[literal-required]
        assert sum(runs) == pictures < PICTURES


@pytest.mark.parametrize("location", ["../x", "/etc/passwd", "other.onnx", "sub/../model.onnx", ""])
def test_weights_lie_beside_or_nowhere(location: str) -> None:
    graph = onnx.load(ROOT / "artifacts" / "mnist-dnn" / "1" / FILE, load_external_data=False)
    weight = next(each for each in graph.graph.initializer if each.external_data)
    require_weights_beside(graph.SerializeToString())
    weight.external_data[0].value = location

    with pytest.raises(ArtifactRejected, match=f"its tensor '{weight.name}' is in a second file"):
        require_weights_beside(graph.SerializeToString())


def test_model_that_is_overwritten_where_it_lies_leaves_what_was_opened(tmp_path: Path) -> None:
    """Onnxruntime would map a file that it opened itself, and end with it."""
    copytree(ROOT / "artifacts" / "mnist-mlp", tmp_path / "mnist-mlp")
    [model] = load_store(tmp_path, ["CPUExecutionProvider"]).newest()
    session = SaliencyGraphs().of(model)
    assert session is not None
    picture = np.arange(784.0).reshape(28, 28) % 256
    before = gradients(session, picture, 3)
    model.path.write_bytes(b"short")

    assert gradients(session, picture, 3) == before


def test_graph_that_is_wrong_is_read_once_until_another_is_there(tmp_path: Path) -> None:
    copytree(ROOT / "artifacts" / "mnist-dnn", tmp_path / "mnist-dnn")
    file = tmp_path / "mnist-dnn" / "1" / FILE
    copy(ROOT / "artifacts" / "fashion-mlp" / "1" / FILE, file)
    [model] = load_store(tmp_path, ["CPUExecutionProvider"]).newest()
    graphs, content = SaliencyGraphs(), model.path.read_bytes()

    assert graphs.of(model) is None
    model.path.unlink()
    assert graphs.of(model) is None  # reading would raise that the model's file has gone
    model.path.write_bytes(content)
    copy(ROOT / "artifacts" / "mnist-dnn" / "1" / FILE, file)
    assert graphs.of(model) is not None


def test_graph_that_is_not_there_may_come_later(tmp_path: Path) -> None:
    copytree(ROOT / "artifacts" / "mnist-dnn", tmp_path / "mnist-dnn")
    file = tmp_path / "mnist-dnn" / "1" / FILE
    file.unlink()
    [model] = load_store(tmp_path, ["CPUExecutionProvider"]).newest()
    graphs = SaliencyGraphs()

    assert graphs.of(model) is None
    copy(ROOT / "artifacts" / "mnist-dnn" / "1" / FILE, file)
    assert graphs.of(model) is not None
