"""/convolution over HTTP: matrices, pictures in every way, the picture that comes back, and what is refused."""

import io
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from torch import tensor
from torch.nn import functional

from app.images import decode, open_limited
from app.ink import reduced
from tests.conftest import SAMPLES
from tests.problems import assert_problem

URL = "/convolution"
SEVEN = (SAMPLES / "seven.png").read_bytes()
PAPER = (SAMPLES / "three-on-paper.jpg").read_bytes()
COURSE = {"matrix": [[1, 2, 5], [3, 4, 7], [6, 8, 9]], "kernel": [[1, 0], [0, -1]], "pooling": {"kind": "max"}}


def grays(png: bytes) -> Any:
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.mode) == ("PNG", "L")
    return np.asarray(image)


def encoded(pixels: Any, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, kind)
    return file.getvalue()


def test_matrix_is_answered_with_every_stage(client: TestClient) -> None:
    answer = client.post(URL, json=COURSE)
    told = answer.json()

    assert answer.status_code == 200
    assert told["input"]["values"] == COURSE["matrix"]
    assert told["convolution"]["values"] == [[-3, -5], [-5, -5]]
    assert told["pooling"] | {"kind": ""} == {
        **{"shape": [1, 1], "least": -3, "greatest": -3, "values": [[-3]]},
        **{"kind": "", "size": 2, "stride": 2, "winners": [[[0, 0]]]},
    }
    assert (answer.headers["content-type"], answer.headers["vary"]) == ("application/json", "Accept")
    assert "inference" in answer.headers["server-timing"]


def test_picture_is_its_grays_under_the_kernel(client: TestClient) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(SEVEN)))
    query = {"kernel": "mnist-cnn/3", "stride": 2, "padding": 1, "pool": "average", "pool_size": 3, "pool_stride": 1}
    told = client.post(URL, params=query, content=SEVEN, headers={"Content-Type": "image/png"}).json()
    weights = tensor(told["convolution"]["kernel"]["values"]).double()[None, None]
    convolved = functional.conv2d(tensor(pixels).double()[None, None], weights, stride=2, padding=1)
    pooled = functional.avg_pool2d(convolved, 3, 1)

    assert told["input"]["values"] == pixels.tolist()
    assert np.abs(np.array(told["convolution"]["values"]) - convolved[0, 0].numpy()).max() <= 1e-12 * 255
    assert np.abs(np.array(told["pooling"]["values"]) - pooled[0, 0].numpy()).max() <= 1e-12 * 255


def test_form_and_bytes_are_answered_alike(client: TestClient) -> None:
    query = {"kernel": "[[0, 1], [-1, 0]]", "padding": "same"}
    one = client.post(URL, params=query, files={"file": SEVEN})
    other = client.post(URL, params=query, content=SEVEN, headers={"Content-Type": "image/png"})

    assert one.status_code == 200
    assert one.json() == other.json()
    assert one.json()["convolution"]["padding"] == {"top": 0, "bottom": 1, "left": 0, "right": 1}


def test_large_picture_is_reduced_and_small_one_is_not(client: TestClient) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 100))
    small = client.post(URL, params={"pool": "max"}, files={"file": encoded(pixels[:256])}).json()
    large = client.post(URL, params={"pool": "max"}, files={"file": encoded(pixels)}).json()
    paper = client.post(URL, params={"pool": "max"}, files={"file": PAPER}).json()

    assert small["input"]["values"] == pixels[:256].tolist()
    assert large["input"]["shape"] == [256, 85]
    assert max(paper["input"]["shape"]) == 256
    assert paper["input"]["values"] == reduced(decode(open_limited(PAPER, 10**8)), 256).tolist()


def test_reducing_takes_means_over_areas() -> None:
    assert reduced(np.array([[0, 100], [20, 40]] * 2, np.uint8), 2).tolist() == [[40], [40]]
    assert reduced(np.zeros((1, 700), np.uint8), 256).shape == (1, 256)


def test_last_stage_is_the_picture_that_is_asked_for(client: TestClient) -> None:
    query = {"kernel": "sobel-x", "padding": "same", "pool": "max"}
    told = client.post(URL, params=query, files={"file": PAPER}).json()["pooling"]
    answer = client.post(URL, params=query, files={"file": PAPER}, headers={"Accept": "image/png"})
    values = np.array(told["values"])
    shades = np.rint((values - values.min()) / (values.max() - values.min()) * 255)

    assert (answer.headers["content-type"], answer.headers["vary"]) == ("image/png", "Accept")
    assert np.array_equal(grays(answer.content), shades)


def test_matrix_is_drawn_too(client: TestClient) -> None:
    answer = client.post(URL, json=COURSE | {"pooling": {"kind": "max", "size": 1}}, headers={"Accept": "image/png"})

    assert grays(answer.content).tolist() == [[255, 0], [0, 0]]


