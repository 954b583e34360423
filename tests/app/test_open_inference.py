"""The codec: what a request may say, byte for byte, and the message for each way to say it wrong."""

import json
from typing import Any

import numpy as np
import pytest

from app.errors import BadRequest
from app.open_inference import (
    InferRequest,
    Signature,
    WantedOutput,
    classified,
    make_signature,
    read_request,
    write_response,
)
from app.tensors import DATATYPES, TensorSpec

FLOAT, STRING, HALF = "tensor(float)", "tensor(string)", "tensor(float16)"
MODEL = make_signature(
    "adder",
    "3",
    {"a": (FLOAT, ["batch", 2]), "b": (FLOAT, ["batch", 2])},
    {"bias": (FLOAT, [1])},
    {"sum": (FLOAT, ["batch", 2]), "half": (HALF, ["batch", 1]), "text": (STRING, ["batch"])},
)
PICTURES = make_signature(
    "picture",
    "1",
    {"image": ("tensor(uint8)", ["batch", 2, 2])},
    {},
    {"probabilities": (FLOAT, ["batch", 3]), "code": (FLOAT, ["batch", 2])},
    labels=["low", "middle", "high"],
    picture="image",
)
STRINGS = make_signature("words", "1", {"text": (STRING, ["n"])}, {}, {"count": ("tensor(int64)", ["n"])})
SEQUENCES = make_signature(
    "sequences",
    "1",
    {"x": (FLOAT, ["n"])},
    {},
    {"label": ("tensor(int64)", ["n"]), "maps": ("seq(map(int64,tensor(float)))", [])},
)
A = {"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
B = {"name": "b", "datatype": "FP32", "shape": [1, 2], "data": [[3, 4]]}
SUM = {"name": "sum"}


def ask(model: Signature = MODEL, tail: bytes = b"", length: str | None = None, **document: Any) -> InferRequest:
    """With a tail, the header says where the JSON ends."""
    text = json.dumps(document).encode()
    if tail and length is None:
        length = str(len(text))
    return read_request(text + tail, length, model)


def refusal(model: Signature = MODEL, tail: bytes = b"", length: str | None = None, **document: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        ask(model, tail, length, **document)
    return caught.value.detail


def raw_refusal(body: bytes, length: str | None, model: Signature = MODEL) -> str:
    with pytest.raises(BadRequest) as caught:
        read_request(body, length, model)
    return caught.value.detail


# --- what may be said ------------------------------------------------------------------------------------------------


def test_signature_tells_what_the_model_takes() -> None:
    assert MODEL.required == ("a", "b")
    assert list(MODEL.inputs) == ["a", "b", "bias"]
    assert MODEL.inputs["a"] == TensorSpec("a", DATATYPES["FP32"], (-1, 2))
    assert MODEL.batched
    assert not make_signature("x", "1", {"x": (FLOAT, [3])}, {}, {"y": (FLOAT, ["n"])}).batched
    assert not make_signature("x", "1", {"x": (FLOAT, ["n"])}, {}, {"y": (FLOAT, [])}).batched
    assert (list(SEQUENCES.outputs), SEQUENCES.unspoken) == (["label"], {"maps": "seq(map(int64,tensor(float)))"})


def test_json_request_is_read() -> None:
    request = ask(
        id="one",
        parameters={"priority": 1, "timeout": 5_000, "own": "kept", "weight": 0.5, "flag": True},
        inputs=[A, B],
        outputs=[SUM, {"name": "text", "parameters": {"binary_data": True}}],
        model_name="unknown members are ignored",
    )

    assert request.id == "one"
    assert (request.priority, request.timeout_us) == (1, 5_000)
    assert request.parameters == {"own": "kept", "weight": 0.5, "flag": True}
    assert {name: array.tolist() for name, array in request.inputs.items()} == {"a": [[1, 2]], "b": [[3, 4]]}
    assert request.output_names == ["sum", "text"]
    assert [output.binary for output in request.outputs] == [False, True]


def test_what_is_left_out_has_its_usual_meaning() -> None:
    request = ask(STRINGS, id=None, parameters=None, outputs=None, inputs=[
        {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["a", "b"], "parameters": None}
    ])  # fmt: skip

    assert request == InferRequest(request.inputs, [WantedOutput(STRINGS.outputs["count"])])
    assert (request.id, request.priority, request.timeout_us, request.parameters) == (None, 0, None, {})


def test_empty_list_of_outputs_means_all_of_them() -> None:
    assert ask(PICTURES, inputs=[pixels()], outputs=[]).output_names == ["probabilities", "code"]


def test_input_with_a_value_of_its_own_may_be_given() -> None:
    bias = {"name": "bias", "datatype": "FP32", "shape": [1], "data": [5]}

    assert list(ask(inputs=[bias, B, A], outputs=[SUM]).inputs) == ["bias", "b", "a"]


def test_binary_request_is_read_byte_for_byte() -> None:
    header = (
        b'{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},'
        b'{"name":"b","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}],'
        b'"parameters":{"binary_data_output":true},'
        b'"outputs":[{"name":"sum"},{"name":"text","parameters":{"binary_data":false}}]}'
    )
    body = header + bytes.fromhex("0000803f00000040" + "0000404000008040")
    request = read_request(body, str(len(header)), MODEL)

    assert request.inputs["a"].tolist() == [[1, 2]]
    assert request.inputs["b"].tolist() == [[3, 4]]
    assert [output.binary for output in request.outputs] == [True, False]


def test_json_and_binary_inputs_may_stand_side_by_side() -> None:
    b = {"name": "b", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    request = ask(inputs=[A, b], outputs=[SUM], tail=np.array([5, 6], np.float32).tobytes())

    assert request.inputs["a"].tolist() == [[1, 2]]
    assert request.inputs["b"].tolist() == [[5, 6]]


def test_size_of_binary_data_may_be_left_out_where_it_can_be_told() -> None:
    bare = {"datatype": "FP32", "shape": [1, 2]}
    request = ask(inputs=[{"name": "a", **bare}, {"name": "b", **bare}], outputs=[SUM], tail=bytes(16))
    words = ask(STRINGS, inputs=[{"name": "text", "datatype": "BYTES", "shape": [1]}], tail=b"\2\0\0\0ab")

    assert request.inputs["b"].shape == (1, 2)
    assert words.inputs["text"].tolist() == ["ab"]


def test_header_length_may_stand_on_a_request_that_is_json_alone() -> None:
    text = json.dumps({"inputs": [pixels()]}).encode()

    assert read_request(text, str(len(text)), PICTURES).inputs["image"].shape == (1, 2, 2)


def pixels(rows: int = 1) -> dict[str, Any]:
    return {"name": "image", "datatype": "UINT8", "shape": [rows, 2, 2], "data": [0] * 4 * rows}


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_pictures_are_taken_as_files(shape: list[int]) -> None:
    request = ask(
        PICTURES, inputs=[{"name": "image", "datatype": "BYTES", "shape": shape}], tail=b"\3\0\0\0one\3\0\0\0\xff\0\1"
    )

    assert request.pictures == (b"one", b"\xff\0\1")
    assert request.inputs == {}


def test_raw_request_is_the_one_inputs_bytes() -> None:
    request = read_request(bytes(range(8)), "0", PICTURES)

    assert request.inputs["image"].tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert [(output.spec.name, output.binary) for output in request.outputs] == [
        ("probabilities", True),
        ("code", True),
    ]


def test_raw_request_leaves_out_what_has_a_value_of_its_own() -> None:
    model = make_signature("x", "1", {"x": (FLOAT, ["n"])}, {"bias": (FLOAT, [1])}, {"y": (FLOAT, ["n"])})

    assert list(read_request(bytes(8), "0", model).inputs) == ["x"]


def test_timeout_of_zero_is_none() -> None:
    assert ask(inputs=[A, B], outputs=[SUM], parameters={"timeout": 0}).timeout_us is None


def test_raw_request_is_a_batch_of_one_where_another_axis_has_any_size_too() -> None:
    model = make_signature("x", "1", {"x": (FLOAT, ["batch", "n"])}, {}, {"y": (FLOAT, ["batch"])})

    assert read_request(bytes(12), "0", model).inputs["x"].shape == (1, 3)


def test_raw_request_of_strings_is_one_string_without_a_length() -> None:
    assert read_request("zwölf".encode(), "0", STRINGS).inputs["text"].tolist() == ["zwölf"]


# --- what may not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the request is not valid JSON: "),
        (b"{", "the request is not valid JSON: "),
        (b"\xff\xfe", "the request is not valid JSON: "),
        (b'{"inputs": [{"data": [NaN]}]}', "NaN and Infinity are not JSON: send the tensor as binary data"),
        (b"[" * 100_000, "the request is not valid JSON: "),
        (b'{"inputs":' * 5_000 + b"1" + b"}" * 5_000, "the request is not valid JSON: "),
        (b"[]", "the request is a list; allowed is a JSON object with 'inputs'"),
        (b"7", "the request is a number; allowed is a JSON object with 'inputs'"),
        (b"null", "the request is nothing; allowed is a JSON object with 'inputs'"),
        (b"{}", "the request has no 'inputs'"),
        (b'{"inputs": null}', "the request has no 'inputs'"),
        (b'{"inputs": {}}', "'inputs' is an object; allowed is a list of objects"),
        (b'{"inputs": [7]}', "'inputs' has a number at 0; allowed is an object"),
        (b'{"inputs": []}', "input 'a' is missing; the model takes 'a', 'b'"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, message: str) -> None:
    model = make_signature("adder", "3", {"a": (FLOAT, [1]), "b": (FLOAT, [1])}, {}, {"sum": (FLOAT, [1])})

    assert message in raw_refusal(body, None, model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "an input has nothing as its 'name'; allowed: 'a', 'b', 'bias'"),
        ({"name": 7}, "an input has a number as its 'name'; allowed: 'a', 'b', 'bias'"),
        ({"name": "c"}, "model 'adder' has no input 'c'; there are: 'a', 'b', 'bias'"),
        ({"name": "b"}, "input 'b' is given twice"),
        ({"datatype": None}, "input 'a' has nothing as its 'datatype'; allowed: BOOL, UINT8,"),
        ({"datatype": "fp32"}, "input 'a' has 'fp32' as its 'datatype'; allowed: BOOL, UINT8,"),
        ({"datatype": ["FP32"]}, "input 'a' has a list as its 'datatype'; allowed: BOOL, UINT8,"),
        ({"datatype": "FP64"}, "input 'a' has datatype FP64; the model takes FP32"),
        ({"datatype": "BYTES"}, "input 'a' has datatype BYTES; the model takes FP32"),
        ({"shape": None}, "input 'a' has nothing as its 'shape'; allowed is a list of whole numbers, 0 and more"),
        ({"shape": 2}, "input 'a' has a number as its 'shape'; allowed is a list of whole numbers, 0 and more"),
        ({"shape": [-1, 2]}, "input 'a' has a list of other things as its 'shape'"),
        ({"shape": [1.0, 2]}, "input 'a' has a list of other things as its 'shape'"),
        ({"shape": [True, 2]}, "input 'a' has a list of other things as its 'shape'"),
        ({"shape": [1, 3]}, "input 'a' has shape [1, 3]; the model takes [-1, 2], where -1 is any size"),
        ({"shape": [2]}, "input 'a' has shape [2]; the model takes [-1, 2], where -1 is any size"),
        ({"shape": []}, "input 'a' has shape []; the model takes [-1, 2], where -1 is any size"),
        ({"shape": [3, 2]}, "input 'a': its data have 2 elements, its shape [3, 2] has 6"),
        ({"data": "1,2"}, "input 'a': its data are \"1,2\"; allowed is a list, nested or flat"),
        ({"data": ["1", 2]}, "input 'a': element 0 is \"1\"; FP32 takes numbers up to ±3.4028235e+38"),
        ({"data": [1, True]}, "input 'a': element 1 is true; FP32 takes numbers"),
        ({"data": [1, 1e39]}, "input 'a': element 1 is 1e+39; FP32 takes numbers"),
        ({"parameters": 7}, "input 'a' has a number as its 'parameters'; allowed is an object"),
        ({"parameters": {"x": []}}, "input 'a': parameter 'x' is a list; allowed: string, number, boolean"),
        ({"parameters": {"x": None}}, "input 'a': parameter 'x' is nothing; allowed: string, number, boolean"),
        ({"parameters": {"binary_data_size": 8}}, "input 'a' has both 'data' and 'binary_data_size'"),
        ({"parameters": {"shared_memory_region": "r"}}, "input 'a': shared memory is not offered here"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    entries = [B, {**A, **change}] if change == {"name": "b"} else [{**A, **change}, B]

    assert message in refusal(inputs=entries, outputs=[SUM])


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "'outputs' is an object; allowed is a list of objects"),
        ([7], "'outputs' has a number at 0; allowed is an object"),
        ([{}], "an output has nothing as its 'name'; allowed: 'sum', 'half', 'text'"),
        ([{"name": "total"}], "model 'adder' has no output 'total'; there are: 'sum', 'half', 'text'"),
        ([SUM, SUM], "output 'sum' is asked for twice"),
        ([{"name": "half"}], "output 'half' is FP16, which has no JSON form: ask for binary_data"),
        ([], "output 'half' is FP16, which has no JSON form: ask for binary_data"),
        ([{**SUM, "parameters": []}], "output 'sum' has a list as its 'parameters'; allowed is an object"),
        (
            [{**SUM, "parameters": {"binary_data": 1}}],
            "output 'sum': parameter 'binary_data' is 1; allowed: true, false",
        ),
        (
            [{**SUM, "parameters": {"classification": -1}}],
            "output 'sum': parameter 'classification' is -1; allowed is a whole number, 0 and more",
        ),
        (
            [{**SUM, "parameters": {"classification": True}}],
            "output 'sum': parameter 'classification' is True; allowed is a whole number, 0 and more",
        ),
        (
            [{"name": "text", "parameters": {"classification": 1}}],
            "output 'text' is BYTES; classification is for numbers",
        ),
        ([{**SUM, "parameters": {"shared_memory_region": "r"}}], "output 'sum': shared memory is not offered here"),
    ],
)
def test_wrong_output_is_refused(outputs: Any, message: str) -> None:
    assert message in refusal(inputs=[A, B], outputs=outputs)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "the request has a list as its 'parameters'; allowed is an object"),
        ({"sequence_id": 7}, "the request: parameter 'sequence_id' is reserved"),
        ({"sequence_start": True}, "the request: parameter 'sequence_start' is reserved"),
        ({"sequence_end": True}, "the request: parameter 'sequence_end' is reserved"),
        ({"headers": "x"}, "the request: parameter 'headers' is reserved"),
        ({"triton_enable_empty_final_response": True}, "parameter 'triton_enable_empty_final_response' is reserved"),
        ({"timeout": -1}, "the request: parameter 'timeout' is -1; allowed is a whole number, 0 and more"),
        ({"timeout": "1"}, "the request: parameter 'timeout' is '1'; allowed is a whole number, 0 and more"),
        ({"timeout": 1.5}, "the request: parameter 'timeout' is 1.5; allowed is a whole number, 0 and more"),
        ({"priority": True}, "the request: parameter 'priority' is True; allowed is a whole number, 0 and more"),
        ({"binary_data_output": 1}, "the request: parameter 'binary_data_output' is 1; allowed: true, false"),
        ({"own": {}}, "the request: parameter 'own' is an object; allowed: string, number, boolean"),
    ],
)
def test_wrong_parameter_is_refused(parameters: Any, message: str) -> None:
    assert message in refusal(inputs=[A, B], outputs=[SUM], parameters=parameters)


