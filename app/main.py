"""create_app(settings): the one place that wires.

Run it with `percept serve`, or `uvicorn --factory app.main:create_app`.
"""

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import TypedDict

from fastapi import FastAPI

from app.envelope import Envelope
from app.errors import ConfigurationError
from app.head import HeadAsGet
from app.metrics import Metrics
from app.problems import add_error_handlers
from app.routes import docs, health, models, open_inference, predict
from app.routes import metrics as metrics_route
from app.routes.hot_path import HotPath
from app.runtime import CUDA, choose_providers
from app.scheduler import Scheduler
from app.service import Service
from app.settings import Settings, cores, read_settings, worker_count
from app.store import Store, load_store


class State(TypedDict):
    """What the lifespan yields; routes find it in `request.state`."""

    service: Service


def create_app(
    settings: Settings | None = None, store: Store | None = None, metrics: Metrics | None = None, slot: int = 0
) -> FastAPI:
    """Settings come from the environment unless they are given; models are loaded when the application starts, unless
    a store has been opened before. `metrics` is the memory that workers share, `slot` the worker's part of it."""
    settings = settings or read_settings()
    metrics = metrics or Metrics()
    worker = metrics.workers[slot]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        scheduler = Scheduler(
            worker,
            slots=max(1, cores() // worker_count(settings)),
            max_queue=settings.max_queue,
            max_batch=settings.max_batch,
            max_delay=settings.max_delay_ms / 1_000,
        )
        opened = store or open_store(settings)
        worker.gauge("models", sum(map(len, opened.models.values())))
        with closing(scheduler):
            yield State(service=Service(settings, opened, scheduler, metrics, worker))

    app = FastAPI(
        title="Percept",
        version=importlib.metadata.version("percept"),
        lifespan=lifespan,
        # FastAPI would export spans and metrics if the environment asked for it; nothing leaves this host unasked.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        # routes/docs.py serves these from local assets.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(HeadAsGet)
    app.add_middleware(HotPath)
    app.add_middleware(Envelope, count=worker.response)  # the last is the outermost
    add_error_handlers(app)
    for router in (
        predict.router,
        open_inference.router,
        models.router,
        health.router,
        metrics_route.router,
        docs.router,
    ):
        app.include_router(router)
    app.mount(docs.ASSETS, docs.assets())
    return app


def open_store(settings: Settings) -> Store:
    """Raises ConfigurationError for a missing folder, or if CUDA is asked for and there is none that works."""
    if not settings.artifacts.is_dir():
        raise ConfigurationError(f"PERCEPT_ARTIFACTS={settings.artifacts}: there is no such folder")
    store = load_store(settings.artifacts, choose_providers(settings.providers))
    if settings.providers == "cuda" and any(model.provider != CUDA for model in store.newest()):
        raise ConfigurationError("PERCEPT_PROVIDERS=cuda: onnxruntime found no usable CUDA device or driver here")
    return store
