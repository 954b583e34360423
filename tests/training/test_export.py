"""What is exported is what was trained; what is not, or falls short, is not written."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from app.card import read_card, read_golden
from app.model import load_model
from app.runtime import CPU as CPU_PROVIDER
from tests.training.datasets import bars, bars_dataset
from training import export, saliency
from training.__main__ import RECIPES
from training.classifier import ImageClassifier, WithProbabilities, exportable
from training.cnn import two_convolutions
from training.export import ExportError, artifact_folder, check_parity, layer_table, run, to_onnx
from training.system import BelowFloor, keep
from training.train import ImageSystem, train

CPU = torch.device("cpu")
IMAGES = bars(100, seed=9).images


@pytest.fixture(scope="module")
def network() -> ImageClassifier:
    torch.manual_seed(4)
    return ImageClassifier(two_convolutions((6, 16), 120), 0.1, 0.3).eval()


@pytest.fixture(scope="module")
def graph(network: ImageClassifier) -> bytes:
    return to_onnx(exportable(network), torch.zeros(2, 28, 28, dtype=torch.uint8))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of a short training, floor and all."""
    out = tmp_path_factory.mktemp("artifacts")
    recipe = replace(RECIPES["mnist-lenet"], epochs=4, batch_size=32, floor=0.9)
    keep(train(recipe, bars_dataset(), lambda: bars(200, seed=3), CPU), out)
    return out


def test_training_takes_as_long_as_its_variants_too() -> None:
    """A network and another to compare it with, whose making takes a second."""

    def slow() -> nn.Module:
        time.sleep(1)
        return recipe.body()

    recipe = replace(RECIPES["mnist-dnn"], epochs=1)
    card = train(replace(recipe, variants={"slow": slow}), bars_dataset(), lambda: bars(100, seed=3), CPU).card

    assert [comparison.what for comparison in card.comparisons] == ["slow"]
    assert card.training.seconds >= 1


