"""The real thing: `percept serve` as its own process on a port of this machine, spoken to over sockets."""

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.server import GRACE_SECONDS
from tests.conftest import ROOT, SAMPLES
from tests.problems import assert_problem

SEVEN = (SAMPLES / "seven.png").read_bytes()
PATIENCE = 30


class Answer:
    """An answer of http.client, as the check of its shape wants it."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status_code, self.headers = response.status, response.headers
        self.text = response.read().decode()

    def json(self) -> Any:
        return json.loads(self.text)


class Server:
    def __init__(self, log: Path) -> None:
        self.log = log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "app.cli", "serve", "--port", str(self.port)]
        self.temporary = log.parent / "temporary"
        self.temporary.mkdir()
        environment = os.environ | {"TMPDIR": str(self.temporary)}
        with log.open("w") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        self.url = f"http://127.0.0.1:{self.port}"
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                assert json.load(urllib.request.urlopen(f"{self.url}/health/ready")) == {"ready": True, "models": 6}
                return
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None
                time.sleep(0.02)

    def predict(self, body: bytes = SEVEN) -> str:
        request = urllib.request.Request(f"{self.url}/predict/digits", body, {"Content-Type": "image/png"})
        answer = json.load(urllib.request.urlopen(request, timeout=PATIENCE))
        return str(answer["predictions"][0]["label"])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def stop(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(how)
        return self.process.wait(timeout=PATIENCE), self.log.read_text()

    def workers(self) -> list[int]:
        """The processes that answer."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(process) for process in children.split()]

    def open_files(self) -> list[str]:
        """What the processes have open, without their sockets."""
        names = []
        for process in (self.process.pid, *self.workers()):
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                try:
                    names.append(os.readlink(descriptor))
                except OSError:
                    continue
        return sorted(name for name in names if not name.startswith("socket:"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server") / "log")
    yield server
    server.stop()


def test_picture_is_answered(server: Server) -> None:
    assert server.predict() == "7"


def test_ten_clients_at_once_get_their_own_answers(server: Server) -> None:
    two = (SAMPLES / "two.png").read_bytes()
    with ThreadPoolExecutor(10) as clients:
        answers = list(clients.map(server.predict, [SEVEN, two] * 50))

    assert answers == ["7", "2"] * 50


def test_announced_21_megabytes_are_refused_before_they_are_sent(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.putrequest("POST", "/predict/digits")
    connection.putheader("Content-Type", "image/png")
    connection.putheader("Content-Length", "21000000")
    connection.endheaders()
    detail = assert_problem(Answer(connection.getresponse()), 413)
    connection.close()

    assert detail == "the body has 21,000,000 bytes; at most 20,000,000 bytes are allowed (PERCEPT_MAX_BODY_BYTES)"


def test_unannounced_21_megabytes_are_refused_once_20_have_come(server: Server) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    sent = 0
    with server.connect() as connection:
        connection.sendall(
            b"POST /predict/digits HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        while not select.select([connection], [], [], 0)[0] and sent < 60_000_000:
            connection.sendall(chunk)
            sent += 0x10000
        answer = connection.recv(65_536)

    assert 20_000_000 < sent < 60_000_000
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("content_type", "size", "status"),
    [("image/png", 40_000_000, 413), ("text/plain", 15_000_000, 415), ("multipart/form-data", 15_000_000, 422)],
)
def test_caller_who_sends_everything_first_gets_the_answer_too(
    server: Server, content_type: str, size: int, status: int
) -> None:
    """http.client does not listen while it sends: a server that hung up would be a broken pipe to it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    for _ in range(2):
        connection.request("POST", "/predict/digits", b"x" * size, {"Content-Type": content_type})
        assert_problem(Answer(connection.getresponse()), status)
    connection.close()


def test_head_is_answered_where_get_is(server: Server) -> None:
    for path in ("/health/live", "/health/ready", "/models", "/docs", "/models/mnist-cnn/figures/training"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        connection.request("HEAD", path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b""), path
        assert int(answer.headers["content-length"]) > 0
        connection.close()


def test_caller_who_leaves_in_the_middle_harms_nobody(server: Server) -> None:
    before = server.log.read_text()
    for _ in range(20):
        with server.connect() as connection:
            connection.sendall(
                b"POST /predict/digits HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: image/png\r\nContent-Length: 1000\r\n\r\nhalf"
            )

    assert server.predict() == "7"
    assert server.log.read_text() == before


def test_good_and_bad_requests_leave_no_file_open_and_no_temporary_file(server: Server) -> None:
    server.predict()
    before = server.open_files()
    for body in (SEVEN, b"text", b"", SEVEN[:100], b"x" * 3_000_000):
        try:
            server.predict(body)
        except urllib.error.HTTPError as error:
            assert error.code == 422

    assert server.open_files() == before
    assert list(server.temporary.iterdir()) == []


def test_upload_that_never_ends_does_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    server = Server(tmp_path / "log")
    with server.connect() as connection:
        connection.sendall(
            b"POST /predict/digits HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nhalf"
        )
        time.sleep(0.2)
        started = time.monotonic()
        server.stop(signal.SIGTERM)

    assert time.monotonic() - started < GRACE_SECONDS + 3


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_server_stops_politely(how: signal.Signals, tmp_path: Path) -> None:
    server = Server(tmp_path / "log")
    server.predict()
    started = time.monotonic()
    code, output = server.stop(how)

    assert time.monotonic() - started < 5
    assert code in (0, -how)
    assert "Traceback" not in output
    assert output.endswith("Percept has stopped\n")


def test_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "app.cli", "serve", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)

    assert done.returncode != 0
    assert "Address already in use" in done.stderr
