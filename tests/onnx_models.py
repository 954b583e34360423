"""Tiny real models with answers that can be told beforehand.

With a card: the mean pixel decides between dark and light, and a text says how light it is. Beside them graphs of any
nodes, without one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from app.card import (
    Card,
    DatasetFacts,
    Feature,
    Golden,
    ImageInput,
    PhotographInput,
    RowsInput,
    Tensor,
    TextInput,
    Training,
    write_metadata,
)

# Type and shape by name; None is a rank that the model does not tell.
Shape = Sequence[int | str] | None
Tensors = Mapping[str, tuple[int, Shape]]

SIDE = 2
LABELS = ["dark", "light"]


def brightness_graph() -> onnx.ModelProto:
    """uint8 image [batch, 2, 2] → probabilities [batch, 2]: the share of darkness and of light."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=1),
        helper.make_node("Reshape", ["mean", "column"], ["flat"]),
        helper.make_node("Div", ["flat", "full"], ["light"]),
        helper.make_node("Sub", ["one", "light"], ["dark"]),
        helper.make_node("Concat", ["dark", "light"], ["probabilities"], axis=1),
    ]
    constants = {
        "axes": np.array([1, 2], np.int64),
        "column": np.array([-1, 1], np.int64),
        "full": np.array(255, np.float32),
        "one": np.array(1, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def brightness_card(name: str = "brightness", **changes: Any) -> Card:
    values: dict[str, Any] = {
        "name": name,
        "title": "Dark or light",
        "description": "The mean pixel decides.",
        "task": "classification",
        "input": ImageInput(height=SIDE, width=SIDE, box=SIDE, centre="box"),
        "outputs": {"probabilities": "Shares that add up to 1."},
        "labels": LABELS,
        "parameters": 1,
        "layers": [],
        "metrics": {"test_accuracy": 1.0},
        "floor": {"test_accuracy": 1.0},
        "dataset": DatasetFacts(
            name="none", source="none", licence="none", train_rows=0, validation_rows=0, test_rows=0, sha256={}
        ),
        "training": Training(
            command="none",
            seed=0,
            optimizer="none",
            epochs=0,
            batch_size=1,
            learning_rate=0,
            weight_decay=0,
            augmentation="none",
            precision="float32",
            device="cpu",
            seconds=0,
            commit="none",
            libraries={},
            history=[],
        ),
    }
    return Card(**values | changes)


GOLDEN = Golden(
    inputs={"image": Tensor.of(np.array([[[0, 0], [0, 0]], [[255, 255], [0, 0]]], np.uint8))},
    outputs={"probabilities": Tensor.of(np.array([[1, 0], [0.5, 0.5]], np.float32))},
    tolerance={"CPUExecutionProvider": 1e-6},
)


def write_brightness(
    folder: Path, name: str = "brightness", version: int = 1, card: Card | None = None, golden: Golden = GOLDEN
) -> Path:
    model = brightness_graph()
    helper.set_model_props(model, write_metadata(card or brightness_card(name), golden))
    return write_model(folder, model, name, version)


def echo_graph() -> onnx.ModelProto:
    """text [batch], a number from 0 to 1 → probabilities [batch, 2], the rest to one and the number; words [batch, 1],
    the text itself."""
    return graph_of(
        [
            helper.make_node("Unsqueeze", ["text", "last"], ["words"]),
            helper.make_node("Cast", ["words"], ["light"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["one", "light"], ["dark"]),
            helper.make_node("Concat", ["dark", "light"], ["probabilities"], axis=1),
        ],
        {"text": (TensorProto.STRING, ["batch"])},
        {
            "probabilities": (TensorProto.FLOAT, ["batch", len(LABELS)]),
            "words": (TensorProto.STRING, ["batch", 1]),
        },
        last=np.array([1], np.int64),
        one=np.array(1, np.float32),
    )


def write_echo(folder: Path, name: str, words: list[list[str]]) -> Path:
    """Golden rows are "0.25" and "0.5"; `words` are what their answers should be."""
    card = brightness_card(
        name,
        input=TextInput(language="numbers", example="0.5"),
        outputs={"probabilities": "Shares that add up to 1.", "words": "The text."},
        told=["words"],
    )
    golden = Golden(
        inputs={"text": Tensor.of(np.array(["0.25", "0.5"], object))},
        outputs={
            "probabilities": Tensor.of(np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)),
            "words": Tensor.of(np.array(words, object)),
        },
        tolerance=GOLDEN.tolerance,
    )
    model = echo_graph()
    helper.set_model_props(model, write_metadata(card, golden))
    return write_model(folder, model, name)


def write_model(folder: Path, model: onnx.ModelProto, name: str, version: int = 1) -> Path:
    path = folder / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(model.SerializeToString())
    return path


def graph_of(
    nodes: Sequence[onnx.NodeProto], inputs: Tensors, outputs: Tensors, **constants: np.ndarray[Any, Any]
) -> onnx.ModelProto:
    """A model of these nodes, without a card."""
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in inputs.items()],
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def as_computed(path: Path) -> onnx.ModelProto:
    """A file with float32 in the place of weights that it stores as float16 and casts."""
    model = onnx.load(path)
    constants = {each.name: each for each in model.graph.initializer if each.data_type == TensorProto.FLOAT16}
    for node in [node for node in model.graph.node if node.op_type == "Cast" and node.input[0] in constants]:
        stored = constants[node.input[0]]
        stored.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(stored).astype(np.float32), node.output[0]))
        model.graph.node.remove(node)
    return model


