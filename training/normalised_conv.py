"""A convolution with batch normalisation, and how the two become one once a network is trained. Knows no network."""

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class NormalisedConv(nn.Module):
    """A convolution, without padding lost, and batch normalisation (Ioffe and Szegedy 2015) after it. With `pool`
    max-pooling lies between the two: four times fewer values to normalise. The normalisation then learns no factors, so
    that what it multiplies by is positive, and may be done before the maximum is taken as well as after."""

    def __init__(self, taken: int, given: int, size: int = 3, stride: int = 1, pool: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(taken, given, size, stride, padding=size // 2, groups=groups, bias=False)
        self.pad: nn.Module = nn.Identity()  # for what the convolution's own padding cannot say
        self.pool: nn.Module = nn.MaxPool2d(pool) if pool > 1 else nn.Identity()
        norm = nn.BatchNorm2d(given)
        norm.weight.requires_grad_(pool == 1)
        self.norm: nn.Module = norm

    def forward(self, maps: Tensor) -> Tensor:
        normalised: Tensor = self.norm(self.pool(self.conv(self.pad(maps))))
        return normalised

    def fold(self) -> None:
        """The normalisation of a trained network is a product and a sum, and becomes part of the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


def folded(network: nn.Module) -> nn.Module:
    """The same function in evaluation mode, with normalisations folded into the convolutions before them."""
    network.eval()
    for part in list(network.modules()):
        if isinstance(part, NormalisedConv):
            part.fold()
    return network
