"""Data sets are found, downloaded, verified and split; what is damaged names file, expected and found digest."""

import gzip
import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from training.data import (
    ARTICLES,
    BBC_NEWS,
    FASHION_MNIST,
    MNIST,
    DataError,
    Source,
    last_rows_stratified,
    load,
    load_test,
    parse_idx,
    read_archive,
    read_idx,
)

CONTENT = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(12))
ARRAY = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
FILE = gzip.compress(CONTENT, mtime=0)


class Mirror(http.server.BaseHTTPRequestHandler):
    """A mirror on this machine. `faults` is taken from the front, one per request; then all is well."""

    files: ClassVar[dict[str, bytes]] = {}
    faults: ClassVar[list[str]] = []
    ranges: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        fault = self.faults.pop(0) if self.faults else None
        self.ranges.append(self.headers.get("Range"))
        content = self.files.get(self.path)
        if content is None or fault == "500":
            self.send_error(404 if content is None else 500)
            return
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")) if self.headers["Range"] else 0
        if start >= len(content):
            self.send_error(416)
            return
        if fault == "bad status":
            self.wfile.write(b"nonsense\r\n\r\n")
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + 20] if fault == "cut" else content[start:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[str]:
    Mirror.files, Mirror.faults, Mirror.ranges = {"/good/images.gz": FILE, "/bad/images.gz": FILE[:-12]}, [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def source(*mirrors: str) -> Source:
    return replace(MNIST, mirrors=mirrors, sha256={"images": hashlib.sha256(CONTENT).hexdigest()})


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_idx_is_read_by_its_definition() -> None:
    np.testing.assert_array_equal(parse_idx(CONTENT), ARRAY)


def test_missing_file_is_downloaded_and_kept(tmp_path: Path, mirror: str) -> None:
    for _ in range(2):
        np.testing.assert_array_equal(read_idx(source(f"{mirror}/good/"), tmp_path, "images"), ARRAY)

    assert leftovers(tmp_path) == ["images.gz"]
    assert Mirror.ranges == [None]


def test_cut_connection_is_resumed_where_it_ended(tmp_path: Path, mirror: str) -> None:
    Mirror.faults = ["cut"]

    np.testing.assert_array_equal(read_idx(source(f"{mirror}/good/"), tmp_path, "images"), ARRAY)
    assert Mirror.ranges == [None, "bytes=20-"]


@pytest.mark.parametrize("fault", ["500", "bad status"])
def test_failing_server_is_tried_again(tmp_path: Path, mirror: str, fault: str) -> None:
    Mirror.faults = [fault, fault]

    np.testing.assert_array_equal(read_idx(source(f"{mirror}/good/"), tmp_path, "images"), ARRAY)


def test_next_mirror_is_asked_when_one_is_damaged_or_gone(tmp_path: Path, mirror: str) -> None:
    mirrors = (f"{mirror}/gone/", f"{mirror}/bad/", f"{mirror}/good/")

    np.testing.assert_array_equal(read_idx(source(*mirrors), tmp_path, "images"), ARRAY)
    assert leftovers(tmp_path) == ["images.gz"]


@pytest.mark.parametrize("left", [FILE, FILE[:10], b"of another file", FILE + b"too long"])
def test_what_an_earlier_run_left_is_gone_on_from_or_dropped(tmp_path: Path, mirror: str, left: bytes) -> None:
    Mirror.faults = ["cut", "500", "500"]
    with pytest.raises(DataError):
        read_idx(source(f"{mirror}/good/"), tmp_path, "images")
    [partial] = tmp_path.rglob("*.part")
    partial.write_bytes(left)

    np.testing.assert_array_equal(read_idx(source(f"{mirror}/good/"), tmp_path, "images"), ARRAY)
    assert leftovers(tmp_path) == ["images.gz"]


def test_one_mirrors_beginning_is_not_anothers(tmp_path: Path, mirror: str) -> None:
    """Mirrors wrap the same content in different gzip files."""
    Mirror.files["/other/images.gz"] = gzip.compress(CONTENT, compresslevel=1, mtime=99)
    Mirror.faults = ["cut", "500", "500"]

    np.testing.assert_array_equal(read_idx(source(f"{mirror}/good/", f"{mirror}/other/"), tmp_path, "images"), ARRAY)


def test_when_no_mirror_helps_each_is_named(tmp_path: Path, mirror: str) -> None:
    with pytest.raises(DataError, match=r"images\.gz is not there .*/gone/: HTTP Error 404.*/bad/: .*another file"):
        read_idx(source(f"{mirror}/gone/", f"{mirror}/bad/"), tmp_path, "images")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("content", [FILE[:-12], b"no gzip", b""], ids=["truncated", "no gzip", "empty"])
def test_damaged_file_names_the_file_and_both_digests(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mnist" / "images.gz"
    path.parent.mkdir()
    path.write_bytes(content)
    expected = hashlib.sha256(CONTENT).hexdigest()

    with pytest.raises(DataError, match=rf"{path} is damaged.* SHA-256 {expected}, .* bytes\) has [0-9a-f]{{64}}"):
        read_idx(source(), tmp_path, "images")
    assert path.exists()


def test_other_content_names_both_digests(tmp_path: Path) -> None:
    path = tmp_path / "mnist" / "images.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(b"something else"))
    expected, found = (hashlib.sha256(content).hexdigest() for content in (CONTENT, b"something else"))

    with pytest.raises(DataError, match=rf"SHA-256 {expected}, .*\(14 bytes\) has {found}"):
        read_idx(source(), tmp_path, "images")


MEMBERS = {"news/b/002.txt": b"two", "news/a/001.txt": b"one"}
MEMBERS_SHA256 = hashlib.sha256(b"news/a/001.txt\nonenews/b/002.txt\ntwo").hexdigest()


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as written:
        for name, content in members.items():
            written.writestr(name, content)
    return file.getvalue()


def archive_source(*mirrors: str) -> Source:
    return replace(BBC_NEWS, mirrors=mirrors, sha256={ARTICLES: MEMBERS_SHA256})


def test_missing_archive_is_downloaded_and_its_members_read_in_order(tmp_path: Path, mirror: str) -> None:
    Mirror.files[f"/good/{ARTICLES}"], Mirror.faults = archive(MEMBERS), ["cut"]
    for _ in range(2):
        members = read_archive(archive_source(f"{mirror}/good/"), tmp_path, ARTICLES)

        assert list(members.items()) == sorted(MEMBERS.items())
    assert leftovers(tmp_path) == [ARTICLES]
    assert Mirror.ranges == [None, "bytes=20-"]


def test_archive_is_known_by_its_members_however_packed(tmp_path: Path) -> None:
    path = tmp_path / BBC_NEWS.name / ARTICLES
    path.parent.mkdir()
    backwards = dict(reversed(MEMBERS.items()))
    path.write_bytes(archive({"news/": b"", "news/README.TXT": b"about", **backwards}, zipfile.ZIP_STORED))

    assert read_archive(archive_source(), tmp_path, ARTICLES) == MEMBERS


@pytest.mark.parametrize(
    "content",
    [
        archive(MEMBERS)[:-30],
        archive(MEMBERS | {"news/b/002.txt": b"too"}),
        archive({"news/a/001.txt": b"one"}),
        archive(MEMBERS, zipfile.ZIP_STORED).replace(b"two", b"tow"),
        b"",
    ],
    ids=["truncated", "other content", "member missing", "damaged member", "empty"],
)
def test_damaged_archive_names_both_digests(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / BBC_NEWS.name / ARTICLES
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(DataError, match=rf"{path} is damaged.* SHA-256 {MEMBERS_SHA256}, .* has [0-9a-f]{{64}}"):
        read_archive(archive_source(), tmp_path, ARTICLES)


def test_news_are_as_many_as_they_were(data: Path) -> None:
    topics = [name.split("/")[1] for name in read_archive(BBC_NEWS, data, ARTICLES)]

    assert [topics.count(topic) for topic in BBC_NEWS.labels] == [510, 386, 417, 511, 401]


def test_validation_rows_are_the_last_of_each_class_in_proportion() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 0, 0, 1])

    assert last_rows_stratified(labels, 5).nonzero().flatten().tolist() == [5, 6, 7, 8, 9]


def test_rows_that_rounding_leaves_over_go_to_the_largest_remainder() -> None:
    labels = np.array([0] * 7 + [1] * 3)  # of 5 rows: 3.5 and 1.5

    assert int(last_rows_stratified(labels, 5).sum()) == 5


@pytest.mark.parametrize("original", [MNIST, FASHION_MNIST], ids=lambda source: source.name)
def test_originals_have_their_size_and_split(data: Path, original: Source) -> None:
    dataset, test = load(original, data), load_test(original, data)

    assert (len(dataset.train), len(dataset.validation), len(test)) == (55_000, 5_000, 10_000)
    shares = dataset.validation.labels.bincount() / dataset.train.labels.bincount()
    assert float(shares.max() - shares.min()) < 0.001
