"""What a caller asks of k-means: points and parameters out of JSON, within limits. Knows no HTTP.

The limits keep one request to about a tenth of a second of one thread, and its answer to a few megabytes.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from app.errors import ContentTooLarge, InvalidRequest
from app.lab.document import count, read_object, whole
from app.lab.tape import Floats
from app.rows import quoted

MOST_BYTES = 4_000_000  # who reads the body sees to it
MOST_POINTS, MOST_DIMENSIONS, MOST_NUMBERS = 10_000, 1_000, 100_000
MOST_CLUSTERS, MOST_ROUNDS, MOST_RESTARTS = 100, 300, 5
MOST_DISTANCES = 300_000  # points × clusters: a round has all of them in memory
MOST_SEED = 2**32 - 1
MOST_TOLERANCE = 1.0
MOST_VALUE = 1e100  # its square is a number, too
# Numbers in the answer's rounds.
MOST_TOLD = 300_000
# Units that a request may take: a round by differences takes points × (clusters + 4) × (dimensions + 8) of them, as
# measured, and some more for each cluster; most rounds go by products and take from an eighth to two thirds of that.
MOST_WORK, CLUSTER_UNITS = 100_000_000, 2_500
# In rounds, what k-means++ takes, and the look at where the last round has led.
PLUS_PLUS_ROUNDS, LAST_LOOK = 10, 1
# For telling long queues from short ones. Runs mostly end after fewer rounds than these.
UNIT_SECONDS, ROUND_SECONDS, EXPECTED_ROUNDS = 1e-9, 5e-5, 20

PLUS_PLUS, RANDOM, GIVEN = "k-means++", "random", "given"
TOLERANCE = 1e-4

Rows = list[Annotated[list[float], Field(min_length=1, max_length=MOST_DIMENSIONS)]]


@with_config(ConfigDict(extra="forbid"))
class FitRequest(TypedDict):
    """k-means on the caller's own points."""

    points: Annotated[
        Rows,
        Field(
            description=f"A row of numbers for each point, all of one length: at most {MOST_POINTS:,} points, "
            f"{MOST_DIMENSIONS:,} dimensions and {MOST_NUMBERS:,} numbers.",
            min_length=1,
            max_length=MOST_POINTS,
        ),
    ]
    k: NotRequired[
        Annotated[
            int,
            Field(
                description=f"How many clusters: at most {MOST_CLUSTERS}, with at most {MOST_DISTANCES:,} distances "
                "from points to clusters, and no more than there are different points. "
                "May be left out where `start` has the centroids.",
                ge=1,
                le=MOST_CLUSTERS,
            ),
        ]
    ]
    start: NotRequired[
        Annotated[
            Literal["k-means++", "random"] | Annotated[Rows, Field(min_length=1, max_length=MOST_CLUSTERS)],
            Field(
                description="`k-means++`: greedy k-means++, each next centroid is the best of a few points drawn with "
                "a chance in proportion to their squared distance from those already chosen. `random`: k of the "
                "different points, each set of them as likely as another. Or the centroids themselves.",
                default="k-means++",
            ),
        ]
    ]
    seed: NotRequired[
        Annotated[
            int,
            Field(description="Of the starts: the same seed, the same answer.", default=0, ge=0, le=MOST_SEED),
        ]
    ]
    max_rounds: NotRequired[
        Annotated[
            int,
            Field(
                description=f"Rounds at most, {MOST_ROUNDS} or, with many points or clusters, fewer; if left out, as "
                "many as are allowed.",
                ge=1,
                le=MOST_ROUNDS,
            ),
        ]
    ]
    tolerance: NotRequired[
        Annotated[
            float,
            Field(
                description="The rounds end when the centroids' squared shifts, summed, are at most this many times "
                "the mean variance of a coordinate; with 0 only when nothing changes any more.",
                default=TOLERANCE,
                ge=0,
                le=MOST_TOLERANCE,
            ),
        ]
    ]
    restarts: NotRequired[
        Annotated[
            int,
            Field(
                description="Runs, each from a start of its own; the one with the smallest inertia is told.",
                default=1,
                ge=1,
                le=MOST_RESTARTS,
            ),
        ]
    ]


@dataclass(frozen=True)
class Asked:
    """A request that can be answered."""

    points: Floats  # [n, d]
    k: int
    start: str
    centroids: Floats | None  # [k, d], if they are given
    seed: int
    max_rounds: int
    tolerance: float
    restarts: int

    @property
    def seconds(self) -> float:
        """As is to be expected, roughly."""
        rounds = self.restarts * (min(self.max_rounds, EXPECTED_ROUNDS) + _more_rounds(self.start))
        return rounds * (ROUND_SECONDS + UNIT_SECONDS * _units(self.points, self.k))


def read_fit(body: bytes) -> Asked:
    """Raises InvalidRequest, or ContentTooLarge beyond a limit of size, which name the culprit and what is allowed."""
    document = read_object(body, ["points"], [name for name in FitRequest.__annotations__ if name != "points"])
    points = _points(document["points"], "points")
    rows, dimensions = count(len(points), "row"), points.shape[1]
    if dimensions > MOST_DIMENSIONS or points.size > MOST_NUMBERS:
        raise ContentTooLarge(
            f"points has {rows} of {count(dimensions, 'number')}; allowed are at most {MOST_DIMENSIONS:,} in a row "
            f"and {MOST_NUMBERS:,} in all"
        )
    start, centroids = _start(document.get("start", PLUS_PLUS), points)
    k = _clusters(document, points, centroids)
    if len(points) * k > MOST_DISTANCES:
        raise ContentTooLarge(
            f"{count(len(points), 'point')} and {count(k, 'cluster')} have {len(points) * k:,} distances; at most "
            f"{MOST_DISTANCES:,} are allowed"
        )
    seed = whole(document, "seed", 0, 0, MOST_SEED)
    most, why = (MOST_RESTARTS, "") if centroids is None else (1, ", since start has the centroids")
    restarts = whole(document, "restarts", 1, 1, most, why)
    allowed = _rounds_allowed(points, k, restarts, start)
    return Asked(
        points,
        k,
        start,
        centroids,
        seed,
        _max_rounds(document, allowed, points, k, restarts),
        _tolerance(document.get("tolerance", TOLERANCE)),
        restarts,
    )


