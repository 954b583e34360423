"""What a container image of this repository holds and how it starts, without a container engine: the Dockerfile's own
steps, taken in a folder that stands for the image's root. Needs a package index.

The folder gets a copy of this Python in the place of the base image's, without bytecode as there, and without packages.
The service is started by the image's command, in its environment and no other; where this machine allows it (`unshare`)
also on a file system that is read-only everywhere, and if this is root as the image's user.

.venv/bin/python -m benchmarks.image
"""

import argparse
import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from benchmarks import dockerfile
from benchmarks.processes import megabytes, processor_seconds, stop
from benchmarks.startup import free_port, is_ready

ROOT = Path(__file__).resolve().parent.parent
# The image's own folders, which become folders of ours. What is elsewhere is the base image's.
FOLDERS = re.compile(r"(?<![\w.-])/(build|opt|srv|usr/local)\b")
# They would change this machine's users.
NOT_HERE = {"groupadd", "useradd"}
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
INSTALL_SECONDS = 900
LARGEST_MB = 250.0
LONGEST_SECONDS = 1.0
# Every mount is read-only from here on, for this process and what it starts; then the program takes its place.
READ_ONLY = """
set -e
mount --make-rprivate /
while read -r _ place _; do mount -o remount,bind,ro "$place" 2>/dev/null || true; done < /proc/self/mounts
for place in / /tmp /var/tmp /dev/shm "$PWD"; do
    if [ -w "$place" ]; then echo "$place can be written to" >&2; exit 97; fi
done
exec "$@"
"""
SEVEN = (ROOT / "samples" / "seven.png").read_bytes()


@dataclass(frozen=True)
class Image:
    """A target of the Dockerfile, laid out below a folder."""

    folder: Path
    stages: dict[str, dockerfile.Stage]
    target: str

    def here(self, text: str) -> str:
        return FOLDERS.sub(lambda match: f"{self.folder}/{match[1]}", text)

    def environment(self, port: int) -> dict[str, str]:
        """The image's, and a free port of this machine."""
        values = dockerfile.environment(self.stages, self.target) | {"PERCEPT_PORT": str(port)}
        values["LD_LIBRARY_PATH"] = "/usr/local/lib"  # where the base image's linker looks by itself
        return {name: self.here(value).replace("$PATH", "/usr/bin:/bin") for name, value in values.items()}

    def program(self, words: list[str]) -> list[str]:
        return [str(self.folder / "opt/percept/bin" / words[0]), *words[1:]]


def build(folder: Path, target: str) -> Image:
    """Every RUN and COPY of the stage and of those that it copies from, in their order."""
    image = Image(folder, dockerfile.parse((ROOT / "Dockerfile").read_text(encoding="utf-8")), target)
    folder.chmod(0o755)
    _copy_python(folder / "usr/local")
    copied = re.findall(r"--from=(\S+)", " ".join(dockerfile.instructions(image.stages, target, "COPY")))
    for name in (*copied, target):
        work = folder / "build"
        work.mkdir(exist_ok=True)
        for stage in dockerfile.lineage(image.stages, name):
            for instruction in stage.instructions:
                if instruction.name == "RUN":
                    _run(image, instruction.text, work)
                elif instruction.name == "COPY" and "--from=" not in instruction.text:
                    _copy(instruction.text, work, image)
    shutil.rmtree(folder / "build")  # it stays behind in the stage that builds
    return image


def _copy_python(prefix: Path) -> None:
    """The interpreter and its standard library, as the base image has them: pip, but no bytecode and no tests."""
    library = Path("lib") / PYTHON
    skip = shutil.ignore_patterns("__pycache__", "site-packages", "test", "tests", "*.a")
    shutil.copytree(Path(sys.base_prefix) / library, prefix / library, ignore=skip, symlinks=False)
    (prefix / "bin").mkdir()
    shutil.copy2(Path(sys.base_prefix) / "bin" / PYTHON, prefix / "bin" / PYTHON)
    for shared in (Path(sys.base_prefix) / "lib").glob("libpython*.so*"):
        shutil.copy2(shared, prefix / "lib" / shared.name)
    for name in ("python", "python3"):
        (prefix / "bin" / name).symlink_to(PYTHON)
    clean = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "LD_LIBRARY_PATH": str(prefix / "lib")}
    clean.pop("PYTHONPATH", None)
    subprocess.run([prefix / "bin/python", "-m", "ensurepip"], env=clean, check=True, capture_output=True)
    for cache in prefix.rglob("__pycache__"):
        shutil.rmtree(cache)


