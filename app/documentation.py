"""The OpenAPI document as the bytes that are sent: made in a thread, admitted and counted as work of the lab is, once
for all who ask, and again when the models have changed. Knows no HTTP."""

import asyncio
from collections.abc import Callable
from weakref import ref

from fastapi import FastAPI

from app.computation import compute, unasked
from app.guard import Guard
from app.openapi import describe
from app.service import Service
from app.store import Store

COUNTED_AS = "openapi/document"
# It takes two or three times as long. Told in full it would be more than PERCEPT_MAX_WAIT_MS, and one look at the
# documentation would have everybody's predictions refused until it is made.
SECONDS = 0.2


class Documentation:
    """Of one application. Used from its event loop alone."""

    def __init__(self, app: FastAPI, service: Service, guard: Guard | None) -> None:
        self._app, self._service, self._guard = app, service, guard
        self._of: Callable[[], Store | None] = lambda: None  # weak: models that nobody serves any more are freed
        self._making: asyncio.Task[bytes] | None = None

    async def content(self) -> bytes:
        """JSON; its examples are of the models of this moment. Raises Overloaded, to all who waited for it."""
        store, making = self._service.store, self._making
        if making is None or self._of() is not store or _has_failed(making):
            making = self._making = asyncio.ensure_future(self._made(store))
            making.add_done_callback(_has_failed)  # who has left is not told, and asyncio is not to say that nobody was
            self._of = ref(store)
        return await asyncio.shield(making)  # who leaves takes it from nobody

    async def _made(self, store: Store) -> bytes:
        app, service, guard = self._app, self._service, self._guard
        work = unasked(COUNTED_AS, SECONDS, lambda: describe(app, store, service.lab, service.insides, guard))
        return (await compute(service, work, b"", None)).body


def _has_failed(making: "asyncio.Task[bytes]") -> bool:
    return making.done() and (making.cancelled() or making.exception() is not None)
