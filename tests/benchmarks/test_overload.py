"""The service and the generator of an overload run keep out of each other's way."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.overload import divided, on_processors
from benchmarks.servers import PERCEPT, running


@pytest.mark.parametrize(
    ("processors", "serving", "generating"),
    [({0, 1}, {0}, {1}), ({2, 5, 7}, {2, 5}, {7}), ({3}, {3}, {3})],
)
def test_generator_has_one_processor_and_the_service_the_others(
    processors: set[int], serving: set[int], generating: set[int]
) -> None:
    assert divided(processors) == (serving, generating)


def test_server_runs_where_it_is_told_and_the_generator_comes_back() -> None:
    before = os.sched_getaffinity(0)
    first, last = min(before), max(before)
    with on_processors({last}), running(PERCEPT, Path(sys.executable), 1, processors={first}) as process:
        assert os.sched_getaffinity(process.pid) == {first}
        assert os.sched_getaffinity(0) == {last}

    assert os.sched_getaffinity(0) == before
