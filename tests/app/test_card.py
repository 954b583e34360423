"""The card and the golden rows survive the trip through ONNX metadata, and what is damaged says where."""

import json

import numpy as np
import pytest

from app.card import (
    CARD_KEY,
    GOLDEN_KEY,
    Feature,
    Golden,
    ImageInput,
    RowsInput,
    Tensor,
    TextInput,
    read_card,
    read_golden,
    write_metadata,
)
from tests.onnx_models import GOLDEN, brightness_card


def test_card_and_golden_rows_come_back_as_they_were_written() -> None:
    metadata = write_metadata(brightness_card(), GOLDEN)

    assert read_card(metadata) == brightness_card()
    assert read_golden(metadata) == GOLDEN


def test_metadata_of_somebody_else_has_no_card() -> None:
    assert read_card({"author": "somebody"}) is None
    assert read_golden({}) is None


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_tensor_keeps_every_bit(dtype: str) -> None:
    array = np.array([[0, 1, 2], [3, 250, 255]]).astype(dtype)

    restored = Tensor.of(array).array()

    assert restored.dtype == array.dtype
    np.testing.assert_array_equal(restored, array)


def test_tensor_that_does_not_fill_its_shape_is_refused() -> None:
    tensor = Tensor.of(np.zeros(4, np.float32)).model_copy(update={"shape": [5]})

    with pytest.raises(ValueError, match="cannot reshape array of size 4"):
        tensor.array()


def test_missing_member_is_named() -> None:
    card = json.loads(write_metadata(brightness_card(), GOLDEN)[CARD_KEY])
    del card["labels"]

    with pytest.raises(ValueError, match=r"'percept\.card': labels: Field required"):
        read_card({CARD_KEY: json.dumps(card)})


def test_unknown_member_is_named() -> None:
    card = json.loads(write_metadata(brightness_card(), GOLDEN)[CARD_KEY]) | {"lables": []}

    with pytest.raises(ValueError, match="lables: Extra inputs are not permitted"):
        read_card({CARD_KEY: json.dumps(card)})


def test_golden_rows_that_are_no_json_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'percept\.golden': the whole text: Invalid JSON"):
        read_golden({GOLDEN_KEY: "{"})


def test_box_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="a box of 29 does not fit into 28 × 28"):
        ImageInput(height=28, width=28, box=29, centre="box")


def test_golden_rows_hold_no_objects() -> None:
    with pytest.raises(ValueError, match="Input should be 'bool', 'uint8', 'int64', 'float32' or 'string'"):
        Golden.model_validate(
            {"inputs": {"x": {"dtype": "object", "shape": [1], "data": ""}}, "outputs": {}, "tolerance": {}}
        )


@pytest.mark.parametrize(
    ("word", "why"), [("[a-z", "is no regular expression"), ("[a-z]*", "finds words without a letter")]
)
def test_pattern_of_a_word_finds_words(word: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        TextInput(language="English", example="yes", word=word)


@pytest.mark.parametrize(
    ("points", "classes", "told"),
    [
        ([[0.0, 1.0], [2.0]], [], "a point has not 2 numbers"),
        ([[0.0, 1.0]], [0, 1], "1 points have 2 classes"),
        ([[0.0, float("inf")]], [], "finite number"),
        ([[0.0, 1.0]], [-1], "greater than or equal to 0"),
    ],
)
def test_points_have_the_numbers_of_a_row_and_a_class_each(
    points: list[list[float]], classes: list[int], told: str
) -> None:
    features = [Feature(name="x1"), Feature(name="x2")]

    with pytest.raises(ValueError, match=told):
        RowsInput(features=features, points=points, classes=classes)
