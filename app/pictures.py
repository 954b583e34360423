"""Uploaded files → the batch of pictures that a model takes. Knows no HTTP and no queue."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.card import ImageInput, PhotographInput
from app.errors import AppError
from app.geometry import has_geometry
from app.images import Picture, Sheet, decode, fit, fit_all, open_limited, opened_again, upright_size
from app.morphology import Gray
from app.photographs import (
    Photograph,
    colours_of,
    fit_colours,
    fit_photograph,
    looks_like_data_set,
    may_be_of_data_set,
)
from app.png import MAX_SIDE, decode_gray

# A picture that is decoded, or one of which the header alone is read.
Opened = Gray | Image.Image
Made = TypeVar("Made")


def read_pictures(
    files: Sequence[bytes], contract: ImageInput | PhotographInput, max_pixels: int
) -> Sequence[Picture | Photograph]:
    """`max_pixels` is what all files together may have. Raises an AppError that says which file is at fault."""
    opened = open_pictures(files, max_pixels)
    return fit_pictures(opened, contract) if isinstance(contract, ImageInput) else fit_photographs(opened, contract)


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


def pixels_to_fit(opened: Sequence[Opened], contract: ImageInput | PhotographInput) -> int:
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


def fit_photographs(opened: Sequence[Opened], contract: PhotographInput) -> list[Photograph]:
    return _of_each(opened, lambda picture: _photograph(picture, contract))


def all_of_data_set(opened: Sequence[Opened], contract: ImageInput) -> bool:
    """Whether each is decoded, of the size that the contract has, and like the data set: nothing is to be fitted."""
    wanted = (contract.height, contract.width)
    return all(
        isinstance(picture, np.ndarray) and picture.shape == wanted and looks_like_data_set(picture, contract)
        for picture in opened
    )


def fit_by_looks(opened: Sequence[Opened], contract: ImageInput, frame: PhotographInput) -> list[Picture | Photograph]:
    """As `fit_pictures` what looks like the data set that the contract is of, as `fit_photographs` all else."""
    return _of_each(opened, lambda picture: _by_looks(picture, contract, frame))


def _by_looks(picture: Opened, contract: ImageInput, frame: PhotographInput) -> Picture | Photograph:
    if isinstance(picture, np.ndarray):
        if has_geometry(picture, contract):
            return Picture(picture)
        is_gray = looks_like_data_set(picture, contract)
    else:  # looked at by another, since this one decides itself what is decoded of it
        is_gray = may_be_of_data_set(picture.size, contract) and looks_like_data_set(
            colours_of(opened_again(picture)), contract
        )
    return fit(_gray(picture), contract) if is_gray else _photograph(picture, frame)


def _photograph(picture: Opened, contract: PhotographInput) -> Photograph:
    if not isinstance(picture, np.ndarray):
        return fit_photograph(picture, contract)
    return fit_colours(np.repeat(picture[..., np.newaxis], 3, axis=2), contract)


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


def stack(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """[N, H, W] or [N, H, W, 3]: the batch that the model's input takes."""
    return pictures[0][np.newaxis] if len(pictures) == 1 else np.stack(pictures)
