"""Convolution and pooling of one matrix, as PyTorch's layers compute them: the kernel is not turned round, so that this
is a cross-correlation; windows that do not fit are left out. Pure: knows no request and no picture.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.lab.tape import Floats

Places = NDArray[np.int64]


class Padding(NamedTuple):
    """So many rows and columns of zeros are put around a matrix."""

    top: int
    bottom: int
    left: int
    right: int


class Pooled(NamedTuple):
    values: Floats
    winners: Places | None = None  # [2, rows, columns]: of a maximum, the row and the column that it came from


def padding_all_round(width: int) -> Padding:
    return Padding(width, width, width, width)


def padding_for_same(kernel: tuple[int, int]) -> Padding:
    """With a stride of 1 the result has the size of the matrix; what is odd goes below and to the right."""
    (top, bottom), (left, right) = (((side - 1) // 2, side // 2) for side in kernel)
    return Padding(top, bottom, left, right)


def padded(matrix: Floats, padding: Padding) -> Floats:
    return np.pad(matrix, (padding[:2], padding[2:]))


def windows_along(side: int, window: int, stride: int) -> int:
    """How many fit; 0 if the window is longer."""
    return max(0, (side - window) // stride + 1)


def correlate(matrix: Floats, kernel: Floats, stride: int) -> Floats:
    """Each number is the sum of the products of the kernel and the window under it. The kernel fits in the matrix."""
    shape = _shape_of(matrix, kernel.shape, stride)
    total, product = np.zeros(shape), np.empty(shape)
    # One product of the whole matrix for each number of the kernel: all windows side by side would be far larger.
    for place, weight in np.ndenumerate(kernel):
        total += np.multiply(_under(matrix, place, shape, stride), weight, out=product)
    return total


def max_pool(matrix: Floats, size: int, stride: int) -> Pooled:
    """The greatest number of each window, the first of equals from the left and from above."""
    # In each row first, then of the rows of a window: 2 × size looks at the matrix in the place of size².
    in_rows, columns = _greatest(matrix, size, stride)
    upright, places = _greatest(in_rows.T, size, stride)
    rows = places.T
    return Pooled(np.ascontiguousarray(upright.T), np.stack([rows, np.take_along_axis(columns, rows, 0)]))


def average_pool(matrix: Floats, size: int, stride: int) -> Pooled:
    return Pooled(correlate(matrix, np.ones((size, size)), stride) / size**2)


def _greatest(matrix: Floats, size: int, stride: int) -> tuple[Floats, Places]:
    """Of windows along each row: the number, the first of equals, and the column that it came from."""
    count = windows_along(matrix.shape[1], size, stride)
    best, offsets = matrix[:, : stride * count : stride].copy(), np.zeros((len(matrix), count), np.int64)
    for offset in range(1, size):
        values = matrix[:, offset : offset + stride * count : stride]
        wins = values > best
        np.copyto(best, values, where=wins)
        np.copyto(offsets, offset, where=wins)
    return best, offsets + stride * np.arange(count)


def _shape_of(matrix: Floats, window: tuple[int, ...], stride: int) -> tuple[int, int]:
    height, width = (windows_along(*sides, stride) for sides in zip(matrix.shape, window, strict=True))
    return height, width


def _under(matrix: Floats, place: tuple[int, ...], shape: tuple[int, int], stride: int) -> Floats:
    """What lies under one place of the window, wherever the window is."""
    row, column = place
    height, width = shape
    return matrix[row : row + stride * height : stride, column : column + stride * width : stride]
