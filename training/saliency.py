"""∂(class score)/∂(pixel) of an image classifier, as a graph that lies beside its model. Knows no classifier of ours
and no other method: SmoothGrad and integrated gradients are averages of what this graph gives.
"""

import hashlib
import re
from collections.abc import Callable

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from torch import Tensor

from app.card import ImageInput
from training import compact, export
from training.differentiation import traced

FILE = "saliency.onnx"
INPUTS = ("pixels", "index")  # float32 [N, height, width], 0 to 255, and int64 [N]
OUTPUTS = {
    "gradient": "float32 [N, height, width]: the score of the class `index` by each pixel, per gray level.",
    "scores": "float32 [N, classes]: logits or margins, whatever the model decides by.",
}
# In the graph's metadata: the SHA-256 of the model.onnx that it belongs to.
BELONGS_TO = "percept.model_sha256"
TOLERANCE = 1e-5  # relative to the largest gradient of a picture
ROWS = 32
# Where a unit's input is 0 but for rounding, it is awake in one runtime and asleep in the other, and either gradient is
# right. Pictures that differ by so little lie on both sides.
ROUNDING, NEIGHBOURS = 1e-6, 16

# On the card of a model that is kept without: why.
WITHOUT = "Without gradients of its scores by pixels: "

Scores = Callable[[Tensor], Tensor]  # pixels, float32 [N, height, width], 0 to 255 → [N, classes]


class Untraceable(export.ExportError):
    """A network whose gradient no graph can hold; says which operation."""


def saliency(scores: Scores, pixels: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """By autograd: what the graph has to give."""
    pixels = pixels.detach().requires_grad_(True)
    found = scores(pixels)
    [gradient] = torch.autograd.grad(found.gather(1, index[:, None]).sum(), pixels)
    return gradient, found.detach()


def saliency_graph(scores: Scores, taken: ImageInput) -> bytes:
    """What `scores` closes over must not require gradients. Raises Untraceable, and ExportError if onnxruntime does not
    give what autograd does."""
    graph = traced_graph(scores, taken)
    check(scores, graph, taken)
    return graph


def untraceable(scores: Scores, taken: ImageInput) -> str | None:
    """Why there will be no graph of its gradient, whatever its weights. Quick: to be asked before a training."""
    try:
        traced_graph(scores, taken)
    except Untraceable as error:
        return str(error)
    return None


def traced_graph(scores: Scores, taken: ImageInput) -> bytes:
    """Not yet proven. Raises Untraceable."""
    shape = (3, taken.height, taken.width)
    examples = (255 * torch.rand(shape, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2]))
    batch = torch.export.Dim("batch")
    try:
        module = traced(lambda pixels, index: saliency(scores, pixels, index), examples)
        return export.graph_of(module, examples, list(INPUTS), list(OUTPUTS), ({0: batch}, {0: batch}))
    except Exception as error:  # tracing, the exporter and the checker of its graphs each raise kinds of their own
        raise Untraceable(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """What began it, in a line; an operation that the exporter does not know is named by it."""
    while error.__cause__:
        error = error.__cause__
    operation = re.search(r"op='([^']+)'", str(error))
    return f"ONNX has no {operation[1]}" if operation else str(error).partition("\n")[0]


def check(scores: Scores, graph: bytes, taken: ImageInput, model: bytes | None = None) -> float:
    """The largest difference from autograd on noise and a blank picture, relative to a picture's largest gradient.
    `model` is the content of the file that the graph takes weights from, if it does. Raises ExportError beyond the
    tolerance."""
    generator = torch.Generator().manual_seed(0)
    pixels = 255 * torch.rand(ROWS, taken.height, taken.width, generator=generator) ** 4
    pixels[0] = 0
    index = torch.arange(ROWS) % scores(pixels).shape[1]
    feed = dict(zip(INPUTS, (pixels.numpy(), index.numpy()), strict=True))
    [ours] = export.opened(graph, model).run(["gradient"], feed)
    largest = float(differences(ours, scores, pixels, index, generator).max())
    if not largest <= TOLERANCE:
        raise export.ExportError(
            f"{FILE}: the gradients differ from PyTorch's by {largest:.2g} of the largest; at most {TOLERANCE:.0e} is "
            "allowed"
        )
    return largest


def differences(
    ours: NDArray[np.float32], scores: Scores, pixels: Tensor, index: Tensor, generator: torch.Generator
) -> Tensor:
    """Of each picture, from autograd's gradient there or, where that is another, at a picture that is the same but for
    rounding."""
    found = _differences(ours, saliency(scores, pixels, index)[0])
    for _ in range(NEIGHBOURS):
        [far] = (found > TOLERANCE).nonzero(as_tuple=True)
        if not len(far):
            break
        signs = torch.randint(0, 2, pixels[far].shape, generator=generator) * 2 - 1
        neighbours = pixels[far] * (1 + ROUNDING * signs)
        theirs, _ = saliency(scores, neighbours, index[far])
        found[far] = torch.minimum(found[far], _differences(ours[far.numpy()], theirs))
    return found


def _differences(ours: NDArray[np.float32], theirs: Tensor) -> Tensor:
    scale = theirs.abs().amax((1, 2)).clamp_min(torch.finfo(torch.float32).tiny)
    return (torch.from_numpy(ours) - theirs).abs().amax((1, 2)) / scale


def belonging_to(model: bytes, graph: bytes) -> bytes:
    """The graph with the digest of the model file beside which it lies, and without the weights that are in it. Raises
    ExportError if it cannot be opened beside it."""
    proto = onnx.load_from_string(compact.shared(graph, model, export.MODEL_FILE))
    onnx.helper.set_model_props(proto, {BELONGS_TO: hashlib.sha256(model).hexdigest()})
    lean = bytes(proto.SerializeToString())
    wrong = fault(lean, model)
    if wrong:
        raise export.ExportError(f"{FILE}: {wrong}")
    return lean


def fault(beside: bytes, model: bytes) -> str | None:
    """What is wrong with what lies beside a model, if anything."""
    try:
        proto = onnx.load_from_string(beside)
    except DecodeError as error:
        return f"broken: {type(error).__name__}: {error}"
    if [each.name for each in proto.graph.input] != list(INPUTS):
        return f"broken: it does not take {' and '.join(INPUTS)}"
    told = {each.key: each.value for each in proto.metadata_props}
    if told.get(BELONGS_TO) != hashlib.sha256(model).hexdigest():
        return "stale: it belongs to another model file"  # and where weights lie in it says nothing of this one
    try:
        export.opened(beside, model)
    except Exception as error:  # onnxruntime has one type for each way of being no graph
        return f"broken: {type(error).__name__}: {error}"
    return None
