"""Smaller files of the same numbers: weights as float16 with a cast behind them, and weights that stay in the file of
another graph. Knows no network; what a graph computes is the same to the last bit.
"""

import math
from collections.abc import Iterator

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from training.export import ExportError

# On the card of a model that is stored so.
STORED_SMALL = "Its large weights are rounded to float16 and stored so; everything is computed in float32."
# Tensors of fewer numbers stay as they are: biases, scales, thresholds.
LARGE = 4_096
# A tensor of fewer numbers takes as much room as the words that say where it lies.
WORTH_SHARING = 256
HALF = ".float16"  # what the name of a weight that is stored as float16 ends in; its cast has the name itself
TURNED = ".transposed"


@torch.no_grad()
def round_to_half(network: nn.Module) -> None:
    """Every large tensor of the network becomes what float16 makes of it, and stays float32. Raises ExportError
    for a number beyond them."""
    for name, values in network.state_dict().items():
        if values.dtype != torch.float32 or values.numel() < LARGE:
            continue
        half = values.half()
        if not half.isfinite().all():
            limit = torch.finfo(torch.float16).max
            raise ExportError(f"{name} has a weight of {values.abs().max():.6g}; float16 holds up to {limit:.0f}")
        values.copy_(half)


def in_half(graph: bytes) -> bytes:
    """Large tensors that float16 holds exactly are stored as such, with a cast to float32 that onnxruntime folds when
    it opens the graph."""
    model = onnx.load_from_string(graph)
    given = {each.name for each in model.graph.input}  # a caller may give it, as float32
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or math.prod(weight.dims) < LARGE or weight.name in given:
            continue
        half = exactly_half(numpy_helper.to_array(weight))
        if half is not None:
            casts.append(_cast(weight.name + HALF, weight.name))
            weight.CopyFrom(numpy_helper.from_array(half, weight.name + HALF))
    _put_first(model, casts)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def exactly_half(values: NDArray[np.float32]) -> NDArray[np.float16] | None:
    """None if float16 would change a number, be it the sign of a zero."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    same = np.array_equal(half.astype(np.float32).view(np.int32), values.view(np.int32))
    return half if same else None


def shared(graph: bytes, other: bytes, location: str) -> bytes:
    """The graph without those weights whose bytes are in another file too: in their place stands where they lie there,
    as ONNX's external data. Also what that file has as float16 or, of two axes, transposed."""
    model = onnx.load_from_string(graph)
    given = {each.name for each in model.graph.input}
    nodes: list[onnx.NodeProto] = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or math.prod(weight.dims) < WORTH_SHARING or weight.name in given:
            continue
        values = numpy_helper.to_array(weight)
        for stored, turned in _forms(values):
            content = stored.tobytes()
            offset = other.find(content)
            if offset >= 0:
                nodes += _put_elsewhere(weight, stored, turned, {"location": location, "offset": offset})
                break
    _put_first(model, nodes)
    return bytes(model.SerializeToString())


def _forms(values: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.float32] | NDArray[np.float16], bool]]:
    """How another file may hold the numbers, and whether that is transposed."""
    half = exactly_half(np.ascontiguousarray(values))
    for turned in (False, True) if values.ndim == 2 else (False,):
        for form in (values, half):
            if form is not None:
                yield (form.T if turned else form), turned


def _put_elsewhere(
    weight: TensorProto, stored: NDArray[np.float32] | NDArray[np.float16], turned: bool, where: dict[str, str | int]
) -> list[onnx.NodeProto]:
    """The nodes that make of what is stored what the weight was."""
    name, nodes = weight.name, []
    place = name
    if turned:
        place += TURNED
        nodes.append(helper.make_node("Transpose", [place], [name], perm=[1, 0]))
    if stored.dtype == np.float16:
        nodes.insert(0, _cast(place + HALF, place))
        place += HALF
    weight.Clear()
    weight.name, weight.data_location = place, TensorProto.EXTERNAL
    weight.data_type = helper.np_dtype_to_tensor_dtype(stored.dtype)
    weight.dims.extend(stored.shape)
    for key, value in {**where, "length": stored.nbytes}.items():
        weight.external_data.add(key=key, value=str(value))
    return nodes


def _cast(taken: str, given: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [taken], [given], name=given + ".cast", to=TensorProto.FLOAT)


def _put_first(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    others = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *others])
