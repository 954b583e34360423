"""uvicorn's connection with a short way for the hot path: no scope, no task, no messages, and one write.

A small request that has come whole is answered at once by `routes/hot_path.py`; everything else is left to uvicorn and
the application. Leans on the inside of uvicorn's protocol, which is why uvicorn is pinned.
"""

import asyncio
import logging
import math
import select
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.backpressure import Backpressure
from app.envelope import ALWAYS, HEADER, RequestIds, first_by_name, log_request
from app.errors import AppError, BadRequest, CallerGone, HeadTooLarge, NotFound, Overloaded, RequestTimeout
from app.guard import CHECKED, Guard
from app.logs import ACCESS
from app.open_inference import Reply
from app.problems import Rendered, is_expected, rendered
from app.raw_response import refusal_when_full, written
from app.request_heads import Head, RequestHeads
from app.routes.hot_path import Asked, Headers, answer, found, is_allowed, is_short, what_is_asked
from app.service import Service

# So long the rest of a body may take. Then the application waits for it, and knows what to say if it never comes.
PATIENCE_SECONDS = 1.0
FORWARDED, ORIGIN = b"x-forwarded-for", b"origin"
# So long a request line with its headers may take from its first byte on, the first one from the connection on; and so
# many bytes it may have: the parser keeps all of them.
HEAD_SECONDS = 10.0
# So long an idle connection is kept when the server stops: a request may be on its way, and is answered with
# `Connection: close`. Who has not asked by then is not asking.
PARTING_SECONDS = 0.5
# In the state of the server, once it stops.
STOPPING = "stopping"
MAX_HEAD_BYTES = 65_536
# So long the rest of a body is still taken whose answer has been given, so that a caller who sends first and listens
# afterwards gets it; nginx's lingering_time.
LINGER_SECONDS = 30.0
# What says how long the pieces of a body are, and what follows them (trailers), is kept by the parser or by nobody. It
# may be so many bytes, and so many times the body.
MAX_FRAMING_BYTES, FRAMING = 262_144, 8