@pytest.mark.parametrize("where", [{}, {"id": "u" * 100}, {"id": "lull"}, {"parameters": {"own": False}}])
@pytest.mark.parametrize("value", [True, False])
def test_boolean_among_numbers_is_found_wherever_it_stands(where: dict[str, Any], value: bool) -> None:
    entries = [{**A, "data": [1, value]}, B]

    assert f"element 1 is {json.dumps(value)}; FP32 takes" in refusal(inputs=entries, outputs=[SUM], **where)
    assert ask(inputs=[A, B], outputs=[SUM], **where).inputs["a"].tolist() == [[1, 2]]


@pytest.mark.parametrize("given", [7, True, [], {}])
def test_id_is_a_string(given: object) -> None:
    assert refusal(inputs=[A, B], outputs=[SUM], id=given).endswith("; allowed is a string")


@pytest.mark.parametrize("length", ["", "x", "-1", "1.0", "+1", " 5", "٣", "10000", "9" * 5_000])
def test_header_length_is_within_the_body(length: str) -> None:
    message = raw_refusal(b"{}" + bytes(10), length)

    assert message.startswith("Inference-Header-Content-Length is '")
    assert message.endswith("allowed is the length of the JSON in bytes, 0 to the body's 12")
    assert len(message) < 200


@pytest.mark.parametrize(
    ("parameters", "tail", "length", "message"),
    [
        ({"binary_data_size": 8}, b"", None, "input 'a' has binary data, but the request lacks the header Inference-"),
        ({}, b"", None, "input 'a' has neither 'data' nor 'binary_data_size'"),
        (
            {"binary_data_size": 8},
            bytes(7),
            None,
            "input 'a': its binary data have 8 bytes; the body has 7 left for it",
        ),
        ({}, bytes(7), None, "input 'a': its binary data have 8 bytes; the body has 7 left for it"),
        (
            {"binary_data_size": 8},
            bytes(9),
            None,
            "the body has 1 bytes more than its JSON and the inputs' binary data",
        ),
        (
            {"binary_data_size": 4},
            bytes(4),
            None,
            "input 'a': its binary data have 4 bytes; FP32 of shape [1, 2] has 8",
        ),
        ({"binary_data_size": -8}, bytes(8), None, "input 'a': parameter 'binary_data_size' is -8; allowed is a whole"),
        (
            {"binary_data_size": "8"},
            bytes(8),
            None,
            "input 'a': parameter 'binary_data_size' is '8'; allowed is a whole",
        ),
        ({"binary_data_size": 2**63}, bytes(8), None, "input 'a': its binary data have 9223372036854775808 bytes"),
    ],
)
def test_wrong_binary_data_are_refused(parameters: Any, tail: bytes, length: str | None, message: str) -> None:
    entry = {"name": "a", "datatype": "FP32", "shape": [1, 2], "parameters": parameters}

    assert message in refusal(inputs=[entry, B], outputs=[SUM], tail=tail, length=length)


