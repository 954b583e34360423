"""The first-layer filters of the convolutional networks, as numbers in a file of the service, which reads weights
out of no graph. Trains nothing.
"""

import json
from pathlib import Path
from typing import Any

import onnx

from training import export
from training.cnn import RECIPES

ROOT = Path(__file__).resolve().parent.parent
WHERE = ROOT / "app" / "lab" / "filters.json"
ARTIFACTS = ROOT / "artifacts"  # the models whose filters these are
MODELS = tuple(recipe.name for recipe in RECIPES)


def follow(artifacts: Path, name: str) -> bool:
    """Write a model's filters anew after it has changed. False if it is none whose filters are kept."""
    learned = learned_filters(artifacts, name)
    if learned is None:
        return False
    kept = kept_filters() | {name: learned}
    export.replace_file(WHERE, as_json({name: kept[name] for name in MODELS if name in kept}).encode())
    return True


def stale(artifacts: Path, name: str) -> bool:
    """Whether the filters that are kept are not those of the model."""
    learned = learned_filters(artifacts, name)
    return learned is not None and kept_filters().get(name) != learned


def kept_filters() -> dict[str, Any]:
    """By model."""
    kept: dict[str, Any] = json.loads(WHERE.read_text(encoding="utf-8")) if WHERE.exists() else {}
    return kept


def learned_filters(artifacts: Path, name: str) -> dict[str, Any] | None:
    """Of the model's highest version: the kernels of its first convolution, [filters][height][width], exactly. None of
    another network, of one that is not there, and in another folder than that of the models that are served with
    these filters."""
    ours = name in MODELS and artifacts.resolve() == ARTIFACTS.resolve()
    files = export.versions(artifacts / name) if ours else []
    return {"version": int(files[-1].parent.name), "filters": first_filters(files[-1])} if files else None


def first_filters(path: Path) -> list[list[list[float]]]:
    content = path.read_bytes()
    convolution = next(node for node in onnx.load_from_string(content).graph.node if node.op_type == "Conv")
    weights = export.weights_in(content)[convolution.input[1]]
    # float32 has an exact float64, and that an exact decimal in JSON.
    filters: list[list[list[float]]] = weights.double()[:, 0].tolist()
    return filters


def as_json(filters: dict[str, Any]) -> str:
    return json.dumps(filters, separators=(",", ":")) + "\n"
