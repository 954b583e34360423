"""GET /models…: what the service says about its models."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from app.catalogue import Catalogue, ModelPage, catalogue, model_page
from app.computation import compute
from app.errors import InvalidRequest
from app.model_graph import drawing, reading
from app.problems import documented
from app.routes.accepted import SVG
from app.routes.callers import gone
from app.routes.dependencies import DeadlineDep, ServiceDep, StoreDep
from app.routes.lab import faults, respond

router = APIRouter(tags=["models"])

Name = Annotated[
    str, Path(description="A model's name, or an alias.", openapi_examples={"mnist-cnn": {"value": "mnist-cnn"}})
]
Version = Annotated[int | None, Query(description="Not the highest version, but this one.")]


@router.get("/models", summary="All models")
async def list_models(store: StoreDep) -> Catalogue:
    """What is served, which model answers under an alias, and which artifacts were refused and why."""
    return catalogue(store)


GRAPH_FAULTS = {
    422: (
        "A file that onnxruntime reads and that cannot be looked into here.",
        InvalidRequest("model 'odd' cannot be looked into: a field of wire type 3 is not read here"),
    ),
}


@router.get(
    "/models/{model}",
    summary="One model",
    responses=documented(404, 422) | faults({}),
)
async def show_model(
    model: Name, store: StoreDep, service: ServiceDep, request: Request, deadline: DeadlineDep, version: Version = None
) -> ModelPage:
    """Its card with the layer table and the training history, the layers and operations of its graph, its figures, the
    address of its graph as a picture, and a call to paste."""
    found, insides = store.find(model, version), service.insides
    if insides.known_table(found) is None:
        await compute(service, reading(found, insides), b"", deadline, lambda: gone(request.receive))
    return model_page(found, store, str(request.base_url).rstrip("/"), insides.known_table(found))


@router.get(
    "/models/{model}/graph",
    summary="A model's graph, drawn",
    response_class=Response,
    responses={200: {"content": {SVG: {"schema": {"type": "string"}}}, "description": "The picture."}}
    | documented(404)
    | faults(GRAPH_FAULTS),
)
async def show_graph(
    model: Name, store: StoreDep, service: ServiceDep, request: Request, deadline: DeadlineDep, version: Version = None
) -> Response:
    """As SVG, from the inputs at the top to the outputs at the bottom: every operation of the file with the tensor that
    it gives, its shape and its parameters, and an edge for each tensor that goes from one to another; more where a
    pointer rests. Also of a file without a card. As numbers it is under `graph` on the model's page."""
    found = store.find(model, version)
    return await respond(request, service, {SVG: drawing(found, service.insides)}, b"", deadline)


@router.get(
    "/models/{model}/figures/{figure}",
    summary="A picture of a model",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "The picture."}, **documented(404, 422)},
)
async def show_figure(
    model: Name,
    figure: Annotated[
        str, Path(description="As listed on the model's page.", openapi_examples={"training": {"value": "training"}})
    ],
    store: StoreDep,
    version: Version = None,
) -> Response:
    """Training curves, confusion matrix, 15 test pictures with their answers, the worst mistakes, the filters."""
    return Response(store.find(model, version).figure(figure), media_type="image/png")