@pytest.mark.parametrize("rows", [1, 7, 64, 100])
def test_graph_answers_as_pytorch_does_in_any_batch(network: ImageClassifier, graph: bytes, rows: int) -> None:
    with torch.inference_mode():
        logits, probabilities = WithProbabilities(network)(IMAGES[:rows])
    answers = run(graph, IMAGES[:rows].numpy())

    np.testing.assert_allclose(answers["logits"], logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(answers["probabilities"], probabilities.numpy(), atol=1e-6)


def test_graph_takes_uint8_pixels_and_names_its_outputs(graph: bytes) -> None:
    model = onnx.load_from_string(graph)
    [image] = model.graph.input

    assert (image.name, image.type.tensor_type.elem_type) == ("image", onnx.TensorProto.UINT8)
    assert [axis.dim_param or axis.dim_value for axis in image.type.tensor_type.shape.dim] == ["batch", 28, 28]
    assert [output.name for output in model.graph.output] == ["logits", "probabilities"]


def test_graph_tells_nothing_of_the_machine_it_was_made_on(graph: bytes) -> None:
    assert b".py" not in graph
    assert str(Path(__file__).parents[2]).encode() not in graph


def test_parity_of_another_network_is_refused(graph: bytes) -> None:
    torch.manual_seed(5)
    other = ImageClassifier(two_convolutions((6, 16), 120), 0.1, 0.3).eval()

    with pytest.raises(ExportError, match="differ"):
        check_parity(exportable(other), graph, IMAGES)


def test_parity_beyond_the_tolerance_is_refused(
    network: ImageClassifier, graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PARITY_TOLERANCE", 1e-12)

    with pytest.raises(ExportError, match="at most 1e-12 is allowed"):
        check_parity(exportable(network), graph, IMAGES)


def test_parity_needs_enough_rows(network: ImageClassifier, graph: bytes) -> None:
    with pytest.raises(ExportError, match="parity needs 64 rows, there are 63"):
        check_parity(exportable(network), graph, IMAGES[:63])


class Shifted(nn.Module):
    """The picture some levels lighter, wrapping around, and whether it is (not) all black."""

    def __init__(self, levels: int, answer: bool = True) -> None:
        super().__init__()
        self.levels, self.answer = levels, answer

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lighter = (image.int() + self.levels).remainder(256).to(torch.uint8)
        return lighter, (image.flatten(1).amax(1) > 0) == self.answer


def shifted(levels: int, answer: bool = True) -> export.Exportable:
    return export.Exportable(Shifted(levels, answer), "image", {"lighter": "…", "is_inked": "…"})


def test_pictures_may_differ_by_a_level_and_truth_values_by_nothing() -> None:
    images = torch.full((64, 4, 4), 100, dtype=torch.uint8)
    graph = to_onnx(shifted(0), images[:2])

    assert check_parity(shifted(0), graph, images) == 0
    assert check_parity(shifted(1), graph, images) == 0
    assert check_parity(shifted(-1), graph, images) == 0
    for levels in (2, -2):
        with pytest.raises(ExportError, match="in batches of 1 onnxruntime's lighter differs from PyTorch's"):
            check_parity(shifted(levels), graph, images)
    with pytest.raises(ExportError, match="onnxruntime's is_inked differs"):
        check_parity(shifted(0, answer=False), graph, images)


def test_layer_table_counts_every_parameter(network: ImageClassifier) -> None:
    table = layer_table(network, network.body, torch.zeros(1, 28, 28, dtype=torch.uint8))

    assert [(layer.name, layer.output_shape, layer.parameters) for layer in table if layer.parameters] == [
        ("conv1", [6, 24, 24], 156),
        ("conv2", [16, 8, 8], 2_416),
        ("hidden", [120], 30_840),
        ("logits", [10], 1_210),
    ]


def test_artifact_is_whole_and_loads(written: Path) -> None:
    folder = written / "mnist-lenet" / "1"
    metadata = {prop.key: prop.value for prop in onnx.load(folder / "model.onnx").metadata_props}
    card = read_card(metadata)
    golden = read_golden(metadata)

    assert card is not None and golden is not None
    assert card.metrics["test_accuracy"] >= card.floor["test_accuracy"] == 0.9
    assert len(card.training.history) == card.training.epochs == 4
    assert card.training.command == "percept train mnist-lenet --epochs 4 --seed 1"
    assert golden.inputs["image"].shape == [4, 28, 28]
    assert sorted(path.name for path in folder.rglob("*.png")) == [
        "confusion.png",
        "filters.png",
        "mistakes.png",
        "predictions.png",
        "training.png",
    ]
    assert load_model("mnist-lenet", 1, folder / "model.onnx", [CPU_PROVIDER]).card == card


def test_gradient_of_its_scores_lies_beside_the_model(written: Path) -> None:
    """As PyTorch has it with the weights that were trained, which are those of the graph."""
    folder = written / "mnist-lenet" / "1"
    model, beside = ((folder / name).read_bytes() for name in ("model.onnx", saliency.FILE))
    pixels, index = bars(20, seed=6).images.float(), torch.arange(20) % 10
    theirs, scores = saliency.saliency(ImageSystem(RECIPES["mnist-lenet"]).scores(model), pixels, index)
    ours = export.opened(beside, model).run(["gradient", "scores"], {"pixels": pixels.numpy(), "index": index.numpy()})

    assert saliency.fault(beside, model) is None
    assert float(np.abs(ours[0] - theirs.numpy()).max()) <= 1e-5 * float(theirs.abs().max())
    np.testing.assert_allclose(ours[1], scores.numpy(), atol=1e-4)
    np.testing.assert_allclose(ours[1], run(model, pixels.to(torch.uint8).numpy())["logits"], atol=1e-4)
    assert sorted(path.name for path in folder.iterdir()) == ["figures", "model.onnx", "saliency.onnx"]


def test_gradient_that_is_not_pytorchs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saliency, "TOLERANCE", -1.0)
    recipe = replace(RECIPES["mnist-lenet"], epochs=1, floor=0.0)

    with pytest.raises(ExportError, match=r"saliency\.onnx: the gradients differ from PyTorch's by "):
        keep(train(recipe, bars_dataset(), lambda: bars(100, seed=3), CPU), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_model_and_gradient_are_written_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_off(*_: bytes) -> bytes:
        raise KeyboardInterrupt

    recipe = replace(RECIPES["mnist-dnn"], epochs=1, floor=0.0)
    trained = train(recipe, bars_dataset(), lambda: bars(100, seed=3), CPU)
    monkeypatch.setattr(saliency, "belonging_to", broken_off)
    with pytest.raises(KeyboardInterrupt):
        keep(trained, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_below_the_floor_nothing_is_written(tmp_path: Path) -> None:
    recipe = replace(RECIPES["mnist-lenet"], epochs=1, floor=1.0)

    with pytest.raises(BelowFloor, match=r"mnist-lenet: test accuracy 0\.\d{4} is below its floor 1\.0000"):
        keep(train(recipe, bars_dataset(), lambda: bars(100, seed=3), CPU), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_new_artifact_replaces_the_old_one_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with artifact_folder(tmp_path, "model", 1) as folder:
            (folder / content).write_text(content)

    assert [path.name for path in (tmp_path / "model").iterdir()] == ["1"]
    assert [path.name for path in (tmp_path / "model" / "1").iterdir()] == ["new"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_interrupted_writing_leaves_the_old_artifact_and_nothing_else(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    with artifact_folder(tmp_path, "model", 1) as folder:
        (folder / "old").write_text("old")
    with pytest.raises(interruption), artifact_folder(tmp_path, "model", 1) as folder:
        (folder / "new").write_text("half")
        raise interruption

    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "model",
        "model/1",
        "model/1/old",
    ]


def test_interruption_between_the_renames_brings_the_old_artifact_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with artifact_folder(tmp_path, "model", 1) as folder:
        (folder / "old").write_text("old")
    rename, renames = os.rename, []

    def interrupted(source: Path, target: Path) -> None:
        renames.append(target)
        if len(renames) == 2:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(export.os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), artifact_folder(tmp_path, "model", 1) as folder:
        (folder / "new").write_text("new")

    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "model",
        "model/1",
        "model/1/old",
    ]


def test_interrupted_first_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), artifact_folder(tmp_path, "model", 1):
        raise KeyboardInterrupt

    assert list(tmp_path.iterdir()) == []
