"""Keeps workers alive: forks them around their listening sockets, replaces one that dies, stops all when it is told to.

Knows nothing of what a worker does; it is given a function.
"""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

# A worker that dies sooner than this is not replaced at once, lest a fault at start become a storm of processes.
EARLY_SECONDS = 1.0
# So long it takes until a process that could not be had is asked for again.
RETRY_SECONDS = 1.0
STDOUT, STDERR = 1, 2
STOPPING = {signal.SIGINT, signal.SIGTERM}
HEEDED = {*STOPPING, signal.SIGCHLD}


@dataclass(frozen=True)
class Worker:
    """`slot` is its number, which its replacement takes over."""

    slot: int
    process: int
    started: float


# Gets the slot, a function to call when it answers, and a descriptor that ends when the supervisor does.
Work = Callable[[int, Callable[[], object], int], int]


def tell(line: str, stream: int = STDERR) -> None:
    """Whoever reads along. That the disk with the log is full, or the pipe's reader gone, is no reason to stop serving;
    written without Python's buffer, which would try again when the process ends, and fail it."""
    with contextlib.suppress(OSError):
        os.write(stream, f"{line}\n".encode(errors="backslashreplace"))


def supervise(
    count: int,
    work: Work,
    on_ready: Callable[[], None],
    grace_seconds: float,
    on_stop: Callable[[], None] = lambda: None,
) -> int:
    """Runs until SIGINT or SIGTERM, or until a worker ends before all have been ready once; returns the exit code.

    A worker killed while others serve is forked anew from this process, which has loaded nothing, and with several
    workers has imported what they need."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
    # Whoever started us may have ignored it, and then nobody would be told of the dead.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        return _Workers(count, work, on_ready, grace_seconds, on_stop).run()
    finally:
        while signal.sigtimedwait(HEEDED, 0):
            pass  # asked again and again; it has been done
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)


class _Workers:
    def __init__(
        self,
        count: int,
        work: Work,
        on_ready: Callable[[], None],
        grace_seconds: float,
        on_stop: Callable[[], None],
    ) -> None:
        self.count, self.work, self.grace_seconds = count, work, grace_seconds
        self.on_ready, self.on_stop = on_ready, on_stop
        self.workers: dict[int, Worker] = {}
        self.ready = False
        # Workers write to the first when they answer; of the second they see the end, since only this process holds it.
        self.ready_pipe = os.pipe()
        self.life_pipe = os.pipe()

    def run(self) -> int:
        for slot in range(self.count):
            self._fork(slot)
        code = self._wait_until_ready()
        if code is None:
            self.ready = True
            self.on_ready()
            code = self._replace_until_told_to_stop()
        self._stop()
        return code

    def _wait_until_ready(self) -> int | None:
        """None when all are; else the code to end with."""
        os.set_blocking(self.ready_pipe[0], False)
        ready = 0
        while ready < self.count:
            heard = signal.sigtimedwait(HEEDED, 0.005)
            if heard and heard.si_signo in STOPPING:
                return 0
            for _, status in self._reap():
                return _exit_code(status) or 1
            with contextlib.suppress(BlockingIOError):
                ready += len(os.read(self.ready_pipe[0], self.count))
        return None

    def _replace_until_told_to_stop(self) -> int:
        missing: list[int] = []  # slots for which there was no process to be had
        while True:
            heard = signal.sigtimedwait(HEEDED, RETRY_SECONDS) if missing else signal.sigwaitinfo(HEEDED)
            if heard and heard.si_signo in STOPPING:
                return 0
            missing = [slot for slot in missing if not self._replace(slot)]
            for worker, status in self._reap():
                tell(f"worker {worker.process} {_end(status)}; another takes its place")
                if time.monotonic() - worker.started < EARLY_SECONDS and signal.sigtimedwait(STOPPING, EARLY_SECONDS):
                    return 0
                if not self._replace(worker.slot):
                    missing.append(worker.slot)
            with contextlib.suppress(BlockingIOError):
                os.read(self.ready_pipe[0], 1_024)  # what successors say, lest the pipe be full some day

    def _replace(self, slot: int) -> bool:
        """Whether there is one now. A machine may be short of processes or of memory for a while; the others serve."""
        try:
            self._fork(slot)
        except OSError as error:
            tell(f"no process for worker {slot}: {error.strerror}; asked for again in {RETRY_SECONDS:g} s")
            return False
        return True

    def _fork(self, slot: int) -> None:
        """Raises OSError."""
        process = os.fork()
        if process:
            self.workers[process] = Worker(slot, process, time.monotonic())
            return
        code = 1
        try:
            # Ctrl-C goes to every process of the terminal's group; workers hear of it from the supervisor alone.
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)
            os.close(self.life_pipe[1])
            code = self.work(slot, lambda: os.write(self.ready_pipe[1], b"."), self.life_pipe[0])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except Exception:
            tell(traceback.format_exc())
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> list[tuple[Worker, int]]:
        ended = []
        for process in list(self.workers):
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                ended.append((self.workers.pop(process), status))
        return ended

    def _stop(self) -> None:
        """Ask, wait for as long as requests may take to end, then insist."""
        self.on_stop()
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + self.grace_seconds
        while self.workers and (left := deadline - time.monotonic()) > 0:
            heard = signal.sigtimedwait(HEEDED, left)
            if heard and heard.si_signo in STOPPING:
                break
            self._reap()
        self._signal(signal.SIGKILL)
        for process in list(self.workers):
            os.waitpid(process, 0)

    def _signal(self, number: signal.Signals) -> None:
        for process in self.workers:
            os.kill(process, number)


def _exit_code(status: int) -> int:
    """As a shell tells it: a negative one would come out as some other number."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
