"""What the images are made of: locked, without compiler, torch or root; read critically by hadolint."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from app.cli import HEALTH_SECONDS
from benchmarks import dockerfile
from tests.conftest import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STAGES = dockerfile.parse(TEXT)
TARGETS = ("cpu", "cuda")
DEPLOY = ROOT / "deploy"


def locked(name: str) -> dict[str, str]:
    """Version by package, of those that this Python would get. Every one has to have a hash."""
    lines = (DEPLOY / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    assert lines and all("--hash=sha256:" in line for line in lines)
    wanted = [Requirement(line.partition(" --hash")[0]) for line in lines]
    found = {
        requirement.name: str(requirement.specifier).removeprefix("==")
        for requirement in wanted
        if requirement.marker is None or requirement.marker.evaluate()
    }
    assert all(re.fullmatch(r"[\w.]+", version) for version in found.values())
    return found


def test_hadolint_has_nothing_to_say() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_image_that_is_built_without_a_target_is_the_one_for_the_cpu() -> None:
    assert next(reversed(STAGES)) == "cpu"
    assert set(TARGETS) <= STAGES.keys()


@pytest.mark.parametrize("target", TARGETS)
def test_base_is_a_version_and_not_whatever_is_latest(target: str) -> None:
    for stage in (*dockerfile.lineage(STAGES, target), STAGES["wheel"]):
        assert stage.base in STAGES or re.fullmatch(r"python:3\.11\.\d+-slim-\w+", stage.base), stage.base


@pytest.mark.parametrize("target", TARGETS)
def test_image_runs_as_nobody_special_and_gets_no_installer_and_no_compiler(target: str) -> None:
    run = " ".join(dockerfile.instructions(STAGES, target, "RUN"))

    assert dockerfile.user(STAGES, target) == (10001, 10001)
    assert not re.search(r"\bpip\b|apt|gcc|curl|wget", run)
    assert "python -m venv --without-pip /opt/percept" in TEXT
    assert not re.search(r"apt-get|build-essential|\bgcc\b|ADD ", TEXT)
    # Nothing can be compiled or taken unlocked: wheels alone, and their hashes have to be right.
    for command in re.findall(r"pip[^&\n]*install(?:[^&\n]|\\\n)*", TEXT):
        assert "--only-binary :all: --require-hashes" in command or "--no-index /build/wheels/" in command


def test_what_is_locked_is_what_is_tested() -> None:
    tested = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            tested[requirement.name] = str(requirement.specifier).removeprefix("==")

    for name in ("requirements.txt", "requirements-cuda.txt", "requirements-build.txt"):
        assert locked(name).items() <= tested.items()


def test_images_have_one_onnxruntime_each_and_no_torch() -> None:
    cpu, cuda = locked("requirements.txt"), locked("requirements-cuda.txt")

    assert "onnxruntime" in cpu and "onnxruntime-gpu" not in cpu
    assert "onnxruntime-gpu" in cuda and "onnxruntime" not in cuda
    assert {name for name in cuda if name.startswith("nvidia-")} >= {
        *("nvidia-cublas", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime", "nvidia-cudnn-cu13", "nvidia-cufft"),
        "nvidia-curand",
    }
    assert cuda["onnxruntime-gpu"] == cpu["onnxruntime"]
    nvidia = {name for name in cuda if name.startswith("nvidia-")}
    assert cuda.keys() - nvidia - {"onnxruntime-gpu"} == cpu.keys() - {"onnxruntime"}
    assert not (cpu.keys() | cuda.keys()) & {"torch", "onnx", "matplotlib", "pip", "setuptools"}


@pytest.mark.parametrize("target", TARGETS)
def test_what_the_service_needs_is_all_in_the_lock(target: str) -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lock = locked("requirements.txt" if target == "cpu" else "requirements-cuda.txt")
    for line in document["project"]["dependencies"]:
        requirement = Requirement(line)
        name = "onnxruntime-gpu" if target == "cuda" and requirement.name == "onnxruntime" else requirement.name
        assert requirement.specifier.contains(lock[name]), line
    [builder] = document["build-system"]["requires"]
    assert locked("requirements-build.txt")["hatchling"] == builder.removeprefix("hatchling==")


def test_what_is_copied_is_sent_to_the_engine() -> None:
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert patterns[0] == "*"
    let_in = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]
    sources = [
        source
        for stage in STAGES.values()
        for instruction in stage.instructions
        if instruction.name == "COPY" and "--from=" not in instruction.text
        for source in instruction.text.split()[:-1]
    ]

    assert {"app", "training", "artifacts", "pyproject.toml", "README.md", "LICENSE"} <= set(sources)
    for source in sources:
        assert any(fnmatch(source, pattern) for pattern in let_in), source
        assert (ROOT / source).exists(), source


@pytest.mark.parametrize("target", TARGETS)
def test_health_check_gives_up_before_the_engine_does(target: str) -> None:
    [check] = dockerfile.instructions(STAGES, target, "HEALTHCHECK")
    [timeout] = re.findall(r"--timeout=(\d+)s", check)

    assert int(timeout) > HEALTH_SECONDS
    assert dockerfile.health_command(STAGES, target) == ["percept", "health"]
    assert dockerfile.command(STAGES, target) == ["percept", "serve"]
    assert dockerfile.instructions(STAGES, target, "STOPSIGNAL") == ["SIGTERM"]
