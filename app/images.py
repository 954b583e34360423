"""Encoded bytes → the uint8 array that a card asks for, and warnings. Pure: knows no model, no HTTP, no settings.

Three steps. `open_limited` looks at the header, `decode` makes any picture a grayscale array, `fit` gives what is drawn
on it the polarity and geometry of the contract, and `fit_all` each object on it.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from app.card import ImageInput
from app.errors import AppError, ContentTooLarge, InvalidRequest
from app.geometry import centred, has_geometry, scaled, thickened
from app.ink import (
    BLANK_CONTRAST,
    INK_FLOOR,
    PHOTO_PERCENTILES,
    Box,
    Ink,
    around,
    border,
    find_ink,
    ink_beside_border,
    inked,
    placed,
)
from app.morphology import Gray
from app.objects import Object, Objects, find_objects

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
FORMATS_IN_WORDS = "PNG, JPEG, WebP, GIF, BMP, TIFF"
# Larger pictures are reduced to this side first: many times what a model takes, and cheap to analyse.
WORKING_SIDE = 512
# Colours of which the gray levels show nothing count from this contrast on: one colour alone has more noise than all.
COLOUR_CONTRAST = 2 * BLANK_CONTRAST
# Ink whose middle is further than this share of the side from the picture's middle is off centre.
OFF_CENTRE = 0.2
# An object of fewer pixels than this times the box is looked at again, where the picture has more.
ENOUGH_PIXELS = 3
# The full scales of 1, 8, 10, 12, 14 and 16 bits; 1 is that of floating-point pictures too.
FULL_SCALES = (1, 255, 1_023, 4_095, 16_383, 65_535)

# No side is longer in a JPEG, and a picture one pixel wide costs more than its pixels.
MAX_SIDE = 65_535
MAX_TEXT_BYTES = 262_144
# A progressive JPEG has about ten scans; each costs a pass over the whole picture, in bytes next to nothing.
MAX_JPEG_SCANS = 100
START_OF_SCAN = b"\xff\xda"
# Pillow reads a file piece by piece, in Python, a microsecond each: fill bytes of a JPEG one at a time, chunks of a
# PNG, blocks of a GIF, tags of a TIFF. Headers of cameras are a hundred pieces, 20 MB of a PNG are ten thousand.
HEADER_PIECES, FILE_PIECES = 4_000, 50_000
# A tag of a TIFF becomes a Python list, and of strips a tuple each; more strips or tiles than this no picture needs.
MAX_TIFF_VALUES = 65_536
# The orders of bytes, each with offsets of 4 and of 8 bytes.
TIFF = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
# Types of tags that stay bytes: BYTE, ASCII, SBYTE, UNDEFINED.
TIFF_BYTES = (1, 2, 6, 7)
# EXIF's tag, and those of its values that exchange rows and columns.
ORIENTATION, ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
# Opaque pixels that fill this share of their bounding box are a picture with a margin, not strokes on nothing.
OPAQUE_SHARE = 0.8

Made = TypeVar("Made")
Code = Literal["inverted", "blank", "off_centre", "several_objects"]


@dataclass(frozen=True)
class Picture:
    """What the model will see, [height, width] of the contract, and what was noticed on the way."""

    pixels: Gray
    warnings: tuple[Code, ...] = ()


@dataclass(frozen=True)
class Seen:
    """One object of a picture, as the model will see it."""

    pixels: Gray
    box: Box  # in the picture as it was uploaded, upright


@dataclass(frozen=True)
class Sheet:
    """What is on a picture, as one of several things that a model is asked about."""

    picture: Picture  # what it is taken to be of
    objects: tuple[Seen, ...]  # in the order of reading; none on a blank one
    best: int  # the object that the picture is taken to be of


def open_limited(data: bytes, max_pixels: int) -> Image.Image:
    """The header is read, no pixel is decoded. Raises InvalidRequest for what is no picture, ContentTooLarge for a
    side beyond MAX_SIDE, more than `max_pixels`, a header without end or a JPEG that would be decoded over and over."""
    if not data:
        raise InvalidRequest("is empty")
    # Pillow's own limit is one for all; ours is an argument.
    Image.MAX_IMAGE_PIXELS = None
    # Text beside a picture is inflated while the header is read; nobody reads it here.
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT_BYTES
    if (values := _most_values(data)) > MAX_TIFF_VALUES:
        raise ContentTooLarge(f"has a TIFF tag of {values:,} values; at most {MAX_TIFF_VALUES:,} are allowed")
    file = PiecesCounted(data)
    try:
        image = Image.open(file, formats=FORMATS)
    except (AppError, MemoryError):
        raise
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
    file.most = FILE_PIECES
    return image


def _most_values(data: bytes) -> int:
    """Of the tags in a TIFF's first directory, as they say; 0 of what is none, or is damaged."""
    if data[:4] not in TIFF:
        return 0
    order, is_big = TIFF[data[:4]]
    offset, count, entry = ("Q", "Q", "HHQ8x") if is_big else ("I", "H", "HHI4x")
    try:
        [begin] = struct.unpack_from(order + offset, data, 8 if is_big else 4)
        [entries] = struct.unpack_from(order + count, data, begin)
    except (struct.error, OverflowError):  # the place is beyond the file, or beyond any
        return 0
    begin, size = begin + struct.calcsize(order + count), struct.calcsize(order + entry)
    entries = min(entries, HEADER_PIECES, (len(data) - begin) // size)
    told = struct.iter_unpack(order + entry, data[begin : begin + max(0, entries) * size])
    return max((values for _, kind, values in told if kind not in TIFF_BYTES), default=0)


class PiecesCounted(io.BytesIO):
    """A file of which no more than so many pieces are read. Raises ContentTooLarge."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.pieces, self.most = 0, HEADER_PIECES

    def read(self, size: int | None = -1, /) -> bytes:
        self.pieces += 1
        if self.pieces > self.most:
            part = "header" if self.most == HEADER_PIECES else "file"
            raise ContentTooLarge(f"has a {part} of more than {self.most:,} pieces; at most so many are allowed")
        return super().read(size)


def opened_again(image: Image.Image) -> Image.Image:
    """The same file, of which nothing is decoded, as of the first; what becomes of either leaves the other alone."""
    file = getattr(image, "fp", None)
    assert isinstance(file, PiecesCounted)  # open_limited gave it
    again = PiecesCounted(file.getvalue())
    again.most = FILE_PIECES
    return Image.open(again, formats=FORMATS)


def decode(image: Image.Image) -> Gray:
    """A grayscale picture of at most WORKING_SIDE, upright, transparency resolved; of animations the first frame.

    Raises InvalidRequest if it is damaged.
    """
    return decoded(image, _grayscale)


def decoded(image: Image.Image, made: Callable[[Image.Image], Made]) -> Made:
    """What is made of it. Raises InvalidRequest if it is damaged, ContentTooLarge for a file of too many pieces."""
    try:
        return made(image)
    except (AppError, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parser stumbles on
        raise InvalidRequest(f"is damaged or truncated: {error}") from error


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Rows and columns, turned as its EXIF says. Asked before it is decoded, which may make it smaller. Raises
    InvalidRequest if it is damaged: of a PNG all is read, since its EXIF may stand behind the pixels."""
    columns, rows = image.size
    return (columns, rows) if decoded(image, _orientation) in ON_ITS_SIDE else (rows, columns)


def _orientation(image: Image.Image) -> int:
    told: int = image.getexif().get(ORIENTATION, 1)
    return told


def _grayscale(image: Image.Image) -> Gray:
    file, mode = getattr(image, "fp", None), image.mode
    gray = gray_levels(upright := upright_and_small(image, "L" if mode in ("L", "RGB", "YCbCr") else mode))
    if mode in ("L", "LA", "1") or contrast(gray) >= BLANK_CONTRAST:
        return gray
    if upright.mode == "L" and file is not None:  # a JPEG, of which no colours were decoded
        upright = upright_and_small(Image.open(file, formats=FORMATS), mode)
    channels = [gray_levels(channel) for channel in _channels(upright)]
    best = max(channels, key=contrast, default=gray)
    return best if contrast(best) >= COLOUR_CONTRAST else gray


def upright_and_small(image: Image.Image, mode: str) -> Image.Image:
    """Decoded, of at most WORKING_SIDE, as L, LA, RGB, RGBA or with numbers of another scale."""
    # A JPEG is decoded at the smallest of its sizes (1/1, 1/2, 1/4, 1/8) that still has the working side.
    image.draft(mode, (WORKING_SIDE, WORKING_SIDE))
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return image
    image = _plain_mode(image)
    factor = -(-max(image.size) // WORKING_SIDE)
    return image.reduce(factor) if factor > 1 else image


def gray_levels(upright: Image.Image) -> Gray:
    if upright.mode == "F" or upright.mode.startswith("I"):
        return _eight_bits(_block_means(np.asarray(upright), -(-max(upright.size) // WORKING_SIDE)))
    if upright.mode in ("LA", "RGBA"):
        return _over_background(np.asarray(upright.convert("LA")))
    return np.asarray(upright.convert("L"))


def _channels(upright: Image.Image) -> list[Image.Image]:
    """Red, green and blue, each with what is transparent."""
    if upright.mode == "RGBA":
        *colours, alpha = upright.split()
        return [Image.merge("LA", (colour, alpha)) for colour in colours]
    return list(upright.split()) if upright.mode == "RGB" else []


def contrast(gray: Gray) -> int:
    """Between the darkest and the lightest of which there is more than dirt."""
    return contrast_of(Image.fromarray(gray).histogram())


def contrast_of(histogram: list[int]) -> int:
    """The same, of how many pixels have each level."""
    counts = np.cumsum(histogram)
    darkest, lightest = np.searchsorted(counts, np.array(PHOTO_PERCENTILES) / 100 * counts[-1])
    return int(lightest - darkest)


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
    top, bottom, left, right = inked(opaque, 0)
    inside, shown = gray[top:bottom, left:right], opaque[top:bottom, left:right]
    if shown.any() and shown.mean() >= OPAQUE_SHARE and np.ptp(inside[shown]) >= BLANK_CONTRAST:
        return float(np.median(border(inside)))
    weight = float(alpha.sum())
    ink = float((gray * alpha).sum()) / weight if weight else 0.0
    return 255.0 if ink < 128 else 0.0


def fit(gray: Gray, contract: ImageInput) -> Picture:
    """Light ink on a background of 0, scaled and centred as the contract says. A picture that is so already passes
    unchanged."""
    if has_geometry(gray, contract):
        return Picture(gray)
    if contract.centre == "box":
        return _everything(gray, contract)
    ink = find_ink(gray)
    if ink is None:
        return _blank(contract)
    objects = find_objects(ink.levels, ink.floor)
    best = objects.all[objects.best]
    return Picture(_fitted(ink, best, contract), _noticed(ink, objects, gray.shape))


def fit_all(gray: Gray, contract: ImageInput, size: tuple[int, int] | None = None) -> Sheet:
    """As `fit`, and each object. A picture that has the contract's geometry already is one. `size` is that of the
    picture of which the gray levels are, in rows and columns: boxes are told in its pixels."""
    size = size or (gray.shape[0], gray.shape[1])
    if has_geometry(gray, contract):
        return Sheet(Picture(gray), (Seen(gray, placed(inked(gray, 0), gray.shape, size)),), 0)
    ink = find_ink(gray)
    if ink is None:
        return Sheet(_blank(contract), (), 0)
    objects = find_objects(ink.levels, ink.floor)
    seen = tuple(
        Seen(_fitted(ink, each, contract), placed(ink.placed(each.box), gray.shape, size)) for each in objects.all
    )
    picture = Picture(seen[objects.best].pixels, _noticed(ink, objects, gray.shape))
    return Sheet(picture, seen, objects.best)


def _blank(contract: ImageInput) -> Picture:
    return Picture(np.zeros((contract.height, contract.width), np.uint8), ("blank",))


def _fitted(ink: Ink, of: Object, contract: ImageInput) -> Gray:
    strokes = ink.within(of.box, ENOUGH_PIXELS * contract.box)
    if of.foreign is not None:
        strokes = strokes * ~_enlarged(of.foreign, strokes.shape)
    return centred(scaled(thickened(strokes, contract.box), contract.box), contract)


def _enlarged(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if mask.shape == shape:
        return mask
    return np.asarray(Image.fromarray(mask).resize((shape[1], shape[0]), Image.Resampling.NEAREST))


def _noticed(ink: Ink, objects: Objects, shape: tuple[int, ...]) -> tuple[Code, ...]:
    codes: list[Code] = ["inverted"] if ink.inverted else []
    if _is_off_centre(ink.placed(around([each.box for each in objects.all])), shape):
        codes.append("off_centre")
    if len(objects.all) > 1:
        codes.append("several_objects")
    return tuple(codes)


def _is_off_centre(box: Box, shape: tuple[int, ...]) -> bool:
    height, width = shape
    vertical = abs((box.top + box.bottom) / 2 - height / 2) / height
    horizontal = abs((box.left + box.right) / 2 - width / 2) / width
    return max(vertical, horizontal) > OFF_CENTRE


def _everything(gray: Gray, contract: ImageInput) -> Picture:
    """Of a contract that centres the box: what is on the picture may fill it."""
    ink, inverted = ink_beside_border(gray)
    if ink is None:
        return _blank(contract)
    box = inked(ink, INK_FLOOR * 255)
    codes: list[Code] = ["inverted"] if inverted else []
    if _is_off_centre(box, gray.shape):
        codes.append("off_centre")
    strokes = scaled(ink[box.top : box.bottom, box.left : box.right], contract.box, gap=None)
    return Picture(centred(strokes, contract), tuple(codes))
