"""POST /explain/{model}: what a model saw, what every layer gave, and which parts of a picture the answer rests on."""

from copy import deepcopy
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.openapi.models import Example

from app.computation import require_room_for
from app.errors import InvalidRequest, NotFound
from app.explanation import drawing, explaining
from app.explanation_answer import Explanation
from app.explanation_request import MOST_COVERING_SECONDS, MOST_ROWS, Picture, Wishes, body_of
from app.feature_maps import MOST_TOGETHER
from app.layer_summary import MOST_NUMBERS
from app.model import Model
from app.occlusion import MOST_POSITIONS
from app.problems import documented
from app.routes.accepted import JSON, PNG
from app.routes.dependencies import DeadlineDep, ServiceDep, StoreDep, UploadDep
from app.routes.lab import Forms, faults, gives_too, respond
from app.routes.predict import IMAGE_BODY

router = APIRouter(tags=["explain"])

NAMES: dict[str, Example] = {"digits": {"value": "digits"}, "clothing": {"value": "clothing"}}
BODY = deepcopy(IMAGE_BODY)
BODY["requestBody"]["content"]["application/json"]["schema"]["properties"]["inputs"] = {
    "type": "array",
    "items": {"type": "object"},
    "minItems": 1,
    "description": f"Tensors as under /v2, of {MOST_ROWS} rows at most, for a model without a card.",
}
PICTURE = gives_too(
    PNG,
    f"As JSON, or one picture for who asks for it: `Accept: {PNG}` and `?layer=` or `?picture=`.",
    {"type": "string", "format": "binary"},
)
FAULTS = {
    404: (
        "No such model, version or layer.",
        NotFound(
            "model 'xor-mlp' has no layer 'conv'; there are: mul, sub_1, linear, relu, linear_1, relu_1, logits, "
            "probabilities"
        ),
    ),
    422: (
        "Readable, but not what can be explained: several pictures, no image, a patch out of range, no such class.",
        InvalidRequest("patch is 29; allowed is 1 to 28, the shorter side of what the model sees"),
    ),
}


async def _model(
    model: Annotated[str, Path(description="A model's name, or an alias.", openapi_examples=NAMES)],
    store: StoreDep,
    service: ServiceDep,
    version: Annotated[int | None, Query(description="Not the highest version, but this one.")] = None,
) -> Model:
    found = store.find(model, version)
    require_room_for(service, explaining(found, service.insides, Wishes(), service.settings))
    return found


async def _wishes(
    top: Annotated[int | None, Query(ge=1, description="Only the most probable classes, in order.")] = None,
    label: Annotated[
        str | None,
        Query(
            alias="class",
            description="The class that is explained: a label of the model's, or its index; the answered one unless "
            "given. Of models that have a number for each class, or one whose sign decides between two; without a "
            "card by its index.",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        Query(
            description="Only this layer, by its name on the model's page, with its picture and its numbers; "
            f"these up to {MOST_NUMBERS:,}."
        ),
    ] = None,
    pictures: Annotated[
        bool, Query(description=f"Whether every layer has its picture, of {MOST_TOGETHER:,} pixels together at most.")
    ] = False,
    numbers: Annotated[
        bool,
        Query(description=f"Whether every layer has its numbers, refused if they are over {MOST_NUMBERS:,} together."),
    ] = False,
    picture: Annotated[
        Picture | None,
        Query(
            description=f"What is drawn in the place of a layer with `Accept: {PNG}`: what the model saw, or one of "
            "the pictures that the JSON has under `methods`."
        ),
    ] = None,
    gradients: Annotated[
        bool, Query(description="Whether the score's gradients by the pixels are told, of an image classifier of ours.")
    ] = True,
    occlusion: Annotated[
        bool, Query(description="Whether patches are laid over a picture, features replaced, words left out.")
    ] = True,
    patch: Annotated[
        int | None,
        Query(
            ge=1,
            description="The side of the patch in pixels of what the model sees; a seventh of its shorter side unless "
            f"given. At most {MOST_POSITIONS} positions are tried, of a model without a card as many as take it "
            f"{MOST_COVERING_SECONDS:g} seconds; unless given, the patch is then larger.",
        ),
    ] = None,
    stride: Annotated[
        int | None, Query(ge=1, description="How far the patch moves, at most its side; half of it unless given.")
    ] = None,
    fill: Annotated[int, Query(ge=0, le=255, description="The level of what is covered; 0 is the background.")] = 0,
) -> Wishes:
    return Wishes(top, label, layer, pictures, picture, numbers, gradients, occlusion, patch, stride, fill)


@router.post(
    "/explain/{model}",
    summary="Look inside a model at work",
    responses=documented(408, 413, 415) | faults(FAULTS) | PICTURE,
    response_model=Explanation,
    openapi_extra=BODY,
)
async def explain(
    request: Request,
    model: Annotated[Model, Depends(_model)],
    wishes: Annotated[Wishes, Depends(_wishes)],
    deadline: DeadlineDep,
    upload: UploadDep,
    service: ServiceDep,
) -> Response:
    """Of one picture, row or text, or of tensors of some rows as under /v2 for a model without a card: what the model
    saw after the preprocessing, the prediction, every layer of the graph with the least, the greatest and the mean of
    what it gave, and, of a picture, how much the answer's score changes with each pixel (gradient, gradient × input,
    SmoothGrad, integrated gradients), and by how much its probability falls when a patch covers a part (occlusion), a
    feature of a row is replaced by its mean over the training data or by each other value that it may have, or a word
    of a text is left out; all of it of the answered class, or that of `?class=`: what speaks for a 1 where a 7 was
    answered? A model without a card has its layers, and where it takes one tensor [1, height, width] or [1, channels,
    height, width] and gives [1, n], patches over that.
    With `Accept: image/png` and `?layer=` that layer's maps side by side, with `?picture=` what the model saw or what
    its answer rests on."""
    asked = (model, service.insides, wishes, service.settings)
    forms: Forms = {JSON: explaining(*asked), PNG: drawing(*asked)}
    return await respond(request, service, forms, body_of(model, upload), deadline)
