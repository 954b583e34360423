"""ONNX files read without the package `onnx`, held against it: committed ones, generated ones, damaged ones."""

import random
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from app.onnx_graph import MOST_DEPTH, DamagedGraph, Graph, Initializer, read_graph, widened, with_outputs
from tests.conftest import ROOT
from tests.onnx_models import addition_graph, brightness_graph, echo_graph, graph_of, lookup_graph, negative_graph
from tests.processor import least_seconds

FILES = sorted((*ROOT.glob("artifacts/*/*/model.onnx"), *ROOT.glob("app/lab/*.onnx")))
READ_AS = {
    onnx.AttributeProto.FLOAT: float,
    onnx.AttributeProto.INT: int,
    onnx.AttributeProto.STRING: lambda text: text.decode(),
    onnx.AttributeProto.FLOATS: tuple,
    onnx.AttributeProto.INTS: tuple,
    onnx.AttributeProto.STRINGS: lambda texts: tuple(text.decode() for text in texts),
}


def assert_same(ours: Graph, theirs: onnx.GraphProto) -> None:
    assert [(node.name, node.operation, node.domain, node.inputs, node.outputs) for node in ours.nodes] == [
        (node.name, node.op_type, node.domain, tuple(node.input), tuple(node.output)) for node in theirs.node
    ]
    for mine, other in zip(ours.nodes, theirs.node, strict=True):
        assert_same_attributes(mine.attributes, other)
    assert [(each.name, each.shape, each.data_type) for each in ours.initializers] == [
        (each.name, tuple(each.dims), each.data_type) for each in theirs.initializer
    ]
    for mine, others in ((ours.inputs, theirs.input), (ours.outputs, theirs.output)):
        assert [(each.name, each.data_type, each.shape) for each in mine] == [facts(each) for each in others]


def assert_same_attributes(ours: Mapping[str, Any], node: onnx.NodeProto) -> None:
    assert list(ours) == [each.name for each in node.attribute]
    for each in node.attribute:
        if each.type == onnx.AttributeProto.GRAPH:
            assert_same(ours[each.name], each.g)
        elif each.type == onnx.AttributeProto.TENSOR:
            assert ours[each.name] == Initializer(each.t.name, tuple(each.t.dims), each.t.data_type)
        else:
            assert ours[each.name] == READ_AS[each.type](helper.get_attribute_value(each))


def facts(value: onnx.ValueInfoProto) -> tuple[Any, ...]:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return value.name, tensor.elem_type or None, None
    axes = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None for axis in tensor.shape.dim]
    return value.name, tensor.elem_type, tuple(axes)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_committed_file_is_read_as_onnx_reads_it(path: Path) -> None:
    content = path.read_bytes()

    assert_same(read_graph(content), onnx.load_from_string(content).graph)


def branching_model() -> onnx.ModelProto:
    """Graphs in a graph in a graph, every kind of attribute, an input without a shape, sequences, a sparse tensor."""
    leaf = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones((2, 3), np.float32)))],
        "leaf",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(np.ones((4, 1), np.float64), "inner")],
    )
    middle = helper.make_graph(
        [helper.make_node("If", ["yes"], ["d"], then_branch=leaf, else_branch=leaf)],
        "middle",
        [],
        [helper.make_tensor_value_info("d", TensorProto.FLOAT, ["a", None])],
    )
    outer = [
        helper.make_node("If", ["yes"], ["e"], then_branch=middle, else_branch=middle),
        helper.make_node("Odd", ["e", "", "x"], ["f", "", "g"], "né", domain="ours", i=-3, f=0.5, s="text", z=0, n=0.0),
        helper.make_node("Odd", [], ["h"], ints=[-1, 1 << 40], floats=[0.1, -2.0], strings=["a", "ß"]),
    ]
    made = graph_of(outer, {"yes": (TensorProto.BOOL, []), "x": (TensorProto.FLOAT, None)}, {})
    made.graph.output.append(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [1]))
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(2, np.float32), "few"), numpy_helper.from_array(np.arange(2)), [9, 9]
    )
    made.graph.sparse_initializer.append(sparse)
    return made


