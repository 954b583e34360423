"""The layers of a graph and what they give, against PyTorch and against sessions made with the package `onnx`."""

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from app.card import read_golden
from app.errors import InvalidRequest, NotReady
from app.inside import MOST_SESSIONS, Insides, numbers_of, rows_in, weight_of
from app.model import Model, load_model
from app.runtime import CPU
from app.store import load_store
from tests.conftest import MODELS, ROOT
from tests.onnx_models import (
    agreement_graph,
    as_computed,
    doubling_graph,
    graph_of,
    identity_graph,
    lookup_graph,
    parsing_graph,
    total_graph,
    write_brightness,
    write_model,
)
from training import compact
from training.toy import toy_network

Array = np.ndarray[Any, Any]


def loaded(folder: Path, model: onnx.ModelProto | bytes, name: str = "made") -> Model:
    made = model if isinstance(model, onnx.ModelProto) else onnx.load_from_string(model)
    return load_model(name, 1, write_model(folder, made, name), [CPU])


def committed(name: str) -> Model:
    return load_model(name, 1, ROOT / "artifacts" / name / "1" / "model.onnx", [CPU])


def by_onnx(model: onnx.ModelProto, inputs: dict[str, Array]) -> dict[str, Array]:
    """Every tensor of the graph, from a session whose outputs the package `onnx` has appended."""
    there = {output.name for output in model.graph.output}
    hidden = [name for node in model.graph.node for name in node.output if name and name not in there]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in hidden)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def golden_row(model: Model) -> dict[str, Array]:
    """Ones for a model without a card."""
    if model.card is None:
        return {node.name: np.ones((1, *node.shape[1:]), np.float32) for node in model.session.get_inputs()}
    golden = read_golden(model.session.get_modelmeta().custom_metadata_map)
    assert golden is not None
    return {name: tensor.array()[:1] for name, tensor in golden.inputs.items()}


# --- the course's toy network: 3 → 2 ReLU → 3 ReLU → 4, on ones(3, 3) -------------------------------------------------


@pytest.fixture(scope="module")
def toy() -> nn.Sequential:
    return toy_network()


@pytest.fixture(scope="module")
def toy_model() -> Model:
    return committed("toy-network")


def test_layers_of_the_toy_network_are_those_of_torch(toy: nn.Sequential, toy_model: Model) -> None:
    table = Insides().table(toy_model)
    theirs = [sum(each.numel() for each in module.parameters()) for module in toy]

    assert [layer.parameters for layer in table.layers] == theirs == [8, 0, 9, 0, 16]
    assert [layer.output_shape for layer in table.layers] == [["batch", size] for size in (2, 2, 3, 3, 4)]
    assert [layer.operation for layer in table.layers] == ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]
    assert table.layers[0].weights == {"0.weight": [2, 3], "0.bias": [2]}
    assert (table.parameters, table.operations, table.note) == (33, {"Gemm": 3, "Relu": 2}, None)


def test_activations_of_the_toy_network_are_those_of_torch(toy: nn.Sequential, toy_model: Model) -> None:
    ours = Insides().activations(toy_model, {"x": np.ones((3, 3), np.float32)})
    value = torch.ones(3, 3)

    assert len(ours) == len(toy)
    for module, given in zip(toy, ours.values(), strict=True):
        value = module(value)
        assert given.shape == tuple(value.shape)
        assert given == pytest.approx(value.detach().numpy(), abs=1e-6)


def test_only_the_layers_that_are_wanted_are_given(toy_model: Model) -> None:
    insides, inputs = Insides(), {"x": np.ones((3, 3), np.float32)}
    second = insides.table(toy_model).layers[1]
    everything, one = insides.activations(toy_model, inputs), insides.activations(toy_model, inputs, [second])

    assert list(one) == [second.name]
    assert np.array_equal(one[second.name], everything[second.name])


def test_numbers_are_those_of_the_shapes(tmp_path: Path) -> None:
    """Of constants as many for any number of rows; of rows with more numbers than were measured more."""
    made = graph_of(
        [
            helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.ones((5, 3), np.float32))),
            helper.make_node("Relu", ["x"], ["h"]),
            helper.make_node("Relu", ["h"], ["y"]),
        ],
        {"x": (TensorProto.FLOAT, ["batch", "wide"])},
        {"y": (TensorProto.FLOAT, ["batch", "wide"])},
    )
    model, insides = loaded(tmp_path, made), Insides()
    layers = insides.table(model).layers

    assert [(layer.name, layer.output_shape) for layer in layers] == [
        ("c", [5, 3]),
        ("h", ["batch", 1]),
        ("y", ["batch", 1]),
    ]
    for shape, numbers in (((1, 1), 15 + 2), ((4, 1), 15 + 8)):
        inputs = {"x": np.ones(shape, np.float32)}
        assert numbers_of(layers, rows_in(model, inputs), weight_of(model, inputs)) == numbers
    wide = {"x": np.ones((2, 3_000_000), np.float32)}
    with pytest.raises(InvalidRequest, match=r"together give 57,000,000 numbers .* at most 8,000,000"):
        insides.activations(model, wide)


