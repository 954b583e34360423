"""What a person gets for a picture: label, probability, alternatives, warnings. Knows no HTTP; the command line uses
it too."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app import images
from app.card import Card
from app.errors import AppError
from app.model import Model

# Below this probability an answer comes with a warning.
LOW_CONFIDENCE = 0.7
# float32 has no more digits than this to tell.
DECIMALS = 7

SENTENCES = {
    "inverted": "The ink was darker than the background; the picture was turned into light ink on dark.",
    "blank": "No ink was found; the answer means nothing.",
    "off_centre": "The ink was far from the middle; it was moved there.",
    "low_confidence": f"The probability is below {LOW_CONFIDENCE}; the answer may well be wrong.",
}


class Notice(BaseModel):
    code: str = Field(examples=["inverted"])
    message: str = Field(examples=[SENTENCES["inverted"]])


class Alternative(BaseModel):
    label: str
    index: int
    probability: float


class Prediction(BaseModel):
    """The answer for one picture."""

    label: str = Field(description="The most probable class.")
    index: int = Field(description="Its place among the model's labels.")
    probability: float
    probabilities: list[float] | None = Field(
        default=None, description="Of every class, in the order of the model's labels. Absent when `top` is given."
    )
    alternatives: list[Alternative] | None = Field(
        default=None, description="The `top` most probable classes, most probable first. Absent unless `top` is given."
    )
    warnings: list[Notice] = Field(description="What the service noticed or doubts.")


@dataclass(frozen=True)
class Answer:
    predictions: list[Prediction]
    decode_seconds: float
    inference_seconds: float

    def server_timing(self) -> str:
        """As the header wants it: milliseconds by stage."""
        stages = {"decode": self.decode_seconds, "inference": self.inference_seconds}
        return ", ".join(f"{stage};dur={1_000 * seconds:.3f}" for stage, seconds in stages.items())


def predict(model: Model, files: Sequence[bytes], max_pixels: int, top: int | None = None) -> Answer:
    """One prediction per file, in order. Raises an AppError that says which file is at fault."""
    card = model.require_card()
    start = time.perf_counter()
    pictures = [_read(file, place, len(files), card, max_pixels) for place, file in enumerate(files, start=1)]
    decoded = time.perf_counter()
    [probabilities] = model.run({"image": np.stack([picture.pixels for picture in pictures])}, ["probabilities"])
    inferred = time.perf_counter()
    predictions = [
        _prediction(card, row, picture.warnings, top) for row, picture in zip(probabilities, pictures, strict=True)
    ]
    return Answer(predictions, decoded - start, inferred - decoded)


def _read(file: bytes, place: int, files: int, card: Card, max_pixels: int) -> images.Picture:
    try:
        return images.read(file, card.input, max_pixels)
    except AppError as error:
        which = f"file {place} of {files}" if files > 1 else "the file"
        raise type(error)(f"{which} {error.detail}") from error


def _prediction(card: Card, row: NDArray[Any], noticed: tuple[images.Code, ...], top: int | None) -> Prediction:
    probabilities = [round(float(probability), DECIMALS) for probability in row]
    index = int(row.argmax())
    codes: list[str] = [*noticed]
    if probabilities[index] < LOW_CONFIDENCE:
        codes.append("low_confidence")
    alternatives = None
    if top is not None:
        order = np.argsort(-row, kind="stable")[:top]
        alternatives = [
            Alternative(label=card.labels[k], index=k, probability=probabilities[k]) for k in order.tolist()
        ]
    return Prediction(
        label=card.labels[index],
        index=index,
        probability=probabilities[index],
        probabilities=probabilities if top is None else None,
        alternatives=alternatives,
        warnings=[Notice(code=code, message=SENTENCES[code]) for code in codes],
    )
