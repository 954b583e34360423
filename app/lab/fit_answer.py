"""What a caller of k-means is answered: every round, why the rounds ended, and where. Knows no HTTP."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from app.errors import GoOn
from app.lab.fit_request import PLUS_PLUS, Asked, Rows
from app.lab.kmeans import Lloyd, Round, Run, at_random, fit, plus_plus, smallest_shift
from app.lab.tape import Floats


class Relocated(TypedDict):
    """A cluster that no point was nearest to: it was given the point farthest from its own centroid."""

    cluster: int
    point: int


class RoundTold(TypedDict):
    """Every point goes to its nearest centroid, then every centroid to the mean of its points."""

    round: Annotated[int, Field(description="1 is the first.")]
    centroids: Annotated[Rows, Field(description="As the round found them; those of the first are the start.")]
    assignments: Annotated[
        list[int],
        Field(description="Of each point, its nearest centroid's number; the first of equals. Numbers begin with 0."),
    ]
    counts: Annotated[list[int], Field(description="How many points each cluster has by these assignments.")]
    inertia: Annotated[float, Field(description="Sum of the points' squared distances to their centroids.")]
    shifts: Annotated[list[float], Field(description="How far the round moved each centroid, Euclidean.")]
    relocated: Annotated[
        list[Relocated],
        Field(description="Empty clusters and the points they got; without any, such a centroid went elsewhere."),
    ]


class Stopped(TypedDict):
    code: Annotated[str, Field(description="`unchanged`, `tolerance` or `max_rounds`.", examples=["unchanged"])]
    message: str


class RunTold(TypedDict):
    """One of the restarts."""

    rounds: int
    inertia: float
    converged: bool


class Fit(TypedDict):
    """`assignments` and what follows them are those of the final centroids."""

    k: Annotated[int, Field(description="How many clusters.")]
    start: Annotated[str, Field(description="`k-means++`, `random` or `given`.")]
    seed: Annotated[int, Field(description="Of the starts.")]
    max_rounds: Annotated[int, Field(description="As asked for, else as many as are allowed for so many points.")]
    tolerance: Annotated[float, Field(description="In mean variances of a coordinate.")]
    smallest_shift: Annotated[
        float, Field(description="`tolerance` times the mean variance: what the squared shifts, summed, are held to.")
    ]
    rounds: Annotated[list[RoundTold], Field(description="Every one of them, of the run that is told.")]
    converged: Annotated[bool, Field(description="Whether the rounds ended by themselves.")]
    stopped: Annotated[Stopped, Field(description="Why they ended.")]
    centroids: Annotated[Rows, Field(description="Where the last round left them, in the units of the points.")]
    assignments: Annotated[list[int], Field(description="Of each point, the number of its cluster.")]
    counts: Annotated[list[int], Field(description="How many points each cluster has.")]
    squared_distances: Annotated[list[float], Field(description="Of each point, to its centroid; Euclidean, squared.")]
    inertia: Annotated[float, Field(description="Their sum.")]
    total_inertia: Annotated[
        float, Field(description="Of a single cluster: the sum of squared distances to the mean of all points.")
    ]
    run: Annotated[int, Field(description="Which of `runs` is told; 0 is the first.")]
    runs: Annotated[list[RunTold], Field(description="What each restart came to.")]


MESSAGES = {
    "unchanged": "No point changed its cluster in the last round.",
    "tolerance": "The last round moved the centroids by no more than the tolerance.",
    "max_rounds": "The rounds were over before the centroids had come to rest; more of them may lower the inertia.",
}


def answer(asked: Asked, lloyd: Lloyd, go_on: GoOn = lambda: None) -> Fit:
    """`go_on` is called before each piece of work, and what it raises ends it."""
    runs = fit(lloyd, asked.points, _starts(asked), asked.max_rounds, asked.tolerance, go_on)
    best = min(range(len(runs)), key=lambda place: runs[place].inertia)
    return _told(asked, runs, best)


def _starts(asked: Asked) -> list[Callable[[GoOn], Floats]]:
    if asked.centroids is not None:
        given = asked.centroids
        return [lambda go_on: given]
    generator = np.random.default_rng(asked.seed)
    draw = plus_plus if asked.start == PLUS_PLUS else at_random
    return [partial(draw, asked.points, asked.k, generator)] * asked.restarts


def _told(asked: Asked, runs: list[Run], best: int) -> Fit:
    run = runs[best]
    about_the_mean = asked.points - asked.points.mean(0)
    return Fit(
        k=asked.k,
        start=asked.start,
        seed=asked.seed,
        max_rounds=asked.max_rounds,
        tolerance=asked.tolerance,
        smallest_shift=smallest_shift(asked.points, asked.tolerance),
        rounds=[_round(number, each) for number, each in enumerate(run.rounds, start=1)],
        converged=run.converged,
        stopped=Stopped(code=run.stopped, message=MESSAGES[run.stopped]),
        centroids=run.centroids.tolist(),
        assignments=run.assignments.tolist(),
        counts=run.counts.tolist(),
        squared_distances=run.squared_distances.tolist(),
        inertia=run.inertia,
        total_inertia=float(np.square(about_the_mean).sum()),
        run=best,
        runs=[RunTold(rounds=len(each.rounds), inertia=each.inertia, converged=each.converged) for each in runs],
    )


def _round(number: int, each: Round) -> RoundTold:
    return RoundTold(
        round=number,
        centroids=each.centroids.tolist(),
        assignments=each.assignments.tolist(),
        counts=each.counts.tolist(),
        inertia=each.inertia,
        shifts=each.shifts.tolist(),
        relocated=[Relocated(cluster=cluster, point=point) for cluster, point in each.relocated],
    )
