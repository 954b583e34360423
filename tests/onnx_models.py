"""A tiny real artifact with an answer that can be told beforehand: the mean pixel decides between dark and light."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from app.card import Card, DatasetFacts, Golden, ImageInput, Tensor, Training, write_metadata

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


def write_model(folder: Path, model: onnx.ModelProto, name: str, version: int = 1) -> Path:
    path = folder / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(model.SerializeToString())
    return path
