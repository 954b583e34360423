"""∂(class score)/∂(pixel) of every served image classifier, as a graph beside its model: `python -m training.saliency`.

The weights are those of the artifact, so nothing is trained again. Knows no other method; SmoothGrad and integrated
gradients are averages of what this graph gives.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from app.card import read_card
from training import export
from training.classifier import ImageClassifier
from training.cnn import RECIPES as CNN_RECIPES
from training.differentiation import traced
from training.digit_svm import SIDE, Projection, RbfMachines, Upright
from training.mlp import RECIPES as MLP_RECIPES

FILE = "saliency.onnx"
INPUTS = ("pixels", "index")  # float32 [N, height, width], 0 to 255, and int64 [N]
OUTPUTS = {
    "gradient": "float32 [N, height, width]: the score of the class `index` by each pixel, per gray level.",
    "scores": "float32 [N, classes]: logits or margins, whatever the model decides by.",
}
# In the graph's metadata: the SHA-256 of the model.onnx that it belongs to.
BELONGS_TO = "percept.model_sha256"
TOLERANCE = 1e-5  # relative to the largest gradient of a picture
ARTIFACTS = Path(__file__).resolve().parent.parent / "artifacts"

Scores = Callable[[Tensor], Tensor]


def scores_of(name: str, graph: bytes) -> Scores | None:
    """Pixels, float32, to scores, by the weights of an artifact; None for a model that is no image classifier of
    ours."""
    weights = {each.name: numpy_helper.to_array(each) for each in onnx.load_from_string(graph).graph.initializer}
    for recipe in (*MLP_RECIPES, *CNN_RECIPES):
        if recipe.name == name:
            return _classifier(recipe.body(), weights)
    return _digit_machine(graph, weights) if name == "mnist-svm" else None


def _classifier(body: nn.Module, weights: Mapping[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"]) -> Scores:
    network = ImageClassifier(body, 0.0, 1.0)
    prefix = "classifier."
    network.load_state_dict(
        {name.removeprefix(prefix): torch.tensor(each) for name, each in weights.items() if name.startswith(prefix)}
    )
    return network.eval().requires_grad_(False)


def _digit_machine(graph: bytes, weights: Mapping[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"]) -> Scores:
    session = export.opened(graph)
    card = read_card(session.get_modelmeta().custom_metadata_map)
    assert card is not None
    projection = Projection(torch.zeros(2, SIDE * SIDE), 1)
    projection.mean, projection.basis = (torch.tensor(weights[f"projection.{name}"]) for name in ("mean", "basis"))
    [biases] = [each for each in weights.values() if each.shape == (len(card.labels),)]
    landmarks, coefficients = (torch.tensor(weights[f"machines.{name}"]) for name in ("landmarks", "coefficients"))
    machines = RbfMachines(landmarks, coefficients, torch.tensor(biases), card.metrics["gamma"])
    upright = Upright()

    def margins(pixels: Tensor) -> Tensor:
        found: Tensor = machines(projection(upright(pixels).flatten(1)))
        return found

    return margins


def saliency(scores: Scores, pixels: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """By autograd: what the graph has to give."""
    pixels = pixels.detach().requires_grad_(True)
    found = scores(pixels)
    [gradient] = torch.autograd.grad(found.gather(1, index[:, None]).sum(), pixels)
    return gradient, found.detach()


def saliency_graph(scores: Scores, model: bytes, height: int, width: int) -> bytes:
    """Raises ExportError if onnxruntime does not give what autograd does."""
    examples = (255 * torch.rand(3, height, width), torch.tensor([0, 1, 2]))
    module = traced(lambda pixels, index: saliency(scores, pixels, index), examples)
    batch = torch.export.Dim("batch")
    graph = export.graph_of(module, examples, list(INPUTS), list(OUTPUTS), ({0: batch}, {0: batch}))
    check(scores, graph, height, width)
    proto = onnx.load_from_string(graph)
    onnx.helper.set_model_props(proto, {BELONGS_TO: hashlib.sha256(model).hexdigest()})
    return bytes(proto.SerializeToString())


def check(scores: Scores, graph: bytes, height: int, width: int) -> float:
    """The largest difference from autograd on noise and blank pictures, relative to a picture's largest gradient."""
    generator = torch.Generator().manual_seed(0)
    pixels = 255 * torch.rand(32, height, width, generator=generator) ** 4
    pixels[0] = 0
    index = torch.arange(len(pixels)) % scores(pixels).shape[1]
    session = export.opened(graph)
    ours = session.run(list(OUTPUTS), dict(zip(INPUTS, (pixels.numpy(), index.numpy()), strict=True)))
    theirs = saliency(scores, pixels, index)
    scale = theirs[0].abs().amax((1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    difference = float(((torch.from_numpy(ours[0]) - theirs[0]).abs() / scale).max())
    if not difference <= TOLERANCE:
        raise export.ExportError(f"the gradients differ from PyTorch's by {difference:.2g} of the largest")
    return difference


def classifiers(artifacts: Path, names: Sequence[str] = ()) -> Iterator[tuple[Path, Scores]]:
    """The model files that get a graph, and what they compute."""
    for file in sorted(artifacts.glob("*/*/model.onnx")):
        name = file.parent.parent.name
        scores = scores_of(name, file.read_bytes()) if not names or name in names else None
        if scores is not None:
            yield file, scores


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.saliency", description=__doc__)
    parser.add_argument("models", nargs="*", help="default: every image classifier")
    parser.add_argument("--artifacts", type=Path, default=ARTIFACTS)
    options = parser.parse_args(argv)
    for file, scores in classifiers(options.artifacts, options.models):
        model = file.read_bytes()
        graph = saliency_graph(scores, model, SIDE, SIDE)
        draft = file.with_name(f".{FILE}")
        draft.write_bytes(graph)
        os.replace(draft, file.with_name(FILE))
        print(f"{file.with_name(FILE)}: {len(graph):,} bytes, {check(scores, graph, SIDE, SIDE):.1e} from PyTorch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
