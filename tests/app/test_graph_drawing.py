"""Pictures of models' graphs: every operation and every edge of the file, against the package `onnx`; names of any
kind; graphs that are too large."""

import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from app.catalogue import parameters_of
from app.graph_drawing import MOST_INPUTS, MOST_LINES, MOST_OPERATIONS, Box, End, boxes_of, draw
from app.inside import GraphLayer, GraphTable, Insides
from app.model import Model
from app.model_graph import drawn
from tests.app.test_inside import committed, loaded
from tests.conftest import MODELS
from tests.onnx_models import as_computed, graph_of
from tests.processor import least_seconds

SVG = "{http://www.w3.org/2000/svg}"


def ends(model: Model) -> tuple[list[End], list[End]]:
    given, gives = model.session.get_inputs(), model.session.get_outputs()
    return [End(each.name, each.type, each.shape) for each in given], [
        End(each.name, each.type, each.shape) for each in gives
    ]


def layer(name: str, *inputs: str, step: int) -> GraphLayer:
    return GraphLayer(
        name=name, operation="Op", step=step, inputs=list(inputs), output_shape=None, parameters=0, weights={}
    )


def table_of(*layers: GraphLayer) -> GraphTable:
    steps = len({each.step for each in layers})
    return GraphTable(layers=list(layers), parameters=0, operations={"Op": steps}, note=None)


def edges_of(boxes: list[Box]) -> list[tuple[str, str]]:
    """From what an operation gives to what gives on; an input and an output by their names."""
    return sorted(
        (boxes[taken].lines[1 if boxes[taken].kind != "input" else 0], name_of(to))
        for to in boxes
        for taken in to.takes
    )


def name_of(box: Box) -> str:
    return box.lines[0] if box.kind in ("input", "output") else box.lines[1]


def theirs(graph: onnx.GraphProto) -> list[tuple[str, str]]:
    """The same by the package `onnx`. Tensors of one operation are told together."""
    weights = {each.name for each in graph.initializer}
    called = {name: ", ".join(filter(None, node.output)) for node in graph.node for name in node.output}
    called |= {each.name: each.name for each in graph.input if each.name not in weights}
    edges = {
        (called[name], called[node.output[0]])
        for node in graph.node
        for name in [*node.input, *(inner for each in node.attribute for inner in free(each.g))]
        if name in called
    }
    return sorted([*edges, *((called[each.name], each.name) for each in graph.output)])


def free(graph: onnx.GraphProto) -> set[str]:
    own = {name for node in graph.node for name in node.output}
    own |= {each.name for each in (*graph.input, *graph.initializer)}
    used = {name for node in graph.node for name in node.input}
    return (used | {name for node in graph.node for each in node.attribute for name in free(each.g)}) - own


@pytest.mark.parametrize("name", MODELS)
def test_every_operation_and_every_edge_of_a_committed_file_is_drawn(name: str) -> None:
    model = committed(name)
    graph = as_computed(model.path).graph
    boxes, left_out = boxes_of(Insides().table(model), *ends(model))
    operations = [box for box in boxes if box.kind not in ("input", "output")]

    assert left_out == ""
    assert Counter(box.lines[0] for box in operations) == Counter(node.op_type for node in graph.node)
    assert edges_of(boxes) == theirs(graph)


@pytest.mark.parametrize("name", MODELS)
def test_picture_is_xml_without_scripts_and_its_boxes_lie_in_it_apart(name: str) -> None:
    picture = ElementTree.fromstring(drawn(committed(name), Insides()))
    width, height = float(picture.get("width", 0)), float(picture.get("height", 0))
    rects = [each for each in picture.iter(f"{SVG}rect") if "box" in each.get("class", "")]
    corners = [tuple(float(each.get(axis, 0)) for axis in ("x", "y", "width", "height")) for each in rects]

    assert {each.tag.removeprefix(SVG) for each in picture.iter()} == {"svg", "title", "style", "rect", "text", "path"}
    for (x, y, wide, high), (other_x, other_y, _, _) in combinations(corners, 2):
        assert abs(x - other_x) >= wide or abs(y - other_y) >= high
    for path in picture.iter(f"{SVG}path"):
        numbers = [float(each) for each in re.findall(r"[\d.]+", path.get("d", ""))]
        assert all(0 <= x <= width for x in numbers[::2])
        assert all(0 <= y <= height for y in numbers[1::2])
    assert all(x + wide <= width and y + high <= height for x, y, wide, high in corners)


def test_box_says_operation_tensor_shape_and_parameters_and_more_where_a_pointer_rests() -> None:
    model = committed("mnist-cnn")
    boxes, _ = boxes_of(Insides().table(model), *ends(model))
    conv = next(box for box in boxes if box.lines[0] == "Conv")

    assert conv.lines == ["Conv", "conv2d", "batch×32×24×24", "832 numbers"]
    assert conv.kind == "learned"
    assert conv.hover == [
        "Conv",
        "gives conv2d: batch×32×24×24",
        "takes view",
        "weight classifier.body.conv1.weight: 32×1×5×5",
        "weight classifier.body.conv1.bias: 32",
    ]
    assert (boxes[0].kind, boxes[0].lines) == ("input", ["image", "tensor(uint8)", "batch×28×28"])


