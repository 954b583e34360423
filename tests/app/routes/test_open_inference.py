"""/v2 over HTTP: what is told, what is answered, and errors in the protocol's shape for every status."""

import gzip
import io
import json
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from onnx import TensorProto, helper
from PIL import Image

from app.main import create_app
from app.pictures import read_pictures
from app.settings import Settings
from tests.conftest import SAMPLES
from tests.onnx_models import brightness_graph, graph_of, identity_graph, write_all, write_model
from tests.problems import assert_problem, assert_protocol_error

LENGTH = "Inference-Header-Content-Length"
SEVEN = (SAMPLES / "seven.png").read_bytes()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service over the models of tests/onnx_models.py, and one that is refused."""
    folder = tmp_path_factory.mktemp("artifacts")
    write_all(folder)
    write_model(folder, identity_graph(TensorProto.FLOAT, None), "any-rank")
    write_model(folder, identity_graph(TensorProto.FLOAT, ["n"]), "total", 2)
    (folder / "broken" / "1").mkdir(parents=True)
    (folder / "broken" / "1" / "model.onnx").write_bytes(b"no model")
    (folder / "empty").mkdir()
    with TestClient(create_app(Settings(artifacts=folder))) as client:
        yield client


def tensor(name: str, datatype: str, shape: list[int], data: Any = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **({} if data is None else {"data": data})}


def infer(client: TestClient, model: str, *inputs: dict[str, Any], **more: Any) -> Any:
    return client.post(f"/v2/models/{model}/infer", json={"inputs": inputs, **more})


def infer_binary(client: TestClient, model: str, tail: bytes, headers: Any = None, **document: Any) -> Any:
    text = json.dumps(document).encode()
    return client.post(
        f"/v2/models/{model}/infer", content=text + tail, headers={LENGTH: str(len(text)), **(headers or {})}
    )


def data_of(answer: Any, name: str) -> Any:
    """An output of a JSON response."""
    assert answer.status_code == 200, answer.text
    [output] = [output for output in answer.json()["outputs"] if output["name"] == name]
    return output["data"]


def binary_of(answer: Any) -> dict[str, bytes]:
    """The outputs of a binary response."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers[LENGTH])
    found, offset = {}, length
    for output in json.loads(answer.content[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = answer.content[offset : offset + size]
        offset += size
    assert offset == len(answer.content)
    return found


# --- what is told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_tells_what_it_is(tiny: TestClient, path: str) -> None:
    assert tiny.get(path, follow_redirects=False).json() == {
        "name": "percept",
        "version": "0.1.0",
        "extensions": [
            "binary_tensor_data",
            "classification",
            "model_configuration",
            "model_repository",
            "model_repository(unload_dependents)",
            "parameters",
            "schedule_policy",
            "statistics",
        ],
    }


def test_health_is_ready_when_every_model_is(client: TestClient, tiny: TestClient) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"live": True, "ready": True}
    assert tiny.get("/v2/health/live").status_code == 200
    message = assert_protocol_error(tiny.get("/v2/health/ready"), 503)
    assert message.startswith("2 artifacts are not served: broken 1: onnxruntime cannot load it: ")


@pytest.mark.parametrize("path", ["/v2/models/addition", "/v2/models/addition/versions/1"])
def test_metadata_tell_inputs_and_outputs(tiny: TestClient, path: str) -> None:
    row = {"datatype": "FP32", "shape": [-1, 2]}

    assert tiny.get(path).json() == {
        "name": "addition",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "a", **row}, {"name": "b", **row}, {"name": "bias", "datatype": "FP32", "shape": [1]}],
        "outputs": [{"name": "sum", **row}, {"name": "product", **row}],
    }


def test_metadata_of_a_model_with_a_card_tell_its_labels(client: TestClient) -> None:
    properties = client.get("/v2/models/fashion-cnn").json()["properties"]

    assert (properties["title"], properties["task"]) == ("Clothing, convolutional network", "classification")
    assert json.loads(properties["labels"])[9] == "Ankle boot"


def test_alias_leads_to_its_model(client: TestClient) -> None:
    model = client.get("/models").json()["aliases"]["digits"]

    assert client.get("/v2/models/digits").json() == client.get(f"/v2/models/{model}").json()


