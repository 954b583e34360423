"""Kernels by name: those of image processing, and what the first layers of our own convolutional networks have learned.

The learned ones are in filters.json, which a training writes (training/filters.py).
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from app.errors import InvalidRequest
from app.lab.tape import Floats
from app.rows import quoted

FILTERS = Path(__file__).parent / "filters.json"


class Kernel(NamedTuple):
    values: Floats
    name: str | None = None
    what: str = ""


CLASSICAL: Mapping[str, tuple[str, list[list[float]], int]] = {  # what it is, numbers, what they are divided by
    "identity": ("Changes nothing.", [[0, 0, 0], [0, 1, 0], [0, 0, 0]], 1),
    "box-blur": ("The mean of nine neighbours.", [[1, 1, 1], [1, 1, 1], [1, 1, 1]], 9),
    "gaussian-blur": ("A mean that weighs the middle most.", [[1, 2, 1], [2, 4, 2], [1, 2, 1]], 16),
    "gaussian-blur-5": (
        "The same, wider.",
        [[1, 4, 6, 4, 1], [4, 16, 24, 16, 4], [6, 24, 36, 24, 6], [4, 16, 24, 16, 4], [1, 4, 6, 4, 1]],
        256,
    ),
    "sharpen": ("The picture and its edges on top.", [[0, -1, 0], [-1, 5, -1], [0, -1, 0]], 1),
    "sobel-x": ("How much brighter it gets to the right.", [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], 1),
    "sobel-y": ("How much brighter it gets downwards.", [[-1, -2, -1], [0, 0, 0], [1, 2, 1]], 1),
    "scharr-x": ("As sobel-x, more evenly in all directions.", [[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]], 1),
    "scharr-y": ("As sobel-y, more evenly in all directions.", [[-3, -10, -3], [0, 0, 0], [3, 10, 3]], 1),
    "prewitt-x": ("As sobel-x, all rows alike.", [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]], 1),
    "prewitt-y": ("As sobel-y, all columns alike.", [[-1, -1, -1], [0, 0, 0], [1, 1, 1]], 1),
    "laplacian": ("The sum of the second derivatives.", [[0, 1, 0], [1, -4, 1], [0, 1, 0]], 1),
    "edge": ("How much it differs from its eight neighbours.", [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], 1),
    "emboss": ("As if lit from one corner.", [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], 1),
}


@cache
def kernels() -> Mapping[str, Kernel]:
    """By name, `sobel-x` or `mnist-cnn/3`: the filter that is `conv1.weight[3]` in PyTorch."""
    found = {
        name: Kernel(np.array(numbers, np.float64) / divisor, name, what)
        for name, (what, numbers, divisor) in CLASSICAL.items()
    }
    for model, learned in orjson.loads(FILTERS.read_bytes()).items():
        for place, numbers in enumerate(learned["filters"]):
            name = f"{model}/{place}"
            what = f"Learned: filter {place} of the first layer of {model}, version {learned['version']}."
            found[name] = Kernel(np.array(numbers, np.float64), name, what)
    return found


def kernel_by(name: str) -> Kernel:
    """Raises InvalidRequest that lists what there is."""
    found = kernels().get(name)
    if found is None:
        raise InvalidRequest(f"there is no kernel {quoted(name)}; there are: {', '.join(_names())}")
    return found


def _names() -> list[str]:
    """Of learned filters the first and the last of each model stand for all."""
    learned = [name for name in kernels() if "/" in name]
    models = {name.partition("/")[0]: name for name in learned}
    return [*CLASSICAL, *(f"{model}/0 to {last}" for model, last in models.items())]
