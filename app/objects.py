"""Ink → the objects that it makes: which parts belong together, which one the picture is of, which are others.

Specks, a frame, a desk beside the paper are none. Knows no model, no paper and no file.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.ink import Box, around, inked
from app.morphology import Components, Gray, Mask, block_maxima, components

# Parts are told from each other on a map of at most this side.
MAP_SIDE = 64
# Noise has thousands; no more are looked at, the largest first.
MOST_PARTS = 64
MOST_OBJECTS = 32

# Of more parts than are looked at, the strokes of one digit have at least this share, or it is all noise and no object.
SCATTERED, MOST_STROKES = 0.5, 4

# How much ink counts, in extents: a filled area is no better an object than strokes.
MOST_MASS = 8
# How near to the border a part lies along it, of the shorter side.
BAND = 0.12
# What lies along the border is a frame or a desk: it hardly counts; what touches it counts less.
ALONG, TOUCHING = 0.02, 0.7

# A part belongs to an object if it is no speck beside it (its area, its extent)…
PART_AREA, PART_EXTENT = 0.04, 0.12
# … and not further off than this share of its extent. Parts of comparable height may be two digits: they belong
# together only if one stands over the other, or if they nearly touch, all the more if they stand on one line.
FAR, OVER, NEXT, TOUCH = 0.25, 0.12, 0.1, 0.05
COMPARABLE_HEIGHT, SAME_COLUMN, ALIGNED = 0.6, 0.5, 0.25

# Another object is one of comparable size: its extent, and its area, since a 1 has little.
OTHER_EXTENT, OTHER_AREA = 0.5, 0.1


@dataclass(frozen=True)
class Object:
    box: Box  # of its ink, on the map that it was found on
    foreign: Mask | None = None  # [height, width] of the box: the ink of others in it


@dataclass(frozen=True)
class Objects:
    """In the order of reading: lines from top to bottom, in each from left to right."""

    all: list[Object]
    best: int  # its place: what the picture is taken to be of


@dataclass
class _Group:
    """Parts that belong together."""

    parts: list[int]
    box: Box
    area: int
    along: bool  # the picture's border
    touching: bool  # it

    @property
    def extent(self) -> int:
        return max(self.box.height, self.box.width)


def find_objects(levels: Gray, floor: int) -> Objects:
    """`levels` are ink where they are above the floor; there has to be some."""
    peaks, block = block_maxima(levels, MAP_SIDE)
    parts = components(peaks > floor)
    if parts.count == 1 or _is_scattered(parts):
        return Objects([Object(inked(levels, floor))], 0)
    groups = _groups(parts)
    found = [_exactly(group, parts, block, levels, floor) for group in groups]
    order = _reading_order([each.box for each in found])
    return Objects([found[place] for place in order], order.index(0))


def _is_scattered(parts: Components) -> bool:
    if parts.count <= MOST_PARTS:
        return False
    largest = np.partition(parts.areas, -MOST_STROKES)[-MOST_STROKES:]
    return bool(largest.sum() < SCATTERED * parts.areas.sum())


def _groups(parts: Components) -> list[_Group]:
    """The best first, then what is comparable to it."""
    along, touching = _at_border(parts)
    order = np.argsort(-_scores(parts, along, touching), kind="stable")[:MOST_PARTS].tolist()
    groups: list[_Group] = []
    for place in order:
        box, area = Box(*parts.boxes[place].tolist()), int(parts.areas[place])
        part = _Group([place], box, area, bool(along[place]), bool(touching[place]))
        near = [group for group in groups if _belongs(part, group)]
        if near:
            _add(part, min(near, key=lambda group: _gap(group.box, box)))
        elif not groups or (_is_comparable(part, groups[0]) and len(groups) < MOST_OBJECTS):
            groups.append(part)
    return [groups[0], *(group for group in groups[1:] if not group.along and _is_comparable(group, groups[0]))]


def _at_border(parts: Components) -> tuple[Mask, NDArray[np.intp]]:
    """[n]: whether a part lies along the picture's border, and how many sides it touches."""
    height, width = parts.mask.shape
    top, bottom, left, right = parts.boxes.T
    touching = (top == 0).astype(np.intp) + (bottom == height) + (left == 0) + (right == width)
    band = max(1, round(BAND * min(height, width)))
    region = np.ones(parts.mask.shape, np.bool_)
    region[band : height - band, band : width - band] = False
    near = parts.areas_in(region) / parts.areas
    filled = parts.areas / ((bottom - top) * (right - left))
    long = np.maximum(bottom - top, right - left) > 0.8 * max(height, width)
    along = (
        ((touching >= 3) & ((near > 0.5) | (filled > 0.7)))
        | ((touching >= 2) & long & (near > 0.6))
        | ((touching >= 1) & (near > 0.95))
    )
    return along, touching


