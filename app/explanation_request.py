"""A request that a model be explained: what is wished, one picture, row or text, or tensors for a model without a card,
checked against what the model takes, and what answering it will cost. Knows models and no HTTP; computes nothing."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from app.card import INPUT_NAMES, Card, ImageInput
from app.errors import BadRequest, ContentTooLarge, InvalidRequest, UnsupportedMediaType
from app.gradient_saliency import PICTURES
from app.inside import Insides
from app.model import Model
from app.occlusion import Patches, patches_of
from app.open_inference import read_request
from app.perturbation import deciding
from app.pictures import Opened, open_pictures, undecoded_pixels
from app.rows import quoted, read_batch, require_few_and_short, what_it_takes
from app.service import PIXEL_SECONDS, UNMEASURED_SECONDS
from app.settings import Settings
from app.uploads import Upload

Array = NDArray[Any]
Inputs = Mapping[str, Array]  # of a graph, by name

TENSORS = 'tensors: send JSON, {"inputs": […]}, as under /v2'
# Of tensors; a row or text of a model with a card is explained alone.
MOST_ROWS = 64
# Of more layers, or labels, no names are told in an error; and a class has no more digits.
MOST_NAMED, MOST_DIGITS = 40, 9
# What the layers' summaries and pictures take, roughly, and a session that is not open yet.
TELLING_SECONDS, OPENING_SECONDS = 0.005, 0.01


@dataclass(frozen=True)
class Wishes:
    """What is to be told beside the prediction and the layers' summaries."""

    top: int | None = None
    label: str | None = None  # of the class that is explained, or its index; None is the answered one
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
    index: int | None  # of the class that is explained; None is the answered one
    patches: Patches | None
    seconds: float


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


def read_explanation(body: bytes, model: Model, insides: Insides, wishes: Wishes, settings: Settings) -> Asked:
    """Only looks at a large picture; it is decoded where there is time."""
    index = None if wishes.label is None else class_index(model, wishes.label)
    seconds = TELLING_SECONDS if insides.is_ready(model) else TELLING_SECONDS + OPENING_SECONDS
    if model.card is None or not isinstance(model.card.input, ImageInput):
        inputs = _tensors(body, model) if model.card is None else _batch(body, model.card)
        require_few_and_short(inputs, settings.max_rows, settings.max_characters)
        return Asked(model, wishes, inputs, index, None, seconds + _seconds(model, 2 * model.profile.weight(inputs)))
    contract, patches = model.card.input, None
    [opened] = open_pictures([body], settings.max_pixels)
    if wishes.occlusion:
        patches = patches_of(contract.height, contract.width, wishes.patch, wishes.stride, wishes.fill)
    # A gradient takes about as long as two runs.
    rows = 2 + (patches.count if patches else 0) + (2 * PICTURES if wishes.gradients else 0)
    seconds += undecoded_pixels([opened]) * PIXEL_SECONDS + _seconds(model, rows)
    return Asked(model, wishes, opened, index, patches, seconds)


def class_index(model: Model, label: str) -> int:
    """Of a label of the card, or of a whole number that is none. Raises InvalidRequest with what is allowed."""
    if model.card is None:
        raise InvalidRequest(f"class is {quoted(label)}; model {model.name!r} has no card, so no classes are known")
    watched = deciding(model)
    if watched is None or not watched.by_class:
        has = f"one number, {watched.output}, for all of them" if watched else "no number for any"
        raise InvalidRequest(
            f"class is {quoted(label)}; model {model.name!r} has {has}: leave class out, its answer is explained"
        )
    labels = model.card.labels
    if label in labels:
        return labels.index(label)
    if label.isascii() and label.isdecimal() and len(label) <= MOST_DIGITS and int(label) < len(labels):
        return int(label)
    names = ", ".join(labels[:MOST_NAMED]) + (", …" if len(labels) > MOST_NAMED else "")
    raise InvalidRequest(f"class is {quoted(label)}; allowed is 0 to {len(labels) - 1}, or a label: {names}")


def _seconds(model: Model, rows: float) -> float:
    expected = model.profile.estimate(rows)
    return expected if expected < math.inf else UNMEASURED_SECONDS


def _batch(body: bytes, card: Card) -> Inputs:
    """One row or text."""
    return {INPUT_NAMES[card.input.kind]: read_batch(body, card, 1)}


def _tensors(body: bytes, model: Model) -> Inputs:
    """As the Open Inference Protocol writes them; of a model with a batch axis some rows."""
    with told_as_ours():
        inputs = read_request(body, None, model.signature).inputs
    if not model.profile.batched:
        return inputs
    rows = sorted({len(array) for array in inputs.values()})
    if len(rows) > 1:
        raise InvalidRequest(f"the inputs have {', '.join(map(str, rows))} rows; equally many are allowed in all")
    if rows == [0]:
        raise InvalidRequest(f"the inputs have no rows; 1 to {MOST_ROWS} are allowed")
    if rows[0] > MOST_ROWS:
        raise ContentTooLarge(f"the inputs have {rows[0]:,} rows; at most {MOST_ROWS} are explained at once")
    return inputs


@contextmanager
def told_as_ours() -> Iterator[None]:
    """Faults of tensors have another status where the protocol is not spoken."""
    try:
        yield
    except BadRequest as error:
        raise InvalidRequest(error.detail) from error
