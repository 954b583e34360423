"""What the gradients of a problem cost, measured here and now: its graph with them against its graph without. Knows no
HTTP."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from app.errors import GoOn
from app.lab.descent import Problem, Run, Weights

RUNS, WARM_UP = 41, 5
Clock = Callable[[], float]


class Cost(NamedTuple):
    """Medians of so many runs of each."""

    forward: float  # seconds
    both: float  # seconds, forward and backward
    runs: int

    @property
    def backward(self) -> float:
        return self.both - self.forward

    @property
    def ratio(self) -> float:
        """Of backward to forward."""
        return self.backward / self.forward


def measure(
    problem: Problem,
    forward: Run,
    weights: Weights,
    go_on: GoOn = lambda: None,
    clock: Clock = time.perf_counter,
) -> Cost:
    """In turns, so that whatever else the machine does falls on both. `go_on` is called before each turn."""
    alone, both = list[float](), list[float]()
    for _ in range(WARM_UP + RUNS):
        go_on()
        alone.append(_seconds(lambda: forward(problem.told, weights), clock))
        both.append(_seconds(lambda: problem.run(problem.outputs, weights), clock))
    return Cost(median(alone[WARM_UP:]), median(both[WARM_UP:]), RUNS)


def _seconds(run: Callable[[], Any], clock: Clock) -> float:
    start = clock()
    run()
    return clock() - start
