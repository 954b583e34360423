"""Where the nodes of a graph are drawn: in layers by their distance from what nothing leads to, and long edges through
passages that pass by the nodes between. Knows neither pictures nor which way the layers run."""

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from statistics import fmean
from typing import NamedTuple


class Place(NamedTuple):
    """A layer, and how far along it the middle is."""

    layer: int
    along: float


class Slot(NamedTuple):
    """What takes room in a layer: a node, or the passage of an edge that goes on to a later layer."""

    layer: int
    node: int
    to: int | None = None  # which node the edge leads to, or SHARED


class Room(NamedTuple):
    """Along a layer."""

    node: float
    passage: float
    gap: float


class Layout(NamedTuple):
    nodes: list[Place]
    ways: dict[tuple[int, int], list[Place]]  # the passages from node to node, or from a node to SHARED


SHARED = -1


def arrange(arguments: Sequence[Sequence[int]], room: Room, shared: bool = False) -> Layout:
    """`arguments` are the nodes that lead to each, all of them before it. A layer for each distance from the leaves, a
    leaf in the layer before the first that uses it. Edges to later layers keep a passage free, so that they run behind
    no node: each its own, or, `shared`, those from one node the same, as far as each goes."""
    depths = _depths(arguments)
    comes_from: dict[Slot, list[Slot]] = {}
    ways: dict[tuple[int, int], list[Slot]] = {}
    for to, taken in enumerate(arguments):
        leading = []
        for argument in dict.fromkeys(taken):
            route = SHARED if shared else to
            way = ways.setdefault((argument, route), [])
            further = range(depths[argument] + 1 + len(way), depths[to])
            stations = [Slot(depths[argument], argument), *way[-1:]][-1:]
            stations += [Slot(layer, argument, route) for layer in further]
            comes_from |= {after: [before] for before, after in pairwise(stations)}
            way += stations[1:]
            passed = depths[to] - depths[argument] - 1
            leading.append(way[passed - 1] if passed else Slot(depths[argument], argument))
        comes_from[Slot(depths[to], to)] = leading
    places = _placed(comes_from, room)
    return Layout(
        [places[Slot(depth, node)] for node, depth in enumerate(depths)],
        {ends: [places[slot] for slot in way] for ends, way in ways.items()},
    )


def _depths(arguments: Sequence[Sequence[int]]) -> list[int]:
    depths: list[int] = []
    for taken in arguments:
        depths.append(max((depths[argument] + 1 for argument in taken), default=0))
    first_use: dict[int, int] = {}
    for depth, taken in zip(depths, arguments, strict=True):
        first_use |= {argument: min(depth, first_use.get(argument, depth)) for argument in taken}
    return [first_use.get(node, 1) - 1 if not taken else depths[node] for node, taken in enumerate(arguments)]


def _placed(comes_from: Mapping[Slot, Sequence[Slot]], room: Room) -> dict[Slot, Place]:
    """In a layer in the order of what leads there, so that few edges cross; leaves last. The middles of all layers are
    at one height."""
    places: dict[Slot, Place] = {}
    lasts: list[float] = []
    for layer, group in groupby(sorted(comes_from), key=lambda slot: slot.layer):
        wanted = {slot: [places[each].along for each in comes_from[slot]] for slot in group}
        ordered = sorted(wanted, key=lambda slot: (not wanted[slot], fmean(wanted[slot] or [0]), slot))
        along = 0.0
        for slot in ordered:
            size = room.node if slot.to is None else room.passage
            places[slot] = Place(layer, along + size / 2)
            along += size + room.gap
        lasts.append(places[ordered[-1]].along)
    widest = max(lasts)
    return {slot: Place(place.layer, place.along + (widest - lasts[place.layer]) / 2) for slot, place in places.items()}
