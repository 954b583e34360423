"""Pauses after refusals, on a clock of the test's own."""

import heapq

import pytest

from app.backpressure import BURST_SECONDS, BYTE_SECONDS, LONGEST_SECONDS, REFUSAL_SECONDS, SHARE, Backpressure

PHOTOGRAPH = 375_000
COST = REFUSAL_SECONDS + PHOTOGRAPH * BYTE_SECONDS


def test_few_are_not_slowed_down() -> None:
    backpressure = Backpressure()

    assert [backpressure.pause(10 + second, PHOTOGRAPH) for second in range(5)] == [0.0] * 5
    assert [backpressure.pause(20, PHOTOGRAPH) for _ in range(int(BURST_SECONDS * SHARE / COST))].count(0.0) >= 4


@pytest.mark.parametrize("callers", [16, 100, 900])
def test_callers_who_come_again_at_once_take_a_share_of_the_time(callers: int) -> None:
    """Each asks as soon as it is listened to; refusing takes its time, one after the other."""
    backpressure, refused, seconds = Backpressure(), 0, 20.0
    now, asking = 0.0, [0.0] * callers
    while (now := max(now, heapq.heappop(asking))) < seconds:
        now += COST
        refused += 1
        heapq.heappush(asking, now + backpressure.pause(now, PHOTOGRAPH))

    assert refused * COST / seconds == pytest.approx(SHARE, rel=0.1)


def test_nobody_waits_for_longer_than_retry_after_says() -> None:
    backpressure = Backpressure()

    assert max(backpressure.pause(0.0, 20_000_000) for _ in range(1_000)) == pytest.approx(LONGEST_SECONDS)
    assert backpressure.pause(LONGEST_SECONDS + BURST_SECONDS, PHOTOGRAPH) == 0.0