# --- the committed models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_of_a_committed_model_is_what_onnxs_session_gives(name: str) -> None:
    model = committed(name)
    inputs = golden_row(model)
    ours = Insides().activations(model, inputs)
    theirs = by_onnx(as_computed(model.path), inputs)

    assert set(ours) == set(theirs)
    for tensor, value in theirs.items():
        assert ours[tensor].dtype == value.dtype
        assert np.array_equal(ours[tensor], value, equal_nan=value.dtype.kind == "f"), tensor


@pytest.mark.parametrize("name", MODELS)
def test_shapes_of_a_committed_model_are_those_of_its_tensors(name: str) -> None:
    model = committed(name)
    table = Insides().table(model)
    theirs = by_onnx(as_computed(model.path), golden_row(model))

    assert table.note is None
    assert [layer.name for layer in table.layers] == [name for node in model_graph(model).node for name in node.output]
    for layer in table.layers:
        shape = theirs[layer.name].shape
        assert layer.output_shape is None or len(layer.output_shape) == len(shape)
        for axis, size in zip(layer.output_shape or (), shape, strict=False):
            assert axis == size or axis is None or (axis == "batch" and size == 1)


def model_graph(model: Model) -> onnx.GraphProto:
    return as_computed(model.path).graph


def test_layers_with_parameters_are_those_of_the_card() -> None:
    for name in ("mnist-cnn", "mnist-lenet", "fashion-mlp", "mnist-autoencoder", "xor-mlp"):
        model = committed(name)
        card, table = model.require_card(), Insides().table(model)

        assert [layer.parameters for layer in table.layers if layer.parameters] == [
            layer.parameters for layer in card.layers if layer.parameters
        ]
        assert table.parameters == card.parameters


def test_activations_tell_what_the_model_answers() -> None:
    model = committed("mnist-cnn")
    inputs = golden_row(model)
    [probabilities] = model.run(inputs, ["probabilities"])

    assert Insides().activations(model, inputs)["probabilities"] == pytest.approx(probabilities, abs=1e-6)


# --- weights that are stored as float16 -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored_both_ways(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    """A committed model with its large weights rounded, as float16 and as float32."""
    model = onnx.load(ROOT / "artifacts" / "mnist-dnn" / "1" / "model.onnx")
    del model.metadata_props[:]  # golden rows are of other weights
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.size >= compact.LARGE:
            weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16).astype(np.float32), weight.name))
    half = compact.in_half(model.SerializeToString())
    folder = tmp_path_factory.mktemp("stored")
    return loaded(folder / "half", half), loaded(folder / "whole", model)


def test_weights_stored_as_float16_are_shown_as_what_is_computed_with(stored_both_ways: tuple[Model, Model]) -> None:
    half, whole = stored_both_ways
    ours, theirs = (Insides().table(model) for model in stored_both_ways)

    assert half.size < 0.55 * whole.size
    assert ours == theirs
    assert "Cast" in {node.op_type for node in onnx.load(half.path).graph.node[:1]}
    assert next(layer.weights for layer in ours.layers if layer.weights) == {
        "classifier.body.hidden.weight": [128, 784],
        "classifier.body.hidden.bias": [128],
    }


def test_what_weights_stored_as_float16_make_of_rows_is_the_same_to_the_last_bit(
    stored_both_ways: tuple[Model, Model],
) -> None:
    rows = {"image": np.random.default_rng(3).integers(0, 256, (5, 28, 28), np.uint8)}
    ours, theirs = (Insides().activations(model, rows) for model in stored_both_ways)

    assert list(ours) == list(theirs)
    assert [each.tobytes() for each in ours.values()] == [each.tobytes() for each in theirs.values()]


# --- files from elsewhere ---------------------------------------------------------------------------------------------


def test_axis_that_depends_on_the_values_has_no_size() -> None:
    layers = {layer.name: layer.output_shape for layer in Insides().table(committed("news-mlp")).layers}

    assert layers["div_1"] == ["batch", None]
    assert layers["probabilities"] == ["batch", 5]


