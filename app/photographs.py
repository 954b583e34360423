"""A photograph in colour → the picture that a card asks for, and warnings. Pure: knows no model, no HTTP, no settings.

`colours_of` makes any picture red, green and blue, `fit_colours` gives it the frame of the contract; training and
serving use both, in one as `fit_photograph`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from app.card import ImageInput, PhotographInput
from app.geometry import has_geometry
from app.images import Code, contrast_of, decoded, gray_levels, upright_and_small
from app.ink import BLANK_CONTRAST, Box, border
from app.morphology import Gray

Colours = NDArray[np.uint8]  # [H, W, 3]: red, green, blue

# A border is of one colour if this share of its pixels differs by no more levels than that, in any channel, from the
# median: a studio's background, as JPEG leaves it.
PLAIN_SHARE, PLAIN = 0.9, 6
# What differs by more levels from such a border is on the picture; white cloth on white differs little.
DIFFERENT = 12
# A row or column with fewer such pixels than this share of the picture's longer side has dirt on it.
DIRT = 1 / 200
# What is on the picture gets a margin on every side of this share of its longer side.
MARGIN = 0.06

# A picture of a data set of gray drawings is no larger than this, has no colour (JPEG leaves a few levels of one), and
# its border is dark but where what is drawn touches it: of all but two in a thousand garments of Fashion-MNIST.
SMALL, COLOURLESS, DARK, DARK_SHARE, LIGHT = 64, 12, 30, 0.6, 128


@dataclass(frozen=True)
class Photograph:
    """What the model will see, [height, width, 3] of the contract, and what was noticed on the way."""

    pixels: Colours
    warnings: tuple[Code, ...] = ()


class Background(NamedTuple):
    """Of a picture, by its border."""

    colour: tuple[int, ...]
    plain: bool  # nearly all of the border has it


def fit_photograph(image: Image.Image, contract: PhotographInput) -> Photograph:
    """Of a picture whose pixels need not be decoded yet (`app.images.open_limited`), in any of Pillow's modes. Raises
    InvalidRequest if it is damaged."""
    return fit_colours(colours_of(image), contract)


def colours_of(image: Image.Image) -> Colours:
    """At most WORKING_SIDE on a side, upright, over white where it is transparent; of animations the first frame.

    Raises InvalidRequest if it is damaged.
    """
    return decoded(image, _colours)


def _colours(image: Image.Image) -> Colours:
    upright = upright_and_small(image, image.mode)
    if upright.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", upright.size, "white")
        white.alpha_composite(upright.convert("RGBA"))
        return np.asarray(white.convert("RGB"))
    if upright.mode != "RGB":  # gray, or numbers of another scale
        upright = Image.fromarray(gray_levels(upright)).convert("RGB")
    return np.asarray(upright)


def fit_colours(colours: Colours, contract: PhotographInput) -> Photograph:
    """What is on the picture in the middle of the frame, as large as it holds, on the colour of the border."""
    background, picture = background_of(colours), Image.fromarray(colours)
    warnings = _noticed(picture)
    if background.plain:
        box = _box_of_what_differs(picture, background.colour)
        if box is None:
            warnings = ("blank",)
        else:
            picture = _cut_out(picture, box, background.colour)
    return Photograph(np.asarray(_framed(picture, contract, background.colour)), warnings)


def background_of(colours: Colours) -> Background:
    """The colour that nearly all of the border has, or else its mean."""
    at_border = border(colours).astype(np.int16)  # [N, 3]; in bytes a difference would wrap around
    median = np.rint(np.median(at_border, axis=0)).astype(np.int16)
    if np.mean((np.abs(at_border - median) <= PLAIN).all(axis=1)) >= PLAIN_SHARE:
        return Background(tuple(median.tolist()), plain=True)
    return Background(tuple(np.rint(at_border.mean(axis=0)).astype(int).tolist()), plain=False)


def _noticed(picture: Image.Image) -> tuple[Code, ...]:
    counts = picture.histogram()  # of the levels of red, then of green, then of blue
    most = max(contrast_of(counts[start : start + 256]) for start in (0, 256, 512))
    return () if most >= BLANK_CONTRAST else ("blank",)


def _box_of_what_differs(picture: Image.Image, colour: tuple[int, ...]) -> Box | None:
    # Pillow's planes: NumPy takes ten times as long for a maximum over an axis of three.
    red, green, blue = ImageChops.difference(picture, Image.new("RGB", picture.size, colour)).split()
    differs = np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue)) > DIFFERENT
    least = max(1, round(max(differs.shape) * DIRT))
    rows, columns = (np.flatnonzero(np.count_nonzero(differs, axis) >= least) for axis in (1, 0))
    if not (len(rows) and len(columns)):
        return None
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def _cut_out(picture: Image.Image, box: Box, colour: tuple[int, ...]) -> Image.Image:
    """A part with its margin, which may reach beyond the picture."""
    margin = round(MARGIN * max(box.height, box.width))
    part = Image.new("RGB", (box.width + 2 * margin, box.height + 2 * margin), colour)
    part.paste(picture, (margin - box.left, margin - box.top))
    return part


def _framed(picture: Image.Image, contract: PhotographInput, colour: tuple[int, ...]) -> Image.Image:
    """In the middle of the frame, as far as whole pixels allow, its aspect kept."""
    scale = min(contract.width / picture.width, contract.height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    frame = Image.new("RGB", (contract.width, contract.height), colour)
    frame.paste(picture, ((contract.width - size[0]) // 2, (contract.height - size[1]) // 2))
    return frame


def may_be_of_data_set(size: tuple[int, int], contract: ImageInput) -> bool:
    """By its size alone."""
    return max(size) <= max(SMALL, contract.height, contract.width)


def looks_like_data_set(picture: Gray | Colours, contract: ImageInput) -> bool:
    """Whether it has the geometry of the gray pictures that the contract is of, or is small, colourless and mostly dark
    at its border, as they are; [H, W] or [H, W, 3]. All else is a photograph."""
    if not may_be_of_data_set(picture.shape[:2], contract):
        return False
    gray = picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))
    if has_geometry(gray, contract):
        return True
    colour = 0 if picture.ndim == 2 else int(np.ptp(picture.astype(np.int16), axis=2).max())
    if colour > COLOURLESS:
        return False
    # Garments of its own size may fill the frame.
    limit, share = (LIGHT, 0.5) if gray.shape == (contract.height, contract.width) else (DARK, DARK_SHARE)
    return bool(np.mean(border(gray) < limit) >= share)
