"""POST /predict/{model}: pictures in, predictions out; what is wrong is told and never a 500."""

import io
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.app.test_images import bomb, drawn_l, encode
from tests.conftest import SAMPLES
from tests.problems import assert_problem

SEVEN, TWO, BOOT = ((SAMPLES / name).read_bytes() for name in ("seven.png", "two.png", "ankle-boot.png"))
PAPER = (SAMPLES / "three-on-paper.jpg").read_bytes()


def files(*contents: bytes, field: str = "file") -> dict[str, Any]:
    return {"files": [(field, ("picture.png", content, "image/png")) for content in contents]}


def test_digit_is_recognised(client: TestClient) -> None:
    answer = client.post("/predict/digits", **files(SEVEN))
    [prediction] = answer.json()["predictions"]

    assert answer.status_code == 200
    assert (prediction["label"], prediction["index"], prediction["warnings"]) == ("7", 7, [])
    assert prediction["probability"] == max(prediction["probabilities"]) > 0.99
    assert sum(prediction["probabilities"]) == pytest.approx(1, abs=1e-6)


def test_garment_is_recognised(client: TestClient) -> None:
    [prediction] = client.post("/predict/clothing", **files(BOOT)).json()["predictions"]

    assert (prediction["label"], prediction["index"]) == ("Ankle boot", 9)


def test_raw_body_gives_the_same_answer_as_a_form(client: TestClient) -> None:
    raw = client.post("/predict/mnist-cnn", content=SEVEN, headers={"Content-Type": "image/png"})

    assert raw.json() == client.post("/predict/mnist-cnn", **files(SEVEN)).json()


def test_answers_come_in_the_order_of_the_files(client: TestClient) -> None:
    answers = client.post("/predict/digits", **files(SEVEN, PAPER, TWO)).json()["predictions"]

    assert [answer["label"] for answer in answers] == ["7", "3", "2"]


def test_a_picture_in_company_gets_the_answer_it_gets_alone(client: TestClient) -> None:
    together = client.post("/predict/mnist-cnn", **files(SEVEN, TWO, PAPER)).json()["predictions"][0]
    alone = client.post("/predict/mnist-cnn", **files(SEVEN)).json()["predictions"][0]

    np.testing.assert_allclose(together["probabilities"], alone["probabilities"], atol=1e-6)


def test_ink_on_paper_is_noted(client: TestClient) -> None:
    [prediction] = client.post("/predict/digits", **files(PAPER)).json()["predictions"]

    assert prediction["label"] == "3"
    assert prediction["warnings"] == [
        {
            "code": "inverted",
            "message": "The ink was darker than the background; the picture was turned into light ink on dark.",
        }
    ]


def test_doubt_is_told(client: TestClient) -> None:
    blank = files(encode(np.zeros((28, 28), np.uint8)))
    [prediction] = client.post("/predict/mnist-cnn", **blank).json()["predictions"]

    assert [warning["code"] for warning in prediction["warnings"]] == ["blank", "low_confidence"]


def test_top_tells_the_best_classes_in_order(client: TestClient) -> None:
    [prediction] = client.post("/predict/digits?top=3", **files(TWO)).json()["predictions"]

    assert "probabilities" not in prediction
    assert prediction["alternatives"][0]["index"] == 2
    probabilities = [best["probability"] for best in prediction["alternatives"]]
    assert len(probabilities) == 3
    assert probabilities == sorted(probabilities, reverse=True)


def test_another_model_answers_if_asked(client: TestClient) -> None:
    assert client.post("/predict/digits?model=mnist-dnn&version=1", **files(TWO)).json()["model"] == "mnist-dnn"


