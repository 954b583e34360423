"""What belongs together, what is another object, and what is none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from app.objects import MOST_OBJECTS, Objects, find_objects
from tests.photographs import drawn

Levels = NDArray[np.uint8]


def sheet(*digits: tuple[int, int, int], size: tuple[int, int] = (300, 300), side: int = 100) -> Levels:
    """Each digit at a row and a column."""
    levels = np.zeros(size, np.uint8)
    for digit, row, column in digits:
        part = levels[row : row + side, column : column + side]
        np.maximum(part, drawn(digit, side), out=part)
    return levels


def found(levels: Levels) -> Objects:
    return find_objects(levels, 63)


def boxes(levels: Levels) -> list[tuple[int, int, int, int]]:
    return [tuple(each.box) for each in found(levels).all]


def bounds(levels: Levels) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero((levels > 63).any(1)), np.flatnonzero((levels > 63).any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


@pytest.mark.parametrize("digit", range(10))
def test_digit_is_one_object_whatever_strokes_it_has(digit: int) -> None:
    """Also where the pen was lifted: the top bar of a 5, the right stroke of a 4."""
    alone = sheet((digit, 100, 90))

    assert boxes(alone) == [bounds(alone)]


def test_parts_with_a_gap_between_them_are_one_digit() -> None:
    bar_apart = sheet((5, 100, 90))
    top, _, left, right = bounds(bar_apart)
    bar_apart[top + 8 : top + 13] = 0

    assert boxes(bar_apart) == [bounds(bar_apart)]
    assert left < right


def test_digits_are_read_in_lines_from_left_to_right() -> None:
    places = [(3, 10, 10), (1, 18, 110), (4, 5, 200), (1, 190, 20), (5, 180, 120)]
    levels = sheet(*places)

    assert boxes(levels) == [bounds(sheet(place)) for place in places]


def test_specks_are_no_objects() -> None:
    levels = sheet((3, 100, 100))
    alone = bounds(levels)
    for row, column in np.random.default_rng(1).integers(0, 295, (30, 2)):
        levels[row : row + 3, column : column + 3] = 255
    [only] = found(levels).all

    assert np.abs(np.array(only.box) - alone).max() <= 8


def test_ink_of_others_inside_the_box_is_told() -> None:
    levels = sheet((0, 100, 100), side=150)
    box = bounds(levels)
    levels[170:173, 172:175] = 255
    [only] = found(levels).all

    assert only.box == box
    assert only.foreign is not None
    assert only.foreign[170 - box[0], 172 - box[2]]
    assert not (only.foreign & (sheet((0, 100, 100), side=150)[box[0] : box[1], box[2] : box[3]] > 63)).any()


@pytest.mark.parametrize("what", ["frame", "desk", "ruler"])
def test_what_lies_along_the_border_is_not_what_is_meant(what: str) -> None:
    levels = sheet((3, 110, 100))
    alone = bounds(levels)
    match what:
        case "frame":
            levels[:6] = levels[-6:] = levels[:, :6] = levels[:, -6:] = 255
        case "desk":
            levels[:, 250:] = 255
        case _:
            levels[2:20, 10:290] = 255

    assert boxes(levels) == [alone]


def test_digit_that_touches_every_side_is_what_is_meant() -> None:
    top, bottom, left, right = bounds(sheet((5, 0, 0), side=300))
    cropped = sheet((5, 0, 0), side=300)[top:bottom, left:right]

    assert boxes(cropped) == [(0, bottom - top, 0, right - left)]


def test_best_of_several_is_the_largest() -> None:
    levels = np.maximum(sheet((7, 10, 10), side=120), sheet((2, 120, 120), side=170))
    objects = found(levels)

    assert [each.box for each in objects.all][objects.best] == bounds(sheet((2, 120, 120), side=170))
    assert len(objects.all) == 2


def test_no_more_are_told_than_allowed() -> None:
    places = [(0, row, column) for row in range(0, 480, 80) for column in range(0, 480, 60)]
    levels = sheet(*places, size=(520, 520), side=50)

    assert len(places) > MOST_OBJECTS
    assert len(found(levels).all) == MOST_OBJECTS


def test_noise_is_one_thing_of_which_nothing_is_picked() -> None:
    levels = (np.random.default_rng(1).random((64, 64)) < 0.2).astype(np.uint8) * 255

    assert boxes(levels) == [bounds(levels)]
