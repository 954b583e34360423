"""Tensors as the Open Inference Protocol writes them, in JSON and in bytes, and as NumPy arrays. Knows no request, no
model and no HTTP.

A datatype has three names: the protocol's (`FP32`), onnxruntime's (`tensor(float)`) and NumPy's. Arrays that come out
of here are read-only views of what they were read from wherever that is possible. NumPy has no bfloat16: its 16 bits
travel as uint16. Strings are arrays of `str` objects.
"""

import json
import math
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BadRequest

Array = NDArray[Any]
Flat = list[Any]
Packer = Callable[[Flat], "bytes | array[int]"]

LENGTH = struct.Struct("<I")  # before each element of BYTES
MOST_SHOWN = 40  # characters of a caller's value in a message


@dataclass(frozen=True)
class Datatype:
    name: str  # the protocol's
    onnx: str
    dtype: np.dtype[Any]
    # Raises TypeError, ValueError, OverflowError or struct.error for a value that the datatype does not have. None
    # where JSON is not read.
    pack: Packer | None
    takes: str  # what a value has to be, in words

    @property
    def size(self) -> int:
        """Bytes of an element; 0 for BYTES, whose elements say so themselves."""
        return 0 if self.name == "BYTES" else self.dtype.itemsize


@dataclass(frozen=True)
class TensorSpec:
    """What a model says about one of its inputs or outputs."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]  # -1 is any size; empty is a scalar, or a rank that the model does not tell


def _packer(code: str) -> Callable[[Flat], bytes]:
    """struct takes half the time of array.array and numpy.array here, and refuses what does not fit."""
    return lambda values: struct.pack(f"<{len(values)}{code}", *values)


def _array(code: str) -> Packer:
    """Except for these two, whose path in array.array is the faster one."""
    return lambda values: array(code, values)


def _pack_bools(values: Flat) -> bytes:
    if not set(map(type, values)) <= {bool}:
        raise TypeError
    return bytes(values)


def _number(name: str, onnx: str, dtype: str, pack: Packer | None) -> Datatype:
    numpy = np.dtype(dtype)
    if numpy.kind in "iu":
        limits = np.iinfo(numpy)
        takes = f"whole numbers from {limits.min} to {limits.max}"
    else:
        takes = f"numbers up to ±{np.finfo(numpy).max:.8g}"
    return Datatype(name, onnx, numpy, pack, takes)


DATATYPES = {
    datatype.name: datatype
    for datatype in (
        Datatype("BOOL", "tensor(bool)", np.dtype(np.bool_), _pack_bools, "true and false"),
        _number("UINT8", "tensor(uint8)", "<u1", bytes),
        _number("UINT16", "tensor(uint16)", "<u2", _packer("H")),
        _number("UINT32", "tensor(uint32)", "<u4", _array("I")),
        _number("UINT64", "tensor(uint64)", "<u8", _array("Q")),
        _number("INT8", "tensor(int8)", "<i1", _packer("b")),
        _number("INT16", "tensor(int16)", "<i2", _packer("h")),
        _number("INT32", "tensor(int32)", "<i4", _packer("i")),
        _number("INT64", "tensor(int64)", "<i8", _packer("q")),
        _number("FP16", "tensor(float16)", "<f2", None),
        _number("FP32", "tensor(float)", "<f4", _packer("f")),
        _number("FP64", "tensor(double)", "<f8", _packer("d")),
        Datatype("BF16", "tensor(bfloat16)", np.dtype("<u2"), None, "binary data"),
        Datatype("BYTES", "tensor(string)", np.dtype(np.object_), None, "strings"),
    )
}
BY_ONNX = {datatype.onnx: datatype for datatype in DATATYPES.values()}


def count(shape: Sequence[int]) -> int:
    return math.prod(shape)


# --- reading ---------------------------------------------------------------------------------------------------------


def from_json(where: str, datatype: Datatype, shape: Sequence[int], data: object, may_hold_bools: bool = True) -> Array:
    """The tensor in `data`, nested or flat, of which only the number of elements has to agree with the shape.

    `where` names the tensor in messages. Python takes true for 1; a caller who knows that the document holds neither
    true nor false says so, and saves looking at each value. Raises BadRequest.
    """
    if datatype.name in ("FP16", "BF16"):
        raise BadRequest(f"{where} is {datatype.name}, which has no JSON form: send it as binary data")
    if not isinstance(data, list):
        raise BadRequest(f"{where}: its data are {_shown(data)}; allowed is a list, nested or flat")
    flat = flatten(where, data)
    if len(flat) != count(shape):
        raise BadRequest(f"{where}: its data have {len(flat)} elements, its shape {list(shape)} has {count(shape)}")
    if datatype.name == "BYTES":
        return _shaped(where, _strings(where, flat), shape)
    assert datatype.pack is not None
    try:
        packed = datatype.pack(flat)
    except (TypeError, ValueError, OverflowError, struct.error):
        raise _wrong_value(where, datatype, flat) from None
    if may_hold_bools and datatype.name != "BOOL" and bool in set(map(type, flat)):
        raise _wrong_value(where, datatype, flat)
    return _shaped(where, np.frombuffer(packed, datatype.dtype), shape)


def flatten(where: str, data: Flat) -> Flat:
    """All levels of a nested list in a row. Raises BadRequest where lists and values stand side by side; a list that
    begins with a value is not looked through, since reading its values will find a list among them."""
    while data and isinstance(data[0], list):
        if set(map(type, data)) != {list}:
            raise BadRequest(f"{where}: its data mix lists and values on one level of nesting")
        level: Flat = []
        for inner in data:
            level.extend(inner)  # itertools.chain takes three times as long
        data = level
    return data


def from_binary(where: str, datatype: Datatype, shape: Sequence[int], raw: memoryview) -> Array:
    """The tensor in little-endian, row-major bytes. Raises BadRequest."""
    if datatype.name == "BYTES":
        pieces = elements(where, shape, raw)
        return _shaped(where, _objects([_text(where, place, piece) for place, piece in enumerate(pieces)]), shape)
    expected = count(shape) * datatype.size
    if len(raw) != expected:
        raise BadRequest(
            f"{where}: its binary data have {len(raw)} bytes; {datatype.name} of shape {list(shape)} has {expected}"
        )
    if datatype.name == "BOOL":
        return _shaped(where, _bools(where, raw), shape)
    values = np.frombuffer(raw, datatype.dtype)
    # What follows JSON of any length may begin anywhere; kernels may rely on alignment.
    return _shaped(where, values if values.flags.aligned else values.copy(), shape)


def elements(where: str, shape: Sequence[int], raw: memoryview) -> list[memoryview]:
    """The elements of binary BYTES, each after its length. Raises BadRequest."""
    pieces: list[memoryview] = []
    offset, wanted = 0, count(shape)
    while offset < len(raw):
        begin = offset + LENGTH.size
        if begin > len(raw):
            raise BadRequest(f"{where}: its binary data end in the middle of the length of element {len(pieces)}")
        [length] = LENGTH.unpack_from(raw, offset)
        offset = begin + length
        if offset > len(raw):
            left = len(raw) - begin
            raise BadRequest(f"{where}: element {len(pieces)} says it has {length} bytes; {left} are left")
        if len(pieces) == wanted:
            raise BadRequest(f"{where}: its binary data have more than the {wanted} elements of shape {list(shape)}")
        pieces.append(raw[begin:offset])
    if len(pieces) != wanted:
        raise BadRequest(f"{where}: its binary data have {len(pieces)} elements, its shape {list(shape)} has {wanted}")
    return pieces


def _bools(where: str, raw: memoryview) -> Array:
    values = np.frombuffer(raw, np.uint8)
    if values.size and values.max() > 1:
        place = int((values > 1).argmax())
        raise BadRequest(f"{where}: byte {place} is {values[place]}; BOOL takes 0 and 1")
    return values.view(np.bool_)


def _text(where: str, place: int, piece: memoryview) -> str:
    try:
        return str(piece, "utf-8")
    except UnicodeDecodeError:
        raise BadRequest(f"{where}: element {place} is not UTF-8, which the model's strings are") from None


def _strings(where: str, flat: Flat) -> Array:
    for place, value in enumerate(flat):
        if type(value) is not str:
            raise BadRequest(f"{where}: element {place} is {_shown(value)}; BYTES takes strings")
    return _objects(flat)


def _objects(flat: Flat) -> Array:
    made = np.empty(len(flat), np.object_)
    made[:] = flat
    return made


def _shaped(where: str, values: Array, shape: Sequence[int]) -> Array:
    try:
        return values.reshape(tuple(shape))
    except (ValueError, OverflowError):  # more axes or larger ones than NumPy has
        raise BadRequest(f"{where}: its shape {_shown(list(shape))} is not one that an array can have") from None


def _wrong_value(where: str, datatype: Datatype, flat: Flat) -> BadRequest:
    place = next(place for place, value in enumerate(flat) if not _fits(datatype, value))
    return BadRequest(f"{where}: element {place} is {_shown(flat[place])}; {datatype.name} takes {datatype.takes}")


def _fits(datatype: Datatype, value: object) -> bool:
    assert datatype.pack is not None
    if type(value) is bool and datatype.name != "BOOL":
        return False
    try:
        datatype.pack([value])
    except (TypeError, ValueError, OverflowError, struct.error):
        return False
    return True


def _shown(value: object) -> str:
    """As the caller wrote it, or the beginning of it."""
    if isinstance(value, dict) or (isinstance(value, list) and list in map(type, value)):
        return "an object" if isinstance(value, dict) else "a nested list"  # deeper, perhaps, than can be written
    text = json.dumps(value[:MOST_SHOWN] if isinstance(value, str) else value, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


# --- writing ---------------------------------------------------------------------------------------------------------


def to_json(where: str, datatype: Datatype, values: Array) -> Array | Flat:
    """The elements in a row, for orjson with OPT_SERIALIZE_NUMPY. Raises BadRequest if JSON has no form for them."""
    refuse_json(where, datatype)
    flat = np.ascontiguousarray(values).reshape(-1)
    if datatype.name == "BYTES":
        texts: Flat = flat.tolist()
        return texts
    if datatype.dtype.kind == "f" and not np.isfinite(flat).all():
        place = int((~np.isfinite(flat)).argmax())
        raise BadRequest(
            f"{where}: element {place} is {_in_words(flat[place])}, which has no JSON form: ask for binary_data"
        )
    return flat


def refuse_json(where: str, datatype: Datatype) -> None:
    """Raises BadRequest for a datatype that JSON has no form for; to be asked before anything is computed."""
    if datatype.name in ("FP16", "BF16"):
        raise BadRequest(f"{where} is {datatype.name}, which has no JSON form: ask for binary_data")


def _in_words(value: Any) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def to_binary(datatype: Datatype, values: Array) -> bytes | memoryview:
    """Little-endian, row-major."""
    if datatype.name != "BYTES":
        return np.ascontiguousarray(values, datatype.dtype).reshape(-1).view(np.uint8).data
    encoded = [str(value).encode() for value in values.ravel().tolist()]
    return b"".join(part for text in encoded for part in (LENGTH.pack(len(text)), text))
