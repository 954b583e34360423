"""The process table is read right, and a tree includes what ran away from its parent."""

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.processes import Process, megabytes, parse_files, parse_stat, processor_seconds, table, tree


def test_a_command_may_contain_anything() -> None:
    fields = " ".join(str(number) for number in range(4, 53))

    assert parse_stat(f"17 (a) (b c)) S {fields}") == Process(pid=17, parent=4, session=6, started=22)


def test_tree_has_descendants_and_orphans_of_the_session() -> None:
    root, child, grandchild = Process(10, 1, 10, 0), Process(11, 10, 10, 0), Process(12, 11, 12, 0)
    orphan, stranger = Process(13, 1, 10, 0), Process(14, 1, 14, 0)

    assert tree(10, [stranger, orphan, grandchild, child, root]) == [orphan, grandchild, child, root]


SMAPS = """\
7f10-7f20 r-xp 00000000 08:01 17                         /usr/lib/some library.so
Size:                 90 kB
Rss:                  70 kB
Pss:                  35 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
7f20-7f30 rw-p 00010000 08:01 17                         /usr/lib/some library.so
Rss:                  12 kB
Anonymous:             8 kB
7f30-7f40 rw-p 00000000 00:00 0
Rss:                 100 kB
Anonymous:           100 kB
"""


def test_pages_of_a_file_that_were_written_to_are_no_longer_the_files() -> None:
    assert parse_files(SMAPS) == {"/usr/lib/some library.so": 74, "": 0}


HOLDS = """
import mmap, os, sys
own, file = mmap.mmap(-1, {own}, mmap.MAP_PRIVATE), open({path!r}, "rb")
own.write(bytes([1]) * {own})
mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
sum(mapped[::4096])
for _ in range({forks}):
    if not os.fork():
        sum(mapped[::4096])
        break
print(end="x", flush=True)
sys.stdin.read()
"""


def held(path: Path, own: int, forks: int) -> float:
    """Megabytes of a process with so many bytes of its own, which its forks share."""
    code = HOLDS.format(own=own, path=str(path), forks=forks)
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        for _ in range(1 + forks):
            process.stdout.read(1)
        return megabytes(process.pid)


def test_what_processes_share_is_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "mapped"
    path.write_bytes(bytes(20_000_000))
    small = tmp_path / "small"
    small.write_bytes(bytes(4_096))

    grown = held(path, 20_000_000, forks=2) - held(small, 4_096, forks=2)

    assert grown == pytest.approx(2 * 20_000_000 / 2**20, abs=2)


def test_what_strangers_share_is_not_divided_with_them(tmp_path: Path) -> None:
    path = tmp_path / "mapped"
    path.write_bytes(bytes(20_000_000))
    alone = held(path, 4_096, forks=0)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[::4_096]) == 0

        assert held(path, 4_096, forks=0) == pytest.approx(alone, abs=1)


def test_this_process_is_in_the_table_and_holds_memory() -> None:
    assert os.getpid() in {process.pid for process in table()}
    assert megabytes(os.getpid()) > 1


def test_processor_seconds_are_those_that_were_used() -> None:
    before = processor_seconds(os.getpid())
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass

    assert processor_seconds(os.getpid()) - before >= 0.15
