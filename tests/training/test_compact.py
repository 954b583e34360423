"""Smaller files of the same numbers: bit for bit what the larger ones answer, and refused where they are not whole."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from app.gradient_saliency import SaliencyGraphs
from app.inside import Insides
from app.model import load_model
from app.runtime import CPU as CPU_PROVIDER
from tests.training.datasets import bars, bars_dataset
from training import compact, export, saliency
from training.__main__ import RECIPES
from training.classifier import ImageClassifier, exportable
from training.cnn import two_convolutions
from training.export import ExportError
from training.recipe import DIGIT_INPUT
from training.system import keep
from training.train import STORED_SMALL, scores_by, train

IMAGES = bars(100, seed=9).images
BLANK = torch.zeros(2, 28, 28, dtype=torch.uint8)
FEED = {"pixels": IMAGES[:20].numpy().astype(np.float32), "index": np.arange(20) % 10}


def network_of(seed: int) -> ImageClassifier:
    torch.manual_seed(seed)
    return ImageClassifier(two_convolutions((16, 32), 120), 0.1, 0.3).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def rounded() -> ImageClassifier:
    network = network_of(4)
    compact.round_to_half(network)
    return network


@pytest.fixture(scope="module")
def whole(rounded: ImageClassifier) -> bytes:
    """In float32, of rounded weights."""
    return export.to_onnx(exportable(rounded), BLANK)


@pytest.fixture(scope="module")
def half(whole: bytes) -> bytes:
    return compact.in_half(whole)


@pytest.fixture(scope="module")
def gradient(rounded: ImageClassifier) -> bytes:
    return saliency.saliency_graph(rounded, DIGIT_INPUT)


def types_in(graph: bytes) -> dict[str, int]:
    return {each.name: each.data_type for each in onnx.load_from_string(graph).graph.initializer}


def gradients(session: ort.InferenceSession) -> list[NDArray[np.float32]]:
    return list(session.run(["gradient", "scores"], FEED))


def assert_same_bits(ours: list[NDArray[np.float32]], theirs: list[NDArray[np.float32]]) -> None:
    assert [each.tobytes() for each in ours] == [each.tobytes() for each in theirs]


# --- weights as float16 -----------------------------------------------------------------------------------------------


def test_large_tensors_become_what_numpys_float16_makes_of_them_and_small_ones_stay(rounded: ImageClassifier) -> None:
    before, after = network_of(4).state_dict(), rounded.state_dict()
    large = {name for name, values in before.items() if values.numel() >= compact.LARGE}

    assert len(large) == 2
    for name, values in before.items():
        wanted = values.numpy().astype(np.float16).astype(np.float32) if name in large else values.numpy()
        assert after[name].dtype == torch.float32
        assert after[name].numpy().tobytes() == wanted.tobytes()


def test_answers_are_those_of_the_float32_file_to_the_last_bit(whole: bytes, half: bytes) -> None:
    ours, theirs = (export.run(graph, IMAGES.numpy()) for graph in (half, whole))

    assert_same_bits(list(ours.values()), list(theirs.values()))
    assert sum(each == TensorProto.FLOAT16 for each in types_in(half).values()) == 2
    assert len(half) < 0.6 * len(whole)


def test_weights_have_their_names_and_are_float32(rounded: ImageClassifier, half: bytes) -> None:
    weights = export.weights_in(half)

    for name, values in rounded.state_dict().items():
        stored = weights[f"classifier.{name}"]
        assert stored.dtype == torch.float32
        assert torch.equal(stored.reshape(values.shape), values)


def test_what_float16_would_change_is_left_as_it_is() -> None:
    graph = export.to_onnx(exportable(network_of(4)), BLANK)

    assert types_in(compact.in_half(graph)) == types_in(graph)


@pytest.mark.parametrize(
    ("values", "exact"),
    [([0.5, -2, 65504], True), ([0.1], False), ([65520], False), ([1e-9], False), ([-0.0], True), ([np.inf], True)],
)
def test_exactly_half_by_hand(values: list[float], exact: bool) -> None:
    assert (compact.exactly_half(np.array(values, np.float32)) is not None) == exact


def test_weight_beyond_float16_is_refused() -> None:
    network = nn.Linear(100, 100)
    with torch.no_grad():
        network.weight[3, 5] = -70_000

    with pytest.raises(ExportError, match=r"^weight has a weight of 70000; float16 holds up to 65504$"):
        compact.round_to_half(network)


# --- weights in the model's file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["whole", "half"])
def test_graph_without_the_models_weights_gives_the_same_to_the_last_bit(
    model: str, gradient: bytes, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """By the service's way, and by onnxruntime's own from the files' folder."""
    content: bytes = request.getfixturevalue(model)
    lean = saliency.belonging_to(content, gradient)
    (tmp_path / export.MODEL_FILE).write_bytes(content)
    (tmp_path / saliency.FILE).write_bytes(lean)
    wanted = gradients(export.opened(gradient))

    assert len(lean) < len(gradient) / 5
    assert_same_bits(gradients(export.opened(lean, content)), wanted)
    by_path = ort.InferenceSession(tmp_path / saliency.FILE, providers=["CPUExecutionProvider"])
    assert_same_bits(gradients(by_path), wanted)
    assert saliency.fault(lean, content) is None


