"""A request that a model be explained: what is wished, one picture, row or text, or tensors for a model without a card,
checked against what the model takes, and what answering it will cost. Knows models and no HTTP; computes nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app import explanation_cost as cost
from app.card import INPUT_NAMES, Card, ImageInput, PhotographInput
from app.errors import BadRequest, ContentTooLarge, InvalidRequest, UnsupportedMediaType
from app.gradient_saliency import PICTURES, PICTURES_FOR, ByGradient
from app.images import Code
from app.inside import Insides, rows_in
from app.model import Model
from app.occlusion import MOST_POSITIONS, Patches, changing, patches_of, patches_within
from app.open_inference import read_request
from app.perturbation import (
    MOST_WORDS,
    deciding,
    deciding_without_card,
    most_words,
    picture_in,
    replacements_of,
    together,
    words_of,
)
from app.pictures import Opened, fit_pictures, open_pictures, stack, undecoded_pixels
from app.rows import quoted, read_batch, require_few_and_short, what_it_takes
from app.service import PIXEL_SECONDS
from app.settings import Settings
from app.uploads import Upload

Array = NDArray[Any]
Inputs = Mapping[str, Array]  # of a graph, by name

TENSORS = 'tensors: send JSON, {"inputs": […]}, as under /v2'
# Of tensors; a row or text of a model with a card is explained alone.
MOST_ROWS = 64
# The patches of a tensor may take so long together: of a model without a card nobody knows how large it is.
MOST_COVERING_SECONDS = 0.5
# Of more layers, or labels, no names are told in an error; and a class has no more digits.
MOST_NAMED, MOST_DIGITS = 40, 9


# What can be drawn alone beside a layer: what the model saw, and the maps of the methods.
Picture = Literal["input", ByGradient, "occlusion"]


@dataclass(frozen=True)
class Wishes:
    """What is to be told beside the prediction and the layers' summaries."""

    top: int | None = None
    label: str | None = None  # of the class that is explained, or its index; None is the answered one
    layer: str | None = None  # only this one, with its numbers and its picture
    pictures: bool = False  # of all layers
    picture: Picture | None = None  # to be drawn alone
    numbers: bool = False  # of all layers
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
    noticed: tuple[Code, ...]  # of a picture that is decoded
    index: int | None  # of the class that is explained; None is the answered one
    patches: Patches | None
    seconds: float


def require_explainable(model: Model) -> None:
    """Raises InvalidRequest for a model of photographs."""
    if model.card is not None and isinstance(model.card.input, PhotographInput):
        raise InvalidRequest(
            f"model {model.name!r} takes photographs in colour, and is not explained; allowed are models of gray "
            "pictures, rows, texts, and files without a card"
        )


def body_of(model: Model, upload: Upload) -> bytes:
    """What came for it. Raises UnsupportedMediaType, or InvalidRequest for several files, or a model that is not
    explained."""
    require_explainable(model)
    takes_pictures = model.card is not None and model.card.takes_pictures
    if takes_pictures != (upload.document is None):
        raise UnsupportedMediaType(f"model {model.name!r} takes {what_it_takes(model.card) if model.card else TENSORS}")
    if upload.document is not None:
        return upload.document
    if len(upload.files) != 1:
        raise InvalidRequest(f"the form has {len(upload.files)} files; one picture is explained at a time")
    return upload.files[0]


def read_explanation(body: bytes, model: Model, insides: Insides, wishes: Wishes, settings: Settings) -> Asked:
    """A small picture is fitted, too; at a large one it only looks, and it is decoded where there is time."""
    if model.card is None:
        return _read_tensors(body, model, insides, wishes, settings)
    index = None if wishes.label is None else class_index(model, model.card, wishes.label)
    if isinstance(model.card.input, ImageInput):
        return _picture(body, model, model.card.input, insides, wishes, index, settings.max_pixels)
    inputs = _batch(body, model.card)
    require_few_and_short(inputs, settings.max_rows, settings.max_characters)
    weight = model.profile.weight(inputs)
    seconds = _base(model, insides, wishes, rows_in(model, inputs), weight) + cost.answering(model, weight)
    if wishes.occlusion:
        [[one]] = inputs.values()
        seconds += cost.answering(model, (1 + _parts(model, one)) * weight)
        seconds += len(one) * cost.CHARACTER_SECONDS if isinstance(one, str) else 0
    return Asked(model, wishes, inputs, (), index, None, seconds)


def _read_tensors(body: bytes, model: Model, insides: Insides, wishes: Wishes, settings: Settings) -> Asked:
    """For a model without a card, whose patches cover a tensor that may be a picture."""
    inputs = _tensors(body, model)
    require_few_and_short(inputs, settings.max_rows, settings.max_characters)
    picture = picture_in(inputs) if deciding_without_card(model) else None
    index = None if wishes.label is None else _index_without_card(model, wishes.label, picture)
    weight, patches = model.profile.weight(inputs), None
    seconds = _base(model, insides, wishes, rows_in(model, inputs), weight)
    if picture is not None and wishes.occlusion:
        one = cost.covering_tensors(model, weight, together(model, picture))
        patches = _affordable(model, picture, wishes, int(MOST_COVERING_SECONDS / one))
        seconds += (2 + patches.count) * one if patches else 0
    return Asked(model, wishes, inputs, (), index, patches, seconds)


