"""Every request is a span that says what happened, continues the caller's trace, and has its stages below it."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from app import tracing
from app.errors import ConfigurationError
from app.main import create_app
from app.service import Service
from app.settings import Settings
from tests.conftest import SAMPLES, run_python

SEVEN = (SAMPLES / "seven.png").read_bytes()
PNG = {"Content-Type": "image/png"}
PATIENCE = 30
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module", autouse=True)
def plain_variables() -> Iterator[None]:
    """No OTEL_ variable of the caller's shell changes what a test sees."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("OTEL_")]:
            patch.delenv(name)
        yield


class Watched:
    """The application with tracing on, and the spans that it has sent."""

    def __init__(self, client: TestClient, exporter: InMemorySpanExporter) -> None:
        self.client, self.exporter = client, exporter

    def spans(self, method: str, path: str, **options: Any) -> list[ReadableSpan]:
        """Those of one request: its own, then its stages as they went."""
        self.exporter.clear()
        self.client.request(method, path, **options)
        return self.flushed()

    def flushed(self) -> list[ReadableSpan]:
        front: Any = self.client.app.front  # type: ignore[attr-defined]
        front.tracer.span_processor.force_flush()
        return sorted(self.exporter.get_finished_spans(), key=lambda span: (span.parent is not None, span.start_time))


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    exporter = InMemorySpanExporter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tracing.EXPORTERS, "memory", lambda: exporter)
        patch.setenv("OTEL_TRACES_EXPORTER", "memory")
        app = create_app(Settings(tracing=True))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Watched(client, exporter)


def milliseconds(span: ReadableSpan) -> float:
    assert span.start_time is not None and span.end_time is not None
    return (span.end_time - span.start_time) / 1e6


def test_request_is_a_span_with_the_attributes_of_the_conventions(watched: Watched) -> None:
    span, *_ = watched.spans("POST", "/predict/digits", content=SEVEN, headers={**PNG, "X-Request-ID": "mine"})

    assert (span.name, span.kind, span.parent) == ("POST /predict/{model}", SpanKind.SERVER, None)
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/predict/{model}",
        "url.path": "/predict/digits",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "percept.request_id": "mine",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.resource.attributes["service.name"] == "percept"


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/predict/digits?top=1", "POST /predict/{model}"),
        ("POST", "/v2/models/digits/infer", "POST /v2/models/{model}/infer"),
        ("POST", "/v2/models/digits/versions/1/infer", "POST /v2/models/{model}/versions/{version}/infer"),
        ("GET", "/models/mnist-cnn", "GET /models/{model}"),
        ("HEAD", "/health/ready", "HEAD /health/ready"),
        ("GET", "/docs/assets/swagger-ui.css", "GET /docs/assets/{file}"),
        ("GET", "/no/such/thing", "GET"),
        ("BREW", "/models", "HTTP /models"),
    ],
)
def test_names_are_few(watched: Watched, method: str, path: str, name: str) -> None:
    assert watched.spans(method, path)[0].name == name


def test_query_and_strange_method_are_told(watched: Watched) -> None:
    attributes = dict(watched.spans("BREW", "/models?cups=2")[0].attributes or {})

    assert attributes["url.query"] == "cups=2"
    assert (attributes["http.request.method"], attributes["http.request.method_original"]) == ("_OTHER", "BREW")


def test_trace_of_the_caller_is_continued(watched: Watched) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1", **PNG}
    span, *stages = watched.spans("POST", "/predict/digits", content=SEVEN, headers=headers)

    assert span.context is not None and span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.context.trace_state["vendor"] == "1"
    assert {stage.context.trace_id for stage in stages if stage.context} == {span.context.trace_id}


