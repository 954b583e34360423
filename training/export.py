"""From a trained network to an artifact: the ONNX graph, its proof against PyTorch, card and golden rows, atomically.

Knows the artifact contract (ARCHITECTURE.md §3) and nothing of how a network is trained or drawn.
"""

import contextlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from torch import Tensor as TorchTensor
from torch import nn

from app.card import Card, Golden, Layer, Tensor, are_pictures, read_card, write_metadata

MODEL_FILE = "model.onnx"
PARITY_ROWS = 64
PARITY_BATCHES = (1, 7, PARITY_ROWS)
PARITY_TOLERANCE = 1e-4  # of logits, whose size is about 10
GOLDEN_ROWS = 4
GOLDEN_TOLERANCE = {"CPUExecutionProvider": 1e-4, "CUDAExecutionProvider": 1e-3}
EVALUATION_BATCH = 1_000
ERRORS = 3  # of onnxruntime's levels of severity
# Outputs whose largest number is the answer: it has to be the same one.
DECIDING = ("probabilities", "logits")

Answers = dict[str, NDArray[Any]]


class ExportError(Exception):
    """The exported graph is not the network that was trained; nothing has been written."""


@dataclass(frozen=True)
class Exportable:
    """What becomes a graph: a module in evaluation mode, on the CPU, that takes one tensor and gives a tuple."""

    module: nn.Module
    input_name: str
    outputs: Mapping[str, str]  # in the order of the tuple: name → what it means


def to_onnx(what: Exportable, example: TorchTensor) -> bytes:
    """The whole model as one graph whose first axis, of every input and output, is a batch of any size. `example` has
    two rows."""
    dynamic_shapes = ({0: torch.export.Dim("batch")},)
    return graph_of(what.module, (example,), [what.input_name], list(what.outputs), dynamic_shapes)


def graph_of(
    module: nn.Module,
    examples: tuple[TorchTensor, ...],
    inputs: list[str],
    outputs: list[str],
    dynamic_shapes: tuple[dict[int, Any], ...],
) -> bytes:
    """Any module as a checked graph, for what takes more than one tensor; `dynamic_shapes` name each input's axes of
    any size."""
    with _quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            examples,
            dynamo=True,
            verbose=False,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic_shapes,
        )
    assert program is not None
    model = program.model_proto
    _forget_origin(model)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter reports that torchvision is missing, deprecations of its own, and constants that are results:
    none is ours to mend."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop the stack traces and file paths of the machine that exported the graph."""
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, graph, model):
        del part.metadata_props[:]
        part.doc_string = ""


def opened(graph: bytes, beside: bytes | None = None) -> ort.InferenceSession:
    """On the CPU, without warnings: that weights may be overridden is meant. `beside` is the content of the model file
    that a graph takes weights from; onnxruntime copies them, and opens no file."""
    options = ort.SessionOptions()
    options.log_severity_level = ERRORS
    if beside is not None:
        options.add_external_initializers_from_files_in_memory([MODEL_FILE], [beside], [len(beside)])
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run(graph: bytes, rows: NDArray[Any]) -> Answers:
    """What onnxruntime answers, on the CPU, in batches."""
    session = opened(graph)
    [taken] = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    starts = range(0, len(rows), EVALUATION_BATCH)
    answers = [session.run(names, {taken.name: rows[start : start + EVALUATION_BATCH]}) for start in starts]
    return {name: np.concatenate(parts) for name, parts in zip(names, zip(*answers, strict=True), strict=True)}


@torch.inference_mode()
def pytorch_answers(what: Exportable, rows: TorchTensor) -> Answers:
    return {name: output.numpy() for name, output in zip(what.outputs, what.module.eval()(rows), strict=True)}


def check_parity(what: Exportable, graph: bytes, rows: TorchTensor) -> float:
    """The largest difference between PyTorch's and onnxruntime's outputs on the first rows, in several batch sizes.
    Raises ExportError as `check_answers` does."""
    rows = rows[:PARITY_ROWS]
    return check_answers(pytorch_answers(what, rows), graph, rows.numpy())


