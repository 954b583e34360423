"""GET and POST /v2…: the Open Inference Protocol V2 over REST."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Request, Response

from app.model import Model
from app.open_inference import LENGTH_HEADER
from app.problems import documented_protocol
from app.protocol import (
    Body,
    infer,
    model_config,
    model_metadata,
    model_ready,
    repository_index,
    server_metadata,
)
from app.routes.dependencies import DecodersDep, SettingsDep, StoreDep
from app.uploads import read_limited

router = APIRouter(prefix="/v2", tags=["open inference"])

Name = Annotated[
    str, Path(description="A model's name, or an alias.", openapi_examples={"digits": {"value": "digits"}})
]
VERSION: dict[str, Any] = {
    "parameters": [
        {
            "name": "version",
            "in": "path",
            "required": True,
            "description": "Not the highest version, but this one.",
            "schema": {"type": "string"},
            "example": "1",
        }
    ]
}
_TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {
            "type": "string",
            "description": "BOOL, UINT8 … UINT64, INT8 … INT64, FP16, FP32, FP64, BF16, BYTES",
        },
        "parameters": {"type": "object", "description": "`binary_data_size` where the data follow the JSON."},
        "data": {"type": "array", "items": {}, "description": "Row-major, nested or flat."},
    },
}
INFER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "parameters": {"type": "object"},
                        "inputs": {"type": "array", "items": _TENSOR},
                        "outputs": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "parameters": {
                                        "type": "object",
                                        "properties": {
                                            "binary_data": {"type": "boolean"},
                                            "classification": {"type": "integer", "minimum": 0},
                                        },
                                    },
                                },
                            },
                        },
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def answer(document: object) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")


async def _model(model: Name, request: Request, store: StoreDep) -> Model:
    return store.find_text(model, request.path_params.get("version"))


ModelDep = Annotated[Model, Depends(_model)]


@router.get("/", include_in_schema=False)
@router.get("", summary="The server")
async def server(request: Request) -> Response:
    """Its name, version, and the extensions of the protocol that it offers."""
    return answer(server_metadata(request.app.version))


@router.get("/health/live", summary="Is the process alive?")
async def live() -> Response:
    """Answers as long as the process does."""
    return answer({"live": True})


@router.get("/health/ready", summary="Is every model served?", responses=documented_protocol(503))
async def ready(store: StoreDep) -> Response:
    """200 only when every model that should be loaded is."""
    store.require_ready()
    return answer({"live": True, "ready": True})


@router.get(
    "/models/{model}/versions/{version}",
    summary="One version",
    openapi_extra=VERSION,
    responses=documented_protocol(404),
)
@router.get("/models/{model}", summary="A model's tensors", responses=documented_protocol(404))
async def metadata(model: ModelDep, store: StoreDep) -> Response:
    """Versions, inputs and outputs with datatype and shape; -1 is an axis of any size."""
    return answer(model_metadata(model, store))


@router.get(
    "/models/{model}/versions/{version}/ready",
    summary="Is a version served?",
    openapi_extra=VERSION,
    responses=documented_protocol(404, 503),
)
@router.get("/models/{model}/ready", summary="Is a model served?", responses=documented_protocol(404, 503))
async def one_ready(model: Name, request: Request, store: StoreDep) -> Response:
    """200 if it is; 503 with the reason if it was refused."""
    return answer(model_ready(store, model, request.path_params.get("version")))


@router.get(
    "/models/{model}/versions/{version}/config",
    summary="A version's configuration",
    openapi_extra=VERSION,
    responses=documented_protocol(404),
)
@router.get("/models/{model}/config", summary="A model's configuration", responses=documented_protocol(404))
async def config(model: ModelDep) -> Response:
    """As Triton tells it (`model_configuration`)."""
    return answer(model_config(model))


@router.post(
    "/models/{model}/versions/{version}/infer",
    summary="Ask a version",
    openapi_extra={**INFER_BODY, **VERSION},
    responses=documented_protocol(400, 404, 408, 413, 415),
)
@router.post(
    "/models/{model}/infer",
    summary="Ask a model",
    openapi_extra=INFER_BODY,
    responses=documented_protocol(400, 404, 408, 413, 415),
)
async def ask(model: ModelDep, request: Request, settings: SettingsDep, threads: DecodersDep) -> Response:
    """Tensors in, tensors out, as JSON or as bytes after the JSON (`Inference-Header-Content-Length`)."""
    headers = request.headers
    body = Body(
        b"".join([chunk async for chunk in read_limited(request, settings.max_body_bytes)]),
        headers.get(LENGTH_HEADER),
        headers.get("content-encoding", ""),
        headers.get("accept-encoding", ""),
    )
    reply = await infer(model, body, settings, threads)
    return Response(reply.body, headers=reply.headers)


@router.post("/repository/{repository}/index", include_in_schema=False)
@router.post("/repository/index", summary="All models and versions", responses=documented_protocol(400, 413))
async def index(request: Request, store: StoreDep, settings: SettingsDep) -> Response:
    """Also those that are not served, and why; `{"ready": true}` leaves them out."""
    body = b"".join([chunk async for chunk in read_limited(request, settings.max_body_bytes)])
    return answer(repository_index(store, body))
