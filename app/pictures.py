"""Uploaded files → the batch of pictures that a model takes. Knows no HTTP and no queue."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.card import ImageInput
from app.errors import AppError
from app.images import Picture, decode, fit, open_limited
from app.morphology import Gray
from app.png import MAX_SIDE, decode_gray

# A picture that is decoded, or one of which the header alone is read.
Opened = Gray | Image.Image


def read_pictures(files: Sequence[bytes], contract: ImageInput, max_pixels: int) -> list[Picture]:
    """`max_pixels` is what all files together may have. Raises an AppError that says which file is at fault."""
    return fit_pictures(open_pictures(files, max_pixels), contract)


def open_pictures(files: Sequence[bytes], max_pixels: int) -> list[Opened]:
    """Look at each file; only small PNG pictures are decoded, since that costs no more than looking."""
    opened: list[Opened] = []
    for place, file in enumerate(files, start=1):
        gray = decode_gray(file) if max_pixels >= MAX_SIDE * MAX_SIDE else None
        if gray is not None:
            max_pixels -= gray.size
            opened.append(gray)
            continue
        try:
            image = open_limited(file, max_pixels)
        except AppError as error:
            raise _of_file(error, place, len(files)) from error
        max_pixels -= image.width * image.height
        opened.append(image)
    return opened


def undecoded_pixels(opened: Sequence[Opened]) -> int:
    return sum([picture.width * picture.height for picture in opened if not isinstance(picture, np.ndarray)])


def decode_picture(picture: Opened) -> Gray:
    """A lone one, as it is. Raises InvalidRequest."""
    try:
        return picture if isinstance(picture, np.ndarray) else decode(picture)
    except AppError as error:
        raise _of_file(error, 1, 1) from error


def fit_pictures(opened: Sequence[Opened], contract: ImageInput) -> list[Picture]:
    pictures = []
    for place, picture in enumerate(opened, start=1):
        try:
            pictures.append(fit(picture if isinstance(picture, np.ndarray) else decode(picture), contract))
        except AppError as error:
            raise _of_file(error, place, len(opened)) from error
    return pictures


def _of_file(error: AppError, place: int, files: int) -> AppError:
    which = f"file {place} of {files}" if files > 1 else "the file"
    return type(error)(f"{which} {error.detail}")


def stack(pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    """[N, H, W]: the batch that the model's input `image` takes."""
    if len(pictures) == 1:
        return pictures[0].pixels[np.newaxis]
    return np.stack([picture.pixels for picture in pictures])
