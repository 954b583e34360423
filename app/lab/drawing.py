"""A formula's graph as a picture: inputs on the left, the result on the right; values in black, gradients in red. SVG
that any browser shows, without scripts. Knows no HTTP."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby, pairwise
from statistics import fmean
from typing import Any, NamedTuple

from app.lab import svg
from app.lab.expression_answer import Differentiated
from app.lab.expression_graph import StepTold

BOX_WIDTH, BOX_HEIGHT, LINE = 168, 66, 15
GAP_X, GAP_Y, PASSAGE, MARGIN, HEAD = 76, 20, 14, 24, 30
MOST_OF_A_TEXT, MOST_OF_THE_HEAD, MOST_NUMBERS = 21, 110, 2
SIGNS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "power": "^", "negative": "−", "matmul": "@"}
STYLE = """
.name { font-weight: bold }
.box { fill: #ffffff; stroke: #8c959f } .input { fill: #ddf4ff; stroke: #0969da } .number { fill: #f0f1f3 }
.result { fill: #e6f6e6; stroke: #1a7f37 } .edge { fill: none; stroke: #8c959f } .active { stroke: #b3261e }
"""


class Place(NamedTuple):
    """The middle of a box's left side, in pixels."""

    x: float
    y: float


class Slot(NamedTuple):
    """What takes room in a column: a step's box, or the passage of an edge that goes on to a later column."""

    column: int
    step: int
    to: int | None = None  # which step the edge leads to


class Layout(NamedTuple):
    boxes: list[Place]  # of each step
    ways: dict[tuple[int, int], list[Place]]  # from step to step: the passages between


def draw(told: Differentiated) -> str:
    """`told` has a graph."""
    steps = told["graph"]
    layout = arrange(steps)
    head = f"{_shortened(told['expression'], MOST_OF_THE_HEAD)} = {numbers(told['value'], told['shape'])}"
    right, low = (max(place[axis] for place in layout.boxes) for axis in (0, 1))
    width, height = max(right + BOX_WIDTH, 9 * len(head)) + MARGIN, low + BOX_HEIGHT / 2 + MARGIN
    parts = [
        f'<text class="head" x="{MARGIN}" y="{MARGIN}">{escape(head)}</text>',
        *(part for step in steps for part in _edges(step, layout)),
        *(_box(step, place, is_last=step is steps[-1]) for step, place in zip(steps, layout.boxes, strict=True)),
    ]
    return svg.picture(head, width, height, STYLE, parts)


def arrange(steps: Sequence[StepTold]) -> Layout:
    """A column for each distance from the leaves, a leaf in the column before the first that uses it. Edges to later
    columns keep a passage free, so that they run behind no box."""
    depths = _depths(steps)
    comes_from: dict[Slot, list[Slot]] = {}
    ways: dict[tuple[int, int], list[Slot]] = {}
    for step in steps:
        to = step["id"]
        leading = []
        for argument in dict.fromkeys(each["step"] for each in step["arguments"]):
            way = [Slot(column, argument, to) for column in range(depths[argument] + 1, depths[to])]
            stations = [Slot(depths[argument], argument), *way]
            comes_from |= {after: [before] for before, after in pairwise(stations)}
            leading.append(stations[-1])
            ways[argument, to] = way
        comes_from[Slot(depths[to], to)] = leading
    places = _placed(comes_from)
    return Layout(
        [places[Slot(depth, step)] for step, depth in enumerate(depths)],
        {ends: [places[slot] for slot in way] for ends, way in ways.items()},
    )


def _depths(steps: Sequence[StepTold]) -> list[int]:
    depths: list[int] = []
    for step in steps:
        depths.append(max((depths[argument["step"]] + 1 for argument in step["arguments"]), default=0))
    for step in steps:
        if step["leaf"] and step["used_by"]:
            depths[step["id"]] = min(depths[user] for user in step["used_by"]) - 1
    return depths


def _placed(comes_from: Mapping[Slot, Sequence[Slot]]) -> dict[Slot, Place]:
    """In a column in the order of what leads there, so that few edges cross; leaves below."""
    places: dict[Slot, Place] = {}
    for _, group in groupby(sorted(comes_from), key=lambda slot: slot.column):
        wanted = {slot: [places[each].y for each in comes_from[slot]] for slot in group}
        ordered = sorted(wanted, key=lambda slot: (not wanted[slot], fmean(wanted[slot] or [0]), slot))
        y = 0.0
        for slot in ordered:
            height = BOX_HEIGHT if slot.to is None else PASSAGE
            places[slot] = Place(MARGIN + slot.column * (BOX_WIDTH + GAP_X), y + height / 2)
            y += height + GAP_Y
    columns = {place.x: place.y for place in places.values()}  # the lowest of each
    lowest = max(columns.values())
    return {
        slot: Place(place.x, MARGIN + HEAD + place.y + (lowest - columns[place.x]) / 2)
        for slot, place in places.items()
    }


def _edges(step: StepTold, layout: Layout) -> Iterator[str]:
    to, count = layout.boxes[step["id"]], len(step["arguments"])
    for place, argument in enumerate(step["arguments"]):
        start = layout.boxes[argument["step"]]
        end = Place(to.x, to.y - BOX_HEIGHT / 2 + BOX_HEIGHT * (place + 1) / (count + 1))
        points = [Place(start.x + BOX_WIDTH, start.y)]
        for passage in layout.ways[argument["step"], step["id"]]:
            points += [passage, Place(passage.x + BOX_WIDTH, passage.y)]
        path = f"M{points[0].x:g} {points[0].y:g}" + "".join(_curve(*pair) for pair in pairwise([*points, end]))
        downstream = argument["downstream"]
        yield f'<path class="edge{" active" * (downstream is not None)}" d="{path}"/>'
        if downstream is not None and not isinstance(downstream, list):
            label = f'x="{end.x - 6:g}" y="{end.y - 4:g}" text-anchor="end">{numbers(downstream, [])}'
            yield f'<text class="gradient" {label}</text>'


def _curve(one: Place, other: Place) -> str:
    bend = (other.x - one.x) / 2
    return f" C{one.x + bend:g} {one.y:g} {other.x - bend:g} {other.y:g} {other.x:g} {other.y:g}"


def _box(step: StepTold, place: Place, is_last: bool) -> str:
    operation = step["operation"]
    kind = "result" if is_last else operation if operation == "input" and step["requires_gradient"] else ""
    kind = kind or ("number" if step["leaf"] else "")
    name = step["text"] if step["leaf"] else SIGNS.get(operation, operation)
    lines = [
        ("name", _shortened(name, MOST_OF_A_TEXT)),
        ("text", "" if step["leaf"] else _shortened(step["text"], MOST_OF_A_TEXT)),
        ("", numbers(step["value"], step["shape"])),
        ("gradient", "" if step["upstream"] is None else numbers(step["upstream"], step["shape"])),
    ]
    x, y = place.x, place.y - BOX_HEIGHT / 2
    texts = [
        f'<text class="{style}" x="{x + 8:g}" y="{y + LINE * (row + 1):g}">{escape(text)}</text>'
        for row, (style, text) in enumerate(lines)
        if text
    ]
    hover = f"<title>{escape(step['text'])}</title>"
    box = (
        f'<rect class="box {kind}" x="{x:g}" y="{y:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6">{hover}</rect>'
    )
    return "\n".join([box, *texts])


def numbers(value: Any, shape: Sequence[int]) -> str:
    """A few numbers as they are; of more of them, the shape."""
    flat = _flat(value)
    if value is None and shape:
        return f"[{'×'.join(map(str, shape))}]"
    if len(flat) <= MOST_NUMBERS:
        told = ", ".join(svg.number(each) for each in flat)
        return f"[{told}]" if isinstance(value, list) else told
    rows = [value] if not isinstance(value[0], list) else value
    size = f"{len(rows)}×{len(rows[0])}" if isinstance(value[0], list) else str(len(value))
    same = f" all {svg.number(flat[0])}" if len(set(map(str, flat))) == 1 else ""
    return f"[{size}]{same}"


def _flat(value: Any) -> list[float | None]:
    return [each for row in value for each in _flat(row)] if isinstance(value, list) else [value]


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
