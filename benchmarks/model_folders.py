"""Folders of models for runs that need others than the committed ones: copies under other names and version numbers."""

import os
import shutil
from pathlib import Path

import onnx

from app.card import CARD_KEY, Card
from benchmarks.cases import MODEL


def add_version(folder: Path, name: str, version: int, content: bytes) -> None:
    """A new version appears whole, by a rename, as it does when training writes one."""
    final = folder / name / str(version)
    draft = final.with_name(f".{version}")
    draft.mkdir(parents=True)
    (draft / "model.onnx").write_bytes(content)
    os.rename(draft, final)


def remove_version(folder: Path, name: str, version: int) -> None:
    """It disappears whole, too."""
    retired = folder / name / f".{version}-retired"
    os.rename(folder / name / str(version), retired)
    shutil.rmtree(retired)


def renamed(name: str) -> bytes:
    """The model with a card that has another name, and no subject: an alias is for one of many."""
    model = onnx.load(MODEL)
    for entry in model.metadata_props:
        if entry.key == CARD_KEY:
            card = Card.model_validate_json(entry.value)
            entry.value = card.model_copy(update={"name": name, "subject": None}).model_dump_json()
    return bytes(model.SerializeToString())
