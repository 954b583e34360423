"""POST /cluster/{model}: pictures or rows in, clusters out. POST /cluster/fit: k-means on the caller's own points."""

from copy import deepcopy
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.openapi.models import Example
from pydantic import BaseModel

from app.computation import TOO_LATE, require_room_for
from app.errors import ContentTooLarge, DeadlineExceeded, InvalidRequest
from app.fit import fit_by
from app.lab.fit_answer import Fit
from app.lab.fit_request import MOST_BYTES, FitRequest
from app.membership import Membership
from app.model import Model
from app.problems import documented, documented_as, documented_overload
from app.routes.accepted import JSON
from app.routes.callers import gone
from app.routes.dependencies import DeadlineDep, ServiceDep, StoreDep, UploadDep
from app.routes.lab import faults, not_json, respond, takes
from app.routes.predict import IMAGE_BODY
from app.uploads import read_json

router = APIRouter(tags=["cluster"])

# The first is what Swagger UI fills in.
NAMES: dict[str, Example] = {name: {"value": name} for name in ("players-kmeans", "mnist-kmeans")}


# What is wrong here is other than with pictures.
NO_CLUSTERING = {
    422: (
        "Readable, but not what can be answered: a model that does not cluster, a wrong field, no image.",
        InvalidRequest(
            "model 'mnist-cnn' does not cluster, its task is classification; those that do: fashion-kmeans, "
            "mnist-kmeans, players-kmeans, tshirt-kmeans"
        ),
    )
}
NO_FIT = {
    413: (
        "More bytes, points or numbers than are allowed.",
        ContentTooLarge("points has 10,001 rows; at most 10,000 are allowed"),
    ),
    415: not_json("points", sent="text/csv"),
    422: (
        "Readable, but nothing that can be fitted: rows of several lengths, no number, a parameter out of range.",
        InvalidRequest("points: row 2 has 1 number, row 1 has 2; allowed are rows of one length"),
    ),
    504: (
        "The time that X-Request-Timeout-Ms allows was over before the points were read and the rounds had ended.",
        DeadlineExceeded(TOO_LATE),
    ),
}


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


async def _points(request: Request, service: ServiceDep) -> bytes:
    require_room_for(service, fit_by(service.lab.lloyd))
    return await read_json(request, service.settings.max_body_bytes, "points", MOST_BYTES)


# Before the other, so that "fit" is no model.
@router.post(
    "/cluster/fit",
    summary="k-means on your own points, round by round",
    responses=documented(408) | faults(NO_FIT),
    response_model=Fit,
    openapi_extra=takes(FitRequest),
)
async def fit(
    request: Request, deadline: DeadlineDep, points: Annotated[bytes, Depends(_points)], service: ServiceDep
) -> Response:
    """Lloyd's algorithm from a start of your choice: of every round the centroids, assignments and inertia, then why
    the rounds ended and where. In float64; distances are Euclidean, with the numbers as they are given: scale them if
    their units differ. A cluster that no point is nearest to gets the point farthest from its own centroid. The same
    request has the same answer. `X-Request-Timeout-Ms` ends the rounds, too."""
    return await respond(request, service, {JSON: fit_by(service.lab.lloyd)}, points, deadline)


@router.post(
    "/cluster/{model}",
    summary="Find the clusters of pictures or rows",
    responses=documented(404, 408, 413, 415, 504) | documented_as(NO_CLUSTERING) | documented_overload(),
    response_model=Clusters,
    openapi_extra=deepcopy(IMAGE_BODY),  # the examples are others
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
    return Response(answer.body, media_type="application/json", headers={"Server-Timing": answer.timings.header()})
