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
from app.card import Card, ImageInput
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
    start = time.perf_counter()
    pictures = read_pictures(files, model.require_card().input, max_pixels)
    decoded = time.perf_counter()
    predictions = classify(model, pictures, top)
    return Answer(predictions, decoded - start, time.perf_counter() - decoded)


def read_pictures(files: Sequence[bytes], contract: ImageInput, max_pixels: int) -> list[images.Picture]:
    """`max_pixels` is what all files together may have; a file's are counted before they are decoded."""
    pictures = []
    for place, file in enumerate(files, start=1):
        try:
            image = images.open_limited(file, max_pixels)
            max_pixels -= image.width * image.height
            pictures.append(images.fit(images.decode(image), contract))
        except AppError as error:
            which = f"file {place} of {len(files)}" if len(files) > 1 else "the file"
            raise type(error)(f"{which} {error.detail}") from error
    return pictures


def classify(model: Model, pictures: Sequence[images.Picture], top: int | None = None) -> list[Prediction]:
    """The model's answers to pictures that already are as its card wants them."""
    card = model.require_card()
    batch = np.stack([picture.pixels for picture in pictures])
    [probabilities] = model.run({"image": batch}, ["probabilities"])
    return [_prediction(card, row, picture.warnings, top) for row, picture in zip(probabilities, pictures, strict=True)]


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
