"""Gradients of class scores by pixels: the committed graphs against torch.autograd, on digits and on what is none."""

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from app.card import ImageInput, read_card, read_golden
from tests.conftest import ROOT
from training import export, saliency
from training.beside import CLASSIFIERS
from training.recipe import DIGIT_INPUT

MODELS = dict((file.parent.parent.name, file) for file in sorted((ROOT / "artifacts").glob("*/*/model.onnx")))


def is_image_classifier(file: Path) -> bool:
    card = read_card(export.opened(file.read_bytes()).get_modelmeta().custom_metadata_map)
    return card is not None and card.task == "classification" and isinstance(card.input, ImageInput)


def pictures(file: Path) -> Tensor:
    """The golden ones, a blank one and noise."""
    golden = read_golden(export.opened(file.read_bytes()).get_modelmeta().custom_metadata_map)
    assert golden is not None
    known = torch.from_numpy(golden.inputs["image"].array().copy()).float()
    noise = 255 * torch.rand(20, *known.shape[1:], generator=torch.Generator().manual_seed(3))
    return torch.cat([known, torch.zeros_like(known[:1]), noise])


def beside(file: Path) -> ort.InferenceSession:
    """The model's gradient, with the weights that it takes from the model."""
    return export.opened(file.with_name(saliency.FILE).read_bytes(), file.read_bytes())


def test_every_image_classifier_is_known_as_one() -> None:
    """By its card, and by the system that made it."""
    assert {name for name, file in MODELS.items() if is_image_classifier(file)} == set(CLASSIFIERS)


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_committed_graph_is_the_models_and_gives_what_autograd_does(name: str) -> None:
    file = MODELS[name]
    session = beside(file)
    scores = CLASSIFIERS[name].scores(file.read_bytes())
    pixels = pictures(file)
    index = torch.arange(len(pixels)) % 10
    ours, our_scores = session.run(["gradient", "scores"], {"pixels": pixels.numpy(), "index": index.numpy()})
    theirs, their_scores = saliency.saliency(scores, pixels, index)

    belongs_to = session.get_modelmeta().custom_metadata_map[saliency.BELONGS_TO]
    assert belongs_to == hashlib.sha256(file.read_bytes()).hexdigest()
    largest = theirs.abs().amax((1, 2), keepdim=True)
    assert (largest > 0).all()
    assert float(((torch.from_numpy(ours) - theirs).abs() / largest).max()) <= 1e-5
    assert np.abs(our_scores - their_scores.numpy()).max() <= 1e-4


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_scores_are_those_that_the_model_decides_by(name: str) -> None:
    model = ort.InferenceSession(MODELS[name], providers=["CPUExecutionProvider"])
    graph = beside(MODELS[name])
    pixels = pictures(MODELS[name]).to(torch.uint8)
    [scores] = graph.run(["scores"], {"pixels": pixels.float().numpy(), "index": np.zeros(len(pixels), np.int64)})
    decides = next(each.name for each in model.get_outputs() if each.name in ("logits", "margins"))
    [wanted] = model.run([decides], {"image": pixels.numpy()})

    assert scores == pytest.approx(wanted, abs=1e-4)


def test_gradient_is_the_slope_of_the_score() -> None:
    """By differences of the served model's own scores, in steps of one gray level."""
    file = MODELS["mnist-dnn"]
    model = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    graph = beside(file)
    picture = pictures(file)[:1].clamp(1, 254).to(torch.uint8)
    index = np.array([7])
    [gradient] = graph.run(["gradient"], {"pixels": picture.float().numpy(), "index": index})
    row, column = np.unravel_index(np.abs(gradient[0]).argmax(), (28, 28))
    above, below = picture.numpy().copy(), picture.numpy().copy()
    above[0, row, column] += 1
    below[0, row, column] -= 1
    [high], [low] = (model.run(["logits"], {"image": each}) for each in (above, below))

    assert gradient[0, row, column] == pytest.approx((high[0, 7] - low[0, 7]) / 2, rel=1e-3)