def test_graphs_in_graphs_and_all_attributes_are_read() -> None:
    made = branching_model()
    ours = read_graph(made.SerializeToString())
    *dense, few = ours.initializers
    made.graph.ClearField("sparse_initializer")

    assert few == Initializer("few", (2,), TensorProto.FLOAT)
    assert ours.outputs[0].shape is None
    assert dense == []
    assert_same(Graph(ours.nodes, (), ours.inputs, ours.outputs[:0]), _without_outputs(made.graph))
    [inner] = ours.nodes[0].graphs[0].nodes[0].graphs[1].initializers
    assert (inner.name, inner.size, inner.parameters) == ("inner", 4, 4)


def _without_outputs(graph: onnx.GraphProto) -> onnx.GraphProto:
    graph.ClearField("output")
    return graph


@pytest.mark.parametrize("make", [addition_graph, brightness_graph, echo_graph, lookup_graph, negative_graph])
def test_generated_model_is_read_as_onnx_reads_it(make: Any) -> None:
    made = make()

    assert_same(read_graph(made.SerializeToString()), made.graph)


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_are_read_as_onnx_reads_them(seed: int) -> None:
    made = random_model(random.Random(seed))

    assert_same(read_graph(made.SerializeToString()), made.graph)


def random_model(choose: random.Random) -> onnx.ModelProto:
    names = [f"t{number}" * choose.choice([1, 40]) for number in range(30)]
    nodes = [
        helper.make_node(
            choose.choice(["Conv", "Add", "If"]),
            choose.sample(names, choose.randrange(4)),
            choose.sample(names, choose.randrange(1, 3)),
            **({"axis": choose.randrange(-(1 << 62), 1 << 62)} if choose.random() < 0.5 else {}),
        )
        for _ in range(choose.randrange(60))
    ]
    shape = [choose.randrange(5) for _ in range(choose.randrange(5))]
    axes = [choose.choice(["n", 3, 0, None]) for _ in range(choose.randrange(4))]
    made = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("x", choose.randrange(1, 17), axes)],
        [helper.make_tensor_value_info("y", choose.randrange(1, 17), axes)],
        [numpy_helper.from_array(np.zeros(shape, choose.choice(["f4", "f8", "i8", "u1"])), name) for name in names[:7]],
    )
    return helper.make_model(made)


@pytest.mark.parametrize(
    ("dtype", "shape", "parameters"),
    [
        ("f4", (3, 4), 12),
        ("f2", (5,), 5),
        ("f8", (2, 0), 0),
        ("f4", (), 0),
        ("i8", (7,), 0),
        ("u1", (7,), 0),
        ("?", (7,), 0),
    ],
)
def test_parameters_are_the_numbers_of_floating_tensors_with_an_axis(
    dtype: str, shape: tuple[int, ...], parameters: int
) -> None:
    [read] = read_graph(graph_of([], {}, {}, w=np.zeros(shape, dtype)).SerializeToString()).initializers

    assert read.parameters == parameters


@pytest.mark.parametrize("seed", range(20))
def test_what_bodies_take_from_around_them_is_what_nothing_in_them_gives(seed: int) -> None:
    """Against sets, of graphs nested in graphs whose nodes take and give names at random."""
    choose = random.Random(seed)
    made = nested_body(choose, 4)
    [node] = read_graph(helper.make_model(helper.make_graph([made], "outer", [], [])).SerializeToString()).nodes

    assert list(node.taken) == list(dict.fromkeys(node.taken))
    assert set(node.taken) == taken_by(made)


def nested_body(choose: random.Random, depth: int) -> onnx.NodeProto:
    names = [f"t{number}" for number in range(12)]
    inputs = [*choose.sample(names, 2), ""]
    if not depth:
        return helper.make_node("Add", inputs, [choose.choice(names)])
    bodies = [
        helper.make_graph(
            [nested_body(choose, depth - 1) for _ in range(2)],
            "body",
            [helper.make_tensor_value_info(choose.choice(names), TensorProto.FLOAT, None)],
            [helper.make_tensor_value_info(choose.choice(names), TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.zeros(1, np.float32), choose.choice(names))],
        )
        for _ in range(2)
    ]
    return helper.make_node("If", inputs, [choose.choice(names)], then_branch=bodies[0], else_branch=bodies[1])


