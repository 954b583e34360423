"""Starts and rounds by the exported graph, held against scikit-learn, against NumPy, and against rounds by hand."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans

from app.lab.kmeans import GRAPH, Lloyd, Relocation, Run, at_random, lloyd_by, plus_plus, run
from app.lab.tape import Floats
from app.runtime import CPU, open_session
from training.clusters import COURSE_ROUNDS, PLAYERS, course_start


@pytest.fixture(scope="module")
def lloyd() -> Lloyd:
    return lloyd_by(open_session(GRAPH.read_bytes(), [CPU]).run)


def blobs(seed: int, n: int, d: int, spread: float = 1.0) -> Floats:
    generator = np.random.default_rng(seed)
    centres = generator.uniform(-5, 5, (6, d))
    return centres[generator.integers(6, size=n)] + spread * generator.normal(size=(n, d))


def theirs(points: Floats, start: Floats, tolerance: float = 1e-4, max_rounds: int = 300) -> Any:
    fitted = KMeans(len(start), init=start, n_init=1, tol=tolerance, max_iter=max_rounds, algorithm="lloyd")
    return fitted.fit(points)


def assert_same(ours: Run, oracle: Any) -> None:
    assert len(ours.rounds) == oracle.n_iter_
    assert ours.centroids == pytest.approx(oracle.cluster_centers_, rel=1e-9, abs=1e-9)
    assert ours.inertia == pytest.approx(oracle.inertia_, rel=1e-9, abs=1e-9)
    assert np.array_equal(ours.assignments, oracle.labels_)
    assert np.array_equal(ours.counts, np.bincount(oracle.labels_, minlength=len(ours.counts)))


@pytest.mark.parametrize("seed", range(30))
def test_run_ends_as_scikit_learns_from_the_same_centroids(lloyd: Lloyd, seed: int) -> None:
    generator = np.random.default_rng(1_000 + seed)
    n, d, k = (int(generator.integers(low, high)) for low, high in ((20, 300), (1, 8), (1, 9)))
    points = blobs(seed, n, d)
    start = points[generator.permutation(n)[:k]]
    tolerance = float(generator.choice([0, 1e-4, 1e-2]))

    assert_same(run(lloyd, points, start, 300, tolerance), theirs(points, start, tolerance))


@pytest.mark.parametrize("seed", range(10))
def test_every_round_is_scikit_learns(lloyd: Lloyd, seed: int) -> None:
    """What each round led to, by letting theirs stop there."""
    points = blobs(seed, 150, 2, spread=2.0)
    start = points[:4]
    ours = run(lloyd, points, start, 300, 0)
    after = [each.centroids for each in ours.rounds[1:]] + [ours.centroids]

    assert len(ours.rounds) > 3
    for number, centroids in enumerate(after, start=1):
        assert centroids == pytest.approx(theirs(points, start, 0, number).cluster_centers_, rel=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_duplicates_change_nothing(lloyd: Lloyd, seed: int) -> None:
    points = np.repeat(blobs(seed, 12, 2), 10, axis=0)
    start = points[::10][:5]

    assert_same(run(lloyd, points, start, 300, 1e-4), theirs(points, start))


@pytest.mark.parametrize("far", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_empty_clusters_go_where_scikit_learn_puts_them(lloyd: Lloyd, seed: int, far: int) -> None:
    points = blobs(seed, 80, 2)
    start = np.concatenate([points[:3], np.full((far, 2), 1e3) + np.arange(far)[:, np.newaxis]])
    ours = run(lloyd, points, start, 300, 1e-4)
    first = ours.rounds[0]
    squares = np.square(points - first.centroids[first.assignments]).sum(1)

    assert_same(ours, theirs(points, start))
    assert first.relocated == tuple(
        Relocation(3 + place, each) for place, each in enumerate((-squares).argsort()[:far])
    )
    assert first.counts.tolist()[3:] == [0] * far


def test_ties_go_to_the_first_centroid(lloyd: Lloyd) -> None:
    """On a grid about 0, whose mean and distances are exact."""
    points = np.array([[x, y] for x in range(-2, 3) for y in range(-2, 3)], np.float64)
    start = np.array([[-1, 0], [1, 0], [0, 2]], np.float64)
    first = run(lloyd, points, start, 1, 0).rounds[0]
    distances = np.square(points[:, np.newaxis] - start).sum(2)

    assert np.array_equal(first.assignments, distances.argmin(1))  # NumPy's is the first of equals
    assert (np.sort(distances, axis=1)[:, 0] == np.sort(distances, axis=1)[:, 1]).sum() > 2


def test_four_points_by_hand(lloyd: Lloyd) -> None:
    points = np.array([[0, 0], [0, 2], [3, 0], [3, 2]], np.float64)
    ours = run(lloyd, points, np.array([[0, 0], [0, 2]], np.float64), 9, 0)

    assert [each.centroids.tolist() for each in ours.rounds] == [[[0, 0], [0, 2]], [[1.5, 0], [1.5, 2]]]
    assert [each.assignments.tolist() for each in ours.rounds] == [[0, 1, 0, 1]] * 2
    assert [each.inertia for each in ours.rounds] == [18, 9]
    assert [each.shifts.tolist() for each in ours.rounds] == [[1.5, 1.5], [0, 0]]
    assert (ours.stopped, ours.converged, ours.inertia) == ("unchanged", True, 9)
    assert ours.squared_distances.tolist() == [2.25] * 4


def test_course_data_in_five_rounds_and_its_question(lloyd: Lloyd) -> None:
    """SYSTEMS: 40 players, random centres, 5 rounds, then (110, 3)."""
    points, start = PLAYERS.numpy(), course_start().numpy()
    ours = run(lloyd, points, start, COURSE_ROUNDS, 0)
    oracle = theirs(points, start, 0, COURSE_ROUNDS)
    asked = lloyd(np.array([[110.0, 3.0]]), ours.centroids)

    assert len(ours.rounds) == COURSE_ROUNDS
    assert_same(ours, oracle)
    assert asked.assignments.tolist() == oracle.predict([[110.0, 3.0]]).tolist() == [1]
    assert (ours.centroids[1] > ours.centroids[0]).all()


@pytest.mark.parametrize(("tolerance", "max_rounds", "stopped"), [(1, 9, "tolerance"), (0, 2, "max_rounds")])
def test_rounds_say_why_they_ended(lloyd: Lloyd, tolerance: float, max_rounds: int, stopped: str) -> None:
    points = blobs(0, 200, 2, spread=3.0)
    ours = run(lloyd, points, points[:5], max_rounds, tolerance)

    assert ours.stopped == stopped
    assert ours.converged == (stopped != "max_rounds")
    assert_same(ours, theirs(points, points[:5], tolerance, max_rounds))


def test_points_far_from_zero_keep_their_digits(lloyd: Lloyd) -> None:
    points = blobs(3, 100, 2)
    near, far = (run(lloyd, points + shift, points[:4] + shift, 300, 0) for shift in (0, 1e6))

    assert np.array_equal(near.assignments, far.assignments)
    assert far.inertia == pytest.approx(near.inertia, rel=1e-7)


def test_far_point_does_not_blur_the_others(lloyd: Lloyd) -> None:
    """Squares of 1e10 have no digits left for what is between 0 and 12."""
    points = np.array([[1e10], [0], [1], [2], [3], [10], [11], [12]])
    ours = run(lloyd, points, np.array([[1e10], [0], [12]]), 300, 0)

    assert (ours.stopped, len(ours.rounds)) == ("unchanged", 2)
    assert ours.centroids.tolist() == [[1e10], [1.5], [11]]
    assert ours.inertia == 7


def test_inertia_never_grows(lloyd: Lloyd) -> None:
    for seed in range(20):
        points = blobs(seed, 100, 3, spread=2.0)
        ours = run(lloyd, points, points[:6], 300, 0)
        inertias = [*(each.inertia for each in ours.rounds), ours.inertia]

        assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(inertias))


def test_point_that_was_the_last_of_its_cluster_leaves_it_to_the_largest(lloyd: Lloyd) -> None:
    """As training/kmeans.py has it: the far point was alone in cluster 1, and is taken for the empty cluster 2."""
    points = np.array([[0.0], [1], [2], [50]])
    first = run(lloyd, points, np.array([[1.0], [40], [1e3]]), 1, 0)

    assert first.rounds[0].relocated == (Relocation(2, 3),)
    assert first.centroids.tolist() == [[1], [1], [50]]


@pytest.mark.parametrize("draw", [at_random, plus_plus])
def test_starts_are_different_points_and_the_seeds_own(draw: Any) -> None:
    points = np.repeat(blobs(1, 12, 2), 3, axis=0)
    drawn = [draw(points, 9, np.random.default_rng(seed)) for seed in (0, 0, 1)]

    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    for each in drawn:
        assert len(np.unique(each, axis=0)) == 9
        assert {tuple(row) for row in each} <= {tuple(row) for row in points}


@pytest.mark.parametrize("rows", [[[0], [1], [2], [3]], [[0], [1], [2], [3]] + 9 * [[1]]])
def test_random_start_takes_every_set_of_different_points_as_often(rows: list[list[int]]) -> None:
    points = np.array(rows, np.float64)
    generator = np.random.default_rng(0)
    sets = [tuple(sorted(at_random(points, 2, generator)[:, 0])) for _ in range(6_000)]
    counts = [sets.count(each) for each in set(sets)]

    assert len(counts) == 6
    assert min(counts) > 900 and max(counts) < 1_100  # 1,000 each; a standard deviation is 29


def test_plus_plus_draws_by_squared_distance() -> None:
    """With k = 2 of three points, two candidates of which the better is taken: chances by hand.

    Points 0, 1 and 3. After 0 the others are drawn with 1/10 and 9/10; 1 leaves 4, 3 leaves 1, and wins unless both
    are 1."""
    points = np.array([[0.0], [1], [3]])
    generator = np.random.default_rng(0)
    drawn = [plus_plus(points, 2, generator)[:, 0].tolist() for _ in range(6_000)]
    after_zero = [second for first, second in drawn if first == 0]

    assert len(after_zero) == pytest.approx(2_000, abs=150)
    assert after_zero.count(1.0) / len(after_zero) == pytest.approx(0.01, abs=0.008)


def test_plus_plus_begins_nearer_than_chance(lloyd: Lloyd) -> None:
    def inertia(draw: Any) -> float:
        points = blobs(2, 300, 2, spread=0.2)
        starts = [draw(points, 6, np.random.default_rng(seed)) for seed in range(20)]
        return float(np.mean([run(lloyd, points, start, 1, 0).rounds[0].inertia for start in starts]))

    assert inertia(plus_plus) < inertia(at_random) / 2


@pytest.mark.parametrize("draw", [at_random, plus_plus])
def test_differences_whose_squares_are_nothing_are_no_failure(lloyd: Lloyd, draw: Any) -> None:
    points = np.array([[0.0], [1e-200], [2e-200]])
    ours = run(lloyd, points, draw(points, 3, np.random.default_rng(0)), 5, 0)

    assert ours.inertia == 0
    assert np.isfinite(ours.centroids).all()


def test_what_go_on_raises_ends_the_rounds(lloyd: Lloyd) -> None:
    calls = 0

    def go_on() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise TimeoutError

    points = blobs(0, 200, 2, spread=3.0)
    with pytest.raises(TimeoutError):
        run(lloyd, points, points[:5], 300, 0, go_on)
    calls = 0
    with pytest.raises(TimeoutError):
        plus_plus(points, 5, np.random.default_rng(0), go_on)
