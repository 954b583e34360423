"""Digits and letters that a program draws or types: what MNIST's writers never wrote, such as a 1 with a flag and a
foot or a 7 with a bar. Pure: randomness is an argument. Knows no network and no file but matplotlib's fonts.
"""

from functools import cache
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]  # [SIDE, SIDE], light ink on 0
Floats = NDArray[np.float64]

SIDE = 96
# Drawn so many times larger, and reduced: smooth edges.
FINER = 2
POINTS_OF_A_CURVE = 12  # between two points that it goes through


# Ways to write each digit: strokes in a box of 100 × 100, x,y to the right and down, joined by straight lines or, after
# a ~, by a smooth curve.
WAYS = {
    0: (
        "~ 50,0 15,10 0,50 15,90 50,100 85,90 100,50 85,10 50,0",
        "~ 70,5 40,0 10,25 0,60 20,95 55,100 90,75 100,35 80,8 50,3",
    ),
    1: (
        "50,0 50,100",
        "10,35 50,0 50,100",
        "5,55 55,0 50,100",
        "20,22 50,0 50,100 | 10,100 90,100",
        "0,35 50,0 50,100 | 10,100 90,100",
        "~ 10,30 35,20 55,0 | 55,0 50,100",
    ),
    2: (
        "~ 0,25 20,3 60,0 90,20 80,45 40,75 0,100 | 0,100 100,100",
        "~ 5,30 15,5 50,0 90,15 85,40 45,75 5,98 2,85 25,80 60,95 100,95",
        "~ 0,15 45,0 90,15 90,40 50,70 10,95 | ~ 10,95 40,90 70,100 100,90",
    ),
    3: (
        "~ 5,15 40,0 85,10 85,35 45,47 | ~ 45,47 90,55 100,80 60,100 20,98 0,85",
        "0,0 90,0 40,42 | ~ 40,42 85,50 100,75 70,97 30,100 0,88",
    ),
    4: (
        "65,100 65,0 0,68 100,68",
        "15,0 5,55 95,55 | 75,5 75,100",
        "20,0 0,60 100,62 | 65,30 62,100",
        "0,0 0,50 100,50 | 80,0 80,100",
        "~ 10,0 3,30 10,50 50,52 85,42 | 90,0 80,100",
        "75,100 80,0 0,60 10,62 100,55",
    ),
    5: (
        "90,0 15,0 10,42 | ~ 10,42 50,35 92,50 95,78 60,100 20,98 0,85",
        "15,5 10,45 | ~ 10,45 55,38 95,60 80,93 40,100 0,90 | 15,5 95,0",
        "~ 95,2 50,5 20,10 12,40 40,45 85,60 80,90 40,100 0,95",
    ),
    6: (
        "~ 80,0 35,20 5,60 10,90 50,100 90,85 85,60 50,50 12,68",
        "~ 95,12 60,0 20,20 0,60 15,95 60,100 98,80 85,55 50,48 15,60 3,75",
        "~ 30,0 10,40 5,80 40,100 85,95 95,70 60,58 20,72 10,85",
        "~ 75,0 20,30 2,75 30,100 70,95 85,70 50,55 25,70 40,85",
    ),
    7: (
        "0,0 100,0 35,100",
        "0,0 100,0 40,100 | 30,50 90,48",
        "0,15 2,0 100,0 45,100",
        "~ 0,8 30,0 60,5 100,2 | ~ 100,2 65,40 50,70 45,100",
        "0,20 0,0 100,0 40,100 | 25,50 95,50",
    ),
    8: (
        "~ 85,12 50,0 12,12 15,35 50,47 90,65 90,90 50,100 8,90 10,65 50,47 85,32 88,12 60,0",
        "~ 50,0 15,10 15,38 50,48 85,38 85,10 50,0 | ~ 50,48 5,62 5,90 50,100 95,90 95,62 50,48",
    ),
    9: (
        "~ 88,30 60,52 15,45 5,20 40,0 80,8 90,30 | 90,30 80,100",
        "~ 85,25 55,50 10,42 5,15 45,0 85,12 92,45 80,85 45,100 10,92",
        "~ 90,12 50,0 10,15 12,42 50,50 85,35 90,10 | ~ 90,10 88,50 70,80 40,100",
        "~ 90,12 50,0 10,15 12,42 50,50 90,20 | 92,5 92,100",
    ),
}
# Those that no digit looks like: not B, I, O, S, Z, b, g, i, l, o, q, s, z.
LETTERS = "ACDEFGHJKLMNPQRTUVWXYacdefhjkmnprtuvwxy"
FONTS = ("DejaVu*.ttf", "STIXGeneral*.ttf", "cmr10.ttf", "cmss10.ttf", "cmtt10.ttf", "cmb10.ttf")
FONT_SIZE = 64


