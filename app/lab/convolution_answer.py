"""What a caller of a convolution is answered: every number of every stage, or the last of them as a gray picture. Knows
no HTTP."""

from typing import Annotated, Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict

from app.errors import GoOn, InvalidRequest
from app.lab.convolution import Padding, Pooled, average_pool, correlate, max_pool, padded, windows_along
from app.lab.convolution_request import Asked, Layer, Pooling
from app.lab.kernels import Kernel, kernels
from app.lab.tape import Floats
from app.morphology import Gray

MIDDLE = 128  # the gray of a picture whose numbers are all equal
ROUNDING = 1e-12  # what differs by less, of its size, is equal: shades are not to be those of rounding errors

Rows = Annotated[list[list[float]], Field(description="Rows from above, numbers from the left.")]
Shape = Annotated[list[int], Field(description="Height and width.")]


class KernelTold(TypedDict):
    """A kernel, in the order in which it lies on the matrix."""

    name: Annotated[str | None, Field(description="null for one that the caller brought.")]
    description: str
    shape: Shape
    values: Rows


class KernelList(TypedDict):
    """The kernels that have a name."""

    kernels: list[KernelTold]


class PaddingTold(TypedDict):
    """So many zeros on each side."""

    top: int
    bottom: int
    left: int
    right: int


class NumbersTold(TypedDict):
    """A matrix, whole."""

    shape: Shape
    least: float
    greatest: float
    values: Rows


class ConvolutionTold(NumbersTold):
    """What the kernel gives."""

    kernel: KernelTold
    padding: PaddingTold
    stride: int


class PoolingTold(NumbersTold):
    """What pooling leaves of it."""

    kind: str
    size: int
    stride: int
    winners: Annotated[
        list[list[list[int]]] | None,
        Field(
            description="Of a maximum: for each number the row and the column, from 0, where it was in what was "
            "pooled; of equals the first. null of an average."
        ),
    ]


class Convolved(TypedDict):
    """Every stage that was asked for."""

    input: Annotated[NumbersTold, Field(description="As it was sent; of a picture the grays, 0 for black to 255.")]
    convolution: Annotated[ConvolutionTold | None, Field(description="null if no kernel was asked for.")]
    pooling: Annotated[PoolingTold | None, Field(description="null if no pooling was asked for.")]


class Stages(NamedTuple):
    """What was asked for, computed."""

    asked: Asked
    convolved: Floats | None
    pooled: Pooled | None

    @property
    def last(self) -> Floats:
        if self.pooled is not None:
            return self.pooled.values
        return self.asked.matrix if self.convolved is None else self.convolved


def kernel_list() -> KernelList:
    return KernelList(kernels=[_kernel(kernel) for kernel in kernels().values()])


def stages(asked: Asked, go_on: GoOn = lambda: None) -> Stages:
    """Raises InvalidRequest for what is smaller than the kernel or the window. `go_on` is called before each piece of
    work, and what it raises ends it."""
    layer, convolved, pooled = asked.layer, None, None
    if layer.kernel:
        go_on()
        convolved = _convolved(layer, layer.kernel.values, asked.matrix)
    if layer.pooling:
        go_on()
        pooled = _pooled(layer.pooling, asked.matrix if convolved is None else convolved)
    return Stages(asked, convolved, pooled)


def told(found: Stages) -> Convolved:
    """To be written by orjson, which takes the matrices as they are."""
    layer, convolved, pooled = found.asked.layer, found.convolved, found.pooled
    return Convolved(
        input=_numbers(found.asked.matrix),
        convolution=None if layer.kernel is None or convolved is None else _convolution(layer, layer.kernel, convolved),
        pooling=None if layer.pooling is None or pooled is None else _pooling(layer.pooling, pooled),
    )


def shades(values: Floats) -> Gray:
    """[height, width]: the least number is black, the greatest white, evenly between."""
    least, greatest = values.min(), values.max()
    if greatest - least <= ROUNDING * max(abs(least), abs(greatest)):
        return np.full(values.shape, MIDDLE, np.uint8)
    return np.asarray(np.rint((values - least) / (greatest - least) * 255), np.uint8)


def _convolved(layer: Layer, kernel: Floats, matrix: Floats) -> Floats:
    around = padded(matrix, layer.padding)
    _require_fit(around, kernel.shape, "the kernel", layer.stride, layer.padding)
    return correlate(around, kernel, layer.stride)


def _pooled(pooling: Pooling, matrix: Floats) -> Pooled:
    _require_fit(matrix, (pooling.size, pooling.size), "pooling's window", pooling.stride)
    pool = max_pool if pooling.kind == "max" else average_pool
    return pool(matrix, pooling.size, pooling.stride)


def _convolution(layer: Layer, kernel: Kernel, convolved: Floats) -> ConvolutionTold:
    return ConvolutionTold(
        **_numbers(convolved), kernel=_kernel(kernel), padding=_padding(layer.padding), stride=layer.stride
    )


def _pooling(pooling: Pooling, pooled: Pooled) -> PoolingTold:
    return PoolingTold(
        **_numbers(pooled.values),
        kind=pooling.kind,
        size=pooling.size,
        stride=pooling.stride,
        winners=None if pooled.winners is None else _rows(np.moveaxis(pooled.winners, 0, -1)),
    )


def _require_fit(
    matrix: Floats, window: tuple[int, ...], what: str, stride: int, padding: Padding | None = None
) -> None:
    if not all(windows_along(*sides, stride) for sides in zip(matrix.shape, window, strict=True)):
        (tall, wide), (height, width) = window, matrix.shape
        with_padding = ", padding included" if padding and any(padding) else ""
        raise InvalidRequest(
            f"{what} has {tall} × {wide} numbers and what it goes over {height} × {width}{with_padding}; allowed is "
            "one that fits in it"
        )


def _numbers(values: Floats) -> NumbersTold:
    return NumbersTold(
        shape=list(values.shape), least=float(values.min()), greatest=float(values.max()), values=_rows(values)
    )


def _rows(numbers: NDArray[Any]) -> Any:
    """As JSON already, a matrix at a time: lists of hundreds of thousands of numbers would hold up all other threads
    while they are made."""
    return orjson.Fragment(orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY))


def _padding(padding: Padding) -> PaddingTold:
    return PaddingTold(top=padding.top, bottom=padding.bottom, left=padding.left, right=padding.right)


def _kernel(kernel: Kernel) -> KernelTold:
    name, what, values = kernel.name, kernel.what, kernel.values
    return KernelTold(name=name, description=what, shape=list(values.shape), values=values.tolist())
