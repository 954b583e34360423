"""A convolutional network for pictures of 28 × 28 that halves them by max-pooling, after the plan of Jordan 2024 (94 %
on CIFAR-10 in 3.29 seconds). Knows no data and no training."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from training.normalised_conv import NormalisedConv


class MaxOverPlaces(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.amax((2, 3))


def stage(taken: int, given: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            conv1=NormalisedConv(taken, given, pool=2),
            relu1=nn.ReLU(),
            conv2=NormalisedConv(given, given),
            relu2=nn.ReLU(),
        )
    )


def pooled_network(stem: int, channels: Sequence[int], classes: int, dropout: float) -> nn.Module:
    """[N, 28, 28] → logits. One convolution at full size, then one stage for each width: a convolution, max-pooling to
    half the size, another convolution. The largest value over all places, and one dense layer."""
    layers: list[tuple[str, nn.Module]] = [
        ("channel", nn.Unflatten(1, (1, 28))),  # [N, 28, 28] → [N, 1, 28, 28]
        ("stem", NormalisedConv(1, stem)),
        ("relu", nn.ReLU()),
    ]
    for place, (taken, given) in enumerate(zip((stem, *channels), channels, strict=False)):
        layers.append((f"stage{place}", stage(taken, given)))
    layers += [("max", MaxOverPlaces()), ("dropout", nn.Dropout(dropout)), ("logits", nn.Linear(channels[-1], classes))]
    return nn.Sequential(OrderedDict(layers))
