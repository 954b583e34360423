"""Lines and dots over an axis, one panel below the other, as SVG without scripts. Knows nothing of what they show."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from app.lab import svg
from app.lab.curves import Axis, are_equal, ticks

WIDTH, HEIGHT, LEFT, LEGEND, HEAD, BETWEEN, FOOT = 560, 220, 92, 170, 44, 60, 44
ROOM = 0.06  # of the height, above and below
DECADES, FEWEST = 2, 2  # of whole powers of ten, and of ticks
MOST_POWER = 308.0  # of ten, in float64
COLOURS = ("#0969da", "#b3261e", "#1a7f37", "#8250df", "#bf8700", "#57606a")
STYLE = """
.grid { stroke: #eaeef2 } .line { fill: none; stroke-width: 2 } .dot { fill: #8c959f }
"""


class Line(NamedTuple):
    name: str
    x: Sequence[float]
    y: Sequence[float]
    width: float = 2


class Panel(NamedTuple):
    """With `powers`, y is drawn by its power of ten; what is not above 0 is then left out."""

    title: str
    across: str
    lines: Sequence[Line]
    dots: Line | None = None
    powers: bool = False


def draw(head: str, panels: Sequence[Panel]) -> str:
    tops = [HEAD + 34 + place * (HEIGHT + BETWEEN) for place in range(len(panels))]
    parts = [f'<text class="head" x="{LEFT}" y="28">{escape(head)}</text>']
    for panel, top in zip(panels, tops, strict=True):
        parts += _panel(panel, top)
    return svg.picture(head, LEFT + WIDTH + LEGEND, tops[-1] + HEIGHT + FOOT, STYLE, parts)


def _panel(panel: Panel, top: float) -> Iterator[str]:
    bottom = top + HEIGHT
    every = [*panel.lines, *([panel.dots] if panel.dots else [])]
    points = [_shown(line, panel.powers) for line in every]
    across = _across([each for line in every for each in line.x])
    up = _up([each for line in points for _, each in line], top, bottom)
    yield f'<text class="text" x="{LEFT}" y="{top - 10:g}">{escape(panel.title)}</text>'
    yield f'<text class="text" x="{LEFT + WIDTH}" y="{bottom + 34:g}" text-anchor="end">{escape(panel.across)}</text>'
    for value in ticks(across.least, across.greatest):
        place = across(value)
        yield f'<line class="grid" x1="{place:g}" y1="{top:g}" x2="{place:g}" y2="{bottom:g}"/>'
        yield f'<text class="text" x="{place:g}" y="{bottom + 16:g}" text-anchor="middle">{svg.tick(value)}</text>'
    marks = power_ticks if panel.powers else _plain_ticks
    for value, shown in marks(up.least, up.greatest):
        place = up(value)
        yield f'<line class="grid" x1="{LEFT}" y1="{place:g}" x2="{LEFT + WIDTH}" y2="{place:g}"/>'
        yield f'<text class="text" x="{LEFT - 8}" y="{place + 4:g}" text-anchor="end">{shown}</text>'
    if panel.dots:
        for one, other in points[-1]:
            yield f'<circle class="dot" cx="{across(one):g}" cy="{up(other):g}" r="3"/>'
    for place, (line, shown_points) in enumerate(zip(panel.lines, points, strict=False)):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(f"{across(one):g},{up(other):g}" for one, other in shown_points)
        stroke = f'stroke="{colour}" style="stroke-width: {line.width:g}"'
        yield f'<polyline class="line" {stroke} points="{path}"/>'
        row = top + 16 * (place + 1)
        yield f'<text x="{LEFT + WIDTH + 14}" y="{row:g}" style="fill: {colour}">{escape(line.name)}</text>'


def _plain_ticks(least: float, greatest: float) -> list[tuple[float, str]]:
    return [(value, svg.tick(value)) for value in ticks(least, greatest)]


def power_ticks(least: float, greatest: float) -> list[tuple[float, str]]:
    """At least two of an axis of powers of ten, of which `least` and `greatest` are exponents: where they stand, and
    what is written. Whole powers; where there are too few of them 1, 2 and 5 times those, or else any round numbers."""
    if greatest - least >= DECADES:
        return [(value, f"10^{svg.tick(value)}") for value in ticks(least, greatest, whole=True)]
    powers = range(math.floor(least), math.ceil(greatest) + 1)
    round_ones = [float(f"{factor}e{power}") for power in powers for factor in (1, 2, 5)]
    round_ones = [value for value in round_ones if value and least <= math.log10(value) <= greatest]
    if len(round_ones) < FEWEST:
        round_ones = ticks(10.0**least, 10.0 ** min(greatest, MOST_POWER))
    return [(math.log10(value), svg.tick(value)) for value in round_ones]


def _shown(line: Line, powers: bool) -> list[tuple[float, float]]:
    pairs = zip(line.x, line.y, strict=True)
    if powers:
        return [(x, math.log10(y)) for x, y in pairs if y > 0]
    return list(pairs)


def _across(values: Sequence[float]) -> Axis:
    least, greatest = min(values), max(values)
    room = 0.5 if are_equal(least, greatest) else 0.0
    return Axis(least - room, greatest + room, LEFT, LEFT + WIDTH)


def _up(values: Sequence[float], top: float, bottom: float) -> Axis:
    least, greatest = min(values, default=0.0), max(values, default=1.0)
    room = max(abs(least), 1.0) if are_equal(least, greatest) else ROOM * (greatest - least)
    return Axis(least - room, greatest + room, bottom, top)
