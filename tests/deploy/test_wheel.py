"""The wheel that is in the image: built as there, unpacked, started with nothing of the repository but the models. It
answers, page and laboratory included, is found healthy, and lets requests under way end when it is told to stop."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MODELS, ROOT
from tests.served import PATIENCE, SEVEN, free_port


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


def test_wheel_has_every_file_of_the_service_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if not name.startswith("percept-")}
    expected = {
        str(path.relative_to(ROOT))
        for folder in ("app", "training", "on_ray")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert found == expected
    assert "app/web/index.html" in found
    assert any(name.startswith("app/lab/") and name.endswith(".onnx") for name in found)


class Installed:
    """The wheel, unpacked beside the packages of this environment, as its own process."""

    def __init__(self, folder: Path, log: Path, artifacts: Path = ROOT / "artifacts", healthy: bool = True) -> None:
        self.folder, self.log, self.port = folder, log, free_port()
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(folder),
            "PERCEPT_ARTIFACTS": str(artifacts),
            "PERCEPT_HOST": "0.0.0.0",  # as in the image, so that the health check has to find it there
            "PERCEPT_PORT": str(self.port),
            "PERCEPT_WORKERS": "1",
        }
        with log.open("w") as output:
            self.process = subprocess.Popen(
                self.command("serve"), cwd="/", env=self.environment, stdout=output, stderr=output
            )
        deadline = time.monotonic() + PATIENCE
        while self.health().returncode if healthy else "answers on" not in log.read_text():
            assert time.monotonic() < deadline and self.process.poll() is None, log.read_text()

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "app.cli", *words]

    def health(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command("health"), cwd="/", env=self.environment, capture_output=True, text=True, check=False
        )

    def get(self, path: str) -> bytes:
        answer: bytes = urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE).read()
        return answer

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def installed(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    service = Installed(unpacked, tmp_path_factory.mktemp("installed") / "log")
    yield service
    service.kill()


def test_it_is_healthy_once_every_model_is_served(installed: Installed) -> None:
    done = installed.health()

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"ready": True, "models": len(MODELS)}


def test_page_and_laboratory_are_in_it(installed: Installed) -> None:
    code = "import app, pathlib; print(pathlib.Path(app.__file__).parent)"
    where = subprocess.check_output([sys.executable, "-c", code], cwd="/", env=installed.environment, text=True)

    assert where.strip() == str(installed.folder / "app")
    assert installed.get("/page/recognise.js") == (ROOT / "app/web/recognise.js").read_bytes()
    assert b"<html" in installed.get("/")
    assert json.loads(installed.get("/gradients"))
    assert "mnist-cnn/3" in installed.get("/convolution").decode()


def test_nobody_there_is_not_healthy(installed: Installed) -> None:
    environment = installed.environment | {"PERCEPT_PORT": str(free_port())}
    done = subprocess.run(
        installed.command("health"), cwd="/", env=environment, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"percept: nobody answers on 127.0.0.1, port {environment['PERCEPT_PORT']}: ")


def test_service_that_refuses_a_model_is_not_healthy_and_says_which(unpacked: Path, tmp_path: Path) -> None:
    broken = tmp_path / "artifacts" / "broken" / "1" / "model.onnx"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no graph")
    service = Installed(unpacked, tmp_path / "log", tmp_path / "artifacts", healthy=False)
    done = service.health()
    service.kill()

    assert done.returncode == 1
    assert "broken" in json.loads(done.stdout)["detail"]


def test_request_under_way_ends_when_the_service_is_told_to_stop(unpacked: Path, tmp_path: Path) -> None:
    service = Installed(unpacked, tmp_path / "log")
    head = b"POST /predict/digits HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as connection:
            connection.sendall(head % len(SEVEN) + SEVEN[:100])
            time.sleep(0.3)  # so that it is under way
            service.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            healthy = service.health().returncode
            connection.sendall(SEVEN[100:])
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        ended = service.process.wait(PATIENCE)
    finally:
        service.kill()

    assert healthy == 1  # no new one is taken
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"label":"7"' in answer
    assert ended == 0
    assert "Traceback" not in service.log.read_text()
