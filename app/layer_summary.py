"""What a layer gave, summarised: its shape, a few figures, its maps as a picture, its numbers. Pure."""

from typing import Annotated, Any, NotRequired, TypeGuard

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict

from app.feature_maps import tiled
from app.inside import GraphLayer
from app.png import address

Array = NDArray[Any]

# More numbers of one layer are not told: 32 maps of 28 × 28 are, as a first convolution gives them.
MOST_NUMBERS = 26_000
# As many digits as a float32 has.
DIGITS = 7


class LayerSeen(TypedDict):
    """What a layer gave. Of numbers that are none, infinite ones and NaN, nothing is said but where all are told."""

    name: Annotated[str, Field(description="Of the tensor, as on the model's page.")]
    operation: Annotated[str, Field(description="As ONNX names it.", examples=["Conv"])]
    shape: Annotated[
        list[int] | None, Field(description="Without the axis that counts rows, unless several were sent.")
    ]
    min: Annotated[float | None, Field(description="Null where a layer gives no numbers.")]
    max: float | None
    mean: float | None
    zeros: Annotated[float | None, Field(description="The share of them that are exactly 0, of 1.")]
    picture: NotRequired[
        Annotated[
            str | None,
            Field(
                description="If asked for, the layer's maps side by side: the address of a gray PNG, the least number "
                "black, the greatest white; a vector is folded into a square."
            ),
        ]
    ]
    numbers: NotRequired[
        Annotated[
            Any,
            Field(
                description="Of the layer that was asked for, or of all, nested; null if one layer's are over "
                f"{MOST_NUMBERS:,}."
            ),
        ]
    ]


def layer_seen(layer: GraphLayer, values: Array | None, pixels: int, numbers: bool) -> LayerSeen:
    """`values` of one row are without the axis that counts rows; None for what NumPy has no type for. `pixels`
    are the most of its picture, 0 for none."""
    low, high, mean, zeros = _figures(values)
    told = LayerSeen(
        name=layer.name,
        operation=layer.operation,
        shape=None if values is None else list(values.shape),
        min=low,
        max=high,
        mean=mean,
        zeros=zeros,
    )
    if pixels:
        told["picture"] = address(tiled(values.astype(np.float64), pixels)) if has_numbers(values) else None
    if numbers:
        told["numbers"] = None if values is None or values.size > MOST_NUMBERS else values.tolist()
    return told


def has_numbers(values: Array | None) -> TypeGuard[Array]:
    return values is not None and values.size > 0 and values.dtype.kind in "biuf"


def _figures(values: Array | None) -> tuple[float | None, ...]:
    """The least, the greatest and the mean of what is finite, and the share of zeros."""
    if not has_numbers(values):
        return (None,) * 4
    known = values
    if not np.isfinite(np.array([values.min(), values.max()], np.float64)).all():  # NaN is both
        known = values[np.isfinite(values)]
    ends = (known.min(), known.max(), known.mean(dtype=np.float64)) if known.size else (None,) * 3
    return tuple(_told(each) for each in (*ends, (values.size - np.count_nonzero(values)) / values.size))


def _told(value: Any) -> float | None:
    return None if value is None else float(f"{float(value):.{DIGITS}g}")
