"""A model's graph as a picture: its inputs at the top, its outputs at the bottom, between them the operations in
layers, with edges for the tensors that go from one to another. Knows the table of the layers, no session, no HTTP."""

from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from itertools import groupby, pairwise
from typing import NamedTuple

from app.inside import GraphLayer, GraphTable
from app.lab import svg
from app.lab.layers import SHARED, Layout, Place, Room, arrange

# Operations that are drawn; fewer, if their edges go past so many boxes that there are more lines than this.
MOST_OPERATIONS, MOST_LINES = 200, 2_000
MOST_INPUTS, MOST_OUTPUTS = 40, 40

BOX_WIDTH, BOX_HEIGHT, LINE, GAP_Y, MARGIN, HEAD = 196, 70, 15, 34, 24, 44
CHARACTER = 7.3  # a text's letter, in pixels; the head's are a quarter larger
ROOM = Room(BOX_WIDTH, passage=16, gap=18)
MOST_OF_A_TEXT, MOST_OF_THE_HEAD, MOST_OF_A_NOTE = 25, 80, 240
# What is told of a box when a pointer rests on it.
MOST_OF_A_NAME, MOST_NAMES = 200, 12
WITH_BODIES = ("If", "Loop", "Scan")
STYLE = """
.name { font-weight: bold } .edge { fill: none; stroke: #8c959f }
.box { fill: #ffffff; stroke: #8c959f } .learned { fill: #fff8e1; stroke: #bf8700 } .number { fill: #f0f1f3 }
.input { fill: #ddf4ff; stroke: #0969da } .output { fill: #e6f6e6; stroke: #1a7f37 }
"""


class End(NamedTuple):
    """An input or an output of the model."""

    name: str
    datatype: str
    shape: Sequence[int | str | None]


class Box(NamedTuple):
    kind: str  # its class in STYLE
    lines: list[str]  # the first one is bold
    hover: list[str]
    takes: list[int]  # the boxes whose tensors it takes


class Point(NamedTuple):
    x: float
    y: float


def draw(
    name: str,
    table: GraphTable,
    inputs: Sequence[End],
    outputs: Sequence[End],
    learned: int | None = None,
    remark: str | None = None,
) -> str:
    """`learned` are the parameters that a card tells of, `remark` is said below."""
    boxes, left_out = boxes_of(table, inputs, outputs)
    layout = arrange([box.takes for box in boxes], ROOM, shared=True)
    points = [_point(place) for place in layout.nodes]
    head = f"{svg.shortened(name, MOST_OF_THE_HEAD)}: {_count(table, learned)}"
    note = svg.shortened("; ".join(filter(None, (left_out, table.note, remark))), MOST_OF_A_NOTE)
    passages = (_point(place).x for way in layout.ways.values() for place in way)
    right = max((*(point.x + BOX_WIDTH / 2 for point in points), *passages), default=0)
    low = max((point.y for point in points), default=0) + BOX_HEIGHT
    width = MARGIN + max(right, MARGIN + 1.25 * CHARACTER * len(head), MARGIN + CHARACTER * len(note))
    parts = [
        f'<text class="head" x="{MARGIN}" y="{MARGIN}">{svg.written(head)}</text>',
        f'<text class="text" x="{MARGIN}" y="{MARGIN + 1.5 * LINE:g}">{svg.written(note)}</text>' if note else "",
        *_lines(layout, points, [box.takes for box in boxes]),
        *(_drawn(box, point) for box, point in zip(boxes, points, strict=True)),
    ]
    return svg.picture(head, width, low + MARGIN, STYLE, filter(None, parts))


def boxes_of(table: GraphTable, inputs: Sequence[End], outputs: Sequence[End]) -> tuple[list[Box], str]:
    """Each after those whose tensors it takes, and what is left out, in words."""
    boxes = [Box("input", [end.name, *_kind_and_shape(end)], _told(end), []) for end in inputs[:MOST_INPUTS]]
    where = {end.name: place for place, end in enumerate(inputs[:MOST_INPUTS])}
    operations = _in_order(table)
    pieces = _Pieces([0] * len(boxes))
    drawn = 0
    for tensors in operations[:MOST_OPERATIONS]:
        takes = [where[name] for name in dict.fromkeys(tensors[0].inputs) if name in where]
        if pieces.add(takes) > MOST_LINES:
            break
        where |= {tensor.name: len(boxes) for tensor in tensors}
        boxes.append(_operation(tensors, takes))
        drawn += 1
    there = [end for end in outputs if end.name in where]
    boxes += [
        Box("output", [end.name, *_kind_and_shape(end)], _told(end), [where[end.name]]) for end in there[:MOST_OUTPUTS]
    ]
    return boxes, ", ".join(
        f"{what}: the first {few} of {many:,} are drawn"
        for what, few, many in (
            ("inputs", min(len(inputs), MOST_INPUTS), len(inputs)),
            ("operations", drawn, len(operations)),
            ("outputs", min(len(there), MOST_OUTPUTS), len(outputs)),
        )
        if few < many
    )


