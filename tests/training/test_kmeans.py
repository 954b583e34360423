"""k-means against scikit-learn's, and one round of it as a graph against NumPy."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from torch import Tensor

from training import kmeans, lloyd
from training.export import opened


def blobs(seed: int, n: int, d: int, spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    middles = torch.randn(4, d, generator=generator, dtype=torch.float64) * 4
    which = torch.randint(4, (n,), generator=generator)
    return middles[which] + spread * torch.randn(n, d, generator=generator, dtype=torch.float64)


def theirs(points: Tensor, start: Tensor, tolerance: float = kmeans.TOLERANCE, max_rounds: int = 300) -> KMeans:
    fitted = KMeans(len(start), init=start.numpy(), n_init=1, tol=tolerance, max_iter=max_rounds, algorithm="lloyd")
    return fitted.fit(points.numpy())


def assert_same(ours: kmeans.Clustering, oracle: KMeans) -> None:
    """Up to the order of the clusters: which of several empty ones goes where, scikit-learn leaves open."""
    between = np.square(ours.centroids.numpy()[:, None] - oracle.cluster_centers_[None]).sum(2)
    mine, its = linear_sum_assignment(between)
    assert between[mine, its] == pytest.approx(0, abs=1e-18)
    assert ours.inertia == pytest.approx(oracle.inertia_, rel=1e-12)
    assert ours.rounds == oracle.n_iter_
    assert np.array_equal(its[ours.assignments.numpy()], oracle.labels_)


@pytest.mark.parametrize("seed", range(20))
def test_rounds_from_the_same_centroids_end_as_scikit_learns(seed: int) -> None:
    points = blobs(seed, n=60 + 17 * seed, d=1 + seed % 5)
    start = kmeans.at_random(points, 2 + seed % 7, torch.Generator().manual_seed(seed))
    ours, oracle = kmeans.lloyd(points, start), theirs(points, start)

    assert np.abs(ours.centroids.numpy() - oracle.cluster_centers_).max() < 1e-9
    assert_same(ours, oracle)


@pytest.mark.parametrize("tolerance", [0.0, 1e-4, 1e-2, 1.0])
def test_tolerance_is_scikit_learns(tolerance: float) -> None:
    points = blobs(3, n=400, d=2, spread=4)
    start = kmeans.at_random(points, 6, torch.Generator().manual_seed(3))

    assert_same(kmeans.lloyd(points, start, tolerance=tolerance), theirs(points, start, tolerance))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_rounds_are_limited_as_scikit_learns() -> None:
    points = blobs(4, n=400, d=2, spread=4)
    start = kmeans.at_random(points, 6, torch.Generator().manual_seed(4))
    ours = kmeans.lloyd(points, start, max_rounds=3)

    assert not ours.converged
    assert_same(ours, theirs(points, start, max_rounds=3))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("far", [1, 3])
def test_empty_clusters_go_where_scikit_learn_puts_them(seed: int, far: int) -> None:
    points = blobs(seed, n=80, d=2)
    nobodys = torch.full((far, 2), 1e3, dtype=torch.float64) * torch.arange(1, far + 1)[:, None]
    start = torch.cat([points[:3], nobodys])
    first = next(kmeans.rounds(points, start))

    assert len(first.assignments.unique()) == 3
    assert_same(kmeans.lloyd(points, start), theirs(points, start))


@pytest.mark.parametrize("seed", range(10))
def test_duplicates_among_the_points_change_nothing(seed: int) -> None:
    points = blobs(seed, n=30, d=2).repeat_interleave(5, 0)
    start = points[torch.randperm(150, generator=torch.Generator().manual_seed(seed))[:8]]

    assert_same(kmeans.lloyd(points, start), theirs(points, start))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_more_clusters_than_different_points_end_without_a_distance() -> None:
    points = torch.tensor([[0.0, 0], [4, 0], [4, 0], [4, 0]], dtype=torch.float64)
    ours = kmeans.kmeans(points, 3)

    assert ours.inertia == 0
    assert ours.centroids.isfinite().all()
    assert theirs(points, points[:3]).inertia_ == 0


def test_four_points_by_hand() -> None:
    """Middles of the two short sides of a rectangle; from the middles of the long sides it never gets there."""
    points = torch.tensor([[0.0, 0], [0, 2], [6, 0], [6, 2]], dtype=torch.float64)
    stuck = kmeans.lloyd(points, torch.tensor([[3.0, 0], [3, 2]], dtype=torch.float64))
    best = kmeans.kmeans(points, 2)

    assert stuck.inertia == 36
    assert best.inertia == 4
    assert sorted(best.centroids.tolist()) == [[0, 1], [6, 1]]


def test_every_round_is_no_worse_than_the_one_before() -> None:
    points = blobs(5, n=500, d=3, spread=3)
    ours = kmeans.kmeans(points, 8, restarts=1, tolerance=0)

    assert ours.converged
    assert list(ours.inertias) == sorted(ours.inertias, reverse=True)
    assert ours.inertias[-1] == pytest.approx(ours.inertia)


@pytest.mark.parametrize("seed", range(3))
def test_best_of_ten_is_as_good_as_scikit_learns(seed: int) -> None:
    points = blobs(seed, n=2_000, d=8, spread=3)
    oracle = KMeans(12, n_init=10, random_state=seed).fit(points.numpy())

    assert kmeans.kmeans(points, 12, seed).inertia <= 1.01 * oracle.inertia_


def test_plus_plus_begins_nearer_to_the_end_than_chance() -> None:
    """Sixteen far, tight groups: k-means++ finds (nearly) all of them, a random choice about two thirds."""
    generator = torch.Generator().manual_seed(0)
    middles = torch.rand(16, 2, generator=generator) * 1_000
    points = middles.repeat_interleave(50, 0) + torch.randn(800, 2, generator=generator)

    def inertia(start: kmeans.Start) -> float:
        return float(np.median([next(kmeans.rounds(points, start(points, 16, generator))).inertia for _ in range(20)]))

    assert inertia(kmeans.plus_plus) < inertia(kmeans.at_random) / 50


def test_plus_plus_chooses_different_points_even_among_many_duplicates() -> None:
    points = torch.tensor([[0.0]] * 1_000 + [[1.0], [2.0], [3.0]])
    chosen = kmeans.plus_plus(points, 4, torch.Generator().manual_seed(0))

    assert sorted(chosen[:, 0].tolist()) == [0, 1, 2, 3]


def test_same_seed_gives_the_same_and_another_another() -> None:
    points = blobs(6, n=300, d=2, spread=4)
    once, again, other = (kmeans.kmeans(points, 9, seed, restarts=1) for seed in (1, 1, 2))

    assert torch.equal(once.centroids, again.centroids)
    assert not torch.equal(once.centroids, other.centroids)


def test_size_of_a_block_does_not_change_the_round() -> None:
    points = blobs(7, n=1_000, d=5, spread=3)
    start = points[:11]
    whole = next(kmeans.rounds(points, start, block=1_000))
    for block in (1, 7, 999):
        parts = next(kmeans.rounds(points, start, block=block))
        assert torch.equal(parts.assignments, whole.assignments)
        assert torch.allclose(parts.moved, whole.moved, rtol=0, atol=1e-12)
        assert parts.inertia == pytest.approx(whole.inertia, rel=1e-12)


def test_block_holds_no_more_distances_than_it_may() -> None:
    points, centroids = torch.zeros(10, 3), torch.zeros(64, 3)

    assert kmeans.block_of(points, centroids) * 64 * 4 == kmeans.BLOCK_BYTES


@pytest.mark.parametrize("k", [0, 5])
def test_number_of_clusters_is_checked(k: int) -> None:
    with pytest.raises(ValueError, match=f"k = {k}: allowed is 1 to the number of points, 4"):
        kmeans.kmeans(torch.zeros(4, 2), k)


# --- one round as a graph --------------------------------------------------------------------------------------------

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    """Of the committed file."""
    return opened(lloyd.WHERE.read_bytes())


def by_numpy(points: Array, centroids: Array) -> dict[str, Array]:
    squares = np.square(points[:, None] - centroids[None]).sum(2)
    assignments = squares.argmin(1)
    members = [points[assignments == cluster] for cluster in range(len(centroids))]
    return {
        "assignments": assignments,
        "squared_distances": squares.min(1),
        "moved": np.stack([rows.mean(0) if len(rows) else own for rows, own in zip(members, centroids, strict=True)]),
        "counts": np.array([len(rows) for rows in members]),
        "inertia": squares.min(1).sum(),
    }


@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (40, 2, 2), (500, 7, 20), (9, 30, 9), (3, 1, 8)])
def test_graph_gives_the_round_that_numpy_gives(session: ort.InferenceSession, n: int, d: int, k: int) -> None:
    generator = np.random.default_rng(n)
    points, centroids = generator.normal(1e3, 1, (n, d)), generator.normal(1e3, 1, (k, d))
    answers = session.run(list(lloyd.OUTPUTS), {"points": points, "centroids": centroids})

    for (name, wanted), given in zip(by_numpy(points, centroids).items(), answers, strict=True):
        assert given.dtype == wanted.dtype, name
        assert given == pytest.approx(wanted, rel=1e-12, abs=1e-9), name


@pytest.mark.parametrize("far", [0, 1e6, 1e10, 1e12, 1e100])
def test_graph_finds_the_nearest_beside_a_far_point(session: ort.InferenceSession, far: float) -> None:
    """Two blobs, each about its centroid, and a point alone."""
    generator = np.random.default_rng(0)
    near = generator.normal(size=(1_000, 2)) + np.repeat([[0], [5]], 500, axis=0)
    points, centroids = np.vstack([near, [[far, 0]]]), np.array([[0.0, 0], [5, 5], [far, 0]])
    [assignments] = session.run(["assignments"], {"points": points, "centroids": centroids})

    assert np.array_equal(assignments, by_numpy(points, centroids)["assignments"])


@pytest.mark.parametrize("d", [1, 3, 50])
@pytest.mark.parametrize("away", [0, 1, 1e4, 1e8, 1e13])
def test_no_centroid_is_nearer_than_the_graphs_but_for_the_last_digit(
    session: ort.InferenceSession, d: int, away: float
) -> None:
    """Points between two centroids, up to rounding, with distances as fractions."""
    generator = np.random.default_rng(d)
    centroids = generator.normal(size=(6, d)) + away * generator.normal(size=(6, 1))
    first, second = generator.integers(6, size=(2, 60))
    points = (centroids[first] + centroids[second]) / 2 * (1 + generator.normal(size=(60, 1)) * 1e-14)
    points[::2] += generator.normal(size=(30, d))  # and others
    answers = session.run(["assignments", "squared_distances"], {"points": points, "centroids": centroids})

    for point, cluster, square in zip(points, *answers, strict=True):
        squares = [sum((Fraction(x) - Fraction(c)) ** 2 for x, c in zip(point, row, strict=True)) for row in centroids]
        assert squares[cluster] <= min(squares) * (1 + Fraction((d + 4) * 2.0**-52))
        assert square == pytest.approx(float(squares[cluster]), rel=(d + 4) * 2.0**-52)


@pytest.mark.parametrize("scale", [1e-170, 1e-161, 1e-160, 1e-158, 1e90])
def test_graph_finds_the_nearest_where_squares_are_hardly_numbers(session: ort.InferenceSession, scale: float) -> None:
    generator = np.random.default_rng(0)
    points, centroids = generator.normal(0, scale, (200, 1)), generator.normal(0, scale, (8, 1))
    [assignments] = session.run(["assignments"], {"points": points, "centroids": centroids})

    assert np.array_equal(assignments, by_numpy(points, centroids)["assignments"])


@pytest.mark.parametrize("far", [0, 1e12], ids=["by products", "by differences"])
def test_graph_gives_the_round_that_pytorch_gives(session: ort.InferenceSession, far: float) -> None:
    points = blobs(4, n=200, d=3)
    points[0] += far
    centroids = points[-5:].clone()  # no view: torch.cond takes none
    wanted = lloyd.LloydRound()(points, centroids)
    answers = session.run(list(lloyd.OUTPUTS), {"points": points.numpy(), "centroids": centroids.numpy()})

    assert np.array_equal(answers[0], wanted[0])
    for mine, theirs in zip(answers[1:], wanted[1:], strict=True):
        assert mine == pytest.approx(theirs.numpy(), rel=1e-13)


def test_graph_leaves_an_empty_cluster_where_it_is(session: ort.InferenceSession) -> None:
    points, centroids = np.array([[0.0, 0], [2, 0]]), np.array([[1.0, 1], [50, 50]])
    moved, counts = session.run(["moved", "counts"], {"points": points, "centroids": centroids})

    assert moved.tolist() == [[1, 0], [50, 50]]
    assert counts.tolist() == [2, 0]


def test_rounds_of_the_graph_end_where_the_tensors_do(session: ort.InferenceSession) -> None:
    points = blobs(8, n=300, d=2, spread=3)
    start = kmeans.at_random(points, 5, torch.Generator().manual_seed(8))
    ours = kmeans.lloyd(points, start, tolerance=0)
    centroids = start.numpy()
    for _ in range(ours.rounds):
        [centroids] = session.run(["moved"], {"points": points.numpy(), "centroids": centroids})

    assert centroids == pytest.approx(ours.centroids.numpy(), abs=1e-9)


def test_committed_graph_is_what_the_command_writes(session: ort.InferenceSession, tmp_path: Path) -> None:
    assert lloyd.main(["--out", str(tmp_path / "new" / "lloyd.onnx")]) == 0
    new = opened((tmp_path / "new" / "lloyd.onnx").read_bytes())
    points = blobs(9, n=50, d=3).numpy()
    given = {"points": points, "centroids": points[:4]}

    for mine, committed in zip(new.run(None, given), session.run(None, given), strict=True):
        assert np.array_equal(mine, committed)