POOLS = {
    "side by side": nn.MaxPool2d(2),
    "side by side, some left over": nn.MaxPool2d(4),
    "overlapping": nn.MaxPool2d(3, 2),
    "overlapping, padded": nn.MaxPool2d(3, 2, padding=1),
    "by steps of 1": nn.MaxPool2d(3, stride=1),
    "spread": nn.MaxPool2d(2, stride=2, dilation=2),
    "past the edge": nn.MaxPool2d(3, 2, ceil_mode=True),
    "of unequal sides": nn.MaxPool2d((3, 2), stride=(2, 1)),
    "average": nn.AvgPool2d(2),
    "average, some left over": nn.AvgPool2d(4),
    "average, overlapping": nn.AvgPool2d(3, 2),
    "average, padded": nn.AvgPool2d(3, 2, padding=1),
    "average, padding not counted": nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    "average, divided by another number": nn.AvgPool2d(3, 2, padding=1, divisor_override=4),
    "average of unequal sides": nn.AvgPool2d((3, 2), stride=(2, 1), padding=(1, 0)),
    "average of all": nn.AdaptiveAvgPool2d(1),
}


def pooled(pool: nn.Module) -> saliency.Scores:
    """A small network with these windows in it, of pixels as a trained one sees them: none is saturated."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Unflatten(1, (1, 28)), nn.Conv2d(1, 4, 3), nn.Tanh(), pool, nn.Flatten(), nn.LazyLinear(10)
    )
    network(torch.zeros(1, 28, 28))
    network.requires_grad_(False)
    return lambda pixels: network(pixels / 255 - 0.5)


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_pooling_goes_back_as_by_autograd(pool: nn.Module) -> None:
    network = pooled(pool)
    graph = saliency.saliency_graph(network, DIGIT_INPUT)
    pixels = 255 * torch.rand(7, 28, 28, generator=torch.Generator().manual_seed(2))
    index = torch.arange(7)
    [ours] = export.opened(graph).run(["gradient"], {"pixels": pixels.numpy(), "index": index.numpy()})
    theirs, _ = saliency.saliency(network, pixels, index)

    assert ours == pytest.approx(theirs.numpy(), abs=1e-5 * float(theirs.abs().max()))


def steps(pixels: Tensor) -> Tensor:
    """Two classes; the first is awake above 100 levels, and the picture below lies exactly there."""
    flat = pixels.flatten(1)
    return torch.stack([(flat.sum(1) - 100).relu(), 2 * flat.sum(1)], 1)


def at_the_kink() -> tuple[Tensor, Tensor]:
    return torch.full((2, 2, 2), 25.0), torch.tensor([0, 1])


@pytest.mark.parametrize(("slope", "difference"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (1.5, 0.5)])
def test_at_a_kink_the_gradients_of_both_sides_are_right_and_no_others(slope: float, difference: float) -> None:
    pixels, index = at_the_kink()
    ours = np.stack([np.full((2, 2), slope, np.float32), np.full((2, 2), 2, np.float32)])
    generator = torch.Generator().manual_seed(1)
    found = saliency.differences(ours, steps, pixels, index, generator)

    assert found.tolist() == pytest.approx([difference, 0.0])


def test_gradient_of_another_function_is_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).requires_grad_(False)
    graph = saliency.saliency_graph(network, DIGIT_INPUT)

    with pytest.raises(export.ExportError, match=r"by 2 of the largest; at most 1e-05 is allowed"):
        saliency.check(lambda pixels: -network(pixels), graph, DIGIT_INPUT)
    with pytest.raises(export.ExportError, match=r"differ from PyTorch's by 0.0001 of the largest"):
        saliency.check(lambda pixels: network(pixels) * 1.0001, graph, DIGIT_INPUT)
