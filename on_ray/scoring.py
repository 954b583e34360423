"""Inputs → answers, a row of the output for each, whatever becomes of it: what /predict would have said, or why there
is no answer. Knows no Ray and no files."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from app.card import INPUT_NAMES, ImageInput, PhotographInput, RowsInput, TextInput
from app.errors import AppError, InvalidRequest
from app.images import Code
from app.model import Model
from app.photographs import Photograph
from app.pictures import fit_by_looks, open_pictures, read_pictures, stack
from app.prediction import Prediction, predictions_of
from app.rows import quoted, require_few_and_short, require_finite, rows_for
from on_ray.inputs import Input

# What the service calls the only one of its kind in a request says nothing here, where each is told by its name.
ALONE = re.compile(r"^(row|text) 1(:| ) ?")
Array = NDArray[Any]


class Limits(NamedTuple):
    """As for a request with one input."""

    pixels: int
    characters: int
    bytes: int
    batch: int  # rows that are run together


class Ready(NamedTuple):
    """An input as its model takes it: pixels, numbers or a text."""

    model: Model
    row: Any
    warnings: tuple[Code, ...] = ()


@dataclass(frozen=True)
class Scorer:
    """`photographs` answers for what does not look like the data set of the model, as by an alias under /predict."""

    model: Model
    photographs: Model | None
    limits: Limits

    def answers(self, inputs: Iterable[Input], start: int) -> Iterator[dict[str, Any]]:
        """A row of the output for each input, in order; the first is number `start` of all."""
        inputs, number = iter(inputs), start
        # One file is in memory at a time, and what was made of a batch of them.
        while batch := [(name, self._ready(value)) for name, value in islice(inputs, self.limits.batch)]:
            for (name, ready), answer in zip(batch, self._answers([ready for _, ready in batch]), strict=True):
                model = ready.model if isinstance(ready, Ready) else self.model
                yield {"row": number, "input": name, **_told(model, answer)}
                number += 1

    def _ready(self, value: bytes | list[Any] | AppError) -> Ready | Exception:
        if isinstance(value, AppError):
            return value
        try:
            return self._picture(value) if isinstance(value, bytes) else self._row(value)
        except Exception as error:  # an input that nobody has thought of is no reason to lose the others
            return error

    def _picture(self, file: bytes) -> Ready:
        contract = self.model.require_card().input
        assert isinstance(contract, ImageInput | PhotographInput)  # the columns have been chosen by it
        if self.photographs is None or isinstance(contract, PhotographInput):
            [picture] = read_pictures([file], contract, self.limits.pixels)
            return Ready(self.model, picture.pixels, picture.warnings)
        frame = self.photographs.require_card().input
        assert isinstance(frame, PhotographInput)  # the store has seen to it
        [picture] = fit_by_looks(open_pictures([file], self.limits.pixels), contract, frame)
        model = self.photographs if isinstance(picture, Photograph) else self.model
        return Ready(model, picture.pixels, picture.warnings)

    def _row(self, values: list[Any]) -> Ready:
        contract = self.model.require_card().input
        if isinstance(contract, RowsInput):
            return Ready(self.model, rows_for([values], contract)[0])
        [text] = values
        if not isinstance(text, str):
            raise InvalidRequest(f"the text is {quoted(text)}; allowed is a string")
        require_few_and_short({"text": np.array([text], object)}, 1, self.limits.characters)
        return Ready(self.model, text)

    def _answers(self, batch: Sequence[Ready | Exception]) -> list[Prediction | Exception]:
        answers: list[Prediction | Exception | None] = [each if isinstance(each, Exception) else None for each in batch]
        places: defaultdict[Model, list[int]] = defaultdict(list)
        for place, ready in enumerate(batch):
            if isinstance(ready, Ready):
                places[ready.model].append(place)
        for model, those in places.items():
            rows = [ready for place in those if isinstance(ready := batch[place], Ready)]
            for place, answer in zip(those, _ask(model, rows), strict=True):
                answers[place] = answer
        return [answer for answer in answers if answer is not None]


def _ask(model: Model, rows: Sequence[Ready]) -> list[Prediction | Exception]:
    """Together, if the model answers a row among others as it answers it alone; each alone, if that fails."""
    if len(rows) > 1 and not model.profile.independent:
        return [answer for row in rows for answer in _ask(model, [row])]
    try:
        return list(_predictions(model, rows))
    except Exception as error:
        return [error] if len(rows) == 1 else [answer for row in rows for answer in _ask(model, [row])]


def _predictions(model: Model, rows: Sequence[Ready]) -> list[Prediction]:
    card = model.require_card()
    values = [each.row for each in rows]
    batch: Array = np.array(values, object) if isinstance(card.input, TextInput) else stack(values)
    outputs = dict(zip(card.asked, model.run({INPUT_NAMES[card.input.kind]: batch}, card.asked), strict=True))
    if not card.takes_pictures:
        require_finite(outputs)
    return predictions_of(card, outputs, [each.warnings for each in rows])


def _told(model: Model, answer: Prediction | Exception) -> dict[str, Any]:
    """The columns beside `row` and `input`; those that an answer does not have are null."""
    if isinstance(answer, AppError):
        return {"error": ALONE.sub("", answer.detail)}
    if isinstance(answer, Exception):
        return {"error": f"{type(answer).__name__}: {answer}"}
    return {
        "model": model.name,
        "version": str(model.version),
        "label": answer["label"],
        "index": answer["index"],
        "probability": answer.get("probability"),
        "probabilities": answer.get("probabilities"),
        "outputs": orjson.dumps(answer["outputs"]).decode() if "outputs" in answer else None,
        "warnings": [notice["code"] for notice in answer["warnings"]],
    }
