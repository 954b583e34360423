"""Ink → a picture with the geometry of a contract: scaled to its box, centred, thin strokes kept visible. Knows no
paper, no objects and no file."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.card import ImageInput
from app.ink import CLEAN_SHARE, INK_FLOOR
from app.morphology import Gray, bordered, dilated

# Half a pixel is what centring by whole pixels leaves, and a little is for rounding.
CENTRED = 0.55
# A stroke that would be thinner than this in the box, in pixels, fades; it is made as wide as pens of MNIST are.
THIN, WIDENED = 1.3, 1.7
# Strokes that would cover more of their box when they are made wider are none: it is noise.
COVERED = 0.6
# Area over outline gives a stroke's width, if the outline is counted in steps along rows and columns: those are longer
# than a slanted outline, by 4/π on average, and there is one on either side.
WIDTH_OF_OUTLINE = 2 * 4 / math.pi
# How many times larger than the result a picture is made by plain means before it is resampled.
REDUCING_GAP = 3.0


def has_geometry(gray: Gray, contract: ImageInput) -> bool:
    """Whether a picture is already as the contract wants it, as those of MNIST and Fashion-MNIST are."""
    if gray.shape != (contract.height, contract.width):
        return False
    if _border_zeros(gray) < CLEAN_SHARE * 2 * (contract.height + contract.width - 2):
        return False
    top, bottom, left, right = _inked(gray)
    longer = max(bottom - top, right - left)
    if not max(1, contract.box - 2) <= longer <= contract.box:
        return False
    if contract.centre == "box":
        return True
    total, y, x = (gray.reshape(-1).astype(np.float32) @ _moments(*gray.shape)).tolist()
    return bool(max(abs(y / total - contract.height / 2), abs(x / total - contract.width / 2)) <= CENTRED)


def _inked(gray: Gray) -> tuple[int, int, int, int]:
    """top, bottom, left, right of the pixels that are not 0, ends exclusive. Of bytes, since it is asked for every
    picture: arrays of 28 cost more to call than to look at."""
    height, width = gray.shape
    size, by_rows, by_columns = gray.size, gray.tobytes(), gray.tobytes("F")
    return (
        (size - len(by_rows.lstrip(b"\0"))) // width,
        -(-len(by_rows.rstrip(b"\0")) // width),
        (size - len(by_columns.lstrip(b"\0"))) // height,
        -(-len(by_columns.rstrip(b"\0")) // height),
    )


@cache
def _moments(height: int, width: int) -> NDArray[np.float32]:
    """[height · width, 3]: pixels times this are their mass, and its moments by row and by column."""
    rows, columns = np.indices((height, width), np.float32).reshape(2, -1)
    return np.stack([np.ones_like(rows), rows, columns], axis=1)


def _border_zeros(gray: Gray) -> int:
    """How many pixels of the border are 0; counted in bytes, which takes a tenth of what arrays take."""
    pixels, width = gray.tobytes(), gray.shape[1]
    return (
        pixels[:width].count(0)
        + pixels[-width:].count(0)
        + pixels[width:-width:width].count(0)
        + pixels[2 * width - 1 : -width : width].count(0)
    )


def thickened(ink: Gray, box: int) -> Gray:
    """Strokes so thin that they would fade when the longer side becomes `box` are made wider, by a part of a pixel if
    need be; others are left as they are."""
    longer = max(ink.shape)
    if longer <= box:
        return ink
    on = ink > int(INK_FLOOR * int(ink.max()))
    width, wanted = _stroke_width(on), WIDENED * longer / box
    reach = (wanted - width) / 2
    if width * box / longer >= THIN or reach <= 0 or np.count_nonzero(on) * wanted > COVERED * on.size * width:
        return ink
    whole = math.ceil(reach)
    padded = bordered(ink, whole)
    wide = dilated(padded, 2 * whole + 1)
    less = dilated(padded, 2 * whole - 1) if whole > 1 else padded
    part = np.uint16(256 * (reach - whole + 1))
    return less + ((wide - less).astype(np.uint16) * part >> 8).astype(np.uint8)


def _stroke_width(on: NDArray[np.bool_]) -> float:
    outline = np.count_nonzero(on[:, 1:] != on[:, :-1]) + np.count_nonzero(on[1:] != on[:-1])
    return WIDTH_OF_OUTLINE * np.count_nonzero(on) / (outline + 1)


def scaled(ink: NDArray[np.float32] | Gray, box: int, gap: float | None = REDUCING_GAP) -> Gray:
    """The longer side becomes `box`, the aspect stays; the strongest ink is 255 again. Without a gap every pixel is
    resampled, which takes three times as long."""
    height, width = ink.shape
    scale = box / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC, reducing_gap=gap))
    resized = resized.clip(0, 255)
    return np.rint(resized * (255 / max(float(resized.max()), 1.0))).astype(np.uint8)


def centred(strokes: Gray, contract: ImageInput) -> Gray:
    """On a background of 0, as far to the middle as whole pixels and the edges allow."""
    height, width = strokes.shape
    y, x = _centre_of_mass(strokes) if contract.centre == "mass" else (height / 2, width / 2)
    top = min(max(round(contract.height / 2 - y), 0), contract.height - height)
    left = min(max(round(contract.width / 2 - x), 0), contract.width - width)
    canvas = np.zeros((contract.height, contract.width), np.uint8)
    canvas[top : top + height, left : left + width] = strokes
    return canvas


def _centre_of_mass(gray: Gray) -> tuple[float, float]:
    """Row and column, counted from the first pixel's index 0, which is how MNIST was centred on (14, 14)."""
    mass = gray.astype(np.float64)
    total = mass.sum()
    return (
        float(mass.sum(1) @ np.arange(gray.shape[0]) / total),
        float(mass.sum(0) @ np.arange(gray.shape[1]) / total),
    )
