"""Occlusion: which parts of a picture an answer rests on, by covering one patch after the other and asking again.

After Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014), section 4.2. Pure: arrays in and
out; knows no model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidRequest

# A picture for each position; so many keep a request within hundredths of a second for a small model.
MOST_POSITIONS = 400
# As many patches beside each other, overlapping by half, as a side has if nothing is asked for.
PATCHES = 7

Pixels = NDArray[Any]  # [H, W] of gray levels, or of any numbers, with or without channels before: [C, H, W]
Place = tuple[slice, slice]  # rows and columns


@dataclass(frozen=True)
class Patches:
    """Squares that cover a picture: every pixel is under one of them at least."""

    height: int  # of the picture
    width: int
    side: int
    stride: int
    fill: int  # what a covered pixel is, 0 to 255

    @property
    def tops(self) -> list[int]:
        return _starts(self.height, self.side, self.stride)

    @property
    def lefts(self) -> list[int]:
        return _starts(self.width, self.side, self.stride)

    @property
    def count(self) -> int:
        return len(self.tops) * len(self.lefts)

    def positions(self) -> Iterator[Place]:
        for top in self.tops:
            for left in self.lefts:
                yield slice(top, top + self.side), slice(left, left + self.side)


def patches_of(height: int, width: int, side: int | None, stride: int | None, fill: int) -> Patches:
    """What is None is chosen by the picture's size. Raises InvalidRequest with what is allowed."""
    shorter = min(height, width)
    side = max(1, shorter // PATCHES) if side is None else side
    if not 1 <= side <= shorter:
        raise InvalidRequest(f"patch is {side}; allowed is 1 to {shorter}, the shorter side of what the model sees")
    stride = max(1, side // 2) if stride is None else stride
    if not 1 <= stride <= side:
        raise InvalidRequest(f"stride is {stride}; allowed is 1 to {side}, the patch, so that no pixel is left out")
    patches = Patches(height, width, side, stride, fill)
    if patches.count > MOST_POSITIONS:
        raise InvalidRequest(
            f"a patch of {side} with a stride of {stride} has {patches.count:,} positions; at most {MOST_POSITIONS} "
            "are allowed: take a larger stride, or a larger patch"
        )
    return patches


def patches_within(height: int, width: int, fill: int, most: int) -> Patches | None:
    """The finest of what may be chosen by the picture's size that has no more positions: larger patches, then such as
    do not overlap. None if not even these are so few."""
    shorter = min(height, width)
    for side, stride in ((shorter // PATCHES, None), *((shorter // parts, shorter // parts) for parts in (7, 4, 2))):
        if side >= 1:
            patches = Patches(height, width, side, max(1, side // 2) if stride is None else stride, fill)
            if patches.count <= min(most, MOST_POSITIONS):
                return patches
    return None


def _starts(length: int, side: int, stride: int) -> list[int]:
    """The last one ends where the picture does, whatever the stride."""
    last = length - side
    return [*range(0, last, stride), last]


def occluded(pixels: Pixels, patches: Patches) -> Pixels:
    """[positions, …, H, W]: the picture with one patch covered, in the order of the positions, row by row."""
    return covered(pixels, list(patches.positions()), patches.fill)


def covered(pixels: Pixels, places: Sequence[Place | None], fill: int) -> Pixels:
    """[places, …, H, W]: with one place covered each, or with nothing."""
    pictures = np.repeat(pixels[np.newaxis], len(places), axis=0)
    for picture, place in zip(pictures, places, strict=True):
        if place is not None:
            picture[..., place[0], place[1]] = fill
    return pictures


def changing(pixels: Pixels, patches: Patches) -> NDArray[np.bool_]:
    """[positions]: whether the patch there covers anything that is not as it is already."""
    other = np.zeros((patches.height + 1, patches.width + 1), np.int64)
    differs = (pixels != patches.fill).reshape(-1, patches.height, patches.width).any(0)
    other[1:, 1:] = differs.cumsum(0).cumsum(1)
    tops, lefts = np.array(patches.tops)[:, np.newaxis], np.array(patches.lefts)
    bottoms, rights = tops + patches.side, lefts + patches.side
    inside = other[bottoms, rights] - other[tops, rights] - other[bottoms, lefts] + other[tops, lefts]
    return np.asarray(inside.ravel() > 0)


def by_pixel(falls: NDArray[np.float64], patches: Patches) -> NDArray[np.float64]:
    """[H, W]: of each pixel the mean of the falls of those patches that cover it."""
    total, count = np.zeros((2, patches.height, patches.width))
    for fall, (rows, columns) in zip(falls, patches.positions(), strict=True):
        total[rows, columns] += fall
        count[rows, columns] += 1
    return np.asarray(total / count)
