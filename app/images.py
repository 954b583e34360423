"""Encoded bytes → the uint8 array that a card asks for, and warnings. Pure: knows no model, no HTTP, no settings.

Two steps. `decode` makes any picture a grayscale array; `fit` gives it the polarity and geometry of the contract.
"""

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from app.card import ImageInput
from app.errors import ContentTooLarge, InvalidRequest

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
FORMATS_IN_WORDS = "PNG, JPEG, WebP, GIF, BMP, TIFF"
# Larger pictures are reduced to this side first: ten times what the largest model takes, and cheap to analyse.
WORKING_SIDE = 512
# Less contrast than this between background and ink, of 255, is a blank sheet.
BLANK_CONTRAST = 24
# Ink weaker than this share of the strongest is shadow or paper.
INK_FLOOR = 0.25
# A border that has one value in this share of its pixels is a drawn background, not a photographed one.
CLEAN_SHARE = 0.25
PHOTO_PERCENTILES = (0.1, 99.9)
# Ink whose middle is further than this share of the side from the picture's middle is off centre.
OFF_CENTRE = 0.2
# And a little for rounding.
HALF_PIXEL = 0.55

Code = Literal["inverted", "blank", "off_centre"]
Gray = NDArray[np.uint8]  # [H, W]


@dataclass(frozen=True)
class Picture:
    """What the model will see, [height, width] of the contract, and what was noticed on the way."""

    pixels: Gray
    warnings: tuple[Code, ...] = ()


def read(data: bytes, contract: ImageInput, max_pixels: int) -> Picture:
    """Raises InvalidRequest if `data` is no picture, ContentTooLarge beyond `max_pixels` (before decoding them)."""
    return fit(decode(data, max_pixels), contract)


