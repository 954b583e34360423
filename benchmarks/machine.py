"""What a run was made on: processor, cores, memory, system, Python, date and commit."""

import datetime
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import ROOT


@dataclass(frozen=True)
class Machine:
    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    date: str
    commit: str

    def sentence(self) -> str:
        return (
            f"{self.date}, commit {self.commit}: {self.processor}, {self.cores} cores, {self.memory_gb:.0f} GB, "
            f"{self.system}, Python {self.python}"
        )


def this_machine() -> Machine:
    return Machine(
        processor=processor(Path("/proc/cpuinfo").read_text()),
        cores=cores(),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        system=f"Linux {platform.release().split('-')[0]}",
        python=platform.python_version(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        commit=commit(),
    )


def processor(cpuinfo: str) -> str:
    """The name, with the instructions that matter to onnxruntime: a virtual machine often hides the name itself."""
    fields = dict(line.split(":", 1) for line in reversed(cpuinfo.splitlines()) if ":" in line)
    values = {name.strip(): value.strip() for name, value in fields.items()}
    known = set(values.get("flags", "").split())
    has = [title for flag, title in (("avx2", "AVX2"), ("avx512f", "AVX-512"), ("amx_tile", "AMX")) if flag in known]
    return " ".join([values.get("model name", platform.machine()), *([f"({', '.join(has)})"] if has else [])])


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def commit() -> str:
    """Short, with a plus sign when the service or the benchmark differ from it."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        return name + ("+" if _git("status", "--porcelain", "--", "app", "benchmarks", "artifacts") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=ROOT, text=True, stderr=subprocess.DEVNULL).strip()
