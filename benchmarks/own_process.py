"""`percept serve` on a free port, for runs that stop it, kill it or fill its sockets themselves."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import ROOT
from benchmarks.processes import children, stop
from benchmarks.servers import POLL_SECONDS, START_SECONDS, CannotStart, free_port, last_line


@dataclass(frozen=True)
class Percept:
    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def workers(self) -> list[int]:
        return sorted(process.pid for process in children(self.process.pid))


@contextlib.contextmanager
def percept(settings: Mapping[str, str]) -> Iterator[Percept]:
    """Ready: every model is served. Raises CannotStart."""
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PERCEPT_")}
    with tempfile.TemporaryDirectory(prefix="percept-run-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "serve", "--port", str(port)],
                cwd=ROOT,
                env={**inherited, **settings},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            _await_ready(process, port, log)
            yield Percept(process, port, log)
        finally:
            stop(process)


def _await_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CannotStart(f"ended with {process.returncode}: {last_line(log)}")
        with contextlib.suppress(OSError):  # also the 503 of one that is not ready yet
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=START_SECONDS).close()
            if "answers on" in log.read_text():  # each of its workers
                return
        time.sleep(POLL_SECONDS)
    raise CannotStart(f"not ready after {START_SECONDS:.0f} s: {last_line(log)}")
