"""What workers have in common: pieces of memory, made before they are. Knows nothing of models but their names.

Imports little: the supervisor has it too."""

import fcntl
import json
import mmap
import os
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from app.errors import InvalidRequest
from app.metrics import Metrics
from app.rates import Rates


class Wishes:
    """Models that callers have unloaded, shared by all workers; made before they are.

    A number goes up with every wish, and each worker notes the number up to which it has followed."""

    SIZE = 65_536
    _NUMBER = 8

    def __init__(self, workers: int = 1) -> None:
        self._file = _file_in_memory()
        weakref.finalize(self, self._file.close)
        self._file.truncate((1 + workers) * self._NUMBER + self.SIZE)
        self._memory = mmap.mmap(self._file.fileno(), 0)
        self._numbers = memoryview(self._memory)[: (1 + workers) * self._NUMBER].cast("Q")
        self._text = (1 + workers) * self._NUMBER

    @property
    def number(self) -> int:
        return self._numbers[0]

    def unloaded(self) -> frozenset[str]:
        text = self._memory[self._text :].rstrip(b"\0")
        return frozenset(json.loads(text)) if text else frozenset()

    def change(self, name: str, unload: bool) -> int:
        """Returns the wish's number. A lock of the file system ends with the process that holds it."""
        with self._locked():
            names = self.unloaded() | {name} if unload else self.unloaded() - {name}
            text = json.dumps(sorted(names)).encode()
            if len(text) > self.SIZE:
                raise InvalidRequest("too many models are unloaded already")
            self._memory[self._text :] = text.ljust(self.SIZE, b"\0")
            self._numbers[0] += 1
            return self._numbers[0]

    def followed(self, slot: int, number: int) -> None:
        self._numbers[1 + slot] = number

    def all_have_followed(self, number: int) -> bool:
        return all(followed >= number for followed in self._numbers[1:])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def _file_in_memory() -> BinaryIO:
    """Without a name, for its lock; on Linux without a disk either, which may be read-only."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("percept-wishes"), "r+b")
    return tempfile.TemporaryFile()


@dataclass(frozen=True)
class Shared:
    metrics: Metrics
    wishes: Wishes
    rates: Rates
    started: float


def shared_by(workers: int) -> Shared:
    return Shared(Metrics(workers), Wishes(workers), Rates(), time.time())
