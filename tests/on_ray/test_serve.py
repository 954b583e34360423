"""The service on Ray Serve, on two nodes: the answers of the service, and those who go on when a node is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from app.errors import ConfigurationError
from app.keys import KeyFile, line_of, new_key
from app.settings import Settings, read_settings
from benchmarks.processes import children
from on_ray.serve import for_a_replica
from tests.conftest import ROOT, SAMPLES
from tests.on_ray.conftest import TwoNodes
from tests.served import free_port

PATIENCE = 120
CALLERS, REQUESTS, KILLED_AT = 4, 400, 100
SEVEN = (SAMPLES / "seven.png").read_bytes()
IRIS = b'{"rows": [[5.9, 3.0, 4.2, 1.5]]}'
SERVE = str(Path(sys.executable).with_name("serve"))


@pytest.fixture
def address(two_nodes: TwoNodes, tmp_path: Path) -> Iterator[str]:
    """Of the service, with a replica on each node: the configuration of the repository, but for the port."""
    configuration = yaml.safe_load((ROOT / "on_ray" / "serve.yaml").read_text(encoding="utf-8"))
    port = configuration["http_options"]["port"] = free_port()
    configuration["proxy_location"] = "HeadOnly"  # both nodes have the one address here
    configuration["applications"][0]["args"]["max_replicas"] = 2
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [SERVE, "run", "--address", two_nodes.address, str(file)]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not is_ready(f"http://127.0.0.1:{port}") or not replicas(two_nodes.raylet()):
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)  # takes the replicas with it, which have both cores
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:  # Ray may wait for the replica of a dead node; the cluster ends soon
            process.kill()
            process.wait()
        log.close()


def ask(url: str, body: bytes | None = None, kind: str = "image/png") -> tuple[int, Any]:
    """Status and JSON. Raises OSError if there is no answer."""
    request = urllib.request.Request(url, body, {"Content-Type": kind, "X-Request-ID": "mine"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        content = error.read()
        return error.code, json.loads(content) if error.headers.get_content_subtype().endswith("json") else content


def is_ready(address: str) -> bool:
    try:
        return ask(f"{address}/health/ready")[0] == 200
    except OSError:
        return False


def replicas(raylet: int) -> list[int]:
    found = [child.pid for child in children(raylet)]
    return [pid for pid in found if b"ServeReplica" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_the_service_is_the_same_and_goes_on_when_a_node_is_killed(
    address: str, two_nodes: TwoNodes, client: TestClient
) -> None:
    for path, body, kind in [
        ("/predict/digits", SEVEN, "image/png"),
        ("/predict/digits?many=true", (SAMPLES / "digits-on-paper.jpg").read_bytes(), "image/jpeg"),
        ("/predict/iris-mlp", IRIS, "application/json"),
        ("/predict/digits", b"no picture", "image/png"),
        ("/predict/nobody", SEVEN, "image/png"),
        ("/gradients/perceptron", b"{}", "application/json"),
    ]:
        expected = client.post(path, content=body, headers={"Content-Type": kind, "X-Request-ID": "mine"})
        assert ask(address + path, body, kind) == (expected.status_code, expected.json()), path
    assert ask(f"{address}/health/ready") == (200, client.get("/health/ready").json())
    assert replicas(two_nodes.raylet())
    asked = urllib.request.Request(f"{address}/health/live", headers={"X-Request-ID": "mine"})
    with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
        assert answer.headers.get_all("X-Request-ID") == ["mine"]

    rows, deadline = 1, time.monotonic() + PATIENCE  # one above
    while len(both := counts(address)) < 2 or not min(both):  # the second may have begun, and not be ready yet
        assert time.monotonic() < deadline
        assert ask(f"{address}/predict/iris-mlp", IRIS, "application/json")[0] == 200
        rows += 1
    assert sum(both) == rows
    lost = replicas(two_nodes.raylet())
    began, failures = threading.Event(), 0

    def insist(number: int) -> int:
        """How often a caller had to ask until there was an answer, and the right one."""
        if number == KILLED_AT:
            began.set()
        deadline, times = time.monotonic() + PATIENCE, 1
        while not is_seven(address):
            assert time.monotonic() < deadline
            time.sleep(0.05)
            times += 1
        return times

    with ThreadPoolExecutor(CALLERS) as callers:
        asked = callers.map(insist, range(REQUESTS))
        assert began.wait(PATIENCE)
        two_nodes.kill_the_second()
        failures = sum(times - 1 for times in asked)

    assert not any(Path(f"/proc/{pid}").exists() for pid in lost)
    print(f"{failures} of {REQUESTS} requests had to be asked again")
    assert failures <= 2 * CALLERS  # those that were on their way to the node


def counts(address: str) -> set[int]:
    """Of the replicas that answer, how many rows of iris each has answered."""
    found = set()
    for _ in range(40):
        _, told = ask(f"{address}/v2/models/iris-mlp/stats")
        found.add(told["model_stats"][0]["inference_stats"]["success"]["count"])
    return found


def is_seven(address: str) -> bool:
    """Whether there is an answer; raises AssertionError if it is a wrong one."""
    try:
        status, told = ask(f"{address}/predict/digits", SEVEN)
    except OSError:
        return False
    assert status != 200 or told["predictions"][0]["label"] == "7"
    return status == 200


def test_paths_mean_the_same_wherever_a_replica_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys are those of the file that was named; without one, nobody is asked for a key."""
    key = new_key()
    (tmp_path / "keys").write_text(line_of("alice", ["predict"], key) + "\n")
    (tmp_path / "replica").mkdir()
    monkeypatch.chdir(tmp_path)
    settings = for_a_replica(read_settings({"PERCEPT_KEYS": "keys", "PERCEPT_ARTIFACTS": "models"}))
    monkeypatch.chdir("replica")

    found = KeyFile(Path(settings.keys)).find(key.encode())

    assert found is not None and found.name == "alice"
    assert settings.artifacts == tmp_path / "models"
    assert for_a_replica(Settings()).keys == ""


def test_what_only_workers_of_one_machine_can_do_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="PERCEPT_MODEL_CONTROL=true: replicas do not know"):
        for_a_replica(replace(Settings(), model_control=True))
