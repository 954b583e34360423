"""Numbers of an axis: written so that a person reads them, each with all its digits."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.lab.charts import Line, Panel, draw, power_ticks
from app.lab.curves import are_equal, ticks
from app.lab.svg import tick


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.1 + 0.2, "0.3"),
        (-2.5, "−2.5"),
        (12_345, "12,345"),
        (100_000, "100,000"),
        (-1e6, "−1,000,000"),
        (0.00012, "0.00012"),
        (1e-5, "0.00001"),
        (1e7, "1e7"),
        (-2.5e-7, "−2.5e−7"),
        (3e300, "3e300"),
    ],
)
def test_numbers_of_an_axis_read_well(value: float, text: str) -> None:
    assert tick(value) == text


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(middle=st.floats(-1e9, 1e9), half=st.floats(1e-9, 1e9))
def test_what_is_written_is_the_number(middle: float, half: float) -> None:
    """Neighbours are told apart, however near to each other they are."""
    least, greatest = middle - half, middle + half
    assume(not are_equal(least, greatest) and half > 1e-9 * abs(middle))
    values = ticks(least, greatest)
    texts = [tick(value) for value in values]

    assert [float(text.replace(",", "").replace("−", "-")) for text in texts] == pytest.approx(values, rel=1e-11)
    assert all(one != other for one, other in pairwise(texts))
    assert max(map(len, texts)) <= 20


@pytest.mark.parametrize(
    ("least", "greatest", "texts"),
    [
        (-3.2, 0.4, ["10^−3", "10^−2", "10^−1", "10^0"]),
        (-20.5, 0.0, ["10^−20", "10^−15", "10^−10", "10^−5", "10^0"]),
        (-1.9, -0.6, ["0.02", "0.05", "0.1", "0.2"]),
        (0.2, 2.1, ["2", "5", "10", "20", "50", "100"]),
        (0.02, 0.28, ["1.2", "1.4", "1.6", "1.8"]),
        (2.71, 2.72, ["514", "516", "518", "520", "522", "524"]),
    ],
)
def test_axes_of_powers_have_round_numbers(least: float, greatest: float, texts: list[str]) -> None:
    assert [text for _, text in power_ticks(least, greatest)] == texts


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(first=st.floats(1e-12, 1e12), span=st.floats(1e-6, 14))
def test_each_axis_has_two_numbers_at_least_and_they_stand_where_they_belong(first: float, span: float) -> None:
    """However far the values reach: from a millionth of a decade to fourteen of them."""
    panel = Panel("", "", [Line("", [0, first], [first, first * 10**span])], powers=True)
    texts = list(ElementTree.fromstring(draw("", [panel])).iter("{http://www.w3.org/2000/svg}text"))
    up = [each for each in texts if each.get("text-anchor") == "end" and each.text]
    across = [each for each in texts if each.get("text-anchor") == "middle"]

    assert len(up) >= 2
    assert len(across) >= 2
    assert len({each.text for each in up}) == len(up) <= 12
    assert all(one > other for one, other in pairwise(float(each.get("y", "0")) for each in up))