def test_stages_are_timed(client: TestClient) -> None:
    timing = client.post("/predict/digits", **files(TWO)).headers["server-timing"]

    assert [stage.split(";dur=")[0] for stage in timing.split(", ")] == ["decode", "queue", "inference"]


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        ({"content": b"", "headers": {"Content-Type": "image/png"}}, 422, "the file is empty"),
        ({"content": b""}, 415, "content type '' is not read here"),
        (files(b"just a text"), 422, "the file is not an image that can be decoded: PNG, JPEG, WebP, GIF, BMP, TIFF"),
        (files(SEVEN, b"just a text", TWO), 422, "file 2 of 3 is not an image that can be decoded"),
        (files(encode(drawn_l(), "JPEG")[:-400]), 422, "the file is damaged or truncated"),
        (
            files(bomb(60_000)),
            413,
            "the file has 60000 × 60000 pixels; 64,000,000 are left of those a request may have",
        ),
        (files(bomb(8_001)), 413, "the file has 8001 × 8001 pixels; 64,000,000 are left of those a request may have"),
        (
            files(encode(np.zeros((7_000, 7_000), np.uint8)), bomb(7_000)),
            413,
            "file 2 of 2 has 7000 × 7000 pixels; 15",
        ),
        (files(b"x" * 21_000_000), 413, "at most 20,000,000 bytes are allowed (PERCEPT_MAX_BODY_BYTES)"),
        (files(SEVEN, field="image"), 422, "the form has a field 'image' that is not read here"),
        ({"data": {"comment": "no file"}}, 415, "content type 'application/x-www-form-urlencoded'"),
        (files(*[SEVEN] * 300), 413, "more than 64 files; at most 64 are allowed (PERCEPT_MAX_FILES)"),
        ({"json": {"rows": [[0]]}}, 415, "model 'mnist-cnn' takes pictures: send multipart/form-data"),
    ],
    ids=[
        "empty body",
        "no content type",
        "text renamed .png",
        "one bad file of three",
        "truncated JPEG",
        "decompression bomb",
        "just too many pixels",
        "too many pixels together",
        "21 MB",
        "wrong field",
        "form without multipart",
        "300 files",
        "JSON",
    ],
)
def test_bad_body_is_told(client: TestClient, request_: dict[str, Any], status: int, detail: str) -> None:
    assert detail in assert_problem(client.post("/predict/mnist-cnn", **request_), status)


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/predict/letters", 404, "there is no model 'letters'; there are: clothing, digits, blobs-svm"),
        ("/predict/digits?version=7", 404, "has no version 7; there are: 1"),
        ("/predict/digits?model=letters", 404, "there is no model 'letters'"),
        ("/predict/digits?model=fashion-cnn", 422, "'fashion-cnn' does not answer what 'digits' answers"),
        ("/predict/digits?top=0", 422, "query top: Input should be greater than or equal to 1 (got '0')"),
        ("/predict/digits?version=one", 422, "query version: Input should be a valid integer"),
    ],
)
def test_bad_address_is_told(client: TestClient, path: str, status: int, detail: str) -> None:
    assert detail in assert_problem(client.post(path, **files(SEVEN)), status)


def test_unknown_model_is_told_whatever_the_body_is(client: TestClient) -> None:
    for request_ in ({}, {"json": {}}, {"content": b"x" * 21_000_000}):
        assert "there is no model 'letters'" in assert_problem(client.post("/predict/letters", **request_), 404)


def test_wrong_method_is_told(client: TestClient) -> None:
    answer = client.get("/predict/digits")

    assert "allowed: POST" in assert_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_sixty_four_files_are_answered(client: TestClient) -> None:
    answers = client.post("/predict/mnist-dnn", **files(*[SEVEN, TWO] * 32)).json()["predictions"]

    assert [answer["label"] for answer in answers] == ["7", "2"] * 32


def test_every_pillow_failure_is_the_callers(client: TestClient) -> None:
    """Each byte of a PNG's first hundred broken in turn: an answer or a 4xx, never a 500."""
    statuses = set()
    for place in range(0, 100):
        broken = bytearray(TWO)
        broken[place] ^= 0xFF
        statuses.add(client.post("/predict/mnist-dnn", **files(bytes(broken))).status_code)

    assert statuses <= {200, 413, 422}
    assert 422 in statuses


def test_large_pictures_of_every_format_are_answered(client: TestClient) -> None:
    for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        file = io.BytesIO()
        Image.open(io.BytesIO(PAPER)).resize((900, 1_200)).save(file, format)
        [prediction] = client.post("/predict/digits", **files(file.getvalue())).json()["predictions"]

        assert prediction["label"] == "3", format
