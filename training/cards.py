"""What cards say about inputs, written anew into artifacts from the data that their models learned from: `python -m
training.cards`. Trains nothing: graphs, golden rows, figures and all else on the cards stay as they are."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import onnx

from app.card import Input, read_card, read_golden
from training import export
from training.__main__ import SYSTEMS

ARTIFACTS = Path(__file__).resolve().parent.parent / "artifacts"


@runtime_checkable
class Describing(Protocol):
    """A system that knows what its card says about the input without training."""

    def takes(self) -> Input: ...


DESCRIBING = {name: system for name, system in SYSTEMS.items() if isinstance(system, Describing)}


def renewed(model: bytes, taken: Input) -> bytes:
    """The model with a card that says so; as it is where the card does already."""
    metadata = {prop.key: prop.value for prop in onnx.load_from_string(model).metadata_props}
    card, golden = read_card(metadata), read_golden(metadata)
    assert card is not None and golden is not None, "no model with a card"
    if card.input == taken:
        return model
    return export.with_metadata(model, card.model_copy(update={"input": taken}), golden)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.cards", description=__doc__)
    parser.add_argument("--artifacts", type=Path, default=ARTIFACTS, help="the models (default: artifacts)")
    artifacts: Path = parser.parse_args(argv).artifacts
    for name, system in DESCRIBING.items():
        for file in export.versions(artifacts / name):
            model = file.read_bytes()
            written = renewed(model, system.takes())
            if written != model:
                export.replace_file(file, written)
            print(f"{file}: {'written' if written != model else 'as it was'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