def test_model_tells_whether_it_is_ready(tiny: TestClient) -> None:
    assert tiny.get("/v2/models/total/ready").json() == {"name": "total", "ready": True}
    assert tiny.get("/v2/models/total/versions/1/ready").json() == {"name": "total", "ready": True}
    for path in ("/v2/models/broken/ready", "/v2/models/broken/versions/1/ready"):
        message = assert_protocol_error(tiny.get(path), 503)
        assert message.startswith("model 'broken' is not served: onnxruntime cannot load it: ")
    assert_protocol_error(tiny.get("/v2/models/empty/ready"), 503)
    assert_protocol_error(tiny.get("/v2/models/absent/ready"), 404)
    assert_protocol_error(tiny.get("/v2/models/total/versions/9/ready"), 404)


def test_configuration_is_what_triton_would_tell(tiny: TestClient) -> None:
    assert tiny.get("/v2/models/brightness/config").json() == {
        "name": "brightness",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"all": {}},
        "max_batch_size": 1024,
        "input": [
            {"name": "image", "data_type": "TYPE_UINT8", "dims": [2, 2], "format": "FORMAT_NONE", "optional": False}
        ],
        "output": [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [2]}],
        "instance_group": [{"name": "brightness", "kind": "KIND_CPU", "count": 1}],
        "default_model_filename": "model.onnx",
    }


def test_configuration_without_a_batch_has_whole_shapes(tiny: TestClient) -> None:
    config = tiny.get("/v2/models/total/versions/1/config").json()

    assert config["max_batch_size"] == 0
    assert config["input"][0]["dims"] == [3]
    assert config["output"] == [{"name": "total", "data_type": "TYPE_INT64", "dims": []}]


def test_configuration_tells_strings_and_what_may_be_left_out(tiny: TestClient) -> None:
    assert tiny.get("/v2/models/parsing/config").json()["input"][0]["data_type"] == "TYPE_STRING"
    assert [entry["optional"] for entry in tiny.get("/v2/models/addition/config").json()["input"]] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/any/index"])
def test_index_lists_every_version_and_what_was_refused(tiny: TestClient, path: str) -> None:
    index = tiny.post(path).json()

    assert [entry for entry in index if entry["name"] == "total"] == [
        {"name": "total", "version": "1", "state": "READY"},
        {"name": "total", "version": "2", "state": "READY"},
    ]
    [broken] = [entry for entry in index if entry["name"] == "broken"]
    assert broken.pop("reason").startswith("onnxruntime cannot load it")
    assert broken == {"name": "broken", "version": "1", "state": "UNAVAILABLE"}
    assert index == sorted(index, key=lambda entry: entry["name"])


def test_index_may_be_asked_for_what_is_ready(tiny: TestClient) -> None:
    every = tiny.post("/v2/repository/index", json={}).json()
    ready = tiny.post("/v2/repository/index", json={"ready": True}).json()

    assert tiny.post("/v2/repository/index", json={"ready": False}).json() == every
    assert [entry for entry in every if entry["state"] == "READY"] == ready
    assert len(every) == len(ready) + 2


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b'{"ready": 1}'])
def test_index_refuses_what_it_cannot_be_asked(tiny: TestClient, body: bytes) -> None:
    assert "the body is not" in assert_protocol_error(tiny.post("/v2/repository/index", content=body), 400)


def test_highest_version_answers_unless_another_is_named(tiny: TestClient) -> None:
    newest = infer(tiny, "total", tensor("x", "FP32", [1], [0.5])).json()
    oldest = infer(tiny, "total/versions/1", tensor("x", "INT64", [3], [1, 2, 3])).json()

    assert (newest["model_version"], newest["outputs"][0]["data"]) == ("2", [0.5])
    assert (oldest["model_version"], oldest["outputs"][0]["data"]) == ("1", [6])


# --- infer -----------------------------------------------------------------------------------------------------------


