"""What a run was made on: processor, cores, memory, system, Python, date and commit."""

import datetime
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import ROOT

STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Machine:
    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    date: str
    commit: str
    busy: list[float]  # share of all cores that other work took, before and after the run

    def sentence(self) -> str:
        shares = ", ".join(f"{share:.0%}" for share in self.busy)
        other = f"took {shares} of the cores before and after" if self.busy else "on the cores was not recorded"
        return f"{self._what()}; other work {other}"

    def _what(self) -> str:
        return (
            f"{self.date}, commit {self.commit}: {self.processor}, {self.cores} cores, {self.memory_gb:.0f} GB, "
            f"{self.system}, Python {self.python}"
        )


def this_machine(*busy: float) -> Machine:
    return Machine(
        processor=processor(Path("/proc/cpuinfo").read_text()),
        cores=cores(),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        system=f"Linux {platform.release().split('-')[0]}",
        python=platform.python_version(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        commit=commit(),
        busy=list(busy),
    )


def processor(cpuinfo: str) -> str:
    """The name, with the instructions that matter to onnxruntime: a virtual machine often hides the name itself."""
    fields = dict(line.split(":", 1) for line in reversed(cpuinfo.splitlines()) if ":" in line)
    values = {name.strip(): value.strip() for name, value in fields.items()}
    known = set(values.get("flags", "").split())
    has = [title for flag, title in (("avx2", "AVX2"), ("avx512f", "AVX-512"), ("amx_tile", "AMX")) if flag in known]
    return " ".join([values.get("model name", platform.machine()), *([f"({', '.join(has)})"] if has else [])])


def busy_share() -> float:
    """Of all cores, over a second in which this process does nothing: what others would take away from a run."""
    first = processor_time(STAT.read_text())
    time.sleep(1.0)
    second = processor_time(STAT.read_text())
    return (second[0] - first[0]) / max(1, second[1] - first[1])


def processor_time(stat: str) -> tuple[int, int]:
    """Busy and all, in ticks; waiting for a disk is idle, what the hypervisor took is busy."""
    ticks = [int(field) for field in stat.split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


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
