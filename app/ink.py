"""Gray levels → ink: where the paper is, whether the ink is darker or lighter, and how strong it is at each pixel.

Two kinds of picture. A drawing has a background of one level. A photograph has paper under uneven light: what the paper
would be like without ink is estimated everywhere, and ink is what differs from it. Knows no model and no objects.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.morphology import Gray, closed, dilated

Real = NDArray[np.float32]  # [H, W]
Level = TypeVar("Level", bound=np.generic)

# Less contrast than this between background and ink, of 255, is a blank sheet.
BLANK_CONTRAST = 24
# Ink weaker than this share of the strongest is shadow or paper.
INK_FLOOR = 0.25
# A border that has one value in this share of its pixels is a drawn background, not a photographed one.
CLEAN_SHARE = 0.25
PHOTO_PERCENTILES = (0.1, 99.9)

# A drawing of which more is ink, and nearly all inside its box, is paper in a frame or with a margin; its edge may be
# out of focus.
FRAMED, FILLED, FRAME_EDGE = 0.6, 0.75, 0.01
# A side too short for light and shadow to be told from ink.
SMALLEST_PHOTOGRAPH = 16
# Photographs are looked at at this size; noise and the grain of paper are averaged away.
PHOTOGRAPH_SIDE = 192
# Paper has no details: its map is at most so large, and no stroke is wider than a third of it.
PAPER_SIDE, WIDEST_STROKE = 64, 1 / 3
# Of what is left over paper, the share at either end that may be a reflection, or dirt.
OUTLIERS = 0.5
# Neither stands out, if one does by no more than this share of the other; then the border decides, if it is so light.
CLOSE, LIGHT_BORDER = 0.5, 0.7
# What the strongest ink of a photograph is taken from: a digit in a corner has little more of it.
STRONGEST_PERCENTILE = 99.9
# Contrast grows with the light: ink is counted as on paper of this level, but in the dark not without bound.
PAPER_LEVEL, DARKEST_PAPER = 200.0, 30.0
# Contrast that noise and compression give a photograph of nothing, as a share of BLANK_CONTRAST.
PHOTOGRAPHED_BLANK = 0.75
# Times the median of what differs from the paper, which is noise; if that is nearly all there is, it is shown as it is.
NOISE_FLOOR, HIGHEST_FLOOR = 2.0, 0.6
# Faint marks are strokes only near ink of this share of the strongest: not further than this share of the side.
STRONG, NEAR = 0.45, 1 / 40


class Box(NamedTuple):
    """Of pixels, ends exclusive."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


@dataclass(frozen=True)
class Paper:
    """What a photograph is measured against, to look again at a part of it, at all the pixels that it has."""

    gray: Gray  # light paper, dark ink
    levels: Real  # of the paper, at most PAPER_SIDE
    near: Gray  # 255 where there is strong ink near, at the size of Ink.levels
    floor: float
    strongest: float
    relative: bool

    def ink(self, box: Box, of: tuple[int, int]) -> Gray:
        """In a box on a map of that size, rows and columns, as many pixels as the photograph has there."""
        box = placed(box, of, self.gray.shape)
        paper = _part(self.levels, box, self.gray.shape, Image.Resampling.BILINEAR)
        near = _part(self.near, box, self.gray.shape, Image.Resampling.NEAREST)
        distance = _distance(paper, self.gray[box.top : box.bottom, box.left : box.right], self.relative)
        ink: Gray = _stretched(distance, self.floor, self.strongest) & near
        return ink


@dataclass(frozen=True)
class Ink:
    """How far each pixel is from its paper, on the side where the ink is."""

    levels: Gray  # [h, w], 0 is paper
    strongest: int  # of the levels
    inverted: bool  # the ink was darker than the paper
    place: Box  # in the picture that it was found in: without the frame around it
    paper: Paper | None = None  # of a photograph

    @property
    def floor(self) -> int:
        """What is not above it is no stroke. Whole, since to compare bytes with a fraction takes ten times as long."""
        return int(INK_FLOOR * self.strongest)

    def placed(self, box: Box) -> Box:
        """A box on the levels, in the picture."""
        inside = placed(box, self.levels.shape, (self.place.height, self.place.width))
        down, right = self.place.top, self.place.left
        return Box(inside.top + down, inside.bottom + down, inside.left + right, inside.right + right)

    def within(self, box: Box, side: int) -> Gray:
        """A part of it; of a photograph with more pixels, if it has them, where the longer side has fewer than that."""
        if self.paper is None or max(box.height, box.width) >= side or self.paper.gray.size <= self.levels.size:
            return self.levels[box.top : box.bottom, box.left : box.right]
        return self.paper.ink(box, self.levels.shape)


