"""Named, checksummed data sets: found in a folder or downloaded, verified, split. Knows nothing of networks.

The layout of the folder is `<data set>/<file>.gz`, for instance `mnist/train-images-idx3-ubyte.gz`, or
`<data set>/<archive>.zip`.
"""

import contextlib
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

CHUNK = 1 << 16
ATTEMPTS_PER_MIRROR = 3
TIMEOUT_SECONDS = 30

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
ARTICLES = "bbc-fulltext.zip"
# A member of an archive of texts: folder/label/number.txt. What lies beside, such as a README, is not its content.
MEMBER = re.compile(r"[^/]+/([^/]+)/[^/]+\.txt")


class DataError(Exception):
    """A data set is missing, damaged or cannot be fetched; the message names the file."""


@dataclass(frozen=True)
class Source:
    """Where a data set comes from and what its files must contain."""

    name: str
    title: str
    licence: str
    labels: tuple[str, ...]
    mirrors: tuple[str, ...]
    sha256: dict[str, str]  # of each file's uncompressed content; of an archive, its members in order (`_content`)


@dataclass(frozen=True)
class Split:
    images: Tensor  # uint8 [N, 28, 28]
    labels: Tensor  # int64 [N]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, rows: int) -> "Split":
        return Split(self.images[:rows], self.labels[:rows])

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """What choices are made with. The test split is not in it: `load_test` reads that, once, at the end."""

    source: Source
    train: Split
    validation: Split


MNIST = Source(
    name="mnist",
    title="MNIST, handwritten digits (LeCun, Cortes, Burges)",
    licence="CC BY-SA 3.0",
    labels=tuple("0123456789"),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    sha256={
        TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)

FASHION_MNIST = Source(
    name="fashion-mnist",
    title="Fashion-MNIST, articles of clothing (Zalando SE)",
    licence="MIT",
    labels=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    sha256={
        TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)

BBC_NEWS = Source(
    name="bbc-news",
    title="BBC news of 2004 and 2005 (Greene and Cunningham, ICML 2006)",
    licence="articles © BBC, for research",
    labels=("business", "entertainment", "politics", "sport", "tech"),
    mirrors=("http://mlg.ucd.ie/files/datasets/",),
    sha256={ARTICLES: "492cbd02488c3367f826e7d3fa2bb8d9c44d76bb6163a6cd78c88dcdfc8b8983"},
)


def load(source: Source, folder: Path, validation_rows: int = 5_000) -> Dataset:
    """Training and validation splits; validation is the last `validation_rows` training images, stratified."""
    everything = _read_split(source, folder, TRAIN_IMAGES, TRAIN_LABELS)
    held_out = last_rows_stratified(everything.labels.numpy(), validation_rows)
    return Dataset(
        source=source,
        train=Split(everything.images[~held_out], everything.labels[~held_out]),
        validation=Split(everything.images[held_out], everything.labels[held_out]),
    )


def load_test(source: Source, folder: Path) -> Split:
    """The test split. Read it once, when every choice has been made."""
    return _read_split(source, folder, TEST_IMAGES, TEST_LABELS)


def last_rows_stratified(labels: NDArray[np.int64], rows: int) -> Tensor:
    """A mask over `labels` that holds the last rows of each class, `rows` in all, in the classes' own proportions
    (what rounding down leaves over goes to the largest remainders)."""
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * rows / len(labels)
    quota = exact.astype(np.int64)
    largest_remainders = np.argsort(quota - exact, kind="stable")[: rows - quota.sum()]
    quota[largest_remainders] += 1
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label, take in zip(classes, quota, strict=True):
        mask[np.flatnonzero(labels == label)[len(labels[labels == label]) - take :]] = True
    return mask


def _read_split(source: Source, folder: Path, images: str, labels: str) -> Split:
    return Split(
        images=torch.from_numpy(read_idx(source, folder, images)),
        labels=torch.from_numpy(read_idx(source, folder, labels).astype(np.int64)),
    )


def read_idx(source: Source, folder: Path, name: str) -> NDArray[np.uint8]:
    """The array in one IDX file, downloaded first if the folder lacks it. Raises DataError if it is damaged."""
    path = folder / source.name / f"{name}.gz"
    if not path.exists():
        download(source, name, path)
    return parse_idx(_verified_content(path, source.sha256[name]))


def parse_idx(content: bytes) -> NDArray[np.uint8]:
    """IDX as described on LeCun's MNIST page: two zero bytes, type 8 (uint8), the number of axes, each axis as a
    big-endian uint32, then the values in row-major order."""
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4).astype(int)
    return np.frombuffer(bytearray(content[4 + 4 * axes :]), np.uint8).reshape(shape)


def read_archive(source: Source, folder: Path, name: str) -> dict[str, bytes]:
    """The members of one archive of texts by their names, in order; downloaded first if the folder lacks it. Raises
    DataError if it is damaged."""
    path = folder / source.name / name
    if not path.exists():
        download(source, name, path)
    _verified_content(path, source.sha256[name])
    return _members(path)


def _verified_content(path: Path, expected: str) -> bytes:
    content = _content(path)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(
            f"{path} is damaged, truncated or another file: its content should have SHA-256 {expected}, "
            f"what could be decompressed ({len(content):,} bytes) has {found}"
        )
    return content


def _content(path: Path) -> bytes:
    """What a digest is taken of, however it has been packed: of an archive, each member's name, a line feed and what
    is in it, in the order of their names."""
    if zipfile.is_zipfile(path):
        return b"".join(name.encode() + b"\n" + content for name, content in _members(path).items())
    return _decompress(path)


def _members(path: Path) -> dict[str, bytes]:
    """As many as can be read."""
    members = {}
    with zipfile.ZipFile(path) as archive, contextlib.suppress(zipfile.BadZipFile, zlib.error, EOFError):
        for name in sorted(filter(MEMBER.fullmatch, archive.namelist())):
            members[name] = archive.read(name)
    return members


def _decompress(path: Path) -> bytes:
    """As much as can be: a truncated or damaged file gives the part before the fault, and the digest tells."""
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)
    content = bytearray()
    with open(path, "rb") as file, contextlib.suppress(zlib.error):
        while chunk := file.read(CHUNK):
            content += decompressor.decompress(chunk)
    return bytes(content)


