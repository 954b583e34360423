"""Random changes to batches of pictures, made on tensors. Pure: takes and gives a batch, randomness is an argument."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Jitter:
    """How far a picture may be moved: each amount is the largest change, drawn evenly from both sides of none."""

    shift: float = 0.0  # pixels
    degrees: float = 0.0
    scale: float = 0.0  # 0.1: between 0.9 and 1.1 times
    shear: float = 0.0  # tangent of the slant
    flip: bool = False  # left-right, every second picture

    def __str__(self) -> str:
        parts = [
            f"shift {self.shift:g} px" if self.shift else "",
            f"rotation {self.degrees:g}°" if self.degrees else "",
            f"scale {self.scale:.0%}" if self.scale else "",
            f"shear {self.shear:g}" if self.shear else "",
            "left-right flip" if self.flip else "",
        ]
        return ", ".join(part for part in parts if part) or "none"


NO_JITTER = Jitter()


def jitter(images: Tensor, amount: Jitter, generator: torch.Generator) -> Tensor:
    """Move each picture of a batch by an affine map of its own.

    `images` is float [N, H, W]; what comes in from outside is 0. One bilinear resampling does it all.
    """
    if amount == NO_JITTER:
        return images
    rows, height, width = images.shape

    def draw(largest: float) -> Tensor:
        uniform = torch.rand(rows, generator=generator, device=images.device)
        return (2 * uniform - 1) * largest

    angle, shear, zoom = draw(math.radians(amount.degrees)), draw(amount.shear), 1 + draw(amount.scale)
    mirror = torch.ones(rows, device=images.device)
    if amount.flip:
        mirror = torch.where(draw(1.0) < 0, -mirror, mirror)
    # The grid maps output to input places in [-1, 1], so a shift of one pixel is 2 / width.
    theta = torch.stack(
        [
            torch.stack([mirror * zoom * angle.cos(), zoom * (shear - angle.sin()), draw(2 * amount.shift / width)], 1),
            torch.stack([mirror * zoom * angle.sin(), zoom * angle.cos(), draw(2 * amount.shift / height)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [rows, 1, height, width], align_corners=False)
    return F.grid_sample(images[:, None], grid, align_corners=False)[:, 0]