def find_ink(gray: Gray) -> Ink | None:
    """None for a blank picture."""
    paper = _plain_background(gray)
    if paper is None and min(gray.shape) < SMALLEST_PHOTOGRAPH:
        paper = int(np.median(border(gray)))
    whole = Box(0, gray.shape[0], 0, gray.shape[1])
    if paper is None:
        return _photograph(gray, whole)
    ink = _drawing(gray, paper, whole)
    if ink is None or np.count_nonzero(ink.levels > ink.floor) <= FRAMED * ink.levels.size:
        return ink
    box = inked(ink.levels, ink.floor)
    if np.count_nonzero(ink.levels > ink.floor) <= FILLED * box.height * box.width:
        return ink
    return _without_frame(gray, paper, box) or ink


def border(gray: NDArray[Level]) -> NDArray[Level]:
    return np.concatenate([gray[0], gray[-1], gray[1:-1, 0], gray[1:-1, -1]])


def _plain_background(gray: Gray) -> int | None:
    """The level that the border mostly has, if it has one."""
    at_border = border(gray)
    counts = np.bincount(at_border)
    commonest = int(counts.argmax())
    return commonest if counts[commonest] >= CLEAN_SHARE * len(at_border) else None


def _drawing(gray: Gray, paper: int, place: Box) -> Ink | None:
    darkest, lightest = int(gray.min()), int(gray.max())
    inverted = paper - darkest > lightest - paper
    strongest = paper - darkest if inverted else lightest - paper
    if strongest < BLANK_CONTRAST:
        return None
    level = np.uint8(paper)
    levels = level - np.minimum(gray, level) if inverted else np.maximum(gray, level) - level
    # A whole factor keeps faint ink from being rounded away, and costs nothing.
    factor = 255 // strongest
    return Ink(levels * np.uint8(factor) if factor > 1 else levels, strongest * factor, inverted, place)


def inked(levels: NDArray[Any], floor: float) -> Box:
    """The box of what is above the floor; of nothing, if nothing is."""
    rows = np.flatnonzero(levels.max(axis=1) > floor)
    columns = np.flatnonzero(levels.max(axis=0) > floor)
    if not len(rows):
        return Box(0, 0, 0, 0)
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def _without_frame(gray: Gray, outside: int, box: Box) -> Ink | None:
    """Of what lies inside a frame or margin, if its background is another; as a photograph, if it has none of one
    level."""
    edge = 1 + round(FRAME_EDGE * max(box.height, box.width))
    place = Box(box.top + edge, box.bottom - edge, box.left + edge, box.right - edge)
    if min(place.height, place.width) < SMALLEST_PHOTOGRAPH:
        return None
    inside = gray[place.top : place.bottom, place.left : place.right]
    paper = _plain_background(inside)
    if paper is None:
        return _photograph(inside, place)
    return _drawing(inside, paper, place) if abs(paper - outside) > BLANK_CONTRAST else None


def _photograph(gray: Gray, place: Box) -> Ink | None:
    seen = reduced(gray, PHOTOGRAPH_SIDE)
    small = reduced(seen, PAPER_SIDE)
    inverted = _is_darker(small)
    gray, seen, small = (gray, seen, small) if inverted else (255 - gray, 255 - seen, 255 - small)
    window = 2 * round(max(small.shape) * WIDEST_STROKE / 2) + 1
    paper = closed(small, window).astype(np.float32)
    distance = _distance(resized(paper, seen.shape), seen, inverted)
    strongest = float(np.percentile(distance, STRONGEST_PERCENTILE))
    if strongest < PHOTOGRAPHED_BLANK * BLANK_CONTRAST:
        return None
    noise = float(np.median(resized(distance, small.shape, Image.Resampling.BOX)))
    floor = min(max(INK_FLOOR * strongest, NOISE_FLOOR * noise), HIGHEST_FLOOR * strongest)
    reach = max(2, round(NEAR * max(seen.shape)))
    near = dilated((distance > STRONG * strongest).astype(np.uint8), 2 * reach + 1) * np.uint8(255)
    levels = _stretched(distance, floor, strongest) & near
    ink = Ink(levels, 255, inverted, place, Paper(gray, paper, near, floor, strongest, inverted))
    return ink if levels.max() > ink.floor else None


def _distance(paper: Real, gray: Gray, relative: bool) -> Real:
    """How much darker it is than the paper; relative to the light that falls there, if that is what made the paper."""
    distance: Real = paper - gray
    if relative:
        distance *= PAPER_LEVEL / np.maximum(paper, DARKEST_PAPER)
    return distance.clip(0)


def _stretched(distance: Real, floor: float, strongest: float) -> Gray:
    scaled: Real = (distance - floor) * (255 / max(strongest - floor, 1.0))
    return scaled.clip(0, 255).astype(np.uint8)


