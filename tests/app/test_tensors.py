"""Tensors in JSON and in bytes: NumPy and the stock client's own serialisers are the measure."""

import json
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from app.errors import BadRequest
from app.tensors import BY_ONNX, DATATYPES, Array, elements, flatten, from_binary, from_json, to_binary, to_json
from tests.conftest import ROOT

WHOLE = {
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
}
FLOATING = {"FP32": np.float32, "FP64": np.float64}
NUMPY: dict[str, Any] = {**WHOLE, **FLOATING, "FP16": np.float16, "BOOL": np.bool_}


def extremes(name: str) -> NDArray[Any]:
    """[2, 3] of the smallest, the largest and some between."""
    dtype = np.dtype(NUMPY[name])
    if dtype.kind == "b":
        return np.array([[True, False, True], [False, False, True]])
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        values = [limits.min, limits.max, limits.smallest_subnormal, -0.0, 1 / 3, 1]
    else:
        whole = np.iinfo(dtype)
        values = [whole.min, whole.max, 0, 1, whole.max - 1, whole.min + 1]
    return np.array(values, dtype).reshape(2, 3)


def read(name: str, shape: list[int], data: object, **options: bool) -> Array:
    return from_json("input 'x'", DATATYPES[name], shape, data, **options)


def refusal(name: str, shape: list[int], data: object) -> str:
    with pytest.raises(BadRequest) as caught:
        read(name, shape, data)
    return caught.value.detail


def binary_refusal(name: str, shape: list[int], raw: bytes) -> str:
    with pytest.raises(BadRequest) as caught:
        from_binary("input 'x'", DATATYPES[name], shape, memoryview(raw))
    return caught.value.detail


def same(found: Array, wanted: NDArray[Any]) -> None:
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert found.tobytes() == wanted.tobytes()  # -0.0 is not 0.0 here


def test_datatypes_are_those_that_onnxruntime_has_and_the_protocol_names() -> None:
    assert {name: datatype.onnx for name, datatype in DATATYPES.items()} == {
        "BOOL": "tensor(bool)",
        "UINT8": "tensor(uint8)",
        "UINT16": "tensor(uint16)",
        "UINT32": "tensor(uint32)",
        "UINT64": "tensor(uint64)",
        "INT8": "tensor(int8)",
        "INT16": "tensor(int16)",
        "INT32": "tensor(int32)",
        "INT64": "tensor(int64)",
        "FP16": "tensor(float16)",
        "FP32": "tensor(float)",
        "FP64": "tensor(double)",
        "BF16": "tensor(bfloat16)",
        "BYTES": "tensor(string)",
    }
    assert {datatype.onnx: datatype for datatype in DATATYPES.values()} == BY_ONNX
    assert {name: datatype.size for name, datatype in DATATYPES.items()} == {
        **{name: np.dtype(dtype).itemsize for name, dtype in NUMPY.items()},
        "BF16": 2,
        "BYTES": 0,
    }


@pytest.mark.parametrize("name", [*WHOLE, *FLOATING, "BOOL"])
@pytest.mark.parametrize("form", ["flat", "nested"])
def test_json_comes_back_as_it_was(name: str, form: str) -> None:
    values = extremes(name)
    data = json.loads(json.dumps((values.ravel() if form == "flat" else values).tolist()))

    same(read(name, [2, 3], data), values)
    written = to_json("output 'y'", DATATYPES[name], values)
    assert isinstance(written, np.ndarray)
    same(read(name, [2, 3], json.loads(orjson.dumps(written, option=orjson.OPT_SERIALIZE_NUMPY))), values)


@pytest.mark.parametrize("name", NUMPY)
def test_binary_comes_back_as_it_was(name: str) -> None:
    values = extremes(name)

    same(from_binary("", DATATYPES[name], [2, 3], memoryview(values.tobytes())), values)
    assert bytes(to_binary(DATATYPES[name], values)) == values.tobytes()


def test_binary_is_little_endian_and_row_major_byte_for_byte() -> None:
    values = np.array([[1, -2], [3, 4]], np.int32).T

    assert bytes(to_binary(DATATYPES["INT32"], values)).hex() == "0100000003000000feffffff04000000"
    assert bytes(to_binary(DATATYPES["FP32"], np.array([1, -0.5], np.float32))).hex() == "0000803f000000bf"
    assert bytes(to_binary(DATATYPES["FP16"], np.array([1, -0.5], np.float16))).hex() == "003c00b8"
    assert bytes(to_binary(DATATYPES["BOOL"], np.array([True, False]))).hex() == "0100"
    assert bytes(to_binary(DATATYPES["BYTES"], np.array(["a", "é", ""], np.object_))).hex() == (
        "01000000" + "61" + "02000000" + "c3a9" + "00000000"
    )
    assert bytes(to_binary(DATATYPES["INT64"], np.int64(7))).hex() == "0700000000000000"