def test_every_way_to_ask_gives_what_predict_gives(client: TestClient) -> None:
    predicted = client.post("/predict/mnist-cnn", files={"file": SEVEN}).json()["predictions"][0]["probabilities"]
    model = client.app_state["service"].store.find("mnist-cnn")
    pixels = read_pictures([SEVEN], model.card.input, 10**6)[0].pixels
    file = len(SEVEN).to_bytes(4, "little") + SEVEN
    probabilities = [{"name": "probabilities"}]
    as_pixels, as_file = tensor("image", "UINT8", [1, 28, 28]), tensor("image", "BYTES", [1])
    answers = [
        infer(client, "mnist-cnn", {**as_pixels, "data": pixels.tolist()}, outputs=probabilities),
        infer(client, "mnist-cnn", {**as_pixels, "data": pixels.ravel().tolist()}, outputs=probabilities),
        infer_binary(client, "mnist-cnn", pixels.tobytes(), inputs=[as_pixels], outputs=probabilities),
        infer_binary(client, "mnist-cnn", file, inputs=[as_file], outputs=probabilities),
    ]
    raw = client.post("/v2/models/mnist-cnn/infer", content=pixels.tobytes(), headers={LENGTH: "0"})

    assert max(predicted) > 0.99
    for answer in answers:
        assert data_of(answer, "probabilities") == pytest.approx(predicted, abs=1e-6)
    assert np.frombuffer(binary_of(raw)["probabilities"], "<f4").tolist() == pytest.approx(predicted, abs=1e-6)


def test_each_file_has_its_own_answer(client: TestClient) -> None:
    files = [(SAMPLES / name).read_bytes() for name in ("seven.png", "two.png", "three-on-paper.jpg")]
    tail = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    answer = infer_binary(
        client,
        "digits",
        tail,
        inputs=[tensor("image", "BYTES", [3, 1])],
        outputs=[{"name": "probabilities", "parameters": {"classification": 1}}],
    )

    assert [text.split(":")[1:] for text in data_of(answer, "probabilities")] == [["7", "7"], ["2", "2"], ["3", "3"]]


def test_classification_names_the_labels(client: TestClient) -> None:
    boot = (SAMPLES / "ankle-boot.png").read_bytes()
    answer = infer_binary(
        client,
        "clothing",
        len(boot).to_bytes(4, "little") + boot,
        inputs=[tensor("image", "BYTES", [1])],
        outputs=[{"name": "logits", "parameters": {"classification": 3, "binary_data": True}}],
    )
    raw = binary_of(answer)["logits"]
    first = raw[4 : 4 + int.from_bytes(raw[:4], "little")].decode()

    assert first.endswith(":9:Ankle boot")


def test_sum_of_two_inputs_with_and_without_the_third(tiny: TestClient) -> None:
    a, b = tensor("a", "FP32", [2, 2], [1, 2, 3, 4]), tensor("b", "FP32", [2, 2], [[10, 20], [30, 40]])

    assert data_of(infer(tiny, "addition", b, a), "sum") == [11, 22, 33, 44]
    assert data_of(infer(tiny, "addition", a, b, tensor("bias", "FP32", [1], [0.5])), "sum") == [11.5, 22.5, 33.5, 44.5]
    only = infer(tiny, "addition", a, b, outputs=[{"name": "product"}]).json()
    assert only["outputs"] == [{"name": "product", "datatype": "FP32", "shape": [2, 2], "data": [10, 40, 90, 160]}]


def test_bfloat16_goes_through_the_model(tiny: TestClient) -> None:
    raw = bytes.fromhex("803f00c0ff7f")  # 1, -2, NaN
    answer = infer_binary(
        tiny, "identity-bf16", raw, inputs=[tensor("x", "BF16", [1, 3])], parameters={"binary_data_output": True}
    )

    assert binary_of(answer) == {"y": raw}


def test_strings_of_any_language_go_through_the_model(tiny: TestClient) -> None:
    texts = ["", "zwölf", "\0\n", "😀", "a" * 100_000]

    assert data_of(infer(tiny, "identity-bytes", tensor("x", "BYTES", [5, 1], texts)), "y") == texts


def test_rank_that_is_not_told_may_be_any(tiny: TestClient) -> None:
    for shape in ([], [1], [1, 1, 1]):
        answer = infer(tiny, "any-rank", tensor("x", "FP32", shape, [0.5])).json()
        assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": shape, "data": [0.5]}]


def test_batch_of_none_is_answered_with_none(tiny: TestClient) -> None:
    answer = infer(tiny, "addition", tensor("a", "FP32", [0, 2], []), tensor("b", "FP32", [0, 2], []))

    assert data_of(answer, "sum") == []


# --- encodings -------------------------------------------------------------------------------------------------------

