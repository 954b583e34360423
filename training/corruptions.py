"""Fifteen ways to spoil a picture of a digit, after the kinds of MNIST-C (Mu and Gilmer 2019), made here and seeded, to
measure how an accuracy falls. Training knows relatives of most: spots, dotted lines and zigzags are the same marks, at
other places. How strong each is was set before any network was measured. Knows no network."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training import stray_lines

Pictures = NDArray[np.uint8]  # [N, 28, 28]
Corruption = Callable[[Tensor, np.random.Generator], Tensor]  # [N, H, W] of 0 to 1 → the same, spoilt


def corrupted(images: Pictures, kind: str, seed: int = 0) -> Pictures:
    """Of one of KINDS; the same pictures with the same seed."""
    spoil = KINDS[kind]
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    spoilt = spoil(torch.from_numpy(images).float() / 255, rng)
    return np.asarray((spoilt.clamp(0, 1) * 255).round().to(torch.uint8).numpy())


# --- noise -----------------------------------------------------------------------------------------------------------


def shot_noise(images: Tensor, rng: np.random.Generator) -> Tensor:
    """A white pixel is 15 pieces of light, give or take."""
    return torch.from_numpy(rng.poisson(images.numpy() * 15) / 15).float()


def impulse_noise(images: Tensor, rng: np.random.Generator) -> Tensor:
    draw = _uniform(images.shape, rng)
    return torch.where(draw < 0.06, 0.0, torch.where(draw > 0.94, 1.0, images))


# --- blur ------------------------------------------------------------------------------------------------------------


def glass_blur(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Each pixel is taken from one at most two away, and the whole is smoothed."""
    places = _identity(images) + _uniform((*images.shape, 2), rng, -2.5, 2.5).round() * 2 / images.shape[2]
    moved = F.grid_sample(images[:, None], places, mode="nearest", align_corners=False)
    return F.avg_pool2d(moved, 3, 1, 1)[:, 0]


def motion_blur(images: Tensor, rng: np.random.Generator) -> Tensor:
    """The mean along a way of seven pixels, in a direction of its own, half as bright again."""
    angle = _uniform((len(images), 1, 1), rng, 0, np.pi)
    way = torch.stack([angle.cos(), angle.sin()], -1) * 2 / images.shape[2]
    base = _identity(images)
    steps = [F.grid_sample(images[:, None], base + step * way, align_corners=False)[:, 0] for step in range(-3, 4)]
    return torch.stack(steps).mean(0) * 1.5


# --- geometry --------------------------------------------------------------------------------------------------------


def shear(images: Tensor, rng: np.random.Generator) -> Tensor:
    slant = _signed(images, rng, 0.3, 0.5)
    return _affine(images, torch.ones_like(slant), slant, torch.zeros_like(slant), torch.ones_like(slant))


def scale(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Smaller, as by 0.55 to 0.75."""
    factor = 1 / _uniform((len(images),), rng, 0.55, 0.75)
    nothing = torch.zeros_like(factor)
    return _affine(images, factor, nothing, nothing, factor)


def rotate(images: Tensor, rng: np.random.Generator) -> Tensor:
    """By 15 to 30 degrees."""
    angle = _signed(images, rng, np.radians(15), np.radians(30))
    return _affine(images, angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def translate(images: Tensor, rng: np.random.Generator) -> Tensor:
    """By 2 to 4 pixels along each axis."""
    one, nothing = torch.ones(len(images)), torch.zeros(len(images))
    right, down = (_signed(images, rng, 2, 4) * 2 / images.shape[2] for _ in range(2))
    return _affine(images, one, nothing, nothing, one, right, down)


# --- light -----------------------------------------------------------------------------------------------------------


def brightness(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Paper that is not black."""
    return images + _uniform((len(images), 1, 1), rng, 0.2, 0.4)


def fog(images: Tensor, rng: np.random.Generator) -> Tensor:
    clouds = _uniform((len(images), 1, 4, 4), rng)
    smooth = F.interpolate(clouds, images.shape[1:], mode="bicubic", align_corners=True)[:, 0]
    return images * 0.7 + smooth * 0.5


def stripe(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Four rows, somewhere, are negatives of themselves."""
    rows = torch.arange(images.shape[1])
    start = torch.from_numpy(rng.integers(2, images.shape[1] - 6, (len(images), 1)))
    inside = (rows >= start) & (rows < start + 4)
    return torch.where(inside[:, :, None], 1 - images, images)


# --- marks -----------------------------------------------------------------------------------------------------------


def spatter(images: Tensor, rng: np.random.Generator) -> Tensor:
    return _marked(images, stray_lines.spots, rng)


def dotted_line(images: Tensor, rng: np.random.Generator) -> Tensor:
    return _marked(images, stray_lines.dotted, rng)


def zigzag(images: Tensor, rng: np.random.Generator) -> Tensor:
    return _marked(images, stray_lines.zigzag, rng)


def edges(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Where the ink begins and ends, by Sobel's differences."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    change = F.conv2d(images[:, None], torch.stack([kernel, kernel.T])[:, None], padding=1)
    strength = change.square().sum(1).sqrt()
    return (strength > 1.5).float()


KINDS: dict[str, Corruption] = {
    corruption.__name__: corruption
    for corruption in (
        *(shot_noise, impulse_noise, glass_blur, motion_blur, shear, scale, rotate, translate),
        *(brightness, fog, stripe, spatter, dotted_line, zigzag, edges),
    )
}


def _uniform(shape: tuple[int, ...], rng: np.random.Generator, least: float = 0, most: float = 1) -> Tensor:
    return torch.from_numpy(rng.uniform(least, most, shape)).float()


def _signed(images: Tensor, rng: np.random.Generator, least: float, most: float) -> Tensor:
    """One amount for each picture, of either sign."""
    sign = torch.from_numpy(rng.choice([-1.0, 1.0], len(images))).float()
    return _uniform((len(images),), rng, least, most) * sign


def _identity(images: Tensor) -> Tensor:
    """[N, H, W, 2]: the grid that samples each pixel where it is."""
    theta = torch.eye(2, 3).repeat(len(images), 1, 1)
    return F.affine_grid(theta, [len(images), 1, *images.shape[1:]], align_corners=False)


def _affine(
    images: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, right: Tensor | None = None, down: Tensor | None = None
) -> Tensor:
    nothing = torch.zeros_like(a)
    across = torch.stack([a, b, nothing if right is None else right], 1)
    downwards = torch.stack([c, d, nothing if down is None else down], 1)
    grid = F.affine_grid(torch.stack([across, downwards], 1), [len(images), 1, *images.shape[1:]], align_corners=False)
    return F.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


def _marked(images: Tensor, mark: stray_lines.Mark, rng: np.random.Generator) -> Tensor:
    sheets = np.stack([stray_lines.drawn(mark, rng, images.shape[1]) for _ in images])
    return torch.maximum(images, torch.from_numpy(sheets).float() / 255)
