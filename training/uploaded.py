"""Pictures as callers upload them: larger than a model takes them, made to fit as the service does it. The training
half may not import that half, so the geometry stands here once more; a test holds them equal, pixel by pixel.
Knows no network and no data set.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.card import ImageInput

Picture = NDArray[np.uint8]  # [height, width] of any size, light ink on dark paper or the other way round
Pictures = NDArray[np.uint8]  # [n, height, width]

BLANK_CONTRAST = 24  # less between paper and ink, of 255, is no ink
INK_FLOOR = 0.25  # of the strongest ink: what is weaker is shadow, or the frayed edge of a stroke
CLEAN_SHARE = 0.25  # of the border in one value: a drawing, not a photograph
PHOTO_PERCENTILES = (0.1, 99.9)

# Blocks, and the two ways of smoothing that are usual: the service cannot tell how a picture became large.
ENLARGED = tuple(
    product((2, 4, 6, 10), (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC))
)


def as_uploaded(images: Pictures, contract: ImageInput) -> Pictures:
    """[n, 28, 28] → the same pictures enlarged, the first in the first way of ENLARGED and so on, and made to fit."""
    return np.stack(
        [fitted(enlarged(image, *how), contract) for image, how in zip(images, _ways(len(images)), strict=True)]
    )


def _ways(count: int) -> list[tuple[int, Image.Resampling]]:
    return [ENLARGED[place % len(ENLARGED)] for place in range(count)]


def enlarged(image: Picture, factor: int, how: Image.Resampling) -> Picture:
    height, width = image.shape
    return np.asarray(Image.fromarray(image).resize((width * factor, height * factor), how))


def uniform_noise(count: int, side: int, seed: int = 0) -> Pictures:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side), dtype=np.uint8)


def noise_as_uploaded(count: int, side: int, contract: ImageInput) -> Pictures:
    """Noise of that side, made to fit: where it has to be made smaller, neighbours become one grey."""
    return np.stack([fitted(image, contract) for image in uniform_noise(count, side)])


def fitted(picture: Picture, contract: ImageInput) -> Picture:
    """Light ink on a background of 0, [height, width] of the contract, scaled to its box and centred as it says. A
    picture that is so already is no concern of this."""
    ink = _ink(picture)
    if ink is None:
        return np.zeros((contract.height, contract.width), np.uint8)
    rows, columns = (np.flatnonzero((ink > INK_FLOOR * 255).any(axis)) for axis in (1, 0))
    return _centred(_scaled(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], contract.box), contract)


def _ink(picture: Picture) -> NDArray[np.float32] | None:
    """How far each pixel is from the paper, 0 to 255; None if it is all paper."""
    border = np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]])
    counts = np.bincount(border, minlength=256)
    clean = counts.max() >= CLEAN_SHARE * len(border)
    paper = float(counts.argmax() if clean else np.median(border))
    extremes = (picture.min(), picture.max()) if clean else np.percentile(picture, PHOTO_PERCENTILES)
    darkest, lightest = float(extremes[0]), float(extremes[1])
    inverted = paper - darkest > lightest - paper
    contrast = paper - darkest if inverted else lightest - paper
    if contrast < BLANK_CONTRAST:
        return None
    distance = (paper - picture if inverted else picture - paper).astype(np.float32)
    floor = 0.0 if clean else INK_FLOOR
    stretched: NDArray[np.float32] = (distance / contrast - floor) / (1 - floor)
    return stretched.clip(0, 1) * 255


def _scaled(ink: NDArray[np.float32], box: int) -> Picture:
    """The longer side becomes `box`, the strongest ink is 255 again."""
    height, width = ink.shape
    scale = box / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC)).clip(0, 255)
    return np.rint(resized * (255 / max(float(resized.max()), 1.0))).astype(np.uint8)


def _centred(strokes: Picture, contract: ImageInput) -> Picture:
    """As far to the middle as whole pixels and the edges allow."""
    height, width = strokes.shape
    middle = _centre_of_mass(strokes) if contract.centre == "mass" else (height / 2, width / 2)
    top = int(np.clip(np.rint(contract.height / 2 - middle[0]), 0, contract.height - height))
    left = int(np.clip(np.rint(contract.width / 2 - middle[1]), 0, contract.width - width))
    sheet = np.zeros((contract.height, contract.width), np.uint8)
    sheet[top : top + height, left : left + width] = strokes
    return sheet


def _centre_of_mass(strokes: Picture) -> tuple[float, float]:
    mass = strokes.astype(np.float64)
    rows, columns = (np.arange(size) for size in mass.shape)
    return float(mass.sum(1) @ rows / mass.sum()), float(mass.sum(0) @ columns / mass.sum())
