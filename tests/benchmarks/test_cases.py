"""Requests carry what they say, and answers are judged by the model itself."""

import json

import numpy as np
import pytest

from app.card import ImageInput
from app.geometry import has_geometry
from benchmarks.cases import (
    CASES,
    CONTRACT,
    HEADER_LENGTH,
    Message,
    digits,
    fault,
    message,
    predicted,
    probabilities_in,
    questions,
    rows,
)

EXPECTED = np.array([[0.25, 0.75]], np.float32)


def test_raw_bytes_of_a_message() -> None:
    assert Message("/predict", {"Content-Type": "image/png"}, b"abc").raw(80) == (
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:80\r\nContent-Type: image/png\r\nContent-Length: 3\r\n\r\nabc"
    )


def test_pictures_are_ten_different_ones_that_preparation_leaves_alone() -> None:
    assert ImageInput.model_validate(CONTRACT.model_dump()) == CONTRACT
    assert len({picture.tobytes() for picture in digits()}) == 10
    assert all(has_geometry(picture, CONTRACT) for picture in digits())
    assert len(set(predicted(digits()).argmax(1).tolist())) >= 5


def test_binary_header_length_is_that_of_the_json() -> None:
    batch = rows(3)
    sent = message("binary", "/", batch)
    length = int(sent.headers[HEADER_LENGTH])
    [tensor] = json.loads(sent.body[:length])["inputs"]

    assert tensor["shape"] == [3, 28, 28]
    assert tensor["parameters"] == {"binary_data_size": 3 * 784}
    assert sent.body[length:] == batch.tobytes()


@pytest.mark.parametrize("key", [key for key in CASES if key != "photo"])
def test_every_case_has_different_requests_with_their_answers(key: str) -> None:
    asked = questions(CASES[key], "/")

    assert len({question.message.body for question in asked}) == len(asked) > 1
    assert all(question.expected is not None and len(question.expected) == CASES[key].rows for question in asked)


def test_answers_are_read_in_every_form() -> None:
    prediction = {"label": "1", "probabilities": [0.25, 0.75]}
    tensor = {"name": "probabilities", "shape": [1, 2], "datatype": "FP32"}
    head = json.dumps({"outputs": [tensor | {"parameters": {"binary_data_size": 8}}]}).encode()
    forms = [
        (json.dumps(prediction).encode(), None),
        (json.dumps({"predictions": [prediction]}).encode(), None),
        (json.dumps({"outputs": [tensor | {"data": [0.25, 0.75]}]}).encode(), None),
        (head + EXPECTED.tobytes(), str(len(head))),
    ]

    for body, header_length in forms:
        assert probabilities_in(body, header_length).tolist() == EXPECTED.tolist()


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ({"label": "1", "probabilities": [0.25, 0.75]}, None),
        ({"label": "1", "probabilities": [0.2502, 0.7498]}, "probabilities differ by 0.0002"),
        ({"label": "0", "probabilities": [0.25, 0.75]}, "cannot be read: ValueError: a label is not that"),
        ({"label": "0", "probabilities": [0.75, 0.25]}, "another label than the model gives"),
        ({"label": "2", "probabilities": [0.1, 0.2, 0.7]}, "shape (1, 3) instead of (1, 2)"),
        ({"detail": "no"}, "cannot be read: KeyError"),
    ],
)
def test_fault(answer: dict[str, object], wrong: str | None) -> None:
    found = fault(json.dumps(answer).encode(), None, EXPECTED)

    assert (found or "").startswith(wrong or "") and (found is None) == (wrong is None)