def test_bfloat16_travels_as_the_bits_it_has() -> None:
    raw = bytes.fromhex("803f00c0")  # 1 and -2
    found = from_binary("", DATATYPES["BF16"], [2], memoryview(raw))

    assert found.tolist() == [0x3F80, 0xC000]
    assert bytes(to_binary(DATATYPES["BF16"], found)) == raw


STRINGS = np.array([["", "plain"], ["zwölf\n\0", "😀"]], np.object_)


def test_strings_are_what_the_stock_client_writes_and_reads() -> None:
    wire = serialize_byte_tensor(STRINGS).item()
    found = from_binary("", DATATYPES["BYTES"], [2, 2], memoryview(wire))

    assert found.tolist() == STRINGS.tolist()
    assert to_binary(DATATYPES["BYTES"], STRINGS) == wire
    assert [text.decode() for text in deserialize_bytes_tensor(wire)] == STRINGS.ravel().tolist()


def test_strings_in_json_come_back_as_they_were() -> None:
    assert read("BYTES", [2, 2], STRINGS.tolist()).tolist() == STRINGS.tolist()
    assert to_json("", DATATYPES["BYTES"], STRINGS) == STRINGS.ravel().tolist()


def test_numbers_are_written_with_as_many_digits_as_they_have() -> None:
    written = to_json("", DATATYPES["FP32"], np.array([[0.1, 1e-12], [1 / 3, 2]], np.float32))

    assert orjson.dumps(written, option=orjson.OPT_SERIALIZE_NUMPY) == b"[0.1,1e-12,0.33333334,2.0]"


def test_whole_numbers_are_numbers() -> None:
    assert read("FP32", [3], [1, -2, 0.5]).tolist() == [1.0, -2.0, 0.5]


def test_doubles_are_rounded_to_the_nearest_float() -> None:
    numbers = np.random.default_rng(1).standard_normal(1_000)

    same(read("FP32", [1_000], numbers.tolist()), numbers.astype(np.float32))


@pytest.mark.parametrize("shape", [[0], [0, 3], [3, 0]])
def test_tensor_without_elements_is_one(shape: list[int]) -> None:
    assert read("FP32", shape, []).shape == tuple(shape)
    assert read("BYTES", shape, []).shape == tuple(shape)
    assert from_binary("", DATATYPES["FP32"], shape, memoryview(b"")).shape == tuple(shape)
    assert from_binary("", DATATYPES["BYTES"], shape, memoryview(b"")).shape == tuple(shape)


def test_shape_without_axes_is_a_scalar() -> None:
    assert read("INT64", [], [7]).shape == ()
    assert from_binary("", DATATYPES["BYTES"], [], memoryview(b"\1\0\0\0a")).tolist() == "a"


def test_nesting_need_not_be_that_of_the_shape() -> None:
    assert read("INT64", [6], [[1, 2, 3], [4, 5, 6]]).tolist() == [1, 2, 3, 4, 5, 6]
    assert flatten("", [[], [[1]], []]) == [1]


def test_binary_that_begins_at_an_odd_byte_is_aligned() -> None:
    values = np.arange(4.0)
    found = from_binary("", DATATYPES["FP64"], [4], memoryview(b"x" + values.tobytes())[1:])

    assert found.flags.aligned
    same(found, values)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_number_beyond_its_limits_is_refused(name: str) -> None:
    limits = np.iinfo(WHOLE[name])
    takes = f"{name} takes whole numbers from {limits.min} to {limits.max}"

    assert refusal(name, [2], [1, limits.min - 1]) == f"input 'x': element 1 is {limits.min - 1}; {takes}"
    assert refusal(name, [2], [limits.max + 1, 1]) == f"input 'x': element 0 is {limits.max + 1}; {takes}"


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [1.5, 1.0, "1", None, True, False, [1], {"a": 1}, 1e300])
def test_what_is_no_whole_number_is_refused(name: str, value: object) -> None:
    shown = {"[1]": "[1]", "{'a': 1}": "an object"}.get(str(value), json.dumps(value))

    assert refusal(name, [2], [1, value]).startswith(f"input 'x': element 1 is {shown}; {name} takes whole numbers")


@pytest.mark.parametrize("name", FLOATING)
@pytest.mark.parametrize("value", ["1", None, True, [1], {}])
def test_what_is_no_number_is_refused(name: str, value: object) -> None:
    assert f"element 1 is {'an object' if value == {} else json.dumps(value)}; {name} takes numbers" in refusal(
        name, [2], [0.5, value]
    )


def test_number_beyond_float_is_refused() -> None:
    assert refusal("FP32", [2], [1, 1e39]) == "input 'x': element 1 is 1e+39; FP32 takes numbers up to ±3.4028235e+38"
    assert read("FP64", [1], [1e39]).tolist() == [1e39]


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_only_true_and_false_are_booleans(value: object) -> None:
    assert refusal("BOOL", [2], [True, value]) == (
        f"input 'x': element 1 is {json.dumps(value)}; BOOL takes true and false"
    )


@pytest.mark.parametrize("value", [1, None, True, ["a"]])
def test_only_strings_are_strings(value: object) -> None:
    assert "element 1 is" in refusal("BYTES", [2], ["a", value])


