"""Several networks, or one that looks twice, that answer as one. Knows no network."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn


class Committee(nn.Module):
    """The mean of its members' logits. While it is trained each member answers for itself, [members · N, classes], one
    after the other, so that each learns the whole task and their mistakes differ."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pictures: Tensor) -> Tensor:
        answers = [cast(Tensor, member(pictures)) for member in self.members]
        return torch.cat(answers) if self.training else torch.stack(answers).mean(0)


class Mirrored(nn.Module):
    """The mean of the logits of a picture and of its mirror image: what a garment is does not depend on it. While it is
    trained the network sees the picture alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        """[N, H, W]"""
        if self.training:
            return cast(Tensor, self.network(pictures))
        both = cast(Tensor, self.network(torch.cat([pictures, pictures.flip(2)])))
        answer: Tensor = both.unflatten(0, (2, -1)).mean(0)
        return answer
