"""Photographs as the manifest has them, and folds by who sent them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.card import PhotographInput
from app.photographs import fit_photograph
from training import clothing_dataset
from training.clothing_dataset import CLASSES, CONTENT, FOLDS, folds_of, read
from training.data import FASHION_MNIST, DataError

CONTRACT = PhotographInput(height=32, width=32)
HEAD = "path,task,label,source,license,origin\n"


def written(folder: Path, rows: list[tuple[str, str]]) -> Path:
    """Photographs of one colour each, with a label and a sender."""
    uploads = folder / "uploads"
    uploads.mkdir()
    lines = [HEAD, "digits/7.png,digits,7,somewhere,none,nobody\n"]
    for place, (label, sender) in enumerate(rows):
        Image.new("RGB", (40, 20), (place * 10, 100, 200)).save(uploads / f"{place}.png")
        lines.append(f"{place}.png,clothing,{label},clothing-dataset,any,sender {sender}\n")
    (uploads / "manifest.csv").write_text("".join(lines))
    return folder


def with_digest(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """What is there is what is meant."""
    with pytest.raises(DataError) as error:
        read(folder, CONTRACT)
    monkeypatch.setitem(clothing_dataset.CLOTHING_DATASET.sha256, CONTENT, str(error.value)[-64:])


def test_labels_are_fashion_mnists_where_they_are_one_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path, [("Hoodie", "1"), ("Shoes", "2"), ("Hat", "3"), ("Blazer", "1")])
    with_digest(monkeypatch, folder)
    found = read(folder, CONTRACT)

    names = FASHION_MNIST.labels
    assert found.labels.tolist() == [names.index("Pullover"), -1, -1, names.index("Coat")]
    allowed = [{CLASSES[place] for place in row.nonzero()[:, 0]} for row in found.allowed]
    assert allowed == [{"Pullover"}, {"Sandal", "Sneaker", "Ankle boot"}, {"Hat"}, {"Coat"}]
    assert found.folds[0] == found.folds[3]
    assert len(found.known()) == 2
    for place in range(4):
        with Image.open(folder / "uploads" / f"{place}.png") as picture:
            np.testing.assert_array_equal(found.pixels[place], fit_photograph(picture, CONTRACT).pixels)


def test_other_pictures_labels_or_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"manifest.csv cannot be read: No such file or directory; .*clothing-dataset"):
        read(tmp_path, CONTRACT)
    folder = written(tmp_path, [("Hoodie", "1"), ("Shoes", "2")])
    with_digest(monkeypatch, folder)
    read(folder, CONTRACT)

    Image.new("RGB", (40, 20)).save(folder / "uploads" / "1.png")
    with pytest.raises(DataError, match="are damaged or others"):
        read(folder, CONTRACT)
    (folder / "uploads" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1.png cannot be read: No such file"):
        read(folder, CONTRACT)
    (folder / "uploads" / "manifest.csv").write_text(f"{HEAD}0.png,clothing,Sock,clothing-dataset,any,sender 1\n")
    with pytest.raises(DataError, match="labels that are not known: Sock"):
        read(folder, CONTRACT)


def test_no_sender_is_in_two_folds_and_folds_are_as_large_as_one_another() -> None:
    rng = np.random.default_rng(0)
    senders = [str(sender) for sender in rng.zipf(1.6, 3000) % 200]
    folds = folds_of(senders)

    of_sender: dict[str, set[int]] = {}
    for sender, fold in zip(senders, folds.tolist(), strict=True):
        of_sender.setdefault(sender, set()).add(fold)
    assert all(len(each) == 1 for each in of_sender.values())
    sizes = Counter(folds.tolist())
    assert set(sizes) == set(range(FOLDS))
    largest = max(Counter(senders).values())
    assert max(sizes.values()) - min(sizes.values()) <= largest
    np.testing.assert_array_equal(folds, folds_of(senders))


def test_the_photographs_themselves(uploads: Path) -> None:
    found = read(uploads, CONTRACT)

    assert len(found) == 3590
    assert torch.bincount(found.folds).tolist() == [718] * FOLDS
    assert len(found.known()) == 2524
