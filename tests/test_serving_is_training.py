"""What is served is what was trained: the committed artifacts, the data sets, and PyTorch as the oracle."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from app import images
from app.card import Card, read_card
from tests.conftest import ROOT
from training.__main__ import RECIPES
from training.classifier import ImageClassifier, WithProbabilities
from training.data import MNIST, Split, load_test

BATCH = 50


def png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def served_probabilities(client: TestClient, model: str, test: Split) -> NDArray[np.float64]:
    return np.concatenate(list(_answers(client, model, test.images.numpy())))


def _answers(client: TestClient, model: str, pictures: NDArray[np.uint8]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(pictures), BATCH):
        files = [("file", ("test.png", png(pixels), "image/png")) for pixels in pictures[start : start + BATCH]]
        predictions = client.post(f"/predict/{model}", files=files).json()["predictions"]
        yield np.array([prediction["probabilities"] for prediction in predictions])


def artifact(model: str) -> onnx.ModelProto:
    return onnx.load(ROOT / "artifacts" / model / "1" / "model.onnx")


def card_of(model: str) -> Card:
    card = read_card({prop.key: prop.value for prop in artifact(model).metadata_props})
    assert card is not None
    return card


def pytorch_network(model: str) -> WithProbabilities:
    """The recipe's own module with the artifact's weights: what PyTorch says to the same pictures."""
    weights = {
        tensor.name.removeprefix("classifier."): torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in artifact(model).graph.initializer
    }
    network = ImageClassifier(RECIPES[model].body(), 0.0, 1.0)
    state = {name: weights[name].reshape(value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict(state)
    return WithProbabilities(network.eval())


def test_the_10000_mnist_test_pictures_get_the_accuracy_that_the_card_states(data: Path, client: TestClient) -> None:
    test = load_test(MNIST, data)
    probabilities = served_probabilities(client, "mnist-cnn", test)
    accuracy = float((probabilities.argmax(1) == test.labels.numpy()).mean())

    assert abs(accuracy - card_of("mnist-cnn").metrics["test_accuracy"]) <= 0.0005


@pytest.mark.parametrize("model", RECIPES)
def test_served_probabilities_are_pytorchs(data: Path, client: TestClient, model: str) -> None:
    everything = load_test(RECIPES[model].source, data)
    test = Split(everything.images[:1_000], everything.labels[:1_000])
    with torch.inference_mode():
        _, expected = pytorch_network(model)(test.images)

    assert np.abs(served_probabilities(client, model, test) - expected.numpy()).max() <= 1e-5


@pytest.mark.parametrize("model", RECIPES)
def test_cards_state_what_the_artifact_scores_on_the_test_split(data: Path, model: str) -> None:
    test = load_test(RECIPES[model].source, data)
    with torch.inference_mode():
        logits, _ = pytorch_network(model)(test.images)
    accuracy = (logits.argmax(1) == test.labels).float().mean().item()
    card = card_of(model)

    assert card.metrics["test_accuracy"] == pytest.approx(accuracy, abs=2e-4)
    assert card.metrics["test_accuracy"] >= RECIPES[model].floor == card.floor["test_accuracy"]


@pytest.mark.parametrize("model", ["mnist-cnn", "fashion-cnn"])
def test_pictures_of_the_data_sets_pass_the_upload_path_unchanged(data: Path, model: str) -> None:
    recipe = RECIPES[model]
    changed = [
        place
        for place, pixels in enumerate(load_test(recipe.source, data).images.numpy())
        if not np.array_equal(images.fit(pixels, recipe.input).pixels, pixels)
    ]

    assert len(changed) <= 10_000 * 0.001
