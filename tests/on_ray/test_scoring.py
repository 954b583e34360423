"""Inputs found, read and scored, and written as parts: everything of a batch but what Ray does."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient

from app.errors import AppError, ConfigurationError, InvalidRequest, NotFound
from app.main import open_store
from app.settings import Settings
from app.store import Answering, Store
from on_ray import outputs
from on_ray.batch import planned
from on_ray.inputs import Inputs, Part, columns_of, find, read
from on_ray.outputs import Done
from on_ray.scoring import Limits, Scorer
from tests.conftest import SAMPLES

SEVEN, TWO = ((SAMPLES / f"{name}.png").read_bytes() for name in ("seven", "two"))
LIMITS = Limits(64_000_000, 1_000, 100_000, 64)


@pytest.fixture(scope="module")
def store() -> Store:
    return open_store(Settings())


def table(path: Path, columns: dict[str, Any], rows_in_a_group: int = 3) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=rows_in_a_group)
    return path


def answers(inputs: Inputs, answering: Answering, column: str | None = None, size: int = 4) -> list[dict[str, Any]]:
    """Of all parts, each read by itself."""
    card = answering.model.require_card()
    columns, scorer = columns_of(inputs, card, column), Scorer(*answering, LIMITS)
    return [
        row
        for part in inputs.parts(size)
        for row in scorer.answers(read(inputs.root, part, columns, card.takes_pictures, LIMITS.bytes), part.start)
    ]


def test_rows_of_a_table_are_answered_as_predict_answers_them(tmp_path: Path, store: Store, client: TestClient) -> None:
    """Columns by their names, in any order, of two files, whose groups and parts end at different rows."""
    model = store.find_answering("iris-mlp")
    names = [feature.name for feature in model.model.require_card().input.features]  # type: ignore[union-attr]
    rows = [[4.9 + place / 5, 3.0, 1.4 + place / 2, 0.2 + place / 5] for place in range(11)]
    for file, those in (("a.parquet", rows[:7]), ("b.parquet", rows[7:])):
        table(
            tmp_path / file,
            {"other": those, **{name: [row[3 - at] for row in those] for at, name in enumerate(names[::-1])}},
        )

    found = answers(find(str(tmp_path)), model)

    expected = client.post("/predict/iris-mlp", json={"rows": rows}).json()["predictions"]
    assert [row["row"] for row in found] == list(range(11))
    assert [row["input"] for row in found] == [
        f"{file}:{at}" for file, count in (("a.parquet", 7), ("b.parquet", 4)) for at in range(count)
    ]
    assert [row["label"] for row in found] == [prediction["label"] for prediction in expected]
    for row, prediction in zip(found, expected, strict=True):
        assert row["probabilities"] == pytest.approx(prediction["probabilities"], abs=1e-6)


def test_a_row_that_is_none_harms_no_neighbour(tmp_path: Path, store: Store) -> None:
    model = store.find_answering("iris-mlp")
    names = [feature.name for feature in model.model.require_card().input.features]  # type: ignore[union-attr]
    columns: dict[str, list[Any]] = {name: [5.0] * 4 for name in names}
    columns[names[1]] = [3.0, None, float("nan"), 1e300]

    found = answers(find(str(table(tmp_path / "rows.parquet", columns))), model)

    assert [row.get("error") for row in found] == [
        None,
        f"{names[1]} is null; allowed is a finite number",
        f"{names[1]} is null; allowed is a finite number",
        "a number is too large; allowed is up to 3.4e+38",
    ]
    assert found[0]["label"]


def test_pictures_in_a_table_are_bytes_or_paths_or_both(tmp_path: Path, store: Store) -> None:
    (tmp_path / "seven.png").write_bytes(SEVEN)
    asked = store.find_answering("digits")
    as_bytes = table(tmp_path / "bytes.parquet", {"image": [SEVEN, TWO, None, b"", b"x" * 100_001]})
    as_paths = table(tmp_path / "paths.parquet", {"scan": ["seven.png", "nowhere.png", str(SAMPLES / "two.png")]})
    as_both = table(
        tmp_path / "both.parquet", {"image": [{"bytes": TWO, "path": None}, {"bytes": None, "path": "seven.png"}]}
    )

    assert [row.get("label") or row["error"] for row in answers(find(str(as_bytes)), asked)] == [
        "7",
        "2",
        "the column has NoneType; allowed are a picture's bytes or its path",
        "the file is empty",
        "the file has 100,001 bytes; at most 100,000 are allowed (PERCEPT_MAX_BODY_BYTES)",
    ]
    assert [row.get("label") or row["error"] for row in answers(find(str(as_paths)), asked, "scan")] == [
        "7",
        "the file cannot be read: No such file or directory",
        "2",
    ]
    assert [row["label"] for row in answers(find(str(as_both)), asked)] == ["2", "7"]


@pytest.mark.parametrize("compression", ["snappy", "none"])
def test_behind_a_damaged_page_rows_of_its_group_have_an_error_each(
    compression: str, tmp_path: Path, store: Store
) -> None:
    """And no others: not those of the next group, nor of the batches of rows before it. Parts end where they like."""
    path = tmp_path / "news.parquet"
    texts = pyarrow.table({"text": [f"The cup final number {place}." for place in range(600)]})
    pyarrow.parquet.write_table(
        texts,
        path,
        row_group_size=300,
        compression=compression,
        use_dictionary=False,
        data_page_size=1,
        write_batch_size=50,
    )
    group = pyarrow.parquet.ParquetFile(path).metadata.row_group(0).column(0)
    content = bytearray(path.read_bytes())
    middle = group.data_page_offset + group.total_compressed_size // 2
    content[middle : middle + 100] = b"\xff" * 100
    path.write_bytes(content)

    for size in (600, 7):
        found = answers(find(str(path)), store.find_answering("news-mlp"), size=size)

        assert [row["row"] for row in found] == list(range(600))
        assert [row["input"] for row in found] == [f"news.parquet:{place}" for place in range(600)]
        failed = [row["row"] for row in found if row.get("error")]
        assert failed == list(range(128, 300))  # the page has rows 150 to 199, and rows are read by 64
        assert {row["error"].split(":")[0] for row in found if row.get("error")} == {"the row cannot be read"}
        assert all(row["label"] for row in found if not row.get("error"))


def test_a_text_that_is_none_harms_no_neighbour(tmp_path: Path, store: Store) -> None:
    """Parquet takes any bytes as a text."""
    [_, offsets, content] = pyarrow.array([b"The cup", b"\xff\xfe", b"final."]).buffers()
    texts = pyarrow.Array.from_buffers(pyarrow.string(), 3, [None, offsets, content])

    found = answers(find(str(table(tmp_path / "news.parquet", {"text": texts}))), store.find_answering("news-mlp"))

    assert found[0]["label"] and found[2]["label"]
    assert found[1]["error"] == (
        "the row cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    )


def test_texts_are_answered_as_predict_answers_them(tmp_path: Path, store: Store, client: TestClient) -> None:
    texts = ["The striker scored twice in the cup final.", "Shares fell after the bank's results.", "x" * 1_001, None]

    found = answers(find(str(table(tmp_path / "news.parquet", {"text": texts}))), store.find_answering("news-mlp"))

    expected = client.post("/predict/news-mlp", json={"texts": texts[:2]}).json()["predictions"]
    assert [row.get("label") for row in found] == [*(prediction["label"] for prediction in expected), None, None]
    assert [json.loads(row["outputs"]) for row in found[:2]] == [prediction["outputs"] for prediction in expected]
    assert found[2]["error"].startswith("has 1,001 characters; at most 1,000 are allowed")
    assert found[3]["error"] == "the text is null; allowed is a string"


def test_what_is_named_is_a_folder_a_file_or_a_pattern(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.png", "deep/c.jpg", ".hidden.png", ".git/d.png", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(SEVEN)

    assert find(str(tmp_path)).names == ("a.png", "b.PNG", "deep/c.jpg")
    assert find(str(tmp_path / "**/*.jpg")).names == ("c.jpg",)
    assert find(str(tmp_path / "*.txt")).names == ("note.txt",)  # who names it, means it
    assert find(str(tmp_path / "a.png")).names == ("a.png",)
    table(tmp_path / "rows.parquet", {"x": [1]})
    with pytest.raises(InvalidRequest, match="there are 1 tables and 3 pictures"):
        find(str(tmp_path))
    with pytest.raises(NotFound, match="there is not a file of that name or pattern"):
        find(str(tmp_path / "nowhere*"))


def test_what_more_than_one_way_leads_to_is_one_input(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "a.png").touch()
    (tmp_path / "deep" / "deeper" / "b.png").touch()

    assert find(str(tmp_path / "**" / "**" / "*.png")).names == ("a.png", "deep/deeper/b.png")


def test_nothing_is_left_out_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "seven.png").write_bytes((SAMPLES / "seven.png").read_bytes())
    inputs = find(str(tmp_path))
    [part] = inputs.parts(10)

    assert inputs.names == ("gone.png", "pipe.png", "seven.png")
    gone, pipe, seven = (each.value for each in read(inputs.root, part, [], True, 1_000_000))
    assert isinstance(gone, AppError) and gone.detail == "the file cannot be read: No such file or directory"
    assert isinstance(pipe, AppError) and pipe.detail == "the file cannot be read: it is no regular file"
    assert seven == (SAMPLES / "seven.png").read_bytes()


def test_a_folder_that_cannot_be_listed_ends_the_batch_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.png").touch()
    really = os.scandir

    def scandir(path: str) -> Any:
        """Who runs the tests may be allowed to look into anything."""
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InvalidRequest, match=r"closed: what is in it cannot be listed: Permission denied"):
        find(str(tmp_path))


def test_a_table_without_a_column_is_told_before_anything_is_scored(tmp_path: Path, store: Store) -> None:
    inputs = find(str(table(tmp_path / "rows.parquet", {"x": [1.0]})))

    with pytest.raises(InvalidRequest, match=r"has no column 'image'; model '.*' takes 'image', there are 'x'"):
        columns_of(inputs, store.find("digits").require_card(), None)
    with pytest.raises(InvalidRequest, match="--column x: model 'iris-mlp' has the columns"):
        columns_of(inputs, store.find("iris-mlp").require_card(), "x")
    with pytest.raises(InvalidRequest, match="model 'iris-mlp' takes no pictures; it takes tables"):
        columns_of(find(str(SAMPLES)), store.find("iris-mlp").require_card(), None)


def test_a_part_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    part = Part(4, 7)
    rows = [{"row": place, "input": str(place), "error": "bad" if place == 5 else None} for place in range(4, 7)]
    with pytest.raises(AppError, match=r"part-0000000004-0000000006.parquet has 3 inputs, of which 2 are left"):
        outputs.write_part(tmp_path, part, "plan", rows[:2])
    assert list(tmp_path.iterdir()) == []
    assert outputs.done(tmp_path, part, "plan") is None

    assert outputs.write_part(tmp_path, part, "plan", rows) == Done(3, 1)

    assert outputs.done(tmp_path, part, "plan") == Done(3, 1)
    assert [file.name for file in tmp_path.iterdir()] == [part.file]
    assert pyarrow.parquet.read_table(tmp_path / part.file).schema.equals(outputs.SCHEMA)
    with pytest.raises(ConfigurationError, match="is of another batch"):
        outputs.done(tmp_path, part, "another plan")
    (tmp_path / part.file).write_bytes(b"PAR1")
    with pytest.raises(ConfigurationError, match="is damaged"):
        outputs.done(tmp_path, part, "plan")


@pytest.mark.parametrize("given", ["", "**/*", "**/*.parquet"])
@pytest.mark.parametrize("deep", ["answers", "deep/answers", ""])
def test_answers_among_the_inputs_are_no_inputs_of_the_same_batch(given: str, deep: str, tmp_path: Path) -> None:
    """As after a kill. Those of another batch are, and so is what else lies in its folder."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    table(tmp_path / "in" / "a.parquet", {"text": ["x"]})
    table(tmp_path / "in" / "deep" / "b.parquet", {"text": ["y", "z"]})
    out, other = tmp_path / "in" / deep, tmp_path / "in" / "other"
    (tmp_path / "link").symlink_to(tmp_path / "in")
    named = str(tmp_path / "link" / given)
    before = find(named)
    for folder in (out, other):
        folder.mkdir(exist_ok=True)
        outputs.write_part(folder, Part(0, 1), "plan", [{"row": 0, "input": "a.parquet:0"}])
    outputs.write_manifest(out, {"plan": {}, "complete": False})

    found = find(named, partial(outputs.is_of, out.resolve()))

    assert found.names == (*before.names, "other/part-0000000000-0000000000.parquet")
    (other / "part-0000000000-0000000000.parquet").unlink()
    assert find(named, partial(outputs.is_of, out.resolve())) == before


