"""Numbers of an axis: written so that a person reads them, each with all its digits."""

from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

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
