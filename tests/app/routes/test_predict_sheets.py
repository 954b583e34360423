"""?many=true and ?as_seen=true: each object with its place, and what the model saw."""

import io
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app import images
from app.card import ImageInput
from tests.app.routes.test_predict_pictures import pixels_of
from tests.app.test_images import encode
from tests.app.test_objects import bounds, sheet
from tests.conftest import SAMPLES
from tests.photographs import drawn
from tests.problems import assert_problem

DIGIT = ImageInput(height=28, width=28, box=20, centre="mass")
SEVEN, BOOT = ((SAMPLES / name).read_bytes() for name in ("seven.png", "ankle-boot.png"))
PLACES = [(3, 10, 10), (1, 18, 110), (4, 5, 200), (7, 190, 20), (5, 180, 120)]
SHEET = sheet(*PLACES)


def asked(client: TestClient, *files: bytes, query: str = "many=true") -> list[dict[str, Any]]:
    answer = client.post(f"/predict/digits?{query}", files=[("file", file) for file in files])
    assert answer.status_code == 200, answer.text
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


def codes(prediction: dict[str, Any]) -> list[str]:
    return [warning["code"] for warning in prediction["warnings"]]


def test_every_digit_is_read_with_its_place(client: TestClient) -> None:
    [prediction] = asked(client, encode(255 - SHEET))
    boxes = [[left, top, right, bottom] for top, bottom, left, right in [bounds(sheet(place)) for place in PLACES]]

    assert [found["label"] for found in prediction["objects"]] == ["3", "1", "4", "7", "5"]
    assert [found["box"] for found in prediction["objects"]] == boxes
    assert all(found["probability"] > 0.7 for found in prediction["objects"])
    assert codes(prediction) == ["inverted", "several_objects"]


def test_pictures_own_answer_is_that_of_the_best_object_and_of_a_request_without(client: TestClient) -> None:
    file = encode(SHEET)
    [alone], [prediction] = asked(client, file, query="version=1"), asked(client, file)
    objects = prediction.pop("objects")

    assert prediction.pop("probabilities") == pytest.approx(alone.pop("probabilities"), abs=1e-6)
    assert prediction.pop("probability") == pytest.approx(alone.pop("probability"), abs=1e-6)
    assert prediction == alone
    assert prediction["label"] in [found["label"] for found in objects]


def test_objects_are_answered_as_they_are_alone(client: TestClient) -> None:
    """Each cut out with its surroundings gets the probabilities that it gets on the sheet."""
    [prediction] = asked(client, encode(SHEET))
    for found, place in zip(prediction["objects"], PLACES, strict=True):
        [alone] = asked(client, encode(sheet(place)), query="version=1")
        assert found["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-3)


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_boxes_are_in_the_pixels_of_the_upright_upload(client: TestClient, orientation: int) -> None:
    """Of a photograph that is decoded at a fraction of its size, and turned."""
    upright = np.asarray(Image.fromarray(255 - sheet(*PLACES[:3], size=(200, 300))).resize((2_400, 1_600)))
    turned = {1: upright, 6: np.rot90(upright, 1), 8: np.rot90(upright, -1)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    [prediction] = asked(client, encode(np.ascontiguousarray(turned), "JPEG", exif=exif))

    assert [found["label"] for found in prediction["objects"]] == ["3", "1", "4"]
    for found, place in zip(prediction["objects"], PLACES, strict=False):
        top, bottom, left, right = bounds(sheet(place))
        assert np.abs(np.array(found["box"]) - 8 * np.array([left, top, right, bottom])).max() <= 16


def test_pictures_are_answered_each_with_its_own_objects(client: TestClient) -> None:
    blank, one = np.full((60, 60), 255, np.uint8), sheet(PLACES[0])
    answers = asked(client, encode(SHEET), encode(blank), SEVEN, encode(one))

    assert [len(answer["objects"]) for answer in answers] == [5, 0, 1, 1]
    assert codes(answers[1])[0] == "blank"
    assert [answer["label"] for answer in answers[2:]] == ["7", "3"]
    assert "several_objects" not in codes(answers[2]) + codes(answers[3])


def test_picture_with_the_models_geometry_is_one_object(client: TestClient) -> None:
    """Whatever is on it: it passes unchanged."""
    image = np.asarray(Image.open(io.BytesIO(SEVEN)))
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    [prediction] = asked(client, SEVEN)
    [found] = prediction["objects"]

    assert found["box"] == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_only_the_most_probable_classes_are_told_of_objects_too(client: TestClient) -> None:
    [prediction] = asked(client, encode(SHEET), query="many=true&top=2")

    for found in (prediction, *prediction["objects"]):
        assert len(found["alternatives"]) == 2
        assert "probabilities" not in found


@pytest.mark.parametrize("path", ["/predict/digits?as_seen=true", "/predict/fashion-cnn?as_seen=true"])
def test_what_the_model_saw_is_told(client: TestClient, path: str) -> None:
    levels = drawn(5, 200)
    [prediction] = client.post(path, files={"file": encode(levels)}).json()["predictions"]
    contract = DIGIT if "digits" in path else ImageInput(height=28, width=28, box=28, centre="box")

    np.testing.assert_array_equal(pixels_of(prediction["as_seen"]), images.fit(levels, contract).pixels)
    assert "objects" not in prediction


def test_what_the_model_saw_is_told_of_each_object(client: TestClient) -> None:
    [prediction] = asked(client, encode(SHEET), query="many=true&as_seen=true")
    seen = [each.pixels for each in images.fit_all(SHEET, DIGIT).objects]

    for found, pixels in zip(prediction["objects"], seen, strict=True):
        np.testing.assert_array_equal(pixels_of(found["as_seen"]), pixels)
    assert prediction["as_seen"] in [found["as_seen"] for found in prediction["objects"]]


def test_nothing_of_it_is_told_unless_asked_for(client: TestClient) -> None:
    for query in ("many=false&as_seen=false", "top=3", ""):
        assert not {"objects", "as_seen"} & asked(client, SEVEN, query=query)[0].keys()


@pytest.mark.parametrize(
    ("path", "request_", "status", "detail"),
    [
        (
            "/predict/iris-mlp?many=true",
            {"json": {"rows": [[5.1, 3.5, 1.4, 0.2]]}},
            422,
            "query many: is of pictures; model 'iris-mlp' takes rows of 4 numbers",
        ),
        (
            "/predict/news-mlp?as_seen=true",
            {"json": {"texts": ["a"]}},
            422,
            "query as_seen: is of pictures; model 'news-mlp' takes texts",
        ),
        (
            "/predict/fashion-cnn?many=true",
            {"files": {"file": BOOT}},
            422,
            "query many: model 'fashion-cnn' takes a whole picture for one thing",
        ),
        (
            "/predict/digits?many=true",
            {"files": [("file", SEVEN)] * 9},
            413,
            "the request has 9 files; with many=true at most 8 are allowed",
        ),
        (
            "/predict/digits?many=perhaps",
            {"files": {"file": SEVEN}},
            422,
            "query many: Input should be a valid boolean",
        ),
    ],
    ids=["rows", "texts", "a garment", "nine files", "no boolean"],
)
def test_what_cannot_be_told_is_refused(
    client: TestClient, path: str, request_: dict[str, Any], status: int, detail: str
) -> None:
    assert detail in assert_problem(client.post(path, **request_), status)