def test_places_are_those_of_the_numbers(half: bytes, gradient: bytes) -> None:
    lean = onnx.load_from_string(saliency.belonging_to(half, gradient))
    elsewhere = [each for each in lean.graph.initializer if each.data_location == TensorProto.EXTERNAL]
    numbers = {each.tobytes() for each in map(numpy_helper.to_array, onnx.load_from_string(half).graph.initializer)}

    assert {each.data_type for each in elsewhere} == {TensorProto.FLOAT, TensorProto.FLOAT16}
    for each in elsewhere:
        where = {entry.key: entry.value for entry in each.external_data}
        offset, length = int(where["offset"]), int(where["length"])
        assert where["location"] == "model.onnx"
        assert half[offset : offset + length] in numbers


def test_matrix_that_the_model_has_transposed_is_shared(tmp_path: Path) -> None:
    matrix = np.arange(600, dtype=np.float32).reshape(20, 30) + 0.1
    made = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "product",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 20])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 30])],
            [numpy_helper.from_array(matrix, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    other = b"something else" + matrix.T.tobytes()
    lean = compact.shared(made.SerializeToString(), other, export.MODEL_FILE)
    rows = np.eye(20, dtype=np.float32)

    assert len(lean) < 400
    assert [node.op_type for node in onnx.load_from_string(lean).graph.node] == ["Transpose", "MatMul"]
    assert np.array_equal(export.opened(lean, other).run(None, {"x": rows})[0], matrix)


def with_entry(key: str, value: str) -> Callable[[onnx.ModelProto], None]:
    def how(graph: onnx.ModelProto) -> None:
        weight = next(each for each in graph.graph.initializer if each.external_data)
        next(entry for entry in weight.external_data if entry.key == key).value = value

    return how


def in_a_node(graph: onnx.ModelProto) -> None:
    """A constant of an operation, from another file."""
    weight = next(each for each in graph.graph.initializer if each.external_data)
    stray = TensorProto()
    stray.CopyFrom(weight)
    stray.external_data[0].value = "other.onnx"
    graph.graph.node.insert(0, helper.make_node("Constant", [], [weight.name], value=stray))
    graph.graph.initializer.remove(weight)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (with_entry("location", "../x/model.onnx"), "External file: ../x/model.onnx not found"),
        (with_entry("location", "/etc/passwd"), "External file: /etc/passwd not found"),
        (with_entry("location", "other.onnx"), "External file: other.onnx not found"),
        (with_entry("offset", "1000000000"), "are out of bounds"),
        (with_entry("offset", "-1000"), "are out of bounds"),
        (with_entry("offset", "here"), "Failed to parse"),
        (with_entry("length", "4"), "external data size mismatch"),
        (in_a_node, "External file: other.onnx not found"),
    ],
)
def test_graph_that_takes_what_is_not_there_is_broken(
    how: Callable[[onnx.ModelProto], None], reason: str, half: bytes, gradient: bytes
) -> None:
    graph = onnx.load_from_string(saliency.belonging_to(half, gradient))
    how(graph)
    fault = saliency.fault(graph.SerializeToString(), half)

    assert fault is not None
    assert fault.startswith("broken: ")
    assert reason in fault


