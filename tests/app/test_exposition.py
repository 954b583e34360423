"""GET /metrics: the text that Prometheus reads agrees with what was asked, and no caller can invent a label."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from onnx import TensorProto, helper
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from app.card import Golden, Tensor, write_metadata
from app.errors import Overloaded
from app.exposition import exposition
from app.main import create_app
from app.metrics import FAILURES, ROWS, SECONDS, STAGES, STATUSES, Metrics
from app.settings import Settings
from tests.conftest import MODELS, SAMPLES
from tests.onnx_models import LABELS, SIDE, brightness_card, graph_of, write_brightness, write_model

SEVEN = (SAMPLES / "seven.png").read_bytes()
PNG = {"Content-Type": "image/png"}
BUILD = {"percept": "1.2.3"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def families(metrics: Metrics) -> dict[str, Metric]:
    text, _ = exposition(metrics, BUILD, "")
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def samples(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


@pytest.fixture(scope="module")
def service() -> Iterator[TestClient]:
    with TestClient(create_app(Settings())) as client:
        yield client


def scrape(client: TestClient) -> Samples:
    return samples(client.get("/metrics").text)


def test_every_family_is_there_with_its_type() -> None:
    metrics = Metrics()
    metrics.workers[0].model("m", "1").success(0.1)

    assert {name: family.type for name, family in families(metrics).items()} == {
        "percept_request_seconds": "histogram",
        "percept_decode_seconds": "histogram",
        "percept_queue_seconds": "histogram",
        "percept_inference_seconds": "histogram",
        "percept_batch_rows": "histogram",
        "percept_predictions": "counter",
        "percept_rejections": "counter",
        "percept_responses": "counter",
        "percept_queued_requests": "gauge",
        "percept_models_loaded": "gauge",
        "percept_workers": "gauge",
        "percept_build_info": "gauge",
        "nv_inference_request_success": "gauge",
        "nv_inference_request_failure": "gauge",
        "nv_inference_count": "gauge",
        "nv_inference_exec_count": "gauge",
        "nv_inference_request_duration_us": "gauge",
        "nv_inference_queue_duration_us": "gauge",
        "nv_inference_compute_input_duration_us": "gauge",
        "nv_inference_compute_infer_duration_us": "gauge",
    }


def test_every_family_says_what_it_is() -> None:
    assert all(family.documentation for family in families(Metrics()).values())


@pytest.mark.parametrize("stage", STAGES)
def test_histograms_have_exact_and_cumulative_bounds(stage: str) -> None:
    metrics = Metrics(2)
    for worker in metrics.workers:
        for seconds in (0.0001, 0.0002, 3.0, 11.0):
            getattr(worker.model("m", "1"), stage).observe(seconds)
    found = samples(exposition(metrics, BUILD, "")[0].decode())
    name = f"percept_{stage}_seconds"
    buckets = {
        float(dict(labels)["le"]): count for (sample, labels), count in found.items() if sample == f"{name}_bucket"
    }

    assert list(buckets) == [*SECONDS, float("inf")]
    assert buckets == {bound: 2.0 if bound == 0.0001 else 4.0 if bound < 3 else 6.0 for bound in SECONDS} | {
        float("inf"): 8.0
    }
    assert value(found, f"{name}_count", model="m", version="1") == 8
    assert value(found, f"{name}_sum", model="m", version="1") == pytest.approx(28.0006)


def test_batches_are_told_by_rows_and_under_tritons_names() -> None:
    metrics = Metrics()
    model = metrics.workers[0].model("m", "1")
    for rows in (1, 5, 2_000):
        model.batch(rows, 0.5, 0)
    found = samples(exposition(metrics, BUILD, "")[0].decode())
    labels = {"model": "m", "version": "1"}

    counts = [value(found, "percept_batch_rows_bucket", le=f"{bound}", **labels) for bound in ROWS]
    assert counts == [1, 1, 1, *[2] * 8]
    assert value(found, "percept_batch_rows_bucket", le="+Inf", **labels) == 3
    assert value(found, "percept_batch_rows_sum", **labels) == 2_006
    assert value(found, "nv_inference_count", **labels) == 2_006
    assert value(found, "nv_inference_exec_count", **labels) == 3
    assert value(found, "nv_inference_compute_infer_duration_us", **labels) == 1_500_000


def test_failures_are_told_by_reason_and_by_tritons_words() -> None:
    metrics = Metrics()
    for place, reason in enumerate(FAILURES):
        metrics.workers[0].model("m", "1").add(reason, amount=10**place)
    found = samples(exposition(metrics, BUILD, "")[0].decode())
    labels = {"model": "m", "version": "1"}

    assert {reason: value(found, "percept_rejections_total", reason=reason, **labels) for reason in FAILURES} == {
        "queue_full": 1,
        "deadline": 10,
        "client_gone": 100,
        "invalid": 1_000,
        "internal": 10_000,
    }
    assert {
        word: value(found, "nv_inference_request_failure", reason=word, **labels)
        for word in ("REJECTED", "CANCELED", "OTHER", "BACKEND")
    } == {"REJECTED": 11, "CANCELED": 100, "OTHER": 1_000, "BACKEND": 10_000}


def test_responses_gauges_and_build_are_told() -> None:
    metrics = Metrics(3)
    for worker, rows, models in zip(metrics.workers, (1, 2, 3), (6, 6, 0), strict=True):
        worker.response(200)
        worker.response(418)
        worker.gauge("queued_requests", rows)
        worker.gauge("models", models)
    found = samples(exposition(metrics, BUILD, "")[0].decode())

    assert {status: value(found, "percept_responses_total", status=str(status)) for status in STATUSES} == (
        dict.fromkeys(STATUSES, 0) | {200: 3}
    )
    assert value(found, "percept_responses_total", status="other") == 3
    assert value(found, "percept_queued_requests") == 6
    assert value(found, "percept_models_loaded") == 6
    assert value(found, "percept_workers") == 3
    assert value(found, "percept_build_info", percept="1.2.3") == 1


def test_names_that_need_escaping_come_back() -> None:
    metrics = Metrics()
    name = 'a "quoted" \\ name\nof two lines'
    metrics.workers[0].model(name, "1").success(0.1)
    found = samples(exposition(metrics, BUILD, "")[0].decode())

    assert value(found, "percept_predictions_total", model=name, version="1") == 1


def test_openmetrics_is_spoken_to_those_who_ask_for_it() -> None:
    metrics = Metrics()
    metrics.workers[0].model("m", "1").success(0.1)
    text, content_type = exposition(metrics, BUILD, OPENMETRICS)
    plain, plain_type = exposition(metrics, BUILD, "text/html, */*")

    assert content_type.startswith("application/openmetrics-text;")
    assert text.endswith(b"# EOF\n")
    names = {family.name for family in openmetrics_families(text.decode())}
    assert {"percept_request_seconds", "percept_predictions", "percept_build"} <= names
    assert plain_type.startswith("text/plain;")
    assert b"# EOF" not in plain


# What the service counts.


def test_what_was_sent_is_what_is_told(service: TestClient) -> None:
    before = scrape(service)
    for _ in range(3):
        assert service.post("/predict/mnist-cnn", content=SEVEN, headers=PNG).status_code == 200
    files = [("file", ("a.png", SEVEN, "image/png"))] * 5
    assert service.post("/predict/mnist-cnn", files=files).status_code == 200
    assert service.post("/predict/mnist-cnn?top=1", content=SEVEN, headers=PNG).status_code == 200
    assert service.post("/predict/mnist-cnn", content=b"text", headers=PNG).status_code == 422
    assert service.get("/nowhere").status_code == 404
    after = scrape(service)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    labels = {"model": "mnist-cnn", "version": "1"}
    assert more("percept_predictions_total", **labels) == 5
    assert more("percept_request_seconds_count", **labels) == 5
    assert more("percept_decode_seconds_count", **labels) == 5
    assert more("percept_queue_seconds_count", **labels) == 5
    assert more("percept_inference_seconds_count", **labels) == 5
    assert more("percept_batch_rows_sum", **labels) == 9
    assert more("percept_batch_rows_bucket", le="1.0", **labels) == 4
    assert more("percept_batch_rows_bucket", le="8.0", **labels) == 5
    assert more("percept_rejections_total", reason="invalid", **labels) == 1
    assert more("percept_responses_total", status="200") == 5 + 1  # the first look at the metrics
    assert more("percept_responses_total", status="422") == 1
    assert more("percept_responses_total", status="404") == 1
    assert more("nv_inference_request_success", **labels) == 5
    assert more("nv_inference_count", **labels) == 9
    assert more("percept_request_seconds_sum", **labels) >= more("percept_inference_seconds_sum", **labels) > 0
    assert value(after, "percept_queued_requests") == 0
    assert value(after, "percept_models_loaded") == len(MODELS)
    assert value(after, "percept_workers") == 1


def test_alias_is_counted_under_the_models_own_name(service: TestClient) -> None:
    before = scrape(service)
    name = service.post("/predict/digits", content=SEVEN, headers=PNG).json()["model"]
    after = scrape(service)
    labels = {"model": name, "version": "1"}

    assert name != "digits"
    assert (
        value(after, "percept_predictions_total", **labels) - value(before, "percept_predictions_total", **labels) == 1
    )
    assert 'model="digits"' not in service.get("/metrics").text


def test_no_caller_invents_a_label(service: TestClient) -> None:
    for name in ("letters", 'x"} 1', "mnist-cnn%20", "%00", "a" * 1_000):
        assert service.post(f"/predict/{name}", content=SEVEN, headers=PNG).status_code == 404
        assert service.post(f"/predict/{name}?version=7", content=SEVEN, headers=PNG).status_code == 404
    service.post("/predict/mnist-cnn?version=7", content=SEVEN, headers=PNG)
    service.request("BREW", "/predict/mnist-cnn")
    text = service.get("/metrics").text

    named = set(re.findall(r'model="([^"]*)"', text))
    assert named <= set(MODELS)
    assert set(re.findall(r'version="([^"]*)"', text)) <= {"1"}
    assert "letters" not in text


def test_refusals_are_counted(service: TestClient) -> None:
    scheduler = service.app_state["service"].scheduler
    before = scrape(service)
    scheduler.admitted += scheduler.max_queue
    try:
        answer = service.post("/predict/mnist-cnn", content=SEVEN, headers=PNG)
    finally:
        scheduler.admitted -= scheduler.max_queue
    after = scrape(service)
    labels = {"model": "mnist-cnn", "version": "1", "reason": "queue_full"}

    assert (answer.status_code, answer.headers["retry-after"]) == (Overloaded.status, "1")
    assert value(after, "percept_rejections_total", **labels) - value(before, "percept_rejections_total", **labels) == 1
    assert value(after, "percept_responses_total", status="429") == 1


def test_openmetrics_over_http(service: TestClient) -> None:
    answer = service.get("/metrics", headers={"Accept": OPENMETRICS})

    assert answer.headers["content-type"].startswith("application/openmetrics-text;")
    assert answer.text.endswith("# EOF\n")
    assert service.get("/metrics").headers["content-type"].startswith("text/plain;")


def test_failure_of_a_model_is_counted_and_told_as_ours(tmp_path: Path) -> None:
    """It looks each pixel up in a table that ends before 255."""
    graph = graph_of(
        [
            helper.make_node("Cast", ["image"], ["places"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "places"], ["pixels"]),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
            helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
            helper.make_node("Concat", ["column", "column"], ["probabilities"], axis=1),
        ],
        {"image": (TensorProto.UINT8, ["batch", SIDE, SIDE])},
        {"probabilities": (TensorProto.FLOAT, ["batch", len(LABELS)])},
        table=np.full(255, 0.5, np.float32),
        axes=np.array([1, 2], np.int64),
        one=np.array([1], np.int64),
    )
    golden = Golden(
        inputs={"image": Tensor.of(np.array([[[0, 0], [0, 0]], [[9, 9], [9, 9]]], np.uint8))},
        outputs={"probabilities": Tensor.of(np.full((2, 2), 0.5, np.float32))},
        tolerance={"CPUExecutionProvider": 1e-6},
    )
    helper.set_model_props(graph, write_metadata(brightness_card("fragile"), golden))
    write_model(tmp_path, graph, "fragile")
    write_brightness(tmp_path)
    with TestClient(create_app(Settings(artifacts=tmp_path)), raise_server_exceptions=False) as client:
        for query in ("", "?top=1"):
            assert client.post(f"/predict/fragile{query}", content=SEVEN, headers=PNG).status_code == 500
        assert client.post("/predict/brightness", content=SEVEN, headers=PNG).status_code == 200
        found = scrape(client)

    assert value(found, "percept_rejections_total", model="fragile", version="1", reason="internal") == 2
    assert value(found, "percept_predictions_total", model="fragile", version="1") == 0
    assert value(found, "nv_inference_request_failure", model="fragile", version="1", reason="BACKEND") == 2
    assert value(found, "percept_responses_total", status="500") == 2
    assert value(found, "percept_queued_requests") == 0
