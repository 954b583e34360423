"""uvicorn's connection with a short way for the hot path: no scope, no task, no messages, and one write.

A small request that has come whole is answered at once by `routes/hot_path.py`; everything else is left to uvicorn and
the application. Leans on the inside of uvicorn's protocol, which is why uvicorn is pinned.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from app.envelope import HEADER, RequestIds, log_request
from app.logs import ACCESS
from app.open_inference import Reply
from app.problems import error_response
from app.routes.hot_path import Asked, Headers, answer, first_by_name, is_short, raw_headers, what_is_asked
from app.service import Service

# So long the rest of a body may take. Then the application waits for it, and knows what to say if it never comes.
PATIENCE_SECONDS = 1.0


class Exchange:
    """A request that is answered here. It has what uvicorn's protocol asks of a cycle of its own."""

    __slots__ = ("asked", "body", "disconnected", "headers", "keep_alive", "left", "more_body", "response_complete")

    def __init__(self, asked: Asked, headers: Headers) -> None:
        self.asked, self.headers = asked, headers
        self.body, self.more_body = b"", True
        self.keep_alive, self.response_complete, self.disconnected = True, False, False
        self.left: asyncio.Event | None = None

    @property
    def message_event(self) -> "Exchange":
        return self

    def set(self) -> None:
        """Told by uvicorn whenever something has come, or nothing will any more."""
        if self.disconnected and self.left is not None:
            self.left.set()

    async def gone(self) -> None:
        """Returns when the caller has closed the connection."""
        self.left = asyncio.Event()
        if not self.disconnected:
            await self.left.wait()


class Connection(HttpToolsProtocol):
    cycle: Any  # uvicorn's own, or an Exchange

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.service: Service = app_state["service"]
        self.request_ids: RequestIds = app_state["request_ids"]
        self.has_short_way: bool = app_state["short_way"]
        self.patience: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if isinstance(self.cycle, Exchange) and self.cycle.more_body and self.patience is None:
            self.patience = self.loop.call_later(PATIENCE_SECONDS, self._lose_patience, self.cycle)

    def on_headers_complete(self) -> None:
        self._unset_keepalive_if_required()  # of a request before this one in the same piece of data
        exchange = self._begun() if self.has_short_way else None
        if exchange is None:
            super().on_headers_complete()
        else:
            self.cycle = exchange

    def _begun(self) -> Exchange | None:
        """None for whatever is not simple, pipelined requests among it."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.flow.write_paused or self.expect_100_continue or self.parser.should_upgrade():
            return None
        if self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return None
        asked = what_is_asked(self.url.decode("latin-1"))
        if asked is None:
            return None
        headers = first_by_name(self.headers)
        return Exchange(asked, headers) if is_short(headers, self.service.settings) else None

    def on_message_complete(self) -> None:
        super().on_message_complete()
        exchange = self.cycle
        if isinstance(exchange, Exchange) and not exchange.response_complete:
            self._calm_down()
            exchange.keep_alive = exchange.keep_alive and self.parser.should_keep_alive()
            answering = answer(self.service, exchange.asked, exchange.headers, exchange.body, exchange.gone)
            started = time.perf_counter() if ACCESS.isEnabledFor(logging.INFO) else 0.0
            self._go_on(exchange, answering, started)

    def _go_on(
        self,
        exchange: Exchange,
        answering: Coroutine[Any, Any, Reply | None],
        started: float,
        _awaited: "asyncio.Future[Any] | None" = None,
    ) -> None:
        """Run it to where it has to wait, or to its end: what a task does, without the task. The answer comes in the
        same turn of the loop if nothing has to be waited for, as an error mostly does."""
        try:
            future = answering.send(None)
        except StopIteration as returned:
            reply: Reply | None = returned.value
            if reply is None:
                self._hand_over(exchange)
            else:
                self._respond(exchange, 200, raw_headers(reply), reply.body, self._request_id(exchange), started)
        except Exception as error:
            request_id = self._request_id(exchange)
            response = error_response(error, self._scope(exchange, request_id))
            body = bytes(response.body)
            self._respond(exchange, response.status_code, response.raw_headers, body, request_id, started)
        else:
            future._asyncio_future_blocking = False  # as a task tells a future that it was awaited by somebody
            future.add_done_callback(partial(self._go_on, exchange, answering, started))

    def _respond(
        self,
        exchange: Exchange,
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        request_id: bytes,
        started: float,
    ) -> None:
        self.service.worker.response(status)
        if started:
            log_request(self._scope(exchange, request_id), status, time.perf_counter() - started)
        exchange.response_complete = True
        if exchange.disconnected or self.transport.is_closing():
            return
        content = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            content += (name, b": ", value, b"\r\n")
        if not exchange.keep_alive:
            content.append(b"connection: close\r\n")
        content += (HEADER, b": ", request_id, b"\r\n\r\n", body)
        self.transport.write(b"".join(content))
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _hand_over(self, exchange: Exchange) -> None:
        """To the application, as if it had never been here."""
        self._calm_down()
        self.cycle = None
        super().on_headers_complete()
        self.cycle.body, self.cycle.more_body = bytearray(exchange.body), exchange.more_body
        self.cycle.keep_alive = self.cycle.keep_alive and exchange.keep_alive
        self.cycle.message_event.set()

    def _lose_patience(self, exchange: Exchange) -> None:
        self.patience = None
        if exchange is self.cycle and exchange.more_body and not self.transport.is_closing():
            self._hand_over(exchange)

    def _calm_down(self) -> None:
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None

    def _request_id(self, exchange: Exchange) -> bytes:
        return self.request_ids.choose(exchange.headers.get(HEADER))

    def _scope(self, exchange: Exchange, request_id: bytes) -> dict[str, Any]:
        """As much of one as logs and errors look at."""
        return {"request_id": request_id.decode(), "method": "POST", "path": exchange.asked.path}
