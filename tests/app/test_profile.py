"""What a model's rows cost is measured; rows go together only where that is right, whatever the model is."""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from app.profile import Inputs, Profile, measure, random_rows
from app.runtime import CPU, open_session
from app.store import load_store
from tests.onnx_models import (
    brightness_graph,
    doubling_graph,
    graph_of,
    mixing_graph,
    picking_graph,
    slow_graph,
    write_brightness,
    write_model,
)

FLOAT = TensorProto.FLOAT


def session_of(model: onnx.ModelProto) -> ort.InferenceSession:
    return open_session(model.SerializeToString(), [CPU])


def profile_of(model: onnx.ModelProto, rows: Inputs | None = None) -> Profile:
    return measure(session_of(model), rows)


def node(kind: str, *, shape: list[int | str], axis: int | None = None) -> onnx.ModelProto:
    """One node, float x → y of the same shape."""
    attributes = {} if axis is None else {"axis": axis}
    return graph_of([helper.make_node(kind, ["x"], ["y"], **attributes)], {"x": (FLOAT, shape)}, {"y": (FLOAT, shape)})


def test_rows_that_share_the_cost_of_a_call_are_merged() -> None:
    profile = profile_of(doubling_graph())

    assert (profile.independent, profile.merges) == (True, True)
    assert profile.reason.startswith("merged: rows cost ")
    assert sorted(profile.seconds) == [1, 4, 16]
    assert all(0 < seconds < 0.1 for seconds in profile.seconds.values())


def test_rows_that_cost_no_less_together_are_independent_and_not_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.profile.WORTH", 1.0)  # as if nothing that can be saved were worth it
    profile = profile_of(doubling_graph())

    assert (profile.independent, profile.merges) == (True, False)
    assert profile.reason == "not merged: rows cost no less together"
    assert sorted(profile.seconds) == [1, 4, 16]


@pytest.mark.parametrize(
    "model",
    [mixing_graph(), node("Softmax", shape=["batch", 3], axis=0), node("LpNormalization", shape=["batch", 3], axis=0)],
    ids=["mean of the rows", "softmax over the rows", "length of the columns"],
)
def test_model_that_mixes_rows_is_found_out(model: onnx.ModelProto) -> None:
    profile = profile_of(model)

    assert (profile.independent, profile.merges) == (False, False)
    assert profile.reason == "not merged: it answers a row differently in a batch"
    assert list(profile.seconds) == [1]


@pytest.mark.parametrize(("levels", "shape", "independent"), [(1, [2, 2], True), (2, [2, 2], False), (1, [4], False)])
def test_pixels_may_be_rounded_otherwise_in_a_batch(levels: int, shape: list[int], independent: bool) -> None:
    """By a level, and only where the output is a picture: here a batch of several is so much lighter than a row."""
    kind, batch = TensorProto.UINT8, ["batch", *shape]
    model = graph_of(
        [
            helper.make_node("Shape", ["x"], ["rows"], end=1),
            helper.make_node("Greater", ["rows", "one"], ["are_many"]),
            helper.make_node("Cast", ["are_many"], ["as_level"], to=kind),
            helper.make_node("Mul", ["as_level", "levels"], ["lighter"]),
            helper.make_node("Add", ["x", "lighter"], ["y"]),
        ],
        {"x": (kind, batch)},
        {"y": (kind, batch)},
        one=np.array([1], np.int64),
        levels=np.array([levels], np.uint8),
    )

    assert profile_of(model).independent == independent


@pytest.mark.parametrize("rows", [1, 2], ids=["one", "two that are the same"])
def test_model_that_mixes_rows_is_found_out_by_examples_that_are_all_the_same(rows: int) -> None:
    """In a batch of one row over and over the mean of the rows is the row."""
    profile = profile_of(mixing_graph(), {"x": np.ones((rows, 3), np.float32)})

    assert profile.reason == "not merged: it answers a row differently in a batch"


