"""create_app(settings): the one place that wires.

Run it with `percept serve`, or `uvicorn --factory app.main:create_app`.
"""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.backpressure import Backpressure
from app.documentation import Documentation
from app.envelope import Envelope, RequestIds
from app.errors import ConfigurationError
from app.guard import Guard, Guarded
from app.head import HeadAsGet
from app.keys import KeyFile
from app.lab.demo import Demos
from app.lab.descent import Graphs
from app.lab.graphs import LabGraphs
from app.lab.kmeans import GRAPH, lloyd_by
from app.problems import add_error_handlers
from app.repository import Repository
from app.request_heads import RequestHeads
from app.routes import (
    activations,
    cluster,
    convolution,
    docs,
    explain,
    gradients,
    health,
    models,
    networks,
    open_inference,
    page,
    predict,
    train,
)
from app.routes import metrics as metrics_route
from app.routes.hot_path import HotPath
from app.runtime import CPU, CUDA, choose_providers, open_session
from app.scheduler import Scheduler
from app.service import Service
from app.settings import Settings, cores, read_settings, worker_count
from app.shared import Shared, shared_by
from app.store import Store, load_store
from app.uploads import Arriving

if TYPE_CHECKING:
    from app.tracing import Tracing

# Headers that pages of other addresses may send, and read, beside those that every page may.
CORS_ASKED = (
    "Authorization",
    "Content-Type",
    "Inference-Header-Content-Length",
    "X-API-Key",
    "X-Request-ID",
    "X-Request-Timeout-Ms",
)
CORS_TOLD = ("Inference-Header-Content-Length", "Retry-After", "Server-Timing", "X-Request-ID")
CORS_SECONDS = 600  # so long a browser need not ask again whether it may

# In the order in which FastAPI looks at them.
ROUTERS = (
    predict.router,
    cluster.router,
    activations.router,
    networks.router,
    explain.router,
    gradients.router,
    train.router,
    convolution.router,
    open_inference.router,
    models.router,
    health.router,
    metrics_route.router,
    docs.router,
    page.router,
)


class State(TypedDict):
    """What the lifespan yields; routes find it in `request.state`, connections are made with it."""

    service: Service
    documentation: Documentation
    request_ids: RequestIds
    request_heads: RequestHeads
    backpressure: Backpressure
    short_way: bool  # whether connections may answer by themselves
    guard: Guard | None
    arriving: Arriving


class Percept(FastAPI):
    """FastAPI behind `front`, which answers what it can before FastAPI's own layers: each costs every request."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.front: ASGIApp = super().__call__

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.front(scope, receive, send)


def create_app(
    settings: Settings | None = None,
    shared: Shared | None = None,
    slot: int = 0,
    opened: Repository | None = None,
) -> Percept:
    """Settings come from the environment unless they are given. `shared` is what workers have in common, `slot` is this
    worker's place in it. Models are loaded when the application starts, unless a repository has been opened before."""
    settings = settings or read_settings()
    shared = shared or shared_by(1)
    worker = shared.metrics.workers[slot]
    tracing = open_tracing() if settings.tracing else None
    request_ids = RequestIds()
    guard = guard_of(settings, shared)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        repository = opened or open_repository(settings, shared, slot)
        scheduler = Scheduler(
            worker,
            slots=max(1, cores() // worker_count(settings)),
            max_queue=settings.max_queue,
            max_wait=settings.max_wait_ms / 1_000,
            max_batch=settings.max_batch,
            max_delay=settings.max_delay_ms / 1_000,
        )

        def count_models(store: Store) -> None:
            worker.gauge("models", len(store.all()))

        count_models(repository.store)
        repository.on_change = count_models
        watch = asyncio.create_task(repository.watch(settings.reload_seconds))
        # Spans last: those of the requests that end meanwhile are to leave, too.
        with closing(tracing) if tracing else nullcontext(), closing(scheduler), closing(repository):
            lloyd = lloyd_by(open_session(GRAPH.read_bytes(), [CPU]).run)
            lab = LabGraphs(lloyd, Demos(), Graphs(lambda content: open_session(content, [CPU])))
            service = Service(settings, repository, scheduler, shared.metrics, worker, lab)
            yield State(
                service=service,
                documentation=Documentation(app, service, guard),
                request_ids=request_ids,
                request_heads=RequestHeads(),
                backpressure=Backpressure(),
                short_way=tracing is None,
                guard=guard,
                arriving=Arriving(settings.max_arriving_bytes),
            )
        watch.cancel()

    app = Percept(
        title="Percept",
        version=version(),
        lifespan=lifespan,
        # FastAPI would export spans and metrics if the environment asked for it; nothing leaves this host unasked.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        # routes/docs.py serves these from local assets.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(HeadAsGet)
    answering: ASGIApp = HotPath(app.front)
    if guard:
        answering = Guarded(answering, guard)
    if settings.origins:
        answering = allowing(settings.origins, answering)
    app.front = Envelope(answering, worker.response, request_ids)
    add_error_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    if tracing:
        app.front = tracing.around(app.front, paths())
    return app


def guard_of(settings: Settings, shared: Shared) -> Guard | None:
    """Raises ConfigurationError for a file of keys that cannot be read."""
    if not settings.keys and not settings.rate_limit:
        return None
    keys = KeyFile(Path(settings.keys)) if settings.keys else None
    return Guard(keys, shared.rates, settings.rate_limit, settings.rate_burst)


def allowing(origins: Sequence[str], app: ASGIApp) -> ASGIApp:
    """Around what looks at keys: a browser asks first without one, and shows a refusal only if it may read it."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=CORS_ASKED,
        expose_headers=CORS_TOLD,
        max_age=CORS_SECONDS,
    )


def open_tracing() -> "Tracing":
    """Raises ConfigurationError if the extra is not installed, or told what it cannot do."""
    try:
        from app.tracing import Tracing
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("opentelemetry"):
            raise
        raise ConfigurationError(
            f"PERCEPT_TRACING=true: {error.name} is not installed; pip install 'percept[tracing]' brings it"
        ) from error
    return Tracing(version())


def version() -> str:
    return importlib.metadata.version("percept")


def paths() -> list[str]:
    """Of all routes, as they are written: `/predict/{model}`."""
    return [route.path for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def open_store(settings: Settings) -> Store:
    """For the command line, which waits for nothing else. Raises ConfigurationError as `open_repository` does."""
    return checked(load_store(folder_of(settings), choose_providers(settings.providers)), settings)


def open_repository(settings: Settings, shared: Shared, slot: int, measuring: bool = True) -> Repository:
    """Raises ConfigurationError for a missing folder, or if CUDA is asked for and there is none that works."""
    providers = choose_providers(settings.providers)
    repository = Repository(folder_of(settings), providers, shared.wishes, slot, shared.started)
    checked(repository.open(measuring), settings)
    return repository


def folder_of(settings: Settings) -> Path:
    if not settings.artifacts.is_dir():
        raise ConfigurationError(f"PERCEPT_ARTIFACTS={settings.artifacts}: there is no such folder")
    return settings.artifacts


def checked(store: Store, settings: Settings) -> Store:
    if settings.providers == "cuda" and any(model.provider != CUDA for model in store.newest()):
        raise ConfigurationError("PERCEPT_PROVIDERS=cuda: onnxruntime found no usable CUDA device or driver here")
    return store