@pytest.mark.parametrize(
    ("data", "shape", "message"),
    [
        ([1, 2], [3], "input 'x': its data have 2 elements, its shape [3] has 3"),
        ([[1, 2], [3]], [2, 2], "input 'x': its data have 3 elements, its shape [2, 2] has 4"),
        ([[1], 2], [2], "input 'x': its data mix lists and values on one level of nesting"),
        ([1, [2]], [2], "input 'x': element 1 is [2]; INT64 takes whole numbers"),
        ([1, [[2]]], [2], "input 'x': element 1 is a nested list; INT64 takes whole numbers"),
        (7, [1], "input 'x': its data are 7; allowed is a list, nested or flat"),
        (None, [1], "input 'x': its data are null; allowed is a list, nested or flat"),
        ("abc", [3], "input 'x': its data are \"abc\"; allowed is a list, nested or flat"),
        ({}, [1], "input 'x': its data are an object; allowed is a list, nested or flat"),
        ([], [0] + [2**62] * 3, "input 'x': its shape [0, 4611686018427387904, 461168601842738… is not one"),
        ([1], [1] * 65, "is not one that an array can have"),
        ([], [0, 2**64 - 1], "is not one that an array can have"),
    ],
)
def test_data_that_do_not_fill_the_shape_are_refused(data: object, shape: list[int], message: str) -> None:
    assert message in refusal("INT64", shape, data)


def test_long_value_is_not_repeated_at_length() -> None:
    assert len(refusal("INT64", [1], ["x" * 1_000_000])) < 200


@pytest.mark.parametrize("name", ["FP16", "BF16"])
def test_sixteen_bit_floats_have_no_json_form(name: str) -> None:
    assert refusal(name, [1], [1]) == f"input 'x' is {name}, which has no JSON form: send it as binary data"
    with pytest.raises(BadRequest, match=f"output 'y' is {name}, which has no JSON form: ask for binary_data"):
        to_json("output 'y'", DATATYPES[name], np.zeros(1, DATATYPES[name].dtype))


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "Infinity"), (-np.inf, "-Infinity")])
def test_what_json_has_no_number_for_is_refused_and_not_null(value: float, word: str) -> None:
    with pytest.raises(
        BadRequest, match=f"^output 'y': element 2 is {word}, which has no JSON form: ask for binary_data$"
    ):
        to_json("output 'y'", DATATYPES["FP32"], np.array([[1, 2], [value, 4]], np.float32))


@pytest.mark.parametrize(
    ("name", "shape", "raw", "message"),
    [
        ("FP32", [2], bytes(7), "input 'x': its binary data have 7 bytes; FP32 of shape [2] has 8"),
        ("FP32", [2], bytes(9), "input 'x': its binary data have 9 bytes; FP32 of shape [2] has 8"),
        ("BOOL", [3], b"\0\1\2", "input 'x': byte 2 is 2; BOOL takes 0 and 1"),
        ("BYTES", [1], b"\1\0", "input 'x': its binary data end in the middle of the length of element 0"),
        ("BYTES", [1], b"\5\0\0\0ab", "input 'x': element 0 says it has 5 bytes; 2 are left"),
        ("BYTES", [1], b"\xff\xff\xff\xffab", "input 'x': element 0 says it has 4294967295 bytes; 2 are left"),
        ("BYTES", [2], b"\1\0\0\0a", "input 'x': its binary data have 1 elements, its shape [2] has 2"),
        ("BYTES", [1], bytes(8), "input 'x': its binary data have more than the 1 elements of shape [1]"),
        ("BYTES", [1], b"\1\0\0\0\xff", "input 'x': element 0 is not UTF-8, which the model's strings are"),
    ],
)
def test_bytes_that_do_not_fill_the_shape_are_refused(name: str, shape: list[int], raw: bytes, message: str) -> None:
    assert binary_refusal(name, shape, raw) == message


def test_shape_that_promises_a_world_costs_nothing() -> None:
    assert "have 0 elements" in binary_refusal("BYTES", [2**62, 2**62], b"")
    assert "have 0 bytes" in binary_refusal("FP32", [2**62, 2**62], b"")


def test_elements_are_the_bytes_between_the_lengths() -> None:
    raw = b"".join(struct.pack("<I", len(part)) + part for part in (b"\xff\xd8", b"", b"abc"))

    assert [bytes(piece) for piece in elements("", [3], memoryview(raw))] == [b"\xff\xd8", b"", b"abc"]


def test_true_is_looked_for_unless_there_is_none() -> None:
    assert read("INT64", [1], [1], may_hold_bools=False).tolist() == [1]
    assert "element 0 is true" in refusal("INT64", [1], [True])


def test_module_needs_neither_onnxruntime_nor_a_web_framework() -> None:
    code = "import sys, app.open_inference; print({'onnxruntime', 'fastapi', 'starlette', 'PIL'} & set(sys.modules))"

    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "set()\n"
