"""POST /predict/{model}: pictures in, predictions out."""

from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.openapi.models import Example
from pydantic import BaseModel

from app.model import Model
from app.prediction import Prediction, predict
from app.problems import documented
from app.routes.dependencies import DecodersDep, FilesDep, SettingsDep, StoreDep

router = APIRouter(tags=["predict"])

_BINARY = {"type": "string", "format": "binary"}
IMAGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "array", "items": _BINARY, "minItems": 1}},
                }
            },
            "image/*": {"schema": _BINARY},
        },
    }
}


# The first is what Swagger UI fills in.
NAMES: dict[str, Example] = {"digits": {"value": "digits"}, "clothing": {"value": "clothing"}}


class Predictions(BaseModel):
    model: str
    version: str
    predictions: list[Prediction]


async def _model(
    model: Annotated[str, Path(description="A model's name, or an alias.", openapi_examples=NAMES)],
    store: StoreDep,
    instead: Annotated[
        str | None, Query(alias="model", description="Another model with the same labels.", examples=["mnist-lenet"])
    ] = None,
    version: Annotated[int | None, Query(description="Not the highest version, but this one.")] = None,
) -> Model:
    return store.find_instead(model, instead, version) if instead else store.find(model, version)


@router.post(
    "/predict/{model}",
    summary="Classify pictures",
    responses=documented(404, 408, 413, 415, 422),
    response_model_exclude_none=True,
    openapi_extra=IMAGE_BODY,
)
async def predict_images(
    # The model comes first: a caller who misspelt it need not send the files.
    model: Annotated[Model, Depends(_model)],
    files: FilesDep,
    settings: SettingsDep,
    decoders: DecodersDep,
    response: Response,
    top: Annotated[int | None, Query(ge=1, description="Only the most probable classes, in order.")] = None,
) -> Predictions:
    """One entry per file, in order: `curl -F file=@samples/seven.png http://127.0.0.1:8000/predict/digits`"""
    answer = await run_sync(predict, model, files, settings.max_pixels, top, limiter=decoders)
    response.headers["Server-Timing"] = answer.server_timing()
    return Predictions(model=model.name, version=str(model.version), predictions=answer.predictions)
