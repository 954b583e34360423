"""Demos: opened once, proven by their golden rows, refused with the reason if they are not what they say."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnx
import orjson
import pytest
from onnx import TensorProto, helper

from app.card import DemoCard, DemoExample, DemoInput, DemoOutput, read_demo_card, write_demo
from app.errors import InvalidRequest, NotFound, NotReady
from app.lab.demo import FOLDER, Demos, load_demo
from app.lab.demo_answer import answer, listed
from app.lab.demo_request import Asked, read_demo_request

HERE = "http://127.0.0.1:8000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("higher-order", "sum-then-square"):
        shutil.copy(FOLDER / f"{name}.onnx", tmp_path)
    return tmp_path


def rewrite(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """The card in a file, changed."""
    model = onnx.load(file)
    [prop] = model.metadata_props
    card = orjson.loads(prop.value)
    change(card)
    prop.value = orjson.dumps(card).decode()
    onnx.save(model, file)


@pytest.mark.parametrize("name", Demos().names)
def test_committed_demo_reproduces_what_pytorch_gave(name: str) -> None:
    assert load_demo(FOLDER / f"{name}.onnx").card.name == name


def test_is_opened_once_whoever_asks() -> None:
    demos = Demos()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(demos.find, ["higher-order"] * 32))

    assert all(each is found[0] for each in found)


def test_unknown_demo_is_told_which_there_are(folder: Path) -> None:
    with pytest.raises(NotFound, match="there is no demo 'x'; there are: higher-order, sum-then-square"):
        Demos(folder).find("x")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda card: card["examples"][0]["outputs"].update(second=6.00001),
            "its golden rows give second 6.0; PyTorch gave 6.00001",
        ),
        (lambda card: card["examples"][0]["inputs"].clear(), "its golden rows cannot be replayed: 'x'"),
        (lambda card: card.update(name="other"), "it calls itself 'other', its file 'higher-order'"),
        (lambda card: card["inputs"][0].update(name="t"), "its card says it takes [('t', 'tensor(double)', 0)], its"),
        (lambda card: card["inputs"][0].update(whole=True), "its card says it takes [('x', 'tensor(int64)', 0)], its"),
        (lambda card: card["outputs"].pop(), "its card says it gives [('y', 0), ('first', 0), ('second', 0)], its"),
        (lambda card: card["examples"].clear(), "metadata 'percept.demo': examples: List should have at least 1"),
        (lambda card: card.update(colour="red"), "metadata 'percept.demo': colour: Extra inputs are not permitted"),
    ],
)
def test_demo_that_is_not_what_it_says_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    rewrite(folder / "higher-order.onnx", change)
    demos = Demos(folder)
    told = listed(demos, HERE)

    with pytest.raises(NotReady) as caught:
        demos.find("higher-order")
    assert caught.value.detail.startswith(f"demo 'higher-order' is not served: {reason}")
    assert told["refused"] == [{"name": "higher-order", "reason": caught.value.detail}]
    assert [each["name"] for each in told["demos"]] == ["sum-then-square"]


def test_graph_that_says_nothing_or_is_none_is_refused(folder: Path) -> None:
    model = onnx.load(folder / "higher-order.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "higher-order.onnx")
    (folder / "sum-then-square.onnx").write_bytes(b"no graph")
    demos = Demos(folder)

    with pytest.raises(NotReady, match="it says nothing about itself"):
        demos.find("higher-order")
    with pytest.raises(NotReady, match="onnxruntime cannot load it"):
        demos.find("sum-then-square")
    assert listed(demos, HERE)["demos"] == []


def reciprocal(file: Path) -> Demos:
    """A folder with a demo whose result may be infinite."""
    scalar = {name: helper.make_tensor_value_info(name, TensorProto.DOUBLE, []) for name in ("x", "y")}
    nodes = [helper.make_node("Reciprocal", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "reciprocal", [scalar["x"]], [scalar["y"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    card = DemoCard(
        name="reciprocal",
        title="1/x",
        mathematics="1/x.",
        axes={},
        inputs=[DemoInput(name="x", description="A number.", shape=[], default=2.0, least=-1, most=1)],
        outputs=[DemoOutput(name="y", description="1/x.", shape=[])],
        tensors=[],
        nodes=[],
        examples=[DemoExample(inputs={"x": 2.0}, outputs={"y": 0.5})],
    )
    helper.set_model_props(model, write_demo(card))
    onnx.save(model, file)
    return Demos(file.parent)


def test_infinite_number_is_null(tmp_path: Path) -> None:
    demo = reciprocal(tmp_path / "reciprocal.onnx").find("reciprocal")
    told = orjson.loads(orjson.dumps(answer(Asked({"x": 0}), demo)))

    assert told["outputs"] == {"y": None}


def test_card_comes_back_as_it_was_written() -> None:
    card = load_demo(FOLDER / "perceptron.onnx").card

    assert read_demo_card(write_demo(card)) == card


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"inputs": []}', b'{"input": {}}', b'{"inputs": {"x": NaN}}', b""])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_demo_request(body)