MANY = tensor("x", "FP32", [10, 100], [1.0] * 1_000)
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("coding", COMPRESSORS)
def test_compressed_request_is_read(tiny: TestClient, coding: str) -> None:
    body = json.dumps({"inputs": [MANY]}).encode()
    answer = tiny.post(
        "/v2/models/identity-fp32/infer", content=COMPRESSORS[coding](body), headers={"Content-Encoding": coding}
    )

    assert data_of(answer, "y") == [1.0] * 1_000


@pytest.mark.parametrize("coding", COMPRESSORS)
def test_header_length_is_that_of_the_json_before_compression(tiny: TestClient, coding: str) -> None:
    text = json.dumps({"inputs": [tensor("x", "FP32", [1, 1])]}).encode()
    body = COMPRESSORS[coding](text + bytes.fromhex("0000003f"))
    headers = {"Content-Encoding": coding, LENGTH: str(len(text))}

    assert data_of(tiny.post("/v2/models/identity-fp32/infer", content=body, headers=headers), "y") == [0.5]


@pytest.mark.parametrize("coding", COMPRESSORS)
@pytest.mark.parametrize("binary", [True, False])
def test_response_is_compressed_for_who_accepts_it(tiny: TestClient, coding: str, binary: bool) -> None:
    asked = {"inputs": [MANY], "parameters": {"binary_data_output": binary}}
    plain, packed = (
        tiny.post("/v2/models/identity-fp32/infer", json=asked, headers={"Accept-Encoding": accepted})
        for accepted in ("identity", coding)
    )

    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == coding
    assert int(packed.headers["content-length"]) < len(plain.content) / 5
    assert packed.content == plain.content  # the client has unpacked it
    assert packed.headers.get(LENGTH) == plain.headers.get(LENGTH)


def test_small_response_is_not_compressed(tiny: TestClient) -> None:
    answer = tiny.post(
        "/v2/models/total/versions/1/infer",
        json={"inputs": [tensor("x", "INT64", [3], [1, 2, 3])]},
        headers={"Accept-Encoding": "gzip"},
    )

    assert "content-encoding" not in answer.headers


def test_bomb_is_refused(tiny: TestClient) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    answer = tiny.post("/v2/models/identity-fp32/infer", content=bomb, headers={"Content-Encoding": "gzip"})

    assert assert_protocol_error(answer, 413) == (
        "the body is longer than allowed once decompressed; at most 20,000,000 bytes are allowed "
        "(PERCEPT_MAX_BODY_BYTES)"
    )


def test_coding_that_is_not_read_is_told(tiny: TestClient) -> None:
    answer = tiny.post("/v2/models/total/infer", content=b"x", headers={"Content-Encoding": "br"})

    assert assert_protocol_error(answer, 415) == "content encoding 'br' is not read here; allowed: gzip, deflate"
    assert answer.headers["accept-encoding"] == "gzip, deflate"


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v2/nowhere", 404, "GET /v2/nowhere"),
        ("GET", "/v2/models", 404, "GET /v2/models"),
        ("POST", "/v2/models/total/nothing", 404, "POST /v2/models/total/nothing"),
        ("GET", "/v2/models/absent", 404, "there is no model 'absent'; there are: addition, any-rank, "),
        ("POST", "/v2/models/absent/infer", 404, "there is no model 'absent'; there are: addition, any-rank, "),
        ("GET", "/v2/models/total/versions/3", 404, "model 'total' has no version 3; there are: 1, 2"),
        ("GET", "/v2/models/total/versions/v10", 404, "model 'total' has no version 'v10'; there are: 1, 2"),
        ("POST", "/v2/models/total/versions/01/infer", 404, "model 'total' has no version '01'; there are: 1, 2"),
        ("GET", "/v2/models/total/infer", 405, "GET /v2/models/total/infer is not allowed; allowed: POST"),
        ("DELETE", "/v2/models/total", 405, "DELETE /v2/models/total is not allowed; allowed: GET"),
        ("PUT", "/v2", 405, "PUT /v2 is not allowed; allowed: GET"),
    ],
)
def test_errors_have_the_protocols_shape(tiny: TestClient, method: str, path: str, status: int, message: str) -> None:
    answer = tiny.request(method, path)

    assert assert_protocol_error(answer, status).startswith(message)
    if status == 405:
        assert answer.headers["allow"] == message.rpartition(" ")[2]


@pytest.mark.parametrize("path", ["/v20", "/v2x/models", "/models/v2"])
def test_other_paths_keep_theirs(tiny: TestClient, path: str) -> None:
    assert_problem(tiny.get(path), 404)


