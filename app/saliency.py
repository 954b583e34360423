"""Occlusion of a model's picture: by how much the answer falls when a part of the picture is covered. Knows models, no
HTTP and no queue; what is covered app/occlusion.py knows."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict

from app.card import INPUT_NAMES, PROBABILITIES
from app.feature_maps import gray
from app.images import Gray
from app.model import Model
from app.occlusion import Patches, by_pixel, occluded
from app.png import address

Array = NDArray[Any]
GoOn = Callable[[], None]

# So many occluded pictures run together: 64 take no less time, and 20 MB more of what a worker keeps.
TOGETHER = 16
FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


class Occluded(TypedDict):
    """A patch is laid over every part of the picture, and the model asked again."""

    patch: Annotated[int, Field(description="The side of the square that covers, in pixels of what the model saw.")]
    stride: Annotated[int, Field(description="How far it moves; at the edge less, so that no pixel is left out.")]
    fill: Annotated[int, Field(description="The level of covered pixels; 0 is the background.")]
    output: Annotated[
        str,
        Field(description="What falls: `probabilities`, or of a model that has none another output of its card."),
    ]
    value: Annotated[float, Field(description="That of the answered class with nothing covered.")]
    tops: Annotated[list[int], Field(description="The patch's first row, of each row of `falls`.")]
    lefts: Annotated[list[int], Field(description="The patch's first column, of each column of `falls`.")]
    falls: Annotated[
        list[list[float]],
        Field(description="How much less the value is with the patch there; negative: more."),
    ]
    picture: Annotated[
        str,
        Field(
            description="The mean fall of the patches over each pixel, as the address of a gray PNG: the greatest is "
            "white, none is black."
        ),
    ]


def occlusion(model: Model, pixels: Gray, index: int, patches: Patches, go_on: GoOn) -> Occluded | None:
    """Of the answer `index`. `go_on` is called before each batch, and what it raises ends it. None for a model that has
    no number for its answer."""
    output = _deciding(model)
    if output is None:
        return None
    batch = np.concatenate([pixels[np.newaxis], occluded(pixels, patches)])
    values: list[float] = []
    for start in range(0, len(batch), TOGETHER):
        go_on()
        [rows] = model.run({INPUT_NAMES["image"]: batch[start : start + TOGETHER]}, [output])
        values += (rows[:, index] if rows.ndim > 1 else rows).astype(np.float64).tolist()
    whole, *covered = values
    falls = np.array([whole - value for value in covered])
    return Occluded(
        patch=patches.side,
        stride=patches.stride,
        fill=patches.fill,
        output=output,
        value=whole,
        tops=patches.tops,
        lefts=patches.lefts,
        falls=falls.reshape(len(patches.tops), len(patches.lefts)).tolist(),
        picture=address(gray(by_pixel(falls, patches), low=0.0)),
    )


def _deciding(model: Model) -> str | None:
    """An output with a number for each class; failing that, one with a single number."""
    card = model.require_card()
    if PROBABILITIES in card.outputs:
        return PROBABILITIES
    nodes = [node for node in model.session.get_outputs() if node.name in card.outputs and node.type in FLOATS]
    by_class = [node.name for node in nodes if node.shape[1:] == [len(card.labels)]]
    single = [node.name for node in nodes if len(node.shape) == 1]
    return next(iter(by_class + single), None)
