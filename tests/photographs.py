"""Digits drawn by program, and photographs of them, made up: paper under uneven light, ruled lines, specks, desks."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Levels = NDArray[np.float64]  # [H, W], 0 to 1
Points = NDArray[np.float64]  # [n, 2]: x to the right, y down, in a box of 1

# x,y in hundredths of the box; strokes are apart by /, and a corner is a point that stands there twice.
STROKES = {
    0: "55,0 15,10 0,50 15,90 50,100 85,88 100,50 85,10 50,0",
    1: "60,0 50,50 40,100",
    2: "3,25 20,3 60,0 90,20 75,50 35,80 0,100 0,100 100,97",
    3: "5,12 40,0 85,12 80,36 40,47 40,47 90,60 95,83 50,100 0,86",
    4: "20,0 10,30 5,55 5,55 50,56 95,52 / 80,5 76,50 72,100",
    5: "15,3 10,42 10,42 50,36 90,55 90,82 50,100 0,90 / 15,3 50,3 95,0",
    6: "80,0 35,20 5,60 12,92 50,100 88,85 82,60 45,53 10,72",
    7: "0,5 50,2 100,0 100,0 65,45 40,100",
    8: "85,12 50,0 14,14 20,36 50,48 88,66 85,92 50,100 10,90 12,66 50,48 82,30 85,10",
    9: "85,15 50,0 12,14 10,40 45,50 85,30 88,8 88,8 85,50 75,100",
}

KINDS = (
    *("plain", "gradient", "shadow", "ruled", "grid", "specks", "small"),
    *("pencil", "marker", "desk", "chalk", "jpeg", "dim", "frame"),
)


def drawn(digit: int, side: int, width: float = 0.07, aspect: float = 0.62) -> NDArray[np.uint8]:
    """Light on 0, [side, side]; strokes of that share of the side, in a box of 0.7 of it."""
    image = Image.new("L", (2 * side, 2 * side))
    draw, radius = ImageDraw.Draw(image), width * side
    for stroke in STROKES[digit].split(" / "):
        through = np.array([point.split(",") for point in stroke.split()], np.float64) / 100
        along = (_smooth(through) - 0.5) * [0.7 * aspect, 0.7] + 0.5
        points = [(float(x), float(y)) for x, y in 2 * side * along]
        draw.line(points, fill=255, width=max(1, round(2 * radius)), joint="curve")
        for x, y in points if radius > 1 else ():
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def _smooth(points: Points, steps: int = 10) -> Points:
    """A Catmull-Rom spline through them."""
    around = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, steps)[:, np.newaxis]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(around, around[1:], around[2:], around[3:], strict=False)
    ]
    return np.vstack(pieces)


@dataclass(frozen=True)
class Photograph:
    jpeg: bytes
    digit: int
    box: tuple[int, int, int, int]  # of the ink: left, top, right, bottom
    clean: NDArray[np.uint8]  # the drawing alone, light on 0


def photograph(kind: str, digit: int, seed: int) -> Photograph:
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(300, 600)), int(rng.integers(300, 600))
    share = rng.uniform(0.15, 0.3) if kind == "small" else rng.uniform(0.6, 0.9)
    side = int(min(height, width) * share)
    pen = 0.15 if kind == "marker" else rng.uniform(0.04, 0.09)
    clean = drawn(digit, side, pen / 2, rng.uniform(0.5, 0.8))
    top, left = int(rng.integers(height - side)), int(rng.integers(width - side))
    ink = np.zeros((height, width))
    ink[top : top + side, left : left + side] = clean / 255
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Photograph(_taken(_lit(kind, ink, rng), kind, rng), digit, box, clean)


def _lit(kind: str, ink: Levels, rng: Any) -> Levels:
    """What is on the paper, how light falls on it, and what lies around it."""
    height, width = ink.shape
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    if kind == "chalk":
        return rng.uniform(0.1, 0.3) + ink * rng.uniform(0.45, 0.65) + 0.1 * x * y
    angle = rng.uniform(0, 2 * np.pi)
    across = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    darkness = rng.uniform(0.1, 0.4) if kind != "pencil" else rng.uniform(0.55, 0.65)
    paper = np.minimum(_lines(kind, ink.shape, rng), 1 - ink * (1 - darkness))
    if kind == "specks":
        for _ in range(25):
            row, column, size = rng.integers(height), rng.integers(width), rng.integers(1, 4)
            paper[row : row + 2 * size, column : column + 2 * size] *= 0.4
    light = np.full(ink.shape, rng.uniform(0.75, 0.95))
    if kind in ("gradient", "shadow", "ruled", "desk", "pencil", "dim"):
        light *= 1 - rng.uniform(0.2, 0.5) * (across + 0.5)
    if kind == "shadow":
        light *= 1 - 0.4 / (1 + np.exp(-60 * (across - rng.uniform(-0.25, 0.25))))
    seen: Levels = paper * light * (0.4 if kind == "dim" else 1)
    if kind == "desk":
        seen[(y > 0.95) | (x < 0.04)] = 0.2
    if kind == "frame":
        edge = max(1, height // 100)
        seen[:edge] = seen[-edge:] = seen[:, :edge] = seen[:, -edge:] = darkness
    return seen


def _lines(kind: str, shape: tuple[int, ...], rng: Any) -> Levels:
    paper = np.ones(shape)
    if kind in ("ruled", "grid"):
        gap, level, thick = int(rng.uniform(0.09, 0.2) * shape[0]), rng.uniform(0.65, 0.85), max(1, shape[0] // 250)
        paper[np.arange(shape[0]) % gap < thick] = level
        if kind == "grid":
            paper[:, np.arange(shape[1]) % gap < thick] = level
    return paper


def _taken(seen: Levels, kind: str, rng: Any) -> bytes:
    """Out of focus a little, with noise, as a JPEG."""
    image = Image.fromarray((seen.clip(0, 1) * 255).astype(np.uint8))
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2))), np.float64)
    noisy = (blurred + rng.normal(0, rng.uniform(1, 5), seen.shape)).clip(0, 255)
    file = io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(file, "JPEG", quality=30 if kind == "jpeg" else 85)
    return file.getvalue()
