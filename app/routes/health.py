"""GET /health/…: for probes and load balancers. Never queues."""

from fastapi import APIRouter
from pydantic import BaseModel

from app.problems import documented
from app.routes.dependencies import StoreDep

router = APIRouter(prefix="/health", tags=["health"])


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool
    models: int


@router.get("/live", summary="Is the process alive?")
async def live() -> Live:
    """Answers as long as the process does."""
    return Live(live=True)


@router.get("/ready", summary="Is every model served?", responses=documented(503))
async def ready(store: StoreDep) -> Ready:
    """200 only when every model that was there at the start has passed its golden rows; else 503, with each that has
    not. What is dropped in later and is refused does not take the service away from those it serves."""
    store.require_ready()
    return Ready(ready=True, models=len(store.models))
