"""Batches of photographs as other people would have taken them, and pictures of Fashion-MNIST as a shop would show
them. Pure: takes and gives a batch, randomness is an argument.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

WHITE = 255.0
TURNED = 0.2  # radians; a usual turn, twice that the largest
ZOOM, STRETCH, MOVED = (0.6, 1.12), 0.15, 0.2
LIGHT, OFFSET, SATURATION, TINT, RECOLOURED = (0.7, 1.3), 25.0, (0.2, 1.5), 0.12, 0.15
ERASED, ERASED_SIDES = 0.4, (0.1, 0.5)
COARSE, COARSEST = 0.15, 40  # a share of the pictures had no more pixels on a side than 40 to all


def as_others_take_them(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """[n, 3, H, W] of 0 to 255: turned, nearer or further, under other light, in other colours, coarser, something in
    front of it."""
    pictures = _moved(pictures, generator)
    pictures = _in_other_colours(pictures, generator)
    return _covered(_coarser(pictures, generator), generator).clamp(0, WHITE)


def in_a_shop(garments: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Pictures of Fashion-MNIST, [n, 28, 28] of 0 to 255, which are negatives of products before white, as positives in
    colour, [n, 3, side, side]."""
    share = garments[:, None] / WHITE
    rows = len(garments)
    # Black stays black and white white: what lies between takes a colour.
    colour = torch.rand(rows, 3, 1, 1, generator=generator)
    curve = _between((rows, 1, 1, 1), 0.6, 1.6, generator)
    product = 1 - share**curve * (1 - 0.7 * colour * _chosen(rows, 0.7, generator))
    large = F.interpolate(product, (side, side), mode="bicubic", align_corners=False)
    return (large.clamp(0, 1) * WHITE).clamp(0, WHITE)


def _moved(pictures: Tensor, generator: torch.Generator) -> Tensor:
    rows = len(pictures)
    angle = torch.randn(rows, generator=generator).clamp(-2, 2) * TURNED
    zoom, stretch = _between((rows,), *ZOOM, generator), _between((rows,), -STRETCH, STRETCH, generator).exp()
    mirror = torch.where(torch.rand(rows, generator=generator) < 0.5, -1.0, 1.0)
    right, down = (_between((rows,), -MOVED, MOVED, generator) for _ in range(2))
    first = torch.stack([mirror * zoom * stretch * angle.cos(), -zoom * angle.sin(), right], 1)
    second = torch.stack([mirror * zoom * angle.sin(), zoom / stretch * angle.cos(), down], 1)
    grid = F.affine_grid(torch.stack([first, second], 1), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def _in_other_colours(pictures: Tensor, generator: torch.Generator) -> Tensor:
    each = (len(pictures), 1, 1, 1)
    lit = pictures * _between(each, *LIGHT, generator) + _between(each, -OFFSET, OFFSET, generator)
    gray = lit.mean(1, keepdim=True)
    saturated = gray + (lit - gray) * _between(each, *SATURATION, generator)
    tinted = saturated * (1 + TINT * torch.randn(len(pictures), 3, 1, 1, generator=generator))
    return torch.where(_chosen(len(pictures), RECOLOURED, generator) > 0, tinted[:, [2, 0, 1]], tinted)


def _coarser(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """One size for all that are chosen."""
    side = pictures.shape[2]
    few = int(_between((1,), COARSEST, side, generator))
    small = F.interpolate(pictures, (few, few), mode="bilinear", antialias=True)
    again = F.interpolate(small, (side, side), mode="bicubic", align_corners=False)
    return torch.where(_chosen(len(pictures), COARSE, generator) > 0, again, pictures)


def _covered(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """By a rectangle of one colour."""
    rows, side = len(pictures), pictures.shape[2]
    within = []
    for _axis in range(2):
        length = _between((rows, 1), *ERASED_SIDES, generator) * side
        start = torch.rand(rows, 1, generator=generator) * (side - length)
        places = torch.arange(side)
        within.append((places > start) & (places < start + length))
    hidden = within[0][:, None, :, None] & within[1][:, None, None, :] & (_chosen(rows, ERASED, generator) > 0)
    return torch.where(hidden, WHITE * torch.rand(rows, 3, 1, 1, generator=generator), pictures)


def _between(shape: tuple[int, ...], least: float, most: float, generator: torch.Generator) -> Tensor:
    return least + (most - least) * torch.rand(shape, generator=generator)


def _chosen(rows: int, share: float, generator: torch.Generator) -> Tensor:
    """[n, 1, 1, 1]: 1 for that share of the pictures, else 0."""
    return (torch.rand(rows, 1, 1, 1, generator=generator) < share).float()