def drawn_digit(digit: int, rng: np.random.Generator, side: int = SIDE) -> Picture:
    """In one of the ways it is written, slanted, turned and stretched, with a thin or a thick pen."""
    strokes = _strokes(WAYS[digit][rng.integers(len(WAYS[digit]))], rng)
    width = rng.uniform(0.3, 1.05) if digit == 1 else rng.uniform(0.4, 0.95)
    angle, slant = rng.normal(0, 0.08), rng.normal(0, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    place = 0.62 * side * (turn @ np.array([[1, -slant], [0, 1]]) @ np.diag([width, 1]))
    pen = side * (rng.uniform(0.16, 0.26) if rng.random() < 0.12 else rng.uniform(0.02, 0.16))

    sheet = Image.new("L", (side * FINER, side * FINER))
    draw = ImageDraw.Draw(sheet)
    for points in strokes:
        _ink(draw, ((points - 0.5) @ place.T + side / 2) * FINER, pen * FINER)
    return np.asarray(sheet.resize((side, side), Image.Resampling.BOX))


def typed(character: str, rng: np.random.Generator, side: int = SIDE) -> Picture:
    """In one of matplotlib's fonts, turned and slanted a little."""
    files = fonts()
    sheet = Image.new("L", (side, side))
    font = _font(files[rng.integers(len(files))], FONT_SIZE * side // SIDE)
    ImageDraw.Draw(sheet).text((side / 2, side / 2), character, fill=255, font=font, anchor="mm")
    turned = sheet.rotate(rng.normal(0, 5), Image.Resampling.BILINEAR)
    slant = rng.normal(0, 0.1)
    narrowed = (1 / rng.uniform(0.75, 1.1), slant, -slant * side / 2, 0, 1, 0)
    return np.asarray(turned.transform((side, side), Image.Transform.AFFINE, narrowed, Image.Resampling.BILINEAR))


@cache
def fonts() -> tuple[Path, ...]:
    """Those that matplotlib brings with it and that have letters and figures, which its Display fonts have not."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = sorted(file for pattern in FONTS for file in folder.glob(pattern))
    return tuple(file for file in files if "Display" not in file.name)


@cache
def _font(file: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


def _strokes(way: str, rng: np.random.Generator) -> list[Floats]:
    """The points of each stroke, [n, 2] in a box of 1 × 1, moved a little; those that two strokes share stay shared."""
    deviation = rng.uniform(0.01, 0.05)
    places = {
        point: np.array(point.split(","), float) / 100 + rng.normal(0, deviation, 2)
        for point in way.split()
        if "," in point
    }
    strokes = []
    for stroke in way.split("|"):
        points = np.array([places[point] for point in stroke.split() if "," in point])
        strokes.append(_through(points) if "~" in stroke else _bent(points, rng))
    return strokes


def _through(points: Floats) -> Floats:
    """A Catmull-Rom spline (Catmull and Rom 1974) through the points, closed if the last is the first."""
    before, after = 2 * points[0] - points[1], 2 * points[-1] - points[-2]
    if np.array_equal(points[0], points[-1]):
        before, after = points[-2], points[1]
    around = np.vstack([before, points, after])
    t = np.linspace(0, 1, POINTS_OF_A_CURVE, endpoint=False)[:, np.newaxis]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(around, around[1:], around[2:], around[3:], strict=False)
    ]
    return np.vstack([*pieces, points[-1:]])


def _bent(points: Floats, rng: np.random.Generator) -> Floats:
    """Straight lines as a hand draws them: every second time each is bent a little."""
    if rng.random() < 0.5:
        return points
    t = np.linspace(0, 1, POINTS_OF_A_CURVE)[1:, np.newaxis]
    bent = [points[:1]]
    for start, end in pairwise(points):
        along = end - start
        across = np.array([-along[1], along[0]]) * rng.normal(0, 0.05)
        bent.append(start + along * t + across * 4 * t * (1 - t))
    return np.vstack(bent)


def _ink(draw: ImageDraw.ImageDraw, points: Floats, pen: float) -> None:
    """A line with round ends and corners."""
    corners = [(float(x), float(y)) for x, y in points]
    draw.line(corners, fill=255, width=max(1, round(pen)), joint="curve")
    radius = pen / 2
    if radius > 1:
        for x, y in corners:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