@pytest.mark.parametrize("name", MODELS)
def test_head_tells_both_counts_and_a_note_why_they_differ(name: str) -> None:
    model = committed(name)
    counted = parameters_of(model.card, Insides().table(model))
    texts = [each.text or "" for each in ElementTree.fromstring(drawn(model, Insides())).iter(f"{SVG}text")]
    learned = f", {counted.learned:,} learned parameters" if model.card else ""

    assert texts[0].endswith(f"{learned}, {counted.stored:,} numbers stored in the graph")
    assert (counted.difference in texts) == (counted.difference is not None)


def test_names_are_text_and_long_ones_are_cut(tmp_path: Path) -> None:
    name, long = "<script>alert('&')</script>\x01\ufffe", "ä" * 5_000
    made = graph_of(
        [helper.make_node("Neg", ["x"], [name]), helper.make_node("Neg", [name], [long])],
        {"x": (TensorProto.FLOAT, ["<b>", 2])},
        {long: (TensorProto.FLOAT, ["batch", 2])},
    )
    text = drawn(loaded(tmp_path, made, "<made>"), Insides())
    told = "".join(ElementTree.fromstring(text).itertext())

    assert "<script>" not in text
    assert "<script>alert('&')</script>\ufffd\ufffd" in told
    assert f"{'ä' * 24}…" in told
    assert "ä" * 200 not in told
    assert len(text) < 5_000


def test_operation_with_several_tensors_is_one_box(tmp_path: Path) -> None:
    made = graph_of(
        [helper.make_node("TopK", ["x", "k"], ["values", "indices"]), helper.make_node("Neg", ["values"], ["y"])],
        {"x": (TensorProto.FLOAT, ["batch", 5])},
        {"y": (TensorProto.FLOAT, ["batch", 2]), "indices": (TensorProto.INT64, ["batch", 2])},
        k=np.array([2], np.int64),
    )
    model = loaded(tmp_path, made)
    boxes, _ = boxes_of(Insides().table(model), *ends(model))

    assert [name_of(box) for box in boxes] == ["x", "values, indices", "y", "y", "indices"]
    assert [box.takes for box in boxes] == [[], [0], [1], [2], [1]]
    assert boxes[1].lines[2] == "batch×2, batch×2"


def test_file_that_is_not_in_order_is_drawn_in_order(tmp_path: Path) -> None:
    made = graph_of(
        [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Neg", ["x"], ["a"])],
        {"x": (TensorProto.FLOAT, ["batch", 2])},
        {"y": (TensorProto.FLOAT, ["batch", 2])},
    )
    model = loaded(tmp_path, made)
    boxes, _ = boxes_of(Insides().table(model), *ends(model))

    assert [(name_of(box), box.takes) for box in boxes] == [("x", []), ("a", [0]), ("y", [1]), ("y", [2])]


def test_what_a_branch_takes_from_around_it_leads_to_it(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Neg", ["hidden"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    made = graph_of(
        [
            helper.make_node("Abs", ["x"], ["hidden"]),
            helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
        ],
        {"x": (TensorProto.FLOAT, [2]), "yes": (TensorProto.BOOL, [])},
        {"y": (TensorProto.FLOAT, [2])},
    )
    model = loaded(tmp_path, made)
    boxes, _ = boxes_of(Insides().table(model), *ends(model))
    inner = boxes[3]

    assert [name_of(boxes[each]) for each in inner.takes] == ["yes", "hidden"]
    assert inner.hover[0] == "If, with a graph of its own that is not drawn"


def test_large_graph_is_cut_and_says_so() -> None:
    layers = [layer("t0", "x", step=0), *(layer(f"t{step}", f"t{step - 1}", step=step) for step in range(1, 1_024))]
    given, gives = [End("x", "tensor(float)", ["batch"])], [End("t1023", "tensor(float)", ["batch"])]
    text = draw("long", table_of(*layers), given, gives)

    note = "operations: the first 200 of 1,024 are drawn, outputs: the first 0 of 1 are drawn"
    assert boxes_of(table_of(*layers), given, gives)[1] == note
    assert len(boxes_of(table_of(*layers), given, gives)[0]) == 1 + MOST_OPERATIONS
    assert f">{note}</text>" in text


def test_many_inputs_and_outputs_are_cut() -> None:
    names = [f"x{place}" for place in range(10_000)]
    many = [End(name, "tensor(float)", ["batch"]) for name in names]
    boxes, left_out = boxes_of(table_of(layer("y", *names, step=0)), many, many)

    assert len(boxes[MOST_INPUTS].takes) == MOST_INPUTS
    assert left_out == "inputs: the first 40 of 10,000 are drawn, outputs: the first 40 of 10,000 are drawn"


@pytest.mark.alone
@pytest.mark.parametrize("shape", ["each takes all before it", "each takes the first", "one takes all"])
def test_picture_of_any_graph_takes_little_time_and_room(shape: str) -> None:
    takes = {
        "each takes all before it": lambda step: [f"t{place}" for place in range(step)],
        "each takes the first": lambda step: ["x", f"t{step - 1}"],
        "one takes all": lambda step: [f"t{place}" for place in range(step)] if step == 190 else ["x"],
    }[shape]
    table = table_of(*(layer(f"t{step}", "x", *takes(step), step=step) for step in range(300)))
    given = [End("x", "tensor(float)", ["batch"])]
    boxes, left_out = boxes_of(table, given, [])
    text = draw("woven", table, given, [])

    assert least_seconds(lambda: draw("woven", table, given, []), 0.1) <= 0.1
    assert text.count(" C") + text.count(" L") <= 2 * MOST_LINES
    assert len(text) < 400_000
    assert left_out == f"operations: the first {len(boxes) - 1} of 300 are drawn"
