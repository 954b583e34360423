"""The OpenAPI document is made beside the event loop, once for all who ask, and sent as it is kept."""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.documentation import COUNTED_AS, Documentation
from app.errors import Overloaded
from app.main import create_app
from app.service import Service
from app.settings import Settings
from tests.onnx_models import write_brightness

# Python's threads take turns of 5 ms; making it on the loop took 250 to 490 ms.
LONGEST_PAUSE = 0.06


def asked(
    ask: Callable[[Documentation, Service, Callable[[], Awaitable[int]]], Awaitable[Any]], **settings: Any
) -> Any:
    """What is answered in a new application; the function is given /health/live, answered by the application itself."""
    app = create_app(Settings(**settings))

    async def in_it() -> Any:
        async with app.router.lifespan_context(app) as state:

            async def live() -> int:
                """The status, as a server would be told it."""
                told: list[Any] = []

                async def send(message: Any) -> None:
                    told.append(message)

                async def receive() -> Any:
                    return {"type": "http.request", "body": b"", "more_body": False}

                head: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1"}
                address: dict[str, Any] = {"scheme": "http", "path": "/health/live", "raw_path": b"/health/live"}
                rest: dict[str, Any] = {"root_path": "", "query_string": b"", "headers": [], "state": dict(state)}
                await app({**head, **address, **rest, "method": "GET"}, receive, send)
                return int(told[0]["status"])

            return await ask(state["documentation"], state["service"], live)

    gc.collect()
    gc.freeze()  # what other tests have left behind is not to be looked through meanwhile, as a worker does not
    try:
        return asyncio.run(in_it())
    finally:
        gc.unfreeze()


def counted(service: Service) -> float:
    """How often it was made."""
    totals = service.metrics.model_totals().get((COUNTED_AS, ""))
    return totals.value("success") if totals else 0.0


@pytest.mark.alone
def test_others_are_answered_while_it_is_made() -> None:
    async def longest_pause(documentation: Documentation, service: Service, live: Any) -> tuple[float, int, bytes]:
        assert await live() == 200  # FastAPI makes its routes ready when it is first asked
        making = asyncio.ensure_future(documentation.content())
        pause, turns = 0.0, 0
        while not making.done():
            start = time.perf_counter()
            assert await live() == 200
            await asyncio.sleep(0.0002)
            pause, turns = max(pause, time.perf_counter() - start), turns + 1
        return pause, turns, making.result()

    pause, turns, content = asked(longest_pause)

    assert turns > 10
    assert pause < LONGEST_PAUSE
    assert json.loads(content)["openapi"].startswith("3.")


def test_it_is_made_once_for_all_who_ask_and_kept(tmp_path: Path) -> None:
    write_brightness(tmp_path)

    async def many(documentation: Documentation, service: Service, live: Any) -> tuple[list[bytes], float]:
        together = await asyncio.gather(*(documentation.content() for _ in range(5)))
        return [*together, await documentation.content()], counted(service)

    contents, times = asked(many, artifacts=tmp_path)

    assert times == 1
    assert all(content is contents[0] for content in contents)


def test_who_leaves_takes_it_from_nobody(tmp_path: Path) -> None:
    write_brightness(tmp_path)

    async def one_leaves(documentation: Documentation, service: Service, live: Any) -> tuple[bytes, float]:
        first, second = (asyncio.ensure_future(documentation.content()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return await second, counted(service)

    content, times = asked(one_leaves, artifacts=tmp_path)

    assert (times, json.loads(content)["info"]["title"]) == (1, "Percept")


def test_a_refusal_does_not_last(tmp_path: Path) -> None:
    write_brightness(tmp_path)

    async def refused_first(documentation: Documentation, service: Service, live: Any) -> bytes:
        service.scheduler.admit(service.worker.model("brightness", "1"))
        with pytest.raises(Overloaded):
            await documentation.content()
        service.scheduler.release(0)
        return await documentation.content()

    assert json.loads(asked(refused_first, artifacts=tmp_path, max_queue=1))["info"]["title"] == "Percept"


def test_it_follows_the_models(tmp_path: Path) -> None:
    write_brightness(tmp_path)

    async def before_and_after(documentation: Documentation, service: Service, live: Any) -> list[bytes]:
        before = await documentation.content()
        write_brightness(tmp_path, "gloom")
        await service.repository.refresh(hasten=True)
        return [before, await documentation.content()]

    before, after = (
        json.loads(content)["paths"]["/models"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
        for content in asked(before_and_after, artifacts=tmp_path)
    )

    assert [model["name"] for model in before["models"]] == ["brightness"]
    assert [model["name"] for model in after["models"]] == ["brightness", "gloom"]


def test_route_sends_what_is_kept(client: TestClient) -> None:
    first, second = (client.get("/openapi.json") for _ in range(2))

    assert first.content == second.content
    assert first.headers["content-type"] == "application/json"
    assert f'model="{COUNTED_AS}"' in client.get("/metrics").text
