"""Autoencoders trained layer by layer, then as a whole. Knows no labels, no files and no graph.

Hinton and Salakhutdinov (2006) pretrain layers with Boltzmann machines; here, as in Bengio et al. (2007), each layer is
an autoencoder of the codes of the layer below.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from training.one_cycle import Cycle, descend

MASKED = 0.25  # of what a layer is given while it is pretrained (Vincent et al. 2008), so that it does not just copy
BATCH, RATE, WEIGHT_DECAY = 256, 3e-3, 1e-4


@dataclass(frozen=True)
class Layer:
    """One autoencoder of one layer: what it makes of its input, and its input again of that."""

    encode: nn.Linear
    decode: nn.Linear


@dataclass(frozen=True)
class Autoencoder:
    encoder: nn.Sequential  # pixels from 0 to 1, [n, 784] → code [n, 32]
    decoder: nn.Sequential  # code → logits of the pixels


Loss = Callable[[Tensor, Tensor], Tensor]


def squared_error(logits: Tensor, pixels: Tensor) -> Tensor:
    """[n, pixels] → [n], the mean over the pixels."""
    return (logits.sigmoid() - pixels).square().mean(1)


def cross_entropy(logits: Tensor, pixels: Tensor) -> Tensor:
    """Of each pixel as the probability of ink, in nats: [n, pixels] → [n], the mean over the pixels."""
    return (logits.clamp(min=0) - logits * pixels + (-logits.abs()).exp().log1p()).mean(1)


def cycle_of(epochs: int) -> Cycle:
    return Cycle(epochs, BATCH, RATE, WEIGHT_DECAY)


def shown(losses: Iterator[float], epochs: int, what: str) -> Iterator[float]:
    """The same, and on standard error how many of the epochs there have been."""
    yield from tqdm(losses, total=epochs, desc=what, unit=" epochs", file=sys.stderr, dynamic_ncols=True)


def greedy(pixels: Tensor, widths: Sequence[int], loss: Loss, epochs: int, what: str) -> list[Layer]:
    """Each layer learns to reconstruct the codes that the layers below give it, while those stay as they are."""
    layers: list[Layer] = []
    given = pixels
    for number, (wide, narrow) in enumerate(pairwise(widths), start=1):
        layer = Layer(nn.Linear(wide, narrow).to(given.device), nn.Linear(narrow, wide).to(given.device))
        last = number == len(widths) - 1

        def code_of(inputs: Tensor, layer: Layer = layer, last: bool = last) -> Tensor:
            code: Tensor = layer.encode(inputs)
            return code if last else code.relu()

        def loss_of(numbers: Tensor, layer: Layer = layer, given: Tensor = given, first: bool = not layers) -> Tensor:
            clean = given[numbers]
            decoded = layer.decode(code_of(clean * (torch.rand_like(clean) > MASKED), layer))
            return loss(decoded, clean).mean() if first else F.mse_loss(decoded.relu(), clean)

        parameters = [*layer.encode.parameters(), *layer.decode.parameters()]
        losses = descend(parameters, loss_of, len(given), cycle_of(epochs))
        for _ in shown(losses, epochs, f"{what}, layer {number}"):
            pass
        with torch.no_grad():
            given = code_of(given)
        layers.append(layer)
    return layers


def untrained(widths: Sequence[int]) -> list[Layer]:
    return [Layer(nn.Linear(wide, narrow), nn.Linear(narrow, wide)) for wide, narrow in pairwise(widths)]


def unrolled(layers: Sequence[Layer]) -> Autoencoder:
    """All encoders, then all decoders from the last to the first, ReLU between; the code and the pixels are without."""
    encoders = [part for layer in layers for part in (layer.encode, nn.ReLU())][:-1]
    decoders = [part for layer in reversed(layers) for part in (layer.decode, nn.ReLU())][:-1]
    return Autoencoder(nn.Sequential(*encoders), nn.Sequential(*decoders))


def fine_tune(
    network: Autoencoder, pixels: Tensor, validation: Tensor, loss: Loss, epochs: int, what: str
) -> list[tuple[float, float]]:
    """End to end. Training and validation loss of each epoch."""

    def loss_of(numbers: Tensor) -> Tensor:
        clean = pixels[numbers]
        return loss(network.decoder(network.encoder(clean)), clean).mean()

    parameters = [*network.encoder.parameters(), *network.decoder.parameters()]
    history = []
    for mean in shown(descend(parameters, loss_of, len(pixels), cycle_of(epochs)), epochs, what):
        with torch.inference_mode():
            held_out = loss(network.decoder(network.encoder(validation)), validation).mean().item()
        history.append((mean, held_out))
    return history


def pixels_of(images: Tensor) -> Tensor:
    """uint8 [n, 28, 28] → float32 [n, 784], from 0 to 1."""
    return images.flatten(1).float() / 255