def test_proxys_prefix_does_not_change_the_shape(tiny: TestClient) -> None:
    with TestClient(tiny.app, root_path="/percept") as proxied:
        assert_protocol_error(proxied.get("/percept/v2/nowhere"), 404)
        assert_problem(proxied.get("/percept/nowhere"), 404)


def test_own_fault_has_the_protocols_shape_and_keeps_its_secrets(tmp_path: Path) -> None:
    write_all(tmp_path)
    app = create_app(Settings(artifacts=tmp_path))

    @app.get("/v2/fault")
    async def fault() -> None:
        raise RuntimeError("secret")

    with TestClient(app, raise_server_exceptions=False) as client:
        assert assert_protocol_error(client.get("/v2/fault"), 500) == "the service failed; the log says why"


def test_body_beyond_the_limit_is_refused(tiny: TestClient) -> None:
    for path in ("/v2/models/total/infer", "/v2/repository/index"):
        assert assert_protocol_error(tiny.post(path, content=b"x" * 20_000_001), 413) == (
            "the body has 20,000,001 bytes; at most 20,000,000 bytes are allowed (PERCEPT_MAX_BODY_BYTES)"
        )


def test_files_beyond_the_limits_are_refused(client: TestClient) -> None:
    one = len(SEVEN).to_bytes(4, "little") + SEVEN
    answer = infer_binary(client, "digits", one * 65, inputs=[tensor("image", "BYTES", [65])])

    assert assert_protocol_error(answer, 413) == (
        "input 'image' has 65 files; at most 64 are allowed (PERCEPT_MAX_FILES)"
    )
    file = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(file, "PNG")
    wide = file.getvalue()
    answer = infer_binary(
        client, "digits", len(wide).to_bytes(4, "little") + wide, inputs=[tensor("image", "BYTES", [1])]
    )
    assert "the file has 9000 × 9000 pixels" in assert_protocol_error(answer, 413)


def test_file_that_is_no_picture_is_told(client: TestClient) -> None:
    tail = len(SEVEN).to_bytes(4, "little") + SEVEN + b"\4\0\0\0text"
    answer = infer_binary(client, "digits", tail, inputs=[tensor("image", "BYTES", [2])])

    assert assert_protocol_error(answer, 400) == (
        "input 'image': file 2 of 2 is not an image that can be decoded: PNG, JPEG, WebP, GIF, BMP, TIFF"
    )


def test_values_that_the_model_cannot_take_are_the_callers_fault(tiny: TestClient) -> None:
    text = infer(tiny, "parsing", tensor("text", "BYTES", [2], ["1.5", "abc"]))
    index = infer(tiny, "lookup", tensor("index", "INT64", [1], [2]))
    rows = infer(tiny, "addition", tensor("a", "FP32", [2, 2], [0] * 4), tensor("b", "FP32", [3, 2], [0] * 6))

    assert assert_protocol_error(text, 400).startswith("model 'parsing' cannot answer this: ")
    assert "idx=2 must be within the inclusive range [-2,1]" in assert_protocol_error(index, 400)
    assert assert_protocol_error(rows, 400).startswith("model 'addition' cannot answer this: ")
    assert data_of(infer(tiny, "parsing", tensor("text", "BYTES", [1], ["1.5"])), "number") == [1.5]
    assert data_of(infer(tiny, "lookup", tensor("index", "INT64", [2], [1, 0])), "word") == ["one", "zero"]


def test_answer_without_a_json_form_is_told_and_can_be_had_as_bytes(tiny: TestClient) -> None:
    nan = tensor("text", "BYTES", [1], ["nan"])

    assert assert_protocol_error(infer(tiny, "parsing", nan), 400) == (
        "output 'number': element 0 is NaN, which has no JSON form: ask for binary_data"
    )
    raw = binary_of(infer(tiny, "parsing", nan, parameters={"binary_data_output": True}))["number"]
    assert np.isnan(np.frombuffer(raw, "<f4")).all()


def test_input_of_a_type_without_a_name_is_told(tmp_path: Path) -> None:
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    model = graph_of(
        [helper.make_node("SequenceLength", ["s"], ["n"])],
        {},
        {"n": (TensorProto.INT64, [])},
    )
    model.graph.input.append(helper.make_value_info("s", sequence))
    write_model(tmp_path, model, "sequence")
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        answer = infer(client, "sequence", tensor("s", "FP32", [1], [1]))
        assert "no datatype for its input 's': seq(tensor(float))" in assert_protocol_error(answer, 400)
        assert client.get("/v2/models/sequence").json()["inputs"] == []


