"""A small residual network (He et al. 2016) for pictures of 28 × 28. Knows no data and no training."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from training.normalised_conv import NormalisedConv


class Block(nn.Module):
    """Two convolutions beside a way past them."""

    def __init__(self, taken: int, given: int, stride: int) -> None:
        super().__init__()
        self.conv1 = NormalisedConv(taken, given, stride=stride)
        self.relu1 = nn.ReLU()
        self.conv2 = NormalisedConv(given, given)
        same = taken == given and stride == 1
        self.shortcut: nn.Module = nn.Identity() if same else NormalisedConv(taken, given, size=1, stride=stride)
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        added: Tensor = self.relu2(self.conv2(self.relu1(self.conv1(maps))) + self.shortcut(maps))
        return added


class MeanOverPlaces(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))


def residual_network(channels: Sequence[int], blocks: Sequence[int], classes: int, dropout: float) -> nn.Module:
    """[N, 28, 28] → logits. One convolution at full size, then so many blocks at each width, the sides halved by the
    first of each width but the first; the mean over all places, and one dense layer."""
    taken = channels[0]
    layers: list[tuple[str, nn.Module]] = [
        ("channel", nn.Unflatten(1, (1, 28))),  # [N, 28, 28] → [N, 1, 28, 28]
        ("stem", NormalisedConv(1, taken)),
        ("relu", nn.ReLU()),
    ]
    for stage, (given, count) in enumerate(zip(channels, blocks, strict=True)):
        for place in range(count):
            layers.append((f"block{stage}_{place}", Block(taken, given, 2 if stage and not place else 1)))
            taken = given
    layers += [("mean", MeanOverPlaces()), ("dropout", nn.Dropout(dropout)), ("logits", nn.Linear(taken, classes))]
    return nn.Sequential(OrderedDict(layers))
