"""GET and POST /v2…: the Open Inference Protocol V2 over REST. What is said is made in app/protocol.py."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Request, Response

from app.errors import Forbidden
from app.model import Model
from app.open_inference import LENGTH_HEADER
from app.problems import documented_overload, documented_protocol
from app.protocol import (
    Body,
    check_load,
    check_unload,
    infer,
    model_config,
    model_metadata,
    model_ready,
    repository_index,
    server_metadata,
)
from app.routes.callers import gone
from app.routes.dependencies import DeadlineDep, ServiceDep, StoreDep
from app.service import Service
from app.statistics import model_statistics
from app.tensors import DATATYPES
from app.uploads import read_limited

router = APIRouter(prefix="/v2", tags=["open inference"])

MODEL, VERSION = "/models/{model}", "/models/{model}/versions/{version}"

# --- the documentation -----------------------------------------------------------------------------------------------

_VERSION: dict[str, Any] = {
    "name": "version",
    "in": "path",
    "required": True,
    "description": "Not the highest version, but this one.",
    "schema": {"type": "string"},
    "example": "1",
}
_LENGTH: dict[str, Any] = {
    "name": LENGTH_HEADER,
    "in": "header",
    "description": "Bytes of JSON before the tensors' bytes; 0 for a body that is the one input's bytes alone.",
    "schema": {"type": "integer", "minimum": 0},
}
_PARAMETERS = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
_INPUT = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "enum": list(DATATYPES)},
        "parameters": {**_PARAMETERS, "description": "`binary_data_size`: its bytes follow the JSON."},
        "data": {"type": "array", "items": {}, "description": "Row-major, nested or flat."},
    },
}
_OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "parameters": {
            **_PARAMETERS,
            "description": "`binary_data`: as bytes after the JSON. `classification`: the so many highest values as "
            "`value:index:label`.",
        },
    },
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "Comes back with the answer."},
        "parameters": {**_PARAMETERS, "description": "`binary_data_output`: every output as bytes after the JSON."},
        "inputs": {"type": "array", "items": _INPUT},
        "outputs": {"type": "array", "items": _OUTPUT, "description": "All, if none is named."},
    },
}
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
INFER: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}, **_BINARY}},
    "parameters": [_LENGTH],
}
INDEX: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
                "example": {"ready": True},
            }
        }
    }
}
ONE_VERSION: dict[str, Any] = {"parameters": [_VERSION]}
INFER_VERSION: dict[str, Any] = {**INFER, "parameters": [_VERSION, _LENGTH]}
INFER_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The outputs: JSON, or bytes after the JSON.", "content": _BINARY},
    **documented_protocol(400, 404, 408, 413, 415, 504),
    **documented_overload(protocol=True),
}

# --- the routes ------------------------------------------------------------------------------------------------------

Name = Annotated[
    str, Path(description="A model's name, or an alias.", openapi_examples={"digits": {"value": "digits"}})
]


async def _model(model: Name, request: Request, store: StoreDep) -> Model:
    return store.find_text(model, request.path_params.get("version"))


# The model comes before the body: a caller who misspelt it need not send the tensors.
ModelDep = Annotated[Model, Depends(_model)]


async def _roomy_model(model: ModelDep, service: ServiceDep) -> Model:
    service.require_room(model)
    return model


# Who would be refused afterwards need not send them either.
RoomyModelDep = Annotated[Model, Depends(_roomy_model)]


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")


async def _body(request: Request, service: Service) -> bytes:
    return b"".join([chunk async for chunk in read_limited(request, service.settings.max_body_bytes)])


@router.get("/", include_in_schema=False)
@router.get("", summary="The server")
async def server(request: Request) -> Response:
    """Its name, its version, and the extensions of the protocol that it offers."""
    return _json(server_metadata(request.app.version))


@router.get("/health/live", summary="Is the process alive?")
async def live() -> Response:
    """Answers as long as the process does."""
    return _json({"live": True})


@router.get("/health/ready", summary="Is every model served?", responses=documented_protocol(503))
async def ready(store: StoreDep) -> Response:
    """200 only when every model that should be loaded is; else 503, with each that is not."""
    store.require_ready()
    return _json({"live": True, "ready": True})


@router.get("/models/stats", summary="Statistics of all models")
async def all_statistics(service: ServiceDep) -> Response:
    """What all workers have counted since the service began: requests, rows, calls, time by stage."""
    return _json(model_statistics(service.store.all(), service.metrics))


@router.get(VERSION, summary="A version's tensors", responses=documented_protocol(404), openapi_extra=ONE_VERSION)
@router.get(MODEL, summary="A model's tensors", responses=documented_protocol(404))
async def metadata(model: ModelDep, store: StoreDep) -> Response:
    """Versions, inputs and outputs with datatype and shape; -1 is an axis of any size."""
    return _json(model_metadata(model, store))


@router.get(
    f"{VERSION}/ready",
    summary="Is a version served?",
    responses=documented_protocol(404, 503),
    openapi_extra=ONE_VERSION,
)
@router.get(f"{MODEL}/ready", summary="Is a model served?", responses=documented_protocol(404, 503))
async def one_ready(model: Name, request: Request, store: StoreDep) -> Response:
    """200 if it is; 503 with the reason if it was refused."""
    return _json(model_ready(store, model, request.path_params.get("version")))


@router.get(
    f"{VERSION}/config",
    summary="A version's configuration",
    responses=documented_protocol(404),
    openapi_extra=ONE_VERSION,
)
@router.get(f"{MODEL}/config", summary="A model's configuration", responses=documented_protocol(404))
async def config(model: ModelDep) -> Response:
    """As Triton tells it, for clients that look there for types and batch sizes."""
    return _json(model_config(model))


@router.post(f"{VERSION}/infer", summary="Ask a version", responses=INFER_RESPONSES, openapi_extra=INFER_VERSION)
@router.post(f"{MODEL}/infer", summary="Ask a model", responses=INFER_RESPONSES, openapi_extra=INFER)
async def ask(model: RoomyModelDep, deadline: DeadlineDep, request: Request, service: ServiceDep) -> Response:
    """Tensors in, tensors out. Models of pictures also take them as files: datatype `BYTES`, shape `[N]`, each file
    after its length in four bytes."""
    headers = request.headers
    body = Body(
        await _body(request, service),
        headers.get(LENGTH_HEADER),
        headers.get("content-encoding", ""),
        headers.get("accept-encoding", ""),
    )
    reply = await infer(service, model, body, deadline, lambda: gone(request.receive))
    return Response(reply.body, headers=reply.headers)


@router.get(
    f"{VERSION}/stats",
    summary="Statistics of a version",
    responses=documented_protocol(404),
    openapi_extra=ONE_VERSION,
)
@router.get(f"{MODEL}/stats", summary="Statistics of a model", responses=documented_protocol(404))
async def statistics(model: ModelDep, request: Request, service: ServiceDep) -> Response:
    """Of all its versions, if none is named."""
    named = "version" in request.path_params
    models = [model] if named else list(service.store.models[model.name].values())
    return _json(model_statistics(models, service.metrics))


CONTROL_RESPONSES = {
    200: {"description": "Every worker has done so.", "content": {}},
    **documented_protocol(400, 403, 404, 408, 413),
    **documented_overload(protocol=True),
}


def _require_control(request: Request, service: Service) -> None:
    """Raises Forbidden, also for another site's page: a browser lets it send an empty body unasked, and only keeps the
    answer from it."""
    service.require_model_control()
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin and origin not in (f"http://{host}", f"https://{host}", *service.settings.origins):
        raise Forbidden(
            f"a page of {origin[:100]!r} may not load or unload models; those named in PERCEPT_CORS_ORIGINS may"
        )


@router.post("/repository/{repository}/models/{model}/load", include_in_schema=False)
@router.post("/repository/models/{model}/load", summary="Load a model", responses=CONTROL_RESPONSES)
async def load(model: Name, request: Request, service: ServiceDep) -> Response:
    """All that lies in its folder, what is new there included. Only where the operator allows it."""
    _require_control(request, service)
    check_load(await _body(request, service))
    await service.repository.load(model)
    return Response()


@router.post("/repository/{repository}/models/{model}/unload", include_in_schema=False)
@router.post("/repository/models/{model}/unload", summary="Unload a model", responses=CONTROL_RESPONSES)
async def unload(model: Name, request: Request, service: ServiceDep) -> Response:
    """All its versions, until it is loaded again. Only where the operator allows it."""
    _require_control(request, service)
    check_unload(await _body(request, service))
    await service.repository.unload(model)
    return Response()


@router.post("/repository/{repository}/index", include_in_schema=False)
@router.post(
    "/repository/index",
    summary="All models and versions",
    responses=documented_protocol(400, 408, 413) | documented_overload(protocol=True),
    openapi_extra=INDEX,
)
async def index(request: Request, service: ServiceDep) -> Response:
    """Also those that were refused, and why; `{"ready": true}` leaves them out."""
    return _json(repository_index(service.store, await _body(request, service)))