def test_model_that_answers_a_batch_with_fewer_rows_is_found_out() -> None:
    model = graph_of(
        [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Transpose", ["places"], ["y"])],
        {"x": (FLOAT, ["batch", 2])},
        {"y": (TensorProto.INT64, ["found", 2])},
    )

    assert not profile_of(model, {"x": np.eye(2, dtype=np.float32)}).independent


def test_fixed_batch_axis_is_no_batch_axis() -> None:
    profile = profile_of(node("Relu", shape=[1, 3]))

    assert (profile.independent, profile.merges) == (False, False)
    assert profile.reason == "not merged: it has no batch axis"
    assert list(profile.seconds) == [1]


def test_output_without_a_batch_axis_keeps_rows_apart() -> None:
    model = graph_of(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
        {"x": (FLOAT, ["batch", 3])},
        {"y": (FLOAT, [])},
    )

    assert profile_of(model).reason == "not merged: it has no batch axis"


def test_scalar_input_is_measured_too() -> None:
    profile = profile_of(node("Relu", shape=[]))

    assert profile.reason == "not merged: it has no batch axis"
    assert profile.seconds[1] > 0


def test_strings_are_made_up() -> None:
    model = graph_of(
        [helper.make_node("StringConcat", ["x", "x"], ["y"])],
        {"x": (TensorProto.STRING, ["batch"])},
        {"y": (TensorProto.STRING, ["batch"])},
    )
    profile = profile_of(model)

    assert profile.independent
    assert sorted(profile.seconds) == [1, 4, 16]


@pytest.mark.parametrize(
    ("kind", "datatype"),
    [
        (TensorProto.FLOAT, np.float32),
        (TensorProto.DOUBLE, np.float64),
        (TensorProto.FLOAT16, np.float16),
        (TensorProto.INT8, np.int8),
        (TensorProto.UINT16, np.uint16),
        (TensorProto.INT64, np.int64),
        (TensorProto.BOOL, np.bool_),
        (TensorProto.STRING, np.object_),
    ],
)
def test_made_up_rows_are_of_the_models_type_and_shape(kind: int, datatype: type) -> None:
    model = graph_of(
        [helper.make_node("Identity", ["x"], ["y"])], {"x": (kind, ["batch", 3, "any"])}, {"y": (kind, None)}
    )
    made = random_rows(session_of(model))["x"]

    assert (made.dtype, made.shape) == (np.dtype(datatype), (4, 3, 1))


def test_two_inputs_go_row_by_row_together() -> None:
    model = graph_of(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        {"a": (FLOAT, ["batch", 3]), "b": (FLOAT, ["batch", 3])},
        {"y": (FLOAT, ["batch", 3])},
    )

    assert profile_of(model).independent


def test_model_that_takes_no_made_up_rows_is_not_merged_and_its_cost_is_unknown() -> None:
    """Made-up indices reach 1; this model has one place."""
    model = picking_graph()
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "tens"))
    profile = profile_of(model)

    assert (profile.independent, profile.merges) == (False, False)
    assert profile.reason.startswith("not merged: made-up rows cannot be run (")
    assert "\n" not in profile.reason
    assert profile.estimate(1) == math.inf


def test_type_that_nothing_is_made_up_for_is_no_fault(tmp_path: Path) -> None:
    """A list of tensors."""
    model = graph_of(
        [helper.make_node("SequenceAt", ["x", "first"], ["y"])], {}, {"y": (FLOAT, None)}, first=np.array(0, np.int64)
    )
    model.graph.input.append(helper.make_tensor_sequence_value_info("x", FLOAT, ["batch"]))
    write_model(tmp_path, model, "odd")
    write_brightness(tmp_path)
    store = load_store(tmp_path, [CPU])

    assert store.refused == ()
    assert store.find("odd").profile.reason.startswith("not merged: made-up rows cannot be run (")


def test_model_that_takes_one_row_and_no_batch_is_not_merged() -> None:
    """It picks what it adds by the number of rows, of a list for none and one."""
    model = graph_of(
        [
            helper.make_node("Shape", ["x"], ["rows"], end=1),
            helper.make_node("Gather", ["list", "rows"], ["more"]),
            helper.make_node("Add", ["x", "more"], ["y"]),
        ],
        {"x": (FLOAT, ["batch", 3])},
        {"y": (FLOAT, ["batch", 3])},
        list=np.array([0, 1], np.float32),
    )
    profile = profile_of(model)

    assert (profile.independent, profile.merges) == (False, False)
    assert profile.reason.startswith("not merged: it cannot run a batch (")
    assert list(profile.seconds) == [1]


def test_very_slow_model_is_not_tried_with_more_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.profile.SLOW_SECONDS", 1e-5)
    profile = profile_of(slow_graph(50))

    assert profile.reason.startswith("not merged: one row takes ")
    assert list(profile.seconds) == [1]


def test_examples_are_used_again_where_they_are_too_few() -> None:
    profile = profile_of(brightness_graph(), {"image": np.array([[[0, 0], [0, 0]], [[255, 255], [0, 0]]], np.uint8)})

    assert profile.independent
    assert sorted(profile.seconds) == [1, 4, 16]


@pytest.mark.parametrize(
    ("seconds", "rows", "estimate"),
    [
        ({1: 0.001}, 1, 0.001),
        ({1: 0.001}, 64, 0.064),
        ({1: 0.001, 4: 0.004, 16: 0.010}, 1, 0.001),
        ({1: 0.001, 4: 0.004, 16: 0.010}, 2, 0.002),
        ({1: 0.001, 4: 0.004, 16: 0.010}, 4, 0.004),
        ({1: 0.001, 4: 0.004, 16: 0.010}, 10, 0.007),
        ({1: 0.001, 4: 0.004, 16: 0.010}, 16, 0.010),
        ({1: 0.001, 4: 0.004, 16: 0.010}, 64, 0.034),
        ({1: 0.001, 4: 0.004, 16: 0.010}, 0, 0.001),
        ({1: 0.001, 4: 0.003, 16: 0.002}, 1_000, 0.003),
        ({}, 1, math.inf),
    ],
)
def test_estimate_follows_the_measured_sizes(seconds: dict[int, float], rows: int, estimate: float) -> None:
    assert Profile(seconds, True, True, "").estimate(rows) == pytest.approx(estimate, rel=1e-12)
