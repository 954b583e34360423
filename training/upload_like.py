"""Batches of digits made to look as if people had uploaded them: other pens, coarse scans, blur, uneven paper, noise,
stray lines. Pure: takes and gives a batch, randomness is an argument.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training import stray_lines

WHITE = 255.0
# A drawn stroke's strongest ink after erosion or a coarse scan is made full again; what is fainter than this is not.
FAINTEST = 0.2
STRAYS, SEED = 2000, 5
KINDS = (stray_lines.straight, stray_lines.zigzag, stray_lines.dotted, stray_lines.spots)

Change = Callable[[Tensor, torch.Generator], Tensor]  # [n, H, W] of 0 to 1 → the same, changed


@dataclass(frozen=True)
class UploadLike:
    """So large a share of each batch, picked at random, as uploads look; of the rest only the affine and elastic
    differences of one hand from another."""

    share: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        chosen = torch.rand(len(images), generator=generator, device=images.device) < self.share
        pictures = images / WHITE
        changed = torch.empty_like(pictures)
        changed[~chosen] = warped(pictures[~chosen], HAND, generator)
        changed[chosen] = as_uploads_look(pictures[chosen], generator)
        return changed.clamp(0, 1) * WHITE

    def __str__(self) -> str:
        return (
            f"affine and elastic; {self.share:.0%} of the pictures more, and with "
            f"{', '.join(change.__name__.replace('_', ' ') for _, change in CHANGES)}"
        )


@dataclass(frozen=True)
class Warp:
    """How far pictures are moved: half of each amount is a usual one for degrees, each is the largest for the rest."""

    degrees: float
    slant: float  # tangent
    scale: float  # logarithm
    stretch: float  # logarithm of width over height, halved
    shift: float  # pixels
    elastic: float = 0.0  # pixels


HAND = Warp(degrees=12, slant=0.12, scale=0.1, stretch=0.1, shift=1.6, elastic=1.2)
ANOTHER_HAND = Warp(degrees=18, slant=0.25, scale=0.15, stretch=0.18, shift=1.6, elastic=2.0)
MISPLACED = Warp(degrees=34, slant=0.4, scale=0.4, stretch=0.1, shift=4.5)
ELASTIC_CELLS = 5
SHAKES = (-1.0, -2 / 3, -1 / 3, 0.0, 1 / 3, 2 / 3, 1.0)  # of the half of a way


def warped(images: Tensor, warp: Warp, generator: torch.Generator) -> Tensor:
    """An affine map and a smooth displacement for each picture, [n, H, W], in one bilinear resampling; what comes in
    from outside is 0."""
    rows, height, width = images.shape
    if not rows:
        return images
    angle = torch.randn(rows, generator=generator).clamp(-2, 2) / 2 * math.radians(warp.degrees)
    scale, stretch = _draw(rows, warp.scale, generator).exp(), _draw(rows, warp.stretch, generator).exp()
    slant = _draw(rows, warp.slant, generator)
    wide, high = scale * stretch, scale / stretch
    across = [wide * angle.cos(), wide * (slant - angle.sin()), _draw(rows, 2 * warp.shift / width, generator)]
    down = [high * angle.sin(), high * angle.cos(), _draw(rows, 2 * warp.shift / height, generator)]
    theta = torch.stack([torch.stack(across, 1), torch.stack(down, 1)], 1)
    grid = F.affine_grid(theta, [rows, 1, height, width], align_corners=False)
    if warp.elastic:
        push = torch.randn(rows, 2, ELASTIC_CELLS, ELASTIC_CELLS, generator=generator)
        push = push * (2 * warp.elastic / width) * torch.rand(rows, 1, 1, 1, generator=generator)
        smooth = F.interpolate(push, (height, width), mode="bicubic", align_corners=True)
        grid = grid + smooth.permute(0, 2, 3, 1)
    return F.grid_sample(images[:, None], grid.to(images.device), align_corners=False)[:, 0]


def as_uploads_look(images: Tensor, generator: torch.Generator) -> Tensor:
    """[n, H, W] of 0 to 1. Each change happens to its share of the pictures, in turn, so that some have several."""
    pictures = warped(images, ANOTHER_HAND, generator)
    for share, change in CHANGES:
        [chosen] = (torch.rand(len(pictures), generator=generator) < share).nonzero(as_tuple=True)
        if len(chosen):
            pictures[chosen] = change(pictures[chosen], generator).clamp(0, 1)
    return pictures


# --- the changes -----------------------------------------------------------------------------------------------------


def misplaced(pictures: Tensor, generator: torch.Generator) -> Tensor:
    return warped(pictures, MISPLACED, generator)


def thick_pens(pictures: Tensor, generator: torch.Generator) -> Tensor:
    wider = F.max_pool2d(pictures[:, None], 3, 1, 1)[:, 0]
    return pictures + _amount(pictures, 0, 1, generator) * (wider - pictures)


def thin_pens(pictures: Tensor, generator: torch.Generator) -> Tensor:
    finer = F.interpolate(pictures[:, None], scale_factor=2, mode="bilinear")
    thinner = -F.max_pool2d(-finer, 3, 1, 1)
    mixed = finer + _amount(pictures, 0, 1, generator)[:, None] * (thinner - finer)
    return _full(F.avg_pool2d(mixed, 2)[:, 0])


def coarse_scans(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """One resolution for all of the batch."""
    side = int(torch.randint(7, 15, (1,), generator=generator))
    smooth = bool(torch.rand(1, generator=generator) < 0.6)
    coarse = F.adaptive_avg_pool2d(pictures[:, None], side)
    size = pictures.shape[1:]
    return _full(F.interpolate(coarse, size, mode="bicubic" if smooth else "nearest").clamp(0, 1)[:, 0])


def blur(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """By a Gaussian, one for all of the batch."""
    deviation = 0.4 + 0.9 * float(torch.rand(1, generator=generator))
    line = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / (2 * deviation**2))
    kernel = torch.outer(line, line) / line.sum() ** 2
    return F.conv2d(pictures[:, None], kernel[None, None].to(pictures.device), padding=2)[:, 0]


def shaken(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """The mean along a way of its own for each, up to nine pixels long; as bright as before or brighter."""
    angle = math.pi * torch.rand(len(pictures), generator=generator)
    length = 2 + 7 * torch.rand(len(pictures), generator=generator)
    way = (torch.stack([angle.cos(), angle.sin()], 1) * length[:, None] / pictures.shape[2])[:, None, None]
    there, size = _where_each_pixel_is(pictures), pictures[:, None]
    moved = [F.grid_sample(size, (there + step * way).to(size.device), align_corners=False) for step in SHAKES]
    return torch.cat(moved, 1).mean(1) * _amount(pictures, 1, 1.8, generator)


def seen_through_glass(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each pixel is taken from one near it, and the whole is smoothed or not."""
    far = _amount(pictures, 1, 3, generator).cpu()[..., None]
    push = ((2 * torch.rand(*pictures.shape, 2, generator=generator) - 1) * far).round() * 2 / pictures.shape[2]
    places = (_where_each_pixel_is(pictures) + push).to(pictures.device)
    moved = F.grid_sample(pictures[:, None], places, mode="nearest", align_corners=False)
    smooth = _amount(pictures, 0, 1, generator)
    return smooth * F.avg_pool2d(moved, 3, 1, 1)[:, 0] + (1 - smooth) * moved[:, 0]


