"""`percept serve` as its own process on a port of this machine, for tests that need the real thing."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import MODELS, ROOT, SAMPLES

SEVEN = (SAMPLES / "seven.png").read_bytes()
PATIENCE = 30


class Server:
    def __init__(
        self,
        log: Path,
        port: int | None = None,
        models: int = len(MODELS),
        temporary: Path | None = None,
        prefix: Sequence[str] = (),
        **settings: str,
    ) -> None:
        """Both streams go to `log`. `prefix` is a command that runs a command."""
        self.log = log
        self.port = port or free_port()
        command = [*prefix, sys.executable, "-m", "app.cli", "serve", "--port", str(self.port)]
        self.temporary = temporary or log.parent / "temporary"
        self.temporary.mkdir(exist_ok=True)
        environment = os.environ | {"TMPDIR": str(self.temporary)} | settings
        with log.open("w") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        self.url = f"http://127.0.0.1:{self.port}"
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                assert json.load(urllib.request.urlopen(f"{self.url}/health/ready")) == {
                    "ready": True,
                    "models": models,
                }
                return
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None
                time.sleep(0.02)

    def predict(self, body: bytes = SEVEN) -> str:
        request = urllib.request.Request(f"{self.url}/predict/digits", body, {"Content-Type": "image/png"})
        answer = json.load(urllib.request.urlopen(request, timeout=PATIENCE))
        return str(answer["predictions"][0]["label"])

    def metrics(self) -> dict[str, float]:
        """Values by name and labels, as the text has them."""
        text = urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE).read().decode()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

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
        return sorted(name for name in self._descriptors() if not name.startswith("socket:"))

    def open_sockets(self) -> int:
        return sum(name.startswith("socket:") for name in self._descriptors())

    def _descriptors(self) -> list[str]:
        names = []
        for process in (self.process.pid, *self.workers()):
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                try:
                    names.append(os.readlink(descriptor))
                except OSError:
                    continue
        return names


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