def _affordable(model: Model, picture: Array, wishes: Wishes, most: int) -> Patches | None:
    """Patches of which no more than `most` are tried; None if there are none so few. Raises InvalidRequest if the
    caller's own are more."""
    height, width = picture.shape[-2:]
    if wishes.patch is None and wishes.stride is None:
        return patches_within(height, width, wishes.fill, most)
    patches = patches_of(height, width, wishes.patch, wishes.stride, wishes.fill)
    if patches.count > most:
        raise InvalidRequest(
            f"a patch of {patches.side} with a stride of {patches.stride} has {patches.count:,} positions; of model "
            f"{model.name!r} at most {min(most, MOST_POSITIONS):,} are tried, by the time that it takes: take a larger "
            "stride, a larger patch, or ?occlusion=false"
        )
    return patches


def _index_without_card(model: Model, label: str, picture: Array | None) -> int:
    """Raises InvalidRequest."""
    watched = deciding_without_card(model)
    if watched is None or picture is None:
        raise InvalidRequest(f"class is {quoted(label)}; model {model.name!r} has no card, so no classes are known")
    classes = model.signature.outputs[watched.output].shape[1]
    if (index := _as_index(label, classes)) is None:
        raise InvalidRequest(f"class is {quoted(label)}; allowed is 0 to {classes - 1}, a place in {watched.output!r}")
    return index


def _as_index(label: str, classes: int) -> int | None:
    is_one = label.isascii() and label.isdecimal() and len(label) <= MOST_DIGITS and int(label) < classes
    return int(label) if is_one else None


def _parts(model: Model, one: Any) -> int:
    """How many rows or texts are asked for; of a long text as many as there may be, since counting takes time."""
    if not isinstance(one, str):
        return sum(len(replacement.values) for replacement in replacements_of(model, one))
    most = most_words(one)
    return most if most < MOST_WORDS else len(words_of(model, one))


def _picture(
    body: bytes, model: Model, contract: ImageInput, insides: Insides, wishes: Wishes, index: int | None, most: int
) -> Asked:
    read: Opened | Inputs
    [read] = open_pictures([body], most)
    noticed: tuple[Code, ...] = ()
    patches, changed = None, 0
    if wishes.occlusion:
        patches = patches_of(contract.height, contract.width, wishes.patch, wishes.stride, wishes.fill)
        changed = patches.count
    seconds = _base(model, insides, wishes, 1, 1) + cost.answering(model, 1)
    if isinstance(read, np.ndarray):
        [picture] = fit_pictures([read], contract)
        read, noticed = {INPUT_NAMES["image"]: stack([picture.pixels])}, picture.warnings
        changed = int(changing(picture.pixels, patches).sum()) if patches else 0
    else:
        seconds += undecoded_pixels([read]) * PIXEL_SECONDS
    if patches:
        seconds += cost.covering(model, changed, patches.count)
    if wishes.gradients:
        there, to_open = insides.saliency.announce(model)
        # Twice the model's operations are in it.
        pictures = PICTURES_FOR.get(wishes.picture or "all", PICTURES)
        seconds += cost.differentiating(model, pictures) * there + cost.opening(model, 2 * to_open)
    return Asked(model, wishes, read, noticed, index, patches, seconds)


def _base(model: Model, insides: Insides, wishes: Wishes, rows: int, weight: float) -> float:
    """What every explanation takes: its layers, and opening what nobody has opened yet. One that is drawn alone needs
    no layers."""
    if wishes.picture is not None:
        return cost.BASE_SECONDS
    seconds = cost.looking(model, insides, wishes.layer, wishes.pictures, wishes.numbers, rows, weight)
    return cost.BASE_SECONDS + seconds + cost.opening(model, insides.announce(model))


def class_index(model: Model, card: Card, label: str) -> int:
    """Of a label of the card, or of a whole number that is none. Raises InvalidRequest with what is allowed."""
    watched = deciding(model)
    if watched is None or not watched.knows_classes:
        has = f"one number, {watched.output}, for all of them" if watched else "no number for any"
        raise InvalidRequest(
            f"class is {quoted(label)}; model {model.name!r} has {has}: leave class out, its answer is explained"
        )
    labels = card.labels
    if label in labels:
        return labels.index(label)
    if (index := _as_index(label, len(labels))) is not None:
        return index
    names = ", ".join(labels[:MOST_NAMED]) + (", …" if len(labels) > MOST_NAMED else "")
    raise InvalidRequest(f"class is {quoted(label)}; allowed is 0 to {len(labels) - 1}, or a label: {names}")


def _batch(body: bytes, card: Card) -> Inputs:
    """One row or text."""
    return {INPUT_NAMES[card.input.kind]: read_batch(body, card, 1)}


def _tensors(body: bytes, model: Model) -> Inputs:
    """As the Open Inference Protocol writes them; of a model with a batch axis some rows."""
    with told_as_ours():
        inputs = read_request(body, None, model.signature).inputs
    if not model.profile.batched or not model.signature.required:
        return inputs
    rows = sorted({len(inputs[name]) for name in model.signature.required})
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
