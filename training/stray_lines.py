"""Lines and spots that do not belong to a digit, drawn on an empty sheet. Pure: randomness is an argument."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 84  # drawn so large, and reduced
Mark = Callable[[ImageDraw.ImageDraw, np.random.Generator], None]


def drawn(mark: Mark, rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """[side, side], light on 0."""
    sheet = Image.new("L", (SIDE, SIDE))
    mark(ImageDraw.Draw(sheet), rng)
    return np.asarray(sheet.resize((side, side), Image.Resampling.BOX))


def _ends(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.uniform(0, SIDE, (2, 2))


def straight(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    draw.line([(x, y) for x, y in _ends(rng)], fill=255, width=int(rng.integers(2, 6)))


def zigzag(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    start, end = _ends(rng)
    corners = int(rng.integers(5, 12))
    along = end - start
    across = np.array([-along[1], along[0]]) / (np.hypot(*along) + 1e-6) * rng.uniform(2, 9)
    sides = np.where(np.arange(corners) % 2, 1, -1)[:, np.newaxis]
    points = start + along * np.linspace(0, 1, corners)[:, np.newaxis] + sides * across
    draw.line([(x, y) for x, y in points], fill=255, width=int(rng.integers(2, 6)))


def dotted(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    start, end = _ends(rng)
    radius = rng.uniform(2, 5)
    for place in np.linspace(0, 1, int(rng.integers(6, 20))):
        _disc(draw, start + (end - start) * place, radius, 255)


def spots(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(3, 15))):
        _disc(draw, rng.uniform(0, SIDE, 2), rng.uniform(1, 5), int(rng.integers(100, 255)))


def _disc(draw: ImageDraw.ImageDraw, middle: NDArray[np.float64], radius: float, level: int) -> None:
    x, y = middle
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=level)
