"""The stock clients of the protocol, asked in earnest: `percept serve` as its own process, tritonclient over sockets,
synchronous and asyncio. What they can say, they get the right answer to."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as stock
import tritonclient.http.aio as stock_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.conftest import ROOT, SAMPLES
from tests.onnx_models import write_all

PATIENCE = 30
SEVEN = (SAMPLES / "seven.png").read_bytes()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server with the models of tests/onnx_models.py and mnist-cnn."""
    folder = tmp_path_factory.mktemp("artifacts")
    write_all(folder)
    shutil.copytree(ROOT / "artifacts" / "mnist-cnn", folder / "mnist-cnn")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PERCEPT_ARTIFACTS": str(folder), "PERCEPT_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "app.cli", "serve"], cwd=ROOT, env=environment)
    deadline = time.monotonic() + PATIENCE
    while not answers(f"http://127.0.0.1:{port}/health/ready"):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    yield f"127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=PATIENCE)


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=PATIENCE).status == 200)
    except OSError:
        return False


class Asynchronous:
    """The asyncio client behind the methods of the other, so that one test is for both."""

    def __init__(self, address: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = self.loop.run_until_complete(self.open(address))

    async def open(self, address: str) -> Any:
        return stock_aio.InferenceServerClient(address)

    def close(self) -> None:
        self.loop.run_until_complete(self.client.close())
        self.loop.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)
        return lambda *given, **named: self.loop.run_until_complete(method(*given, **named))


@pytest.fixture(scope="module", params=["sync", "asyncio"])
def triton(request: pytest.FixtureRequest, address: str) -> Iterator[Any]:
    client: Any = stock.InferenceServerClient(address) if request.param == "sync" else Asynchronous(address)
    yield client
    client.close()


def given(name: str, values: Any, binary: bool = True, datatype: str | None = None) -> Any:
    entry = stock.InferInput(name, list(values.shape), datatype or np_to_triton_dtype(values.dtype))
    entry.set_data_from_numpy(values, binary_data=binary)
    return entry


def wanted(name: str, **options: Any) -> Any:
    return stock.InferRequestedOutput(name, **options)


