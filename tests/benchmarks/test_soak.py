"""What the soak sends is answered as it expects, and its bars are judged by what was measured."""

import urllib.request
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path

import numpy as np
import pytest

from benchmarks import soak
from benchmarks.arrivals import UNANSWERED, Outcome
from benchmarks.soak import WARM_UP_MINUTES, Kind, Minute, bars, kinds, minute, mixed
from tests.served import Server


def test_each_kind_is_answered_as_it_has_to_be(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", PERCEPT_WORKERS="1")
    found = {}
    try:
        for kind in kinds():
            with server.connect() as caller:
                caller.sendall(kind.request)
                response = HTTPResponse(caller)
                response.begin()
                found[kind.name] = response.status
                response.read()
    finally:
        server.stop()

    assert found == {kind.name: kind.status for kind in kinds()}


def test_a_round_has_each_kind_as_often_as_it_says_and_is_always_the_same() -> None:
    every = [Kind("a", b"a", 200, 3), Kind("b", b"b", 404, 2)]
    order = mixed(every)

    assert sorted(kind.name for kind in order) == ["a", "a", "a", "b", "b"]
    assert order == mixed(every)


def test_a_minute_counts_what_was_not_answered_as_it_has_to_be() -> None:
    status = np.array([200, 404, 503, 404, UNANSWERED, 404], np.int16)
    latency = np.array([0.001, 0.002, 0.0001, 0.003, np.nan, 0.5])
    late = np.array([0, 0, 0.25, 0, 0, 0])
    outcome = Outcome(latency, status, np.zeros(6, np.bool_), late)
    found = minute(outcome, [200, 404], 120.0)

    assert (found.requests, found.wrong, found.memory) == (6, {"503": 1, "unanswered": 1}, 120.0)
    assert found.late == 250
    assert (found.p50, found.p99) == pytest.approx((2.0, 500.0))


SAME = Minute(requests=100, wrong={}, p50=1.0, p99=10.0, memory=100.0, late=0.5)


def flat(**changed: object) -> list[Minute]:
    """Of twelve minutes; the last four are changed."""
    return [SAME] * 8 + [replace(SAME, **changed)] * 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, set()),
        ({"memory": 104.0, "p99": 12.0}, set()),
        ({"memory": 106.0}, {"memory, after warm-up"}),
        ({"wrong": {"503": 1}}, {"wrong answers"}),
        ({"p99": 13.0}, {"p99 of the last third against the first"}),
    ],
)
def test_bars_are_missed_by_what_has_changed(changed: dict[str, object], missed: set[str]) -> None:
    assert {title for title, _, _, reached in bars(flat(**changed)) if not reached} == missed


def test_memory_of_the_first_minutes_is_warm_up() -> None:
    cold = replace(SAME, memory=50.0)

    assert all(reached for *_, reached in bars([cold] * WARM_UP_MINUTES + flat()))


@pytest.mark.parametrize("workers", [1, 2])
def test_as_many_workers_are_tried_as_are_wanted(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants one, to leave a core to the generator, has one."""
    seen = []
    monkeypatch.setattr(soak, "capacity", lambda requests, expected, port: seen.append(workers_of(port)) or 100.0)
    rate, [only] = soak.soak(1, workers, 0.5)

    assert seen == [workers]
    assert (rate, only.wrong) == (50, {})


def workers_of(port: int) -> float:
    """Of how many workers the service tells."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    return float(next(line for line in text.splitlines() if line.startswith("percept_workers ")).split()[1])