def check_answers(theirs: Answers, graph: bytes, rows: NDArray[Any]) -> float:
    """The largest difference between given answers to the rows and onnxruntime's, in several batch sizes.

    Raises ExportError beyond the tolerance, if an arg-max, a whole number, a truth value or a string differs, a pixel
    by more than a level, or with fewer than 64 rows.
    """
    if len(rows) < PARITY_ROWS:
        raise ExportError(f"parity needs {PARITY_ROWS} rows, there are {len(rows)}")
    largest = 0.0
    for size in PARITY_BATCHES:
        parts = [run(graph, rows[start : start + size]) for start in range(0, len(rows), size)]
        for name, wanted in theirs.items():
            served = np.concatenate([part[name] for part in parts])
            if name in DECIDING and not np.array_equal(*(part[decided(wanted)].argmax(1) for part in (served, wanted))):
                raise ExportError(f"in batches of {size} onnxruntime's arg-max of {name} differs from PyTorch's")
            if are_pictures(wanted):
                exact = bool((np.abs(served.astype(np.int16) - wanted) <= 1).all())  # rounding may fall either way
            else:
                exact = wanted.dtype.kind == "f" or np.array_equal(served, wanted)
            if not exact:
                raise ExportError(f"in batches of {size} onnxruntime's {name} differs from PyTorch's")
            if wanted.dtype.kind == "f":
                largest = max(largest, float(np.abs(served - wanted).max()))
    if not largest <= PARITY_TOLERANCE:
        raise ExportError(f"onnxruntime and PyTorch differ by {largest:.2e}; at most {PARITY_TOLERANCE:.0e} is allowed")
    return largest


def decided(scores: NDArray[Any]) -> NDArray[np.bool_]:
    """The rows in which the largest number is ahead of the next by more than two runtimes may differ."""
    first, second = np.partition(scores, -2, axis=1)[:, :-3:-1].T
    return np.asarray(first - second > 2 * PARITY_TOLERANCE)


def golden_rows(what: Exportable, rows: TorchTensor) -> Golden:
    rows = rows[:GOLDEN_ROWS]
    return golden_answers(what.input_name, rows.numpy(), pytorch_answers(what, rows))


def golden_answers(input_name: str, rows: NDArray[Any], answers: Answers) -> Golden:
    """Of rows and answers as they are, strings among them."""
    return Golden(
        inputs={input_name: Tensor.of(rows)},
        outputs={name: Tensor.of(output) for name, output in answers.items()},
        tolerance=GOLDEN_TOLERANCE,
    )


@torch.inference_mode()
def layer_table(network: nn.Module, body: nn.Module, example: TorchTensor) -> list[Layer]:
    """The body's layers in the order they run when the network is given the example, of one row."""
    table: list[Layer] = []

    def note(name: str, module: nn.Module) -> None:
        def hook(_module: nn.Module, _inputs: object, output: TorchTensor) -> None:
            parameters = sum(parameter.numel() for parameter in module.parameters())
            table.append(
                Layer(name=name, kind=type(module).__name__, output_shape=list(output.shape[1:]), parameters=parameters)
            )

        handles.append(module.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name, module in body.named_modules():
        if not list(module.children()) and not isinstance(module, nn.Identity):
            note(name, module)
    network.eval()(example)
    for handle in handles:
        handle.remove()
    return table


def with_metadata(graph: bytes, card: Card, golden: Golden) -> bytes:
    model = onnx.load_from_string(graph)
    onnx.helper.set_model_props(model, write_metadata(card, golden))
    return bytes(model.SerializeToString())


def card_in(path: Path) -> Card | None:
    """None where there is none that can be read."""
    try:
        model = onnx.load(path, load_external_data=False)
        return read_card({prop.key: prop.value for prop in model.metadata_props})
    except (OSError, DecodeError, ValueError):
        return None


def with_overridable_weights(graph: bytes) -> bytes:
    """Every weight becomes an input that need not be given (ONNX: an initializer that is listed among the inputs)."""
    model = onnx.load_from_string(graph)
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and weight.dims:
            model.graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def weights_in(graph: bytes) -> dict[str, TorchTensor]:
    """By the names that the exporter took over from the module's parameters and buffers; other constants too. What is
    stored as float16 is float32."""
    parts = onnx.load_from_string(graph).graph
    casts = {node.input[0]: node.output[0] for node in parts.node if node.op_type == "Cast"}
    found = {}
    for each in parts.initializer:
        values = torch.tensor(onnx.numpy_helper.to_array(each))
        widened = values.dtype == torch.float16 and each.name in casts
        found[casts[each.name] if widened else each.name] = values.float() if widened else values
    return found


def versions(folder: Path) -> list[Path]:
    """The files of a model's artifacts, the highest version last."""
    numbered = (file for file in folder.glob(f"*/{MODEL_FILE}") if file.parent.name.isdecimal())
    return sorted(numbered, key=lambda file: int(file.parent.name))


def replace_file(path: Path, content: bytes) -> None:
    """Whole, or not at all."""
    draft = path.with_name(f".{path.name}")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


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
