"""What a person gets who asks for more of a picture than its label: every object on it, with its place, and what the
model saw of each. Knows no HTTP and no queue, as app/prediction.py, which it adds to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.card import Card, ImageInput
from app.errors import ContentTooLarge, InvalidRequest
from app.images import Sheet
from app.ink import Box
from app.objects import MOST_OBJECTS
from app.png import address
from app.prediction import Notice, Noticed, Outputs, Prediction, notices, predictions_of
from app.rows import what_it_takes

# Of which all objects are told: each may have MOST_OBJECTS.
MOST_SHEETS = 8

PICTURE = "A PNG, as `data:image/png;base64,…`."


class Found(Prediction):
    """One object on a picture."""

    box: Annotated[
        list[int],
        Field(
            description="Left, top, right, bottom in pixels of the picture as it was uploaded, turned upright; right "
            "and bottom are the first that are not in it.",
            min_length=4,
            max_length=4,
        ),
    ]
    as_seen: NotRequired[Annotated[str, Field(description=f"What the model saw of it. {PICTURE}")]]


class SheetPrediction(Prediction):
    """The answer for one picture; of several objects it is that of the best, which is not always the largest."""

    model: NotRequired[
        Annotated[
            str,
            Field(
                description="The model that answered, where the picture is a photograph and was sent to the alias of a "
                "subject that has a model of photographs; else absent.",
                examples=["clothing-photos"],
            ),
        ]
    ]
    as_seen: NotRequired[
        Annotated[str, Field(description=f"What the model saw. {PICTURE} Absent unless `as_seen` is asked for.")]
    ]
    objects: NotRequired[
        Annotated[
            list[Found],
            Field(
                description="Each object on the picture, lines from top to bottom, in each from left to right; none on "
                "a blank one. Absent unless `many` is asked for.",
                max_length=MOST_OBJECTS,
            ),
        ]
    ]


@dataclass(frozen=True)
class Wishes:
    """What is to be told, beside the label, of each picture, row or text."""

    top: int | None = None
    many: bool = False
    as_seen: bool = False

    def require_possible(self, card: Card, files: int) -> None:
        """Raises InvalidRequest for a model that has no such thing to tell, ContentTooLarge for too many pictures."""
        asked = [name for name in ("many", "as_seen") if getattr(self, name)]
        if asked and not card.takes_pictures:
            raise InvalidRequest(f"query {asked[0]}: is of pictures; model {card.name!r} takes {what_it_takes(card)}")
        if self.many and not (isinstance(card.input, ImageInput) and card.input.centre == "mass"):
            raise InvalidRequest(
                f"query many: model {card.name!r} takes a whole picture for one thing; allowed is it where a card's "
                "input centres the mass of strokes, as that of digits does"
            )
        if self.many and files > MOST_SHEETS:
            raise ContentTooLarge(f"the request has {files} files; with many=true at most {MOST_SHEETS} are allowed")


PLAIN = Wishes()


def rows_of(sheets: Sequence[Sheet]) -> list[NDArray[np.uint8]]:
    """The pictures that the model is asked about: every object, and of a blank sheet what is there."""
    return [pixels for sheet in sheets for pixels in [each.pixels for each in sheet.objects] or [sheet.picture.pixels]]


def predictions_of_pictures(
    card: Card, outputs: Outputs, batch: NDArray[np.uint8], noticed: Noticed, wishes: Wishes
) -> list[SheetPrediction]:
    """One for each row of the batch."""
    predictions = cast(list[SheetPrediction], predictions_of(card, outputs, noticed, wishes.top))
    if wishes.as_seen:
        for prediction, pixels in zip(predictions, batch, strict=True):
            prediction["as_seen"] = address(pixels)
    return predictions


def predictions_of_sheets(
    card: Card, outputs: Outputs, batch: NDArray[np.uint8], sheets: Sequence[Sheet], wishes: Wishes
) -> list[SheetPrediction]:
    """One for each sheet; the batch is that of `rows_of`."""
    rows = predictions_of_pictures(card, outputs, batch, [()] * len(batch), wishes)
    told, start = [], 0
    for sheet in sheets:
        own = rows[start : start + max(1, len(sheet.objects))]
        start += len(own)
        told.append(_told(sheet, own))
    return told


def _told(sheet: Sheet, rows: Sequence[SheetPrediction]) -> SheetPrediction:
    """What was noticed is of the whole sheet, what the model doubts is of an object."""
    best: dict[str, Any] = {**rows[sheet.best]}
    warnings: list[Notice] = [*notices(sheet.picture.warnings), *best.pop("warnings")]
    objects = [_found(seen.box, row) for seen, row in zip(sheet.objects, rows, strict=False)]
    return cast(SheetPrediction, best | {"warnings": warnings, "objects": objects})


def _found(box: Box, prediction: SheetPrediction) -> Found:
    return cast(Found, {"box": [box.left, box.top, box.right, box.bottom], **prediction})
