"""The network for photographs of clothes: EfficientNet-Lite0 as ImageNet taught it, with logits of its own, and what is
served of it. Knows no data and no training.
"""

import torch
from torch import Tensor, nn

from app.card import PhotographInput
from training.clothing_dataset import CLASSES
from training.data import FASHION_MNIST
from training.efficientnet import FEATURES, EfficientNetLite0

INPUT = PhotographInput(height=128, width=128)
TEN = len(FASHION_MNIST.labels)
# What is subtracted, and divided by, as when it learned ImageNet.
MIDDLE, HALF = 127.0, 128.0
# Edges and textures are what ImageNet taught; eight blocks of sixteen are left as they are.
LEFT_AS_THEY_ARE = 8
DROPOUT = 0.3

WARNED_SHARE = 0.02

OUTPUTS = {
    "logits": "Scores before the softmax; only their differences mean something.",
    "probabilities": "Softmax of the logits divided by a temperature, chosen on photographs by people of whom the "
    "network had seen nothing.",
    "unlike_training_data": "Whether it looks like none of the ten: the scores of the ten are lower, or those of other "
    f"clothes higher, than in {1 - WARNED_SHARE:.0%} of such photographs.",
}


class PhotographNet(nn.Module):
    """Pixels [N, 3, H, W] of 0 to 255 → logits [N, classes]: the ten, then what is none of them."""

    def __init__(self, backbone: EfficientNetLite0) -> None:
        super().__init__()
        self.early = nn.Sequential(backbone.stem, *backbone.blocks[:LEFT_AS_THEY_ARE]).requires_grad_(False)
        self.late = nn.Sequential(*backbone.blocks[LEFT_AS_THEY_ARE:], backbone.head)
        self.dropout = nn.Dropout(DROPOUT)
        self.logits = nn.Linear(FEATURES, len(CLASSES))
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def train(self, mode: bool = True) -> "PhotographNet":
        super().train(mode)
        self.early.eval()  # its statistics stay those of ImageNet
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        maps = self.early((pictures - MIDDLE) / HALF)
        answer: Tensor = self.logits(self.dropout(self.late(maps).mean((2, 3))))
        return answer


class Answering(nn.Module):
    """What is served: photographs as they come, the ten classes, and whether it may be none of them."""

    temperature: Tensor
    least: Tensor

    def __init__(self, network: nn.Module, temperature: float, least: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("temperature", torch.tensor(temperature))
        self.register_buffer("least", torch.tensor(least))

    def forward(self, photograph: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 [N, H, W, 3]"""
        scores = self.network(photograph.permute(0, 3, 1, 2).float())
        ten = scores[:, :TEN]
        return ten, (ten / self.temperature).softmax(dim=1), likeness(scores) < self.least


def likeness(scores: Tensor) -> Tensor:
    """Of logits [N, classes]: how large those of the ten are, and how much of the probability is theirs."""
    return 2 * scores[:, :TEN].logsumexp(1) - scores.logsumexp(1)