def download(source: Source, name: str, path: Path) -> None:
    """Fetch one file from the first mirror that gives it whole. `path` appears only once its content is verified."""
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in source.mirrors:
        # Mirrors wrap the same content differently: what one began no other can finish.
        partial = path.with_name(f"{path.name}.{hashlib.sha256(mirror.encode()).hexdigest()[:8]}.part")
        try:
            _download_verified(f"{mirror}{path.name}", partial, source.sha256[name])
        except (OSError, http.client.HTTPException, DataError) as error:
            failures.append(f"{mirror}: {error}")
        else:
            os.replace(partial, path)
            return
    raise DataError(f"{path} is not there and no mirror gave it: {'; '.join(failures)}")


def _download_verified(url: str, partial: Path, expected: str) -> None:
    """Into `partial`. What an earlier run left there is gone on from; if that comes to nothing, once more from zero."""
    for attempt_is_fresh in (False, True) if partial.exists() else (True,):
        try:
            _fetch(url, partial)
            _verified_content(partial, expected)
            return
        except DataError:
            partial.unlink(missing_ok=True)
            if attempt_is_fresh:
                raise


def _fetch(url: str, partial: Path) -> None:
    """Download `url` into `partial`, going on from what is there, several times if the connection fails."""
    for attempt in range(1, ATTEMPTS_PER_MIRROR + 1):
        try:
            _fetch_rest(url, partial)
            return
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing is left to fetch: the digest decides what that is worth
                return
            if error.code < 500 or attempt == ATTEMPTS_PER_MIRROR:
                raise
        except (OSError, http.client.HTTPException):
            if attempt == ATTEMPTS_PER_MIRROR:
                raise


def _fetch_rest(url: str, partial: Path) -> None:
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        resumed = response.status == 206
        done = done if resumed else 0
        total = done + int(response.headers.get("Content-Length", 0))
        bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1])
        with bar, open(partial, "ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if partial.stat().st_size < total:
        raise ConnectionError(f"{url}: the connection ended after {partial.stat().st_size} of {total} bytes")
