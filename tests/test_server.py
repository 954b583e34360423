"""The real thing: `percept serve` as its own process on a port of this machine, spoken to over sockets."""

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.errors import ConfigurationError
from app.server import DEAF_SECONDS, listen
from app.settings import GRACE_SECONDS
from app.worker import KEEP_ALIVE_SECONDS
from benchmarks.sockets import MOST_TIMES, beside_slow_ones, trickling
from tests.conftest import ROOT, SAMPLES
from tests.problems import assert_problem
from tests.served import PATIENCE, SEVEN, Server, free_port


class Answer:
    """An answer of http.client, as the check of its shape wants it."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status_code, self.headers = response.status, response.headers
        self.text = response.read().decode()

    def json(self) -> Any:
        return json.loads(self.text)


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


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 2])
def test_libraries_are_there_once_for_several_workers_and_not_twice_for_one(tmp_path: Path, workers: int) -> None:
    server = Server(tmp_path / "log", PERCEPT_WORKERS=str(workers))
    try:
        has = [
            "onnxruntime" in Path(f"/proc/{process}/maps").read_text()
            for process in (server.process.pid, *server.workers())
        ]
    finally:
        server.stop()

    assert has == [workers > 1] + [True] * workers


def test_connection_is_kept_for_longer_than_servers_mostly_do(server: Server) -> None:
    """uvicorn's five seconds would break requests of proxies that keep theirs for a minute."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    sockets = []
    for pause in (6.5, 0):
        connection.request("GET", "/health/live")
        assert connection.getresponse().read()
        sockets.append(connection.sock)
        time.sleep(pause)
    connection.close()

    assert sockets[0] is sockets[1] is not None
    assert KEEP_ALIVE_SECONDS > 60


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


@pytest.mark.alone
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


@pytest.mark.alone
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


def test_host_that_is_none_is_told() -> None:
    with pytest.raises(ConfigurationError, match="cannot listen on no such host:0: Name or service not known"):
        listen("no such host", 0, 1)


def test_service_that_cannot_start_says_why_and_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    environment = os.environ | {"PERCEPT_ARTIFACTS": str(tmp_path / "nowhere"), "PERCEPT_WORKERS": "2"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )

    assert done.returncode == 2
    assert f"percept: PERCEPT_ARTIFACTS={tmp_path}/nowhere: there is no such folder\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "answers on" not in done.stdout


# Workers.


def gone(process: int) -> bool:
    """A zombie is no worker any more."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def until(condition: Callable[[], object]) -> float:
    """Seconds until it is so."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < PATIENCE
        time.sleep(0.005)
    return time.monotonic() - started


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_workers_answer_as_are_wanted(tmp_path: Path, count: int) -> None:
    server = Server(tmp_path / "log", PERCEPT_WORKERS=str(count))
    until(lambda: "answers on" in server.log.read_text())

    assert len(server.workers()) == count
    assert f"answers on {server.url} with {count} worker{'s' * (count > 1)}\n" in server.log.read_text()
    assert server.metrics()["percept_workers"] == count
    server.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers."""
    server = Server(tmp_path_factory.mktemp("pair") / "log", PERCEPT_WORKERS="2")
    until(lambda: "answers on" in server.log.read_text())
    yield server
    server.stop()


PREDICTIONS = 'percept_predictions_total{model="mnist-cnn",version="1"}'


def predict_many(server: Server, requests: int) -> list[str]:
    """Over a connection of their own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    labels = []
    for _ in range(requests):
        connection.request("POST", "/predict/mnist-cnn", SEVEN, {"Content-Type": "image/png"})
        labels.append(json.load(connection.getresponse())["predictions"][0]["label"])
    connection.close()
    return labels


def test_workers_count_together(pair: Server) -> None:
    before = pair.metrics()
    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda _: predict_many(pair, 15), range(20)))
    # Whichever worker is asked.
    seen = [pair.metrics() for _ in range(10)]

    assert answers == [["7"] * 15] * 20
    assert [after[PREDICTIONS] - before.get(PREDICTIONS, 0) for after in seen] == [300] * 10
    labels = 'model="mnist-cnn",version="1"'
    for name in ("percept_batch_rows_sum", "percept_request_seconds_count", "percept_queue_seconds_count"):
        assert seen[-1][f"{name}{{{labels}}}"] - before.get(f"{name}{{{labels}}}", 0) == 300
    ok = 'percept_responses_total{status="200"}'
    assert [after[ok] - before[ok] for after in seen] == list(range(301, 311))
    assert seen[-1]["percept_queued_requests"] == 0


@pytest.mark.alone
def test_worker_that_is_killed_is_replaced_while_the_others_answer(pair: Server) -> None:
    predict_many(pair, 5)
    first, second = pair.workers()
    before = pair.metrics()[PREDICTIONS]
    os.kill(first, signal.SIGKILL)
    killed_at = time.monotonic()
    while len(pair.workers()) < 2 or first in pair.workers():
        try:
            assert pair.predict() == "7"
        except OSError:
            continue  # it was on its way to the dead one

    assert time.monotonic() - killed_at < 2
    assert second in pair.workers()
    assert f"worker {first} was ended by SIGKILL; another takes its place" in pair.log.read_text()
    assert predict_many(pair, 5) == ["7"] * 5
    assert pair.metrics()[PREDICTIONS] >= before + 5  # what the dead one had counted is not lost


