"""create_app(settings): the one place that wires.

Run it with `percept serve`, or `uvicorn --factory app.main:create_app`.
"""

import importlib.metadata
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from anyio import CapacityLimiter
from fastapi import FastAPI

from app.errors import ConfigurationError
from app.head import HeadAsGet
from app.problems import add_error_handlers
from app.request_ids import RequestIds
from app.routes import docs, health, models, open_inference, predict
from app.runtime import CUDA, choose_providers
from app.settings import Settings, read_settings
from app.store import Store, load_store


class State(TypedDict):
    """What the lifespan yields; routes find it in `request.state`."""

    settings: Settings
    store: Store
    decoders: CapacityLimiter


def create_app(settings: Settings | None = None, store: Store | None = None) -> FastAPI:
    """Settings come from the environment unless they are given; models are loaded when the application starts, unless
    a store has been opened before."""
    settings = settings or read_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        # As many pictures are decoded at once as there are cores: more would only take more memory.
        decoders = CapacityLimiter(os.cpu_count() or 1)
        yield State(settings=settings, store=store or open_store(settings), decoders=decoders)

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
    app.add_middleware(RequestIds)  # the last is the outermost
    add_error_handlers(app)
    for router in (predict.router, open_inference.router, models.router, health.router, docs.router):
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
