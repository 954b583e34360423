"""Photographs of clothes that people made of their own, and who sent them: the clothing dataset of Grigorev 2020, its
labels beside Fashion-MNIST's, and folds of which no sender is in two. Knows no network.

The layout of the folder is that of pictures which people made: uploads/manifest.csv, with the columns path, task, label
and origin, and the files that it names.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from app.card import PhotographInput
from app.photographs import fit_photograph
from training.data import FASHION_MNIST, DataError, Source

MANIFEST, TASK = "manifest.csv", "clothing"
CONTENT = "paths, labels, senders and photographs"  # what the digest is of, in the order of the paths
FOLDS = 5

CLOTHING_DATASET = Source(
    name="clothing-dataset",
    title="Clothing dataset, photographs that people sent of their own clothes (Grigorev 2020)",
    licence="any use, commercial too (its README)",
    labels=FASHION_MNIST.labels,
    mirrors=("https://github.com/alexeygrigorev/clothing-dataset",),
    sha256={CONTENT: "051cd420e88fb71cae4f5925bcbe5fcbb7dc2abc3d3e018688d5fd991d51056a"},
)

# What its labels are among Fashion-MNIST's. Shoes may be any of three; the others are none of the ten.
MEANS: dict[str, tuple[str, ...]] = {
    "T-Shirt": ("T-shirt/top",),
    "Top": ("T-shirt/top",),
    "Pants": ("Trouser",),
    "Longsleeve": ("Pullover",),
    "Hoodie": ("Pullover",),
    "Dress": ("Dress",),
    "Outwear": ("Coat",),
    "Blazer": ("Coat",),
    "Shirt": ("Shirt",),
    "Shoes": ("Sandal", "Sneaker", "Ankle boot"),
}
NONE_OF_THEM = ("Blouse", "Body", "Hat", "Other", "Polo", "Shorts", "Skirt", "Undershirt")
CLASSES = (*FASHION_MNIST.labels, *NONE_OF_THEM)


@dataclass(frozen=True)
class Photographs:
    pixels: Tensor  # uint8 [N, height, width, 3]
    labels: Tensor  # int64 [N], among Fashion-MNIST's ten; -1 where it is none of them, or not known which
    allowed: Tensor  # bool [N, classes]: those of CLASSES that it may be
    folds: Tensor  # int64 [N]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> "Photographs":
        return Photographs(self.pixels[rows], self.labels[rows], self.allowed[rows], self.folds[rows])

    def known(self) -> "Photographs":
        """Those whose label is one of the ten."""
        return self.take(self.labels >= 0)


def read(folder: Path, contract: PhotographInput) -> Photographs:
    """Made to fit as the service does. Raises DataError."""
    uploads = folder / "uploads"
    rows = _rows(uploads / MANIFEST)
    _require_known(rows)
    _verify(uploads, rows)
    pixels = np.stack([fit_photograph(Image.open(uploads / row["path"]), contract).pixels for row in rows])
    names = [row["label"] for row in rows]
    folds = folds_of([row["origin"] for row in rows])
    return Photographs(
        torch.from_numpy(pixels),
        torch.tensor([label_of(name) for name in names]),
        torch.tensor([[each in meant(name) for each in CLASSES] for name in names]),
        torch.from_numpy(folds),
    )


def meant(name: str) -> tuple[str, ...]:
    """Those of CLASSES that a label of the data set may mean."""
    return MEANS.get(name, (name,))


def label_of(name: str) -> int:
    few = MEANS.get(name, ())
    return FASHION_MNIST.labels.index(few[0]) if len(few) == 1 else -1


def folds_of(senders: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The fold of each picture: no sender is in two, and they are as large as one another. The sender with most
    pictures comes first, each into the smallest fold."""
    sizes, fold = [0] * FOLDS, {}
    for sender, count in sorted(Counter(senders).items(), key=lambda each: (-each[1], each[0])):
        fold[sender] = sizes.index(min(sizes))
        sizes[fold[sender]] += count
    return np.array([fold[sender] for sender in senders])


def _rows(manifest: Path) -> list[dict[str, str]]:
    try:
        with manifest.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["task"] == TASK]
    except OSError as error:
        raise DataError(f"{manifest} cannot be read: {error.strerror}; the photographs come from {_where()}") from error
    return sorted((row for row in rows if row["source"] == CLOTHING_DATASET.name), key=lambda row: row["path"])


def _where() -> str:
    return ", ".join(CLOTHING_DATASET.mirrors)


def _require_known(rows: Sequence[dict[str, str]]) -> None:
    unknown = sorted({row["label"] for row in rows} - set(MEANS) - set(NONE_OF_THEM))
    if unknown:
        raise DataError(f"{MANIFEST}: labels that are not known: {', '.join(unknown)}")


def _verify(folder: Path, rows: Sequence[dict[str, str]]) -> None:
    """Labels, senders and pictures are those that the figures are of."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row['path']} {row['label']} {row['origin']}\n".encode())
        try:
            digest.update((folder / row["path"]).read_bytes())
        except OSError as error:
            raise DataError(f"{folder / row['path']} cannot be read: {error.strerror}") from error
    expected = CLOTHING_DATASET.sha256[CONTENT]
    if digest.hexdigest() != expected:
        raise DataError(
            f"{folder / MANIFEST} and its pictures are damaged or others: they should have SHA-256 {expected}, they "
            f"have {digest.hexdigest()}"
        )
