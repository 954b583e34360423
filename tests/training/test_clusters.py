"""What the clusters of rows answer, held against scikit-learn and against arithmetic by hand."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from training import cluster_figures, clusters, export, kmeans
from training.system import Trained, Workplace, require_floor


def train(system: clusters.Players | clusters.TShirts, tmp_path: Path) -> Trained:
    return system.train(Workplace(tmp_path, torch.device("cpu")))


@pytest.fixture(scope="module")
def players(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(clusters.Players(), tmp_path_factory.mktemp("players"))


@pytest.fixture(scope="module")
def shirts(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(clusters.TShirts(), tmp_path_factory.mktemp("shirts"))


def test_players_are_grouped_as_scikit_learn_groups_them(players: Trained) -> None:
    points = clusters.PLAYERS.numpy()
    oracle = KMeans(n_clusters=2, n_init=10, random_state=1).fit(points)
    found = clusters.clustered(clusters.PLAYERS, 2, by=0)

    require_floor(players.card)
    assert found.inertia == pytest.approx(oracle.inertia_, rel=1e-9)
    assert found.centroids.numpy() == pytest.approx(np.array(sorted(oracle.cluster_centers_.tolist())), abs=1e-6)
    assert players.card.metrics["inertia"] == pytest.approx(found.inertia, rel=1e-12)


def test_110_passes_and_3_goals_are_many_of_both(players: Trained) -> None:
    answers = export.run(players.graph, np.array([[110, 3], [45, 0]], np.float32))

    assert [players.card.labels[place] for place in answers["index"]] == [
        "many passes, many goals",
        "few passes, few goals",
    ]


def test_distances_are_euclidean_in_all_coordinates(players: Trained) -> None:
    """The course's would be √(Σ|d|), and only of the goals."""
    few, many = clusters.clustered(clusters.PLAYERS, 2, by=0).centroids.tolist()
    rows = np.array([[110, 3], many], np.float32)
    answers = export.run(players.graph, rows)

    assert answers["distances"][0] == pytest.approx(
        [np.hypot(110 - few[0], 3 - few[1]), np.hypot(110 - many[0], 3 - many[1])], abs=1e-4
    )
    assert answers["distance"] == pytest.approx(answers["distances"].min(1))
    assert answers["distance"][1] == pytest.approx(0, abs=1e-5)


def test_nearest_centre_is_told_in_the_units_of_the_rows(players: Trained, shirts: Trained) -> None:
    passes_and_goals = clusters.clustered(clusters.PLAYERS, 2, by=0).centroids.numpy()
    bodies = clusters.drawn_bodies()
    of_each_size = export.run(shirts.graph, bodies.float().numpy())
    rows = np.array([[110, 3], [45, 0]], np.float32)

    assert export.run(players.graph, rows)["centroid"] == pytest.approx(passes_and_goals[[1, 0]], rel=1e-6)
    for size in range(4):
        members = of_each_size["index"] == size
        assert of_each_size["centroid"][members] == pytest.approx(
            np.tile(bodies[members].mean(0).numpy(), (members.sum(), 1)), rel=1e-3
        )


def test_course_starts_in_the_players_ranges_and_gets_to_the_best_in_its_five_rounds() -> None:
    start = clusters.course_start()
    inertias = [each.inertia for each in islice(kmeans.rounds(clusters.PLAYERS, start), clusters.COURSE_ROUNDS)]

    assert bool(((start >= clusters.PLAYERS.amin(0)) & (start <= clusters.PLAYERS.amax(0))).all())
    assert inertias == sorted(set(inertias), reverse=True)
    assert inertias[-1] == pytest.approx(kmeans.kmeans(clusters.PLAYERS, 2).inertia)


def test_bodies_are_drawn_with_the_published_means_and_spreads() -> None:
    men, women = clusters.drawn_bodies().split(clusters.OF_EACH)
    for drawn, group in ((men, clusters.MEN), (women, clusters.WOMEN)):
        assert drawn.mean(0).tolist() == pytest.approx([group.height[0], group.weight[0]], rel=0.02)
        assert drawn.std(0).tolist() == pytest.approx([group.height[1], group.weight[1]], rel=0.05)
        assert float(torch.corrcoef(drawn.T)[0, 1]) == pytest.approx(clusters.CORRELATION, abs=0.05)


def test_sizes_grow(shirts: Trained) -> None:
    rows = np.array([[158, 52], [170, 68], [178, 82], [186, 108]], np.float32)
    answers = export.run(shirts.graph, rows)

    require_floor(shirts.card)
    assert answers["index"][0] == 0
    assert answers["index"][-1] == 3
    assert answers["index"].tolist() == sorted(answers["index"].tolist())


def test_units_do_not_weigh(shirts: Trained) -> None:
    """Distances are in standard deviations: a centimetre and a kilogram count by how people differ in them."""
    bodies = clusters.drawn_bodies()
    answers = export.run(shirts.graph, bodies.float().numpy())
    standardised = (bodies - bodies.mean(0)) / bodies.std(0, correction=0)
    centres = torch.stack([standardised[answers["index"] == size].mean(0) for size in range(4)])

    assert answers["distances"] == pytest.approx(torch.cdist(standardised, centres).numpy(), abs=1e-3)


def test_rounds_that_are_drawn_end_in_the_sizes_that_are_served(shirts: Trained) -> None:
    bodies = clusters.drawn_bodies()
    rounds = clusters.shirt_rounds(bodies)
    served = export.run(shirts.graph, bodies.float().numpy())["index"]

    assert torch.equal(rounds[-1].assignments, torch.from_numpy(served))
    assert torch.equal(rounds[-1].assignments, rounds[-2].assignments)
    for size in range(4):
        torch.testing.assert_close(rounds[-1].moved[size], bodies[rounds[-1].assignments == size].mean(0))
    assert len(rounds) > max(clusters.ROUNDS_SHOWN)
    assert "rounds" in shirts.figures


def test_rounds_are_drawn_by_their_numbers() -> None:
    points, names = clusters.PLAYERS.numpy(), ("passes", "goals")
    course = list(islice(kmeans.rounds(clusters.PLAYERS, clusters.course_start()), 5))
    drawn = cluster_figures.round_by_round(points, course, names)

    assert drawn == cluster_figures.round_by_round(points, course, names, shown=(1, 2, 3, 4, 5))
    assert drawn != cluster_figures.round_by_round(points, course, names, shown=(1, 2, 3, 5))
