"""The store of one worker, kept in step with the folder of artifacts and with what callers have loaded and unloaded.

A store is never changed: a new one takes its place, so that who has found a model keeps it until the answer is given.
Workers hear of each other through a piece of shared memory. Knows no HTTP.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from app.errors import InvalidRequest, NotFound, NotReady
from app.model import Model, measured
from app.runtime import Providers, give_back_freed_memory
from app.shared import Wishes
from app.store import Artifact, Refused, Store, artifacts_in, store_of, try_to_load

logger = logging.getLogger("percept")

# How often a worker looks whether another one was told to load or unload.
HEED_SECONDS = 0.05
# How long a load or unload waits until every worker has followed.
FOLLOW_SECONDS = 30.0
# Measured again on the event loop, since in a thread beside a busy loop everything seems slow; but not if it is.
QUICK_SECONDS = 0.003


class Signature(NamedTuple):
    """Changes when a file does."""

    inode: int
    size: int
    changed_ns: int


class Entry(NamedTuple):
    """What is known of an artifact: its file as it was read, the model if it is served, the reason if it is not. Both,
    if a file that is served was overwritten by one that cannot be."""

    signature: Signature
    model: Model | None
    refused: Refused | None


class Repository:
    """`store` may be read at any time. `started` is when the service began, in seconds since the epoch."""

    def __init__(
        self,
        folder: Path,
        providers: Providers,
        wishes: Wishes | None = None,
        slot: int = 0,
        started: float | None = None,
    ) -> None:
        self.folder, self.providers, self.slot = folder, providers, slot
        self.wishes = wishes or Wishes(slot + 1)
        self.started_ns = int(1e9 * (time.time() if started is None else started))
        self.on_change: Callable[[Store], None] = lambda store: None
        self._entries: dict[Artifact, Entry] = {}
        self._seen: dict[Artifact, Signature] = {}
        self._thread = ThreadPoolExecutor(1, "repository")
        self._turn = asyncio.Lock()
        self._followed = 0
        self.store = Store()

    def open(self, measuring: bool = True) -> Store:
        """Load everything that is there. Without `measuring`, `watch` finds out what its rows cost."""
        number = self.wishes.number
        self.store = self._look(hasten=True, measuring=measuring) or self.store
        self._follow(number)
        if self.slot == 0:  # the others would say the same
            _log(Store(), self.store)
        return self.store

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def watch(self, seconds: float) -> None:
        """Follow the folder, looked at every so many seconds (0: never), and the wishes, for ever; measure what was
        opened unmeasured."""
        measuring = asyncio.create_task(self._measure_opened())
        try:
            await self._heed(seconds)
        finally:
            measuring.cancel()

    async def _heed(self, seconds: float) -> None:
        looked = time.monotonic()
        while True:
            await asyncio.sleep(HEED_SECONDS)
            wished = self.wishes.number != self._followed
            if wished or (seconds and time.monotonic() >= looked + seconds):
                try:
                    await self.refresh(hasten=wished)
                except Exception:
                    logger.exception("the folder %s could not be followed", self.folder)
                looked = time.monotonic()

    async def _measure_opened(self) -> None:
        """Begins a little later: first the service tells that it is ready. Callers and wishes come between models."""
        await asyncio.sleep(HEED_SECONDS)
        for artifact in list(self._entries):
            async with self._turn:
                entry = self._entries.get(artifact)
                if entry and entry.model and entry.model.profile.provisional:
                    try:
                        self._entries[artifact] = entry._replace(model=await self._quickly_measured(entry.model))
                    except Exception:
                        logger.exception("%s could not be measured", artifact.name)
                    self.store = store_of(_results(self._entries), self.store.unloaded)
                    self.on_change(self.store)
            await asyncio.sleep(0)
        give_back_freed_memory()

    async def _quickly_measured(self, model: Model) -> Model:
        """On the event loop what is quick, for the reason that `_measured` has."""
        if model.profile.estimate(1) < QUICK_SECONDS:
            return measured(model)
        return await asyncio.get_running_loop().run_in_executor(self._thread, measured, model)

    async def refresh(self, hasten: bool = False) -> None:
        """Bring the store into step. Models are loaded in a thread; what is served goes on being served meanwhile."""
        async with self._turn:
            number = self.wishes.number
            store = await asyncio.get_running_loop().run_in_executor(self._thread, self._look, hasten)
            if store is not None:
                before, self.store = self.store, await self._measured(store)
                _log(before, self.store)
                self.on_change(self.store)
            self._follow(number)

    def _follow(self, number: int) -> None:
        self._followed = number
        self.wishes.followed(self.slot, number)

    async def load(self, name: str) -> None:
        """In every worker. Raises NotFound, or InvalidRequest with the reason why it is not served."""
        if not any(artifact.name == name for artifact in artifacts_in(self.folder)):
            raise NotFound(f"there is no model {name!r} in the folder of artifacts")
        await self._wish(name, unload=False)
        reasons = [f"version {it.version}: {it.reason}" for it in self.store.refused if it.model == name]
        if reasons:
            raise InvalidRequest(f"model {name!r} is not all served: {'; '.join(reasons)}")

    async def unload(self, name: str) -> None:
        """In every worker. Requests that have found the model already are still answered."""
        if name not in self.store.models:
            raise NotFound(f"there is no model {name!r} to unload; there are: {', '.join(sorted(self.store.models))}")
        await self._wish(name, unload=True)

    async def _wish(self, name: str, unload: bool) -> None:
        number = self.wishes.change(name, unload)
        await self.refresh(hasten=True)
        deadline = time.monotonic() + FOLLOW_SECONDS
        while not self.wishes.all_have_followed(number) and time.monotonic() < deadline:
            await asyncio.sleep(HEED_SECONDS / 5)
        if not self.wishes.all_have_followed(number):
            raise NotReady(f"not every worker has followed within {FOLLOW_SECONDS:g} s; /v2/repository/index tells")

    def _look(self, hasten: bool, measuring: bool = True) -> Store | None:
        """Look at the folder; the store as it should be, or None if nothing has changed.

        A file that is new or has changed is loaded when it is as it was at the look before, so that one which is being
        copied is not refused; `hasten` loads it at once."""
        unloaded = self.wishes.unloaded()
        there = {artifact: _signature(artifact.path) for artifact in artifacts_in(self.folder)}
        wanted = {artifact: seen for artifact, seen in there.items() if artifact.name not in unloaded}
        entries = {}
        for artifact, signature in wanted.items():
            entry = self._entries.get(artifact)
            refused = entry.refused if entry else None
            if entry is None or entry.signature != signature or (refused and (hasten or refused.passing)):
                settled = hasten or self._seen.get(artifact) == signature
                entry = self._load(artifact, signature, entry, measuring) if settled else entry
            if entry is not None:
                entries[artifact] = entry
        self._seen = wanted
        resting = tuple(artifact for artifact in there if artifact.name in unloaded)
        if not self.folder.is_dir():
            return None  # a volume that is not there for a moment is no reason to serve nothing
        if entries == self._entries and resting == self.store.unloaded:
            return None
        self._entries = entries
        return store_of(_results(entries), resting)

    def _load(self, artifact: Artifact, signature: Signature, before: Entry | None, measuring: bool) -> Entry:
        result = try_to_load(artifact, self.providers, measuring)
        if isinstance(result, Model):
            return Entry(signature, result, None)
        late = _came_ns(artifact.path, self.folder) > self.started_ns
        return Entry(signature, before.model if before else None, replace(result, late=late))

    async def _measured(self, store: Store) -> Store:
        """New models measured once more, on the event loop: in a thread beside a busy loop everything seems slow."""
        before = set(self.store.all())
        for artifact, entry in self._entries.items():
            model = entry.model
            if model and model not in before and model.profile.estimate(1) < QUICK_SECONDS:
                self._entries[artifact] = entry._replace(model=measured(model))
                await asyncio.sleep(0)  # callers come between two models
        return store_of(_results(self._entries), store.unloaded)


def _log(before: Store, after: Store) -> None:
    old, new = ({(model.name, model.version) for model in store.all()} for store in (before, after))
    for change, models in (("is served", new - old), ("is no longer served", old - new)):
        for name, version in sorted(models):
            logger.info("%s version %d %s", name, version, change)
    for refused in set(after.refused) - set(before.refused):
        logger.warning("%s version %s is refused: %s", refused.model, refused.version, refused.reason)


def _results(entries: Mapping[Artifact, Entry]) -> Iterator[tuple[Artifact, Model | Refused]]:
    for artifact, entry in entries.items():
        if entry.model:
            yield artifact, entry.model
        if entry.refused:
            yield artifact, entry.refused


def _came_ns(path: Path, folder: Path) -> int:
    """When the file, or a folder of its own that it came with, was written or moved into `folder`, whose own time, and
    that of what it lies in, says nothing of this file."""
    came_with = [parent for parent in path.parents if folder in parent.parents]
    return max(_signature(place).changed_ns for place in (path, *came_with))


def _signature(path: Path) -> Signature:
    """What changes when a file does; all 0 for one that has just gone."""
    try:
        status = path.stat()
    except OSError:
        return Signature(0, 0, 0)
    return Signature(status.st_ino, status.st_size, status.st_ctime_ns)
