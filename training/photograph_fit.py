"""How a network learns photographs of clothes: from photographs whose classes may be one of several, and from
Fashion-MNIST's pictures as a shop would show them. Writes nothing, chooses nothing.
"""

import sys
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from app.card import Epoch
from training.clothing_dataset import CLASSES, Photographs
from training.compact import round_to_half
from training.data import Split
from training.efficientnet import pretrained
from training.fit import moving_average, seed_everything
from training.memory import keep_freed_memory
from training.normalised_conv import folded
from training.one_cycle import Cycle, descend
from training.photograph_like import as_others_take_them, in_a_shop
from training.photograph_net import INPUT, TEN, PhotographNet

BATCH, LEARNING_RATE, WEIGHT_DECAY = 32, 1e-3, 0.02
AVERAGING = 0.98
# So often another picture of the batch shines through each, and is an answer in its measure (Zhang et al. 2018).
MIXED = 0.5
PRODUCTS = 640  # pictures of Fashion-MNIST in each epoch, others each time
SHOES_AND_BAGS, MORE = (5, 7, 8, 9), 2  # of which photographs tell least: so many times as often


def loss_of_allowed(scores: Tensor, allowed: Tensor) -> Tensor:
    """[N]: minus the logarithm of the probability that it is one of the classes that are allowed, [N, classes]."""
    return scores.logsumexp(1) - scores.masked_fill(~allowed, -torch.inf).logsumexp(1)


@dataclass(frozen=True)
class Learned:
    network: PhotographNet  # in evaluation mode, normalisations folded
    losses: list[float]
    accuracies: list[float]  # of the batches as they were changed
    judged: list[tuple[float, float]]  # after each epoch: cross-entropy and accuracy of those kept aside

    def history(self) -> list[Epoch]:
        """Where some were kept aside."""
        return [
            Epoch(epoch=number, loss=loss, accuracy=accuracy, validation_loss=looked[0], validation_accuracy=looked[1])
            for number, (loss, accuracy, looked) in enumerate(
                zip(self.losses, self.accuracies, self.judged, strict=True), 1
            )
        ]


def learn(train: Photographs, aside: Photographs | None, products: Split, epochs: int, seed: int, name: str) -> Learned:
    """From photographs, and from Fashion-MNIST's pictures as products; `aside` is looked at and not learned from."""
    keep_freed_memory()
    generator = seed_everything(seed)
    network = PhotographNet(pretrained()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = moving_average(network, AVERAGING)
    judged = cast(PhotographNet, average.module)
    rows = len(train) + min(PRODUCTS, len(products))
    weights = torch.ones(TEN)
    weights[list(SHOES_AND_BAGS)] = MORE
    chances = weights[products.labels]
    right: list[float] = []

    def loss_of(numbers: Tensor) -> Tensor:
        photographs, shop = numbers[numbers < len(train)], int((numbers >= len(train)).sum())
        of_shop = torch.multinomial(chances, shop, replacement=True, generator=generator) if shop else numbers[:0]
        pixels = torch.cat(
            [
                train.pixels[photographs].permute(0, 3, 1, 2).float(),
                in_a_shop(products.images[of_shop].float(), INPUT.height, generator),
            ]
        )
        allowed = torch.cat(
            [train.allowed[photographs], nn.functional.one_hot(products.labels[of_shop], len(CLASSES)).bool()]
        )
        pixels = as_others_take_them(pixels, generator)
        share, other = mixture(len(pixels), generator)
        pixels = share * pixels + (1 - share) * pixels[other]
        scores = network(pixels.contiguous(memory_format=torch.channels_last))
        bar.update()
        right.append(float(allowed.gather(1, scores.argmax(1, keepdim=True)).float().mean()))
        return (share * loss_of_allowed(scores, allowed) + (1 - share) * loss_of_allowed(scores, allowed[other])).mean()

    cycle = Cycle(epochs, BATCH, LEARNING_RATE, WEIGHT_DECAY)
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    follow = partial(average.update_parameters, network)
    steps, losses = descend(learning, loss_of, rows, cycle, generator, follow), []
    accuracies, looks = [], []
    for epoch in range(1, epochs + 1):
        description = f"{name} {epoch}/{epochs}"
        with tqdm(total=-(-rows // BATCH), desc=description, file=sys.stderr, dynamic_ncols=True) as bar:
            network.train()
            losses.append(next(steps))
            accuracies.append(float(np.mean(right)))
            right.clear()
            if aside is not None:
                looks.append(look(judged, aside))
                bar.set_postfix_str(f"loss {losses[-1]:.4f}, unseen senders {looks[-1][1]:.4f}")
    round_to_half(folded(judged))
    return Learned(judged.eval().requires_grad_(False), losses, accuracies, looks)


def mixture(rows: int, generator: torch.Generator) -> tuple[float, Tensor]:
    """The share of each picture, a half or more, and the number of the one that shines through it."""
    mixed, amount = torch.rand(2, generator=generator).tolist()
    share = 1 - amount**2 / 2 if mixed < MIXED else 1.0
    return share, torch.randperm(rows, generator=generator)


def look(network: nn.Module, aside: Photographs) -> tuple[float, float]:
    known = aside.known()
    ten = scores_of(network, known.pixels)[:, :TEN]
    accuracy = (ten.argmax(1) == known.labels).float().mean().item()
    return nn.functional.cross_entropy(ten, known.labels).item(), accuracy


@torch.inference_mode()
def scores_of(network: nn.Module, pixels: Tensor) -> Tensor:
    network.eval()
    batches = (rows.permute(0, 3, 1, 2).float() for rows in pixels.split(BATCH))
    return torch.cat([network(rows.contiguous(memory_format=torch.channels_last)) for rows in batches])
