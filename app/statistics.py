"""The statistics extension of the Open Inference Protocol: what all workers have counted, as Triton tells it."""

from collections.abc import Sequence
from typing import Any

from app.metrics import FAILURES, Metrics, Totals
from app.model import Model

Json = dict[str, Any]


def model_statistics(models: Sequence[Model], metrics: Metrics) -> Json:
    """`model_stats` of each of these; zeros for one that has not been asked yet."""
    totals = metrics.model_totals()
    return {"model_stats": [_statistics(model, totals.get((model.name, str(model.version)))) for model in models]}


def _statistics(model: Model, totals: Totals | None) -> Json:
    totals = totals or Totals.zeros()
    *calls, rows = totals.values("batch_rows")
    return {
        "name": model.name,
        "version": str(model.version),
        "last_inference": int(totals.value("last_inference_ms")),
        "inference_count": int(rows),
        "execution_count": int(sum(calls)),
        "inference_stats": {
            "success": _duration(totals.value("success"), totals.values("request")[-1]),
            # How long failures and writing answers took is not measured, nor is there a cache.
            "fail": _duration(sum(map(totals.value, FAILURES)), 0),
            "queue": _stage(totals, "queue"),
            "compute_input": _stage(totals, "decode"),
            "compute_infer": _stage(totals, "inference"),
            "compute_output": _duration(0, 0),
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "response_stats": {},
        "batch_stats": _batches(totals),
        "memory_usage": [],
    }


def _batches(totals: Totals) -> list[Json]:
    """By number of rows. Larger batches than are counted by their exact size are left out."""
    sizes = zip(totals.values("batch_count"), totals.values("batch_seconds"), strict=True)
    return [
        {
            "batch_size": rows,
            "compute_input": _duration(0, 0),
            "compute_infer": _duration(calls, seconds),
            "compute_output": _duration(0, 0),
        }
        for rows, (calls, seconds) in enumerate(sizes)
        if rows and calls
    ]


def _stage(totals: Totals, stage: str) -> Json:
    *counts, seconds = totals.values(stage)
    return _duration(sum(counts), seconds)


def _duration(count: float, seconds: float) -> Json:
    return {"count": int(count), "ns": round(1e9 * seconds)}