def identity_graph(kind: int = TensorProto.FLOAT, shape: Shape = None) -> onnx.ModelProto:
    """x → y, the same."""
    return graph_of([helper.make_node("Identity", ["x"], ["y"])], {"x": (kind, shape)}, {"y": (kind, shape)})


def addition_graph() -> onnx.ModelProto:
    """a + b + bias → sum, a x b → product; `bias` is 0 unless it is given."""
    row: Shape = ["batch", 2]
    return graph_of(
        [
            helper.make_node("Add", ["a", "b"], ["ab"]),
            helper.make_node("Add", ["ab", "bias"], ["sum"]),
            helper.make_node("Mul", ["a", "b"], ["product"]),
        ],
        {"a": (TensorProto.FLOAT, row), "b": (TensorProto.FLOAT, row), "bias": (TensorProto.FLOAT, [1])},
        {"sum": (TensorProto.FLOAT, row), "product": (TensorProto.FLOAT, row)},
        bias=np.zeros(1, np.float32),
    )


def total_graph() -> onnx.ModelProto:
    """x [3] → total, a scalar: no batch axis anywhere."""
    return graph_of(
        [helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0)],
        {"x": (TensorProto.INT64, [3])},
        {"total": (TensorProto.INT64, [])},
    )


def parsing_graph() -> onnx.ModelProto:
    """text [n] → number: "1.5" → 1.5; what is no number fails while it runs."""
    return graph_of(
        [helper.make_node("Cast", ["text"], ["number"], to=TensorProto.FLOAT)],
        {"text": (TensorProto.STRING, ["n"])},
        {"number": (TensorProto.FLOAT, ["n"])},
    )


def lookup_graph() -> onnx.ModelProto:
    """index [n] → word: 0 → "zero", 1 → "one"; there are no others."""
    return graph_of(
        [helper.make_node("Gather", ["words", "index"], ["word"])],
        {"index": (TensorProto.INT64, ["n"])},
        {"word": (TensorProto.STRING, ["n"])},
        words=np.array(["zero", "one"], np.object_),
    )


def doubling_graph(width: int = 3) -> onnx.ModelProto:
    """float x [batch, width] → y, twice as much."""
    return graph_of(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        {"x": (TensorProto.FLOAT, ["batch", width])},
        {"y": (TensorProto.FLOAT, ["batch", width])},
    )


def slow_graph(layers: int, width: int = 256) -> onnx.ModelProto:
    """float x [batch, width] → y, the same again, after so many multiplications by the identity."""
    names = ["x", *(f"h{layer}" for layer in range(1, layers)), "y"]
    return graph_of(
        [helper.make_node("MatMul", [names[layer], "same"], [names[layer + 1]]) for layer in range(layers)],
        {"x": (TensorProto.FLOAT, ["batch", width])},
        {"y": (TensorProto.FLOAT, ["batch", width])},
        same=np.eye(width, dtype=np.float32),
    )


def picking_graph() -> onnx.ModelProto:
    """int64 index [batch, 1] → y, ten times the index; what is beyond 4 raises."""
    return graph_of(
        [helper.make_node("Gather", ["tens", "index"], ["y"], axis=0)],
        {"index": (TensorProto.INT64, ["batch", 1])},
        {"y": (TensorProto.FLOAT, ["batch", 1])},
        tens=np.arange(0, 50, 10, dtype=np.float32),
    )


