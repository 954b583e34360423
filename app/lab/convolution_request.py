"""What a caller asks of a convolution: the kernel, padding, stride and pooling, and maybe the matrix, within limits.
Knows no HTTP and no picture.

The limits keep one request to a few hundredths of a second of one thread, beside decoding a picture.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from app.errors import ContentTooLarge, InvalidRequest
from app.lab.convolution import Padding, padding_all_round, padding_for_same
from app.lab.document import numbers, read_object, whole
from app.lab.kernels import Kernel, kernel_by
from app.lab.tape import Floats
from app.rows import quoted

MOST_BYTES = 2_000_000  # who reads the body sees to it
MOST_SIDE, MOST_KERNEL_SIDE, MOST_POOL_SIZE, MOST_PADDING, MOST_STRIDE = 256, 15, 8, 16, 16
MOST_SIZE = 1e100  # so that no sum of products is infinite
# As measured, for telling long queues from short ones.
PRODUCT_SECONDS, NUMBER_SECONDS = 1e-9, 2e-7

Rows = list[list[float]]
KERNEL = (
    f"Rows of numbers, at most {MOST_KERNEL_SIDE} on a side, or a name: `GET /convolution` lists them. It is not "
    "turned round: this is a cross-correlation, as in PyTorch. Without it there is only pooling."
)
PADDING = (
    f"So many zeros on every side, at most {MOST_PADDING}; or `same`, which with a stride of 1 keeps the size (an even "
    "kernel then gets the odd one below and to the right)."
)
STRIDE = f"How far the kernel moves from one number to the next, at most {MOST_STRIDE}."
POOL = "`max` or `average`."
POOL_STRIDE = f"How far the window moves, at most {MOST_STRIDE}; as far as it is wide unless given."
POOL_SIZE = f"The side of the window, at most {MOST_POOL_SIZE}."


@with_config(ConfigDict(extra="forbid"))
class PoolingRequest(TypedDict):
    """Of each window one number. Windows that do not fit are left out."""

    kind: Annotated[Literal["max", "average"], Field(description=POOL)]
    size: NotRequired[Annotated[int, Field(description=POOL_SIZE, ge=1, le=MOST_POOL_SIZE, default=2)]]
    stride: NotRequired[Annotated[int, Field(description=POOL_STRIDE, ge=1, le=MOST_STRIDE)]]


@with_config(ConfigDict(extra="forbid"))
class ConvolutionRequest(TypedDict):
    """A matrix of the caller's own, and what is to be done with it."""

    matrix: Annotated[Rows, Field(description=f"Rows of numbers, at most {MOST_SIDE} on a side.")]
    kernel: NotRequired[Annotated[Rows | str, Field(description=KERNEL)]]
    padding: NotRequired[Annotated[int | Literal["same"], Field(description=PADDING, default=0)]]
    stride: NotRequired[Annotated[int, Field(description=STRIDE, ge=1, le=MOST_STRIDE, default=1)]]
    pooling: NotRequired[Annotated[PoolingRequest, Field(description="What follows, if anything.")]]


@dataclass(frozen=True)
class Pooling:
    kind: Literal["max", "average"]
    size: int
    stride: int


@dataclass(frozen=True)
class Layer:
    """What is to be done with whatever matrix; not both are None."""

    kernel: Kernel | None
    padding: Padding
    stride: int
    pooling: Pooling | None

    def seconds(self, elements: int) -> float:
        products = (self.kernel.values.size if self.kernel else 0) + (16 * self.pooling.size if self.pooling else 0)
        return elements * (NUMBER_SECONDS + PRODUCT_SECONDS * products)


@dataclass(frozen=True)
class Asked:
    layer: Layer
    matrix: Floats

    @property
    def seconds(self) -> float:
        """As is to be expected, roughly."""
        return self.layer.seconds(self.matrix.size)


def read_convolution(body: bytes) -> Asked:
    """Raises InvalidRequest, or ContentTooLarge beyond a limit of size, which name the culprit and what is allowed."""
    optional = [name for name in ConvolutionRequest.__annotations__ if name != "matrix"]
    document = read_object(body, ["matrix"], optional)
    return Asked(read_layer(document), _matrix(document["matrix"], "matrix", MOST_SIDE))


def read_layer(document: dict[str, Any]) -> Layer:
    """Of a request's members but the matrix. Raises as read_convolution does."""
    kernel = _kernel(document["kernel"]) if "kernel" in document else None
    pooling = _pooling(document["pooling"]) if "pooling" in document else None
    if kernel is None and pooling is None:
        raise InvalidRequest("there is neither a kernel nor pooling; allowed is one of them, or both")
    for name in ("padding", "stride"):
        if kernel is None and name in document:
            raise InvalidRequest(f"there is a {name} and no kernel; the padding and the stride are the kernel's")
    stride = whole(document, "stride", 1, 1, MOST_STRIDE)
    return Layer(kernel, _padding(document, kernel, stride), stride, pooling)


def _matrix(value: Any, name: str, most: int) -> Floats:
    found = numbers(value, name, most * most)
    if found.ndim != 2:
        raise InvalidRequest(f"{name} is {quoted(value)}; allowed is a list of rows of one length")
    if max(found.shape) > most:
        height, width = found.shape
        raise ContentTooLarge(f"{name} has {height} × {width} numbers; at most {most} on a side are allowed")
    if not np.abs(found).max() <= MOST_SIZE:
        raise InvalidRequest(f"{name} has {np.abs(found).max():g} in it; at most {MOST_SIZE:g} is allowed")
    return found


def _kernel(value: Any) -> Kernel:
    return kernel_by(value) if isinstance(value, str) else Kernel(_matrix(value, "kernel", MOST_KERNEL_SIDE))


def _padding(document: dict[str, Any], kernel: Kernel | None, stride: int) -> Padding:
    value = document.get("padding", 0)
    if value == "same" and kernel is not None:
        if stride != 1:
            raise InvalidRequest(f'padding is "same" and stride {stride}; allowed is "same" with a stride of 1')
        height, width = kernel.values.shape
        return padding_for_same((height, width))
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_PADDING:
        return padding_all_round(value)
    raise InvalidRequest(f'padding is {quoted(value)}; allowed is a whole number of 0 to {MOST_PADDING}, or "same"')


def _pooling(value: Any) -> Pooling:
    if not isinstance(value, dict):
        raise InvalidRequest(f"pooling is {quoted(value)}; allowed is an object with kind and, if wanted, size, stride")
    for name in value:
        if name not in PoolingRequest.__annotations__:
            raise InvalidRequest(f"pooling has a member {quoted(name)}; allowed are kind, size and stride")
    kind = value.get("kind")
    if kind not in ("max", "average"):
        got = f"the kind of pooling is {quoted(kind)}" if "kind" in value else "pooling has no kind"
        raise InvalidRequest(f'{got}; allowed is "max" or "average"')
    sides = {f"pooling's {name}": number for name, number in value.items()}
    size = whole(sides, "pooling's size", 2, 1, MOST_POOL_SIZE)
    return Pooling(kind, size, whole(sides, "pooling's stride", size, 1, MOST_STRIDE))
