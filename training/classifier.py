"""The module around each network: pixels in, logits or probabilities out. What is trained is what is exported."""

import torch
from torch import Tensor, nn


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


class WithProbabilities(nn.Module):
    """The graph that is exported: both outputs under the names that the card explains."""

    def __init__(self, classifier: ImageClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.classifier(image)
        return logits, logits.softmax(dim=1)
