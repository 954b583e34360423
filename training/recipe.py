"""A recipe: one model's training, from data set and network to the floor it must reach. Values only, no work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from app.card import ImageInput
from training.augment import NO_JITTER, Augmentation
from training.data import Source


@dataclass(frozen=True)
class Closing:
    """The last epochs of a training, on pictures that are changed less: He et al. 2019 (Data augmentation revisited)
    found that a network then fits the pictures it will be asked about."""

    epochs: int
    augmentation: Augmentation


@dataclass(frozen=True)
class Recipe:
    name: str
    title: str
    description: str
    source: Source
    subject: Literal["digits", "clothing"]
    input: ImageInput
    body: Callable[[], nn.Module]  # normalised float32 [N, 28, 28] → logits [N, classes]
    parameters: int
    floor: float  # of the test accuracy; below it nothing is written
    epochs: int
    seed: int = 1
    batch_size: int = 256
    learning_rate: float = 2e-3  # the peak of the one-cycle schedule
    weight_decay: float = 1e-2
    augmentation: Augmentation = NO_JITTER  # of each batch while training
    closing: Closing | None = None
    label_smoothing: float = 0.0  # so much of each label is spread over all classes
    averaging: float | None = None  # decay of the moving average of all weights, which then is the network
    precision: Literal["float32", "bfloat16"] = "float32"  # of the training
    # What the large weights are rounded to when they are trained, and stored as; what is computed with them is float32.
    weights: Literal["float32", "float16"] = "float32"
    variants: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)  # compared with `body` on the card


# MNIST's own geometry: the ink's longer side is 20 pixels, its centre of mass in the middle of 28 × 28.
DIGIT_INPUT = ImageInput(height=28, width=28, box=20, centre="mass")
# Fashion-MNIST's: trimmed, the longer side is 28 pixels, centred.
GARMENT_INPUT = ImageInput(height=28, width=28, box=28, centre="box")