def _run(image: Image, text: str, work: Path) -> None:
    kept = [part for part in text.split(" && ") if part.split()[0] not in NOT_HERE]
    environment = os.environ | {
        "PATH": f"{image.folder}/usr/local/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": f"{image.folder}/usr/local/lib",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("PYTHONPATH", None)
    command = image.here(" && ".join(kept))
    done = subprocess.run(
        command, shell=True, cwd=work, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"{command}\nended with {done.returncode}: {done.stderr[-2_000:]}")


def _copy(text: str, work: Path, image: Image) -> None:
    *sources, target = text.split()
    for source in sources:
        to = Path(image.here(target)) if target.startswith("/") else work / target
        to = to / Path(source).name if target.endswith("/") else to
        to.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy2(ROOT / source, to)


# --- what it holds ---------------------------------------------------------------------------------------------------


def sizes(image: Image) -> Counter[str]:
    """Bytes by package; beside them the models, the standard library's bytecode, what is left of the environment."""
    environment = image.folder / "opt/percept"
    [packages] = environment.glob("lib/python*/site-packages")
    owner = {
        str(file): distribution.metadata["Name"].lower()
        for distribution in distributions(path=[str(packages)])
        for file in distribution.files or ()
    }
    found = Counter[str]()
    for file in _files(environment):
        path = str(file.relative_to(packages)) if packages in file.parents else ""
        source = re.sub(r"__pycache__/(\w+)\.[\w.-]+\.pyc$", r"\1.py", path)
        found[owner.get(source, "the environment itself")] += file.stat().st_size
    found["models"] = sum(file.stat().st_size for file in _files(image.folder / "srv"))
    library = image.folder / "usr/local/lib" / PYTHON
    found["bytecode of the standard library"] = sum(
        file.stat().st_size for file in _files(library) if file.suffix == ".pyc" and "site-packages" not in file.parts
    )
    return found


def bytecode(image: Image) -> int:
    """Of the packages alone."""
    return sum(file.stat().st_size for file in _files(image.folder / "opt/percept") if file.suffix == ".pyc")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


# --- how it starts and stops -----------------------------------------------------------------------------------------


@functools.cache
def confinement(user: int, group: int) -> list[str]:
    """Words before a command that let it write nowhere, and make it another user's; none where that is not allowed.
    They replace themselves by the command, which keeps the process's number."""
    mapped = [] if os.getuid() == 0 else ["--map-root-user"]
    words = ["unshare", *mapped, "--mount", "/bin/sh", "-c", READ_ONLY, "sh"]
    if os.getuid() == 0:
        words += [
            "setpriv",
            f"--reuid={user}",
            f"--regid={group}",
            "--clear-groups",
            "--no-new-privs",
            "--bounding-set=-all",
        ]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True, text=True, cwd="/")
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        print(f"not confined, since this machine does not allow it: {said.strip()}", file=sys.stderr)
        return []
    return words


