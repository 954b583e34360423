"""Our k-means against scikit-learn's best of ten, on all training pictures: inertia, rounds and seconds of both.

    .venv/bin/python -m benchmarks.kmeans --data …

Takes as long as forty runs of scikit-learn do: some twenty minutes on two cores. Ours starts as often as the systems of
`training/clusters.py` do. Exits with 1 if an inertia is more than 1 % above scikit-learn's.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from sklearn.cluster import KMeans

from training import kmeans
from training.clusters import COARSE_K, IMAGE_RESTARTS, K
from training.data import FASHION_MNIST, MNIST, TRAIN_IMAGES, read_idx

ALLOWED = 1.01
THEIR_STARTS = 10


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kmeans", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PERCEPT_DATA", "data")))
    parser.add_argument("--k", type=int, nargs="*", default=[COARSE_K, K], help=f"default: {COARSE_K} {K}")
    parser.add_argument("--rows", type=int, help="only so many pictures")
    options = parser.parse_args(argv)
    worst = 0.0
    for source in (MNIST, FASHION_MNIST):
        images = torch.from_numpy(read_idx(source, options.data, TRAIN_IMAGES))[: options.rows]
        pixels = images.flatten(1).float() / 255
        for k in options.k:
            start = time.perf_counter()
            ours = kmeans.kmeans(pixels, k, restarts=IMAGE_RESTARTS)
            between = time.perf_counter()
            theirs = KMeans(k, n_init=THEIR_STARTS, random_state=0).fit(pixels.numpy())
            end = time.perf_counter()
            ratio = ours.inertia / float(theirs.inertia_)
            worst = max(worst, ratio)
            print(
                f"{source.name}, k = {k}: ours {ours.inertia:,.0f} ({ours.rounds} rounds, best of {IMAGE_RESTARTS}, "
                f"{between - start:.0f} s), scikit-learn {theirs.inertia_:,.0f} ({theirs.n_iter_} rounds, best of "
                f"{THEIR_STARTS}, {end - between:.0f} s): {ratio:.5f}",
                flush=True,
            )
    return 0 if worst <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
