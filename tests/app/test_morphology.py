"""Held against what is written out pixel by pixel."""

import numpy as np
import pytest
from numpy.typing import NDArray

from app.morphology import block_maxima, closed, components, dilated

RNG = np.random.default_rng(1)


def around(levels: NDArray[np.uint8], reach: int, of: str) -> NDArray[np.uint8]:
    height, width = levels.shape
    return np.array(
        [
            [
                getattr(levels[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1], of)()
                for x in range(width)
            ]
            for y in range(height)
        ],
        np.uint8,
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 5), (20, 13)])
@pytest.mark.parametrize("window", [3, 5, 9, 21])
def test_windows_are_searched(shape: tuple[int, int], window: int) -> None:
    levels = RNG.integers(0, 256, shape, dtype=np.uint8)
    widened = around(levels, window // 2, "max")

    np.testing.assert_array_equal(dilated(levels, window), widened)
    np.testing.assert_array_equal(closed(levels, window), around(widened, window // 2, "min"))


@pytest.mark.parametrize("shape", [(1, 1), (64, 10), (65, 130), (300, 301)])
def test_blocks_give_their_largest(shape: tuple[int, int]) -> None:
    levels = RNG.integers(0, 256, shape, dtype=np.uint8)
    maxima, block = block_maxima(levels, 64)

    assert max(maxima.shape) <= 64
    for (y, x), largest in np.ndenumerate(maxima):
        assert largest == levels[y * block : (y + 1) * block, x * block : (x + 1) * block].max()


def flooded(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The number of each cell's component, counted from 1 in the order of their first cells."""
    numbers, count = np.zeros(mask.shape, np.intp), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if numbers[start]:
            continue
        count, waiting = count + 1, [start]
        while waiting:
            y, x = waiting.pop()
            if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not numbers[y, x]:
                numbers[y, x] = count
                waiting += [(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return numbers


def test_components_are_those_of_a_flood() -> None:
    for _ in range(300):
        height, width = RNG.integers(1, 14, 2)
        mask = RNG.random((height, width)) < RNG.random()
        numbers, found = flooded(mask), components(mask)

        assert found.count == numbers.max()
        np.testing.assert_array_equal(found.of_cells, numbers[mask] - 1)
        for place in range(found.count):
            rows, columns = np.nonzero(numbers == place + 1)
            box = [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]
            assert found.boxes[place].tolist() == box
            assert found.areas[place] == len(rows)
            chosen = np.arange(found.count) == place
            np.testing.assert_array_equal(found.cells_of(chosen), numbers == place + 1)
            assert (
                found.areas_in(np.tri(height, width, dtype=bool))[place] == np.tri(height, width)[rows, columns].sum()
            )
