"""What a batch has to score: pictures in folders, or tables with a picture, a text or a row of numbers in each row. It
is found once, counted, and divided into parts that are read wherever they are scored. Knows no model and no Ray."""

import glob
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet

from app.card import Card, RowsInput, TextInput
from app.errors import AppError, ContentTooLarge, InvalidRequest, NotFound

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
TABLE = ".parquet"
# Rows of a table that are in memory at once; each may have a picture.
AT_ONCE = 64

# The bytes of a picture's file, or of a row of a table a list with the value of each column.
Value = bytes | list[Any]


class Input(NamedTuple):
    name: str  # a file below what was named, of a table with its row from 0 on: `names.parquet:17`
    value: Value | AppError


@dataclass(frozen=True)
class Span:
    """Rows of one table."""

    file: str
    start: int
    stop: int


@dataclass(frozen=True)
class Part:
    """The inputs from `start` up to `stop`, in the order of all: pictures by their names, or rows of tables."""

    start: int
    stop: int
    pictures: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()

    @property
    def file(self) -> str:
        """What its answers are called."""
        return f"part-{self.start:010}-{self.stop - 1:010}.parquet"


@dataclass(frozen=True)
class Inputs:
    """All of them: names below `root` are those of pictures if `rows` is empty, else of tables with so many rows."""

    root: Path
    names: tuple[str, ...]
    sizes: tuple[int, ...]  # of the files, in bytes
    changed: tuple[int, ...]  # when each was, in nanoseconds since 1970
    rows: tuple[int, ...] = ()

    @property
    def are_tables(self) -> bool:
        return bool(self.rows)

    @property
    def count(self) -> int:
        return sum(self.rows) if self.are_tables else len(self.names)

    def digest(self) -> str:
        """Of names, sizes, times and rows: whether what is there is what was there before. Contents would have to be
        read whole. The times are those that the storage keeps, and one machine alone looks, that on which the command
        is given: clocks of nodes have no part in it. Pictures that a table only names are not looked at."""
        whole = hashlib.sha256()
        for entry in zip(self.names, self.sizes, self.changed, self.rows or self.sizes, strict=True):
            whole.update(repr(entry).encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def parts(self, size: int) -> list[Part]:
        """Of `size` inputs each, the last of fewer."""
        edges = [*range(0, self.count, size), self.count]
        if not self.are_tables:
            return [Part(start, stop, pictures=self.names[start:stop]) for start, stop in pairwise(edges)]
        return [Part(start, stop, spans=tuple(self._spans(start, stop))) for start, stop in pairwise(edges)]

    def _spans(self, start: int, stop: int) -> Iterator[Span]:
        before = 0
        for name, rows in zip(self.names, self.rows, strict=True):
            first, last = max(start, before), min(stop, before + rows)
            if first < last:
                yield Span(name, first - before, last - before)
            before += rows


def nothing(_: Path) -> bool:
    return False


def find(given: str, is_answer: Callable[[Path], bool] = nothing) -> Inputs:
    """A folder, a file, or a pattern such as `scans/**/*.png`; without what folder or pattern have of the batch's own
    answers. Raises NotFound if nothing is there, InvalidRequest for pictures and tables at once, and for a table that
    cannot be read."""
    path = Path(given)
    if path.is_dir():
        root = path
        files = [name for name in _below(path) if Path(name).suffix.lower() in PICTURES | {TABLE}]
        files = [name for name in files if not is_answer(path / name)]
        wanted = f"a picture ({', '.join(sorted(PICTURES))}) or a table ({TABLE})"
    elif path.is_file():
        root, files, wanted = path.parent, [path.name], ""
    else:
        found = set(glob.glob(given, recursive=True))  # with two `**` it finds a file by more than one way
        matches = sorted(match for match in found if os.path.isfile(match) and not is_answer(Path(match)))
        root = Path(os.path.commonpath([os.path.dirname(match) or "." for match in matches])) if matches else path
        files, wanted = [os.path.relpath(match, root) for match in matches], "a file of that name or pattern"
    if not files:
        raise NotFound(f"{given}: there is not {wanted}")
    tables = [name for name in files if Path(name).suffix.lower() == TABLE]
    if tables and len(tables) < len(files):
        raise InvalidRequest(
            f"{given}: there are {len(tables):,} tables and {len(files) - len(tables):,} pictures; name either by a "
            "pattern, such as '**/*.png'"
        )
    root = root.absolute()
    states = [_state(root / name) for name in files]
    sizes, changed = tuple(state.st_size for state in states), tuple(state.st_mtime_ns for state in states)
    if not tables:
        return Inputs(root, tuple(files), sizes, changed)
    rows = tuple(_open(root / name).metadata.num_rows for name in tables)
    if not sum(rows):
        raise NotFound(f"{given}: no table has a row")
    return Inputs(root, tuple(tables), sizes, changed, rows)


def _below(folder: Path) -> list[str]:
    """All in it and in its folders that is no folder, in an order that is the same on every machine; folders that are
    links are not looked into. Raises InvalidRequest for a folder that cannot be looked into."""
    found = []
    for parent, folders, names in os.walk(folder, onerror=_not_listed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(parent, name) for name in names if not name.startswith(".")]
    return sorted(os.path.relpath(file, folder) for file in found)


def _not_listed(error: OSError) -> None:
    raise InvalidRequest(f"{error.filename}: what is in it cannot be listed: {error.strerror}") from error


def _state(path: Path) -> os.stat_result:
    """Of a link that leads nowhere, its own."""
    return path.stat() if path.exists() else path.lstat()


def columns_of(inputs: Inputs, card: Card, column: str | None) -> list[str]:
    """Those of tables that are to be read: one for each feature, or that of the pictures or texts. Raises
    InvalidRequest that names a table and what it does not have, or if there are no tables where there have to be."""
    if isinstance(card.input, RowsInput):
        wanted = [feature.name for feature in card.input.features]
        if column is not None:
            raise InvalidRequest(f"--column {column}: model {card.name!r} has the columns {_listed(wanted)}")
    else:
        wanted = [column or ("text" if isinstance(card.input, TextInput) else "image")]
    if not inputs.are_tables:
        if not card.takes_pictures:
            raise InvalidRequest(
                f"model {card.name!r} takes no pictures; it takes tables ({TABLE}) with the columns {_listed(wanted)}"
            )
        return []
    for name in inputs.names:
        there = _open(inputs.root / name).schema_arrow.names
        if missing := [each for each in wanted if each not in there]:
            raise InvalidRequest(
                f"{inputs.root / name} has no column {_listed(missing)}; model {card.name!r} takes {_listed(wanted)}, "
                f"there are {_listed(there)}"
            )
    return wanted


def read(root: Path, part: Part, columns: Sequence[str], takes_pictures: bool, max_bytes: int) -> Iterator[Input]:
    """Each input of a part, in order, as many as it covers; what cannot be read is told as its value. Of rows and
    texts that is a list, a value for each column. Raises InvalidRequest for a table that has changed or gone."""
    for name in part.pictures:
        yield Input(told(name), _content(root / name, max_bytes))
    for span in part.spans:
        rows = _rows(root / span.file, span, columns)
        for place, row in enumerate(rows, start=span.start):
            name = f"{told(span.file)}:{place}"
            if takes_pictures and not isinstance(row, AppError):
                yield Input(name, _picture(row[0], (root / span.file).parent, max_bytes))
            else:
                yield Input(name, row)


def _rows(path: Path, span: Span, columns: Sequence[str]) -> Iterator[list[Any] | AppError]:
    table = _open(path)
    first = 0
    for group in range(table.metadata.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        low, high = max(span.start, first) - first, min(span.stop, first + rows) - first
        if low < high:
            yield from _rows_of_group(table, group, range(low, high), columns)
        first += rows


def _rows_of_group(
    table: pyarrow.parquet.ParquetFile, group: int, wanted: range, columns: Sequence[str]
) -> Iterator[list[Any] | AppError]:
    """As many as are wanted: behind a damaged page nothing of its group can be read; each row left is an error."""
    place, given, fault = 0, 0, "its group has fewer rows than it says"
    try:
        for batch in table.iter_batches(batch_size=AT_ONCE, row_groups=[group], columns=list(columns)):
            begin, end = max(0, wanted.start - place), min(batch.num_rows, wanted.stop - place)
            place += batch.num_rows
            for row in _values(batch.slice(begin, max(0, end - begin)), columns):
                given += 1
                yield row
            if place >= wanted.stop:
                break
    except (OSError, pyarrow.ArrowException) as error:
        fault = str(error)
    yield from repeat(_unreadable(fault), len(wanted) - given)


def _values(rows: pyarrow.RecordBatch, columns: Sequence[str]) -> list[list[Any] | AppError]:
    there = [rows.column(name) for name in columns]
    try:
        return list(map(list, zip(*(column.to_pylist() for column in there), strict=True)))
    except Exception:  # a text that is none, a time that Python has no number for: its row alone has an error
        return [_value(there, place) for place in range(rows.num_rows)]


def _value(columns: Sequence[pyarrow.Array], place: int) -> list[Any] | AppError:
    try:
        return [column[place].as_py() for column in columns]
    except Exception as error:
        return _unreadable(str(error))


def _unreadable(fault: str) -> AppError:
    return InvalidRequest(f"the row cannot be read: {fault}")


def _open(path: Path) -> pyarrow.parquet.ParquetFile:
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InvalidRequest(f"{path} is not a Parquet file that can be read: {error}") from error


def _picture(value: object, folder: Path, max_bytes: int) -> bytes | AppError:
    """A file's bytes, its path, or both in a struct, as data sets of pictures have them."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        return _content(folder / value, max_bytes)
    if not isinstance(value, bytes):
        return InvalidRequest(f"the column has {type(value).__name__}; allowed are a picture's bytes or its path")
    return value if len(value) <= max_bytes else _too_large(len(value), max_bytes)


def _content(path: Path, max_bytes: int) -> bytes | AppError:
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):  # a device or a pipe may never end
            return InvalidRequest("the file cannot be read: it is no regular file")
        return path.read_bytes() if state.st_size <= max_bytes else _too_large(state.st_size, max_bytes)
    except (OSError, ValueError) as error:
        return InvalidRequest(f"the file cannot be read: {getattr(error, 'strerror', None) or error}")


def _too_large(size: int, most: int) -> ContentTooLarge:
    return ContentTooLarge(f"the file has {size:,} bytes; at most {most:,} are allowed (PERCEPT_MAX_BODY_BYTES)")


def told(name: str) -> str:
    """Names of files are bytes, and need not be text."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