def bands(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """A few rows or columns that are negatives of themselves."""
    side, count = pictures.shape[1], len(pictures)
    first = torch.randint(0, side, (count, 1), generator=generator)
    last = first + torch.randint(1, 6, (count, 1), generator=generator)
    rows = torch.arange(side)
    inside = ((rows >= first) & (rows < last))[:, :, None]
    upright = torch.rand(count, 1, 1, generator=generator) < 0.3
    within = torch.where(upright, inside.mT, inside).to(pictures.device)
    return torch.where(within, 1 - pictures, pictures)


def hard_edges(pictures: Tensor, generator: torch.Generator) -> Tensor:
    threshold, slope = _amount(pictures, 0.2, 0.6, generator), _amount(pictures, 2, 20, generator)
    return (pictures - threshold) * slope + 0.5


def faint_and_heavy_ink(pictures: Tensor, generator: torch.Generator) -> Tensor:
    return pictures ** _amount(pictures, -0.9, 0.9, generator).exp()


def lines_across(pictures: Tensor, generator: torch.Generator) -> Tensor:
    return torch.maximum(pictures, _stray(pictures, generator) * _amount(pictures, 0.5, 1, generator))


def crossing_out(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Lines that are dark where they cross ink."""
    return (pictures - _stray(pictures, generator)).abs()


def ruled_paper(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """One line across, or several at equal distances, one or two pixels wide; lighter than ink or as strong, over the
    ink or under it."""
    count, height = len(pictures), pictures.shape[1]
    rows = torch.arange(height).expand(count, height)
    distance = torch.randint(6, 2 * height, (count, 1), generator=generator)
    width, first = (
        torch.randint(least, most, (count, 1), generator=generator) for least, most in ((1, 3), (0, height))
    )
    on_line = (((rows - first) % distance) < width)[:, :, None].to(pictures.device)
    lined = torch.where(on_line, _amount(pictures, 0.2, 1, generator), 0.0)
    over = (_amount(pictures, 0, 1, generator) < 0.3) & on_line
    return torch.where(over, (pictures - lined).abs(), torch.maximum(pictures, lined))


def uneven_paper(pictures: Tensor, generator: torch.Generator) -> Tensor:
    cells = torch.rand(len(pictures), 1, 4, 4, generator=generator)
    shade = F.interpolate(cells, pictures.shape[1:], mode="bicubic", align_corners=True)[:, 0].to(pictures.device)
    amount = _amount(pictures, 0, 0.6, generator)
    return pictures * (1 - amount / 2) + amount * shade


def gray_paper(pictures: Tensor, generator: torch.Generator) -> Tensor:
    return pictures * _amount(pictures, 0.4, 1, generator) + _amount(pictures, 0, 0.5, generator)


def noise(pictures: Tensor, generator: torch.Generator) -> Tensor:
    normal = torch.randn(pictures.shape, generator=generator).to(pictures.device)
    return pictures + normal * _amount(pictures, 0, 0.35, generator)


def salt_and_pepper(pictures: Tensor, generator: torch.Generator) -> Tensor:
    draw = torch.rand(pictures.shape, generator=generator).to(pictures.device)
    share = _amount(pictures, 0, 0.15, generator)
    peppered = torch.where(draw < share, 0.0, pictures)
    return torch.where(draw > 1 - share, 1.0, peppered)


def outlines(pictures: Tensor, generator: torch.Generator) -> Tensor:
    edges = F.max_pool2d(pictures[:, None], 3, 1, 1) + F.max_pool2d(-pictures[:, None], 3, 1, 1)
    return edges[:, 0] * _amount(pictures, 1, 3, generator)


def negatives(pictures: Tensor, generator: torch.Generator) -> Tensor:
    return 1 - pictures


# What share of the pictures that are to look like uploads each happens to.
CHANGES: tuple[tuple[float, Change], ...] = (
    (0.12, misplaced),
    (0.30, thick_pens),
    (0.25, thin_pens),
    (0.15, coarse_scans),
    (0.15, blur),
    (0.06, shaken),
    (0.06, seen_through_glass),
    (0.20, hard_edges),
    (0.20, faint_and_heavy_ink),
    (0.15, lines_across),
    (0.04, crossing_out),
    (0.06, ruled_paper),
    (0.10, uneven_paper),
    (0.06, gray_paper),
    (0.10, noise),
    (0.06, salt_and_pepper),
    (0.06, outlines),
    (0.06, bands),
    (0.04, negatives),
)


def _draw(rows: int, largest: float, generator: torch.Generator) -> Tensor:
    return (2 * torch.rand(rows, generator=generator) - 1) * largest


def _amount(pictures: Tensor, least: float, most: float, generator: torch.Generator) -> Tensor:
    """One for each picture, [n, 1, 1]."""
    amounts = least + (most - least) * torch.rand(len(pictures), 1, 1, generator=generator)
    return amounts.to(pictures.device)


def _where_each_pixel_is(pictures: Tensor) -> Tensor:
    """[n, H, W, 2]: the grid that samples each pixel where it is."""
    count, height, width = pictures.shape
    return F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), [count, 1, height, width], align_corners=False)


def _full(pictures: Tensor) -> Tensor:
    """Each with its strongest ink at 1."""
    return pictures / pictures.amax((1, 2), keepdim=True).clamp_min(FAINTEST)


def _stray(pictures: Tensor, generator: torch.Generator) -> Tensor:
    lines = _strays(pictures.shape[1])
    return lines[torch.randint(len(lines), (len(pictures),), generator=generator)].to(pictures.device)


@cache
def _strays(side: int) -> Tensor:
    """[STRAYS, side, side] of 0 to 1."""
    rng = np.random.default_rng(SEED)
    sheets = [stray_lines.drawn(KINDS[rng.integers(len(KINDS))], rng, side) for _ in range(STRAYS)]
    return torch.from_numpy(np.stack(sheets)).float() / WHITE
