"""Why a model answers as it does: what it saw, what every layer gave, and which parts of a picture the answer rests on.

Work of a thread: knows models and arrays, no HTTP and no queue.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict

from app.activations import LayerSeen, has_numbers, layer_seen
from app.card import INPUT_NAMES, Card, ImageInput, RowsInput
from app.computation import GoOn, Work
from app.errors import BadRequest, InvalidRequest, NotFound, UnsupportedMediaType
from app.feature_maps import tiled
from app.gradient_saliency import PICTURES, Gradients, gradients
from app.images import Code
from app.inside import BATCH, GraphLayer, Insides
from app.model import Model
from app.occlusion import Patches, patches_of
from app.open_inference import read_request
from app.pictures import Opened, fit_pictures, open_pictures, stack, undecoded_pixels
from app.png import address, encode_gray
from app.prediction import Prediction, predictions_of, told_as
from app.protocol import refusals
from app.rows import read_batch, require_few_and_short, require_finite, what_it_takes
from app.saliency import Occluded, Parts, features_replaced, occlusion, words_left_out
from app.service import PIXEL_SECONDS, UNMEASURED_SECONDS
from app.settings import Settings
from app.uploads import Upload

Array = NDArray[Any]
Inputs = Mapping[str, Array]  # of a graph, by name

TENSORS = 'tensors: send JSON, {"inputs": […]}, as under /v2'
# Of more layers than these no names are told in an error.
MOST_NAMED = 40
# What the layers' summaries and pictures take, roughly, and a session that is not open yet.
TELLING_SECONDS, OPENING_SECONDS = 0.005, 0.01


class Methods(TypedDict):
    """Ways to tell on which parts of a picture the answer rests."""

    gradients: NotRequired[Annotated[Gradients, Field(description="Where a graph of them lies beside the model.")]]
    occlusion: NotRequired[Occluded]
    features: NotRequired[Annotated[Parts, Field(description="Of a row: each feature by its usual value.")]]
    words: NotRequired[Annotated[Parts, Field(description="Of a text: each word left out.")]]


class Explanation(TypedDict):
    model: str
    version: str
    input: Annotated[
        Any,
        Field(
            description="What the model saw: a row, a text, or, preprocessed, the address of a PNG; null for tensors."
        ),
    ]
    prediction: Annotated[
        Prediction | None, Field(description="As `/predict` answers; null for a model without a card.")
    ]
    layers: Annotated[list[LayerSeen], Field(description="Every tensor that the graph computes, in order.")]
    methods: Annotated[Methods, Field(description="What the answer rests on; empty for tensors.")]


@dataclass(frozen=True)
class Wishes:
    """What is to be told beside the prediction and the layers' summaries."""

    top: int | None = None
    layer: str | None = None  # only this one, with its numbers and its picture
    pictures: bool = False  # of all layers
    gradients: bool = True
    occlusion: bool = True
    patch: int | None = None
    stride: int | None = None
    fill: int = 0


@dataclass(frozen=True)
class Asked:
    model: Model
    wishes: Wishes
    read: Opened | Inputs  # a picture that is perhaps not decoded yet, or what the graph takes
    patches: Patches | None
    seconds: float


def explaining(model: Model, insides: Insides, wishes: Wishes, settings: Settings) -> Work[Asked]:
    """The answer as JSON."""
    read = partial(_read, model=model, insides=insides, wishes=wishes, settings=settings)
    return Work(_counted_as(model), read, lambda asked, go_on: explain(asked, insides, go_on))


def drawing(model: Model, insides: Insides, wishes: Wishes, settings: Settings) -> Work[Asked]:
    """The picture of one layer as a PNG."""
    read = partial(_read, model=model, insides=insides, wishes=wishes, settings=settings)
    return Work(_counted_as(model), read, lambda asked, go_on: draw(asked, insides, go_on), _as_it_is)


def _as_it_is(png: object) -> bytes:
    assert isinstance(png, bytes)
    return png


def _counted_as(model: Model) -> str:
    return f"explain/{model.name}"


def body_of(model: Model, upload: Upload) -> bytes:
    """What came for it. Raises UnsupportedMediaType, or InvalidRequest for several files."""
    takes_pictures = model.card is not None and isinstance(model.card.input, ImageInput)
    if takes_pictures != (upload.document is None):
        raise UnsupportedMediaType(f"model {model.name!r} takes {what_it_takes(model.card) if model.card else TENSORS}")
    if upload.document is not None:
        return upload.document
    if len(upload.files) != 1:
        raise InvalidRequest(f"the form has {len(upload.files)} files; one picture is explained at a time")
    return upload.files[0]


def _read(body: bytes, model: Model, insides: Insides, wishes: Wishes, settings: Settings) -> Asked:
    """Only looks at a large picture; it is decoded where there is time."""
    seconds = TELLING_SECONDS if insides.is_ready(model) else TELLING_SECONDS + OPENING_SECONDS
    if model.card is None or not isinstance(model.card.input, ImageInput):
        inputs = _tensors(body, model) if model.card is None else _batch(body, model.card)
        require_few_and_short(inputs, settings.max_rows, settings.max_characters)
        return Asked(model, wishes, inputs, None, seconds + _seconds(model, 2 * model.profile.weight(inputs)))
    contract, patches = model.card.input, None
    [opened] = open_pictures([body], settings.max_pixels)
    if wishes.occlusion:
        patches = patches_of(contract.height, contract.width, wishes.patch, wishes.stride, wishes.fill)
    # A gradient takes about as long as two runs.
    rows = 2 + (patches.count if patches else 0) + (2 * PICTURES if wishes.gradients else 0)
    seconds += undecoded_pixels([opened]) * PIXEL_SECONDS + _seconds(model, rows)
    return Asked(model, wishes, opened, patches, seconds)


