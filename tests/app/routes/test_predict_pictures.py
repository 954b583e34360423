"""Pictures out, and warnings of the model's own: what a graph's outputs are decides, not what model it is."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from onnx import TensorProto
from PIL import Image

from app.main import create_app
from app.prediction import SENTENCES
from app.settings import Settings
from tests.onnx_models import write_negative

LIGHT = np.array([[0, 255], [7, 130]], np.uint8)
DIM = np.array([[0, 60], [90, 30]], np.uint8)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("artifacts")
    write_negative(folder)
    with TestClient(create_app(Settings(artifacts=folder))) as client:
        assert client.get("/health/ready").json() == {"ready": True, "models": 1}
        yield client


def png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pixels_of(address: str) -> NDArray[np.uint8]:
    prefix, data = address.split(",")
    assert prefix == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        return np.asarray(picture)


def served(client: TestClient, *pictures: NDArray[np.uint8], query: str = "") -> Any:
    files = [("file", ("picture.png", png(pixels), "image/png")) for pixels in pictures]
    return client.post(f"/predict/negative{query}", files=files).json()["predictions"]


def seen(client: TestClient, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture as the model saw it, once more from its negative."""
    [prediction] = served(client, pixels)
    return 255 - pixels_of(prediction["outputs"]["negative"])


def test_picture_is_told_as_a_png_with_the_graphs_pixels(client: TestClient) -> None:
    """Of the very array that the protocol gives in numbers for the picture that the model saw."""
    [prediction] = served(client, LIGHT)
    told = pixels_of(prediction["outputs"]["negative"])
    entry = {"name": "image", "datatype": "UINT8", "shape": [1, 2, 2], "data": (255 - told).ravel().tolist()}
    answer = client.post("/v2/models/negative/infer", json={"inputs": [entry], "outputs": [{"name": "negative"}]})

    assert answer.json()["outputs"][0]["data"] == told.ravel().tolist()
    assert told.max() > told.min()


@pytest.mark.parametrize("query", ["", "?top=1"])
def test_boolean_output_with_the_name_of_a_warning_warns(client: TestClient, query: str) -> None:
    """Whichever way the request goes, and only of the pictures that it is true of."""
    light, dim = (seen(client, pixels) for pixels in (LIGHT, DIM))
    warned = [
        [notice for notice in prediction["warnings"] if notice["code"] == "unlike_training_data"]
        for prediction in served(client, LIGHT, DIM, np.zeros((2, 2), np.uint8), query=query)
    ]
    notice = {"code": "unlike_training_data", "message": SENTENCES["unlike_training_data"]}

    assert warned == [[notice] if pixels.max() < 100 else [] for pixels in (light, dim, np.zeros(1))]
    assert warned[0] == []
    assert warned[2] == [notice]


def test_warning_comes_after_what_the_service_saw_and_before_its_doubt(client: TestClient) -> None:
    [prediction] = served(client, np.zeros((2, 2), np.uint8))

    assert [notice["code"] for notice in prediction["warnings"]] == ["blank", "unlike_training_data"]
    assert "unlike_training_data" not in prediction["outputs"]


def refusal(folder: Path) -> str:
    with TestClient(create_app(Settings(artifacts=folder))) as client:
        [refused] = client.get("/models").json()["refused"]
    return str(refused["reason"])


def test_warning_that_is_no_boolean_is_refused(tmp_path: Path) -> None:
    write_negative(tmp_path, unlike=TensorProto.INT64)

    assert refusal(tmp_path) == (
        "its card says unlike_training_data is tensor(bool) ['batch'], its graph says tensor(int64) ['batch']"
    )


def test_pictures_may_differ_by_a_level_from_the_golden_ones_and_no_more(tmp_path: Path) -> None:
    """255 and 254 are one level apart; in uint8, 0 - 255 would be 1."""
    write_negative(tmp_path / "one", off_by=1)
    write_negative(tmp_path / "two", off_by=2)
    write_negative(tmp_path / "all", off_by=255)

    with TestClient(create_app(Settings(artifacts=tmp_path / "one"))) as client:
        assert client.get("/health/ready").json() == {"ready": True, "models": 1}
    for folder in ("two", "all"):
        assert "its golden rows give negative that differ from PyTorch's by" in refusal(tmp_path / folder)