def decode(data: bytes, max_pixels: int) -> Gray:
    """A grayscale picture of at most WORKING_SIDE, upright, transparency resolved; of animations the first frame."""
    image = _open(data, max_pixels)
    try:
        return _grayscale(image)
    except Exception as error:  # Pillow's plugins raise whatever their parser stumbles on
        raise InvalidRequest(f"is damaged or truncated: {error}") from error


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise InvalidRequest("is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ContentTooLarge(f"has too many pixels; at most {max_pixels:,} are allowed") from error
    except Exception as error:
        raise InvalidRequest(f"is not an image that can be decoded: {FORMATS_IN_WORDS}") from error
    width, height = image.size
    if width * height > max_pixels:
        raise ContentTooLarge(f"has {width} × {height} pixels; at most {max_pixels:,} in all are allowed")
    return image


def _grayscale(image: Image.Image) -> Gray:
    # A JPEG is decoded at the smallest of its sizes (1/1, 1/2, 1/4, 1/8) that still has the working side.
    image.draft("L" if image.mode in ("L", "RGB", "YCbCr") else image.mode, (WORKING_SIDE, WORKING_SIDE))
    image.load()
    image = ImageOps.exif_transpose(image)
    image = _eight_bits(image)
    factor = -(-max(image.size) // WORKING_SIDE)
    if factor > 1:
        image = image.reduce(factor)
    if image.mode in ("LA", "RGBA"):
        image = _over_contrasting_background(image)
    return np.asarray(image.convert("L"))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes as L, LA, RGB or RGBA."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_scaled_to_eight_bits(np.asarray(image)))
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        transparent = "transparency" in image.info and image.mode in ("L", "RGB")
        return image.convert("RGBA") if transparent else image
    if image.mode == "1":
        return image.convert("L")
    transparent = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
    return image.convert("RGBA" if transparent else "RGB")


def _scaled_to_eight_bits(values: NDArray[Any]) -> Gray:
    """16-bit, 32-bit and floating-point gray: the full scale is the smallest usual one that holds the values."""
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    largest = finite.max(initial=0.0)
    full_scale = 65_535.0
    if values.dtype.kind == "f":
        full_scale = next((scale for scale in (1.0, 255.0) if largest <= scale), full_scale)
    return np.asarray(finite * (255 / max(full_scale, largest)), np.uint8)


def _over_contrasting_background(image: Image.Image) -> Image.Image:
    """Transparent pixels become white under dark ink and black under light ink, so that the ink stays visible."""
    gray, alpha = (np.asarray(band, np.float32) for band in (image.convert("L"), image.getchannel("A")))
    weight = alpha.sum()
    ink = float((gray * alpha).sum() / weight) if weight else 0.0
    background = 255.0 if ink < 128 else 0.0
    blended = background + (gray - background) * (alpha / 255)
    return Image.fromarray(np.rint(blended).astype(np.uint8))


def fit(gray: Gray, contract: ImageInput) -> Picture:
    """Light ink on a background of 0, scaled and centred as the contract says. A picture that is so already passes
    unchanged."""
    if has_geometry(gray, contract):
        return Picture(gray)
    ink, inverted = _ink(gray)
    warnings: list[Code] = ["inverted"] if inverted else []
    if ink is None:
        return Picture(np.zeros((contract.height, contract.width), np.uint8), ("blank",))
    if _is_off_centre(ink):
        warnings.append("off_centre")
    strokes = _resize(_crop(ink), contract.box)
    return Picture(_centre(strokes, contract), tuple(warnings))


def has_geometry(gray: Gray, contract: ImageInput) -> bool:
    """Whether a picture is already as the contract wants it, as those of MNIST and Fashion-MNIST are."""
    if gray.shape != (contract.height, contract.width):
        return False
    border = _border(gray)
    if gray.min() != 0 or np.count_nonzero(border == 0) < CLEAN_SHARE * len(border):
        return False
    top, bottom, left, right = _bounds(gray > 0)
    longer = max(bottom - top, right - left)
    if not contract.box - 2 <= longer <= contract.box:
        return False
    if contract.centre == "box":
        return True
    y, x = _centre_of_mass(gray)
    # Half a pixel is what centring by whole pixels leaves.
    off = max(abs(y - contract.height / 2), abs(x - contract.width / 2))
    return off <= HALF_PIXEL


def _ink(gray: Gray) -> tuple[NDArray[np.float32] | None, bool]:
    """How far each pixel is from the background, on the side where the ink is: 0 to 255, stretched, without paper
    and shadow. None for a blank picture. And whether the ink was darker than the background."""
    border = _border(gray)
    values, counts = np.unique(border, return_counts=True)
    clean = counts.max() >= CLEAN_SHARE * len(border)
    background = float(values[counts.argmax()] if clean else np.median(border))
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


def _border(gray: Gray) -> Gray:
    return np.concatenate([gray[0], gray[-1], gray[1:-1, 0], gray[1:-1, -1]])


def _bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """top, bottom, left, right of the true pixels, ends exclusive; all 0 if there is none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _crop(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    top, bottom, left, right = _bounds(ink > INK_FLOOR * 255)
    return ink[top:bottom, left:right]


def _is_off_centre(ink: NDArray[np.float32]) -> bool:
    top, bottom, left, right = _bounds(ink > INK_FLOOR * 255)
    height, width = ink.shape
    vertical = abs((top + bottom) / 2 - height / 2) / height
    horizontal = abs((left + right) / 2 - width / 2) / width
    return bool(max(vertical, horizontal) > OFF_CENTRE)


def _resize(ink: NDArray[np.float32], box: int) -> Gray:
    """The longer side becomes `box`, the aspect stays; the strongest ink is 255 again."""
    height, width = ink.shape
    scale = box / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC)).clip(0, 255)
    return np.rint(resized * (255 / max(float(resized.max()), 1.0))).astype(np.uint8)


def _centre(strokes: Gray, contract: ImageInput) -> Gray:
    """On a background of 0, as far to the middle as whole pixels and the edges allow."""
    height, width = strokes.shape
    y, x = _centre_of_mass(strokes) if contract.centre == "mass" else (height / 2, width / 2)
    top = int(np.clip(np.rint(contract.height / 2 - y), 0, contract.height - height))
    left = int(np.clip(np.rint(contract.width / 2 - x), 0, contract.width - width))
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
