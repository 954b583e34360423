"""What a caller of gradients through a deep network is answered. Knows no HTTP."""

from typing import Annotated

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from app.errors import GoOn
from app.lab import charts
from app.lab.activations import SATURATED
from app.lab.charts import Line
from app.lab.flow_request import Asked
from app.lab.gradient_flow import Layer, flow, network


class LayerTold(TypedDict):
    layer: Annotated[int, Field(description="1 is the first hidden layer, the last is the output.")]
    gradient_norm: Annotated[float, Field(description="Euclidean, of the loss by the layer's weights.")]
    mean: Annotated[float, Field(description="Of what the layer gives, over samples and units.")]
    deviation: Annotated[float, Field(description="Its standard deviation.")]
    flat: Annotated[
        float,
        Field(
            description=f"Share of samples and units whose derivative is below {SATURATED:.0%} of the greatest there "
            "is."
        ),
    ]
    dead: Annotated[
        int, Field(description="Units that are flat for all samples: a step changes next to nothing before them.")
    ]


class NetworkTold(TypedDict):
    activation: str
    loss: Annotated[float, Field(description="Mean squared difference from random targets.")]
    first_to_last: Annotated[
        float | None,
        Field(description="The gradient norm of the first layer over that of the last hidden one; null for 0 / 0."),
    ]
    layers: list[LayerTold]


class Flow(TypedDict):
    """One entry in `networks` for each activation function, all with the same weights and samples."""

    depth: int
    width: int
    samples: int
    start: str
    seed: int
    networks: list[NetworkTold]


def answer(asked: Asked, go_on: GoOn = lambda: None) -> Flow:
    """`go_on` is called before each layer, and what it raises ends it."""
    same = network(asked.depth, asked.width, asked.samples, asked.start, asked.seed)
    networks = []
    for activation in asked.activations:
        with np.errstate(all="ignore"):
            loss, layers = flow(same, activation, go_on)
        first, last = layers[0].gradient_norm, layers[-2].gradient_norm
        networks.append(
            NetworkTold(
                activation=activation,
                loss=loss,
                first_to_last=first / last if last else None,
                layers=[_told(place, layer) for place, layer in enumerate(layers, start=1)],
            )
        )
    return Flow(
        depth=asked.depth,
        width=asked.width,
        samples=asked.samples,
        start=asked.start,
        seed=asked.seed,
        networks=networks,
    )


def _told(place: int, layer: Layer) -> LayerTold:
    return LayerTold(
        layer=place,
        gradient_norm=layer.gradient_norm,
        mean=layer.mean,
        deviation=layer.deviation,
        flat=layer.flat,
        dead=layer.dead,
    )


def draw(told: Flow) -> str:
    """Gradient norms and the share that is flat, by layer."""
    head = f"{told['depth']} hidden layers of {told['width']} units, start: {told['start']}"
    layers = [[layer["layer"] for layer in network["layers"]] for network in told["networks"]]
    norms, flat = (
        [
            Line(network["activation"], x, [layer[figure] for layer in network["layers"]])
            for network, x in zip(told["networks"], layers, strict=True)
        ]
        for figure in ("gradient_norm", "flat")
    )
    return charts.draw(
        head,
        [
            charts.Panel("norm of the gradient by each layer's weights", "layer, the output last", norms, powers=True),
            charts.Panel("share of units and samples that let next to nothing through", "layer, the output last", flat),
        ],
    )
