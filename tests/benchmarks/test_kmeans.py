"""Ours beside scikit-learn's on a few points, and what is kept of it."""

import json

import pytest
import torch
from sklearn.cluster import KMeans

from benchmarks import kmeans
from benchmarks.kmeans import Compared, Run, compare, document


def test_both_find_the_same_clusters_and_are_timed() -> None:
    corners = torch.tensor([[0.0, 0.0], [0.0, 50.0], [50.0, 0.0]]).repeat_interleave(20, 0)
    points = corners + torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
    found = compare("corners", points, 3)
    oracle = KMeans(3, n_init=10, random_state=4).fit(points.numpy())

    assert (found.data, found.k, found.pictures) == ("corners", 3, 60)
    assert found.scikit_learn.inertia == pytest.approx(oracle.inertia_, rel=1e-5)
    assert found.ours.inertia == pytest.approx(oracle.inertia_, rel=1e-5)
    assert found.ratio == pytest.approx(1, rel=1e-5)
    assert min(found.ours.seconds, found.scikit_learn.seconds) > 0
    assert (found.ours.starts, found.scikit_learn.starts) == (kmeans.RESTARTS, 10)


def test_result_is_told_and_kept() -> None:
    found = Compared("mnist", 10, 60_000, Run(2_020_000.0, 60, 4, 9.6), Run(2_000_000.0, 70, 10, 61.2))

    assert str(found) == (
        "mnist, k = 10: ours 2,020,000 (60 rounds, best of 4, 10 s), "
        "scikit-learn 2,000,000 (70 rounds, best of 10, 61 s): 1.01000"
    )
    assert json.loads(document([found], {"threads": 1})) == {
        "threads": 1,
        "compared": [
            {
                **{"data": "mnist", "k": 10, "pictures": 60_000},
                "ours": {"inertia": 2_020_000.0, "rounds": 60, "starts": 4, "seconds": 9.6},
                "scikit_learn": {"inertia": 2_000_000.0, "rounds": 70, "starts": 10, "seconds": 61.2},
            }
        ],
    }
