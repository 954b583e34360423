"""Who does not wait any longer: the rounds end, nothing is left admitted, and it is counted as what it was."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from app.computation import compute, require_room_for
from app.errors import AppError, CallerGone, DeadlineExceeded, InvalidRequest, Overloaded
from app.fit import FIT, fit_by
from app.main import create_app
from app.service import Service
from app.settings import Settings
from tests.onnx_models import write_brightness

# Nearly a tenth of a second.
LONG = orjson.dumps(
    {"points": np.random.default_rng(0).normal(size=(1_000, 10)).tolist(), "k": 40, "tolerance": 0, "restarts": 5}
)


def with_service(folder: Path, use: Callable[[Service], Awaitable[None]], **settings: Any) -> None:
    write_brightness(folder)
    app = create_app(Settings(artifacts=folder, **settings))

    async def main() -> None:
        async with app.router.lifespan_context(app) as state:
            assert state is not None
            service: Service = state["service"]
            await use(service)
            assert (service.scheduler.admitted, service.scheduler.work) == (0, 0)

    asyncio.run(main())


def failures(service: Service) -> dict[str, float]:
    totals = service.metrics.model_totals()[FIT, ""]
    return {reason: totals.value(reason) for reason in ("client_gone", "deadline", "invalid", "internal")}


@pytest.mark.alone
@pytest.mark.parametrize(
    ("left", "leaves", "fault", "reason"),
    [
        (None, True, CallerGone, "client_gone"),
        (-1.0, False, DeadlineExceeded, "deadline"),
        (0.005, False, DeadlineExceeded, "deadline"),
    ],
    ids=["gone", "late before it came", "late while it runs"],
)
def test_rounds_end_when_nobody_waits(
    tmp_path: Path, left: float | None, leaves: bool, fault: type[Exception], reason: str
) -> None:
    async def gone() -> None:
        await asyncio.sleep(0.005 if leaves else 60)

    async def use(service: Service) -> None:
        deadline = None if left is None else time.perf_counter() + left
        with pytest.raises(fault):
            await compute(service, fit_by(service.lab.lloyd), LONG, deadline, gone)
        assert failures(service) == {"client_gone": 0, "deadline": 0, "invalid": 0, "internal": 0} | {reason: 1}
        # The thread is free soon: less than half of what was asked has been computed.
        started = time.perf_counter()
        await service.scheduler.decode(0, lambda: None)
        waited = time.perf_counter() - started
        whole = (await compute(service, fit_by(service.lab.lloyd), LONG, None)).timings.inference
        assert waited < whole / 2

    with_service(tmp_path, use)


@pytest.mark.parametrize(
    ("leaves", "fault", "reason"),
    [(True, CallerGone, "client_gone"), (False, DeadlineExceeded, "deadline")],
    ids=["gone", "late"],
)
def test_long_body_is_not_read_when_nobody_waits(
    tmp_path: Path, leaves: bool, fault: type[Exception], reason: str
) -> None:
    """While the threads are busy."""
    held = threading.Event()

    async def gone() -> None:
        await asyncio.sleep(0.05 if leaves else 60)

    async def use(service: Service) -> None:
        body = b'{"points": [[1], [2]], "k": 2}' + b" " * 70_000
        busy = [asyncio.create_task(service.scheduler.decode(0, held.wait, 10)) for _ in range(service.scheduler.slots)]
        await asyncio.sleep(0)
        started = time.perf_counter()
        with pytest.raises(fault):
            await compute(service, fit_by(service.lab.lloyd), body, None if leaves else started + 0.05, gone)
        assert time.perf_counter() - started < 5
        assert not any(each.done() for each in busy)
        held.set()
        await asyncio.gather(*busy)
        assert failures(service) == {"client_gone": 0, "deadline": 0, "invalid": 0, "internal": 0} | {reason: 1}

    with_service(tmp_path, use)


def test_fault_of_a_request_is_the_callers(tmp_path: Path) -> None:
    async def use(service: Service) -> None:
        with pytest.raises(InvalidRequest):
            await compute(service, fit_by(service.lab.lloyd), b"{}", None)
        assert failures(service)["invalid"] == 1

    with_service(tmp_path, use)


def test_long_body_is_read_in_a_thread_to_the_same_end(tmp_path: Path) -> None:
    async def use(service: Service) -> None:
        body, spaces = b'{"points": [[1], [2]], "k": 2}', b" " * 70_000
        short, long = (
            await compute(service, fit_by(service.lab.lloyd), body, None),
            await compute(service, fit_by(service.lab.lloyd), body + spaces, None),
        )
        assert short.body == long.body
        with pytest.raises(AppError, match="the body is not valid JSON"):
            await compute(service, fit_by(service.lab.lloyd), b"{" + spaces, None)

    with_service(tmp_path, use)


def test_many_small_fits_at_once_are_all_answered(tmp_path: Path) -> None:
    """They may take 300 rounds each, and take a few."""

    async def use(service: Service) -> None:
        points = np.random.default_rng(0).normal(size=(300, 2)).tolist()
        bodies = [orjson.dumps({"points": points, "k": 4, "seed": seed}) for seed in range(32)]
        answers = await asyncio.gather(*(compute(service, fit_by(service.lab.lloyd), body, None) for body in bodies))
        assert [orjson.loads(answer.body)["seed"] for answer in answers] == list(range(32))

    with_service(tmp_path, use)


def test_more_is_refused_while_much_is_under_way(tmp_path: Path) -> None:
    async def use(service: Service) -> None:
        require_room_for(service, fit_by(service.lab.lloyd))
        first = asyncio.create_task(compute(service, fit_by(service.lab.lloyd), LONG, None))
        while not service.scheduler.work:
            await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="PERCEPT_MAX_WAIT_MS"):
            require_room_for(service, fit_by(service.lab.lloyd))
        with pytest.raises(Overloaded, match="PERCEPT_MAX_WAIT_MS"):
            await compute(service, fit_by(service.lab.lloyd), LONG, None)
        assert orjson.loads((await first).body)["runs"]
        require_room_for(service, fit_by(service.lab.lloyd))
        assert service.metrics.model_totals()[FIT, ""].value("queue_full") == 2

    with_service(tmp_path, use, max_wait_ms=1)
