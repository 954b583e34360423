"""What the service has to outlive: a full disk, one that nobody may write to, no memory left, a clock that jumps, and
callers who close their half of a connection."""

import io
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.conftest import MODELS, ROOT
from tests.onnx_models import write_brightness
from tests.served import PATIENCE, SEVEN, Server
from tests.test_server import until

FULL = Path("/dev/full")
# root may write what nobody may, unless it has not this right.
WITHOUT_RIGHTS = "-dac_override,-dac_read_search,-fowner"
AS_ANYBODY = (
    ("setpriv", f"--bounding-set={WITHOUT_RIGHTS}", f"--inh-caps={WITHOUT_RIGHTS}") if os.geteuid() == 0 else ()
)
PNG = {"Content-Type": "image/png"}
HEAD = (
    b"POST /predict/digits HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: "
    + str(len(SEVEN)).encode()
    + b"\r\n\r\n"
)
QUESTION = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def ask(server: Server, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in small letters, and body, of errors too."""
    request = urllib.request.Request(f"{server.url}{path}", body, headers)
    try:
        answer = urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()


# The disk.

SMALL_FILE = 100_000
FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def form(*files: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    return b"".join(head + file + b"\r\n" for file in files) + b"--b--\r\n"


def test_full_disk_keeps_no_request_from_its_answer_and_no_worker_from_being_replaced(tmp_path: Path) -> None:
    """Logs are all that the service writes."""
    server = Server(FULL, temporary=tmp_path / "temporary", PERCEPT_WORKERS="2", PERCEPT_ACCESS_LOG="true")
    try:
        until(lambda: len(server.workers()) == 2)
        assert [server.predict() for _ in range(50)] == ["7"] * 50
        assert [ask(server, "/predict/digits", b"no", **PNG)[0] for _ in range(50)] == [422] * 50
        dead = server.workers()
        for process in dead:
            os.kill(process, signal.SIGKILL)
        until(lambda: len(server.workers()) == 2 and not set(server.workers()) & set(dead))
        assert server.predict() == "7"
    finally:
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(PATIENCE)
    assert code == 0


def test_nothing_has_to_be_written(tmp_path: Path) -> None:
    artifacts, temporary = tmp_path / "artifacts", tmp_path / "temporary"
    shutil.copytree(ROOT / "artifacts", artifacts)
    temporary.mkdir()
    places = [artifacts, temporary, *artifacts.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    before = {place: place.stat().st_mtime_ns for place in places}
    for forbidden in (temporary / "new", artifacts / "new", next(artifacts.rglob("model.onnx"))):
        code = f"open({str(forbidden)!r}, 'ab')"
        tried = subprocess.run([*AS_ANYBODY, sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "PermissionError" in tried.stderr
    # Wherever it would be put: no file may grow beyond that.
    prefix = ("prlimit", f"--fsize={SMALL_FILE}", *AS_ANYBODY)
    settings = {"PERCEPT_ARTIFACTS": str(artifacts), "PERCEPT_WORKERS": "2"}
    server = Server(tmp_path / "log", temporary=temporary, prefix=prefix, **settings)
    try:
        assert server.predict() == "7"
        assert ask(server, "/predict/digits", b"x" * 5_000_000, **PNG)[0] == 422
        assert ask(server, "/predict/digits", form(SEVEN, b"x" * 5_000_000), **FORM)[0] == 422
        assert ask(server, "/predict/digits", form(SEVEN), **FORM)[0] == 200
        for path in ("/explain/digits", "/explain/digits?pictures=true"):
            assert ask(server, path, SEVEN, **PNG)[0] == 200, path
        assert server.stop(signal.SIGTERM)[0] == 0
    finally:
        server.process.kill()
        for place in places:
            place.chmod(0o755)  # so that whoever cleans up may
    assert {place: place.stat().st_mtime_ns for place in [artifacts, temporary, *artifacts.rglob("*")]} == before


# Memory.

LARGE_SIDE = 7_000
SPARE_BYTES = 60_000_000


@pytest.fixture(scope="module")
def large() -> bytes:
    """147 MB of pixels in a few hundred kilobytes."""
    image = Image.new("RGB", (LARGE_SIDE, LARGE_SIDE), "white")
    ImageDraw.Draw(image).line([(2_000, 2_000), (5_000, 2_000), (3_500, 6_000)], fill="black", width=400)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture
def short_of_memory(tmp_path: Path) -> Iterator[Server]:
    """Its one worker may take little more than it has."""
    # It would refuse some of them for what they are expected to take.
    server = Server(tmp_path / "log", PERCEPT_WORKERS="1", PERCEPT_MAX_WAIT_MS="100000")
    until(lambda: all("not measured yet" not in ask(server, f"/models/{name}")[2].decode() for name in MODELS))
    assert server.predict() == "7"
    [worker] = server.workers()
    pages = int(Path(f"/proc/{worker}/statm").read_text().split()[0])
    ceiling = pages * resource.getpagesize() + SPARE_BYTES
    resource.prlimit(worker, resource.RLIMIT_AS, (ceiling, resource.RLIM_INFINITY))
    yield server
    server.stop()


def test_who_asks_for_more_memory_than_there_is_is_told_and_the_others_are_answered(
    short_of_memory: Server, large: bytes
) -> None:
    server, workers = short_of_memory, short_of_memory.workers()
    with ThreadPoolExecutor(8) as callers:
        refused = [callers.submit(ask, server, "/predict/digits", large, **PNG) for _ in range(8)]
        small = [server.predict() for _ in range(20)]
    for status, headers, body in (each.result() for each in refused):
        assert status == 503
        assert headers["retry-after"] == "1"
        assert json.loads(body)["title"] == "Out of memory"
    assert small == ["7"] * 20
    assert server.workers() == workers

    resource.prlimit(workers[0], resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    status, _, body = ask(server, "/predict/digits", large, **PNG)
    assert (status, json.loads(body)["predictions"][0]["label"]) == (200, "7")


# The clock.

JUMPS = """
import itertools, time
the_time, jumps = time.time, itertools.cycle((0, 86_400, -86_400, 3_600, -31_536_000))
time.time = lambda: the_time() + next(jumps)
"""


@pytest.fixture
def jumping(tmp_path: Path) -> dict[str, str]:
    """Settings of a process in which every look at the clock is hours, a day or a year off."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(JUMPS)
    environment = {"PYTHONPATH": f"{tmp_path / 'clock'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    code = "import time; print(len({int(time.time()) // 3_000 for _ in range(5)}))"
    told = subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, check=True)
    assert int(told.stdout) == 5
    return environment


def test_deadlines_and_versions_do_not_ask_the_clock(tmp_path: Path, jumping: dict[str, str]) -> None:
    folder = tmp_path / "artifacts"
    write_brightness(folder)
    server = Server(tmp_path / "log", models=1, PERCEPT_ARTIFACTS=str(folder), PERCEPT_RELOAD_SECONDS="0.1", **jumping)
    body = {"inputs": [{"name": "image", "shape": [1, 2, 2], "datatype": "UINT8", "data": [255, 255, 255, 0]}]}

    def version() -> str:
        timeout = {"X-Request-Timeout-Ms": "10000"}
        status, _, answer = ask(server, "/v2/models/brightness/infer", json.dumps(body).encode(), **timeout)
        assert status == 200, answer
        return str(json.loads(answer)["model_version"])

    try:
        assert [version() for _ in range(100)] == ["1"] * 100
        write_brightness(folder, version=2)
        until(lambda: version() == "2")
        shutil.rmtree(folder / "brightness" / "2")
        until(lambda: version() == "1")
    finally:
        server.stop()


def test_rates_do_not_ask_the_clock(tmp_path: Path, jumping: dict[str, str]) -> None:
    server = Server(tmp_path / "log", PERCEPT_RATE_LIMIT="0.2", PERCEPT_RATE_BURST="5", **jumping)
    try:
        answers = [ask(server, "/predict/digits", SEVEN, **PNG) for _ in range(7)]
        assert [status for status, *_ in answers] == [200] * 5 + [429] * 2
        wait = int(answers[-1][1]["retry-after"])
        assert 1 <= wait <= 5
        time.sleep(wait)
        assert server.predict() == "7"
    finally:
        server.stop()


# Half of a connection.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("chaos") / "log", PERCEPT_WORKERS="1")
    server.predict()
    yield server
    server.stop()


@pytest.mark.parametrize(
    "said",
    [b"", HEAD[:20], HEAD, HEAD + SEVEN[:100], HEAD + SEVEN, QUESTION],
    ids=["nothing", "half a head", "a head", "half a body", "a request", "a question"],
)
def test_who_closes_his_half_is_not_waited_for(server: Server, said: bytes) -> None:
    """He has gone, as far as anybody can tell: what he asked for may be answered, and his connection is closed."""
    before, log = server.open_sockets(), server.log.read_text()
    callers = [server.connect() for _ in range(50)]
    for caller in callers:
        caller.sendall(said)
        caller.shutdown(socket.SHUT_WR)
    assert server.predict() == "7"
    for caller in callers:
        heard = b"".join(iter(lambda: caller.recv(65_536), b""))  # noqa: B023
        assert heard == b"" or heard.startswith(b"HTTP/1.1 200 ")
        caller.close()
    until(lambda: server.open_sockets() <= before)
    assert server.log.read_text() == log
