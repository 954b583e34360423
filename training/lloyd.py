"""One round of k-means as an ONNX graph, for a service that has no PyTorch: `python -m training.lloyd` writes it.

The graph knows nothing of starts, of convergence or of where an empty cluster should go: its caller decides.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from training import export

WHERE = Path(__file__).resolve().parent.parent / "app" / "lab" / "lloyd.onnx"
FLOAT = torch.finfo(torch.float64)
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
        assignments = nearest(points, centroids)
        squares = (points - centroids[assignments]).square().sum(1)
        # one_hot would fix k in the graph.
        members = assignments[:, None] == torch.arange(centroids.shape[0])
        counts = members.sum(0)
        averages = members.to(points.dtype).T @ points / counts.clamp(min=1)[:, None]
        moved = torch.where((counts > 0)[:, None], averages, centroids)
        return assignments, squares, moved, counts, squares.sum()


def nearest(points: Tensor, centroids: Tensor) -> Tensor:
    """int64 [n]. By ‖c‖² − 2xc, a product of matrices, where rounding cannot change who is nearest; else, since one far
    point is enough for that product to lose all digits of the others, by differences."""
    # About the points' mean it loses fewer.
    middle = points.mean(0)
    moved, centred = points - middle, centroids - middle
    lengths = centred.square().sum(1)
    scores = lengths - 2 * moved @ centred.T
    least, assignments = scores.min(1)
    # Rounding errors of two scores together (Higham 2002, sections 3.1 and 3.5), twice over: with u half of eps and
    # R = ‖x‖ + max ‖c‖, centring is wrong by at most 2uR² and the sums of d products by at most (d + 1)uR².
    # Where squares underflow, what is lost is far below the smallest normal number.
    radii = moved.square().sum(1).sqrt() + lengths.max().sqrt()
    errors = 2 * (points.shape[1] + 8) * FLOAT.eps * radii.square()
    # Each point counts at least once; float, because onnxruntime adds whole numbers slowly.
    errors = errors.maximum(torch.tensor(FLOAT.tiny, dtype=points.dtype))  # a plain number would be exported as float32
    rivals = (scores <= (least + errors)[:, None]).sum(dtype=points.dtype)
    nearest: Tensor = torch.cond(
        rivals > points.shape[0],
        lambda points, centroids, _: nearest_by_differences(points, centroids),
        lambda _, __, assignments: assignments.clone(),
        (points, centroids, assignments),
    )
    return nearest


def nearest_by_differences(points: Tensor, centroids: Tensor) -> Tensor:
    """int64 [n]. One centroid after the other: [n, k, d] would be too much memory."""
    across = points.T  # a sum over the first axis is the quicker one

    def squared_distances(carried: Tensor, centroid: Tensor) -> tuple[Tensor, Tensor]:
        return carried.clone(), (across - centroid).square().sum(0)

    nothing = torch.zeros(1, dtype=points.dtype)  # scan has to carry something
    _, squares = scan(squared_distances, nothing, centroids[:, :, None])
    distances: Tensor = squares
    return distances.argmin(0)


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