def test_weight_of_two_operations_counts_once_and_what_is_carried_counts(tmp_path: Path) -> None:
    constant = onnx.numpy_helper.from_array(np.ones((1, 3), np.float32))
    made = graph_of(
        [
            helper.make_node("Mul", ["x", "w"], ["a"]),
            helper.make_node("Mul", ["a", "w"], ["b"]),
            helper.make_node("Constant", [], ["c"], value=constant),
            helper.make_node("Add", ["b", "c"], ["y"]),
        ],
        {"x": (TensorProto.FLOAT, ["batch", 3])},
        {"y": (TensorProto.FLOAT, ["batch", 3])},
        w=np.ones(3, np.float32),
    )
    table = Insides().table(loaded(tmp_path, made))

    assert [layer.parameters for layer in table.layers] == [3, 0, 3, 0]
    assert [layer.output_shape for layer in table.layers] == [["batch", 3], ["batch", 3], [1, 3], ["batch", 3]]


def test_parameters_in_a_branch_are_its_operations(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 5])],
        [onnx.numpy_helper.from_array(np.ones((2, 5), np.float32), "inner")],
    )
    made = graph_of(
        [helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)],
        {"yes": (TensorProto.BOOL, [])},
        {"y": (TensorProto.FLOAT, [2, 5])},
    )
    [layer] = Insides().table(loaded(tmp_path, made)).layers

    assert (layer.operation, layer.parameters, layer.output_shape) == ("If", 20, [2, 5])


def test_weights_that_branches_take_from_around_them_are_the_ifs_once(tmp_path: Path) -> None:
    def branch(operation: str, *more: onnx.NodeProto) -> onnx.GraphProto:
        nodes = [*more, helper.make_node(operation, ["x", "w"], ["z"])]
        return helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])

    deeper = helper.make_node("If", ["yes"], ["unused"], then_branch=_only("v"), else_branch=_only("v"))
    made = graph_of(
        [
            helper.make_node("If", ["yes"], ["y"], then_branch=branch("Add", deeper), else_branch=branch("Mul")),
            helper.make_node("Add", ["y", "w"], ["last"]),
        ],
        {"x": (TensorProto.FLOAT, ["batch", 3]), "yes": (TensorProto.BOOL, [])},
        {"last": (TensorProto.FLOAT, ["batch", 3])},
        w=np.ones(3, np.float32),
        v=np.ones((2, 5), np.float32),
    )
    first, last = Insides().table(loaded(tmp_path, made)).layers

    assert (first.weights, first.parameters, first.inputs) == ({"v": [2, 5], "w": [3]}, 13, ["yes", "x"])
    assert (last.weights, last.parameters, last.inputs) == ({}, 0, ["y"])


def _only(name: str) -> onnx.GraphProto:
    """A body that gives on what it takes from around it."""
    given = helper.make_tensor_value_info("only", TensorProto.FLOAT, None)
    return helper.make_graph([helper.make_node("Identity", [name], ["only"])], "only", [], [given])


