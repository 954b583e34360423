"""From a trained network to an artifact: the ONNX graph, its proof against PyTorch, card and golden rows, atomically.

Knows the artifact contract (ARCHITECTURE.md §3) and nothing of how a network is trained or drawn.
"""

import contextlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor as TorchTensor
from torch import nn

from app.card import Card, Golden, ImageInput, Layer, Tensor, write_metadata
from training.classifier import ImageClassifier, WithProbabilities

OUTPUTS = {
    "logits": "Scores before the softmax; only their differences mean something.",
    "probabilities": "Softmax of the logits: they add up to 1. Not calibrated beyond that.",
}
PARITY_ROWS = 64
PARITY_BATCHES = (1, 7, PARITY_ROWS)
PARITY_TOLERANCE = 1e-4  # of logits, whose size is about 10
GOLDEN_ROWS = 4
GOLDEN_TOLERANCE = {"CPUExecutionProvider": 1e-4, "CUDAExecutionProvider": 1e-3}
EVALUATION_BATCH = 1_000


class ExportError(Exception):
    """The exported graph is not the network that was trained; nothing has been written."""


@dataclass(frozen=True)
class Scores:
    """What the exported graph answered."""

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]


def to_onnx(network: ImageClassifier, image: ImageInput) -> bytes:
    """The whole model as one graph: uint8 `image` [batch, H, W] → `logits`, `probabilities`, batch of any size."""
    graph = WithProbabilities(network).eval()
    example = torch.zeros(2, image.height, image.width, dtype=torch.uint8)
    with _quiet_exporter():
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        )
    assert program is not None
    model = program.model_proto
    _forget_origin(model)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter reports that torchvision is missing and deprecations of its own: neither is ours to mend."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop the stack traces and file paths of the machine that exported the graph."""
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, graph, model):
        del part.metadata_props[:]
        part.doc_string = ""


def run(graph: bytes, images: TorchTensor) -> Scores:
    """What onnxruntime answers, on the CPU, in batches."""
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    answers = [session.run(list(OUTPUTS), {"image": batch.numpy()}) for batch in images.split(EVALUATION_BATCH)]
    logits, probabilities = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    return Scores(logits, probabilities)


@torch.inference_mode()
def check_parity(network: ImageClassifier, graph: bytes, images: TorchTensor) -> float:
    """The largest difference between PyTorch's and onnxruntime's outputs on the first rows, in several batch sizes.

    Raises ExportError beyond the tolerance, if an arg-max differs, or with fewer than 64 rows.
    """
    rows = images[:PARITY_ROWS]
    if len(rows) < PARITY_ROWS:
        raise ExportError(f"parity needs {PARITY_ROWS} rows, there are {len(rows)}")
    logits, probabilities = WithProbabilities(network).eval()(rows)
    largest = 0.0
    for size in PARITY_BATCHES:
        parts = [run(graph, batch) for batch in rows.split(size)]
        served = np.concatenate([part.logits for part in parts])
        if not np.array_equal(served.argmax(1), logits.numpy().argmax(1)):
            raise ExportError(f"in batches of {size} onnxruntime's arg-max differs from PyTorch's")
        for ours, theirs in (
            (served, logits),
            (np.concatenate([part.probabilities for part in parts]), probabilities),
        ):
            largest = max(largest, float(np.abs(ours - theirs.numpy()).max()))
    if not largest <= PARITY_TOLERANCE:
        raise ExportError(f"onnxruntime and PyTorch differ by {largest:.2e}; at most {PARITY_TOLERANCE:.0e} is allowed")
    return largest


@torch.inference_mode()
def golden_rows(network: ImageClassifier, images: TorchTensor) -> Golden:
    rows = images[:GOLDEN_ROWS]
    outputs = WithProbabilities(network).eval()(rows)
    return Golden(
        inputs={"image": Tensor.of(rows.numpy())},
        outputs={name: Tensor.of(output.numpy()) for name, output in zip(OUTPUTS, outputs, strict=True)},
        tolerance=GOLDEN_TOLERANCE,
    )


@torch.inference_mode()
def layer_table(network: ImageClassifier, image: ImageInput) -> list[Layer]:
    """The body's layers in the order they run."""
    table: list[Layer] = []

    def note(name: str, module: nn.Module) -> None:
        def hook(_module: nn.Module, _inputs: object, output: TorchTensor) -> None:
            parameters = sum(parameter.numel() for parameter in module.parameters())
            table.append(
                Layer(name=name, kind=type(module).__name__, output_shape=list(output.shape[1:]), parameters=parameters)
            )

        handles.append(module.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name, module in network.body.named_modules():
        if not list(module.children()):
            note(name, module)
    network.eval()(torch.zeros(1, image.height, image.width, dtype=torch.uint8))
    for handle in handles:
        handle.remove()
    return table


def with_metadata(graph: bytes, card: Card, golden: Golden) -> bytes:
    model = onnx.load_from_string(graph)
    onnx.helper.set_model_props(model, write_metadata(card, golden))
    return bytes(model.SerializeToString())


@contextlib.contextmanager
def artifact_folder(out: Path, name: str, version: int) -> Iterator[Path]:
    """A folder to write into that becomes `out/name/version` when the block ends well, and is gone when it does not.

    Two renames: a reader sees the old version, for an instant none, then the new one, and never half of one.
    """
    final = out / name / str(version)
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=final.parent))
    retired = draft.with_name(f"{draft.name}-retired")
    try:
        yield draft
        draft.chmod(0o755)
        if final.exists():
            os.rename(final, retired)
        os.rename(draft, final)
    finally:
        if retired.exists() and not final.exists():  # interrupted between the two renames
            os.rename(retired, final)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)
        if not any(final.parent.iterdir()):
            final.parent.rmdir()