def test_trace_that_the_caller_does_not_record_is_not_recorded_here(watched: Watched) -> None:
    assert watched.spans("GET", "/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}) == []


def test_traceparent_that_is_none_begins_a_new_trace(watched: Watched) -> None:
    [span] = watched.spans("GET", "/models", headers={"traceparent": b"nonsense\xff"})

    assert span.parent is None


def infer(watched: Watched) -> list[ReadableSpan]:
    return watched.spans("POST", "/v2/models/digits/infer", content=(SAMPLES / "seven.json").read_bytes())


def predict(watched: Watched) -> list[ReadableSpan]:
    return watched.spans("POST", "/predict/digits", content=SEVEN, headers=PNG)


def predict_by_the_route(watched: Watched) -> list[ReadableSpan]:
    return watched.spans("POST", "/predict/digits?top=2", content=SEVEN, headers=PNG)


@pytest.mark.parametrize("ask", [predict, predict_by_the_route, infer])
def test_stages_are_below_the_request_and_one_after_the_other(
    watched: Watched, ask: Callable[[Watched], list[ReadableSpan]]
) -> None:
    span, *stages = ask(watched)

    assert [stage.name for stage in stages] == ["decode", "queue", "inference"]
    assert span.context is not None
    assert {stage.parent.span_id for stage in stages if stage.parent} == {span.context.span_id}
    decode, queue, inference = stages
    assert (decode.end_time, queue.end_time) == (queue.start_time, inference.start_time)
    assert span.start_time is not None and decode.start_time is not None
    assert inference.end_time is not None and span.end_time is not None
    assert span.start_time <= decode.start_time and inference.end_time <= span.end_time


def test_stages_take_what_server_timing_says(watched: Watched) -> None:
    watched.exporter.clear()
    answer = watched.client.post("/predict/digits", content=SEVEN, headers=PNG)
    _, *stages = watched.flushed()
    said = {name: float(value) for name, value in tracing.STAGE.findall(answer.headers["server-timing"])}

    assert {stage.name: milliseconds(stage) for stage in stages} == pytest.approx(said)
    assert said["inference"] > 0


def test_what_the_caller_did_wrong_is_no_error_of_ours(watched: Watched) -> None:
    [span] = watched.spans("POST", "/predict/nothing", content=SEVEN, headers=PNG)

    assert span.attributes is not None and span.attributes["http.response.status_code"] == 404
    assert span.status.status_code is StatusCode.UNSET


def test_deadline_that_is_over_is_an_error(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.routes.hot_path.deadline_of", lambda text: time.perf_counter() - 1)
    [span] = watched.spans("POST", "/predict/digits", content=SEVEN, headers=PNG)

    assert span.attributes is not None
    assert (span.attributes["http.response.status_code"], span.attributes["error.type"]) == (504, "504")
    assert span.status.status_code is StatusCode.ERROR


def test_unexpected_fault_is_an_error_with_its_exception(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*arguments: Any) -> None:
        raise ZeroDivisionError("no")

    monkeypatch.setattr(Service, "predict", fail)
    [span] = watched.spans("POST", "/predict/digits", content=SEVEN, headers=PNG)

    assert span.attributes is not None
    assert (span.attributes["http.response.status_code"], span.attributes["error.type"]) == (500, "ZeroDivisionError")
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


# How it is switched on and off.


def test_without_the_setting_nothing_of_it_is_imported() -> None:
    """OpenTelemetry's API comes with FastAPI; what makes and sends spans is ours to leave out."""
    code = (
        "import sys, app.cli, app.worker\nfrom app.main import create_app\n"
        "app = create_app()\nprint(type(app.front).__name__, *sys.modules)"
    )
    front, *loaded = run_python(code).split()

    assert front == "Envelope"
    assert not {"app.tracing", "opentelemetry.sdk", "opentelemetry.exporter", "requests"} & set(loaded)


def test_extra_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "app.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError) as error:
        create_app(Settings(tracing=True))

    assert error.value.detail == (
        "PERCEPT_TRACING=true: opentelemetry.sdk.trace is not installed; pip install 'percept[tracing]' brings it"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger", "OTEL_TRACES_EXPORTER=jaeger: allowed is otlp, console, none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: allowed is http/protobuf"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "OpenTelemetry cannot be set up by the OTEL_ variables: max_queue_size must"),
    ],
)
def test_what_cannot_be_followed_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as error:
        tracing.Tracing("1")

    assert error.value.detail.startswith(message)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OTEL_SERVICE_NAME", "digits", {"service.name": "digits", "service.version": "1"}),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=a,service.version=2",
            {"service.name": "a", "service.version": "2"},
        ),
    ],
)
def test_operator_may_name_the_service(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: dict[str, str]
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv(name, value)
    attributes = tracing.Tracing("1").provider.resource.attributes

    assert {key: attributes[key] for key in expected} == expected


class Stuck(SpanExporter):
    def __init__(self) -> None:
        self.released = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.released.wait(PATIENCE)
        return SpanExportResult.FAILURE


def test_collector_that_does_not_answer_keeps_nobody_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = Stuck()
    monkeypatch.setitem(tracing.EXPORTERS, "stuck", lambda: stuck)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "stuck")
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.1)
    it = tracing.Tracing("1")
    it.tracer.start_span("one").end()
    started = time.monotonic()
    it.close()

    assert time.monotonic() - started < PATIENCE / 2
    assert "the last spans are given up" in caplog.text
    stuck.released.set()


class Collector(BaseHTTPRequestHandler):
    received: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        self.received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def test_spans_reach_a_collector_when_the_application_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[tuple[str, bytes]] = []
    with HTTPServer(("127.0.0.1", 0), type("Here", (Collector,), {"received": received})) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        with TestClient(create_app(Settings(tracing=True))) as client:
            client.get("/health/live")
        server.shutdown()
        thread.join()
    [(path, body)] = received
    [of_service] = ExportTraceServiceRequest.FromString(body).resource_spans

    assert path == "/v1/traces"
    assert [span.name for span in of_service.scope_spans[0].spans] == ["GET /health/live"]


def test_what_is_no_request_passes(watched: Watched) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    front: Any = watched.client.app.front  # type: ignore[attr-defined]
    asyncio.run(tracing.Traced(app, front.tracer, [])({"type": "lifespan"}, None, None))  # type: ignore[arg-type]

    assert seen == ["lifespan"]
