"""A formula's graph as a picture: inputs on the left, the result on the right; values in black, gradients in red. SVG
that any browser shows, without scripts. Knows no HTTP."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

from app.lab import svg
from app.lab.expression_answer import Differentiated
from app.lab.expression_graph import StepTold
from app.lab.layers import Layout, Place, Room, arrange

BOX_WIDTH, BOX_HEIGHT, LINE = 168, 66, 15
GAP_X, MARGIN, HEAD = 76, 24, 30
ROOM = Room(BOX_HEIGHT, passage=14, gap=20)
MOST_OF_A_TEXT, MOST_OF_THE_HEAD, MOST_NUMBERS = 21, 110, 2
SIGNS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "power": "^", "negative": "−", "matmul": "@"}
STYLE = """
.name { font-weight: bold }
.box { fill: #ffffff; stroke: #8c959f } .input { fill: #ddf4ff; stroke: #0969da } .number { fill: #f0f1f3 }
.result { fill: #e6f6e6; stroke: #1a7f37 } .edge { fill: none; stroke: #8c959f } .active { stroke: #b3261e }
"""


class Point(NamedTuple):
    """Of a box or a passage the middle of its left side, in pixels."""

    x: float
    y: float


def draw(told: Differentiated) -> str:
    """`told` has a graph."""
    steps = told["graph"]
    layout = arrange([[each["step"] for each in step["arguments"]] for step in steps], ROOM)
    boxes = [_point(place) for place in layout.nodes]
    head = f"{svg.shortened(told['expression'], MOST_OF_THE_HEAD)} = {numbers(told['value'], told['shape'])}"
    right, low = (max(box[axis] for box in boxes) for axis in (0, 1))
    width, height = max(right + BOX_WIDTH, 9 * len(head)) + MARGIN, low + BOX_HEIGHT / 2 + MARGIN
    parts = [
        f'<text class="head" x="{MARGIN}" y="{MARGIN}">{escape(head)}</text>',
        *(part for step in steps for part in _edges(step, layout, boxes)),
        *(_box(step, box, is_last=step is steps[-1]) for step, box in zip(steps, boxes, strict=True)),
    ]
    return svg.picture(head, width, height, STYLE, parts)


def _point(place: Place) -> Point:
    """Layers are columns."""
    return Point(MARGIN + place.layer * (BOX_WIDTH + GAP_X), MARGIN + HEAD + place.along)


def _edges(step: StepTold, layout: Layout, boxes: Sequence[Point]) -> Iterator[str]:
    to, count = boxes[step["id"]], len(step["arguments"])
    for place, argument in enumerate(step["arguments"]):
        start = boxes[argument["step"]]
        end = Point(to.x, to.y - BOX_HEIGHT / 2 + BOX_HEIGHT * (place + 1) / (count + 1))
        points = [Point(start.x + BOX_WIDTH, start.y)]
        for passage in map(_point, layout.ways[argument["step"], step["id"]]):
            points += [passage, Point(passage.x + BOX_WIDTH, passage.y)]
        path = f"M{points[0].x:g} {points[0].y:g}" + "".join(_curve(*pair) for pair in pairwise([*points, end]))
        downstream = argument["downstream"]
        yield f'<path class="edge{" active" * (downstream is not None)}" d="{path}"/>'
        if downstream is not None and not isinstance(downstream, list):
            label = f'x="{end.x - 6:g}" y="{end.y - 4:g}" text-anchor="end">{numbers(downstream, [])}'
            yield f'<text class="gradient" {label}</text>'


def _curve(one: Point, other: Point) -> str:
    bend = (other.x - one.x) / 2
    return f" C{one.x + bend:g} {one.y:g} {other.x - bend:g} {other.y:g} {other.x:g} {other.y:g}"


def _box(step: StepTold, place: Point, is_last: bool) -> str:
    operation = step["operation"]
    kind = "result" if is_last else operation if operation == "input" and step["requires_gradient"] else ""
    kind = kind or ("number" if step["leaf"] else "")
    name = step["text"] if step["leaf"] else SIGNS.get(operation, operation)
    lines = [
        ("name", svg.shortened(name, MOST_OF_A_TEXT)),
        ("text", "" if step["leaf"] else svg.shortened(step["text"], MOST_OF_A_TEXT)),
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
