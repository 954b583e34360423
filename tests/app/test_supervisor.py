"""Workers are forked, replaced and stopped; nothing that happens to one of them, or to the supervisor, leaves a mess.

Each test is a process of its own that supervises workers which print what happens to them.
"""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

PATIENCE = 20

PROGRAM = """
import os, signal, sys, time
from app.supervisor import supervise

def told(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def wait(life):
    while os.read(life, 1):
        pass
    told("orphan", os.getpid())
    return 0

def serve(slot, ready, life):
    ready()
    told("worker", slot, os.getpid())
    return wait(life)

{work}

code = supervise({count}, work, lambda: told("ready"), {grace})
told("over")
sys.exit(code)
"""


class Supervised:
    def __init__(self, folder: Path, work: str, count: int, grace: float, **options: Any) -> None:
        self.output, self.errors = folder / "output", folder / "errors"
        program = PROGRAM.format(work=work, count=count, grace=grace)
        with self.output.open("w") as output, self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program],
                cwd=ROOT,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                **options,
            )

    def lines(self, first: str) -> list[list[str]]:
        """What was told under this word, in order; lines that are being written are not there yet."""
        whole = self.output.read_text().rpartition("\n")[0].splitlines()
        return [words[1:] for line in whole if (words := line.split())[0] == first]

    def workers(self) -> dict[int, list[int]]:
        """Processes by slot, the latest last."""
        found: dict[int, list[int]] = {}
        for slot, process in self.lines("worker"):
            found.setdefault(int(slot), []).append(int(process))
        return found

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.output.read_text(), self.errors.read_text())
            time.sleep(0.005)

    def until_ready(self, count: int) -> dict[int, list[int]]:
        self.until(lambda: self.lines("ready") and len(self.lines("worker")) == count)
        return self.workers()

    def end(self, how: signal.Signals | None = signal.SIGTERM) -> int:
        if how is not None:
            self.process.send_signal(how)
        return self.process.wait(PATIENCE)


