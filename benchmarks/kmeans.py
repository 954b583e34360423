"""Our k-means against scikit-learn's best of ten, on all training pictures: inertia, rounds and seconds of both.

    .venv/bin/python -m benchmarks.kmeans --data …

Takes as long as forty runs of scikit-learn do: some twenty minutes on two cores. Ours starts as often as the systems of
`training/prototypes.py` do. The result of a full run is kept in docs/kmeans.json, where those have their goals
from. Exits with 1 if an inertia is more than 1 % above scikit-learn's.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from benchmarks.environments import ROOT
from benchmarks.machine import busy_share, this_machine
from training import kmeans
from training.data import FASHION_MNIST, MNIST, TRAIN_IMAGES, read_idx
from training.prototypes import COARSE_K, RESTARTS, K

RESULTS = ROOT / "docs" / "kmeans.json"
ALLOWED = 1.01
THEIR_STARTS = 10


@dataclass(frozen=True)
class Run:
    """The best of so many starts, all of which took the seconds."""

    inertia: float
    rounds: int
    starts: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.inertia:,.0f} ({self.rounds} rounds, best of {self.starts}, {self.seconds:.0f} s)"


@dataclass(frozen=True)
class Compared:
    data: str
    k: int
    pictures: int
    ours: Run
    scikit_learn: Run

    @property
    def ratio(self) -> float:
        return self.ours.inertia / self.scikit_learn.inertia

    def __str__(self) -> str:
        return f"{self.data}, k = {self.k}: ours {self.ours}, scikit-learn {self.scikit_learn}: {self.ratio:.5f}"


def compare(name: str, pixels: Tensor, k: int) -> Compared:
    """`pixels` are float [pictures, 784]."""
    start = time.perf_counter()
    ours = kmeans.kmeans(pixels, k, restarts=RESTARTS)
    between = time.perf_counter()
    theirs = KMeans(k, n_init=THEIR_STARTS, random_state=0).fit(pixels.numpy())
    end = time.perf_counter()
    return Compared(
        name,
        k,
        len(pixels),
        Run(ours.inertia, ours.rounds, RESTARTS, between - start),
        Run(float(theirs.inertia_), int(theirs.n_iter_), THEIR_STARTS, end - between),
    )


def document(compared: Sequence[Compared], where: Mapping[str, Any]) -> str:
    return json.dumps({**where, "compared": [asdict(each) for each in compared]}, indent=1, ensure_ascii=False) + "\n"


def where() -> dict[str, Any]:
    return {
        "command": "python -m benchmarks.kmeans",
        "machine": asdict(this_machine(busy_share())),
        "threads": torch.get_num_threads(),
        "libraries": {name: version(name) for name in ("torch", "scikit-learn", "numpy")},
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kmeans", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PERCEPT_DATA", "data")))
    parser.add_argument("--k", type=int, nargs="*", help=f"default: {COARSE_K} {K}")
    parser.add_argument("--rows", type=int, help="only so many pictures")
    parser.add_argument("--out", type=Path, help=f"default: {RESULTS.relative_to(ROOT)} of a full run, else nowhere")
    options = parser.parse_args(argv)
    out = options.out or (RESULTS if options.k is None and options.rows is None else None)
    compared: list[Compared] = []
    about = where() if out else {}
    for source in (MNIST, FASHION_MNIST):
        images = torch.from_numpy(read_idx(source, options.data, TRAIN_IMAGES))[: options.rows]
        pixels = images.flatten(1).float() / 255
        for k in options.k or (COARSE_K, K):
            compared.append(compare(source.name, pixels, k))
            print(compared[-1], flush=True)
            if out is not None:
                out.write_text(document(compared, about), encoding="utf-8")
    return 0 if max(each.ratio for each in compared) <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
