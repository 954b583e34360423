"""The metrics in Prometheus' text formats; under Triton's names too, so that dashboards made for it work."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from app.metrics import FAILURES, ROWS, SECONDS, STATUSES, WORKER_FIELDS, Metrics, Totals

MODEL = ("model", "version")
HISTOGRAMS = {
    "request": ("percept_request_seconds", "From the complete request to its answer, predictions alone.", SECONDS),
    "decode": ("percept_decode_seconds", "Decoding and fitting the pictures of a request.", SECONDS),
    "queue": ("percept_queue_seconds", "Waiting for the model.", SECONDS),
    "inference": ("percept_inference_seconds", "One call of the model, for all rows of a batch.", SECONDS),
    "batch_rows": ("percept_batch_rows", "Rows in one call of the model.", ROWS),
}
# Triton's words for why a request failed.
TRITON_REASONS = {
    "queue_full": "REJECTED",
    "deadline": "REJECTED",
    "client_gone": "CANCELED",
    "invalid": "OTHER",
    "internal": "BACKEND",
}
TRITON_DURATIONS = {"request": "request", "queue": "queue", "decode": "compute_input", "inference": "compute_infer"}


def exposition(metrics: Metrics, build: dict[str, str], accept: str) -> tuple[bytes, str]:
    """The text and its content type; OpenMetrics if the caller accepts it. `build` says what is running."""
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(_families(metrics, build)))
    return encode(registry), content_type


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        return self.families


def _families(metrics: Metrics, build: dict[str, str]) -> Iterator[Metric]:
    models, worker = metrics.model_totals(), metrics.worker_totals()
    for field, (name, text, bounds) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(name, text, labels=MODEL)
        for labels, totals in models.items():
            histogram.add_metric(labels, *_buckets(totals.values(field), bounds))
        yield histogram
    yield _counter(models, "percept_predictions", "Requests answered with a prediction.", "success")
    failures = CounterMetricFamily(
        "percept_rejections", "Requests for a model that got no prediction.", labels=(*MODEL, "reason")
    )
    for labels, totals in models.items():
        for reason in FAILURES:
            failures.add_metric((*labels, reason), totals.value(reason))
    yield failures
    responses = CounterMetricFamily("percept_responses", "All responses by HTTP status.", labels=("status",))
    for status, count in zip((*map(str, STATUSES), "other"), worker.values("responses"), strict=True):
        responses.add_metric((status,), count)
    yield responses
    yield GaugeMetricFamily(
        "percept_queued_requests", "Requests under way, over all workers.", worker.value("queued_requests")
    )
    loaded = max(part.numbers()[WORKER_FIELDS["models"].start] for part in metrics.workers)
    yield GaugeMetricFamily("percept_models_loaded", "Versions of models that a worker has loaded.", loaded)
    yield GaugeMetricFamily("percept_workers", "Processes that answer.", len(metrics.workers))
    yield InfoMetricFamily("percept_build", "What is running.", build)
    yield from _triton(models)


def _buckets(counts: list[float], bounds: tuple[float, ...]) -> tuple[list[tuple[str, float]], float]:
    """Upper bounds with cumulative counts, and the sum."""
    *counted, total = counts
    running, cumulative = 0.0, []
    for bound, count in zip((*map(floatToGoString, bounds), "+Inf"), counted, strict=True):
        running += count
        cumulative.append((bound, running))
    return cumulative, total


def _counter(models: dict[tuple[str, str], Totals], name: str, text: str, field: str) -> CounterMetricFamily:
    counter = CounterMetricFamily(name, text, labels=MODEL)
    for labels, totals in models.items():
        counter.add_metric(labels, totals.value(field))
    return counter


def _triton(models: dict[tuple[str, str], Totals]) -> Iterator[Metric]:
    """Triton's counters have no `_total` at their end, as gauges have none."""

    def family(name: str, text: str, *more: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"nv_inference_{name}", text, labels=(*MODEL, *more))

    success = family("request_success", "Requests answered with a prediction.")
    failure = family("request_failure", "Requests that got no prediction.", "reason")
    rows = family("count", "Rows inferred.")
    executions = family("exec_count", "Calls of the model.")
    durations = {
        stage: family(f"{name}_duration_us", f"Microseconds, stage {name}, added up.")
        for stage, name in TRITON_DURATIONS.items()
    }
    for labels, totals in models.items():
        success.add_metric(labels, totals.value("success"))
        for word in sorted(set(TRITON_REASONS.values())):
            count = sum(totals.value(reason) for reason, triton in TRITON_REASONS.items() if triton == word)
            failure.add_metric((*labels, word), count)
        *calls, inferred = totals.values("batch_rows")
        rows.add_metric(labels, inferred)
        executions.add_metric(labels, sum(calls))
        for stage, duration in durations.items():
            duration.add_metric(labels, round(totals.values(stage)[-1] * 1e6))
    yield from (success, failure, rows, executions, *durations.values())
