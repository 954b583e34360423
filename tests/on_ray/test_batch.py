"""`percept batch` as its own process, by itself or on two nodes: a row for every input, whoever is killed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient

from benchmarks.processes import Process, alive, children, table, tree
from tests.conftest import ROOT, SAMPLES
from tests.on_ray.conftest import TwoNodes

PATIENCE = 120
INPUTS, PARTS = 40, 10
COMMAND = [sys.executable, "-m", "app.cli", "batch"]


def batch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False
    )


def rows_in(out: Path) -> list[dict[str, Any]]:
    """Of all parts, in the order of their names."""
    return [row for part in sorted(out.glob("*.parquet")) for row in pyarrow.parquet.read_table(part).to_pylist()]


def names_in(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def is_exact(out: Path, names: list[str]) -> bool:
    rows = rows_in(out)
    return [row["row"] for row in rows] == list(range(len(names))) and [row["input"] for row in rows] == names


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs of paper, slow enough to be interrupted among."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for place in range(INPUTS):
        shutil.copy(SAMPLES / "digits-on-paper.jpg", folder / "deep" / f"{place:03}.jpg")
    return folder


def test_every_input_has_the_row_that_predict_answers(tmp_path: Path, client: TestClient, two_nodes: TwoNodes) -> None:
    """Also those that no picture can be made of; what a folder has besides is no input."""
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(SAMPLES, folder / "samples")
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "empty.JPG").write_bytes(b"")
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes((SAMPLES / "seven.png").read_bytes())

    done = batch(folder, out, "--model", "clothing", "--part", "3", "--address", two_nodes.address)

    assert (done.returncode, done.stdout) == (1, f"{out}: 9 rows, 2 with an error\n")
    rows = rows_in(out)
    pictures = [name for name in names_in(folder) if not name.endswith((".md", ".json"))]
    assert [row["input"] for row in rows] == [name.replace("\udce9", "\\xe9") for name in pictures]
    for row, name in zip(rows, pictures, strict=True):
        answer = client.post(
            "/predict/clothing", content=(folder / name).read_bytes(), headers={"Content-Type": "image/png"}
        )
        if answer.is_error:
            assert row["error"] == answer.json()["detail"]
            assert row["label"] is None
            continue
        [told] = answer.json()["predictions"]
        assert row["error"] is None
        assert row["model"] == told.get("model", answer.json()["model"])
        assert row["version"] == "1"
        assert (row["label"], row["index"]) == (told["label"], told["index"])
        assert row["probability"] == pytest.approx(told["probability"], abs=1e-6)
        assert row["probabilities"] == pytest.approx(told["probabilities"], abs=1e-6)
        assert row["warnings"] == [notice["code"] for notice in told["warnings"]]
    assert {row["model"] for row in rows} == {"clothing-net", "clothing-photos", None}


def test_a_batch_that_is_killed_goes_on_where_it_was(folder: Path) -> None:
    """Also where its answers lie among the inputs."""
    names, out = names_in(folder), folder / "out"
    arguments = [*COMMAND, str(folder), str(out), "--part", "4"]
    process = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: len(list(out.glob("part-*"))) >= 2)
    raylets = [member for member in tree(process.pid, table()) if is_raylet(member)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not alive(raylets))  # its Ray ends with it
    assert raylets
    kept = {part: part.stat().st_mtime_ns for part in out.glob("part-*")}
    assert 2 <= len(kept) < PARTS
    assert not json.loads((out / "manifest.json").read_text())["complete"]

    done = batch(folder, out, "--part", "4")

    assert (done.returncode, done.stdout) == (0, f"{out}: {INPUTS} rows, 0 with an error\n")
    assert is_exact(out, names)
    assert len(list(out.glob("part-*"))) == PARTS
    assert {part: part.stat().st_mtime_ns for part in kept} == kept  # what was there is not done again
    assert [file.name for file in out.iterdir() if file.suffix == ".tmp"] == []
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["complete"], manifest["rows"], manifest["errors"]) == (True, INPUTS, 0)
    assert [part["file"] for part in manifest["parts"]] == sorted(part.name for part in out.glob("part-*"))


def test_a_node_that_is_killed_loses_and_doubles_nothing(folder: Path, tmp_path: Path, two_nodes: TwoNodes) -> None:
    out = tmp_path / "out"
    arguments = [*COMMAND, str(folder), str(out), "--part", "2", "--address", two_nodes.address]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wait_for(lambda: any(is_scoring(worker) for worker in children(two_nodes.raylet())))
    two_nodes.kill_the_second()
    left = 2 * PARTS - len(list(out.glob("part-*")))

    told, _ = process.communicate(timeout=PATIENCE)

    assert left > 2
    assert process.returncode == 0
    assert told.endswith(f"{out}: {INPUTS} rows, 0 with an error\n")  # before it Ray says that a node has died
    assert is_exact(out, names_in(folder))
    assert len(list(out.glob("part-*"))) == 2 * PARTS


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ("IN gone", r"IN/news.parquet is not a Parquet file that can be read: .* No such file or directory"),
        ("IN shorter", r"part-0000000005-0000000009.parquet has 5 inputs, of which 2 are left: IN has changed"),
        ("OUT no folder", r".*OUT/part-0000000000-0000000004.parquet'.* Not a directory"),
    ],
)
def test_what_ends_a_task_is_told_in_a_line(spoilt: str, told: str, tmp_path: Path) -> None:
    """With another exit code than that of inputs with an error."""
    table, out = tmp_path / "IN" / "news.parquet", tmp_path / "OUT"
    table.parent.mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["The cup final."] * 10}), table)
    arguments = [*COMMAND, str(table.parent), str(out), "--model", "news-mlp", "--part", "5"]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for((out / "manifest.json").exists)  # Ray is started after it, which takes seconds
    match spoilt:
        case "IN gone":
            table.unlink()
        case "IN shorter":
            pyarrow.parquet.write_table(pyarrow.table({"text": ["The cup final."] * 7}), table)
        case _:
            out.rename(tmp_path / "moved")
            out.touch()

    answers, errors = process.communicate(timeout=PATIENCE)

    assert (process.returncode, answers) == (2, "")
    [progress, line] = errors.splitlines()
    assert "of 10" in progress
    assert re.fullmatch(rf"percept batch: ({re.escape(str(tmp_path))}/)?{told}", line)


def is_raylet(process: Process) -> bool:
    """What starts all other processes of a node."""
    return (Path("/proc") / str(process.pid) / "comm").read_text() == "raylet\n"


def is_scoring(worker: Process) -> bool:
    """As Ray calls a process that has a task of a batch."""
    try:
        return b"Map(" in Path(f"/proc/{worker.pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    done = batch(SAMPLES / "seven.png", tmp_path / "out", "--address", "127.0.0.1:1")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("percept batch: --address 127.0.0.1:1: nobody answers there: ")
