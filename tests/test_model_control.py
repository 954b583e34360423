"""Models come and go under two real workers: the stock client loads and unloads, files appear and vanish, and no
request fails meanwhile."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tritonclient.http as stock
from tritonclient.utils import InferenceServerException

from tests.conftest import ROOT
from tests.onnx_models import write_brightness

PATIENCE = 30
BODY = json.dumps(
    {"inputs": [{"name": "image", "shape": [1, 2, 2], "datatype": "UINT8", "data": [255, 255, 255, 0]}]}
).encode()


class Server:
    def __init__(self, folder: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.folder, self.address = folder, f"127.0.0.1:{port}"
        environment = os.environ | {
            "PERCEPT_ARTIFACTS": str(folder),
            "PERCEPT_PORT": str(port),
            "PERCEPT_WORKERS": "2",
            **settings,
        }
        self.process = subprocess.Popen([sys.executable, "-m", "app.cli", "serve"], cwd=ROOT, env=environment)
        wait_until(lambda: self.get("/health/live") is not None)

    def get(self, path: str) -> object:
        try:
            return json.load(urllib.request.urlopen(f"http://{self.address}{path}", timeout=PATIENCE))
        except OSError:
            return None

    def answering_version(self) -> str:
        """Over a connection of its own, so that either worker may answer."""
        request = urllib.request.Request(f"http://{self.address}/v2/models/brightness/infer", BODY)
        answer = json.load(urllib.request.urlopen(request, timeout=PATIENCE))
        assert answer["outputs"][0]["data"] == [0.25, 0.75]
        return str(answer["model_version"])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=PATIENCE)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_brightness(tmp_path / "artifacts")
    return tmp_path / "artifacts"


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    server = Server(folder, PERCEPT_MODEL_CONTROL="true", PERCEPT_RELOAD_SECONDS="0")
    yield server
    server.stop()


def index(client: stock.InferenceServerClient) -> list[tuple[str, str, str]]:
    entries = client.get_model_repository_index()
    return [(entry["name"], entry.get("version", ""), entry["state"]) for entry in entries]


def test_stock_client_loads_and_unloads_in_every_worker(server: Server) -> None:
    client = stock.InferenceServerClient(server.address)
    client.unload_model("brightness")
    for _ in range(20):
        with stock.InferenceServerClient(server.address) as other:  # another connection, perhaps another worker
            assert index(other) == [("brightness", "1", "UNAVAILABLE")]
            assert not other.is_model_ready("brightness")

    write_brightness(server.folder, version=2)
    client.load_model("brightness")
    for _ in range(20):
        assert server.answering_version() == "2"
    assert index(client) == [("brightness", "1", "READY"), ("brightness", "2", "READY")]
    client.close()


def test_what_is_not_offered_is_said(server: Server) -> None:
    client = stock.InferenceServerClient(server.address)
    with pytest.raises(InferenceServerException, match="parameter 'config' is not offered here"):
        client.load_model("brightness", config="{}")
    with pytest.raises(InferenceServerException, match="there is no model 'nothing' in the folder"):
        client.load_model("nothing")
    with pytest.raises(InferenceServerException, match="there is no model 'nothing' to unload"):
        client.unload_model("nothing")
    client.unload_model("brightness", unload_dependents=True)
    client.close()


def test_a_killed_worker_s_place_is_taken_by_one_that_heeds_what_was_unloaded(server: Server) -> None:
    client = stock.InferenceServerClient(server.address)
    write_brightness(server.folder, "other")
    client.load_model("other")
    client.unload_model("brightness")
    client.close()
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    before = children.read_text().split()
    for worker in before:
        os.kill(int(worker), signal.SIGKILL)
    wait_until(lambda: len(children.read_text().split()) == 2 and not set(before) & set(children.read_text().split()))
    wait_until(lambda: server.get("/health/ready") == {"ready": True, "models": 1})

    for _ in range(10):
        with stock.InferenceServerClient(server.address) as other:
            assert ("brightness", "1", "UNAVAILABLE") in index(other)


def test_loading_is_forbidden_unless_it_is_allowed(folder: Path) -> None:
    server = Server(folder)
    client = stock.InferenceServerClient(server.address)
    try:
        for attempt in (client.load_model, client.unload_model):
            with pytest.raises(InferenceServerException, match="PERCEPT_MODEL_CONTROL=true allows them"):
                attempt("brightness")
        assert server.answering_version() == "1"
    finally:
        client.close()
        server.stop()


@contextmanager
def answered(server: Server) -> Iterator[list[str]]:
    """The versions that answer four callers who never stop, as they come in. No request may fail until the end."""
    seen: list[str] = []
    failures: list[Exception] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                seen.append(server.answering_version())
            except Exception as error:
                failures.append(error)

    callers = [threading.Thread(target=ask) for _ in range(4)]
    try:
        for caller in callers:
            caller.start()
        yield seen
    finally:
        over.set()
        for caller in callers:
            caller.join()
        server.stop()
    assert failures == []


def test_versions_come_and_go_under_load_and_no_request_fails(folder: Path) -> None:
    server = Server(folder, PERCEPT_RELOAD_SECONDS="0.1")
    with answered(server) as seen:
        for version in range(2, 7):
            write_brightness(folder, version=version)
            wait_until(lambda: set(seen[-8:]) == {str(version)})  # noqa: B023
        (folder / "brightness" / "9").mkdir()
        (folder / "brightness" / "9" / "model.onnx").write_bytes(b"no graph")
        time.sleep(0.5)
        for version in range(6, 1, -1):
            shutil.rmtree(folder / "brightness" / str(version))
            wait_until(lambda: set(seen[-8:]) == {str(version - 1)})  # noqa: B023
        assert server.get("/health/ready") == {"ready": True, "models": 1}

    assert set(seen) == set("123456")


@pytest.mark.parametrize("how", ["cut short", "garbage", "gone"])
def test_file_that_is_spoilt_under_load_harms_no_request(folder: Path, how: str) -> None:
    """What is served goes on; the reason why the file is not is told; a mended one is served."""
    write_brightness(folder, version=2)
    file = folder / "brightness" / "2" / "model.onnx"
    whole = file.read_bytes()
    server = Server(folder, PERCEPT_RELOAD_SECONDS="0.1")
    with answered(server) as seen:
        wait_until(lambda: len(seen) > 50)
        if how == "gone":
            file.unlink()
            wait_until(lambda: set(seen[-8:]) == {"1"})
        else:
            file.write_bytes(whole[: len(whole) // 2] if how == "cut short" else bytes(range(256)) * 40)
            wait_until(lambda: reason_of(server, "2") != "")
            asked = len(seen)
            wait_until(lambda: len(seen) > asked + 50)
            assert set(seen[asked:]) == {"2"}
        file.write_bytes(whole)
        wait_until(lambda: set(seen[-8:]) == {"2"} and reason_of(server, "2") == "")


def reason_of(server: Server, version: str) -> str:
    """Why the file of this version is not what is served."""
    listed = server.get("/models")
    assert isinstance(listed, dict)
    return next((refused["reason"] for refused in listed["refused"] if refused["version"] == version), "")
