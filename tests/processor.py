"""How long the processor works at something. Knows nothing of what it is."""

import time
from collections.abc import Callable

PATIENCE = 5  # seconds


def least_seconds(work: Callable[[], object], enough: float) -> float:
    """The thread's own time, the least of as many tries as it takes to stay within `enough`: whoever shares the core
    and its caches makes the same work nearly twice as long."""
    least, end = float("inf"), time.monotonic() + PATIENCE
    while least > enough and time.monotonic() < end:
        start = time.thread_time()
        work()
        least = min(least, time.thread_time() - start)
    return least
