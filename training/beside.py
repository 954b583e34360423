"""What artifacts hold besides their models, made again from the models' weights: `python -m training.beside`.

Training makes it in the first place; this is for when the way it is made has changed, and trains nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from app.card import ImageInput
from training import export, filters, saliency
from training.__main__ import SYSTEMS


@runtime_checkable
class Classifier(Protocol):
    """A system whose model tells pictures apart."""

    def scores(self, graph: bytes) -> saliency.Scores:
        """Of pixels, by the weights of an exported graph with its card."""
        ...


CLASSIFIERS = {name: system for name, system in SYSTEMS.items() if isinstance(system, Classifier)}


def renew(file: Path, classifier: Classifier) -> str:
    """`saliency.onnx` beside a model file; what there is to tell. Raises ExportError."""
    model, card = file.read_bytes(), export.card_in(file)
    assert card is not None and isinstance(card.input, ImageInput), f"{file} is no image classifier"
    scores = classifier.scores(model)
    graph = saliency.saliency_graph(scores, card.input)
    beside = file.with_name(saliency.FILE)
    lean = saliency.belonging_to(model, graph)
    difference = saliency.check(scores, lean, card.input, model)
    export.replace_file(beside, lean)
    return f"{beside}: {beside.stat().st_size:,} bytes, {difference:.1e} from PyTorch"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.beside", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"all unless named: {', '.join(CLASSIFIERS)}")
    parser.add_argument("--artifacts", type=Path, default=filters.ARTIFACTS, help="the models (default: artifacts)")
    options = parser.parse_args(argv)
    unknown = [name for name in options.models if name not in CLASSIFIERS]
    if unknown:
        parser.error(f"no image classifier is called {', '.join(unknown)}; there are {', '.join(CLASSIFIERS)}")
    for name in options.models or CLASSIFIERS:
        for file in export.versions(options.artifacts / name):
            print(renew(file, CLASSIFIERS[name]))
        if filters.follow(options.artifacts, name):
            print(f"{filters.WHERE}: {filters.WHERE.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
