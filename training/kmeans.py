"""k-means on tensors: starts, Lloyd's rounds, restarts. Knows nothing of what the points are.

Distances are worked out for a block of points at a time, so that no more than `BLOCK_BYTES` of them exist at once. The
rounds, the tolerance and what happens to empty clusters are those of scikit-learn, which the tests hold this against.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_BYTES = 4 << 20
RESTARTS, MAX_ROUNDS, TOLERANCE = 10, 300, 1e-4

Start = Callable[[Tensor, int, torch.Generator], Tensor]  # points [n, d], k, a generator on the CPU → centroids [k, d]


@dataclass(frozen=True)
class Round:
    """One of Lloyd's rounds: every point goes to its nearest centroid, every centroid to the mean of its points."""

    centroids: Tensor  # [k, d], as the round found them
    assignments: Tensor  # int64 [n], to those
    inertia: float  # sum of the squared distances to those
    moved: Tensor  # [k, d], where the round left the centroids


@dataclass(frozen=True)
class Clustering:
    """Where a run ended; `assignments` and `inertia` are those of these centroids."""

    centroids: Tensor  # [k, d]
    assignments: Tensor  # int64 [n]
    inertia: float
    inertias: tuple[float, ...]  # that each round found
    converged: bool

    @property
    def rounds(self) -> int:
        return len(self.inertias)


def kmeans(
    points: Tensor,
    k: int,
    seed: int = 0,
    start: Start | None = None,
    restarts: int = RESTARTS,
    max_rounds: int = MAX_ROUNDS,
    tolerance: float = TOLERANCE,
) -> Clustering:
    """The run with the smallest inertia of several; greedy k-means++ unless another `start` is given.

    `points` [n, d] are floating; float64 for exactness. Raises ValueError unless 1 ≤ k ≤ n.
    """
    if not 1 <= k <= len(points):
        raise ValueError(f"k = {k}: allowed is 1 to the number of points, {len(points)}")
    generator = torch.Generator().manual_seed(seed)
    # About their mean the squares are smaller and lose fewer digits.
    mean = points.mean(0)
    centred = points - mean
    runs = (lloyd(centred, (start or plus_plus)(centred, k, generator), max_rounds, tolerance) for _ in range(restarts))
    best = min(runs, key=lambda run: run.inertia)
    return Clustering(best.centroids + mean, best.assignments, best.inertia, best.inertias, best.converged)


# --- starts ----------------------------------------------------------------------------------------------------------


