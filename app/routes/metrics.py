"""GET /metrics: for Prometheus. Whichever worker answers, the figures are those of all."""

import importlib.metadata

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response

from app.metrics import Metrics
from app.routes.dependencies import ServiceDep

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format, or OpenMetrics."}},
)
async def metrics(service: ServiceDep, request: Request) -> Response:
    """Latency by stage, rows per batch, queue, rejections and responses, of all workers together."""
    build = {package: importlib.metadata.version(package) for package in ("percept", "onnxruntime", "fastapi")}
    accept = request.headers.get("accept", "")
    text, content_type = await run_sync(_told, service.metrics, build, accept)  # many models take milliseconds
    return Response(text, headers={"Content-Type": content_type})


def _told(metrics: Metrics, build: dict[str, str], accept: str) -> tuple[bytes, str]:
    # prometheus_client, which most never need, is a thirtieth of the imports before the service is ready.
    from app.exposition import exposition

    return exposition(metrics, build, accept)