def test_strings_beside_other_inputs_have_to_say_their_size() -> None:
    model = make_signature("x", "1", {"s": (STRING, [1]), "t": (STRING, [1])}, {}, {"y": (STRING, [1])})
    entries = [{"name": name, "datatype": "BYTES", "shape": [1]} for name in "st"]

    assert refusal(model, b"\1\0\0\0a", inputs=entries) == (
        "input 's' has neither 'data' nor 'binary_data_size', which BYTES needs beside other inputs"
    )


@pytest.mark.parametrize(
    ("shape", "data", "message"),
    [
        ([1], ["text"], "input 'image': encoded pictures (BYTES) have no JSON form: send them as binary data"),
        ([0], None, "input 'image' has shape [0]; encoded pictures (BYTES) have [N] or [N, 1], N at least 1"),
        (
            [1, 2, 2],
            None,
            "input 'image' has shape [1, 2, 2]; encoded pictures (BYTES) have [N] or [N, 1], N at least 1",
        ),
        ([], None, "input 'image' has shape []; encoded pictures (BYTES) have [N] or [N, 1], N at least 1"),
        ([2], None, "input 'image': its binary data have 1 elements, its shape [2] has 2"),
    ],
)
def test_wrong_pictures_are_refused(shape: list[int], data: object, message: str) -> None:
    entry = {"name": "image", "datatype": "BYTES", "shape": shape, **({"data": data} if data else {})}

    assert refusal(PICTURES, b"\1\0\0\0x", inputs=[entry]) == message


