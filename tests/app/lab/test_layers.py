"""Layers of a graph: distances by hand, no two things in one place, and edges that pass by."""

import random
from itertools import combinations

import pytest

from app.lab.layers import SHARED, Place, Room, arrange

ROOM = Room(node=10, passage=2, gap=1)


def test_layers_are_distances_and_leaves_stand_before_their_first_use() -> None:
    layout = arrange([[], [0], [1], [], [2, 3], [0, 4]], ROOM)

    assert [place.layer for place in layout.nodes] == [0, 1, 2, 2, 3, 4]


def test_middles_of_layers_are_under_one_another() -> None:
    layout = arrange([[], [0], [0], [1, 2]], ROOM)

    assert layout.nodes == [Place(0, 10.5), Place(1, 5), Place(1, 16), Place(2, 10.5)]


def test_long_edges_have_a_passage_in_each_layer_between() -> None:
    layout = arrange([[], [0], [1], [2, 0], [3, 0]], ROOM)

    assert [place.layer for place in layout.ways[0, 3]] == [1, 2]
    assert [place.layer for place in layout.ways[0, 4]] == [1, 2, 3]
    assert layout.ways[0, 1] == []
    assert not set(layout.ways[0, 3]) & set(layout.ways[0, 4])


def test_edges_from_one_node_share_their_passages_if_they_may() -> None:
    layout = arrange([[], [0], [1], [2, 0], [3, 0]], ROOM, shared=True)

    assert [place.layer for place in layout.ways[0, SHARED]] == [1, 2, 3]
    assert {start for start, _ in layout.ways} == {0, 1, 2, 3}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_nothing_in_a_layer_overlaps(seed: int, shared: bool) -> None:
    choose = random.Random(seed)
    arguments = [choose.sample(range(node), min(node, choose.randrange(4))) for node in range(30)]
    layout = arrange(arguments, ROOM, shared)
    taken = [(place, ROOM.node) for place in layout.nodes]
    taken += [(place, ROOM.passage) for place in {place for way in layout.ways.values() for place in way}]

    for (one, size), (other, more) in combinations(taken, 2):
        assert one.layer != other.layer or abs(one.along - other.along) >= (size + more) / 2
    for to, each in enumerate(arguments):
        assert all(layout.nodes[argument].layer < layout.nodes[to].layer for argument in each)
