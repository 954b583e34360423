"""Image classifiers: a recipe and a data set in, a trained network and its history out. Writes nothing.

The whole data set is one uint8 tensor on the device and batches are index look-ups; figures stay on the device until
an epoch ends, so that nothing waits for a `.item()`.
"""

import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from app.card import Epoch
from training.augment import Augmentation
from training.classifier import ImageClassifier
from training.compact import round_to_half
from training.data import Dataset, Split
from training.memory import keep_freed_memory
from training.normalised_conv import folded
from training.one_cycle import Cycle, descend
from training.recipe import Recipe

AVERAGING_WARM_UP = 10  # steps
EVALUATION_BATCH = 250  # activations stay below what glibc maps anew (training/memory.py)


@dataclass(frozen=True)
class Fitted:
    network: ImageClassifier  # in evaluation mode, on the CPU
    history: list[Epoch]
    seconds: float


def choose_device(choice: str) -> torch.device:
    """`auto` takes CUDA where there is one. Raises ValueError if `cuda` is asked for and there is none."""
    available = torch.cuda.is_available()
    if choice == "cuda" and not available:
        raise ValueError("--device cuda: PyTorch sees no CUDA device here; allowed now: auto, cpu")
    return torch.device("cuda" if available and choice != "cpu" else "cpu")


def seed_everything(seed: int) -> torch.Generator:
    """Same seed, same machine, same weights: also where a kernel would be free to add in another order."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32, on a GPU too
    # Filling every new tensor with NaN would find reads of uninitialised memory, and costs a third of a CNN's step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.manual_seed(seed)


def build(recipe: Recipe, body: nn.Module, train: Split) -> ImageClassifier:
    """Raises ValueError if the network has not the number of parameters that the recipe states."""
    parameters = sum(parameter.numel() for parameter in body.parameters())
    if parameters != recipe.parameters:
        raise ValueError(
            f"{recipe.name}: the network has {parameters:,} parameters, the recipe says {recipe.parameters:,}"
        )
    pixels = train.images.float() / 255
    return ImageClassifier(body, pixels.mean().item(), pixels.std().item())


def fit(recipe: Recipe, dataset: Dataset, device: torch.device, variant: str | None = None) -> Fitted:
    """Train the recipe's network, or one of its variants. Raises ExportError if float16 cannot hold a weight."""
    keep_freed_memory()
    seed_everything(recipe.seed)
    body = recipe.variants[variant]() if variant else recipe.body()
    network = build(recipe, body, dataset.train).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's annotations
    generator = torch.Generator(device).manual_seed(recipe.seed)
    train, validation = dataset.train.to(device), dataset.validation.to(device)
    steps = -(-len(train) // recipe.batch_size)
    cycle = Cycle(recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.weight_decay)
    right = torch.zeros((), device=device)

    def loss_of(rows: Tensor) -> Tensor:
        images, labels = change(train.images[rows].float(), generator), train.labels[rows]
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            logits = network(images)
        labels = labels.repeat(len(logits) // len(labels))  # of a committee: for each of its members
        right.add_((logits.argmax(1) == labels).float().mean() * len(rows))
        bar.update()
        return F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)

    average = moving_average(network, recipe.averaging) if recipe.averaging else None
    judged = cast(ImageClassifier, average.module) if average else network
    follow = partial(average.update_parameters, network) if average else nothing
    losses = descend(list(network.parameters()), loss_of, len(train), cycle, generator, follow)
    history: list[Epoch] = []
    start = time.perf_counter()
    for number in range(1, recipe.epochs + 1):
        with tqdm(total=steps, desc=_label(recipe, variant, number), file=sys.stderr, dynamic_ncols=True) as bar:
            network.train()
            right.zero_()
            change = augmentation_of(recipe, number)
            loss = next(losses)
            validation_loss, validation_accuracy = evaluate(judged, validation)
            history.append(
                Epoch(
                    epoch=number,
                    loss=loss,
                    accuracy=right.item() / len(train),
                    validation_loss=validation_loss,
                    validation_accuracy=validation_accuracy,
                )
            )
            elapsed = time.perf_counter() - start
            left = elapsed / number * (recipe.epochs - number)
            bar.set_postfix_str(
                f"loss {loss:.4f}, validation {validation_accuracy:.4f}, {tqdm.format_interval(left)} left"
            )
    judged.body = folded(judged.body)
    if recipe.weights == "float16":
        round_to_half(judged.body)
    return Fitted(judged.eval().cpu(), history, time.perf_counter() - start)


def augmentation_of(recipe: Recipe, epoch: int) -> Augmentation:
    """Epochs are counted from 1."""
    closing = recipe.closing
    return closing.augmentation if closing and epoch > recipe.epochs - closing.epochs else recipe.augmentation


def moving_average(network: ImageClassifier, decay: float) -> AveragedModel:
    """Of all weights and statistics (Polyak and Juditsky 1992), as they are after each step; at the beginning over
    fewer steps, so that the first weights are soon forgotten."""

    def follow(averages: Sequence[Tensor], current: Sequence[Tensor], steps: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(steps)) / (AVERAGING_WARM_UP + int(steps)))
        for average, now in zip(averages, current, strict=True):
            if average.is_floating_point():
                average.lerp_(now, share)
            else:
                average.copy_(now)  # how many batches the statistics are of

    return AveragedModel(network, multi_avg_fn=torch.no_grad()(follow), use_buffers=True)


def nothing() -> None:
    """What follows a step if no average is kept."""


@torch.inference_mode()
def evaluate(network: ImageClassifier, split: Split) -> tuple[float, float]:
    """Mean cross-entropy and accuracy, in float32."""
    network.eval()
    logits = torch.cat([network(images) for images in split.images.split(EVALUATION_BATCH)])
    return F.cross_entropy(logits, split.labels).item(), accuracy(logits, split.labels)


def mean_history(histories: Sequence[Sequence[Epoch]]) -> list[Epoch]:
    """Of several trainings of as many epochs."""
    return [
        Epoch(
            epoch=rows[0].epoch,
            **{
                figure: statistics.fmean(getattr(row, figure) for row in rows)
                for figure in ("loss", "accuracy", "validation_loss", "validation_accuracy")
            },
        )
        for rows in zip(*histories, strict=True)
    ]


def accuracy(scores: Tensor, labels: Tensor) -> float:
    return (scores.argmax(1) == labels).float().mean().item()


def _label(recipe: Recipe, variant: str | None, number: int) -> str:
    width = len(str(recipe.epochs))
    return f"{recipe.name}{' (variant)' if variant else ''} {number:{width}}/{recipe.epochs}"
