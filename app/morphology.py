"""Grayscale and binary morphology on small maps: dilation, erosion, closing, connected components, the largest of each
block. NumPy alone; knows nothing of ink or digits."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]  # [H, W]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]


def dilated(levels: Gray, window: int) -> Gray:
    """The largest of window × window around each; `window` is odd."""
    return _slid(levels, window, np.maximum, 0)


def closed(levels: Gray, window: int) -> Gray:
    """Dilated and then eroded: dark marks that are narrower than the window are gone, edges stay where they were."""
    return _slid(dilated(levels, window), window, np.minimum, 255)


def _slid(levels: Gray, window: int, extreme: Callable[..., Gray], beyond: int) -> Gray:
    """Along rows, then along columns; each step doubles the span that is covered."""
    levels = bordered(levels, window // 2, beyond)
    for _ in range(2):
        span = 1
        while span < window:
            step = min(span, window - span)
            levels = extreme(levels[step:], levels[:-step])
            span += step
        levels = levels.T
    return levels


def bordered(levels: Gray, by: int, level: int = 0) -> Gray:
    """With so many pixels more at each side."""
    wider = np.full((levels.shape[0] + 2 * by, levels.shape[1] + 2 * by), level, np.uint8)
    wider[by:-by, by:-by] = levels
    return wider


def block_maxima(levels: Gray, side: int) -> tuple[Gray, int]:
    """The largest of each block, so that no side is longer than `side`, and the side of a block. What a block at the
    lower or right border lacks counts as 0. By slices: a reduction along a short axis takes ten times as long."""
    block = -(-max(levels.shape) // side)
    if block == 1:
        return levels, 1
    height, width = (-(-size // block) for size in levels.shape)
    if levels.shape != (height * block, width * block):
        padded = np.zeros((height * block, width * block), np.uint8)
        padded[: levels.shape[0], : levels.shape[1]] = levels
        levels = padded
    rows = levels.reshape(height, block, width * block).max(axis=1)
    maxima = rows[:, ::block]
    for place in range(1, block):
        maxima = np.maximum(maxima, rows[:, place::block])
    return maxima, block


@dataclass(frozen=True)
class Components:
    """The connected components of a mask, neighbours at a corner included, as runs of cells along rows."""

    mask: Mask
    rows: Indices  # of each run, from above
    starts: Indices
    ends: Indices
    of_runs: Indices  # the component of each
    count: int

    @cached_property
    def of_cells(self) -> Indices:
        """The component of each true cell, row by row."""
        return np.repeat(self.of_runs, self.ends - self.starts)

    @cached_property
    def areas(self) -> Indices:
        """[n]: cells of each."""
        return np.bincount(self.of_cells, minlength=self.count)

    @cached_property
    def boxes(self) -> Indices:
        """[n, 4]: top, bottom, left, right, ends exclusive."""
        height, width = self.mask.shape
        boxes = np.tile(np.array([height, 0, width, 0]), (self.count, 1))
        np.minimum.at(boxes[:, 0], self.of_runs, self.rows)
        np.maximum.at(boxes[:, 1], self.of_runs, self.rows + 1)
        np.minimum.at(boxes[:, 2], self.of_runs, self.starts)
        np.maximum.at(boxes[:, 3], self.of_runs, self.ends)
        return boxes

    def cells_of(self, chosen: Mask) -> Mask:
        """[height, width]: the cells of those that are chosen, [n]."""
        cells = np.zeros(self.mask.shape, np.bool_)
        cells[self.mask] = chosen[self.of_cells]
        return cells

    def areas_in(self, region: Mask) -> Indices:
        """[n]: how many cells of each lie in the region, [height, width]."""
        return np.bincount(self.of_cells, region[self.mask], self.count).astype(np.intp)


def components(mask: Mask) -> Components:
    """Runs of each row, joined with those that they touch in the row above."""
    # Between two rows lies a cell that is false, so that all rows are one line, and runs end with their row.
    stride = mask.shape[1] + 1
    line = np.zeros(len(mask) * stride + 1, np.bool_)
    line[:-1].reshape(len(mask), stride)[:, 1:] = mask
    changes = np.flatnonzero(line[1:] != line[:-1]) + 1
    starts, ends = changes[::2], changes[1::2]
    first = np.searchsorted(ends, starts - stride, "left")
    touched = np.searchsorted(starts, ends - stride, "right") - first
    numbers = np.arange(len(starts))
    # Most runs touch one above and belong to it; those that touch more join what was apart.
    more = np.maximum(touched - 1, 0)
    below = np.repeat(numbers, more)
    above = np.arange(len(below)) + np.repeat(first + 1 - np.cumsum(more) + more, more)
    joined_with = joined(np.where(touched, first, numbers), below, above)
    firsts = joined_with == numbers
    rows = starts // stride
    before = rows * stride + 1
    of_runs = (np.cumsum(firsts) - 1)[joined_with]
    return Components(mask, rows, starts - before, ends - before, of_runs, int(np.count_nonzero(firsts)))


def joined(belongs_to: Indices, ones: Indices, others: Indices) -> Indices:
    """[n]: for each the smallest that it is joined with, over others too (union-find): first with what it belongs to,
    which is no larger than itself, then by these pairs."""
    parents = belongs_to.tolist()
    for place, parent in enumerate(parents):
        parents[place] = parents[parent]

    def root(place: int) -> int:
        while (parent := parents[place]) != place:
            parents[place] = place = parents[parent]
        return place

    for one, other in zip(ones.tolist(), others.tolist(), strict=True):
        one, other = root(one), root(other)
        if one != other:
            parents[max(one, other)] = min(one, other)
    return np.array([root(place) for place in parents], np.intp)
