"""What a person gets for a picture: label, probability, alternatives, warnings. Knows no HTTP and no queue; the command
line uses it too."""

from collections.abc import Sequence
from typing import Annotated, Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from typing_extensions import TypedDict

from app.card import Card, ImageInput
from app.errors import AppError
from app.images import Code, Gray, Picture, decode, fit, open_limited
from app.model import Model
from app.png import MAX_SIDE, decode_gray

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


# A picture that is decoded, or one of which the header alone is read.
Opened = Gray | Image.Image


class Notice(TypedDict):
    code: Annotated[str, Field(examples=["inverted"])]
    message: Annotated[str, Field(examples=[SENTENCES["inverted"]])]


class Alternative(TypedDict):
    label: str
    index: int
    probability: float


class Prediction(TypedDict):
    """The answer for one picture."""

    label: Annotated[str, Field(description="The most probable class.")]
    index: Annotated[int, Field(description="Its place among the model's labels.")]
    probability: float
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
    warnings: Annotated[list[Notice], Field(description="What the service noticed or doubts.")]


def predict(model: Model, files: Sequence[bytes], max_pixels: int, top: int | None = None) -> list[Prediction]:
    """One prediction per file, in order. Raises an AppError that says which file is at fault."""
    card = model.require_card()
    pictures = read_pictures(files, card.input, max_pixels)
    [probabilities] = model.run({"image": stack(pictures)}, ["probabilities"])
    return predictions_of(card, probabilities, pictures, top)


def read_pictures(files: Sequence[bytes], contract: ImageInput, max_pixels: int) -> list[Picture]:
    """`max_pixels` is what all files together may have. Raises an AppError that says which file is at fault."""
    return fit_pictures(open_pictures(files, max_pixels), contract)


def open_pictures(files: Sequence[bytes], max_pixels: int) -> list[Opened]:
    """Look at each file; only small PNG pictures are decoded, since that costs no more than looking."""
    opened: list[Opened] = []
    for place, file in enumerate(files, start=1):
        gray = decode_gray(file) if max_pixels >= MAX_SIDE * MAX_SIDE else None
        if gray is not None:
            max_pixels -= gray.size
            opened.append(gray)
            continue
        try:
            image = open_limited(file, max_pixels)
        except AppError as error:
            raise _of_file(error, place, len(files)) from error
        max_pixels -= image.width * image.height
        opened.append(image)
    return opened


def undecoded_pixels(opened: Sequence[Opened]) -> int:
    return sum([picture.width * picture.height for picture in opened if not isinstance(picture, np.ndarray)])


def fit_pictures(opened: Sequence[Opened], contract: ImageInput) -> list[Picture]:
    pictures = []
    for place, picture in enumerate(opened, start=1):
        try:
            pictures.append(fit(picture if isinstance(picture, np.ndarray) else decode(picture), contract))
        except AppError as error:
            raise _of_file(error, place, len(opened)) from error
    return pictures


def _of_file(error: AppError, place: int, files: int) -> AppError:
    which = f"file {place} of {files}" if files > 1 else "the file"
    return type(error)(f"{which} {error.detail}")


def stack(pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    """[N, H, W]: the batch that the model's input `image` takes."""
    if len(pictures) == 1:
        return pictures[0].pixels[np.newaxis]
    return np.stack([picture.pixels for picture in pictures])


def predictions_of(
    card: Card, probabilities: NDArray[Any], pictures: Sequence[Picture], top: int | None = None
) -> list[Prediction]:
    """`probabilities` are the model's, [N, labels], a row for each picture."""
    rows = probabilities.tolist()
    return [_prediction(card.labels, row, picture.warnings, top) for row, picture in zip(rows, pictures, strict=True)]


def _prediction(labels: Sequence[str], row: list[float], noticed: tuple[Code, ...], top: int | None) -> Prediction:
    probabilities = [round(probability, DECIMALS) for probability in row]
    index = row.index(max(row))
    codes: list[str] = [*noticed]
    if probabilities[index] < LOW_CONFIDENCE:
        codes.append("low_confidence")
    warnings = [Notice(code=code, message=SENTENCES[code]) for code in codes]
    label, probability = labels[index], probabilities[index]
    if top is None:
        return Prediction(
            label=label, index=index, probability=probability, probabilities=probabilities, warnings=warnings
        )
    order = sorted(range(len(row)), key=row.__getitem__, reverse=True)[:top]
    alternatives = [Alternative(label=labels[place], index=place, probability=probabilities[place]) for place in order]
    return Prediction(label=label, index=index, probability=probability, alternatives=alternatives, warnings=warnings)
