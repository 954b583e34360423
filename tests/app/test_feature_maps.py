"""Layers as pictures: which number is which gray, and where it is."""

import numpy as np
import pytest

from app.feature_maps import MOST_PIXELS, gray, tiled


@pytest.mark.parametrize(
    ("numbers", "levels"),
    [
        ([-1, 0, 1], [0, 128, 255]),
        ([5, 5], [0, 0]),
        ([np.nan, 0, 10, np.inf, -np.inf], [0, 0, 255, 255, 0]),
        ([np.nan], [0]),
        ([-1e308, 1e308], [0, 255]),
        ([], []),
    ],
)
def test_least_number_is_black_and_greatest_white(numbers: list[float], levels: list[int]) -> None:
    assert gray(np.array(numbers, np.float64)).tolist() == levels


def test_black_may_be_another_number() -> None:
    assert gray(np.array([-5.0, 0, 1, 2]), low=0).tolist() == [0, 0, 128, 255]
    assert gray(np.array([-5.0, -1]), low=0).tolist() == [0, 0]


def test_maps_lie_side_by_side_with_a_line_between() -> None:
    maps = np.arange(12.0).reshape(3, 2, 2)

    assert tiled(maps).tolist() == [
        [0, 23, 0, 93, 116],
        [46, 70, 0, 139, 162],
        [0, 0, 0, 0, 0],
        [185, 209, 0, 0, 0],
        [232, 255, 0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("shape", "sheet"),
    [((), (1, 1)), ((1,), (1, 1)), ((10,), (3, 4)), ((3, 5), (3, 5)), ((2, 3, 4, 5), (9, 17)), ((1, 7, 7), (7, 7))],
)
def test_every_shape_has_a_picture(shape: tuple[int, ...], sheet: tuple[int, int]) -> None:
    assert tiled(np.random.default_rng(0).normal(size=shape)).shape == sheet


@pytest.mark.parametrize("shape", [(5_000, 100, 100), (1, 4_000, 4_000), (2_000_000,)])
def test_pictures_are_bounded(shape: tuple[int, ...]) -> None:
    assert tiled(np.zeros(shape)).size <= 1.1 * MOST_PIXELS


@pytest.mark.parametrize("shape", [(100, 100, 100), (1, 900, 900), (70_000,)])
def test_fewer_pixels_may_be_wanted(shape: tuple[int, ...]) -> None:
    assert 0.4 * 50_000 <= tiled(np.zeros(shape), 50_000).size <= 1.1 * 50_000
