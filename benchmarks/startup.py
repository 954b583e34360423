"""How long `percept serve` takes from its start to a 200 from /health/ready with every committed model, and what it
holds then. PERCEPT_WORKERS says with how many workers.

.venv/bin/python -m benchmarks.startup --rounds 15
"""

import argparse
import signal
import socket
import statistics
import subprocess
import sys
import time

from benchmarks.processes import megabytes

READY = b"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
POLL_SECONDS = 0.003


def seconds_and_megabytes(port: int) -> tuple[float, float]:
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not is_ready(port):
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode}")
            time.sleep(POLL_SECONDS)
        return time.perf_counter() - start, megabytes(process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(READY)
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times, held = zip(*(seconds_and_megabytes(free_port()) for _ in range(rounds)), strict=True)
    print(f"start to ready, {rounds} rounds: median {statistics.median(times):.3f} s, ", end="")
    print(f"best {min(times):.3f} s, worst {max(times):.3f} s; {statistics.median(held):.0f} MB")


if __name__ == "__main__":
    main()
