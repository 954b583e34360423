"""POST /cluster/{model}: pictures or rows in, clusters out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.openapi.models import Example
from pydantic import BaseModel

from app.membership import Membership
from app.model import Model
from app.problems import documented, documented_overload
from app.routes.callers import gone
from app.routes.dependencies import DeadlineDep, ServiceDep, StoreDep, UploadDep
from app.routes.predict import IMAGE_BODY

router = APIRouter(tags=["cluster"])

# The first is what Swagger UI fills in.
NAMES: dict[str, Example] = {name: {"value": name} for name in ("players-kmeans", "mnist-kmeans")}


class Clusters(BaseModel):
    model: str
    version: str
    clusters: list[Membership]


async def _model(
    model: Annotated[str, Path(description="A model whose task is clustering.", openapi_examples=NAMES)],
    store: StoreDep,
    service: ServiceDep,
    version: Annotated[int | None, Query(description="Not the highest version, but this one.")] = None,
) -> Model:
    found = store.find(model, version)
    service.require_clustering(found)
    service.require_room(found)
    return found


@router.post(
    "/cluster/{model}",
    summary="Find the clusters of pictures or rows",
    responses=documented(404, 408, 413, 415, 422, 504) | documented_overload(),
    response_model=Clusters,
    openapi_extra=IMAGE_BODY,
)
async def find_clusters(
    request: Request,
    model: Annotated[Model, Depends(_model)],
    deadline: DeadlineDep,
    upload: UploadDep,
    service: ServiceDep,
) -> Response:
    """One entry per file, row or text, in order: the cluster whose centroid is nearest, how far that is, and the
    centroid itself. What a model takes, and in which units it tells distances, is on its page."""
    answer = await service.cluster(model, upload, deadline, lambda: gone(request.receive))
    return Response(answer.json(), media_type="application/json", headers={"Server-Timing": answer.timings.header()})