class Exchange:
    """A request that is answered here. It has what uvicorn's protocol asks of a cycle of its own."""

    __slots__ = (
        *("asked", "began", "body", "checked", "disconnected", "headers"),
        *("keep_alive", "left", "more_body", "response_complete", "unparsed"),
    )

    def __init__(self, asked: Asked, headers: Headers) -> None:
        self.asked, self.headers = asked, headers
        self.body, self.more_body = b"", True
        self.keep_alive, self.response_complete, self.disconnected = True, False, False
        self.left: asyncio.Event | None = None
        self.checked = False  # by the guard, who would count it a second time
        self.unparsed = b""  # all of a request whose head is known, as long as the application may be asked
        self.began = time.perf_counter()

    @property
    def message_event(self) -> "Exchange":
        """uvicorn calls `cycle.message_event.set()`."""
        return self

    def set(self) -> None:
        """Something has come, or nothing will any more."""
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
        self.guard: Guard | None = app_state["guard"]
        self.heads: RequestHeads = app_state["request_heads"]
        self.backpressure: Backpressure = app_state["backpressure"]
        self.patience: asyncio.TimerHandle | None = None
        # uvicorn sets and cancels a timer for every request; a tenth of a small one's time went there.
        self.idle_since = math.inf
        self.idle_timer: asyncio.TimerHandle | None = None
        # Between two requests the head of the next is awaited; `whole` is true if nothing of it has come.
        self.awaits_head, self.whole, self.head_bytes = True, False, 0
        self.ended = False  # whether what came last had the end of a request in it
        self.head_timer: asyncio.TimerHandle | None = None
        self.message_bytes, self.body_bytes = 0, 0  # of the request that is coming
        self.linger_timer: asyncio.TimerHandle | None = None
        self.pause_timer: asyncio.TimerHandle | None = None
        # While they are parsed: bytes that begin a request, until it has begun; then these bytes, until another has.
        self.fresh: bytes | None = None
        self.request: bytes | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        most = self.service.settings.max_connections
        if len(self.connections) > most:
            told = f"{most} connections are open, and {most} may be (PERCEPT_MAX_CONNECTIONS); try again"
            self._refuse(Overloaded(told, {"Retry-After": "1"}))
            return
        self.head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def shutdown(self) -> None:
        """The server stops. uvicorn would close idle connections at once, and lose what had just been sent."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(PARTING_SECONDS, self._part)
        else:
            super().shutdown()

    def _part(self) -> None:
        if self._has_unread():
            self.loop.call_later(PARTING_SECONDS, self._part)
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        self.idle_since = math.inf
        is_next = self.awaits_head and not self.head_bytes and not self._is_answering()
        if is_next and (head := self._known_head(data)) is not None:
            self._stop_waiting_for_head()
            self.whole = True
            if not self._refuse_known(head):
                self._answer_known(head, data)
            return
        self.whole, self.ended, self.fresh = False, False, data if is_next else None
        super().data_received(data)
        self.fresh = self.request = None
        if self.whole:
            if self.idle_since == math.inf and self.cycle.response_complete:
                self._wait_idle()  # answered before all of it had come: nobody else waits any more
        else:
            look = self._look_at_head if self.awaits_head else self._look_at_rest
            look(1 if self.ended else len(data))  # the rest was of requests before this one
        if isinstance(self.cycle, Exchange) and self.cycle.more_body and self.patience is None:
            self.patience = self.loop.call_later(PATIENCE_SECONDS, self._lose_patience, self.cycle)

    def _known_head(self, data: bytes) -> Head | None:
        may_answer = self.has_short_way and not self.flow.write_paused and not self.transport.is_closing()
        return self.heads.of(data) if may_answer else None

    def _answer_known(self, head: Head, request: bytes) -> None:
        """What the parser's calls would come to, without them."""
        exchange = self.cycle = Exchange(head.asked, head.headers)
        exchange.unparsed, exchange.body = request, request[len(request) - head.length :]
        exchange.more_body, exchange.keep_alive = False, head.keep_alive and STOPPING not in self.app_state
        self._go_on(exchange, self._answered(exchange))

    def _refuse_known(self, head: Head) -> bool:
        """If the worker is full; whether it was. At four times what a worker can do three requests in four end here, so
        it has no exchange, no coroutine, no exception, and the words of the refusal before."""
        service = self.service
        if not service.scheduler.is_full or not head.keep_alive or not self._refuses_by_itself():
            return False
        try:
            model = found(service, head.asked).model
        except NotFound:
            return False
        service.metrics_of(model).add("queue_full")
        service.worker.response(Overloaded.status)
        request_id = self.request_ids.choose(head.headers.get(HEADER))
        always = (*self.server_state.default_headers, *ALWAYS)
        self.transport.write(refusal_when_full(service.scheduler, head.asked.path, request_id, always))
        self._be_idle()
        return True

    def _refuses_by_itself(self) -> bool:
        return not (self.guard or STOPPING in self.app_state or ACCESS.isEnabledFor(logging.INFO))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if isinstance(self.cycle, Exchange) and self.cycle.more_body:
            self._respond(self.cycle, rendered(CallerGone(), {}), self._request_id(self.cycle))
        for timer in (self.patience, self.idle_timer, self.head_timer, self.linger_timer, self.pause_timer):
            if timer is not None:
                timer.cancel()

    def on_message_begin(self) -> None:
        """uvicorn's scope is made when it is wanted."""
        self.awaits_head, self.whole, self.head_bytes = True, False, 0
        self.message_bytes, self.body_bytes = 0, 0
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self.request, self.fresh = self.fresh, None

    def on_header(self, name: bytes, value: bytes) -> None:
        """As uvicorn's, but what comes behind a body (a trailer) is no header: proxies and the guard saw the head."""
        if self.awaits_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.awaits_head = False
        self._stop_waiting_for_head()
        self.idle_since = math.inf  # though a request before this one, in the same piece of data, is answered
        exchange = self._begun() if self.has_short_way else None
        if exchange is None:
            self._leave_it_to_uvicorn()
        else:
            self.cycle = exchange
            if self.request is not None and exchange.more_body:
                length = int(exchange.headers[b"content-length"])
                known = Head(exchange.asked, exchange.headers, length, self.parser.should_keep_alive())
                self.heads.remember(self.request, known)

    def _stop_waiting_for_head(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def _look_at_head(self, received: int) -> None:
        """Of what has not come whole."""
        self.head_bytes += received
        if self.head_bytes > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge(f"the request line and its headers are longer than {MAX_HEAD_BYTES:,} bytes"))
        elif self.head_timer is None and not self.transport.is_closing():
            self.head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _look_at_rest(self, received: int) -> None:
        """Of a request whose head has come; uvicorn has closed the connection if its address cannot be read. Whoever
        reads its body looks at what it brings; nobody does once it is answered, and nobody at what is around it."""
        if self.transport.is_closing():
            return
        self.message_bytes += received
        if self.message_bytes - self.body_bytes > MAX_FRAMING_BYTES + FRAMING * self.body_bytes:
            self.transport.close()
        elif self.cycle.response_complete and self.linger_timer is None:
            self.linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _head_is_late(self) -> None:
        """Who has not even begun is not told, as nobody who waits between two requests is. Whoever still gets the
        answer to the request before is not interrupted."""
        self.head_timer = None
        if self._is_answering():
            self.head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        elif self._has_unread():
            self.head_timer = self.loop.call_later(PARTING_SECONDS, self._head_is_late)
        elif self.head_bytes:
            self._refuse(RequestTimeout(f"the request line and its headers have not come in {HEAD_SECONDS:g} seconds"))
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls it for what is no HTTP."""
        broken_off = self._is_answering() and self.cycle.more_body
        self._refuse(BadRequest(msg), instead=broken_off and not getattr(self.cycle, "response_started", False))

    def _refuse(self, error: AppError, instead: bool = False) -> None:
        """Before there is a request, or `instead` of the answer to one that breaks off. Nothing is written into another
        answer."""
        if not self.transport.is_closing() and (instead or not self._is_answering()):
            request_id = self.request_ids.choose(None)
            response = rendered(error, {"request_id": request_id.decode(), "method": "", "path": ""})
            self.service.worker.response(response.status)
            self._write(response, request_id, keep_alive=False)
        self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _leave_it_to_uvicorn(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the list that the scope has
        super().on_headers_complete()
        if STOPPING in self.app_state:
            self.cycle.keep_alive = False

    def _begun(self) -> Exchange | None:
        """None for whatever is not simple, pipelined requests among it."""
        if self._is_answering() or self.flow.write_paused or self.expect_100_continue or self.parser.should_upgrade():
            return None
        if self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return None
        asked = what_is_asked(self.url.decode("latin-1"))
        if asked is None:
            return None
        headers = first_by_name(self.headers)
        if self.guard and FORWARDED in headers:  # whom a proxy asks for, uvicorn's middleware knows
            return None
        if ORIGIN in headers and self.service.settings.cors_origins:  # what a browser wants to read, Starlette's does
            return None
        exchange = Exchange(asked, headers)
        return exchange if is_short(headers, self.service.settings) or self._refused(exchange) else None

    def _refused(self, exchange: Exchange) -> bool:
        """Whether there is no room for a request with a long body: then it is answered, and the body is passed over as
        it comes. The application would say the same, and take three times as long to do so."""
        if self.guard or not is_allowed(exchange.headers, self.service.settings) or not self._keeps_alive():
            return False
        try:
            self.service.require_room(found(self.service, exchange.asked).model)
        except Overloaded as error:
            request_id = self._request_id(exchange)
            exchange.more_body = False
            self._respond(exchange, rendered(error, self._scope(exchange, request_id)), request_id)
            self._listen_later(int(exchange.headers[b"content-length"]))
            return True
        except NotFound:
            return False
        return False

    def _listen_later(self, length: int) -> None:
        """To somebody whose body of so many bytes was refused, who may not heed Retry-After."""
        seconds = self.backpressure.pause(self.loop.time(), length)
        if seconds and not self.transport.is_closing():
            if self.pause_timer is not None:
                self.pause_timer.cancel()
            self.flow.pause_reading()
            self.pause_timer = self.loop.call_later(seconds, self.flow.resume_reading)

    def _keeps_alive(self) -> bool:
        return self.parser.should_keep_alive() and STOPPING not in self.app_state

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if isinstance(self.cycle, Exchange) and self.cycle.more_body:
            self.cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self.awaits_head, self.whole, self.ended, self.head_bytes = True, True, True, 0
        if self.linger_timer is not None:
            self.linger_timer.cancel()
            self.linger_timer = None
        exchange = self.cycle
        if isinstance(exchange, Exchange) and exchange.more_body:
            exchange.more_body = False
            self._calm_down()
            exchange.keep_alive = exchange.keep_alive and self._keeps_alive()
            self._go_on(exchange, self._answered(exchange))
        else:
            super().on_message_complete()

    def _answered(self, exchange: Exchange) -> Coroutine[Any, Any, Reply | None]:
        answering = answer(self.service, exchange.asked, exchange.headers, exchange.body, exchange.gone)
        return self._guarded(self.guard, exchange, answering) if self.guard else answering

    async def _guarded(
        self, guard: Guard, exchange: Exchange, answering: Coroutine[Any, Any, Reply | None]
    ) -> Reply | None:
        try:
            guard.check(exchange.asked.path, exchange.headers, self.client[0] if self.client else "")
        except AppError:
            answering.close()
            raise
        exchange.checked = True
        return await answering

    def _go_on(
        self,
        exchange: Exchange,
        answering: Coroutine[Any, Any, Reply | None],
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
                self._respond(exchange, Rendered(200, reply.headers, reply.body), self._request_id(exchange))
        except (Exception, asyncio.CancelledError) as error:  # cancelled: the server stops, and waits no longer
            exchange.keep_alive = exchange.keep_alive and is_expected(error)
            request_id = self._request_id(exchange)
            self._respond(exchange, rendered(error, self._scope(exchange, request_id)), request_id)
        else:
            exchange.unparsed = b""  # what has to wait is answered here
            go_on = partial(self._go_on, exchange, answering)
            if future is None:  # as `asyncio.sleep(0)` gives
                self.loop.call_soon(go_on)
            else:
                future._asyncio_future_blocking = False  # as a task tells a future that it was awaited by somebody
                future.add_done_callback(go_on)

    def _respond(self, exchange: Exchange, response: Rendered, request_id: bytes) -> None:
        status = response.status
        self.service.worker.response(status)
        if ACCESS.isEnabledFor(logging.INFO):
            log_request(self._scope(exchange, request_id), status, time.perf_counter() - exchange.began)
        exchange.response_complete, exchange.body, exchange.unparsed = True, b"", b""
        if exchange.disconnected or self.transport.is_closing():
            return
        self._write(response, request_id, exchange.keep_alive)
        if not exchange.keep_alive:
            self.transport.close()
        if self.pipeline:
            self.on_response_complete()
        else:
            self._be_idle()

    def _write(self, response: Rendered, request_id: bytes, keep_alive: bool) -> None:
        always = (*self.server_state.default_headers, *ALWAYS)
        self.transport.write(written(response, request_id, always, keep_alive))

    def on_response_complete(self) -> None:
        """After an answer of the application, too, the connection waits as after all others; that uvicorn listens again
        ends no pause."""
        super().on_response_complete()
        if self.pause_timer is not None and self.pause_timer.when() > self.loop.time():
            self.flow.pause_reading()
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
            self._wait_idle()

    def _be_idle(self) -> None:
        self.server_state.total_requests += 1
        self._wait_idle()

    def _wait_idle(self) -> None:
        self.idle_since = self.loop.time()
        if self.idle_timer is None:
            self.idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        """One timer for many requests; it looks how long ago the last was."""
        left = self.idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0 or self._has_unread():
            self.idle_timer = self.loop.call_later(min(max(left, 0), self.timeout_keep_alive), self._close_if_idle)
        else:
            self.timeout_keep_alive_handler()

    def _has_unread(self) -> bool:
        """A request may have come while the loop was busy: closed now, its caller would see the connection broken."""
        if self.transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _hand_over(self, exchange: Exchange) -> None:
        """To the application, as if it had never been here."""
        self._calm_down()
        self.cycle = None
        if exchange.unparsed:
            self.has_short_way = False
            super().data_received(exchange.unparsed)
            self.has_short_way = True
        else:
            self._leave_it_to_uvicorn()
            self.cycle.body, self.cycle.more_body = bytearray(exchange.body), exchange.more_body
            self.cycle.message_event.set()
        self.cycle.scope[CHECKED] = exchange.checked  # before its task begins
        self.cycle.keep_alive = self.cycle.keep_alive and exchange.keep_alive

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
