"""Rows and texts out of JSON: exact values, and every fault named by row and number."""

import json
from typing import Any

import numpy as np
import pytest

from app.card import Card, Feature, RowsInput, TextInput
from app.errors import ContentTooLarge, InvalidRequest
from app.rows import read_batch, require_few_and_short, require_finite
from tests.onnx_models import brightness_card

ROWS: Card = brightness_card(input=RowsInput(features=[Feature(name="height", unit="cm"), Feature(name="weight")]))
TEXTS: Card = brightness_card(input=TextInput(language="English", example="A sentence."))


def read(document: Any, card: Card = ROWS, most: int = 3) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_batch(body, card, most)


def test_rows_become_float32_in_order() -> None:
    batch = read({"rows": [[1, 2.5], [-3, 0.1]]})

    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, np.array([[1, 2.5], [-3, 0.1]], np.float32))


def test_texts_stay_as_they_are() -> None:
    batch = read({"texts": ["", "Grüße ☃"]}, TEXTS)

    assert batch.dtype == object
    assert batch.tolist() == ["", "Grüße ☃"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"{", "the body is not valid JSON"),
        (b"", "the body is not valid JSON"),
        ({}, r"the body has no member; model 'brightness' takes rows of 2 numbers \(height, weight\)"),
        ({"rows": [[1, 2]], "more": 1}, 'the body has the members "rows", "more"; model \'brightness\' takes rows'),
        ({"texts": ["a"]}, "the body has the members \"texts\"; model 'brightness' takes rows"),
        ([[1, 2]], r"the body has \[\[1,2\]\]; model 'brightness' takes rows"),
        ({"rows": []}, r"rows is \[\]; allowed is a list with at least one entry"),
        ({"rows": {"a": 1}}, r'rows is \{"a":1\}; allowed is a list'),
        ({"rows": [1, 2]}, "row 1 has 1; allowed are 2: height, weight"),
        ({"rows": [[1, 2], [1]]}, "row 2 has 1 value; allowed are 2: height, weight"),
        ({"rows": [[1, 2, 3]]}, "row 1 has 3 values; allowed are 2"),
        ({"rows": [[1, "2"]]}, 'row 1: weight is "2"; allowed is a finite number'),
        ({"rows": [[None, 2]]}, "row 1: height is null; allowed is a finite number"),
        ({"rows": [[True, 2]]}, "row 1: height is true; allowed is a finite number"),
        ({"rows": [[[1], 2]]}, r"row 1: height is \[1\]; allowed is a finite number"),
        (b'{"rows": [[1, NaN]]}', "the body is not valid JSON"),
        ({"rows": [[1, 1e39]]}, r"a number is too large; allowed is up to 3\.4e\+38"),
        (b'{"rows": [[1, 1%s]]}' % (b"0" * 400), r"row 1: weight is null; allowed is a finite number|not valid JSON"),
    ],
)
def test_fault_is_named(document: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read(document)


def test_whole_numbers_of_any_size_are_numbers() -> None:
    assert read({"rows": [[2**63, -(2**63)]]}).tolist() == [[2.0**63, -(2.0**63)]]


@pytest.mark.parametrize("texts", [[1], ["a", None], [["a"]]])
def test_what_is_no_text_is_named(texts: list[Any]) -> None:
    with pytest.raises(InvalidRequest, match=rf"text {len(texts)} is .*; allowed is a string"):
        read({"texts": texts}, TEXTS)


def test_too_many_are_refused() -> None:
    with pytest.raises(ContentTooLarge, match=r"rows has 4 entries; at most 3 are allowed \(PERCEPT_MAX_ROWS\)"):
        read({"rows": [[1, 2]] * 4})


def test_text_that_is_too_long_is_refused() -> None:
    texts = {"text": np.array([["a" * 5, "☃" * 6]], object), "numbers": np.zeros(1_000)}
    require_few_and_short(texts, 2, 6)

    with pytest.raises(ContentTooLarge, match=r"text 2 has 6 characters; at most 5 .* \(PERCEPT_MAX_CHARACTERS\)"):
        require_few_and_short(texts, 2, 5)
    with pytest.raises(ContentTooLarge, match=r"text has 2 texts; at most 1 are allowed \(PERCEPT_MAX_ROWS\)"):
        require_few_and_short(texts, 1, 6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_row_whose_answer_is_no_number_is_named(wrong: float) -> None:
    margins = np.array([[0.5, 1], [2, wrong], [wrong, 3]], np.float32)
    require_finite({"margins": margins[:1], "index": np.array([1, 0]), "words": np.array(["a", "b"], object)})

    with pytest.raises(InvalidRequest, match="row 2 has numbers too large for this model: its margins would be no fin"):
        require_finite({"index": np.array([1, 0, 1]), "margins": margins})


def test_long_values_are_not_quoted_whole() -> None:
    with pytest.raises(InvalidRequest) as error:
        read({"rows": [["x" * 1_000, 2]]})

    assert len(error.value.detail) < 120


def test_names_of_members_are_not_told_whole_and_not_all() -> None:
    with pytest.raises(InvalidRequest) as error:
        read({"x" * 1_000: 1, "y": 2, "z": 3, "rows": [[1, 2]]})

    assert error.value.detail.startswith('the body has the members "' + "x" * 39 + '…, "y", "z", …; model')


@pytest.mark.parametrize(("document", "card"), [({"rows": [[1, None]]}, ROWS), ({"texts": [None]}, TEXTS)])
@pytest.mark.parametrize("depth", [200, 300, 1_000])
def test_lists_in_lists_are_refused_however_deep(document: Any, card: Card, depth: int) -> None:
    """orjson reads deeper ones than it writes."""
    body = json.dumps(document).replace("null", "[" * depth + "]" * depth).encode()

    with pytest.raises(InvalidRequest, match=r"is \[{40}…; allowed|not valid JSON"):
        read(body, card)


CELL: Card = brightness_card(input=RowsInput(features=[Feature(name="cell", choices=16), Feature(name="speed")]))


def test_every_choice_is_taken() -> None:
    assert read({"rows": [[cell, 0.5] for cell in range(16)]}, CELL, most=16)[:, 0].tolist() == list(range(16))


@pytest.mark.parametrize("value", [-1, 16, 99, 0.5])
def test_value_that_is_no_choice_is_refused(value: float) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read({"rows": [[3, 16], [value, 0]]}, CELL)

    assert refusal.value.detail == f"row 2: cell is {value}; allowed is a whole number from 0 to 15"
