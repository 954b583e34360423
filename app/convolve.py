"""Convolution of a caller's matrix or picture, as work of the lab."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson

from app.computation import Work
from app.errors import GoOn, InvalidRequest
from app.ink import reduced
from app.lab.convolution_answer import Stages, shades, stages, told
from app.lab.convolution_request import MOST_SIDE, Asked, Layer, read_convolution, read_layer
from app.pictures import Opened, decode_picture, open_pictures, undecoded_pixels
from app.png import encode
from app.service import PIXEL_SECONDS
from app.uploads import Picture

CONVOLUTION = "lab/convolution"
MOST_DIGITS = 5  # of a padding


class InAddress(NamedTuple):
    """What a picture's convolution is told, since the body is the picture."""

    kernel: str | None = None  # a name, or rows as JSON
    padding: str | None = None
    stride: int | None = None
    pool: str | None = None
    pool_size: int | None = None
    pool_stride: int | None = None


@dataclass(frozen=True)
class AskedOfPicture:
    """Pixels are decoded when it is answered, in a thread: a few bytes may be many."""

    layer: Layer
    picture: Opened

    @property
    def seconds(self) -> float:
        return PIXEL_SECONDS * undecoded_pixels([self.picture]) + self.layer.seconds(MOST_SIDE**2)

    def decoded(self) -> Asked:
        """Gray, at most MOST_SIDE on the longer side."""
        return Asked(self.layer, reduced(decode_picture(self.picture), MOST_SIDE).astype(np.float64))


Read = Callable[[bytes], Asked | AskedOfPicture]


def reading(body: bytes | Picture, address: InAddress, max_pixels: int) -> tuple[Read, bytes]:
    """How it is to be read, and which bytes. Raises InvalidRequest for parameters that say nothing there."""
    if isinstance(body, Picture):
        layer = read_layer(members(address))
        return lambda file: _look_at(file, layer, max_pixels), body.file
    for name, value in address._asdict().items():
        if value is not None:
            raise InvalidRequest(f"{name} is in the address; with JSON it is a member of the body")
    return read_convolution, body


def telling(read: Read) -> Work[Any]:
    """Every stage, as JSON."""
    return Work(CONVOLUTION, read, lambda asked, go_on: told(_stages(asked, go_on)))


def drawing(read: Read) -> Work[Any]:
    """The last stage, as a PNG."""
    return Work(CONVOLUTION, read, lambda asked, go_on: encode(shades(_stages(asked, go_on).last)), _as_it_is)


def members(address: InAddress) -> dict[str, Any]:
    """As JSON would have them. Raises InvalidRequest."""
    found: dict[str, Any] = {"stride": address.stride}
    if address.kernel is not None:
        found["kernel"] = _rows(address.kernel) if address.kernel.startswith("[") else address.kernel
    if address.padding is not None:
        is_number = address.padding.isascii() and address.padding.isdecimal() and len(address.padding) < MOST_DIGITS
        found["padding"] = int(address.padding) if is_number else address.padding
    if address.pool is not None:
        pooling = {"kind": address.pool, "size": address.pool_size, "stride": address.pool_stride}
        found["pooling"] = _given(pooling)
    elif address.pool_size is not None or address.pool_stride is not None:
        raise InvalidRequest("there is a pool_size or a pool_stride and no pool; allowed is pool=max or pool=average")
    return _given(found)


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _rows(kernel: str) -> Any:
    try:
        return orjson.loads(kernel)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"kernel begins as rows and is not valid JSON: {error}") from None


def _look_at(file: bytes, layer: Layer, max_pixels: int) -> AskedOfPicture:
    [picture] = open_pictures([file], max_pixels)
    return AskedOfPicture(layer, picture)


def _stages(asked: Asked | AskedOfPicture, go_on: GoOn) -> Stages:
    return stages(asked.decoded() if isinstance(asked, AskedOfPicture) else asked, go_on)


def _as_it_is(png: object) -> bytes:
    assert isinstance(png, bytes)
    return png


OF_MATRIX = telling(read_convolution)
