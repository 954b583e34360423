"""create_app(settings): the one place that wires.

Run it with `percept serve`, or `uvicorn --factory app.main:create_app`.
"""

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI

from app.errors import ConfigurationError
from app.problems import add_error_handlers
from app.request_ids import RequestIds
from app.routes import docs, health, models, predict
from app.runtime import CUDA, Providers, choose_providers
from app.settings import Settings, read_settings
from app.store import Store, load_store


class State(TypedDict):
    """What the lifespan yields; routes find it in `request.state`."""

    settings: Settings
    store: Store


def create_app(settings: Settings | None = None) -> FastAPI:
    """Settings come from the environment unless they are given. Models are loaded when the application starts.

    Raises ConfigurationError for settings that cannot be met on this machine.
    """
    settings = settings or read_settings()
    providers = check(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        yield State(settings=settings, store=open_store(settings, providers))

    app = FastAPI(
        title="Percept",
        version=importlib.metadata.version("percept"),
        lifespan=lifespan,
        # routes/docs.py serves these from local assets.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(RequestIds)
    add_error_handlers(app)
    for router in (predict.router, models.router, health.router, docs.router):
        app.include_router(router)
    app.mount(docs.ASSETS, docs.assets())
    return app


def check(settings: Settings) -> Providers:
    """The execution providers to use. Raises ConfigurationError for a missing folder or for CUDA in vain."""
    if not settings.artifacts.is_dir():
        raise ConfigurationError(f"PERCEPT_ARTIFACTS={settings.artifacts}: there is no such folder")
    return choose_providers(settings.providers)


def open_store(settings: Settings, providers: Providers | None = None) -> Store:
    """Raises ConfigurationError if CUDA is asked for and no model could be put there."""
    store = load_store(settings.artifacts, providers or check(settings))
    if settings.providers == "cuda" and any(model.provider != CUDA for model in store.newest()):
        raise ConfigurationError("PERCEPT_PROVIDERS=cuda: onnxruntime found no usable CUDA device or driver here")
    return store