def _is_darker(small: Gray) -> bool:
    """Whether what stands out most is darker than the paper. Light falls unevenly, so that what counts is what is left
    over a smooth surface; a desk or a finger at the border is not what was photographed."""
    left = small - _surface(small.astype(np.float32))
    edge = min(small.shape) // 10
    inner = (slice(edge, len(left) - edge), slice(edge, left.shape[1] - edge))
    middle = float(np.median(left))
    darkest, lightest = (float(level) for level in np.percentile(left[inner], (OUTLIERS, 100 - OUTLIERS)))
    if middle - darkest <= CLOSE * (lightest - middle):
        return False
    return middle - darkest > lightest - middle or _has_light_border(small, small[inner])


def _has_light_border(small: Gray, inner: Gray) -> bool:
    """Strokes so thick that the surface bends to them leave light behind as they do dark; a light border is paper."""
    darkest, lightest = np.percentile(inner, (OUTLIERS, 100 - OUTLIERS))
    return bool(np.median(border(small)) > darkest + LIGHT_BORDER * (lightest - darkest))


def _surface(levels: Real, rounds: int = 3) -> Real:
    """The quadratic surface through most of them: least squares, each time with less weight for what lies far off."""
    terms, flat = _quadratic(*levels.shape), levels.reshape(-1)
    weights, fitted = np.ones_like(flat), flat
    for _ in range(rounds):
        weighted = terms * weights[:, np.newaxis]
        fitted = terms @ np.linalg.lstsq(weighted.T @ terms, weighted.T @ flat, rcond=None)[0]
        far = np.abs(flat - fitted)
        weights = 1 / (1 + np.square(far / (2 * (np.median(far) + 1))))
    return fitted.reshape(levels.shape)


@lru_cache(maxsize=16)  # of the four thousand shapes that there are
def _quadratic(height: int, width: int) -> Real:
    """[height · width, 6]: the terms of a quadratic in rows and columns from -1 to 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    return terms.reshape(-1, 6).astype(np.float32)


def reduced(gray: Gray, side: int) -> Gray:
    """At most `side` on the longer side, by means over areas; the aspect stays."""
    height, width = gray.shape
    scale = side / max(height, width)
    if scale >= 1:
        return gray
    return resized(gray, (max(1, round(height * scale)), max(1, round(width * scale))), Image.Resampling.BOX)


def resized(
    levels: NDArray[Any], shape: tuple[int, ...], how: Image.Resampling = Image.Resampling.BILINEAR
) -> NDArray[Any]:
    """To so many rows and columns."""
    return np.asarray(Image.fromarray(levels).resize((shape[1], shape[0]), how))


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds them all."""
    top, bottom, left, right = zip(*boxes, strict=True)
    return Box(min(top), max(bottom), min(left), max(right))


def placed(box: Box, on: tuple[int, ...], of: tuple[int, ...]) -> Box:
    """A box on a map of so many rows and columns, on another of the same; a pixel that it cuts belongs to it."""
    down, right = of[0] / on[0], of[1] / on[1]
    return Box(
        math.floor(box.top * down),
        min(math.ceil(box.bottom * down), of[0]),
        math.floor(box.left * right),
        min(math.ceil(box.right * right), of[1]),
    )


def _part(levels: NDArray[Any], box: Box, of: tuple[int, ...], how: Image.Resampling) -> NDArray[Any]:
    """What lies in a box on a picture of another size, at that size."""
    down, right = levels.shape[0] / of[0], levels.shape[1] / of[1]
    part = (box.left * right, box.top * down, box.right * right, box.bottom * down)
    return np.asarray(Image.fromarray(levels).resize((box.width, box.height), how, box=part))


def ink_beside_border(gray: Gray) -> tuple[NDArray[np.float32] | None, bool]:
    """Whatever differs from the border: 0 to 255, stretched, without paper and shadow; it may fill the whole picture,
    as a garment does. None for a blank one. And whether it was darker than the border."""
    at_border = border(gray)
    values, counts = np.unique(at_border, return_counts=True)
    clean = counts.max() >= CLEAN_SHARE * len(at_border)
    background = float(values[counts.argmax()] if clean else np.median(at_border))
    # On a photograph single pixels are noise; on a drawing a thin stroke may be all the ink there is.
    darkest, lightest = (float(level) for level in np.percentile(gray, (0, 100) if clean else PHOTO_PERCENTILES))
    inverted = background - darkest > lightest - background
    contrast = background - darkest if inverted else lightest - background
    if contrast < BLANK_CONTRAST:
        return None, False
    distance = (background - gray if inverted else gray - background).astype(np.float32)
    floor = 0.0 if clean else INK_FLOOR
    stretched = (distance / contrast - floor) / (1 - floor)
    return stretched.clip(0, 1) * 255, inverted
