"""Encoded bytes → the uint8 array that a card asks for, and warnings. Pure: knows no model, no HTTP, no settings.

Three steps. `open_limited` looks at the header, `decode` makes any picture a grayscale array, `fit` gives it the
polarity and geometry of the contract.
"""

import io
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from app.card import ImageInput
from app.errors import ContentTooLarge, InvalidRequest

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
FORMATS_IN_WORDS = "PNG, JPEG, WebP, GIF, BMP, TIFF"
# Larger pictures are reduced to this side first: many times what a model takes, and cheap to analyse.
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
# Half a pixel is what centring by whole pixels leaves, and a little is for rounding.
CENTRED = 0.55
# The full scales of 1, 8, 10, 12, 14 and 16 bits; 1 is that of floating-point pictures too.
FULL_SCALES = (1, 255, 1_023, 4_095, 16_383, 65_535)

# No side is longer in a JPEG, and a picture one pixel wide costs more than its pixels.
MAX_SIDE = 65_535
MAX_TEXT_BYTES = 262_144
# A progressive JPEG has about ten scans; each costs a pass over the whole picture, in bytes next to nothing.
MAX_JPEG_SCANS = 100
START_OF_SCAN = b"\xff\xda"
# Opaque pixels that fill this share of their bounding box are a picture with a margin, not strokes on nothing.
OPAQUE_SHARE = 0.8

Code = Literal["inverted", "blank", "off_centre"]
Gray = NDArray[np.uint8]  # [H, W]
Level = TypeVar("Level", bound=np.generic)


@dataclass(frozen=True)
class Picture:
    """What the model will see, [height, width] of the contract, and what was noticed on the way."""

    pixels: Gray
    warnings: tuple[Code, ...] = ()


def open_limited(data: bytes, max_pixels: int) -> Image.Image:
    """The header is read, no pixel is decoded. Raises InvalidRequest for what is no picture, ContentTooLarge for a
    side beyond MAX_SIDE, more than `max_pixels` or a JPEG that would be decoded over and over."""
    if not data:
        raise InvalidRequest("is empty")
    # Pillow's own limit is one for all; ours is an argument.
    Image.MAX_IMAGE_PIXELS = None
    # Text beside a picture is inflated while the header is read; nobody reads it here.
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT_BYTES
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:
        raise InvalidRequest(f"is not an image that can be decoded: {FORMATS_IN_WORDS}") from error
    width, height = image.size
    if max(width, height) > MAX_SIDE:
        raise ContentTooLarge(f"has {width} × {height} pixels; at most {MAX_SIDE:,} on a side are allowed")
    if width * height > max_pixels:
        raise ContentTooLarge(
            f"has {width} × {height} pixels; {max_pixels:,} are left of those a request may have (PERCEPT_MAX_PIXELS)"
        )
    if image.format == "JPEG" and (scans := data.count(START_OF_SCAN)) > MAX_JPEG_SCANS:
        raise ContentTooLarge(f"is a JPEG of {scans:,} scans; at most {MAX_JPEG_SCANS} are allowed")
    return image


def decode(image: Image.Image) -> Gray:
    """A grayscale picture of at most WORKING_SIDE, upright, transparency resolved; of animations the first frame.

    Raises InvalidRequest if it is damaged.
    """
    try:
        return _grayscale(image)
    except Exception as error:  # Pillow's plugins raise whatever their parser stumbles on
        raise InvalidRequest(f"is damaged or truncated: {error}") from error


def _grayscale(image: Image.Image) -> Gray:
    # A JPEG is decoded at the smallest of its sizes (1/1, 1/2, 1/4, 1/8) that still has the working side.
    image.draft("L" if image.mode in ("L", "RGB", "YCbCr") else image.mode, (WORKING_SIDE, WORKING_SIDE))
    image.load()
    image = ImageOps.exif_transpose(image)
    factor = -(-max(image.size) // WORKING_SIDE)
    if image.mode == "F" or image.mode.startswith("I"):
        return _eight_bits(_block_means(np.asarray(image), factor))
    image = _plain_mode(image)
    if factor > 1:
        image = image.reduce(factor)
    if image.mode in ("LA", "RGBA"):
        return _over_background(np.asarray(image.convert("LA")))
    return np.asarray(image.convert("L"))


def _plain_mode(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes with 8 bits or fewer as L, LA, RGB or RGBA."""
    transparent = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
    if transparent and image.mode not in ("LA", "RGBA"):
        return image.convert("RGBA")
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _block_means(values: NDArray[Any], factor: int) -> NDArray[np.float32]:
    """Means of factor × factor blocks, without a copy at full size; an incomplete last block is left out."""
    if factor == 1:
        return values.astype(np.float32)
    height, width = (max(1, side // factor) for side in values.shape)
    tall, wide = (min(factor, side) for side in values.shape)
    blocks = values[: height * tall, : width * wide].reshape(height, tall, width, wide)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def _eight_bits(values: NDArray[np.float32]) -> Gray:
    """Numbers of unknown scale (16-bit, 32-bit, floating-point): it is the smallest usual one that holds them."""
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    largest = float(finite.max())
    scale = next((scale for scale in FULL_SCALES if largest <= scale), largest)
    return np.asarray(finite * (255 / scale), np.uint8)


def _over_background(layers: NDArray[np.uint8]) -> Gray:
    """Gray and alpha, [H, W, 2], over a background of one level."""
    gray, alpha = layers[..., 0].astype(np.float32), layers[..., 1].astype(np.float32)
    background = _background_under(gray, alpha)
    return np.rint(background + (gray - background) * (alpha / 255)).astype(np.uint8)


def _background_under(gray: NDArray[np.float32], alpha: NDArray[np.float32]) -> float:
    """Strokes on nothing get white under dark ink and black under light ink, so that the ink stays visible; a picture
    of its own with a transparent margin gets the level of its own border."""
    opaque = alpha > 127
    top, bottom, left, right = _bounds(opaque)
    inside, shown = gray[top:bottom, left:right], opaque[top:bottom, left:right]
    if shown.any() and shown.mean() >= OPAQUE_SHARE and np.ptp(inside[shown]) >= BLANK_CONTRAST:
        return float(np.median(_border(inside)))
    weight = float(alpha.sum())
    ink = float((gray * alpha).sum()) / weight if weight else 0.0
    return 255.0 if ink < 128 else 0.0


def reduced(gray: Gray, side: int) -> Gray:
    """At most `side` on the longer side, by means over areas; the aspect stays."""
    height, width = gray.shape
    scale = side / max(height, width)
    if scale >= 1:
        return gray
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BOX))


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


def _border(gray: NDArray[Level]) -> NDArray[Level]:
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
