"""What atheris is given to call: each takes what it begins with, and raises nothing else for anything less."""

import contextlib
from collections.abc import Iterable

import pytest

from app.errors import AppError
from benchmarks.coverage_fuzz import TARGETS
from benchmarks.hostile_pictures import saved


def seeds_of(name: str) -> Iterable[bytes]:
    return list(saved())[:6] if name == "pictures" else TARGETS[name][2]


@pytest.mark.parametrize("name", TARGETS)
def test_target_takes_its_seeds_and_raises_no_other_fault_for_pieces_of_them(name: str) -> None:
    made, package, _ = TARGETS[name]
    target, taken, seeds = made(), 0, list(seeds_of(name))
    for seed in seeds:
        with contextlib.suppress(AppError):
            target(seed)
            taken += 1
        for length in range(0, len(seed), max(1, len(seed) // 50)):
            with contextlib.suppress(AppError):
                target(seed[:length])

    assert taken == len(seeds) or name == "pictures"
    assert taken > 0
    assert __import__(package)  # what is instrumented exists
