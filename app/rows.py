"""Rows of numbers, and texts, out of a JSON body, checked against what the card says its model takes. Pure: knows no
model and no HTTP."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.card import Card, RowsInput, TextInput
from app.errors import ContentTooLarge, InvalidRequest

ROWS, TEXTS = '{"rows": [[…], …]}', '{"texts": ["…", …]}'
# More of a wrong value is not quoted.
MOST_QUOTED, MOST_NAMED = 40, 3


def what_it_takes(card: Card) -> str:
    """In words, for whoever sent something else."""
    match card.input:
        case RowsInput(features=features):
            names = ", ".join(feature.name for feature in features)
            return f"rows of {len(features)} number{'s' * (len(features) > 1)} ({names}): send JSON, {ROWS}"
        case TextInput():
            return f"texts: send JSON, {TEXTS}"
        case _:
            return "pictures: send multipart/form-data with one or many parts named 'file', or the raw bytes as image/*"


def read_batch(body: bytes, card: Card, most: int) -> NDArray[Any]:
    """float32 [N, features], or strings [N]. Raises InvalidRequest; ContentTooLarge for more than `most` of them."""
    wanted = "texts" if isinstance(card.input, TextInput) else "rows"
    entries = _entries(body, wanted, card)
    if len(entries) > most:
        raise ContentTooLarge(f"{wanted} has {len(entries):,} entries; at most {most:,} are allowed (PERCEPT_MAX_ROWS)")
    if isinstance(card.input, TextInput):
        return _texts(entries)
    assert isinstance(card.input, RowsInput)
    return rows_for(entries, card.input)


def rows_for(entries: list[Any], contract: RowsInput) -> NDArray[np.float32]:
    """[N, features]. Raises InvalidRequest that names the row and the feature in it."""
    rows = rows_of(entries, [feature.name for feature in contract.features])
    for column, feature in enumerate(contract.features):
        if feature.choices is not None:
            _require_choice(rows[:, column], feature.name, feature.choices)
    return rows


def require_few_and_short(inputs: Mapping[str, NDArray[Any]], most: int, most_characters: int) -> None:
    """Of texts. Raises ContentTooLarge for more than `most`, and names the first of more than `most_characters`."""
    for name, texts in inputs.items():
        if texts.dtype != object:
            continue
        if texts.size > most:
            raise ContentTooLarge(f"{name} has {texts.size:,} texts; at most {most:,} are allowed (PERCEPT_MAX_ROWS)")
        for place, text in enumerate(texts.flat, start=1):
            if len(text) > most_characters:
                raise ContentTooLarge(
                    f"text {place} has {len(text):,} characters; at most {most_characters:,} are allowed "
                    "(PERCEPT_MAX_CHARACTERS)"
                )


def require_finite(outputs: Mapping[str, NDArray[Any]]) -> None:
    """Raises InvalidRequest that names the first row whose numbers are beyond what the model can reckon with."""
    for name, values in outputs.items():
        if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
            row = int(np.argmin(finite.reshape(len(values), -1).all(1)))
            raise InvalidRequest(
                f"row {row + 1} has numbers too large for this model: its {name} would be no finite number"
            )


def _entries(body: bytes, wanted: str, card: Card) -> list[Any]:
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None
    if not isinstance(document, dict) or list(document) != [wanted]:
        got = _members(document) if isinstance(document, dict) else quoted(document)
        raise InvalidRequest(f"the body has {got}; model {card.name!r} takes {what_it_takes(card)}")
    entries = document[wanted]
    if not isinstance(entries, list) or not entries:
        raise InvalidRequest(f"{wanted} is {quoted(entries)}; allowed is a list with at least one entry")
    return entries


def rows_of(entries: list[Any], names: list[str]) -> NDArray[np.float32]:
    """[N, names]. Raises InvalidRequest that names the row and the number in it."""
    for place, row in enumerate(entries, start=1):
        if not isinstance(row, list) or len(row) != len(names):
            got = f"{len(row)} value{'s' * (len(row) != 1)}" if isinstance(row, list) else quoted(row)
            raise InvalidRequest(f"row {place} has {got}; allowed are {len(names)}: {', '.join(names)}")
        for name, value in zip(names, row, strict=True):
            if type(value) not in (int, float) or not math.isfinite(value):
                raise InvalidRequest(f"row {place}: {name} is {quoted(value)}; allowed is a finite number")
    try:
        with np.errstate(over="raise"):
            return np.array(entries, np.float64).astype(np.float32)
    except (FloatingPointError, OverflowError):
        raise InvalidRequest(f"a number is too large; allowed is up to {np.finfo(np.float32).max:.3g}") from None


def _require_choice(values: NDArray[np.float32], name: str, choices: int) -> None:
    wrong = np.flatnonzero((values < 0) | (values >= choices) | (values != np.floor(values)))
    if len(wrong):
        place = int(wrong[0])
        raise InvalidRequest(
            f"row {place + 1}: {name} is {values[place]:g}; allowed is a whole number from 0 to {choices - 1}"
        )


def _texts(entries: list[Any]) -> NDArray[np.object_]:
    for place, text in enumerate(entries, start=1):
        if not isinstance(text, str):
            raise InvalidRequest(f"text {place} is {quoted(text)}; allowed is a string")
    return np.array(entries, object)


def quoted(value: Any) -> str:
    """As JSON, its beginning if it is long."""
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # orjson reads deeper lists, and addresses have longer numbers, than it writes
        text = "[" * MOST_QUOTED + "…" if isinstance(value, list | dict) else str(value)
    return text if len(text) <= MOST_QUOTED else f"{text[:MOST_QUOTED]}…"


def _members(document: dict[str, Any]) -> str:
    """In words, the first few."""
    if not document:
        return "no member"
    names = [quoted(name) for name in list(document)[:MOST_NAMED]]
    return f"the members {', '.join(names)}{', …' * (len(document) > MOST_NAMED)}"