def mixing_graph() -> onnx.ModelProto:
    """float x [batch, 3] → y, less the mean of all rows."""
    return graph_of(
        [
            helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        {"x": (TensorProto.FLOAT, ["batch", 3])},
        {"y": (TensorProto.FLOAT, ["batch", 3])},
        axes=np.array([0], np.int64),
    )


def write_all(folder: Path) -> None:
    """The identities as `identity-fp32` and so on."""
    kinds = {
        "bool": TensorProto.BOOL,
        "uint8": TensorProto.UINT8,
        "uint16": TensorProto.UINT16,
        "uint32": TensorProto.UINT32,
        "uint64": TensorProto.UINT64,
        "int8": TensorProto.INT8,
        "int16": TensorProto.INT16,
        "int32": TensorProto.INT32,
        "int64": TensorProto.INT64,
        "fp16": TensorProto.FLOAT16,
        "fp32": TensorProto.FLOAT,
        "fp64": TensorProto.DOUBLE,
        "bf16": TensorProto.BFLOAT16,
        "bytes": TensorProto.STRING,
    }
    for name, kind in kinds.items():
        write_model(folder, identity_graph(kind, ["rows", "columns"]), f"identity-{name}")
    write_model(folder, addition_graph(), "addition")
    write_model(folder, total_graph(), "total")
    write_model(folder, parsing_graph(), "parsing")
    write_model(folder, lookup_graph(), "lookup")
    write_brightness(folder)


def higher_graph(difference: str) -> onnx.ModelProto:
    """float rows [batch, 2] → index of the higher one, and by how much the second is."""
    return graph_of(
        [
            helper.make_node("Gather", ["rows", "zero"], ["first"], axis=1),
            helper.make_node("Gather", ["rows", "one"], ["second"], axis=1),
            helper.make_node("Sub", ["second", "first"], [difference]),
            helper.make_node("Greater", ["second", "first"], ["is_second"]),
            helper.make_node("Cast", ["is_second"], ["index"], to=TensorProto.INT64),
        ],
        {"rows": (TensorProto.FLOAT, ["batch", 2])},
        {"index": (TensorProto.INT64, ["batch"]), difference: (TensorProto.FLOAT, ["batch"])},
        zero=np.array(0, np.int64),
        one=np.array(1, np.int64),
    )


def agreement_graph() -> onnx.ModelProto:
    """string text [batch] → probabilities [batch, 2]: whether it is "yes"."""
    return graph_of(
        [
            helper.make_node("Equal", ["text", "yes"], ["agrees"]),
            helper.make_node("Cast", ["agrees"], ["agreed"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["full", "agreed"], ["refused"]),
            helper.make_node("Unsqueeze", ["agreed", "axis"], ["right"]),
            helper.make_node("Unsqueeze", ["refused", "axis"], ["left"]),
            helper.make_node("Concat", ["left", "right"], ["probabilities"], axis=1),
            helper.make_node("StringConcat", ["text", "mark"], ["echo"]),
        ],
        {"text": (TensorProto.STRING, ["batch"])},
        {"probabilities": (TensorProto.FLOAT, ["batch", 2]), "echo": (TensorProto.STRING, ["batch"])},
        yes=np.array(["yes"], np.object_),
        full=np.array(1, np.float32),
        axis=np.array([1], np.int64),
        mark=np.array(["!"], np.object_),
    )


def write_with_card(folder: Path, model: onnx.ModelProto, card: Card, golden: Golden) -> Path:
    helper.set_model_props(model, write_metadata(card, golden))
    return write_model(folder, model, card.name)


def write_higher(folder: Path, difference: str = "margin", **changes: Any) -> Path:
    """`higher`: rows of two numbers in; the higher one, and the margin, under whatever name."""
    values: dict[str, Any] = {
        "input": RowsInput(features=[Feature(name="left", unit="cm"), Feature(name="right", unit="cm", example=2.5)]),
        "outputs": {"index": "Which is higher.", difference: "By how much the right one is higher, in cm."},
        "told": [difference],
        "labels": ["left", "right"],
    }
    golden = Golden(
        inputs={"rows": Tensor.of(np.array([[1, 3], [2, 0]], np.float32))},
        outputs={
            "index": Tensor.of(np.array([1, 0], np.int64)),
            difference: Tensor.of(np.array([2, -2], np.float32)),
        },
        tolerance={"CPUExecutionProvider": 1e-6},
    )
    return write_with_card(folder, higher_graph(difference), brightness_card("higher", **values | changes), golden)


def write_agreement(folder: Path) -> Path:
    """`agreement`: text in; whether it is "yes"."""
    card = brightness_card(
        "agreement",
        input=TextInput(language="English", example="yes"),
        outputs={"probabilities": "1 for what is meant.", "echo": "The text, louder."},
        told=["echo"],
        labels=["no", "yes"],
    )
    golden = Golden(
        inputs={"text": Tensor.of(np.array(["yes", "well"], object))},
        outputs={
            "probabilities": Tensor.of(np.array([[0, 1], [1, 0]], np.float32)),
            "echo": Tensor.of(np.array(["yes!", "well!"], object)),
        },
        tolerance={"CPUExecutionProvider": 1e-6},
    )
    return write_with_card(folder, agreement_graph(), card, golden)


def negative_graph(unlike: int = TensorProto.BOOL) -> onnx.ModelProto:
    """uint8 image [batch, 2, 2] → its negative, its probability of being dark or light as in `brightness`, and whether
    its largest pixel is below 100."""
    model = brightness_graph()
    made = model.graph
    made.node.extend(
        [
            helper.make_node("Sub", ["white", "image"], ["negative"]),
            helper.make_node("ReduceMax", ["image", "axes"], ["largest"], keepdims=0),
            helper.make_node("Less", ["largest", "enough"], ["is_below"]),
            helper.make_node("Cast", ["is_below"], ["unlike_training_data"], to=unlike),
        ]
    )
    made.initializer.extend(
        [numpy_helper.from_array(np.array(value, np.uint8), name) for name, value in (("white", 255), ("enough", 100))]
    )
    made.output.extend(
        [
            helper.make_tensor_value_info("negative", TensorProto.UINT8, ["batch", SIDE, SIDE]),
            helper.make_tensor_value_info("unlike_training_data", unlike, ["batch"]),
        ]
    )
    return model


def write_negative(folder: Path, unlike: int = TensorProto.BOOL, off_by: int = 0) -> Path:
    """`negative`: a classifier that tells a picture and warns; its golden rows' pictures are `off_by` levels wrong."""
    card = brightness_card(
        "negative",
        outputs={
            "probabilities": "Shares that add up to 1.",
            "negative": "The picture, 255 less each pixel.",
            "unlike_training_data": "Whether no pixel is as light as 100.",
        },
        told=["negative"],
    )
    pictures = GOLDEN.inputs["image"].array()
    golden = GOLDEN.model_copy(
        update={
            "outputs": GOLDEN.outputs
            | {
                "negative": Tensor.of((255 - pictures) ^ np.uint8(off_by)),
                "unlike_training_data": Tensor.of(pictures.max((1, 2)) < 100),
            }
        }
    )
    return write_with_card(folder, negative_graph(unlike), card, golden)


FRAME = PhotographInput(height=8, width=6)


def redness_graph(frame: PhotographInput = FRAME) -> onnx.ModelProto:
    """uint8 photograph [batch, height, width, 3] → probabilities [batch, 2], of which the second is the share of red
    that there could be, and whether there is none at all."""
    return graph_of(
        [
            helper.make_node("Cast", ["photograph"], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["levels", "axes"], ["means"], keepdims=0),
            helper.make_node("Slice", ["means", "first", "second", "last"], ["red"]),
            helper.make_node("Div", ["red", "full"], ["light"]),
            helper.make_node("Sub", ["one", "light"], ["dark"]),
            helper.make_node("Concat", ["dark", "light"], ["probabilities"], axis=1),
            helper.make_node("Equal", ["red", "nothing"], ["without"]),
            helper.make_node("Squeeze", ["without", "last"], ["unlike_training_data"]),
        ],
        {"photograph": (TensorProto.UINT8, ["batch", frame.height, frame.width, 3])},
        {
            "probabilities": (TensorProto.FLOAT, ["batch", len(LABELS)]),
            "unlike_training_data": (TensorProto.BOOL, ["batch"]),
        },
        axes=np.array([1, 2], np.int64),
        first=np.array([0], np.int64),
        second=np.array([1], np.int64),
        last=np.array([1], np.int64),
        full=np.array(255, np.float32),
        one=np.array(1, np.float32),
        nothing=np.array(0, np.float32),
    )


def write_redness(folder: Path, name: str = "redness", frame: PhotographInput = FRAME, **changes: Any) -> Path:
    """A model of photographs: how red they are decides between dark and light."""
    values: dict[str, Any] = {
        "input": frame,
        "outputs": {"probabilities": "Shares.", "unlike_training_data": "Whether there is no red."},
    }
    pictures = np.zeros((2, FRAME.height, FRAME.width, 3), np.uint8)
    pictures[1, :, :3, 0] = 255
    golden = Golden(
        inputs={"photograph": Tensor.of(pictures)},
        outputs={
            "probabilities": Tensor.of(np.array([[1, 0], [0.5, 0.5]], np.float32)),
            "unlike_training_data": Tensor.of(np.array([True, False])),
        },
        tolerance={"CPUExecutionProvider": 1e-6},
    )
    return write_with_card(folder, redness_graph(), brightness_card(name, **values | changes), golden)


def write_large(path: Path, megabytes: int) -> None:
    """float x [batch, n] times weights [n, 10], so many megabytes of them."""
    size = megabytes * 1_000_000 // 40
    weights = np.random.default_rng(0).normal(size=(size, 10)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