def test_both_workers_killed_are_both_replaced_and_what_they_counted_stays(pair: Server) -> None:
    predict_many(pair, 5)
    before, dead = pair.metrics()[PREDICTIONS], pair.workers()
    for process in dead:
        os.kill(process, signal.SIGKILL)
    until(lambda: len(pair.workers()) == 2 and not set(pair.workers()) & set(dead))

    assert predict_many(pair, 5) == ["7"] * 5  # the socket has waited
    assert pair.metrics()[PREDICTIONS] == before + 5


def test_workers_end_by_themselves_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", PERCEPT_WORKERS="2")
    workers = server.workers()
    assert len(workers) == 2
    server.stop(signal.SIGKILL)
    until(lambda: all(map(gone, workers)))

    with pytest.raises(ConnectionRefusedError):
        server.connect()


def test_server_may_be_stopped_before_it_answers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(children.read_text)
    process.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


# Limits of trust.


def connections_of(processes: list[int]) -> list[tuple[str, int, int]]:
    """Protocol, own port and the other's of every socket of IP that they hold."""
    inodes = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            try:
                inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    found = []
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                found.append((protocol, *(int(address.rpartition(":")[2], 16) for address in fields[1:3])))
    return found


class Watch(threading.Thread):
    """Of the processes that a word of their command names: all that their sockets were, from the first on."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word.encode()
        self.seen: set[tuple[str, int, int]] = set()
        self.processes: set[int] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.002):
            for entry in Path("/proc").iterdir():
                # Of what has ended meanwhile nothing is left to be read.
                with contextlib.suppress(OSError):
                    if entry.name.isdigit() and self.word in (entry / "cmdline").read_bytes().split(b"\0"):
                        self.processes.add(int(entry.name))
                        self.seen.update(connections_of([int(entry.name)]))

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def test_service_connects_to_nobody(tmp_path: Path) -> None:
    """From its start on, while it is asked, and until it has ended; whoever asks it comes to its own port."""
    port = free_port()
    with Watch(str(port)) as watch:
        server = Server(tmp_path / "log", port, PERCEPT_WORKERS="2")
        workers = server.workers()
        for _ in range(20):
            server.predict()
        server.stop()

    assert watch.processes == {server.process.pid, *workers}
    assert watch.seen
    assert {(protocol, own) for protocol, own, _ in watch.seen} == {("tcp", port)}


def test_who_connects_to_somebody_would_be_seen() -> None:
    """By a datagram, as one asks for an address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, Watch("to-somebody") as watch:
        asked.bind(("127.0.0.1", 0))
        port = asked.getsockname()[1]
        code = (
            "import socket, time\n"
            f"one = socket.socket(type=socket.SOCK_DGRAM); one.connect(('127.0.0.1', {port})); time.sleep(0.2)"
        )
        subprocess.run([sys.executable, "-c", code, "to-somebody"], check=True)

    assert ("udp", port) in {(protocol, other) for protocol, _, other in watch.seen}


def test_sigterm_is_not_lost_before_there_are_workers(tmp_path: Path) -> None:
    """To the first process of a container the kernel gives only what is handled, or blocked for later."""
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | {"PERCEPT_WORKERS": "2"})
    status = Path(f"/proc/{process.pid}/status")
    blocked = 1 << (signal.SIGTERM - 1)
    until(lambda: int(re.findall(r"SigBlk:\s*(\w+)", status.read_text())[0], 16) & blocked)
    none_yet = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    process.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE) == 0
    assert none_yet == ""  # half a second of imports is before them


def test_who_takes_nothing_of_an_answer_is_given_up(server: Server) -> None:
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: percept\r\n\r\n"
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.sendall(40 * asked)
        caller, begun = deaf.getsockname()[1], time.monotonic()
        while holds(server.port, caller):
            assert time.monotonic() - begun < 3 * DEAF_SECONDS
            time.sleep(0.5)
        taken = time.monotonic() - begun

    assert taken > DEAF_SECONDS / 2
    assert server.predict() == "7"


def holds(port: int, caller: int) -> bool:
    """Whether the service's end of a connection is there, whatever state it is in."""
    ends = [line.split()[1:3] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [f":{port:04X}", f":{caller:04X}"] in [[end[-5:] for end in pair] for pair in ends]


def test_files_are_as_many_as_may_be(server: Server) -> None:
    for process in server.workers():
        [line] = [line for line in Path(f"/proc/{process}/limits").read_text().splitlines() if "open files" in line]
        soft, hard = line.split()[3:5]
        assert soft == hard


@pytest.mark.alone
def test_others_are_answered_beside_connections_that_trickle() -> None:
    alone, beside = beside_slow_ones(slow=300, requests=300)

    assert beside < max(MOST_TIMES * alone, 0.02)


def test_slow_connections_that_are_not_to_be_had_are_told() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError), trickling(nobody.getsockname()[1], 1):
            pass
