"""The first-layer filters of the convolutional networks, for a service that reads no weights out of a graph:
`python -m training.filters` writes them out of the artifacts. It trains nothing.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

ROOT = Path(__file__).resolve().parent.parent
WHERE = ROOT / "app" / "lab" / "filters.json"
MODELS = ("mnist-cnn", "mnist-lenet", "fashion-cnn")


def learned_filters(artifacts: Path) -> dict[str, Any]:
    """Of each model's highest version: the kernels of its first convolution, [filters][height][width], exactly."""
    found = {}
    for name in MODELS:
        version = max(int(folder.name) for folder in (artifacts / name).iterdir() if folder.name.isdecimal())
        found[name] = {"version": version, "filters": first_filters(artifacts / name / str(version) / "model.onnx")}
    return found


def first_filters(path: Path) -> list[list[list[float]]]:
    graph = onnx.load(path).graph
    convolution = next(node for node in graph.node if node.op_type == "Conv")
    [weights] = [each for each in graph.initializer if each.name == convolution.input[1]]
    # float32 has an exact float64, and that an exact decimal in JSON.
    filters: list[list[list[float]]] = numpy_helper.to_array(weights).astype("float64")[:, 0].tolist()
    return filters


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.filters", description="Write the learned filters.")
    parser.add_argument("--artifacts", type=Path, default=ROOT / "artifacts", help="the models (default: artifacts)")
    parser.add_argument("--out", type=Path, default=WHERE, help="the file to write (default: app/lab/filters.json)")
    asked = parser.parse_args(argv)
    asked.out.write_text(as_json(learned_filters(asked.artifacts)), encoding="utf-8")
    print(f"{asked.out}: {asked.out.stat().st_size:,} bytes")
    return 0


def as_json(filters: dict[str, Any]) -> str:
    return json.dumps(filters, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    sys.exit(main())
