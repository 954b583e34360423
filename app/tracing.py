"""Spans for OpenTelemetry: one for each request, and below it the stages that the response's Server-Timing tells.

Imported only if PERCEPT_TRACING asks for it; where spans go and which of them is said by the OTEL_ variables.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ConfigurationError

logger = logging.getLogger("percept")

Headers = list[tuple[bytes, bytes]]

EXPORTERS: dict[str, Callable[[], SpanExporter]] = {"otlp": OTLPSpanExporter, "console": ConsoleSpanExporter}
NO_EXPORTER = "none"
PROTOCOL = "http/protobuf"
# So long the last spans may take to leave when the application stops, and no longer if nobody takes them.
FLUSH_SECONDS = 1.0
# The methods that the semantic conventions know; callers may invent others, and names are to be few.
METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
STAGE = re.compile(r"(\w+);dur=([\d.]+)")


class Tracing:
    """What makes spans and sends them, from a thread of its own. Made in the process that answers: threads do not
    outlive a fork."""

    def __init__(self, version: str, environment: Mapping[str, str] = os.environ) -> None:
        """Raises ConfigurationError for variables of OpenTelemetry that cannot be followed."""
        make = _exporter(environment)
        try:
            # The end is told by `close`: nobody else's is to be waited for.
            self.provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
            if make is not None:
                self.provider.add_span_processor(BatchSpanProcessor(make()))
        except ValueError as error:
            raise ConfigurationError(f"OpenTelemetry cannot be set up by the OTEL_ variables: {error}") from error
        self.tracer: Tracer = self.provider.get_tracer("percept", version)

    def around(self, app: ASGIApp, paths: Iterable[str]) -> "Traced":
        return Traced(app, self.tracer, paths)

    def close(self) -> None:
        """Send what is left. A collector that does not answer keeps no worker from ending."""
        flushing = threading.Thread(target=self.provider.shutdown, daemon=True)
        flushing.start()
        flushing.join(FLUSH_SECONDS)
        if flushing.is_alive():
            logger.warning("the last spans are given up: the exporter has not sent them within %g s", FLUSH_SECONDS)


def _exporter(environment: Mapping[str, str]) -> Callable[[], SpanExporter] | None:
    """None if spans are to go nowhere."""
    name = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    if name == NO_EXPORTER:
        return None
    if name not in EXPORTERS:
        raise _invalid("OTEL_TRACES_EXPORTER", name, ", ".join((*EXPORTERS, NO_EXPORTER)))
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := environment.get(variable):
            if protocol != PROTOCOL:
                raise _invalid(variable, protocol, PROTOCOL)
            break  # the first counts
    return EXPORTERS[name]


def _invalid(variable: str, value: str, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"{variable}={value}: allowed is {allowed}")


def _resource(version: str) -> Resource:
    """Who sends; what the operator says goes before what we call ourselves."""
    found = Resource.create()
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):  # OpenTelemetry's word for no name at all
        found = found.merge(Resource({SERVICE_NAME: "percept"}))
    return Resource({SERVICE_VERSION: version}).merge(found)


class HeadersGetter(Getter[Headers]):
    """A caller's headers, as the propagators ask for them."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        wanted = key.lower().encode()
        return [value.decode("latin-1") for name, value in carrier if name == wanted] or None

    def keys(self, carrier: Headers) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier]


GETTER = HeadersGetter()


class Traced:
    """Middleware around all others. `paths` are those of the routes, in the order in which they are looked at."""

    def __init__(self, app: ASGIApp, tracer: Tracer, paths: Iterable[str]) -> None:
        self.app, self.tracer = app, tracer
        self.routes = [compile_path(path)[:2] for path in dict.fromkeys(paths)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, began_at = time.perf_counter_ns(), time.time_ns()
        span = self._begin(scope, began_at)
        if not span.is_recording():
            await self.app(scope, receive, send)
            return

        def now() -> int:
            """Durations are no business of whoever sets the clock meanwhile."""
            return began_at + time.perf_counter_ns() - began

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                _note_response(span, message)
                self._add_stages(span, message["headers"], now())
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception as error:
            span.record_exception(error, timestamp=now())
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.set_attribute("percept.request_id", scope["request_id"])
            span.end(now())

    def _begin(self, scope: Scope, at: int) -> Span:
        method: str = scope["method"]
        route = self._route(scope)
        attributes = {"url.path": scope["path"], "url.scheme": scope["scheme"]}
        if scope["query_string"]:
            attributes["url.query"] = scope["query_string"].decode("latin-1")
        if method not in METHODS:
            attributes["http.request.method_original"] = method
        attributes["http.request.method"] = method if method in METHODS else "_OTHER"
        name = method if method in METHODS else "HTTP"
        if route is not None:
            attributes["http.route"] = route
            name += f" {route}"
        context = extract(scope["headers"], getter=GETTER)
        return self.tracer.start_span(name, context, SpanKind.SERVER, attributes, start_time=at)

    def _route(self, scope: Scope) -> str | None:
        """Found here, since the hot path goes past FastAPI's routing."""
        path: str = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        return next((route for pattern, route in self.routes if pattern.match(path)), None)

    def _add_stages(self, span: Span, headers: Headers, answered: int) -> None:
        """One after the other, the last until the answer."""
        timing = next((value.decode("latin-1") for name, value in headers if name == b"server-timing"), "")
        stages = [(name, round(1e6 * float(milliseconds))) for name, milliseconds in STAGE.findall(timing)]
        begins = answered - sum(duration for _, duration in stages)
        context = set_span_in_context(span)
        for name, duration in stages:
            self.tracer.start_span(name, context, start_time=begins).end(begins + duration)
            begins += duration


def _note_response(span: Span, message: Message) -> None:
    status: int = message["status"]
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)
