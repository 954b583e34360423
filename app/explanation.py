"""Why a model answers as it does: what it saw, what every layer gave, and which parts of a picture the answer rests on.

Work of a thread: knows models and arrays, no HTTP and no queue.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict

from app.activations import LayerSeen, has_numbers, layer_seen
from app.card import INPUT_NAMES, Card, ImageInput
from app.computation import GoOn, Work
from app.errors import InvalidRequest, NotFound, UnsupportedMediaType
from app.feature_maps import tiled
from app.inside import BATCH, GraphLayer, Insides
from app.model import Model
from app.occlusion import Patches, patches_of
from app.pictures import Opened, fit_pictures, open_pictures, stack, undecoded_pixels
from app.png import address, encode_gray
from app.prediction import Prediction, predictions_of, told_as
from app.rows import read_batch, require_few_and_short, require_finite, what_it_takes
from app.saliency import Occluded, occlusion
from app.service import PIXEL_SECONDS, UNMEASURED_SECONDS
from app.settings import Settings
from app.uploads import Upload

Array = NDArray[Any]

# Of more layers than these no names are told in an error.
MOST_NAMED = 40
# What the layers' summaries and pictures take, roughly, and a session that is not open yet.
TELLING_SECONDS, OPENING_SECONDS = 0.005, 0.01


class Methods(TypedDict):
    """Ways to tell on which parts of a picture the answer rests."""

    occlusion: NotRequired[Occluded]


class Explanation(TypedDict):
    model: str
    version: str
    input: Annotated[
        Any,
        Field(description="What the model saw: a picture, preprocessed, as the address of a PNG; a row; a text."),
    ]
    prediction: Annotated[Prediction, Field(description="As `/predict` answers.")]
    layers: Annotated[list[LayerSeen], Field(description="Every tensor that the graph computes, in order.")]
    methods: Annotated[Methods, Field(description="Empty for what is no picture.")]


@dataclass(frozen=True)
class Wishes:
    """What is to be told beside the prediction and the layers' summaries."""

    top: int | None = None
    layer: str | None = None  # only this one, with its numbers and its picture
    pictures: bool = False  # of all layers
    occlusion: bool = True
    patch: int | None = None
    stride: int | None = None
    fill: int = 0


@dataclass(frozen=True)
class Asked:
    model: Model
    wishes: Wishes
    read: Opened | Array  # a picture that is perhaps not decoded yet, or a batch of one row or text
    patches: Patches | None
    seconds: float

    @property
    def card(self) -> Card:
        return self.model.require_card()


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
    card = model.require_card()
    if isinstance(card.input, ImageInput) != (upload.document is None):
        raise UnsupportedMediaType(f"model {card.name!r} takes {what_it_takes(card)}")
    if upload.document is not None:
        return upload.document
    if len(upload.files) != 1:
        raise InvalidRequest(f"the form has {len(upload.files)} files; one picture is explained at a time")
    return upload.files[0]


def _read(body: bytes, model: Model, insides: Insides, wishes: Wishes, settings: Settings) -> Asked:
    """Only looks at a large picture; it is decoded where there is time."""
    card, seconds, patches = model.require_card(), TELLING_SECONDS, None
    read: Opened | Array
    if isinstance(card.input, ImageInput):
        [read] = open_pictures([body], settings.max_pixels)
        seconds += undecoded_pixels([read]) * PIXEL_SECONDS
        if wishes.occlusion:
            contract = card.input
            patches = patches_of(contract.height, contract.width, wishes.patch, wishes.stride, wishes.fill)
    else:
        read = read_batch(body, card, 1)
        require_few_and_short({"text": read}, 1, settings.max_characters)
    runs = model.profile.estimate(2 + (patches.count if patches else 0))
    seconds += runs if runs < math.inf else UNMEASURED_SECONDS
    return Asked(model, wishes, read, patches, seconds + (0 if insides.is_ready(model) else OPENING_SECONDS))


def explain(asked: Asked, insides: Insides, go_on: GoOn = lambda: None) -> Explanation:
    """`go_on` is called before each piece of work, and what it raises ends it."""
    model, card, wishes = asked.model, asked.card, asked.wishes
    batch, noticed = _batch(asked)
    go_on()
    outputs = dict(zip(card.asked, model.run({INPUT_NAMES[card.input.kind]: batch}, card.asked), strict=True))
    if not isinstance(card.input, ImageInput):
        require_finite(outputs)
    [prediction] = predictions_of(card, outputs, [noticed], wishes.top)
    go_on()
    one = wishes.layer is not None
    layers = [
        layer_seen(layer, values, picture=one or wishes.pictures, numbers=one)
        for layer, values in _seen(asked, batch, insides)
    ]
    methods = Methods()
    if asked.patches and (found := occlusion(model, batch[0], prediction["index"], asked.patches, go_on)):
        methods["occlusion"] = found
    return Explanation(
        model=model.name,
        version=str(model.version),
        input=address(batch[0]) if isinstance(card.input, ImageInput) else told_as(batch)[0],
        prediction=prediction,
        layers=layers,
        methods=methods,
    )


def draw(asked: Asked, insides: Insides, go_on: GoOn = lambda: None) -> bytes:
    """One layer as a PNG. Raises InvalidRequest if none is named, or if it has no numbers."""
    if asked.wishes.layer is None:
        names = _names(asked.model, insides)
        raise InvalidRequest(f"a picture is of one layer: say which by ?layer=; there are: {names}")
    batch, _ = _batch(asked)
    go_on()
    [(layer, values)] = _seen(asked, batch, insides)
    if not has_numbers(values):
        raise InvalidRequest(f"layer {layer.name!r} gives no numbers that could be drawn")
    return encode_gray(tiled(values.astype(np.float64)))


def _batch(asked: Asked) -> tuple[Array, tuple[Any, ...]]:
    """A batch of one, and what was noticed of the picture."""
    contract = asked.card.input
    if not isinstance(contract, ImageInput):
        assert isinstance(asked.read, np.ndarray)
        return asked.read, ()
    pictures = fit_pictures([asked.read], contract)
    return stack(pictures), pictures[0].warnings


def _names(model: Model, insides: Insides) -> str:
    names = [layer.name for layer in insides.table(model).layers]
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


def _seen(asked: Asked, batch: Array, insides: Insides) -> Iterator[tuple[GraphLayer, Array | None]]:
    """The layers that are asked for and what they gave, without the axis that counts rows; None for what NumPy has no
    type for. Raises NotFound."""
    model, wanted = asked.model, asked.wishes.layer
    layers = [layer for layer in insides.table(model).layers if wanted in (None, layer.name)]
    if not layers:
        raise NotFound(f"model {model.name!r} has no layer {wanted!r}; there are: {_names(model, insides)}")
    given = insides.activations(model, {INPUT_NAMES[asked.card.input.kind]: batch})
    for layer in layers:
        values = given.get(layer.name)
        counts_rows = layer.output_shape is not None and layer.output_shape[:1] == [BATCH]
        yield layer, values[0, ...] if values is not None and counts_rows else values