def test_pictures_twice_are_refused() -> None:
    entry = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}

    assert refusal(PICTURES, b"\1\0\0\0x" * 2, inputs=[entry, entry]) == "input 'image' is given twice"
    assert refusal(PICTURES, b"\1\0\0\0x", inputs=[entry, pixels()]) == "input 'image' is given twice"


@pytest.mark.parametrize(
    ("model", "body", "message"),
    [
        (MODEL, bytes(8), "says that the body is the one input's bytes; the model takes 'a', 'b'"),
        (PICTURES, bytes(7), "input 'image': the body has 7 bytes; UINT8 of shape [-1, 2, 2] has a multiple of 4"),
        (PICTURES, b"", "input 'image': the body is empty; allowed are the bytes of one row and more"),
        (STRINGS, b"\xff", "input 'text': the body is not UTF-8, which the model's strings are"),
        (
            make_signature("x", "1", {"x": (STRING, ["n", 2])}, {}, {"y": (FLOAT, [1])}),
            b"a",
            "input 'x' has shape [-1, 2]; one element, which a raw request is, cannot fill it",
        ),
        (
            make_signature("x", "1", {"x": (FLOAT, ["n", "m", "k"])}, {}, {"y": (FLOAT, [1])}),
            bytes(4),
            "input 'x' has shape [-1, -1, -1]; a raw request can tell the size of one axis only",
        ),
        (
            make_signature("x", "1", {"x": (FLOAT, [3])}, {}, {"y": (FLOAT, [1])}),
            bytes(8),
            "input 'x': its binary data have 8 bytes; FP32 of shape [3] has 12",
        ),
    ],
)
def test_wrong_raw_request_is_refused(model: Signature, body: bytes, message: str) -> None:
    assert message in raw_refusal(body, "0", model)


