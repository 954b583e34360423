"""The generic cell rate algorithm by its definition: a burst at once, then one request for each interval."""

import os

import pytest

from app.rates import Rates

RATE, BURST = 10.0, 3


def taken(rates: Rates, who: bytes, moments: list[float]) -> list[float]:
    return [rates.wait(who, RATE, BURST, now) for now in moments]


def test_a_burst_is_taken_at_once_and_then_one_in_each_interval() -> None:
    waits = taken(Rates(), b"alice", [100.0, 100.0, 100.0, 100.0, 100.05, 100.1, 100.1, 100.2])

    assert waits[:3] == [0, 0, 0]
    assert waits[3:5] == pytest.approx([0.1, 0.05])
    assert waits[5] == 0
    assert waits[6] == pytest.approx(0.1)
    assert waits[7] == 0


def test_after_a_while_without_requests_a_whole_burst_may_come_and_no_more() -> None:
    waits = taken(Rates(), b"alice", [0.0] * 3 + [1_000.0] * 4)

    assert [bool(wait) for wait in waits] == [False] * 6 + [True]


def test_what_is_refused_does_not_count() -> None:
    waits = taken(Rates(), b"alice", [5.0] * 3 + [5.0] * 50 + [5.1001])

    assert waits[-1] == 0


def test_over_a_long_time_it_is_the_rate() -> None:
    """Asked for 100 times a second over a minute."""
    waits = taken(Rates(), b"alice", [step / 100 for step in range(6_000)])

    assert sum(wait == 0 for wait in waits) == pytest.approx(60 * RATE + BURST, abs=1)


def test_each_has_a_rate_of_its_own() -> None:
    rates = Rates()
    taken(rates, b"alice", [1.0] * 4)

    assert taken(rates, b"bob", [1.0] * 3) == [0, 0, 0]


def test_places_cannot_be_foretold() -> None:
    """Two services have other salts: who shares a place in one does not in the other."""
    assert Rates()._salt != Rates()._salt


def test_workers_share_them() -> None:
    rates = Rates()
    child = os.fork()
    if child == 0:
        taken(rates, b"alice", [1.0] * 3)
        os._exit(0)
    os.waitpid(child, 0)

    assert taken(rates, b"alice", [1.0])[0] > 0
