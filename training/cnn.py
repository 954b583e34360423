"""Small convolutional networks on pictures, and their recipes (rows A7, A8 and A10 of the course).

percept train mnist-cnn mnist-lenet fashion-cnn
"""

from collections import OrderedDict

from torch import nn

from training.augment import Jitter
from training.data import FASHION_MNIST, MNIST
from training.recipe import DIGIT_INPUT, GARMENT_INPUT, Recipe

CLASSES = 10


def two_convolutions(channels: tuple[int, int], hidden: int) -> nn.Module:
    """Two 5 × 5 convolutions without padding, each followed by ReLU and max-pooling (28 → 24 → 12 → 8 → 4), then two
    dense layers: LeNet's plan (LeCun et al. 1998) with today's activations."""
    first, second = channels
    return nn.Sequential(
        OrderedDict(
            channel=nn.Unflatten(1, (1, 28)),  # [N, 28, 28] → [N, 1, 28, 28]
            conv1=nn.Conv2d(1, first, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(first, second, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            hidden=nn.Linear(second * 4 * 4, hidden),
            relu3=nn.ReLU(),
            logits=nn.Linear(hidden, CLASSES),
        )
    )


RECIPES = (
    Recipe(
        name="mnist-cnn",
        title="Digits, convolutional network",
        description="conv 5×5×32 → max-pool 2 → conv 5×5×64 → max-pool 2 → dense 64 → dense 10, ReLU between.",
        source=MNIST,
        subject="digits",
        input=DIGIT_INPUT,
        body=lambda: two_convolutions((32, 64), 64),
        parameters=118_346,
        floor=0.992,
        epochs=20,
        batch_size=128,
        learning_rate=5e-3,
        augmentation=Jitter(shift=1.5, degrees=10, scale=0.1),
        precision="bfloat16",
    ),
    Recipe(
        name="mnist-lenet",
        title="Digits, LeNet style",
        description="conv 5×5×6 → max-pool 2 → conv 5×5×16 → max-pool 2 → dense 120 → dense 10 → log-softmax; ReLU.",
        source=MNIST,
        subject="digits",
        input=DIGIT_INPUT,
        body=lambda: two_convolutions((6, 16), 120),
        parameters=34_622,
        floor=0.990,
        epochs=20,
        learning_rate=4e-3,
        augmentation=Jitter(shift=1.5, degrees=10, scale=0.1),
        precision="bfloat16",
    ),
    Recipe(
        name="fashion-cnn",
        title="Clothing, convolutional network",
        description="conv 5×5×32 → max-pool 2 → conv 5×5×64 → max-pool 2 → dense 64 → dense 10, ReLU between.",
        source=FASHION_MNIST,
        subject="clothing",
        input=GARMENT_INPUT,
        body=lambda: two_convolutions((32, 64), 64),
        parameters=118_346,
        floor=0.915,
        epochs=12,
        batch_size=128,
        learning_rate=4e-3,
        # Anything but the flip resamples, and blurs the texture that tells garments apart (docs/performance.md).
        augmentation=Jitter(flip=True),
        precision="bfloat16",
    ),
)