def test_model_without_an_output_that_has_a_name_is_told() -> None:
    model = make_signature("x", "1", {"x": (FLOAT, ["n"])}, {}, {"maps": ("seq(map(int64,tensor(float)))", [])})
    message = "model 'x' has no output that the protocol has a datatype for"

    assert raw_refusal(bytes(4), "0", model) == message
    assert refusal(model, inputs=[{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]) == message


def test_type_that_the_protocol_has_no_name_for_is_told() -> None:
    model = make_signature("x", "1", {"x": ("seq(tensor(float))", [])}, {}, {"y": (FLOAT, [1])})
    x = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}

    assert refusal(SEQUENCES, inputs=[x], outputs=[{"name": "maps"}]) == (
        "output 'maps' is seq(map(int64,tensor(float))), which the protocol has no datatype for"
    )
    assert refusal(model, inputs=[x]) == (
        "model 'x' cannot be asked with this protocol, which has no datatype for its input 'x': seq(tensor(float))"
    )
    assert ask(SEQUENCES, inputs=[x]).output_names == ["label"]


# --- the response ----------------------------------------------------------------------------------------------------


def wanted(name: str, **options: Any) -> WantedOutput:
    return WantedOutput(MODEL.outputs[name], **options)


SUMS = np.array([[1, 0.5]], np.float32)
TEXTS = np.array(["a", "é"], np.object_)


