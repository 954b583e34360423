"""GET /models…: what the service says about its models."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from app.catalogue import Catalogue, ModelPage, catalogue, graph_of, model_page
from app.problems import documented
from app.routes.dependencies import ServiceDep, StoreDep

router = APIRouter(tags=["models"])

Name = Annotated[
    str, Path(description="A model's name, or an alias.", openapi_examples={"mnist-cnn": {"value": "mnist-cnn"}})
]
Version = Annotated[int | None, Query(description="Not the highest version, but this one.")]


@router.get("/models", summary="All models")
async def list_models(store: StoreDep) -> Catalogue:
    """What is served, which model answers under an alias, and which artifacts were refused and why."""
    return catalogue(store)


@router.get("/models/{model}", summary="One model", responses=documented(404, 422))
async def show_model(
    model: Name, store: StoreDep, service: ServiceDep, request: Request, version: Version = None
) -> ModelPage:
    """Its card with the layer table and the training history, the layers and operations of its graph, its figures, and
    a call to paste."""
    found = store.find(model, version)
    # The first time it is read and run.
    graph = service.insides.known_table(found) or await service.scheduler.decode(0, graph_of, found, service.insides)
    return model_page(found, store, str(request.base_url).rstrip("/"), graph)


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
