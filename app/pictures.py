"""Uploaded files → the batch of pictures that a model takes. Knows no HTTP and no queue."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.card import ImageInput
from app.errors import AppError
from app.images import Picture, Sheet, decode, fit, fit_all, open_limited, upright_size
from app.morphology import Gray
from app.png import MAX_SIDE, decode_gray

# A picture that is decoded, or one of which the header alone is read.
Opened = Gray | Image.Image
Made = TypeVar("Made")


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


def pixels_to_fit(opened: Sequence[Opened], contract: ImageInput) -> int:
    """Of what has to be decoded, or is larger or smaller than the model takes it."""
    wanted, pixels = (contract.height, contract.width), 0
    for picture in opened:
        if not isinstance(picture, np.ndarray):
            pixels += picture.width * picture.height
        elif picture.shape != wanted:
            pixels += picture.size
    return pixels


def decode_picture(picture: Opened) -> Gray:
    """A lone one, as it is. Raises InvalidRequest."""
    [gray] = _of_each([picture], _gray)
    return gray


def fit_pictures(opened: Sequence[Opened], contract: ImageInput) -> list[Picture]:
    return _of_each(opened, lambda picture: fit(_gray(picture), contract))


def fit_sheets(opened: Sequence[Opened], contract: ImageInput) -> list[Sheet]:
    """The same with every object on them."""

    def fitted(picture: Opened) -> Sheet:
        size = None if isinstance(picture, np.ndarray) else upright_size(picture)
        return fit_all(_gray(picture), contract, size)

    return _of_each(opened, fitted)


def _gray(picture: Opened) -> Gray:
    return picture if isinstance(picture, np.ndarray) else decode(picture)


def _of_each(opened: Sequence[Opened], made: Callable[[Opened], Made]) -> list[Made]:
    results = []
    for place, picture in enumerate(opened, start=1):
        try:
            results.append(made(picture))
        except AppError as error:
            raise _of_file(error, place, len(opened)) from error
    return results


def _of_file(error: AppError, place: int, files: int) -> AppError:
    which = f"file {place} of {files}" if files > 1 else "the file"
    return type(error)(f"{which} {error.detail}")


def stack(pictures: Sequence[Gray]) -> NDArray[np.uint8]:
    """[N, H, W]: the batch that the model's input `image` takes."""
    return pictures[0][np.newaxis] if len(pictures) == 1 else np.stack(pictures)
