"""POST /predict/{model}: pictures, rows or texts in, predictions out. Most pictures hot_path.py answers before."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.openapi.models import Example
from pydantic import BaseModel

from app.objects import MOST_OBJECTS
from app.problems import documented, documented_overload
from app.routes.callers import gone
from app.routes.dependencies import DeadlineDep, ServiceDep, StoreDep, UploadDep
from app.sheets import MOST_SHEETS, SheetPrediction, Wishes
from app.store import Answering

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
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "rows": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
                        "texts": {"type": "array", "items": {"type": "string"}},
                    },
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            },
        },
    }
}


# The first is what Swagger UI fills in.
NAMES: dict[str, Example] = {"digits": {"value": "digits"}, "clothing": {"value": "clothing"}}


class Predictions(BaseModel):
    model: str
    version: str
    predictions: list[SheetPrediction]


async def _answering(
    model: Annotated[str, Path(description="A model's name, or an alias.", openapi_examples=NAMES)],
    store: StoreDep,
    service: ServiceDep,
    instead: Annotated[
        str | None, Query(alias="model", description="Another model with the same labels.", examples=["mnist-lenet"])
    ] = None,
    version: Annotated[int | None, Query(description="Not the highest version, but this one.")] = None,
) -> Answering:
    found = Answering(store.find_instead(model, instead, version)) if instead else store.find_answering(model, version)
    service.require_room(found.model)
    return found


async def _wishes(
    top: Annotated[int | None, Query(ge=1, description="Only the most probable classes, in order.")] = None,
    many: Annotated[
        bool,
        Query(
            description="Of pictures of digits: every object on them, with its place. At most "
            f"{MOST_SHEETS} pictures, and of each the {MOST_OBJECTS} that stand out most."
        ),
    ] = False,
    as_seen: Annotated[bool, Query(description="Of pictures: what the model saw, as the address of a PNG.")] = False,
) -> Wishes:
    return Wishes(top, many, as_seen)


@router.post(
    "/predict/{model}",
    summary="Classify pictures, rows or texts",
    responses=documented(404, 408, 413, 415, 422, 504) | documented_overload(),
    response_model=Predictions,
    openapi_extra=IMAGE_BODY,
)
async def predict_images(
    request: Request,
    # The model comes first: a caller who misspelt it need not send the files.
    answering: Annotated[Answering, Depends(_answering)],
    deadline: DeadlineDep,
    upload: UploadDep,
    service: ServiceDep,
    wishes: Annotated[Wishes, Depends(_wishes)],
) -> Response:
    """One entry per file, row or text, in order: `curl -F file=@samples/seven.png http://127.0.0.1:8000/predict/digits`.
    What a model takes is on its page: pictures as files, or JSON with `rows` or `texts`. Where a subject has a model of
    photographs in colour beside that of the data set's small gray pictures, its alias looks at each picture and asks
    the one or the other; an answer that the model of photographs gave says so by its `model`."""
    answer = await service.predict(
        answering.model, upload, wishes, deadline, lambda: gone(request.receive), answering.photographs
    )
    return Response(answer.body, media_type="application/json", headers={"Server-Timing": answer.timings.header()})
