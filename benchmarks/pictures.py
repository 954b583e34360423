"""What the way of an upload costs beyond decoding it: a picture that has the model's geometry already, a drawing, and a
photograph of 12 megapixels beside Pillow's own scaled decoding.

.venv/bin/python -m benchmarks.pictures --rounds 31

All are measured in turn. Exits with 1 if a median is above its bar.
"""

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from app.images import WORKING_SIDE, decode, fit, open_limited
from benchmarks.cases import CONTRACT, digits

Gray = NDArray[np.uint8]

DRAWING, PENS = 300, (2, 6, 12, 24)
PHOTOGRAPH = (4_000, 3_000)
OWN_MOST, DRAWING_MOST, PHOTOGRAPH_MOST = 20e-6, 500e-6, 1.3

# Corners of a seven-segment display, and the way of the pen between them.
CORNERS = {"a": (95, 60), "b": (205, 60), "c": (95, 150), "d": (205, 150), "e": (95, 240), "f": (205, 240)}
WAYS = ("abfeacb", "bdf", "abdcef", "abdcdfe", "acdbf", "bacdfe", "bacefdc", "abdf", "cabdcefd", "dbacdfe")


@dataclass(frozen=True)
class Measured:
    """Seconds."""

    own_geometry: float
    drawing: float
    photograph: float
    pillow: float

    @property
    def figures(self) -> tuple[str, str, str]:
        return (
            f"{1e6 * self.own_geometry:.1f} µs",
            f"{1e6 * self.drawing:.0f} µs",
            f"{self.photograph / self.pillow:.2f} ({1e3 * self.photograph:.1f} / {1e3 * self.pillow:.1f} ms)",
        )

    @property
    def met(self) -> bool:
        """Whether all bars are."""
        return (
            self.own_geometry <= OWN_MOST
            and self.drawing <= DRAWING_MOST
            and self.photograph <= PHOTOGRAPH_MOST * self.pillow
        )


WHAT = (
    ("28 × 28, as the model takes it: beyond decoding", f"{1e6 * OWN_MOST:.0f} µs"),
    (f"{DRAWING} × {DRAWING} drawing: beyond decoding", f"{1e6 * DRAWING_MOST:.0f} µs"),
    ("JPEG of 12 megapixels: beside Pillow's draft and load", f"{PHOTOGRAPH_MOST:.1f}"),
)


def drawings() -> list[Gray]:
    """Dark on white, by pens of several widths."""
    return [_drawing(way, pen) for pen in PENS for way in WAYS]


def _drawing(way: str, pen: int) -> Gray:
    image = Image.new("L", (DRAWING, DRAWING), 255)
    ImageDraw.Draw(image).line([CORNERS[corner] for corner in way], fill=0, width=pen, joint="curve")
    return np.asarray(image)


def photograph() -> bytes:
    """A sheet of paper under light that falls off to one side, with the noise of a camera."""
    width, height = PHOTOGRAPH
    ink = np.asarray(Image.fromarray(_drawing(WAYS[5], PENS[1])).resize((height, height), Image.Resampling.BICUBIC))
    levels = np.full((height, width), 225.0)
    levels[:, :height] *= 0.25 + 0.75 * (ink / 255)
    levels *= np.linspace(1, 0.6, width)
    levels += np.random.default_rng(0).normal(0, 4, levels.shape)
    file = io.BytesIO()
    Image.merge("RGB", [Image.fromarray(levels.clip(0, 255).astype(np.uint8))] * 3).save(file, "JPEG", quality=90)
    return file.getvalue()


def by_pillow(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    image.draft("L", (WORKING_SIDE, WORKING_SIDE))
    image.load()
    return image


def by_us(jpeg: bytes) -> object:
    return fit(decode(open_limited(jpeg, PHOTOGRAPH[0] * PHOTOGRAPH[1])), CONTRACT)


def measure(rounds: int, jpeg: bytes) -> tuple[Measured, Measured]:
    """The medians, and the quickest, which other work on the machine does not slow."""
    own, drawn = list(digits()) * 40, drawings()
    ways: Mapping[str, tuple[Callable[[], object], int]] = {
        "own_geometry": (lambda: [fit(picture, CONTRACT) for picture in own], len(own)),
        "drawing": (lambda: [fit(picture, CONTRACT) for picture in drawn], len(drawn)),
        "photograph": (lambda: by_us(jpeg), 1),
        "pillow": (lambda: by_pillow(jpeg), 1),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, (way, pictures) in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append((time.perf_counter() - start) / pictures)
    # The first round warms up.
    median, quickest = (
        Measured(**{name: one_of(times[1:]) for name, times in seconds.items()}) for one_of in (statistics.median, min)
    )
    return median, quickest


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=31)
    median, quickest = measure(parser.parse_args(argv).rounds, photograph())
    print("| picture | median | quickest | bar |\n|---|---:|---:|---:|")
    for (what, bar), usual, best in zip(WHAT, median.figures, quickest.figures, strict=True):
        print(f"| {what} | {usual} | {best} | {bar} |")
    return 0 if median.met else 1


if __name__ == "__main__":
    sys.exit(main())
