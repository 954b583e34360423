"""SIGTERM under load: `python -m benchmarks.stopping` once, over real sockets."""

import socket
import time
from pathlib import Path

import pytest

from app.connection import PARTING_SECONDS
from benchmarks.stopping import stopped_under_load
from tests.app.test_connection import Answer, request
from tests.served import Server


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_is_lost_when_the_service_stops_under_load(workers: int) -> None:
    counted, seconds = stopped_under_load(clients=16, workers=workers)

    assert counted["answered"] == counted["200"] > 100
    assert counted["closed with an answer"] > 0
    assert counted["lost"] == 0
    assert seconds < 5


@pytest.mark.alone
def test_request_that_comes_while_the_service_stops_is_answered_and_the_connection_closed(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", PERCEPT_WORKERS="1")
    with server.connect() as short, server.connect() as long, server.connect() as idle:
        short.sendall(request())
        assert "connection" not in Answer(short).headers
        long.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert "connection" not in Answer(long).headers
        server.process.terminate()
        time.sleep(PARTING_SECONDS / 2)
        short.sendall(request())
        long.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = [Answer(short), Answer(long)]
        assert [(answer.status, answer.headers["connection"]) for answer in answers] == [(200, "close")] * 2
        assert [caller.recv(1) for caller in (short, long, idle)] == [b""] * 3
    server.process.wait(10)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
