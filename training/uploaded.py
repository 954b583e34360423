"""Pictures as callers upload them: larger than a model takes them, made to fit by the service's own `app.images`.
Knows no network and no data set.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.card import ImageInput
from app.images import fit

Picture = NDArray[np.uint8]  # [height, width] of any size, light ink on dark paper or the other way round
Pictures = NDArray[np.uint8]  # [n, height, width]

# Blocks, and the two ways of smoothing that are usual: the service cannot tell how a picture became large.
ENLARGED = tuple(
    product((2, 4, 6, 10), (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC))
)


def as_uploaded(images: Pictures, contract: ImageInput) -> Pictures:
    """[n, 28, 28] → the same pictures enlarged, the first in the first way of ENLARGED and so on, and made to fit."""
    return np.stack(
        [fit(enlarged(image, *how), contract).pixels for image, how in zip(images, _ways(len(images)), strict=True)]
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
    return np.stack([fit(image, contract).pixels for image in uniform_noise(count, side)])
