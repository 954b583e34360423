"""Random changes to batches of pictures, made on tensors. Pure: takes and gives a batch, randomness is an argument."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Augmentation(Protocol):
    """What is done to each batch before the network sees it: float [N, H, W], 0 to 255, as many and as large again. As
    a string it is what the card says of it."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor: ...


@dataclass(frozen=True)
class Jitter:
    """How far a picture may be moved: each amount is the largest change, drawn evenly from both sides of none."""

    shift: float = 0.0  # pixels
    degrees: float = 0.0
    scale: float = 0.0  # 0.1: between 0.9 and 1.1 times
    shear: float = 0.0  # tangent of the slant
    flip: bool = False  # left-right, every second picture

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """An affine map for each picture; what comes in from outside is 0. One bilinear resampling does it all."""
        if self == NO_JITTER:
            return images
        rows, height, width = images.shape

        def draw(largest: float) -> Tensor:
            uniform = torch.rand(rows, generator=generator, device=images.device)
            return (2 * uniform - 1) * largest

        angle, shear, zoom = draw(math.radians(self.degrees)), draw(self.shear), 1 + draw(self.scale)
        mirror = torch.ones(rows, device=images.device)
        if self.flip:
            mirror = torch.where(draw(1.0) < 0, -mirror, mirror)
        # The grid maps output to input places in [-1, 1], so a shift of one pixel is 2 / width.
        across = [mirror * zoom * angle.cos(), zoom * (shear - angle.sin()), draw(2 * self.shift / width)]
        down = [mirror * zoom * angle.sin(), zoom * angle.cos(), draw(2 * self.shift / height)]
        theta = torch.stack([torch.stack(across, 1), torch.stack(down, 1)], 1)
        grid = F.affine_grid(theta, [rows, 1, height, width], align_corners=False)
        return F.grid_sample(images[:, None], grid, align_corners=False)[:, 0]

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