def _seconds(model: Model, rows: float) -> float:
    expected = model.profile.estimate(rows)
    return expected if expected < math.inf else UNMEASURED_SECONDS


def _batch(body: bytes, card: Card) -> Inputs:
    """One row or text."""
    return {INPUT_NAMES[card.input.kind]: read_batch(body, card, 1)}


def _tensors(body: bytes, model: Model) -> Inputs:
    """As the Open Inference Protocol writes them, one row."""
    with _told_as_ours():
        inputs = read_request(body, None, model.signature).inputs
    rows = {len(array) for array in inputs.values()} if model.profile.batched else {1}
    if rows != {1}:
        raise InvalidRequest(f"the inputs have {', '.join(map(str, sorted(rows)))} rows; one is explained at a time")
    return inputs


@contextmanager
def _told_as_ours() -> Iterator[None]:
    """Faults of tensors have another status where the protocol is not spoken."""
    try:
        yield
    except BadRequest as error:
        raise InvalidRequest(error.detail) from error


def explain(asked: Asked, insides: Insides, go_on: GoOn = lambda: None) -> Explanation:
    """`go_on` is called before each piece of work, and what it raises ends it."""
    model, wishes, one = asked.model, asked.wishes, asked.wishes.layer is not None
    inputs, noticed = _inputs(asked)
    go_on()
    prediction = _prediction(model, inputs, noticed, wishes.top)
    go_on()
    layers = [
        layer_seen(layer, values, picture=one or wishes.pictures, numbers=one)
        for layer, values in _seen(asked, inputs, insides)
    ]
    return Explanation(
        model=model.name,
        version=str(model.version),
        input=_input(model, inputs),
        prediction=prediction,
        layers=layers,
        methods=_methods(asked, inputs, prediction["index"], insides, go_on) if prediction else Methods(),
    )


def _methods(asked: Asked, inputs: Inputs, index: int, insides: Insides, go_on: GoOn) -> Methods:
    """What the kind of input has."""
    model, methods, taken = asked.model, Methods(), asked.model.require_card().input
    [[one]] = inputs.values()
    if not isinstance(taken, ImageInput):
        if not asked.wishes.occlusion:
            return methods
        rows = isinstance(taken, RowsInput)
        parts = features_replaced(model, one, index, go_on) if rows else words_left_out(model, one, index, go_on)
        if parts and rows:
            methods["features"] = parts
        elif parts:
            methods["words"] = parts
        return methods
    pixels = one
    if asked.wishes.gradients and (graph := insides.saliency.of(model)):
        methods["gradients"] = gradients(graph, pixels, index, go_on)
    if asked.patches and (found := occlusion(model, pixels, index, asked.patches, go_on)):
        methods["occlusion"] = found
    return methods


def _prediction(model: Model, inputs: Inputs, noticed: tuple[Code, ...], top: int | None) -> Prediction | None:
    card = model.card
    if card is None:
        return None
    outputs = dict(zip(card.asked, model.run(inputs, card.asked), strict=True))
    if not isinstance(card.input, ImageInput):
        require_finite(outputs)
    [prediction] = predictions_of(card, outputs, [noticed], top)
    return prediction


def _input(model: Model, inputs: Inputs) -> Any:
    """What the model saw, told; None for tensors, which the caller knows."""
    if model.card is None:
        return None
    [[seen]] = inputs.values()
    return address(seen) if isinstance(model.card.input, ImageInput) else told_as(np.array([seen]))[0]


def draw(asked: Asked, insides: Insides, go_on: GoOn = lambda: None) -> bytes:
    """One layer as a PNG. Raises InvalidRequest if none is named, or if it has no numbers."""
    if asked.wishes.layer is None:
        names = _names(asked.model, insides)
        raise InvalidRequest(f"a picture is of one layer: say which by ?layer=; there are: {names}")
    inputs, _ = _inputs(asked)
    go_on()
    [(layer, values)] = _seen(asked, inputs, insides)
    if not has_numbers(values):
        raise InvalidRequest(f"layer {layer.name!r} gives no numbers that could be drawn")
    return encode_gray(tiled(values.astype(np.float64)))


def _inputs(asked: Asked) -> tuple[Inputs, tuple[Code, ...]]:
    """What the graph takes, one row, and what was noticed of the picture."""
    if isinstance(asked.read, Mapping):
        return asked.read, ()
    contract = asked.model.require_card().input
    assert isinstance(contract, ImageInput)
    [picture] = fit_pictures([asked.read], contract)
    return {INPUT_NAMES["image"]: stack([picture.pixels])}, picture.warnings


def _names(model: Model, insides: Insides) -> str:
    names = [layer.name for layer in insides.table(model).layers]
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


def _seen(asked: Asked, inputs: Inputs, insides: Insides) -> Iterator[tuple[GraphLayer, Array | None]]:
    """The layers that are asked for and what they gave, without the axis that counts rows; None for what NumPy has no
    type for. Raises NotFound."""
    model, wanted = asked.model, asked.wishes.layer
    layers = [layer for layer in insides.table(model).layers if wanted in (None, layer.name)]
    if not layers:
        raise NotFound(f"model {model.name!r} has no layer {wanted!r}; there are: {_names(model, insides)}")
    with _told_as_ours(), refusals(model):
        given = insides.activations(model, inputs)
    for layer in layers:
        values = given.get(layer.name)
        counts_rows = layer.output_shape is not None and layer.output_shape[:1] == [BATCH]
        # An axis that depends on the numbers may be another size than the batch.
        alone = counts_rows and values is not None and len(values) == 1
        yield layer, values[0, ...] if values is not None and alone else values
