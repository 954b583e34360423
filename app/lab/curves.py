"""An activation function as a picture: its values above, its derivatives below, shaded where it is saturated. SVG that
any browser shows, without scripts. Knows no HTTP."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby, pairwise
from typing import NamedTuple

from app.lab import svg
from app.lab.activation_answer import Activated
from app.lab.activations import SATURATED, SOFTMAX

WIDTH, HEIGHT, LEFT, RIGHT, HEAD, BETWEEN, FOOT = 640, 200, 92, 24, 64, 48, 40
ROOM = 0.08  # of the height, above and below a curve
TICKS = 6
ROUNDING, SMALLEST = 1e-12, 1e-300
STYLE = f"""
.grid {{ stroke: #eaeef2 }} .zero {{ stroke: #8c959f }} .saturated {{ fill: #fff1cc }}
.curve {{ fill: none; stroke: #0969da; stroke-width: 2 }} .slope {{ fill: none; stroke: {svg.RED}; stroke-width: 2 }}
.bar {{ fill: #0969da }} .steep {{ fill: {svg.RED} }}
"""


class Axis(NamedTuple):
    """Numbers of one range, in pixels of another."""

    least: float
    greatest: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.least) / (self.greatest - self.least)
        return round(self.start + share * (self.end - self.start), 2)


class Points(NamedTuple):
    """From the left."""

    x: list[float]
    values: list[float]
    derivatives: list[float]
    saturated: list[bool]


def draw(told: Activated) -> str:
    """Of softmax a bar for each element; of the others a curve."""
    as_bars = told["function"] == SOFTMAX
    places = [float(place) for place in range(len(told["x"]))] if as_bars else told["x"]
    rows = zip(places, told["values"], told["derivatives"], told["saturated"], strict=True)
    points = Points(*(list(column) for column in zip(*sorted(rows), strict=True)))
    given = "".join(f", {name} = {svg.number(value)}" for name, value in told["parameters"].items())
    head = f"{told['function']}: {told['expression']}{given}"
    note = f"shaded: saturated, a derivative below {SATURATED:.0%} of {svg.number(told['steepest'])}, its greatest"
    across = _across(points.x, as_bars)
    tops = (HEAD + 24, HEAD + 24 + HEIGHT + BETWEEN)
    parts = [
        f'<text class="head" x="{LEFT}" y="26">{escape(head)}</text>',
        f'<text class="text" x="{LEFT}" y="48">{escape(note)}</text>',
        *_panel("value", points.values, points, across, tops[0], "bar" if as_bars else "curve"),
        *_panel("derivative", points.derivatives, points, across, tops[1], "steep" if as_bars else "slope"),
    ]
    return svg.picture(head, LEFT + WIDTH + RIGHT, tops[1] + HEIGHT + FOOT, STYLE, parts)


def _across(x: Sequence[float], as_bars: bool) -> Axis:
    least, greatest = x[0], x[-1]
    room = 0.5 if as_bars or are_equal(least, greatest) else 0
    return Axis(least - room, greatest + room, LEFT, LEFT + WIDTH)


def _panel(title: str, values: Sequence[float], points: Points, across: Axis, top: float, kind: str) -> Iterator[str]:
    as_bars = kind in ("bar", "steep")
    bottom = top + HEIGHT
    up = _up(values, top, bottom, from_zero=as_bars)
    yield f'<text class="text" x="{LEFT}" y="{top - 8:g}">{title}</text>'
    for left, right in _bands(points, across):
        band = f'x="{left:g}" y="{top:g}" width="{right - left:g}" height="{HEIGHT}"'
        yield f'<rect class="saturated" {band}/>'
    for value in ticks(across.least, across.greatest, whole=as_bars):
        place = across(value)
        line = "grid" if as_bars else _line(value)  # a bar's place is no number
        yield f'<line class="{line}" x1="{place:g}" y1="{top:g}" x2="{place:g}" y2="{bottom:g}"/>'
        yield f'<text class="text" x="{place:g}" y="{bottom + 16:g}" text-anchor="middle">{svg.tick(value)}</text>'
    for value in ticks(up.least, up.greatest):
        place = up(value)
        yield f'<line class="{_line(value)}" x1="{LEFT}" y1="{place:g}" x2="{LEFT + WIDTH}" y2="{place:g}"/>'
        yield f'<text class="text" x="{LEFT - 8}" y="{place + 4:g}" text-anchor="end">{svg.tick(value)}</text>'
    if as_bars:
        yield from _bars(points.x, values, across, up, kind)
    else:
        path = " ".join(f"{across(x):g},{up(y):g}" for x, y in zip(points.x, values, strict=True))
        yield f'<polyline class="{kind}" points="{path}"/>'


def _up(values: Sequence[float], top: float, bottom: float, from_zero: bool) -> Axis:
    least, greatest = min(values), max(values)
    if from_zero:
        least, greatest = min(least, 0.0), max(greatest, 0.0)
    room = max(abs(least), 1.0) if are_equal(least, greatest) else ROOM * (greatest - least)
    return Axis(least - room, greatest + room, bottom, top)


def are_equal(least: float, greatest: float) -> bool:
    """Or so near to each other that there is no scale between them."""
    return greatest - least <= max(ROUNDING * max(abs(least), abs(greatest)), SMALLEST)


def _bands(points: Points, across: Axis) -> Iterator[tuple[float, float]]:
    """Around each run of saturated points, half the way to the next on either side."""
    x = points.x
    edges = [across.least, *((one + other) / 2 for one, other in pairwise(x)), across.greatest]
    for saturated, run in groupby(range(len(x)), key=lambda place: points.saturated[place]):
        if saturated:
            places = list(run)
            yield across(edges[places[0]]), across(edges[places[-1] + 1])


def _bars(x: Sequence[float], values: Sequence[float], across: Axis, up: Axis, kind: str) -> Iterator[str]:
    width = 0.8 * (across(1) - across(0))
    for place, value in zip(x, values, strict=True):
        top = f'x="{across(place) - width / 2:g}" y="{up(value):g}"'
        hover = f"<title>{svg.number(value)}</title>"
        yield f'<rect class="{kind}" {top} width="{width:g}" height="{up(0) - up(value):g}">{hover}</rect>'


def _line(value: float) -> str:
    return "zero" if value == 0 else "grid"


def ticks(least: float, greatest: float, whole: bool = False) -> list[float]:
    """Some round numbers of the range, 1, 2 or 5 times a power of ten apart."""
    rough = (greatest - least) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    step = max(step, 1.0) if whole else step
    return [place * step for place in range(math.ceil(least / step), math.floor(greatest / step) + 1)]