class _Pieces:
    """How many pieces of edges there are: from layer to layer one from each box, shared by all edges that come from
    there, and one into each box that takes its tensor."""

    def __init__(self, depths: list[int]) -> None:
        self.depths, self.count = depths, 0
        self.reached = dict(enumerate(depths))

    def add(self, takes: Sequence[int]) -> int:
        """A box that takes those; the count with it."""
        depth = max((self.depths[each] + 1 for each in takes), default=0)
        for each in takes:
            self.count += 1 + max(0, depth - 1 - self.reached[each])
            self.reached[each] = max(self.reached[each], depth - 1)
        self.reached[len(self.depths)] = depth
        self.depths.append(depth)
        return self.count


def _in_order(table: GraphTable) -> list[list[GraphLayer]]:
    """The tensors of each operation, after those that it takes: onnxruntime does not ask that of a file."""
    operations = [list(tensors) for _, tensors in groupby(table.layers, key=lambda layer: layer.step)]
    given = {tensor.name: place for place, tensors in enumerate(operations) for tensor in tensors}
    before = {
        place: [given[name] for name in tensors[0].inputs if name in given] for place, tensors in enumerate(operations)
    }
    if all(each < place for place, taken in before.items() for each in taken):
        return operations
    return [operations[place] for place in TopologicalSorter(before).static_order()]


def _operation(tensors: Sequence[GraphLayer], takes: list[int]) -> Box:
    first = tensors[0]
    parameters = sum(tensor.parameters for tensor in tensors)
    lines = [
        first.operation,
        ", ".join(tensor.name for tensor in tensors[:MOST_NAMES]),
        ", ".join(_shape(tensor.output_shape) for tensor in tensors[:MOST_NAMES]),
        _plural(parameters, "number") if parameters else "",
    ]
    weights = [(name, shape) for tensor in tensors for name, shape in tensor.weights.items()]
    hover = [
        first.operation + (", with a graph of its own that is not drawn" if first.operation in WITH_BODIES else ""),
        *_few([f"gives {_name(tensor.name)}: {_shape(tensor.output_shape)}" for tensor in tensors]),
        *_few([f"takes {_name(name)}" for name in first.inputs]),
        *_few([f"weight {_name(name)}: {_shape(shape)}" for name, shape in weights]),
    ]
    return Box("learned" if parameters else "" if takes else "number", lines, hover, takes)


def _count(table: GraphTable, learned: int | None) -> str:
    told = [_plural(sum(table.operations.values()), "operation")]
    told += [] if learned is None else [_plural(learned, "learned parameter")]
    return ", ".join([*told, f"{_plural(table.parameters, 'number')} stored in the graph"])


def _plural(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _kind_and_shape(end: End) -> list[str]:
    return [end.datatype, _shape(end.shape)]


def _told(end: End) -> list[str]:
    return [_name(end.name), *_kind_and_shape(end)]


def _few(lines: list[str]) -> list[str]:
    return [*lines[:MOST_NAMES], *([f"and {len(lines) - MOST_NAMES:,} more"] if len(lines) > MOST_NAMES else [])]


def _name(text: str) -> str:
    return svg.shortened(text, MOST_OF_A_NAME)


def _shape(axes: Sequence[int | str | None] | None) -> str:
    if axes is None:
        return "shape not known"
    return "×".join("?" if axis is None else str(axis) for axis in axes) or "one number"


def _point(place: Place) -> Point:
    """The middle of a slot's upper side; layers are rows."""
    return Point(MARGIN + place.along, MARGIN + HEAD + place.layer * (BOX_HEIGHT + GAP_Y))


def _below(point: Point) -> Point:
    return Point(point.x, point.y + BOX_HEIGHT)


def _lines(layout: Layout, points: Sequence[Point], takes: Sequence[Sequence[int]]) -> Iterator[str]:
    """From each box one line past the boxes below it, and from there one into each that takes its tensor."""
    for (start, _), way in layout.ways.items():
        if way:
            yield _path([_below(points[start]), *(end for each in way for end in (_point(each), _below(_point(each))))])
    for to, taken in enumerate(takes):
        for place, start in enumerate(taken):
            passed = layout.nodes[to].layer - layout.nodes[start].layer - 1
            last = _point(layout.ways[start, SHARED][passed - 1]) if passed else points[start]
            left = points[to].x - BOX_WIDTH / 2 + BOX_WIDTH * (place + 1) / (len(taken) + 1)
            yield _path([_below(last), Point(left, points[to].y)])


def _path(points: Sequence[Point]) -> str:
    pieces = "".join(_piece(*pair) for pair in pairwise(points))
    return f'<path class="edge" d="M{points[0].x:g} {points[0].y:g}{pieces}"/>'


def _piece(one: Point, other: Point) -> str:
    if one.x == other.x:
        return f" L{other.x:g} {other.y:g}"
    middle = (one.y + other.y) / 2
    return f" C{one.x:g} {middle:g} {other.x:g} {middle:g} {other.x:g} {other.y:g}"


def _drawn(box: Box, point: Point) -> str:
    x, y = point.x - BOX_WIDTH / 2, point.y
    hover = f"<title>{svg.written(chr(10).join(box.hover))}</title>"
    shape = f'<rect class="box {box.kind}" x="{x:g}" y="{y:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6">'
    texts = [
        f'<text class="{"text" if row else "name"}" x="{x + 8:g}" y="{y + LINE * (row + 1) + 1:g}">'
        f"{svg.written(svg.shortened(line, MOST_OF_A_TEXT))}</text>"
        for row, line in enumerate(box.lines)
        if line
    ]
    return "\n".join([f"{shape}{hover}</rect>", *texts])
