"""The servers that are compared, and the life of one: started on a free port, ready, asked, stopped."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.cases import CASES, HEADER_LENGTH, MODEL, Format, Message, Question, fault, questions
from benchmarks.environments import PEERS, ROOT, prepare
from benchmarks.processes import megabytes, stop

# Ray Serve takes eight seconds on a quiet machine.
START_SECONDS = 90.0
POLL_SECONDS = 0.01
ANSWER_SECONDS = 30.0


class Endpoint(NamedTuple):
    path: str
    form: Format | None = None  # where the server takes the case's rows in another form only


class Launch(NamedTuple):
    """What a start command may depend on."""

    python: Path
    port: int
    workers: int


@dataclass(frozen=True)
class Server:
    """One that can be started: ours or a peer."""

    key: str
    title: str
    command: Callable[[Launch], list[str]]
    endpoints: Mapping[str, Endpoint]  # case → where it is asked
    idle: str  # the case that is asked alone, on an idle server
    package: str  # the distribution that names its version
    peer: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)

    def questions(self, case: str) -> list[Question]:
        endpoint = self.endpoints[case]
        return questions(CASES[case], endpoint.path, endpoint.form)


@dataclass(frozen=True)
class Running:
    """A server that has answered once."""

    pid: int
    port: int
    start_seconds: float

    def memory(self) -> float:
        return megabytes(self.pid)


class Answer(NamedTuple):
    status: int
    header_length: str | None
    body: bytes


class CannotStart(Exception):
    """It ended, or did not answer in time; the text says which, with the last line of its log."""


def _uvicorn(peer: str, *more: str) -> Callable[[Launch], list[str]]:
    def command(launch: Launch) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(launch.port), "--workers", str(launch.workers)]
        quiet = ["--no-access-log", "--log-level", "warning"]
        where = ["--app-dir", str(PEERS / peer)]
        return [str(launch.python), "-m", "uvicorn", "server:app", *where, *address, *quiet, *more]

    return command


def _script(peer: str) -> Callable[[Launch], list[str]]:
    return lambda launch: [str(launch.python), str(PEERS / peer / "server.py")]


def _percept(launch: Launch) -> list[str]:
    return [str(launch.python), "-m", "app.cli", "serve", "--port", str(launch.port)]


def _bentoml(launch: Launch) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(launch.port)]
    where = ["--working-dir", str(PEERS / "bentoml")]
    return [str(launch.python), "-m", "bentoml", "serve", "server:Classifier", *where, *address]


def _mlserver(launch: Launch) -> list[str]:
    return [str(launch.python.parent / "mlserver"), "start", str(PEERS / "mlserver")]


PREDICT, INFER = Endpoint("/predict/mnist-cnn"), Endpoint("/v2/models/mnist-cnn/infer")
PERCEPT = Server(
    "percept",
    "Percept",
    _percept,
    {
        "png_multipart": PREDICT,
        "png_raw": PREDICT,
        "json_1": INFER,
        "json_64": INFER,
        "binary_1": INFER,
        "binary_256": INFER,
        "photo": PREDICT,
    },
    idle="png_raw",
    package="percept",
    peer=False,
)
PEER_SERVERS = (
    Server(
        "floor",
        "bare ASGI floor (raw body always)",
        _uvicorn("floor", "--lifespan", "off"),
        {"png_multipart": Endpoint("/", "raw"), "png_raw": Endpoint("/")},
        idle="png_raw",
        package="uvicorn",
    ),
    Server(
        "tutorial",
        "FastAPI tutorial",
        _uvicorn("tutorial"),
        {"png_multipart": Endpoint("/predict")},
        idle="png_multipart",
        package="fastapi",
    ),
    Server(
        "litserve",
        "LitServe",
        _script("litserve"),
        {"png_multipart": Endpoint("/predict")},
        idle="png_multipart",
        package="litserve",
    ),
    Server(
        "bentoml",
        "BentoML",
        _bentoml,
        {"png_multipart": Endpoint("/predict")},
        idle="png_multipart",
        package="bentoml",
        environment={"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Server(
        "ray_serve",
        "Ray Serve",
        _script("ray_serve"),
        {"png_multipart": Endpoint("/predict")},
        idle="png_multipart",
        package="ray",
        environment={"RAY_USAGE_STATS_ENABLED": "0"},
    ),
    Server(
        "mlserver",
        "MLServer",
        _mlserver,
        {"json_1": INFER, "json_64": INFER},
        idle="json_1",
        package="mlserver",
    ),
    Server(
        "triton",
        "Triton (pytriton)",
        _script("triton"),
        {"binary_1": INFER, "binary_256": INFER},
        idle="binary_1",
        package="nvidia-pytriton",
        # Triton's Python back end links libpython and would take the system's, which may be an older one than the
        # standard library it then reads.
        environment={"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR") or ""},
    ),
)
SERVERS = {server.key: server for server in (PERCEPT, *PEER_SERVERS)}


def python_of(server: Server) -> Path:
    """Raises InstallationFailed."""
    return prepare(server.key) if server.peer else Path(sys.executable)


@contextlib.contextmanager
def running(
    server: Server,
    python: Path,
    workers: int,
    environment: Mapping[str, str] | None = None,
    processors: set[int] | None = None,
) -> Iterator[Running]:
    """Ready means: the first 200 to the first question. It runs on the processors that are given, else on ours. Raises
    CannotStart."""
    launch = Launch(python, free_port(), workers)
    with tempfile.TemporaryDirectory(prefix="percept-bench-") as folder:
        log = Path(folder) / "log"
        begin = time.perf_counter()
        with log.open("wb") as output:
            process = subprocess.Popen(
                server.command(launch),
                cwd=ROOT if not server.peer else folder,
                env={**variables(launch), **server.environment, **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=None if processors is None else lambda: os.sched_setaffinity(0, processors),
            )
        try:
            _await_answer(process, server.questions(server.idle)[0].message, launch.port, log)
            yield Running(process.pid, launch.port, time.perf_counter() - begin)
        finally:
            stop(process)


def variables(launch: Launch) -> dict[str, str]:
    """The caller's environment without settings for the service, and what the peers' files read."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PERCEPT_")}
    told = {"BENCH_MODEL": str(MODEL), "BENCH_PORT": str(launch.port), "BENCH_WORKERS": str(launch.workers)}
    ports = {"MLSERVER_HOST": "127.0.0.1", "MLSERVER_HTTP_PORT": str(launch.port), "MLSERVER_DEBUG": "false"}
    return inherited | told | ports | {"MLSERVER_GRPC_PORT": str(free_port()), "MLSERVER_METRICS_ENDPOINT": "null"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_answer(process: "subprocess.Popen[bytes]", message: Message, port: int, log: Path) -> None:
    deadline, seen = time.monotonic() + START_SECONDS, "no connection"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CannotStart(f"ended with {process.returncode}: {last_line(log)}")
        try:
            answer = ask(message, port)
        except OSError:
            time.sleep(POLL_SECONDS)
            continue
        except http.client.HTTPException as error:
            seen = type(error).__name__
        else:
            if answer.status == 200:
                return
            seen = str(answer.status)
        time.sleep(POLL_SECONDS)
    raise CannotStart(f"not ready after {START_SECONDS:.0f} s ({seen}): {last_line(log)}")


def last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "its log is empty"


def ask(message: Message, port: int) -> Answer:
    """One request over a connection of its own. Raises OSError or HTTPException."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection:
        connection.sendall(message.raw(port))
        return receive(connection)


def receive(connection: socket.socket) -> Answer:
    response = http.client.HTTPResponse(connection, method="POST")
    response.begin()
    return Answer(response.status, response.getheader(HEADER_LENGTH), response.read())


def check(asked: list[Question], port: int) -> str | None:
    """Every question, over connections of their own so that several workers answer; what is wrong, or None."""
    for question in asked:
        try:
            answer = ask(question.message, port)
        except (OSError, http.client.HTTPException) as error:
            return f"not answered: {type(error).__name__}"
        if answer.status != 200:
            return f"not answered: {answer.status}"
        wrong = fault(answer.body, answer.header_length, question.expected)
        if wrong:
            return f"wrong answer: {wrong}"
    return None
