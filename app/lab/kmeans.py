"""k-means on a caller's points: starts, Lloyd's rounds, restarts, every round kept. Knows no HTTP and no onnxruntime: a
`Step` does the arithmetic of a round, here is what it needs around it.

Rounds, tolerance and what happens to empty clusters are those of scikit-learn, which the tests hold this against.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import GoOn
from app.lab.tape import Floats

Places = NDArray[np.int64]

GRAPH = Path(__file__).with_name("lloyd.onnx")  # training/lloyd.py writes it
INPUTS = ("points", "centroids")
OUTPUTS = ["assignments", "squared_distances", "moved", "counts", "inertia"]


class Step(NamedTuple):
    """What app/lab/lloyd.onnx makes of points [n, d] and centroids [k, d]."""

    assignments: Places  # [n]: each point's nearest centroid, the first of equals
    squared_distances: Floats  # [n]: to that centroid
    moved: Floats  # [k, d]: the mean of each cluster's points; an empty cluster keeps its centroid
    counts: Places  # [k]: how many points each cluster has
    inertia: Floats  # []: the sum of the squared distances


Lloyd = Callable[[Floats, Floats], Step]


def lloyd_by(run: Callable[[list[str], Mapping[str, Any]], Any]) -> Lloyd:
    """`run` is that of a session with app/lab/lloyd.onnx."""

    def lloyd(points: Floats, centroids: Floats) -> Step:
        return Step(*run(OUTPUTS, dict(zip(INPUTS, (points, centroids), strict=True))))

    return lloyd


class Relocation(NamedTuple):
    """An empty cluster was given a point."""

    cluster: int
    point: int


@dataclass(frozen=True)
class Round:
    """Every point goes to its nearest centroid, then every centroid to the mean of its points."""

    centroids: Floats  # [k, d], as the round found them
    assignments: Places  # [n], to those
    counts: Places  # [k]
    inertia: float  # sum of the squared distances to those
    relocated: tuple[Relocation, ...]  # clusters that no point was nearest to
    shifts: Floats  # [k]: how far the round moved each centroid


@dataclass(frozen=True)
class Run:
    """`assignments` and what follows them are those of the last centroids."""

    rounds: tuple[Round, ...]
    centroids: Floats  # [k, d], where the last round left them
    assignments: Places
    counts: Places
    squared_distances: Floats
    inertia: float
    stopped: str  # "unchanged", "tolerance" or "max_rounds"

    @property
    def converged(self) -> bool:
        return self.stopped != "max_rounds"


def fit(
    lloyd: Lloyd,
    points: Floats,
    starts: list[Callable[[GoOn], Floats]],
    max_rounds: int,
    tolerance: float,
    go_on: GoOn = lambda: None,
) -> list[Run]:
    """One run from each of the starts."""
    return [run(lloyd, points, start(go_on), max_rounds, tolerance, go_on) for start in starts]


def run(
    lloyd: Lloyd, points: Floats, centroids: Floats, max_rounds: int, tolerance: float, go_on: GoOn = lambda: None
) -> Run:
    """Rounds until no point changes its cluster, or until the centroids' squared shifts, summed, are at most
    `smallest_shift`; at most `max_rounds`, one or more. `go_on` is called before each."""
    enough = smallest_shift(points, tolerance)
    rounds: list[Round] = []
    stopped, before = "max_rounds", None
    while len(rounds) < max_rounds:
        go_on()
        step = lloyd(points, centroids)
        moved, relocated = relocate_empty(points, step) if not step.counts.all() else (step.moved, ())
        shifts = np.sqrt(np.square(moved - centroids).sum(1))
        rounds.append(Round(centroids, step.assignments, step.counts, float(step.inertia), relocated, shifts))
        centroids = moved
        if before is not None and np.array_equal(step.assignments, before):
            stopped = "unchanged"
            break
        if np.square(shifts).sum() <= enough:
            stopped = "tolerance"
            break
        before = step.assignments
    go_on()
    last = lloyd(points, centroids)
    return Run(
        tuple(rounds), centroids, last.assignments, last.counts, last.squared_distances, float(last.inertia), stopped
    )


def smallest_shift(points: Floats, tolerance: float) -> float:
    """`tolerance` times the mean variance of a coordinate: the same data in other units stop in the same round."""
    return tolerance * float(points.var(0).mean())


def relocate_empty(points: Floats, step: Step) -> tuple[Floats, tuple[Relocation, ...]]:
    """Where the centroids go if some cluster is empty: it gets the point that is farthest from its own centroid, which
    leaves its old cluster; of several empty clusters the first gets the farthest. A point may have been the last of its
    cluster: that one goes where the largest cluster goes. So do empty clusters if all points lie on their centroids."""
    k = len(step.counts)
    sums, counts = np.zeros_like(step.moved), step.counts.copy()
    np.add.at(sums, step.assignments, points)
    relocated = []
    if step.squared_distances.max() > 0:
        farthest = np.argsort(-step.squared_distances, kind="stable")
        for cluster, point in zip(np.flatnonzero(counts == 0).tolist(), farthest.tolist(), strict=False):
            left = step.assignments[point]
            sums[left] -= points[point]
            counts[left] -= 1
            sums[cluster], counts[cluster] = points[point], 1
            relocated.append(Relocation(cluster, point))
    means = sums / np.maximum(counts, 1)[:, np.newaxis]
    largest = means[counts.argmax()]
    return np.array([means[each] if counts[each] else largest for each in range(k)]), tuple(relocated)


# --- starts ----------------------------------------------------------------------------------------------------------


def at_random(points: Floats, k: int, generator: "np.random.Generator", go_on: GoOn = lambda: None) -> Floats:
    """k points of which no two are equal, each set of them as likely as another: of the different points, in their
    order, those that drew the smallest numbers."""
    _, first = np.unique(points, axis=0, return_index=True)
    places = np.sort(first)
    return points[places[np.argsort(generator.random(len(places)), kind="stable")[:k]]]


def plus_plus(points: Floats, k: int, generator: "np.random.Generator", go_on: GoOn = lambda: None) -> Floats:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007, section 5): each next centroid is the best of 2 + ⌊ln k⌋ points
    drawn with a chance in proportion to their squared distance from those already chosen."""
    candidates = 2 + int(np.log(k))
    chosen = [int(generator.random() * len(points))]
    squares = _squares(points, chosen)[:, 0]
    while len(chosen) < k:
        go_on()
        cumulated = squares.cumsum()
        drawn = np.searchsorted(cumulated, generator.random(candidates) * cumulated[-1], side="right")
        # Rounding may lead beyond the last point that has any chance.
        tried = np.minimum(drawn, int(squares.nonzero()[0].max(initial=0)))
        closer = np.minimum(squares[:, np.newaxis], _squares(points, tried))
        best = int(closer.sum(0).argmin())
        squares = closer[:, best]
        chosen.append(int(tried[best]))
    return points[chosen]


def _squares(points: Floats, places: Any) -> Floats:
    """[n, len(places)], by differences: a point's equals are at exactly 0 and are never drawn."""
    differences = (points - points[place] for place in places)
    return np.stack([np.einsum("nd,nd->n", each, each) for each in differences], axis=1)
