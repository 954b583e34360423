"""Where the answers of a batch go: a folder with a file for each part, which is there whole or not at all, and a
manifest. What lies there tells what is left to do. Knows no model and no Ray."""

import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet

from app.errors import AppError, ConfigurationError
from on_ray.inputs import Part

MANIFEST, LOCK = "manifest.json", ".lock"
PART = re.compile(r"part-\d{10,}-\d{10,}\.parquet", re.ASCII)
# What a plan calls the digest of its inputs' names, sizes and times, which says nothing to anybody.
STATE = "digest"
SCHEMA = pyarrow.schema(
    [
        ("row", pyarrow.int64()),  # its place among all inputs
        ("input", pyarrow.string()),
        ("model", pyarrow.string()),
        ("version", pyarrow.string()),
        ("label", pyarrow.string()),
        ("index", pyarrow.int32()),
        ("probability", pyarrow.float64()),
        ("probabilities", pyarrow.list_(pyarrow.float64())),
        ("outputs", pyarrow.string()),  # JSON
        ("warnings", pyarrow.list_(pyarrow.string())),
        ("error", pyarrow.string()),
    ]
)
# In each part's metadata: the plan that it belongs to, and how many of its rows have an error.
PLAN, ERRORS = b"percept.plan", b"percept.errors"
# Rows that are written together; no more are held.
AT_ONCE = 1_000


class Done(NamedTuple):
    """A part that is there."""

    rows: int
    errors: int


def is_of(folder: Path, file: Path) -> bool:
    """Whether a batch that writes into the folder, which is absolute, has written this file, going by its name."""
    return (file.name == MANIFEST or PART.fullmatch(file.name) is not None) and file.parent.resolve() == folder


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """The folder, made if there is none, for this batch alone. Raises ConfigurationError if another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"{folder}: another batch is writing there") from None
        for left in folder.glob(".*.tmp"):  # of a batch that was killed
            left.unlink(missing_ok=True)
        yield


def require_same(folder: Path, plan: Mapping[str, Any]) -> None:
    """Raises ConfigurationError if what lies there answers something else: names what differs."""
    try:
        earlier = json.loads((folder / MANIFEST).read_bytes())["plan"]
    except FileNotFoundError:
        there = next(folder.glob("*.parquet"), None)
        if there is not None:
            raise ConfigurationError(f"{folder} has {there.name} and no {MANIFEST}; choose an empty folder") from None
        return
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{folder / MANIFEST} is not of a batch: {error}") from None
    differing = [name for name in plan if earlier.get(name) != plan[name]]
    if differing:
        name = differing[0]
        how = f"{name} was {earlier.get(name)}, is {plan[name]}"
        if name == STATE:
            how = "files of IN have other names, sizes or times of change than then"
        raise ConfigurationError(f"{folder} has answers of another batch: {how}; choose another folder")


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    with _replacing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_part(folder: Path, part: Part, plan: str, rows: Iterable[Mapping[str, Any]]) -> Done:
    """Raises AppError, and leaves nothing, if there are not exactly as many rows as the part has inputs, or the file
    cannot be written."""
    try:
        return _write_part(folder, part, plan, iter(rows))
    except OSError as error:  # on a full disk PyArrow's error names no file
        raise AppError(f"{folder / part.file} cannot be written: {error}") from error


def _write_part(folder: Path, part: Part, plan: str, rows: Iterator[Mapping[str, Any]]) -> Done:
    written, errors = 0, 0
    with _replacing(folder / part.file) as temporary:
        with pyarrow.parquet.ParquetWriter(temporary, SCHEMA.with_metadata({PLAN: plan})) as writer:
            while some := list(islice(rows, AT_ONCE)):
                writer.write_table(pyarrow.Table.from_pylist(some, SCHEMA))
                written += len(some)
                errors += sum(row.get("error") is not None for row in some)
            writer.add_key_value_metadata({ERRORS: str(errors)})
        if written != part.stop - part.start:
            raise AppError(
                f"{part.file} has {part.stop - part.start} inputs, of which {written} are left: IN has changed"
            )
    return Done(written, errors)


def done(folder: Path, part: Part, plan: str) -> Done | None:
    """What is there of a part; None if nothing is. Raises ConfigurationError for what is not of this plan."""
    try:
        footer = pyarrow.parquet.read_metadata(folder / part.file)
    except FileNotFoundError:
        return None
    except pyarrow.ArrowException as error:
        raise ConfigurationError(f"{folder / part.file} is damaged: {error}; remove it and go on") from None
    metadata = footer.metadata or {}
    if metadata.get(PLAN) != plan.encode() or footer.num_rows != part.stop - part.start:
        raise ConfigurationError(f"{folder / part.file} is of another batch; choose another folder")
    return Done(footer.num_rows, int(metadata[ERRORS]))


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name to write under; what is there takes the path's place in one step, once it is on the disk."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