def lives(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(work: str = "work = serve", count: int = 2, grace: float = 5, **options: Any) -> Supervised:
        started.append(Supervised(tmp_path, work, count, grace, **options))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait(PATIENCE)
        for processes in each.workers().values():
            each.until(lambda processes=processes: not any(map(lives, processes)))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_as_many_workers_are_forked_as_are_wanted_and_told_once_they_answer(
    supervised: Callable[..., Supervised], count: int
) -> None:
    it = supervised(count=count)
    workers = it.until_ready(count)

    assert sorted(workers) == list(range(count))
    assert len({process for [process] in workers.values()}) == count
    assert it.lines("ready") == [[]]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_all_end_when_the_supervisor_is_told_to(supervised: Callable[..., Supervised], how: signal.Signals) -> None:
    it = supervised()
    workers = it.until_ready(2)

    assert it.end(how) == 0
    assert not any(lives(process) for [process] in workers.values())
    assert it.lines("over") == [[]]
    assert it.errors.read_text() == ""


@pytest.mark.alone
def test_worker_that_is_killed_is_replaced_and_the_others_go_on(supervised: Callable[..., Supervised]) -> None:
    it = supervised(count=3)
    before = it.until_ready(3)
    time.sleep(1.1)  # no early death
    killed_at = time.monotonic()
    os.kill(before[1][0], signal.SIGKILL)
    it.until(lambda: len(it.workers()[1]) == 2)

    assert time.monotonic() - killed_at < 2
    after = it.workers()
    assert (after[0], after[2]) == (before[0], before[2])
    assert all(lives(processes[-1]) for processes in after.values())
    assert f"worker {before[1][0]} was ended by SIGKILL; another takes its place\n" == it.errors.read_text()
    assert it.lines("ready") == [[]]
    assert it.end() == 0


def test_workers_that_are_killed_together_are_all_replaced(supervised: Callable[..., Supervised]) -> None:
    it = supervised(count=4)
    before = it.until_ready(4)
    time.sleep(1.1)
    for [process] in before.values():
        os.kill(process, signal.SIGKILL)
    it.until(lambda: all(len(processes) == 2 for processes in it.workers().values()))

    assert sorted(it.workers()) == [0, 1, 2, 3]
    assert it.end() == 0


def test_worker_that_ends_politely_is_replaced_too(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    before = it.until_ready(2)
    os.kill(before[0][0], signal.SIGTERM)
    it.until(lambda: len(it.workers()[0]) == 2)

    assert "was ended by SIGTERM; another takes its place" in it.errors.read_text()


def test_the_dead_are_buried(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    before = it.until_ready(2)
    time.sleep(1.1)
    os.kill(before[0][0], signal.SIGKILL)
    it.until(lambda: len(it.workers()[0]) == 2)
    children = Path(f"/proc/{it.process.pid}/task/{it.process.pid}/children").read_text().split()

    assert sorted(map(int, children)) == sorted(processes[-1] for processes in it.workers().values())


def test_worker_that_dies_at_once_again_and_again_is_no_storm(supervised: Callable[..., Supervised]) -> None:
    it = supervised("def work(slot, ready, life):\n    told('worker', slot, os.getpid())\n    ready()\n    return 4", 1)
    it.until(lambda: it.lines("ready") or it.process.poll() is not None)
    time.sleep(1.5)

    assert 1 <= len(it.lines("worker")) <= 3
    assert it.end() in (0, 4)  # 4 if it was gone before it was known to be ready


FORK_FAILS = """
work, fork, forks = serve, os.fork, []

def failing():
    forks.append(time.monotonic())
    if len(forks) in {which}:
        told("refused")
        raise OSError({code}, os.strerror({code}))
    return fork()

os.fork = failing
"""


@pytest.mark.alone
@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOMEM])
def test_process_that_is_not_to_be_had_is_asked_for_again(supervised: Callable[..., Supervised], code: int) -> None:
    it = supervised(FORK_FAILS.format(which=(3, 4), code=code))
    before = it.until_ready(2)
    time.sleep(1.1)  # no early death
    killed_at = time.monotonic()
    os.kill(before[1][0], signal.SIGKILL)
    it.until(lambda: len(it.workers()[1]) == 2)

    assert 2 <= time.monotonic() - killed_at < 4
    assert len(it.lines("refused")) == 2
    assert it.workers()[0] == before[0]
    told = f"no process for worker 1: {os.strerror(code)}; asked for again in 1 s"
    assert it.errors.read_text().splitlines()[1:] == [told, told]
    assert it.end() == 0


def test_all_that_wait_for_a_process_get_one(supervised: Callable[..., Supervised]) -> None:
    it = supervised(FORK_FAILS.format(which=(4, 5, 6), code=errno.EAGAIN), count=3)
    before = it.until_ready(3)
    for [process] in before.values():
        os.kill(process, signal.SIGKILL)
    it.until(lambda: all(len(processes) == 2 for processes in it.workers().values()))

    assert sorted(it.workers()) == [0, 1, 2]
    assert it.end() == 0


def test_supervisor_that_waits_for_a_process_may_be_told_to_stop(supervised: Callable[..., Supervised]) -> None:
    it = supervised(FORK_FAILS.format(which=range(3, 1_000), code=errno.EAGAIN))
    before = it.until_ready(2)
    os.kill(before[0][0], signal.SIGKILL)
    it.until(lambda: it.lines("refused"))

    assert it.end() == 0
    assert not lives(before[1][0])


def test_all_end_by_themselves_when_the_supervisor_is_killed(supervised: Callable[..., Supervised]) -> None:
    it = supervised(count=3)
    workers = it.until_ready(3)
    it.process.kill()
    it.process.wait(PATIENCE)
    processes = [process for [process] in workers.values()]
    it.until(lambda: not any(map(lives, processes)))

    assert sorted(int(process) for [process] in it.lines("orphan")) == sorted(processes)


def test_replacement_ends_by_itself_too_when_the_supervisor_is_killed(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    before = it.until_ready(2)
    os.kill(before[0][0], signal.SIGKILL)
    it.until(lambda: len(it.workers()[0]) == 2)
    processes = [it.workers()[0][1], before[1][0]]
    it.process.kill()
    it.until(lambda: not any(map(lives, processes)))

    assert len(it.lines("orphan")) == 2


FAILS = "def work(slot, ready, life):\n    return {} if slot == 1 else serve(slot, ready, life)\n"


def test_worker_that_cannot_start_ends_all_with_its_code(supervised: Callable[..., Supervised]) -> None:
    it = supervised(FAILS.format(7), count=3)

    assert it.end(None) == 7
    assert it.lines("ready") == []
    assert it.lines("over") == [[]]
    assert not any(lives(process) for [process] in it.workers().values())


def test_worker_that_ends_before_all_are_ready_is_a_failure_even_if_it_says_it_is_not(
    supervised: Callable[..., Supervised],
) -> None:
    assert supervised(FAILS.format(0), count=2).end(None) == 1


def test_worker_that_exits_is_taken_at_its_word(supervised: Callable[..., Supervised]) -> None:
    assert supervised(FAILS.format("sys.exit(6)")).end(None) == 6


def test_worker_that_exits_with_words_is_a_failure(supervised: Callable[..., Supervised]) -> None:
    assert supervised(FAILS.format("sys.exit('no')")).end(None) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_worker_that_is_killed_before_all_are_ready_is_told_as_a_shell_would(
    supervised: Callable[..., Supervised], how: signal.Signals
) -> None:
    assert supervised(FAILS.format(f"os.kill(os.getpid(), {how.value})")).end(None) == 128 + how


def test_what_a_worker_raises_is_told(supervised: Callable[..., Supervised]) -> None:
    it = supervised(FAILS.format("1 / 0"))

    assert it.end(None) == 1
    assert "ZeroDivisionError: division by zero" in it.errors.read_text()
    assert it.lines("over") == [[]]  # by the supervisor alone


NEVER_READY = "def work(slot, ready, life):\n    told('worker', slot, os.getpid())\n    return wait(life)\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_supervisor_may_be_told_to_stop_while_workers_start(
    supervised: Callable[..., Supervised], how: signal.Signals
) -> None:
    it = supervised(NEVER_READY)
    it.until(lambda: len(it.lines("worker")) == 2)

    assert it.end(how) == 0
    assert it.lines("ready") == []
    assert "Traceback" not in it.errors.read_text()
    assert not any(lives(process) for [process] in it.workers().values())


STUBBORN = """
def work(slot, ready, life):
    signal.signal(signal.SIGTERM, lambda *_: told("asked", os.getpid()))
    ready()
    told("worker", slot, os.getpid())
    while True:
        time.sleep(0.01)
"""


def test_worker_that_does_not_listen_is_killed_when_its_time_is_over(supervised: Callable[..., Supervised]) -> None:
    it = supervised(STUBBORN, grace=0.3)
    workers = it.until_ready(2)

    assert it.end() == 0
    assert len(it.lines("asked")) == 2
    assert not any(lives(process) for [process] in workers.values())


def test_whoever_asks_twice_does_not_wait(supervised: Callable[..., Supervised]) -> None:
    it = supervised(STUBBORN, grace=10 * PATIENCE)
    it.until_ready(2)
    it.process.send_signal(signal.SIGINT)
    it.until(lambda: len(it.lines("asked")) == 2)

    assert it.end(signal.SIGINT) == 0


def test_whoever_asks_again_and_again_gets_no_traceback(supervised: Callable[..., Supervised]) -> None:
    """Its workers do it, for as long as they live."""
    it = supervised(
        STUBBORN.replace('told("asked", os.getpid())', "nag()")
        + """
def nag():
    while True:
        os.kill(os.getppid(), signal.SIGINT)
"""
    )
    it.until_ready(2)

    assert it.end() == 0
    assert it.lines("over") == [[]]
    assert it.errors.read_text() == ""


def test_workers_that_were_started_where_nobody_waits_for_children_are_replaced(
    supervised: Callable[..., Supervised],
) -> None:
    it = supervised(preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    before = it.until_ready(2)
    os.kill(before[0][0], signal.SIGKILL)
    it.until(lambda: len(it.workers()[0]) == 2)

    assert it.end() == 0


def test_ctrl_c_of_the_terminal_reaches_the_supervisor_alone(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    workers = it.until_ready(2)
    it.until(lambda: all(os.getpgid(process) == process for [process] in workers.values()))
    os.killpg(it.process.pid, signal.SIGINT)

    assert it.end(None) == 0
    assert it.errors.read_text() == ""