def test_server_and_models_say_what_they_are(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("mnist-cnn")
    assert triton.is_model_ready("mnist-cnn", "1")
    assert not triton.is_model_ready("absent")
    assert not triton.is_model_ready("mnist-cnn", "2")
    assert triton.get_server_metadata()["name"] == "percept"
    assert triton.get_model_metadata("mnist-cnn", "1")["inputs"] == [
        {"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}
    ]
    assert triton.get_model_config("mnist-cnn")["input"][0]["data_type"] == "TYPE_UINT8"
    assert {"name": "mnist-cnn", "version": "1", "state": "READY"} in triton.get_model_repository_index()


VALUES: dict[str, Any] = {
    "bool": np.array([[True, False], [False, False]]),
    "uint8": np.array([[0, 255]], np.uint8),
    "uint16": np.array([[0, 2**16 - 1]], np.uint16),
    "uint32": np.array([[0, 2**32 - 1]], np.uint32),
    "uint64": np.array([[0, 2**64 - 1]], np.uint64),
    "int8": np.array([[-128, 127]], np.int8),
    "int16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "int32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "int64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "fp16": np.array([[1 / 3, -np.inf, 6e-8]], np.float16),
    "fp32": np.array([[1 / 3, -0.0, 1e-45]], np.float32),
    "fp64": np.array([[1 / 3, -0.0, 5e-324]], np.float64),
    "bf16": np.array([[1, -2.5, 3e38]], ml_dtypes.bfloat16),
    "bytes": np.array([["", "zwölf"], ["\n", "😀"]], np.object_),
}
NO_JSON = {"fp16", "bf16"}
WAYS = [
    (name, binary_input, binary_output)
    for name in VALUES
    for binary_input in (True, False)
    for binary_output in (True, False)
    if name not in NO_JSON or (binary_input and binary_output)
]


@pytest.mark.parametrize(("name", "binary_input", "binary_output"), WAYS)
def test_every_datatype_goes_there_and_back(triton: Any, name: str, binary_input: bool, binary_output: bool) -> None:
    values = VALUES[name]
    result = triton.infer(
        f"identity-{name}",
        [given("x", values, binary_input)],
        outputs=[wanted("y", binary_data=binary_output)],
        request_id="7",
    )
    found = result.as_numpy("y")

    assert result.get_response()["id"] == "7"
    assert result.get_response()["model_version"] == "1"
    if name == "bytes":
        texts = [item.decode() if binary_output else item for item in found.ravel()]
        assert texts == values.ravel().tolist()
    else:
        assert found.dtype == values.dtype
        assert found.tobytes() == values.tobytes()
    assert found.shape == values.shape


def test_outputs_that_are_not_named_come_all_and_as_bytes(triton: Any) -> None:
    a, b = np.array([[1, 2]], np.float32), np.array([[3, 4]], np.float32)
    result = triton.infer("addition", [given("a", a), given("b", b, binary=False)])

    assert result.as_numpy("sum").tolist() == [[4, 6]]
    assert result.as_numpy("product").tolist() == [[3, 8]]
    assert "binary_data_size" in result.get_output("sum")["parameters"]


@pytest.mark.parametrize("outgoing", [None, "gzip", "deflate"])
@pytest.mark.parametrize("incoming", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_both_ways(triton: Any, outgoing: str | None, incoming: str | None, binary: bool) -> None:
    values = np.tile(np.arange(100, dtype=np.float32), (30, 1))
    result = triton.infer(
        "identity-fp32",
        [given("x", values, binary)],
        outputs=[wanted("y", binary_data=binary)],
        request_compression_algorithm=outgoing,
        response_compression_algorithm=incoming,
    )

    assert result.as_numpy("y").tolist() == values.tolist()


def test_pictures_are_sent_as_files_and_answered_with_labels(triton: Any) -> None:
    files = [(SAMPLES / name).read_bytes() for name in ("seven.png", "two.png")]
    image = np.array(files, np.object_)
    classes = triton.infer("mnist-cnn", [given("image", image)], outputs=[wanted("probabilities", class_count=2)])
    logits = triton.infer("mnist-cnn", [given("image", image.reshape(2, 1))], outputs=[wanted("logits")])

    found = [[text.decode().split(":") for text in row] for row in classes.as_numpy("probabilities")]
    assert [row[0][2] for row in found] == ["7", "2"]
    assert [float(row[0][0]) > 0.99 for row in found] == [True, True]
    assert [len(row) for row in found] == [2, 2]
    assert logits.as_numpy("logits").argmax(1).tolist() == [7, 2]


def test_probabilities_are_those_of_predict(triton: Any, address: str) -> None:
    request = urllib.request.Request(f"http://{address}/predict/mnist-cnn", SEVEN, {"Content-Type": "image/png"})
    predicted = json.load(urllib.request.urlopen(request))["predictions"][0]["probabilities"]
    result = triton.infer("mnist-cnn", [given("image", np.array([SEVEN], np.object_))])

    assert result.as_numpy("probabilities")[0].tolist() == pytest.approx(predicted, abs=1e-6)


def test_strings_go_in_and_come_out(triton: Any) -> None:
    numbers = triton.infer("parsing", [given("text", np.array(["1.5", "-2"], np.object_))])
    words = triton.infer("lookup", [given("index", np.array([1, 0, 1]))])

    assert numbers.as_numpy("number").tolist() == [1.5, -2]
    assert words.as_numpy("word").tolist() == [b"one", b"zero", b"one"]


def test_priority_timeout_and_own_parameters_are_taken(triton: Any) -> None:
    result = triton.infer(
        "total", [given("x", np.array([1, 2, 3]))], priority=1, timeout=1_000_000, parameters={"own": "value"}
    )

    assert result.as_numpy("total").tolist() == 6


@pytest.mark.parametrize(
    ("call", "status", "message"),
    [
        (
            lambda client: client.get_model_metadata("absent"),
            "404",
            "there is no model 'absent'; there are: digits, addition, ",
        ),
        (lambda client: client.get_model_config("total", "9"), "404", "model 'total' has no version 9; there are: 1"),
        (
            lambda client: client.infer("total", [given("x", np.array([1, 2]))]),
            "400",
            "input 'x' has shape [2]; the model takes [3], where -1 is any size",
        ),
        (
            lambda client: client.infer("total", [given("x", np.array([1, 2, 3], np.int32))]),
            "400",
            "input 'x' has datatype INT32; the model takes INT64",
        ),
        (
            lambda client: client.infer("total", [given("y", np.array([1, 2, 3]))]),
            "400",
            "model 'total' has no input 'y'; there are: 'x'",
        ),
        (
            lambda client: client.infer("total", [given("x", np.array([1, 2, 3]))], outputs=[wanted("sum")]),
            "400",
            "model 'total' has no output 'sum'; there are: 'total'",
        ),
        (
            lambda client: client.infer("total", [given("x", np.array([1, 2, 3]))], sequence_id=7),
            "400",
            "the request: parameter 'sequence_id' is reserved by the protocol and has no meaning here",
        ),
        (
            lambda client: client.infer("parsing", [given("text", np.array(["abc"], np.object_))]),
            "400",
            "model 'parsing' cannot answer this: ",
        ),
        (
            lambda client: client.infer("mnist-cnn", [given("image", np.array([b"text"], np.object_))]),
            "400",
            "input 'image': the file is not an image that can be decoded: PNG, JPEG, WebP, GIF, BMP, TIFF",
        ),
    ],
)
def test_errors_arrive_with_our_words(triton: Any, call: Callable[[Any], Any], status: str, message: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        call(triton)

    assert caught.value.status() == status
    assert caught.value.message().startswith(message)


def test_the_readmes_lines_print_what_they_say(address: str) -> None:
    [lines] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    code = lines.replace("127.0.0.1:8000", address)
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True, timeout=PATIENCE)

    assert printed.strip() == lines.rpartition("# ")[2].strip()


def test_requests_at_once_get_their_own_answers(address: str) -> None:
    with stock.InferenceServerClient(address, concurrency=8) as client:
        asked = [
            client.async_infer("total", [given("x", np.array([number, 0, 0]))], request_id=str(number))
            for number in range(50)
        ]
        results = [request.get_result() for request in asked]

    assert [result.as_numpy("total").tolist() for result in results] == list(range(50))
    assert [result.get_response()["id"] for result in results] == [str(number) for number in range(50)]
