"""`percept batch`: the parts that are not there yet go through Ray Data, each as one task that reads, scores and writes
it. A task that dies with its node is done again elsewhere, under the same name: nothing is lost, nothing is doubled."""

import hashlib
import logging
import pickle
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
import ray.data
from ray.exceptions import RayTaskError

from app.errors import AppError, ConfigurationError
from app.main import open_store
from app.model import Model
from app.settings import Settings, cores
from on_ray import outputs
from on_ray.inputs import Inputs, Part, columns_of, find, told
from on_ray.outputs import Done
from on_ray.scoring import Limits
from on_ray.task import Job, Shipped, in_a_line, score

# A local Ray needs little: what goes through it are names and counts.
STORE_BYTES = 80_000_000
HOST_AND_PORT = re.compile(r"(?P<host>[^:/]+):(?P<port>\d+)", re.ASCII)
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Batch:
    job: Job
    parts: list[Part]
    said: dict[str, Any]  # the plan, as the manifest has it

    @property
    def count(self) -> int:
        return self.parts[-1].stop


# Called with what has been done, part by part; first with what was there.
Heed = Callable[[Done], None]


def planned(given: str, out: Path, name: str, column: str | None, size: int, settings: Settings) -> Batch:
    """Raises an AppError for what is not there, or not what the model takes."""
    inputs = find(given, partial(outputs.is_of, out.resolve()))  # OUT may lie in IN, and is there on the second run
    model, photographs = open_store(settings).find_answering(name)
    card = model.require_card()
    columns = columns_of(inputs, card, column)
    shipped = _shipped(model)
    beside = _shipped(photographs) if photographs else None
    limits = Limits(settings.max_pixels, settings.max_characters, settings.max_body_bytes, settings.max_batch)
    said = _said(inputs, columns, shipped, beside, size, limits)
    digest = hashlib.sha256(repr(sorted(said.items())).encode()).hexdigest()
    job = Job(inputs.root, out.absolute(), digest, tuple(columns), shipped, beside, settings.providers, limits)
    return Batch(job, inputs.parts(size), said)


def _said(
    inputs: Inputs, columns: list[str], model: Shipped, photographs: Shipped | None, size: int, limits: Limits
) -> dict[str, Any]:
    return {
        "input": told(str(inputs.root)),
        "inputs": inputs.count,
        "files": len(inputs.names),
        outputs.STATE: inputs.digest(),
        "columns": columns,
        "model": model.said,
        "photographs": photographs.said if photographs else None,
        "part": size,
        # What is refused with one limit may be answered with another.
        "limits": {"pixels": limits.pixels, "characters": limits.characters, "bytes": limits.bytes},
    }


def run(batch: Batch, address: str | None, heed: Heed) -> Done:
    """Does what is not done yet, on the cluster or on a Ray of its own, and proves at the end that every input has its
    row. Raises ConfigurationError if the folder has something else, or Ray is not to be had, and AppError with the
    cause in one line if a task cannot go on."""
    job, parts = batch.job, batch.parts
    with outputs.opened(job.out):
        outputs.require_same(job.out, batch.said)
        outputs.write_manifest(job.out, {"plan": batch.said, "complete": False})
        there = [outputs.done(job.out, part, job.plan) for part in parts]
        heed(_sum(there))
        if left := [part for part, done in zip(parts, there, strict=True) if done is None]:
            with _ray(address):
                for done in _scored(job, left):
                    heed(done)
        there = [outputs.done(job.out, part, job.plan) for part in parts]
        missing = [part.file for part, done in zip(parts, there, strict=True) if done is None]
        if missing:
            raise AppError(f"{job.out}: {len(missing)} parts are missing, the first is {missing[0]}; run it again")
        whole = _sum(there)
        named = [
            {"file": part.file, **done._asdict()} for part, done in zip(parts, there, strict=True) if done is not None
        ]
        outputs.write_manifest(job.out, {"plan": batch.said, "complete": True, **whole._asdict(), "parts": named})
    return whole


def _sum(parts: Sequence[Done | None]) -> Done:
    there = [part for part in parts if part is not None]
    return Done(sum(part.rows for part in there), sum(part.errors for part in there))


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    """Connected to the cluster, or to a Ray that lives as long as this process and listens on this machine alone."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # else Ray wraps it, and the cause is left to its text
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it says of a task's error, `run` tells
    if address is not None:
        require_reachable(address)
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                f"--address {address}: there is no cluster to be had: {in_a_line(error)}"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()
        return
    with TemporaryDirectory(prefix="percept-", ignore_cleanup_errors=True) as temporary:
        try:
            ray.init(
                address="local",
                num_cpus=cores(),
                object_store_memory=STORE_BYTES,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=temporary,
                **quiet,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigurationError(f"Ray does not start on this machine: {in_a_line(error)}") from error
        try:
            yield
        finally:
            ray.shutdown()


def require_reachable(address: str) -> None:
    """Ray itself would try for minutes. Raises ConfigurationError; forms other than HOST:PORT are left to Ray."""
    if not (found := HOST_AND_PORT.fullmatch(address)):
        return
    try:
        socket.create_connection((found["host"], int(found["port"])), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"--address {address}: nobody answers there: {error}") from None


def _scored(job: Job, parts: list[Part]) -> Iterator[Done]:
    """As they are done. Raises AppError if a task ends with an error, or Ray cannot go on."""
    reference = ray.put(job)
    rows = ray.data.from_items([{"part": pickle.dumps(part)} for part in parts], override_num_blocks=len(parts))
    try:
        for row in rows.map(partial(score, reference), num_cpus=1).iter_rows():
            yield Done(row["rows"], row["errors"])
    except Exception as error:  # of a task, or any that Ray may have: they have no base in common
        raise AppError(in_a_line(error.cause if isinstance(error, RayTaskError) else error)) from error


def _shipped(model: Model) -> Shipped:
    return Shipped(model.name, model.version, model.path, model.content())