def _points(value: Any, name: str) -> Floats:
    """[n, d], both at least 1."""
    if not isinstance(value, list) or not value:
        raise InvalidRequest(f"{name} is {quoted(value)}; allowed is a list of rows of numbers, at least one")
    if len(value) > MOST_POINTS:
        raise ContentTooLarge(f"{name} has {len(value):,} rows; at most {MOST_POINTS:,} are allowed")
    for place, row in enumerate(value, start=1):
        if not isinstance(row, list) or not row:
            raise InvalidRequest(f"{name}: row {place} is {quoted(row)}; allowed is a list of numbers, at least one")
        if len(row) != len(value[0]):
            raise InvalidRequest(
                f"{name}: row {place} has {count(len(row), 'number')}, row 1 has {len(value[0])}; allowed are rows "
                "of one length"
            )
        if not {int, float}.issuperset(map(type, row)):
            column = next(column for column, each in enumerate(row, start=1) if type(each) not in (int, float))
            raise _no_number(name, place, column, row[column - 1])
    points = np.array(value, np.float64) + 0.0  # there is no −0
    wrong = np.argwhere(~(np.abs(points) <= MOST_VALUE))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise _no_number(name, row + 1, column + 1, value[row][column])
    return points


def _no_number(name: str, row: int, column: int, value: Any) -> InvalidRequest:
    return InvalidRequest(
        f"{name}: row {row}, number {column} is {quoted(value)}; "
        f"allowed is a number of −{MOST_VALUE:g} to {MOST_VALUE:g}"
    )


def _start(value: Any, points: Floats) -> tuple[str, Floats | None]:
    """Its name, and the centroids if they are given."""
    if value in (PLUS_PLUS, RANDOM):
        return str(value), None
    if not isinstance(value, list):
        raise InvalidRequest(
            f'start is {quoted(value)}; allowed is "{PLUS_PLUS}", "{RANDOM}" or a list of centroids, rows of numbers'
        )
    centroids = _points(value, "start")
    if centroids.shape[1] != points.shape[1]:
        raise InvalidRequest(
            f"start has rows of {count(centroids.shape[1], 'number')}; allowed are as many as the points have, "
            f"{points.shape[1]}"
        )
    return GIVEN, centroids


def _clusters(document: dict[str, Any], points: Floats, centroids: Floats | None) -> int:
    if centroids is None:
        k = whole(document, "k", None, 1, MOST_CLUSTERS)
        name = f"k is {k}"
    else:
        k = len(centroids)
        name = f"start has {count(k, 'centroid')}"
        if k > MOST_CLUSTERS:
            raise InvalidRequest(f"{name}; allowed are at most {MOST_CLUSTERS}")
        whole(document, "k", k, k, k, ", as many as start has centroids")
    if not _has_different(points, k):
        there = len({row.tobytes() for row in points})
        raise InvalidRequest(
            f"{name}; allowed are at most {there}, since of {count(len(points), 'point')} {there} "
            f"{'is' if there == 1 else 'are'} different"
        )
    return k


def _has_different(points: Floats, k: int) -> bool:
    """Whether there are k different ones; mostly the first points tell."""
    seen: set[bytes] = set()
    for row in points:
        seen.add(row.tobytes())
        if len(seen) >= k:
            return True
    return False


def _rounds_allowed(points: Floats, k: int, restarts: int, start: str) -> int:
    """By the work and by the length of the answer; raises ContentTooLarge if not even one is."""
    by_work = MOST_WORK // (restarts * _units(points, k)) - _more_rounds(start)
    dimensions: int = points.shape[1]
    by_length = MOST_TOLD // (len(points) + k * (dimensions + 2))
    allowed = min(MOST_ROUNDS, by_work, by_length)
    if allowed < 1:
        raise ContentTooLarge(
            f"{_size(points, k, restarts)} take more than is computed here; allowed are fewer points, dimensions, "
            "clusters or restarts"
        )
    return allowed


def _max_rounds(document: dict[str, Any], allowed: int, points: Floats, k: int, restarts: int) -> int:
    rounds = whole(document, "max_rounds", allowed, 1, MOST_ROUNDS)
    if rounds > allowed:
        raise InvalidRequest(
            f"max_rounds is {rounds}; allowed for {_size(points, k, restarts)} is 1 to {allowed}, or leave it out"
        )
    return rounds


def _size(points: Floats, k: int, restarts: int) -> str:
    return (
        f"{count(len(points), 'point')} of {count(points.shape[1], 'dimension')}, {count(k, 'cluster')} and "
        f"{count(restarts, 'restart')}"
    )


def _more_rounds(start: str) -> int:
    """What comes before and after the rounds."""
    return LAST_LOOK + (PLUS_PLUS_ROUNDS if start == PLUS_PLUS else 0)


def _units(points: Floats, k: int) -> int:
    dimensions: int = points.shape[1]
    return len(points) * (k + 4) * (dimensions + 8) + k * CLUSTER_UNITS


def _tolerance(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MOST_TOLERANCE:
        raise InvalidRequest(f"tolerance is {quoted(value)}; allowed is a number of 0 to {MOST_TOLERANCE:g}")
    return float(value)