@pytest.mark.parametrize("accept", ["*/*", "", "application/json, image/png", "image/webp"])
def test_numbers_come_to_who_does_not_ask_for_a_picture(client: TestClient, accept: str) -> None:
    assert client.post(URL, json=COURSE, headers={"Accept": accept}).headers["content-type"] == "application/json"


PNG = {"Content-Type": "image/png"}
SHARP = {"kernel": "sharpen"}


@pytest.mark.parametrize(
    ("query", "request_", "status", "detail"),
    [
        ({}, {"content": b"{"}, 415, "content type '' is not read here: send a matrix as application/json, or a pict"),
        ({}, {"json": {"matrix": [[1]]}}, 422, "there is neither a kernel nor pooling"),
        (SHARP, {"json": COURSE}, 422, "kernel is in the address; with JSON it is a member of the body"),
        ({"pool_size": 2}, {"json": COURSE}, 422, "pool_size is in the address; with JSON it is a member"),
        ({}, {"content": SEVEN, "headers": PNG}, 422, "there is neither a kernel nor pooling"),
        ({"kernel": "[[1, 2"}, {"content": SEVEN, "headers": PNG}, 422, "kernel begins as rows and is not valid JSON"),
        ({"kernel": "[1, 2]"}, {"content": SEVEN, "headers": PNG}, 422, "kernel is [1,2]; allowed is a list of rows"),
        ({"kernel": "sobel"}, {"content": SEVEN, "headers": PNG}, 422, 'there is no kernel "sobel"; there are: ident'),
        (SHARP | {"padding": "-1"}, {"content": SEVEN, "headers": PNG}, 422, 'padding is "-1"; allowed is a whole'),
        (
            SHARP | {"padding": "9" * 99},
            {"content": SEVEN, "headers": PNG},
            422,
            "allowed is a whole number of 0 to 16",
        ),
        (SHARP | {"padding": "²"}, {"content": SEVEN, "headers": PNG}, 422, 'padding is "²"; allowed is a whole'),
        (SHARP | {"stride": "1.5"}, {"content": SEVEN, "headers": PNG}, 422, "query stride: Input should be a valid"),
        (SHARP | {"stride": 0}, {"content": SEVEN, "headers": PNG}, 422, "stride is 0; allowed is a whole number of 1"),
        ({"pool": "median"}, {"content": SEVEN, "headers": PNG}, 422, 'the kind of pooling is "median"; allowed is "m'),
        (
            SHARP | {"pool_size": 2},
            {"content": SEVEN, "headers": PNG},
            422,
            "there is a pool_size or a pool_stride and",
        ),
        (SHARP, {"content": b"text", "headers": PNG}, 422, "the file is not an image that can be decoded: PNG, JPEG"),
        (SHARP, {"content": PAPER[:5_000], "headers": PNG}, 422, "the file is damaged or truncated"),
        (SHARP, {"content": b"", "headers": PNG}, 422, "the file is empty"),
        (SHARP, {"files": [("file", SEVEN)] * 2}, 422, "the form has 2 files; allowed is one"),
        (SHARP, {"files": {"picture": SEVEN}}, 422, "the form has a field 'picture' that is not read here"),
        ({"pool": "max", "pool_size": 8}, {"content": encoded([[1] * 7]), "headers": PNG}, 422, "window has 8 × 8"),
        (SHARP, {"content": b"x" * 21_000_000, "headers": PNG}, 413, "the body has 21,000,000 bytes"),
        (
            {},
            {"content": b" " * 2_000_001, "headers": {"Content-Type": "application/json"}},
            413,
            "at most 2,000,000 bytes are read of a matrix",
        ),
        ({}, {"json": COURSE, "headers": {"X-Request-Timeout-Ms": "0"}}, 422, "X-Request-Timeout-Ms is '0'"),
    ],
)
def test_what_is_wrong_is_told(
    client: TestClient, query: dict[str, Any], request_: dict[str, Any], status: int, detail: str
) -> None:
    assert detail in assert_problem(client.post(URL, params=query, **request_), status)


def test_too_many_pixels_are_refused_before_they_are_decoded(client: TestClient) -> None:
    file = io.BytesIO()
    Image.new("1", (9_000, 8_000)).save(file, "PNG")
    answer = client.post(URL, params=SHARP, content=file.getvalue(), headers=PNG)

    assert "the file has 9000 × 8000 pixels; 64,000,000 are left" in assert_problem(answer, 413)


def test_all_methods_of_the_address_are_named_to_who_uses_another(client: TestClient) -> None:
    answer = client.put(URL, json=COURSE)

    assert "PUT /convolution is not allowed; allowed: GET, POST" in assert_problem(answer, 405)
    assert answer.headers["allow"] == "GET, POST"


def test_is_counted_by_a_name_that_no_model_has(client: TestClient) -> None:
    client.post(URL, json=COURSE)

    assert 'model="lab/convolution"' in client.get("/metrics").text