def at_random(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """k different points, each set of them as likely as another."""
    chosen = torch.randperm(len(points), generator=generator)[:k]
    return points[chosen.to(points.device)].clone()


def plus_plus(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007, section 5): each next centroid is the best of a few points that
    are drawn with a chance in proportion to their squared distance from those already chosen."""
    candidates = 2 + int(torch.log(torch.tensor(float(k))))
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    lengths = squared_lengths(points)
    squares = squared_distances_to(points, points[chosen], lengths)[:, 0]
    while len(chosen) < k:
        # A sum in float64, drawn from by bisection: torch.multinomial takes at most 2²⁴ weights and rounds them.
        cumulated = squares.double().cumsum(0)
        drawn = torch.rand(candidates, generator=generator, dtype=torch.float64).to(points.device) * cumulated[-1]
        tried = torch.searchsorted(cumulated, drawn).clamp(max=len(points) - 1)
        closer = torch.minimum(squares[:, None], squared_distances_to(points, points[tried], lengths))
        best = int(closer.sum(0, dtype=torch.float64).argmin())
        squares = closer[:, best]
        chosen.append(int(tried[best]))
    return points[chosen].clone()


# --- rounds ----------------------------------------------------------------------------------------------------------


def lloyd(points: Tensor, centroids: Tensor, max_rounds: int = MAX_ROUNDS, tolerance: float = TOLERANCE) -> Clustering:
    """Rounds until no point changes its cluster, or until the centroids' squared shift, summed, is at most `tolerance`
    times the mean variance of a coordinate."""
    smallest_shift = tolerance * points.var(0, correction=0).mean()
    before, inertias, settled, converged = None, [], False, False
    for each in islice(rounds(points, centroids), max_rounds):
        inertias.append(each.inertia)
        centroids, assignments = each.moved, each.assignments
        settled = before is not None and torch.equal(assignments, before)
        converged = settled or bool((each.moved - each.centroids).square().sum() <= smallest_shift)
        if converged:
            break
        before = assignments
    if not settled:
        assignments, _ = nearest(points, centroids, squared_lengths(points))
    inertia = float(squares_to_own(points, centroids, assignments).sum(dtype=torch.float64))
    return Clustering(centroids, assignments, inertia, tuple(inertias), converged)


def rounds(points: Tensor, centroids: Tensor, block: int | None = None) -> Iterator[Round]:
    """Round after round, without an end. `block` is how many points are looked at together."""
    lengths = squared_lengths(points)
    while True:
        assignments, squares = nearest(points, centroids, lengths, block)
        moved = means(points, assignments, centroids, block)
        yield Round(centroids, assignments, float(squares.sum(dtype=torch.float64)), moved)
        centroids = moved


def nearest(points: Tensor, centroids: Tensor, lengths: Tensor, block: int | None = None) -> tuple[Tensor, Tensor]:
    """Of each point the nearest centroid, the first of equals, int64 [n], and the squared distance to it, [n].
    `lengths` are the points' own `squared_lengths`."""
    size, parts = block or block_of(points, centroids), []
    for rows, own in zip(points.split(size), lengths.split(size), strict=True):
        squares, places = squared_distances_to(rows, centroids, own).min(1)
        parts.append((places, squares))
    places_of, squares_of = zip(*parts, strict=True)
    return torch.cat(places_of), torch.cat(squares_of)


def means(points: Tensor, assignments: Tensor, centroids: Tensor, block: int | None = None) -> Tensor:
    """Where the centroids go, [k, d]. An empty cluster goes to the point that is farthest from its own centroid, which
    leaves its old cluster; if several are empty, the farthest point goes to the first of them. If all points lie on
    their centroids, empty clusters go to the centroid of the largest."""
    k = len(centroids)
    sums, counts = torch.zeros_like(centroids), torch.zeros(k, dtype=points.dtype, device=points.device)
    size = block or block_of(points, centroids)
    for rows, places in zip(points.split(size), assignments.split(size), strict=True):
        members = F.one_hot(places, k).to(points.dtype)
        sums += members.T @ rows
        counts += members.sum(0)
    if bool((counts == 0).any()):
        relocate_empty(points, assignments, centroids, sums, counts)
    averages = sums / counts.clamp(min=1)[:, None]
    return torch.where((counts > 0)[:, None], averages, averages[counts.argmax()])


def relocate_empty(points: Tensor, assignments: Tensor, centroids: Tensor, sums: Tensor, counts: Tensor) -> None:
    """Changes `sums` [k, d] and `counts` [k]. A point may be the last of its cluster: then that one is empty now."""
    empty = (counts == 0).nonzero()[:, 0]
    squares = squares_to_own(points, centroids, assignments)
    if float(squares.max()) == 0:
        return
    farthest = squares.argsort(descending=True, stable=True)[: len(empty)]
    left = assignments[farthest]
    sums.index_add_(0, left, points[farthest], alpha=-1)
    sums[empty] = points[farthest]
    counts.index_add_(0, left, torch.ones_like(counts[left]), alpha=-1)
    counts[empty] = 1


# --- distances -------------------------------------------------------------------------------------------------------


def squared_lengths(points: Tensor) -> Tensor:
    """[n]; worked out once for all rounds, since it takes as long as a small k's distances."""
    return torch.einsum("nd,nd->n", points, points)


def squared_distances_to(points: Tensor, centroids: Tensor, lengths: Tensor) -> Tensor:
    """[n, k], by one product of matrices: |x|² − 2xc + |c|². `lengths` are the |x|², [n]."""
    products = torch.addmm(centroids.square().sum(1), points, centroids.T, alpha=-2)
    return products.add_(lengths[:, None]).clamp_(min=0)


def squares_to_own(points: Tensor, centroids: Tensor, assignments: Tensor) -> Tensor:
    """[n], by differences, so that a point on its centroid is at exactly 0."""
    size = max(1, BLOCK_BYTES // (points.shape[1] * points.element_size()))
    parts = zip(points.split(size), assignments.split(size), strict=True)
    return torch.cat([(rows - centroids[places]).square().sum(1) for rows, places in parts])


def block_of(points: Tensor, centroids: Tensor) -> int:
    """How many points' distances fit into `BLOCK_BYTES`."""
    return max(1, BLOCK_BYTES // (len(centroids) * points.element_size()))
