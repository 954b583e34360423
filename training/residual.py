"""A small residual network (He et al. 2016) for pictures of 28 × 28, and how it is made smaller once it is trained.
Knows no data and no training."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class NormalisedConv(nn.Module):
    """A convolution, without padding lost, and batch normalisation (Ioffe and Szegedy 2015) after it."""

    def __init__(self, taken: int, given: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(taken, given, size, stride, padding=size // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(given)

    def forward(self, maps: Tensor) -> Tensor:
        normalised: Tensor = self.norm(self.conv(maps))
        return normalised

    def fold(self) -> None:
        """The normalisation of a trained network is a product and a sum, and becomes part of the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


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


def folded(network: nn.Module) -> nn.Module:
    """The same function in evaluation mode, with normalisations folded into the convolutions before them."""
    network.eval()
    for part in list(network.modules()):
        if isinstance(part, NormalisedConv):
            part.fold()
    return network
