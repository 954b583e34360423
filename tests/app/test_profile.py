"""What a model's rows cost is measured; rows go together only where that is right, whatever the model is."""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from app.profile import ANY_LENGTH, LONG_TEXT, Inputs, Profile, measure, random_rows
from app.runtime import CPU, open_session
from app.store import load_store
from tests.conftest import run_python
from tests.onnx_models import (
    brightness_graph,
    doubling_graph,
    graph_of,
    mixing_graph,
    parsing_graph,
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


@pytest.mark.alone
def test_rows_that_share_the_cost_of_a_call_are_merged() -> None:
    profile = profile_of(doubling_graph())

    assert (profile.independent, profile.merges) == (True, True)
    assert profile.reason.startswith("merged: rows cost ")
    assert sorted(profile.seconds) == [1, 4, 16]
    assert all(0 < seconds < 0.1 for seconds in profile.seconds.values())


def quadrupling_graph(width: int) -> onnx.ModelProto:
    """float x [batch, width] → y, with x + x between them."""
    tensor = {"x": (FLOAT, ["batch", width])}, {"y": (FLOAT, ["batch", width])}
    return graph_of([helper.make_node("Add", ["x", "x"], ["h"]), helper.make_node("Add", ["h", "h"], ["y"])], *tensor)


def test_measuring_leaves_no_memory_behind() -> None:
    """Sixteen rows of this model have 64 MB between the nodes. In a process whose memory nobody else changes."""
    told = run_python(
        "import re\n"
        "from pathlib import Path\n"
        "from app.profile import measure\n"
        "from app.worker import give_back_freed_memory\n"
        "from tests.app.test_profile import quadrupling_graph, session_of\n"
        "def held():\n"
        "    give_back_freed_memory()\n"
        "    return int(re.search(r'Anonymous: +(\\d+)', Path('/proc/self/smaps_rollup').read_text())[1])\n"
        "measure(session_of(quadrupling_graph(3)), None)\n"
        "wide, before = session_of(quadrupling_graph(1_000_000)), held()\n"
        "profile = measure(wide, None)\n"
        "print(16 in profile.seconds, held() - before)"
    )
    measured, kilobytes = told.split()

    assert measured == "True"
    assert int(kilobytes) < 8_000


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


class Counting:
    """A session that counts how often it runs."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session, self.runs = session, 0

    def run(self, *given: Any) -> Any:
        self.runs += 1
        return self.session.run(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


def test_long_run_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a slow model would take several times as long. Five runs tell whether rows are independent, one gives
    memory back."""
    quick, slow = (Counting(session_of(doubling_graph())) for _ in range(2))
    monkeypatch.setattr("app.profile.ENOUGH_SECONDS", 60)
    measure(quick, None)  # type: ignore[arg-type]
    monkeypatch.setattr("app.profile.ENOUGH_SECONDS", 1e-9)
    profile = measure(slow, None)  # type: ignore[arg-type]

    assert quick.runs == 4 + 3 + 3 + 5 + 1
    assert slow.runs == 1 + 1 + 1 + 5 + 1
    assert sorted(profile.seconds) == [1, 4, 16]


def test_examples_are_used_again_where_they_are_too_few() -> None:
    profile = profile_of(brightness_graph(), {"image": np.array([[[0, 0], [0, 0]], [[255, 255], [0, 0]]], np.uint8)})

    assert profile.independent
    assert sorted(profile.seconds) == [1, 4, 16]


def folding_graph() -> onnx.ModelProto:
    """string text [batch] → the same in small letters: the longer, the slower."""
    return graph_of(
        [helper.make_node("StringNormalizer", ["text"], ["small"], case_change_action="LOWER", locale="C")],
        {"text": (TensorProto.STRING, ["batch"])},
        {"small": (TensorProto.STRING, ["batch"])},
    )


def texts(*each: str) -> dict[str, np.ndarray[tuple[int], np.dtype[np.object_]]]:
    return {"text": np.array(each, object)}


def test_text_weighs_by_its_characters_and_by_what_it_costs_to_begin_one() -> None:
    """Half of a text of 100 characters is its beginning."""
    profile = Profile({1: 0.001}, True, True, "", row_elements=200, text_base=100)

    assert profile.weight(texts("a" * 100)) == 1
    assert profile.weight(texts("")) == 1
    assert profile.weight(texts("a" * 900)) == 5
    assert profile.weight(texts("a" * 100, "", "a" * 500)) == 1 + 0.5 + 3


def test_numbers_weigh_by_how_many_they_are() -> None:
    profile = Profile({1: 0.001}, True, True, "", row_elements=8)

    assert profile.weight({"a": np.zeros((4, 3)), "b": np.zeros((4, 5))}) == 4
    assert profile.weight({"a": np.zeros((0, 8))}) == 1


@pytest.mark.parametrize("example", ["The same words.", "", "Ten of them. " * 10])
def test_long_text_is_expected_to_take_as_long_as_it_does(example: str) -> None:
    """Told from texts a hundred times shorter; machines are uneven, so within a factor, and where one was slower for a
    moment, it is measured again."""
    session = session_of(folding_graph())
    long = texts("Nobody would call this short. " * 10_000)

    def times_too_long() -> float:
        profile, taken = measure(session, texts(example)), []
        for _ in range(5):
            start = time.perf_counter()
            session.run(None, long)
            taken.append(time.perf_counter() - start)
        assert profile.weight(texts(example)) == 1
        return profile.estimate(profile.weight(long)) / min(taken)

    found = [times_too_long() for _ in range(5)]
    assert any(1 / 5 < each < 5 for each in found), found


def test_text_that_means_nothing_when_it_is_long_costs_the_same_at_any_length() -> None:
    profile = profile_of(parsing_graph(), texts("9"))

    assert profile.text_base == ANY_LENGTH
    assert profile.weight(texts("9" * LONG_TEXT, "1")) == pytest.approx(2, rel=1e-4)


@pytest.mark.parametrize(
    ("seconds", "rows"), [(0.0005, 1), (0.001, 1), (0.002, 2), (0.007, 10), (0.010, 16), (0.034, 64)]
)
def test_rows_in_a_time_are_those_that_are_estimated_to_take_it(seconds: float, rows: float) -> None:
    profile = Profile({1: 0.001, 4: 0.004, 16: 0.010}, True, True, "")

    assert profile.rows_in(seconds) == pytest.approx(rows, rel=1e-12)


def test_more_rows_take_longer_even_if_the_largest_batch_was_the_quickest() -> None:
    profile = Profile({1: 0.001, 4: 0.003, 16: 0.002}, True, True, "")

    assert profile.rows_in(0.004) == pytest.approx(4 + 0.001 / (0.002 / 16), rel=1e-12)
    assert Profile({}, True, True, "").rows_in(0.004) == math.inf


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
        ({1: 0.001, 4: 0.003, 16: 0.002}, 1_000, 0.003 + 996 * 0.002 / 16),
        ({}, 1, math.inf),
    ],
)
def test_estimate_follows_the_measured_sizes(seconds: dict[int, float], rows: int, estimate: float) -> None:
    assert Profile(seconds, True, True, "").estimate(rows) == pytest.approx(estimate, rel=1e-12)
