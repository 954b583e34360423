"""The module around each network: pixels in, logits or probabilities out. What is trained is what is exported."""

import torch
from torch import Tensor, nn

from training.export import Exportable


class ImageClassifier(nn.Module):
    """Scales and normalises inside, so that training and serving cannot drift."""

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, image: Tensor) -> Tensor:
        """Pixels of 0 to 255, uint8 or float, [N, H, W] → logits [N, classes]."""
        logits: Tensor = self.body((image.float() / 255 - self.mean) / self.std)
        return logits


OUTPUTS = {
    "logits": "Scores before the softmax; only their differences mean something.",
    "probabilities": "Softmax of the logits: they add up to 1. Not calibrated beyond that.",
}


class WithProbabilities(nn.Module):
    """Of a classifier: both outputs that the card explains."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.classifier(given)
        return logits, logits.softmax(dim=1)


def exportable(network: ImageClassifier) -> Exportable:
    return Exportable(WithProbabilities(network), "image", OUTPUTS)