def taken_by(node: onnx.NodeProto) -> set[str]:
    taken = set(node.input) - {""}
    for graph in [each.g for each in node.attribute]:
        given = {name for each in graph.node for name in each.output}
        given |= {each.name for each in (*graph.input, *graph.initializer)}
        used = {each.name for each in graph.output}.union(*map(taken_by, graph.node))
        taken |= used - given
    return taken


# --- outputs appended -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES[:3], ids=lambda path: str(path.relative_to(ROOT)))
def test_outputs_come_after_those_that_are_there_and_nothing_else_changes(path: Path) -> None:
    content, names = path.read_bytes(), ["hidden", "ä" * 200]
    before, after = (onnx.load_from_string(each) for each in (content, with_outputs(content, names)))

    assert [output.name for output in after.graph.output[-2:]] == names
    del after.graph.output[-2:]
    assert after == before
    assert len(read_graph(with_outputs(content, names)).outputs) == len(before.graph.output) + 2


def test_no_outputs_to_append_change_nothing() -> None:
    content = addition_graph().SerializeToString()

    assert onnx.load_from_string(with_outputs(content, [])) == onnx.load_from_string(content)


# --- weights that are stored as float16 -------------------------------------------------------------------------------

HALF = np.ones((2, 3), np.float16)


def product_graph(*more: onnx.NodeProto, to: int = TensorProto.FLOAT, **constants: Any) -> onnx.ModelProto:
    """x w → y, where `stored` is cast to `w`."""
    return graph_of(
        [
            helper.make_node("Cast", ["stored"], ["w"], to=to),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            *more,
        ],
        {"x": (to, ["batch", 2])},
        {"y": (to, ["batch", 3])},
        **({"stored": HALF} | constants),
    )


def test_cast_of_a_weight_is_the_weight() -> None:
    graph = read_graph(product_graph().SerializeToString())
    wide = widened(graph)

    assert [node.operation for node in graph.nodes] == ["Cast", "MatMul"]
    assert wide.nodes == graph.nodes[1:]
    assert wide.initializers == (Initializer("w", (2, 3), TensorProto.FLOAT),)
    assert (wide.inputs, wide.outputs) == (graph.inputs, graph.outputs)


def overridable() -> onnx.ModelProto:
    made = product_graph()
    made.graph.input.append(helper.make_tensor_value_info("stored", TensorProto.FLOAT16, [2, 3]))
    return made


def answered() -> onnx.ModelProto:
    made = product_graph()
    made.graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 3]))
    return made


def without_inputs() -> onnx.ModelProto:
    """As no session would take it."""
    made = product_graph()
    del made.graph.node[0].input[:]
    return made


@pytest.mark.parametrize(
    "made",
    [
        overridable(),
        answered(),
        without_inputs(),
        product_graph(helper.make_node("Identity", ["stored"], ["z"])),
        product_graph(to=TensorProto.DOUBLE),
        product_graph(stored=np.ones((2, 3), np.float64)),
        brightness_graph(),
    ],
    ids=["may be given", "is answered", "damaged", "used twice", "to float64", "of float64", "of an input"],
)
def test_other_casts_are_steps(made: onnx.ModelProto) -> None:
    graph = read_graph(made.SerializeToString())

    assert widened(graph) == graph


# --- damage -----------------------------------------------------------------------------------------------------------


def test_weights_in_a_second_file_are_refused() -> None:
    made = addition_graph()
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    made.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")

    for beside in (None, "model.onnx"):
        with pytest.raises(DamagedGraph, match="its tensor 'bias' is in a second file"):
            read_graph(made.SerializeToString(), beside)