def test_json_response_byte_for_byte() -> None:
    reply = write_response(InferRequest({}, [wanted("sum"), wanted("text")], "7"), [SUMS, TEXTS], MODEL)

    assert reply.headers == {"Content-Type": "application/json"}
    assert reply.body.decode() == (
        '{"model_name":"adder","model_version":"3","outputs":['
        '{"name":"sum","datatype":"FP32","shape":[1,2],"data":[1.0,0.5]},'
        '{"name":"text","datatype":"BYTES","shape":[2],"data":["a","é"]}],"id":"7"}'
    )


def test_binary_response_byte_for_byte() -> None:
    outputs = [wanted("text", binary=True), wanted("sum"), wanted("half", binary=True)]
    reply = write_response(InferRequest({}, outputs), [TEXTS, SUMS, np.array([[1]], np.float16)], MODEL)
    header = (
        b'{"model_name":"adder","model_version":"3","outputs":['
        b'{"name":"text","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":11}},'
        b'{"name":"sum","datatype":"FP32","shape":[1,2],"data":[1.0,0.5]},'
        b'{"name":"half","datatype":"FP16","shape":[1,1],"parameters":{"binary_data_size":2}}]}'
    )

    assert reply.headers == {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
    }
    assert reply.body == header + b"\1\0\0\0a\2\0\0\0\xc3\xa9" + b"\x00\x3c"


