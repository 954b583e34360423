"""Numbers of a layer as one gray picture: its maps side by side, the least number black, the greatest white. Pure."""

import math

import numpy as np
from numpy.typing import NDArray

# More pixels than this of one layer are not drawn, nor of many layers together.
MOST_PIXELS, MOST_TOGETHER = 400_000, 2_000_000
GAP = 1  # between two maps

Numbers = NDArray[np.float64]


def gray(numbers: Numbers, low: float | None = None) -> NDArray[np.uint8]:
    """The same shape: from 0 for `low`, or the least, to 255 for the greatest; 0 for what is no number, and where there
    is nothing between."""
    known = numbers[np.isfinite(numbers)]
    least, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    low = least if low is None else low
    if low >= high:
        return np.zeros(numbers.shape, np.uint8)
    scaled = (np.nan_to_num(numbers, nan=low, posinf=high, neginf=low) / 2 - low / 2) / (high / 2 - low / 2)
    return np.asarray(np.rint(255 * scaled.clip(0, 1)), np.uint8)


def tiled(numbers: Numbers, most: int = MOST_PIXELS) -> NDArray[np.uint8]:
    """One picture of a layer's numbers for one input: [maps, H, W], in reading order, about as many maps beside each
    other as below; more axes before the last two count as maps. Vectors are folded into a square. Of more than `most`
    pixels the first maps are drawn, and of a larger map every second pixel or fewer."""
    maps = _maps(numbers, most)
    count, height, width = maps.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    gap = _gap(height, width)
    places = np.zeros((rows * columns, height + gap, width + gap), np.uint8)
    places[:count, :height, :width] = gray(maps)
    side_by_side = places.reshape(rows, columns, height + gap, width + gap).swapaxes(1, 2)
    sheet: NDArray[np.uint8] = side_by_side.reshape(rows * (height + gap), columns * (width + gap))
    return sheet[: rows * (height + gap) - gap, : columns * (width + gap) - gap]


def _gap(height: int, width: int) -> int:
    """A vector's numbers have none."""
    return GAP if height * width > 1 else 0


def _maps(numbers: Numbers, most: int) -> Numbers:
    """[maps, H, W], of as many numbers as are drawn."""
    if numbers.ndim < 2:
        numbers = numbers.reshape(-1, 1, 1)
    maps = numbers.reshape(-1, *numbers.shape[-2:])
    height, width = maps.shape[1:]
    step = max(1, math.ceil(math.sqrt(height * width / most)))
    maps = maps[:, ::step, ::step]
    height, width = maps.shape[1:]
    gap = _gap(height, width)
    return maps[: max(1, most // max(1, (height + gap) * (width + gap)))]