def test_weights_in_the_file_beside_are_read_if_it_is_the_one_that_was_named() -> None:
    made = addition_graph()
    bias = made.graph.initializer[0]
    bias.data_location = TensorProto.EXTERNAL
    bias.external_data.add(key="location", value="model.onnx")
    bias.external_data.add(key="offset", value="17")

    assert read_graph(made.SerializeToString(), "model.onnx").initializers[0].name == "bias"
    with pytest.raises(DamagedGraph, match="its tensor 'bias' is in a second file"):
        read_graph(made.SerializeToString())
    bias.external_data.add(key="location", value="../model.onnx")
    with pytest.raises(DamagedGraph, match="its tensor 'bias' is in a second file"):
        read_graph(made.SerializeToString(), "model.onnx")


def test_what_is_cut_off_is_refused_or_less() -> None:
    """Between two fields of the file there is nothing to notice; there are then fewer of them."""
    content = brightness_graph().SerializeToString()
    whole = read_graph(content)
    for length in range(len(content)):
        try:
            assert len(read_graph(content[:length]).nodes) <= len(whole.nodes)
        except DamagedGraph:
            continue


@pytest.mark.parametrize("seed", range(5))
def test_damaged_bytes_are_read_or_refused_and_nothing_else(seed: int) -> None:
    choose = random.Random(seed)
    content = branching_model().SerializeToString()
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(choose.randrange(1, 6)):
            damaged[choose.randrange(len(damaged))] = choose.randrange(256)
        try:
            read_graph(bytes(damaged))
        except DamagedGraph as error:
            assert str(error)


@pytest.mark.parametrize("content", [b"", b"\x00", b"GIF89a", b"\x3a\x05abc", b"\xff" * 30, b"\x3d\x00\x00\x00\x00"])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedGraph):
        read_graph(content)


def nested(depth: int) -> bytes:
    """A graph with a node with a graph, and so on."""
    content = b""
    for _ in range(depth):
        attribute = _field(6, content)
        content = _field(1, _field(5, attribute))
    return _field(7, content)


def _field(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def test_graphs_are_not_nested_for_ever() -> None:
    read_graph(nested(MOST_DEPTH - 1))
    with pytest.raises(DamagedGraph, match=f"nested more than {MOST_DEPTH} deep"):
        read_graph(nested(1_000))


def test_nodes_and_axes_are_bounded() -> None:
    with pytest.raises(DamagedGraph, match="more than 100,000 nodes"):
        read_graph(_field(7, _field(1, b"") * 100_001))
    with pytest.raises(DamagedGraph, match="'' has 65 axes"):
        read_graph(_field(7, _field(5, b"\x08\x02" * 65)))
    with pytest.raises(DamagedGraph, match="below 0"):
        read_graph(_field(7, _field(5, b"\x08" + b"\xff" * 9 + b"\x01")))


@pytest.mark.alone
def test_weights_are_passed_over() -> None:
    """64 MB of them take no time: they are neither copied nor looked at."""
    content = graph_of([], {}, {}, w=np.zeros(16_000_000, np.float32)).SerializeToString()

    assert least_seconds(lambda: read_graph(content), 0.05) <= 0.05


@pytest.mark.parametrize(
    ("number", "parts"),
    [(10, [7]), (12, [7, 5]), (8, [7, 1]), (13, [7, 1, 5])],
    ids=["graph", "tensor", "node", "attribute"],
)
def test_fields_that_are_not_read_take_no_memory(number: int, parts: list[int]) -> None:
    """100,000 of them, each of which would be an object."""
    content = _field(number, b"text") * 100_000
    for part in reversed(parts):
        content = _field(part, content)
    tracemalloc.start()
    try:
        read_graph(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 100_000


def test_numbers_written_one_by_one_are_refused_before_they_take_memory() -> None:
    constant = onnx.helper.make_node("Constant", [], ["c"], value_floats=[0.5] * 300_000)
    model = onnx.helper.make_model(onnx.helper.make_graph([constant], "many", [], []))

    with pytest.raises(DamagedGraph, match="a part of it has more than 200,000 fields"):
        read_graph(model.SerializeToString())
