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


ERASED_AREA, ERASED_ASPECT = (0.02, 0.3), (0.3, 1 / 0.3)  # as Zhong et al. 2017 have it


@dataclass(frozen=True)
class ShiftAndErase:
    """By whole pixels, so that nothing is resampled and textures stay sharp; mirrored every second time; and, in a
    share of the pictures, a rectangle of noise over something that the network then must do without (random erasing,
    Zhong et al. 2017)."""

    shift: int = 2  # pixels
    erased: float = 0.5  # the share of the pictures

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        rows, height, width = images.shape
        device = images.device

        def draw(*size: int) -> Tensor:
            return torch.rand(rows, *size, generator=generator, device=device)

        mirrored = torch.where(draw(1, 1) < 0.5, images.flip(2), images)
        padded = F.pad(mirrored, (self.shift,) * 4)
        top, left = ((draw(1) * (2 * self.shift + 1)).long() for _ in range(2))
        down, across = torch.arange(height, device=device) + top, torch.arange(width, device=device) + left
        shifted = padded[torch.arange(rows, device=device)[:, None, None], down[:, :, None], across[:, None]]
        area, aspect = draw(1), draw(1)
        area = height * width * (ERASED_AREA[0] + area * (ERASED_AREA[1] - ERASED_AREA[0]))
        aspect = torch.exp(math.log(ERASED_ASPECT[0]) + aspect * math.log(ERASED_ASPECT[1] / ERASED_ASPECT[0]))
        within = _span(height, (area * aspect).sqrt(), draw(1))[:, :, None] & _span(
            width, (area / aspect).sqrt(), draw(1)
        ).unsqueeze(1)
        chosen = draw(1, 1) < self.erased
        noise = 255 * torch.rand(images.shape, generator=generator, device=device)
        return torch.where(within & chosen, noise, shifted)

    def __str__(self) -> str:
        erased = f", random erasing of {self.erased:.0%}" if self.erased else ""
        return f"shift {self.shift} px, left-right flip{erased}"


def _span(length: int, size: Tensor, place: Tensor) -> Tensor:
    """[n, length]: a run of `size` pixels, [n, 1], as far along as `place`, 0 to 1, says."""
    size = size.clamp(max=length)
    start = place * (length - size)
    middles = torch.arange(length, device=size.device) + 0.5
    return (middles > start) & (middles < start + size)


NO_JITTER = Jitter()