def test_a_folder_has_the_answers_of_one_batch(tmp_path: Path) -> None:
    with (
        outputs.opened(tmp_path),
        pytest.raises(ConfigurationError, match="another batch is writing there"),
        outputs.opened(tmp_path),
    ):
        pass
    outputs.require_same(tmp_path, {"inputs": 3})
    outputs.write_manifest(tmp_path, {"plan": {"inputs": 3}})
    outputs.require_same(tmp_path, {"inputs": 3})
    with pytest.raises(ConfigurationError, match="has answers of another batch: inputs was 3, is 4; choose another"):
        outputs.require_same(tmp_path, {"inputs": 4})


def test_another_file_size_or_time_of_change_is_another_batch(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(SEVEN)
    state = file.stat()
    before = find(str(tmp_path)).digest()
    assert find(str(tmp_path)).digest() == before

    file.write_bytes(SEVEN[::-1])
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert find(str(tmp_path)).digest() != before

    file.write_bytes(SEVEN + b"x")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert find(str(tmp_path)).digest() != before


def test_rows_that_have_changed_in_a_table_of_the_same_size_are_another_batch(tmp_path: Path) -> None:
    """It is told before anything is scored, and in words."""
    file, out, settings = tmp_path / "in" / "news.parquet", tmp_path / "out", Settings()
    file.parent.mkdir()
    table(file, {"text": ["The cup final.", "Shares fell."]})
    size, changed = file.stat().st_size, file.stat().st_mtime_ns
    out.mkdir()
    plan = planned(str(file.parent), out, "news-mlp", None, 10, settings).said
    outputs.write_manifest(out, {"plan": plan})
    outputs.require_same(out, planned(str(file.parent), out, "news-mlp", None, 10, settings).said)

    table(file, {"text": ["Shares fell.", "The cup final."]})
    assert file.stat().st_size == size
    os.utime(file, ns=(changed, changed + 1))  # the clock of the file system may be coarse

    with pytest.raises(ConfigurationError, match="other names, sizes or times of change than then; choose another"):
        outputs.require_same(out, planned(str(file.parent), out, "news-mlp", None, 10, settings).said)
