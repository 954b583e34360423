"""Multi-layer perceptrons on pictures, and their recipes (rows A5, A6 and A9 of the course).

percept train mnist-dnn mnist-mlp fashion-mlp
"""

from collections import OrderedDict

from torch import nn

from training.augment import Jitter
from training.data import FASHION_MNIST, MNIST
from training.recipe import DIGIT_INPUT, GARMENT_INPUT, Recipe

PIXELS = 28 * 28
CLASSES = 10


def one_hidden_layer(hidden: int = 128, dropout: float = 0.0) -> nn.Module:
    layers: list[tuple[str, nn.Module]] = [
        ("flatten", nn.Flatten()),
        ("hidden", nn.Linear(PIXELS, hidden)),
        ("relu", nn.ReLU()),
        ("dropout", nn.Dropout(dropout)),
        ("logits", nn.Linear(hidden, CLASSES)),
    ]
    return nn.Sequential(OrderedDict(layer for layer in layers if layer[0] != "dropout" or dropout))


def two_hidden_layers(hidden: int = 256) -> nn.Module:
    """He initialisation (He et al. 2015), which keeps the variance of the activations through ReLU layers."""
    network = _two_hidden_layers(hidden)
    for layer in (network.hidden1, network.hidden2, network.logits):
        assert isinstance(layer, nn.Linear)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return network


def two_hidden_layers_normal(hidden: int = 256) -> nn.Module:
    """The course's initialisation: every weight and bias drawn from N(0, 1)."""
    network = _two_hidden_layers(hidden)
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network


def _two_hidden_layers(hidden: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            hidden1=nn.Linear(PIXELS, hidden),
            relu1=nn.ReLU(),
            hidden2=nn.Linear(hidden, hidden),
            relu2=nn.ReLU(),
            logits=nn.Linear(hidden, CLASSES),
        )
    )


RECIPES = (
    Recipe(
        name="mnist-dnn",
        title="Digits, one hidden layer with dropout",
        description="784 → 128 ReLU → dropout 0.2 → 10.",
        source=MNIST,
        subject="digits",
        input=DIGIT_INPUT,
        body=lambda: one_hidden_layer(dropout=0.2),
        parameters=101_770,
        floor=0.980,
        epochs=40,
        learning_rate=5e-3,
        augmentation=Jitter(shift=1, degrees=6, scale=0.06),
    ),
    Recipe(
        name="mnist-mlp",
        title="Digits, two hidden layers",
        description="784 → 256 ReLU → 256 ReLU → 10, He initialisation.",
        source=MNIST,
        subject="digits",
        input=DIGIT_INPUT,
        body=two_hidden_layers,
        parameters=269_322,
        floor=0.983,
        epochs=40,
        augmentation=Jitter(shift=1, degrees=8, scale=0.08),
        variants={"weights and biases ~ N(0, 1), the course's initialisation": two_hidden_layers_normal},
    ),
    Recipe(
        name="fashion-mlp",
        title="Clothing, one hidden layer",
        description="784 → 128 ReLU → 10.",
        source=FASHION_MNIST,
        subject="clothing",
        input=GARMENT_INPUT,
        body=one_hidden_layer,
        parameters=101_770,
        floor=0.885,
        epochs=40,
        learning_rate=4e-3,
        augmentation=Jitter(shift=0.5, flip=True),
    ),
)