@contextlib.contextmanager
def started(image: Image, port: int, before: Sequence[str] = ()) -> Iterator["subprocess.Popen[bytes]"]:
    """`before` are words before the command."""
    command = image.program(dockerfile.command(image.stages, image.target))
    process = subprocess.Popen(
        [*before, *command],
        cwd="/",
        env=image.environment(port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        stop(process)


def seconds_to_ready(image: Image) -> tuple[float, float, float]:
    """Beside them those of a processor, and the megabytes that it holds then. Not confined, since that takes time."""
    port, start = free_port(), time.perf_counter()
    with started(image, port) as process:
        while not is_ready(port):
            if process.poll() is not None:
                raise RuntimeError(f"the service ended with {process.returncode}: {_said(process)}")
            time.sleep(0.003)
        seconds = time.perf_counter() - start
        return seconds, processor_seconds(process.pid), megabytes(process.pid)


def faults(image: Image) -> list[str]:
    """What of this is not so: it answers, the health check agrees, SIGTERM lets a request under way end, and nothing
    was logged as an error."""
    port, found = free_port(), []
    health = image.program(dockerfile.health_command(image.stages, image.target))
    if _status(health, image.environment(port)) == 0:
        found.append("the health check is content although nobody answers")
    with started(image, port, confinement(*dockerfile.user(image.stages, image.target))) as process:
        while not is_ready(port) and process.poll() is None:
            time.sleep(0.01)
        if _status(health, image.environment(port)):
            found.append("the health check is not content with a ready service")
        head = b"POST /predict/digits HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(head % len(SEVEN) + SEVEN[:100])
            time.sleep(0.2)  # so that it is under way
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(SEVEN[100:])
            answer = b""
            with contextlib.suppress(ConnectionError):
                while part := connection.recv(65_536):
                    answer += part
        if not answer.startswith(b"HTTP/1.1 200 ") or b'"label":"7"' not in answer:
            found.append(f"SIGTERM cut a request off that was under way: {answer[:100]!r}")
        code, said = process.wait(30), _said(process)
        if code or "Traceback" in said or '"level":"error"' in said.lower():
            found.append(f"it ended with {code}: {said}")
    return found


# How many libraries CUDA's provider is linked to that the linker does not find by itself, and which of them preloading
# has not brought either. The driver is the host's, and not asked for.
MISSING = """
import pathlib, re, subprocess, onnxruntime
onnxruntime.preload_dlls()
provider = pathlib.Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
linked = subprocess.run(["ldd", provider], capture_output=True, text=True, check=True).stdout
loaded = pathlib.Path("/proc/self/maps").read_text()
wanted = re.findall(r"(\\S+) => not found", linked)
print(len(wanted), *(name for name in wanted if name not in loaded and name != "libcuda.so.1"))
"""


def missing_libraries(image: Image) -> list[str]:
    said = subprocess.check_output(
        image.program(["python", "-c", MISSING]), env=image.environment(0), cwd="/", text=True
    ).splitlines()[-1]
    wanted, *missing = said.split()
    print(
        f"CUDA's provider is linked to {wanted} libraries that are not the system's, the driver included; "
        f"not brought: {', '.join(missing) or 'none'}"
    )
    return [f"nothing brings {name}" for name in missing]


def _status(command: list[str], environment: dict[str, str]) -> int:
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, check=False).returncode


def _said(process: "subprocess.Popen[bytes]") -> str:
    return process.stderr.read().decode()[-2_000:] if process.stderr else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=5, help="starts of which the median is told")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="percept-image-") as folder:
        image = build(Path(folder), options.target)
        held = sizes(image)
        total = held.total() / 1e6
        print(f"{'MB':>7}  what")
        for name, size in held.most_common():
            print(f"{size / 1e6:7.1f}  {name}")
        print(f"{total:7.1f}  on top of the base image, {bytecode(image) / 1e6:.1f} of it the packages' bytecode")
        times, processor, memory = zip(*(seconds_to_ready(image) for _ in range(options.rounds)), strict=True)
        median = statistics.median(times)
        print(f"start to ready, {options.rounds} rounds: median {median:.3f} s, ", end="")
        print(f"best {min(times):.3f} s, worst {max(times):.3f} s, ", end="")
        print(f"{statistics.median(processor):.2f} s of a processor; {statistics.median(memory):.0f} MB")
        missed = faults(image)
        if options.target == "cuda":
            missed += missing_libraries(image)
        if options.target == "cpu" and total > LARGEST_MB:
            missed.append(f"{total:.1f} MB: allowed are {LARGEST_MB:g} MB")
        if median > LONGEST_SECONDS:
            missed.append(f"ready after {median:.3f} s: allowed is {LONGEST_SECONDS:g} s")
    print("\n".join(f"not so: {fault}" for fault in missed) or "it answers, is found healthy, and drains at SIGTERM")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
