"""One round of k-means as an ONNX graph, for a service that has no PyTorch: `python -m training.lloyd` writes it.

The graph knows nothing of starts, of convergence or of where an empty cluster should go: its caller decides.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from training import export

WHERE = Path(__file__).resolve().parent.parent / "app" / "lab" / "lloyd.onnx"
INPUTS = ("points", "centroids")  # float64 [n, d] and [k, d]
OUTPUTS = {
    "assignments": "int64 [n]: each point's nearest centroid, the first of equals.",
    "squared_distances": "float64 [n]: from each point to that centroid, by differences.",
    "moved": "float64 [k, d]: the mean of each cluster's points; an empty cluster keeps its centroid.",
    "counts": "int64 [k]: how many points each cluster has.",
    "inertia": "float64: the sum of the squared distances.",
}


class LloydRound(nn.Module):
    """Every point to its nearest centroid, every centroid to the mean of its points."""

    def forward(self, points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        # About the points' mean the product of matrices loses fewer digits.
        middle = points.mean(0)
        centred = centroids - middle
        assignments = (centred.square().sum(1) - 2 * (points - middle) @ centred.T).argmin(1)
        squares = (points - centroids[assignments]).square().sum(1)
        # one_hot would fix k in the graph.
        members = assignments[:, None] == torch.arange(centroids.shape[0])
        counts = members.sum(0)
        averages = members.to(points.dtype).T @ points / counts.clamp(min=1)[:, None]
        moved = torch.where((counts > 0)[:, None], averages, centroids)
        return assignments, squares, moved, counts, squares.sum()


def lloyd_graph() -> bytes:
    """Points, dimensions and centroids may be as many as one likes."""
    n, d, k = (torch.export.Dim(name) for name in ("n", "d", "k"))
    examples = (torch.rand(7, 3, dtype=torch.float64), torch.rand(2, 3, dtype=torch.float64))
    return export.graph_of(LloydRound(), examples, list(INPUTS), list(OUTPUTS), ({0: n, 1: d}, {0: k, 1: d}))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.lloyd", description="Export one round of k-means.")
    parser.add_argument("--out", type=Path, default=WHERE, help="the file to write (default: app/lab/lloyd.onnx)")
    out: Path = parser.parse_args(argv).out
    graph = lloyd_graph()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(graph)
    print(f"{out}: {len(graph):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