def test_constants_written_as_lists_of_floats_count_and_scalars_and_whole_numbers_do_not(tmp_path: Path) -> None:
    constants: dict[str, dict[str, Any]] = {
        "floats": {"value_floats": [0.5, 1.0, 2.0]},
        "float": {"value_float": 0.5},
        "ints": {"value_ints": [1, 2, 3]},
        "tensor": {"value": onnx.numpy_helper.from_array(np.ones((1, 3), np.float32))},
    }
    nodes = [helper.make_node("Constant", [], [name], **value) for name, value in constants.items()]
    nodes += [helper.make_node("Cast", ["ints"], ["cast"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Sum", ["x", "floats", "float", "cast", "tensor"], ["y"])]
    made = graph_of(nodes, {"x": (TensorProto.FLOAT, ["batch", 3])}, {"y": (TensorProto.FLOAT, ["batch", 3])})
    layers = {layer.name: layer for layer in Insides().table(loaded(tmp_path, made)).layers}

    assert {name: layer.parameters for name, layer in layers.items() if layer.parameters} == {"floats": 3, "tensor": 3}
    assert layers["floats"].weights == {"floats": [3]}
    assert layers["tensor"].weights == {"tensor": [1, 3]}


@pytest.mark.parametrize(
    ("graph", "shapes"),
    [
        (doubling_graph(), [["batch", 3]]),
        (total_graph(), [[]]),
        (identity_graph(TensorProto.STRING, ["rows", 2]), [["batch", 2]]),
        (identity_graph(TensorProto.FLOAT16, ["rows", "columns"]), [["batch", 1]]),
        (agreement_graph(), [["batch"], ["batch"], ["batch"], ["batch", 1], ["batch", 1], ["batch", 2], ["batch"]]),
        (lookup_graph(), [["batch"]]),
        (parsing_graph(), [["batch"]]),
    ],
    ids=["doubling", "no batch", "strings", "float16", "agreement", "lookup", "parsing"],
)
def test_shapes_without_a_card(tmp_path: Path, graph: onnx.ModelProto, shapes: Any) -> None:
    table = Insides().table(loaded(tmp_path, graph))

    assert [layer.output_shape for layer in table.layers] == shapes
    assert table.note is None


def test_rows_that_cannot_be_made_up_leave_shapes_open_and_say_so(tmp_path: Path) -> None:
    made = graph_of(
        [helper.make_node("Gather", ["x", "index"], ["y"], axis=1)],
        {"x": (TensorProto.FLOAT, ["batch", "wide"])},
        {"y": (TensorProto.FLOAT, ["batch"])},
        index=np.array(7, np.int64),
    )
    table = Insides().table(loaded(tmp_path, made))

    assert [layer.output_shape for layer in table.layers] == [None]
    assert table.note is not None and table.note.startswith("made-up rows cannot be run: ")


def test_sequences_have_no_shape_and_no_activation(tmp_path: Path) -> None:
    made = graph_of(
        [helper.make_node("SequenceConstruct", ["x", "x"], ["s"]), helper.make_node("SequenceLength", ["s"], ["n"])],
        {"x": (TensorProto.FLOAT, ["batch", 2])},
        {"n": (TensorProto.INT64, [])},
    )
    model, insides = loaded(tmp_path, made), Insides()

    assert [(layer.name, layer.output_shape) for layer in insides.table(model).layers] == [("s", None), ("n", [])]
    assert insides.activations(model, {"x": np.ones((1, 2), np.float32)}) == {"n": 2}


def test_bfloat16_has_a_shape_and_no_activation(tmp_path: Path) -> None:
    made = graph_of(
        [
            helper.make_node("Cast", ["x"], ["short"], to=TensorProto.BFLOAT16),
            helper.make_node("Cast", ["short"], ["y"], to=TensorProto.FLOAT),
        ],
        {"x": (TensorProto.FLOAT, ["batch", 2])},
        {"y": (TensorProto.FLOAT, ["batch", 2])},
    )
    model, insides = loaded(tmp_path, made), Insides()

    assert [layer.output_shape for layer in insides.table(model).layers] == [["batch", 2]] * 2
    assert list(insides.activations(model, {"x": np.ones((1, 2), np.float32)})) == ["y"]


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_nothing_is_kept_of_a_table_but_the_table() -> None:
    model, insides = committed("xor-mlp"), Insides()

    assert insides.table(model) is insides.table(model)
    assert insides._sessions.known(model) is None


def test_few_sessions_are_kept_the_last_ones_used() -> None:
    store, insides = load_store(ROOT / "artifacts", [CPU]), Insides()
    first, *others = [model for model in store.newest() if model.name.startswith(("xor", "mnist"))][: MOST_SESSIONS + 2]
    for model in (first, *others):
        insides.activations(model, golden_row(model))
        insides.activations(first, golden_row(first))

    assert [insides._sessions.known(model) is not None for model in (first, *others)] == [True, False, False] + [
        True
    ] * (MOST_SESSIONS - 1)


def test_what_belongs_to_a_model_goes_with_it() -> None:
    model, insides = committed("xor-mlp"), Insides()
    insides.activations(model, golden_row(model))
    session = weakref.ref(insides._sessions.known(model))
    del model
    gc.collect()

    assert session() is None
    assert len(insides._tables._values) == 0


def test_file_that_has_changed_is_not_taken_for_the_model(tmp_path: Path) -> None:
    path = write_brightness(tmp_path)
    model, insides = load_model("brightness", 1, path, [CPU]), Insides()
    path.write_bytes(path.read_bytes() + b"\x92\x01\x00")

    with pytest.raises(NotReady, match="is not there any more, or another"):
        insides.table(model)
    path.unlink()
    with pytest.raises(NotReady):
        insides.activations(model, golden_row(model))


def test_graph_that_is_not_read_here_is_told(tmp_path: Path) -> None:
    """onnxruntime reads groups, which ONNX has none of."""
    path = write_model(tmp_path, doubling_graph(), "odd")
    path.write_bytes(path.read_bytes() + b"\xd3\x02\xd4\x02")
    model = load_model("odd", 1, path, [CPU])

    with pytest.raises(
        InvalidRequest, match="model 'odd' cannot be looked into: a field of wire type 3 is not read here"
    ):
        Insides().table(model)


def test_graph_that_is_not_read_here_is_not_read_again(tmp_path: Path) -> None:
    path = write_model(tmp_path, doubling_graph(), "odd")
    path.write_bytes(path.read_bytes() + b"\xd3\x02\xd4\x02")
    model, insides = load_model("odd", 1, path, [CPU]), Insides()
    for ask in (insides.table, lambda model: insides.activations(model, {"x": np.ones((1, 3), np.float32)})):
        with pytest.raises(InvalidRequest, match="wire type 3"):
            ask(model)
    path.unlink()

    for ask in (insides.table, lambda model: insides.activations(model, {"x": np.ones((1, 3), np.float32)})):
        with pytest.raises(InvalidRequest, match="wire type 3"):
            ask(model)