def _scores(parts: Components, along: Mask, touching: NDArray[np.intp]) -> NDArray[np.float64]:
    """[n]: how much a part looks like what was drawn: large, but not for being filled."""
    top, bottom, left, right = parts.boxes.T
    extent = np.maximum(bottom - top, right - left)
    plain = extent * np.sqrt(np.minimum(parts.areas, MOST_MASS * extent))
    return np.asarray(plain * np.where(along, ALONG, np.where(touching > 0, TOUCHING, 1.0)))


def _belongs(part: _Group, group: _Group) -> bool:
    one, other = part.box, group.box
    gap, extent = _gap(one, other), max(part.extent, group.extent)
    if gap > FAR * extent or part.along != group.along or (part.touching and not group.touching and gap):
        return False
    if part.area < PART_AREA * group.area or part.extent < PART_EXTENT * group.extent:
        return False
    if one.height < COMPARABLE_HEIGHT * other.height:
        return True
    shared = min(one.right, other.right) - max(one.left, other.left)
    if shared >= SAME_COLUMN * min(one.width, other.width):
        return gap <= OVER * extent
    aligned = max(abs(one.top - other.top), abs(one.bottom - other.bottom)) <= ALIGNED * extent
    return gap <= (TOUCH if aligned else NEXT) * extent


def _gap(one: Box, other: Box) -> int:
    return max(
        0,
        one.top - other.bottom,
        other.top - one.bottom,
        one.left - other.right,
        other.left - one.right,
    )


def _add(part: _Group, group: _Group) -> None:
    group.parts += part.parts
    group.area += part.area
    group.touching |= part.touching
    group.box = around([group.box, part.box])


def _is_comparable(group: _Group, best: _Group) -> bool:
    return group.extent >= OTHER_EXTENT * best.extent and group.area >= OTHER_AREA * best.area


def _exactly(group: _Group, parts: Components, block: int, levels: Gray, floor: int) -> Object:
    """From cells of the map to pixels. A cell beside it may have the faint edge of a stroke, whosever cell it is."""
    chosen = np.zeros(parts.count, np.bool_)
    chosen[group.parts] = True
    top, bottom, left, right = group.box
    corner = levels[top * block : bottom * block, left * block : right * block]
    inside = parts.cells_of(chosen)[top:bottom, left:right]
    others = parts.mask[top:bottom, left:right] & ~inside
    if not others.any():
        return Object(_moved(inked(corner, floor), top * block, left * block))
    cells = np.repeat(np.repeat(inside, block, 0), block, 1)[: corner.shape[0], : corner.shape[1]]
    box = inked(corner * cells, floor)
    foreign = np.repeat(np.repeat(others, block, 0), block, 1)[box.top : box.bottom, box.left : box.right]
    return Object(_moved(box, top * block, left * block), foreign)


def _moved(box: Box, down: int, right: int) -> Box:
    return Box(box.top + down, box.bottom + down, box.left + right, box.right + right)


def _reading_order(boxes: list[Box]) -> list[int]:
    """A line is what stands at the height of the middle of its first."""
    lines: list[list[int]] = []
    for place in sorted(range(len(boxes)), key=lambda each: boxes[each].top + boxes[each].bottom):
        middle = (boxes[place].top + boxes[place].bottom) / 2
        if lines and boxes[lines[-1][0]].top <= middle < boxes[lines[-1][0]].bottom:
            lines[-1].append(place)
        else:
            lines.append([place])
    return [place for line in lines for place in sorted(line, key=lambda each: boxes[each].left)]
