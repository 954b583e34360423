"""What a person gets for a picture, a row or a text: label, probability, alternatives, what the model tells besides,
warnings. Knows no HTTP, no queue and no kind of model: the card says what is asked of the graph and what it means."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict

from app.card import INDEX, INPUT_NAMES, PROBABILITIES, Card, ImageInput, PhotographInput, are_pictures
from app.errors import InvalidRequest
from app.images import Code
from app.model import Model
from app.photographs import Photograph
from app.pictures import fit_by_looks, open_pictures, read_pictures, stack
from app.png import address
from app.rows import what_it_takes

Array = NDArray[Any]
Outputs = Mapping[str, Array]  # of a graph, by name, a row for each picture, row or text
Noticed = Sequence[tuple[Code, ...]]  # of each picture; of rows and texts nothing is

# Below this probability an answer comes with a warning.
LOW_CONFIDENCE = 0.7
# float32 has no more digits than this to tell.
DECIMALS = 7

SENTENCES = {
    "inverted": "The ink was darker than the background; the picture was turned into light ink on dark.",
    "blank": "Nothing was found on it; the answer means nothing.",
    "off_centre": "The ink was far from the middle; it was moved there.",
    "several_objects": "There is more than one object; the answer is of the best, and many=true tells them all.",
    "unlike_training_data": "It looks like nothing that the model has learned from; the answer may mean nothing.",
    "low_confidence": f"The probability is below {LOW_CONFIDENCE}; the answer may well be wrong.",
}


class Notice(TypedDict):
    code: Annotated[str, Field(examples=["inverted"])]
    message: Annotated[str, Field(examples=[SENTENCES["inverted"]])]


class Alternative(TypedDict):
    label: str
    index: int
    probability: float


class Prediction(TypedDict):
    """The answer for one picture, row or text."""

    label: Annotated[str, Field(description="The most probable class, or what the model decides for.")]
    index: Annotated[int, Field(description="Its place among the model's labels.")]
    probability: NotRequired[Annotated[float, Field(description="Absent where a model has no probabilities.")]]
    probabilities: NotRequired[
        Annotated[
            list[float],
            Field(description="Of every class, in the order of the model's labels. Absent when `top` is given."),
        ]
    ]
    alternatives: NotRequired[
        Annotated[
            list[Alternative],
            Field(description="The `top` most probable classes, most probable first. Absent unless `top` is given."),
        ]
    ]
    outputs: NotRequired[
        Annotated[
            dict[str, Any],
            Field(
                description="What the model tells besides, each by its name; its card says what it means. A picture "
                "is told as the address of its PNG, `data:image/png;base64,…`."
            ),
        ]
    ]
    warnings: Annotated[list[Notice], Field(description="What the service noticed or doubts.")]


def predict(model: Model, files: Sequence[bytes], max_pixels: int, top: int | None = None) -> list[Prediction]:
    """One prediction per picture, in order. Raises an AppError that says which file is at fault."""
    card = model.require_card()
    if not isinstance(card.input, ImageInput | PhotographInput):
        raise InvalidRequest(f"model {card.name!r} takes {what_it_takes(card)}")
    pictures = read_pictures(files, card.input, max_pixels)
    outputs = model.run({INPUT_NAMES[card.input.kind]: stack([each.pixels for each in pictures])}, card.asked)
    return predictions_of(card, dict(zip(card.asked, outputs, strict=True)), [each.warnings for each in pictures], top)


def chosen(model: Model, photographs: Model | None, file: bytes, max_pixels: int) -> Model:
    """The one of the two that knows a picture's like. Raises an AppError for what is no picture."""
    contract, other = model.require_card().input, photographs.require_card().input if photographs else None
    if photographs is None or not (isinstance(contract, ImageInput) and isinstance(other, PhotographInput)):
        return model
    [fitted] = fit_by_looks(open_pictures([file], max_pixels), contract, other)
    return photographs if isinstance(fitted, Photograph) else model


def predictions_of(card: Card, outputs: Outputs, noticed: Noticed, top: int | None = None) -> list[Prediction]:
    """`outputs` are those of `card.asked`."""
    codes_of_each = _with_doubts(card, outputs, noticed)
    if PROBABILITIES in outputs:
        rows = outputs[PROBABILITIES].tolist()
        predictions = [
            _by_probability(card.labels, row, codes, top) for row, codes in zip(rows, codes_of_each, strict=True)
        ]
    else:
        places = outputs[INDEX].tolist()
        predictions = [
            Prediction(label=card.labels[place], index=place, warnings=notices(codes))
            for place, codes in zip(places, codes_of_each, strict=True)
        ]
    if card.told:
        told = {name: told_as(outputs[name]) for name in card.told}
        for place, prediction in enumerate(predictions):
            prediction["outputs"] = {name: values[place] for name, values in told.items()}
    return predictions


def _with_doubts(
    card: Card, outputs: Mapping[str, Array], noticed: Sequence[tuple[Code, ...]]
) -> Sequence[tuple[str, ...]]:
    """What was noticed of each, then what the model itself warns of."""
    if not card.warnings:
        return noticed
    doubts = zip(*(outputs[name].tolist() for name in card.warnings), strict=True)
    return [
        (*codes, *(name for name, doubted in zip(card.warnings, row, strict=True) if doubted))
        for codes, row in zip(noticed, doubts, strict=True)
    ]


def _by_probability(labels: Sequence[str], row: list[float], noticed: tuple[str, ...], top: int | None) -> Prediction:
    probabilities = [round(probability, DECIMALS) for probability in row]
    index = row.index(max(row))
    codes: Sequence[str] = noticed
    if probabilities[index] < LOW_CONFIDENCE:
        codes = (*codes, "low_confidence")
    label, probability, warnings = labels[index], probabilities[index], notices(codes)
    if top is None:
        return Prediction(
            label=label, index=index, probability=probability, probabilities=probabilities, warnings=warnings
        )
    order = sorted(range(len(row)), key=row.__getitem__, reverse=True)[:top]
    alternatives = [Alternative(label=labels[place], index=place, probability=probabilities[place]) for place in order]
    return Prediction(label=label, index=index, probability=probability, alternatives=alternatives, warnings=warnings)


def notices(codes: Sequence[str]) -> list[Notice]:
    """Each code with its sentence."""
    return [Notice(code=code, message=SENTENCES[code]) for code in codes]


def told_as(values: Array) -> list[Any]:
    """As JSON has it: pictures as addresses, float32 by the digits it has, not by those that it gets as a double."""
    if are_pictures(values):
        return [address(picture) for picture in values]
    if values.dtype != np.float32:
        return list(values.tolist())
    return list(orjson.loads(orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)))