@pytest.mark.parametrize(("name", "address"), [("stats", "/v2/models/stats"), ("fit", "/cluster/fit")])
def test_model_may_not_be_called_as_an_address(tmp_path: Path, name: str, address: str) -> None:
    write_model(tmp_path, identity_graph(), name)
    write_model(tmp_path, brightness_graph(), "other")
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        assert assert_protocol_error(client.get(f"/v2/models/{name}/ready"), 503) == (
            f"model '{name}' is not served: the name '{name}' is taken: {address} is an address of its own"
        )


# --- anything at all -------------------------------------------------------------------------------------------------


def something(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    kinds = ["whole", "number", "text", "nothing", "truth"] + ["list", "object"] * (depth < 3)
    kind = rng.choice(kinds)
    if kind == "list":
        return [something(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == "object":
        return {rng.choice(WORDS): something(rng, depth + 1) for _ in range(rng.randrange(4))}
    return {
        "whole": rng.choice([0, 1, 2, 3, -1, 255, 256, 2**31, 2**63, 2**64]),
        "number": rng.choice([0.5, -0.0, 1e39, 1e300, 3.0]),
        "text": rng.choice(WORDS),
        "nothing": None,
        "truth": rng.random() < 0.5,
    }[kind]


WORDS = [
    *(
        "inputs",
        "outputs",
        "parameters",
        "id",
        "name",
        "shape",
        "datatype",
        "data",
        "x",
        "y",
        "a",
        "b",
        "image",
        "text",
    ),
    *("binary_data_size", "binary_data", "binary_data_output", "classification", "timeout", "priority", "triton_x"),
    *("FP32", "FP16", "BF16", "BYTES", "UINT8", "INT64", "BOOL", "", "\0", "ü", "9" * 50),
]


def mutated(rng: random.Random, value: Any, chance: float) -> Any:
    """The same document with some of its values replaced, dropped or doubled."""
    if rng.random() < chance:
        return something(rng)
    if isinstance(value, dict):
        return {name: mutated(rng, item, chance) for name, item in value.items() if rng.random() > chance / 2}
    if isinstance(value, list):
        return [mutated(rng, item, chance) for item in value for _ in range(1 + (rng.random() < chance / 2))]
    return value


@pytest.mark.parametrize("seed", range(8))
def test_no_request_is_a_fault_of_the_service(tiny: TestClient, seed: int) -> None:
    """A seeded search; the client raises whatever the service would answer 500 for."""
    rng = random.Random(seed)
    statuses = set()
    for _ in range(150):
        kind = rng.choice(["fp32", "bytes", "bf16", "bool", "int64", "fp16"])
        datatype = kind.upper()
        x = tensor("x", datatype, [1, 2])
        tail = b""
        if rng.random() < 0.5:
            tail = rng.choice([bytes(2), bytes(4), bytes(8), bytes(16), b"\1\0\0\0a\1\0\0\0b", rng.randbytes(12)])
            x["parameters"] = {"binary_data_size": len(tail)}
        else:
            x["data"] = ["a", "b"] if kind == "bytes" else [True, False] if kind == "bool" else [1, 2]
        parameters = {"binary_data": rng.random() < 0.7, "classification": rng.choice([0, 1, 5])}
        document = {"id": "1", "inputs": [x], "outputs": [{"name": "y", "parameters": parameters}]}
        text = json.dumps(mutated(rng, document, rng.choice([0, 0.05, 0.2]))).encode()
        if rng.random() < 0.1:
            text = text[: rng.randrange(len(text) + 1)]
        length = rng.choice([str(len(text))] * 6 + ["0", "5", "x", ""])
        headers = {LENGTH: length} if tail or rng.random() < 0.3 else {}
        if rng.random() < 0.1:
            headers["Content-Encoding"] = rng.choice(["gzip", "deflate", "identity", "br"])
        answer = tiny.post(f"/v2/models/identity-{kind}/infer", content=text + tail, headers=headers)
        statuses.add(answer.status_code)
        if answer.status_code != 200:
            assert len(assert_protocol_error(answer, answer.status_code)) < 500

    assert {200, 400} <= statuses <= {200, 400, 415}