def test_graph_that_takes_something_else_does_not_come_to_lie_beside_a_model(half: bytes) -> None:
    with pytest.raises(ExportError, match=r"^saliency\.onnx: broken: it does not take pixels and index$"):
        saliency.belonging_to(half, half)


def test_graph_of_a_model_that_was_cut_off_is_stale(half: bytes, gradient: bytes) -> None:
    lean = saliency.belonging_to(half, gradient)

    assert saliency.fault(lean, half[:1_000]) == "stale: it belongs to another model file"


def test_graph_that_claims_a_cut_off_model_is_broken(half: bytes, gradient: bytes) -> None:
    graph = onnx.load_from_string(saliency.belonging_to(half, gradient))
    onnx.helper.set_model_props(graph, {saliency.BELONGS_TO: hashlib.sha256(half[:1_000]).hexdigest()})
    fault = saliency.fault(graph.SerializeToString(), half[:1_000])

    assert fault is not None
    assert "are out of bounds" in fault


# --- a training that stores its weights so ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("artifacts")
    recipe = replace(RECIPES["mnist-lenet"], epochs=2, batch_size=32, floor=0.5, weights="float16")
    keep(train(recipe, bars_dataset(), lambda: bars(200, seed=3), torch.device("cpu")), out)
    return out / recipe.name / "1"


def test_artifact_has_its_large_weights_once_and_as_float16(kept: Path) -> None:
    content, lean = ((kept / name).read_bytes() for name in (export.MODEL_FILE, saliency.FILE))
    large = {name: values for name, values in export.weights_in(content).items() if values.numel() >= compact.LARGE}
    half = {name.removesuffix(compact.HALF) for name, kind in types_in(content).items() if kind == TensorProto.FLOAT16}

    assert half == set(large) != set()
    assert saliency.fault(lean, content) is None
    assert not [each for each in onnx.load_from_string(lean).graph.initializer if len(each.raw_data) > 2_000]


def test_figures_and_gradients_are_of_the_rounded_network(kept: Path) -> None:
    content, lean = ((kept / name).read_bytes() for name in (export.MODEL_FILE, saliency.FILE))
    card = export.card_in(kept / export.MODEL_FILE)
    assert card is not None
    logits = export.run(content, bars_dataset().validation.images.numpy())["logits"]
    right = (logits.argmax(1) == bars_dataset().validation.labels.numpy()).mean()
    scores = scores_by(RECIPES["mnist-lenet"], content)

    assert card.metrics["validation_accuracy"] == pytest.approx(right)
    assert STORED_SMALL in card.notes
    assert saliency.check(scores, lean, DIGIT_INPUT, content) <= saliency.TOLERANCE


def test_service_loads_it_and_explains_by_its_gradients(kept: Path) -> None:
    model = load_model("mnist-lenet", 1, kept / export.MODEL_FILE, [CPU_PROVIDER])
    session = SaliencyGraphs().of(model)
    assert session is not None
    [ours] = session.run(["gradient"], FEED)
    [theirs] = export.opened((kept / saliency.FILE).read_bytes(), model.content()).run(["gradient"], FEED)

    assert ours.tobytes() == theirs.tobytes()
    assert np.abs(ours).max() > 0
    assert Insides().table(model).parameters == model.require_card().parameters
