"""What all drawings of the lab have in common: the frame of an SVG without scripts, and numbers as they are written."""

import math
import re
from collections.abc import Iterable
from html import escape

# Of these sizes numbers of an axis are written out; of more digits than these only rounding tells anything.
LEAST_PLAIN, PLAIN, DIGITS = 1e-5, 1e7, 12
# Ink, what is less important, what belongs to gradients.
BLACK, GRAY, RED = "#1b1f24", "#57606a", "#b3261e"
# What XML 1.0 has no form for, not even escaped (section 2.2).
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
STYLE = f"""
text {{ font: 12px ui-monospace, Menlo, Consolas, monospace; fill: {BLACK} }}
.head {{ font-size: 15px }} .text {{ fill: {GRAY} }} .gradient {{ fill: {RED} }} .paper {{ fill: #ffffff }}
"""


def picture(title: str, width: float, height: float, style: str, parts: Iterable[str]) -> str:
    """`style` is what is added to the common one."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img">'
    )
    frame = f"<title>{written(title)}</title><style>{STYLE}{style}</style>"
    paper = f'<rect class="paper" width="{width:g}" height="{height:g}"/>'
    return "\n".join([head, frame, paper, *parts, "</svg>"])


def number(value: float | None) -> str:
    """Three digits, for reading beside others; what is undefined is a question mark."""
    if value is None or math.isnan(value):
        return "?"
    return ("∞" if value > 0 else "−∞") if math.isinf(value) else f"{value:.3g}".replace("-", "−")


def written(text: str) -> str:
    """Any text of a caller's or a file's, as XML has it."""
    return escape(NOT_IN_XML.sub("\ufffd", text))


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def tick(value: float) -> str:
    """A round number of an axis, with all of its digits: its neighbours may differ in the last. Where there are very
    many it is written as 2.5e−7."""
    if value == 0 or LEAST_PLAIN <= abs(value) < PLAIN:
        text = f"{value:,.{DIGITS}f}" if abs(value) < 1 else f"{value:,.{DIGITS}g}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        digits, exponent = f"{value:.{DIGITS - 1}e}".split("e")
        text = f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
    return text.replace("-", "−")