def test_scalar_has_no_axes() -> None:
    reply = write_response(InferRequest({}, [wanted("sum")]), [np.array(2, np.float32)], MODEL)

    assert json.loads(reply.body)["outputs"] == [{"name": "sum", "datatype": "FP32", "shape": [], "data": [2.0]}]


def test_nan_is_refused_in_json_and_sent_in_binary() -> None:
    values = np.array([[1, np.nan]], np.float32)
    with pytest.raises(BadRequest, match="output 'sum': element 1 is NaN, which has no JSON form: ask for binary_data"):
        write_response(InferRequest({}, [wanted("sum")]), [values], MODEL)

    assert write_response(InferRequest({}, [wanted("sum", binary=True)]), [values], MODEL).body.endswith(
        values.tobytes()
    )


# --- classification --------------------------------------------------------------------------------------------------


def classes(values: Any, count: int, output: str = "probabilities", model: Signature = PICTURES) -> Any:
    return classified(values, WantedOutput(model.outputs[output], classes=count), model).tolist()


def test_highest_values_come_first_with_their_labels() -> None:
    rows = np.array([[0.25, 0.5, 0.125], [1, 0, 1e-12]], np.float32)

    assert classes(rows, 2) == [["0.5:1:middle", "0.25:0:low"], ["1.0:0:low", "1e-12:2:high"]]


def test_more_classes_than_there_are_is_all_of_them() -> None:
    assert classes(np.array([[1, 2, 3]], np.float32), 99) == [["3.0:2:high", "2.0:1:middle", "1.0:0:low"]]


def test_first_place_comes_first_among_equals() -> None:
    assert classes(np.array([[1, 1, 1]], np.float32), 3) == [["1.0:0:low", "1.0:1:middle", "1.0:2:high"]]


def test_output_that_the_labels_are_not_of_has_none() -> None:
    assert classes(np.array([[1, 2]], np.float32), 1, "code") == [["2.0:1"]]


def test_without_a_batch_there_is_one_row() -> None:
    model = make_signature("x", "1", {"x": (FLOAT, [3])}, {}, {"y": ("tensor(uint8)", [3])}, ["a", "b", "c"])

    assert classes(np.array([0, 255, 1], np.uint8), 2, "y", model) == ["255:1:b", "1:2:c"]


def test_more_classes_than_python_writes_in_a_moment_are_refused() -> None:
    rows = np.zeros((10_001, 3), np.float32)

    assert len(classes(rows[:10_000], 2)) == 10_000
    with pytest.raises(BadRequest, match=r"a classification of 10,001 rows tells 20,002 classes; at most 20,000 are"):
        classes(rows, 2)


def test_axes_beyond_the_batch_are_classes_in_a_row() -> None:
    assert classes(np.array([[[1, 4], [3, 2]]], np.int64), 2) == [["4:1", "3:2"]]


def test_bfloat16_is_classified_by_its_value_and_not_its_bits() -> None:
    model = make_signature("x", "1", {"x": (FLOAT, ["n", 2])}, {}, {"y": ("tensor(bfloat16)", ["n", 2])})

    assert classes(np.array([[0xC000, 0x3F80]], np.uint16), 2, "y", model) == [["1.0:1", "-2.0:0"]]


def test_batch_of_none_has_no_classes() -> None:
    assert classified(
        np.zeros((0, 3), np.float32), WantedOutput(PICTURES.outputs["code"], classes=2), PICTURES
    ).shape == (
        0,
        2,
    )


def test_classes_are_sent_as_strings() -> None:
    request = InferRequest({}, [WantedOutput(PICTURES.outputs["probabilities"], classes=1)])
    reply = write_response(request, [np.array([[0, 1, 0]], np.float32)], PICTURES)

    assert json.loads(reply.body)["outputs"] == [
        {"name": "probabilities", "datatype": "BYTES", "shape": [1, 1], "data": ["1.0:1:middle"]}
    ]
