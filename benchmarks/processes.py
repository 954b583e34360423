"""Processes under test, through /proc: who descends from whom, what memory they hold, and a stop that leaves none."""

import contextlib
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
# What a server gets to stop by itself before it is killed.
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Process:
    """A line of the process table. The start time tells a process from a later one with the same number."""

    pid: int
    parent: int
    session: int
    started: int


def parse_stat(text: str) -> Process:
    """A line of /proc/<pid>/stat; the command in its parentheses may contain anything, blanks and parentheses too."""
    pid, rest = text.split(" ", 1)
    fields = rest.rpartition(")")[2].split()
    return Process(int(pid), int(fields[1]), int(fields[3]), int(fields[19]))


def table() -> list[Process]:
    found = []
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append(parse_stat((folder / "stat").read_text()))
    return found


def tree(root: int, processes: list[Process]) -> list[Process]:
    """The root, its descendants, and all others of its session, whose parents may have gone."""
    members = {process.pid for process in processes if process.pid == root or process.session == root}
    while True:
        more = {process.pid for process in processes if process.parent in members} - members
        if not more:
            return [process for process in processes if process.pid in members]
        members |= more


def children(pid: int) -> list[Process]:
    return [process for process in table() if process.parent == pid]


def megabytes(root: int) -> float:
    """What the whole tree holds. Pages without a file are counted once, however many processes share them; of each file
    that is mapped, as much as the process that has most of it. PSS would divide libraries with whoever else happens to
    run, the benchmark itself among them."""
    private, files = 0, Counter[str]()
    for process in tree(root, table()):
        with contextlib.suppress(OSError):
            folder = PROC / str(process.pid)
            private += parse_sizes((folder / "smaps_rollup").read_text())["Pss_Anon"]
            files |= parse_files((folder / "smaps").read_text())  # the larger of the two
    return (private + files.total()) / 1024


def processor_seconds(root: int) -> float:
    """Those that the tree has used up, of all processors together."""
    ticks = 0
    for process in tree(root, table()):
        with contextlib.suppress(OSError):
            fields = (PROC / str(process.pid) / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def parse_sizes(lines: str) -> dict[str, int]:
    """kB by name."""
    return {name: int(kilobytes) for name, kilobytes in re.findall(r"^(\w+): +(\d+) kB$", lines, re.MULTILINE)}


def parse_files(smaps: str) -> Counter[str]:
    """kB of each file in memory, but for pages that were written to, which are the process's own."""
    resident = Counter[str]()
    for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.MULTILINE)[1:]:
        head, _, lines = mapping.partition("\n")
        sizes, name = parse_sizes(lines), head.split(maxsplit=5)[5:]
        resident["".join(name)] += sizes["Rss"] - sizes["Anonymous"]
    return resident


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask, wait, then kill what is left of its tree: also what ran on in sessions of its own."""
    members = tree(process.pid, table())
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    for member in alive([*members, *tree(process.pid, table())]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member.pid, signal.SIGKILL)
    process.wait()


def alive(members: list[Process]) -> list[Process]:
    now = set(table())
    return [member for member in members if any(_same(member, other) for other in now)]


def _same(one: Process, other: Process) -> bool:
    """The parent may have changed: orphans are adopted."""
    return (one.pid, one.started) == (other.pid, other.started)


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that every server that was started is stopped."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
