"""Closed-loop load by `wrk`: as many requests as the server answers, over keep-alive connections.

wrk (https://github.com/wg/wrk) has to be on PATH; most distributions package it under that name.
"""

import contextlib
import json
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Question

SCRIPT = Path(__file__).with_name("replay.lua")
TIMEOUT_SECONDS = 10


class NoLoad(Exception):
    """wrk is not there or did not run; the text says why."""


@dataclass(frozen=True)
class Load:
    """What came of a run. Latencies are milliseconds; errors are answers above 399, broken connections, timeouts."""

    requests_per_second: float
    p50: float
    p99: float
    p999: float
    requests: int
    errors: int


def require_wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise NoLoad("wrk is not on PATH; install it (apt install wrk, brew install wrk) and try again")
    return found


def parse(output: str) -> Load:
    """The line that replay.lua prints."""
    found = re.search(r"^RESULT (\{.*\})$", output, re.M)
    if found is None:
        raise NoLoad(f"wrk printed no result: {' '.join(output.split())[-200:] or 'nothing'}")
    result = json.loads(found[1])
    errors = result["status_errors"] + result["socket_errors"] + result["timeouts"]
    # Answers with an error are answers to wrk; they are none of what was asked for.
    good = result["requests"] - result["status_errors"]
    p50, p99, p999 = (result[name] / 1_000 for name in ("p50", "p99", "p999"))
    return Load(good / (result["microseconds"] / 1e6), p50, p99, p999, result["requests"], errors)


def drive(asked: Sequence[Question], port: int, seconds: float, connections: int) -> Load:
    with background(asked, port, seconds, connections) as wrk:
        output, _ = wrk.communicate(timeout=seconds + 3 * TIMEOUT_SECONDS)
    return parse(output)


@contextlib.contextmanager
def background(
    asked: Sequence[Question], port: int, seconds: float, connections: int
) -> Iterator["subprocess.Popen[str]"]:
    """wrk while the block runs: `finish` ends it early and gives its result."""
    program = require_wrk()
    with tempfile.TemporaryDirectory(prefix="percept-wrk-") as folder:
        files = []
        for number, question in enumerate(asked):
            files.append(Path(folder, f"{number}.http"))
            files[-1].write_bytes(question.message.raw(port))
        options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", f"{TIMEOUT_SECONDS}s"]
        url = f"http://127.0.0.1:{port}"
        command = [program, *options, "-s", str(SCRIPT), url, "--", *map(str, files)]
        wrk = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            yield wrk
        finally:
            wrk.kill()
            wrk.wait()
            if wrk.stdout:
                wrk.stdout.close()


def finish(wrk: "subprocess.Popen[str]") -> Load:
    """End a run in the background now, as Ctrl-C would, and take what it has counted."""
    wrk.send_signal(signal.SIGINT)
    output, _ = wrk.communicate(timeout=2 * TIMEOUT_SECONDS)
    return parse(output)
