"""The JSON object that a request to the lab is: its members by name, and what they may be. Knows no HTTP."""

from typing import Any

import numpy as np
import orjson

from app.errors import ContentTooLarge, InvalidRequest
from app.lab.tape import Floats
from app.rows import quoted


def read_object(body: bytes, required: list[str], optional: list[str]) -> dict[str, Any]:
    """Raises InvalidRequest if a member is missing, or not one of these."""
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None
    allowed = f"allowed is an object with {' and '.join(required)}" if required else "allowed is an object"
    if optional:
        allowed = f"{allowed} and, if wanted, {', '.join(optional)}"
    if not isinstance(document, dict):
        raise InvalidRequest(f"the body is {quoted(document)}; {allowed}")
    for name in document:
        if name not in required and name not in optional:
            raise InvalidRequest(f"the body has a member {quoted(name)} that is not read here; {allowed}")
    for name in required:
        if name not in document:
            raise InvalidRequest(f"the body has no {name}; {allowed}")
    return document


def whole(document: dict[str, Any], name: str, default: int | None, least: int, most: int, why: str = "") -> int:
    """Whether it is wrong or, where there is no default, not there is told in one way."""
    value = document.get(name, default)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    allowed = f"a whole number of {least} to {most}" if most > least else f"{least}{why}"
    got = f"{name} is {quoted(value)}" if name in document else f"the body has no {name}"
    raise InvalidRequest(f"{got}; allowed is {allowed}")


def truth(document: dict[str, Any], name: str, default: bool) -> bool:
    value = document.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} is {quoted(value)}; allowed is true or false")
    return value


def number(document: dict[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = document.get(name, default)
    if type(value) in (int, float) and least <= value <= most:
        return float(value)
    raise InvalidRequest(f"{name} is {quoted(value)}; allowed is a number of {least:g} to {most:g}")


def numbers(value: Any, name: str, most: int) -> Floats:
    """A number, a list of them or a list of rows of one length. Raises InvalidRequest, ContentTooLarge for more than
    `most`."""
    rows = value if isinstance(value, list) else [value]
    nested = bool(rows) and isinstance(rows[0], list)
    lists = rows if nested else [rows]
    if not all(isinstance(row, list) and len(row) == len(lists[0]) for row in lists):
        raise InvalidRequest(
            f"{name} has rows of several lengths, or rows beside numbers; allowed are rows of one length"
        )
    elements = len(lists) * len(lists[0])
    if elements > most:
        raise ContentTooLarge(f"{name} has {elements:,} numbers; at most {most:,} are allowed")
    for row in lists:
        for each in row:
            if type(each) not in (int, float):
                raise InvalidRequest(
                    f"{name} has {quoted(each)} in it; allowed is a number, a list of numbers or a list of such lists"
                )
    if not elements:
        raise InvalidRequest(f"{name} is empty; allowed is at least one number")
    return np.array(value, np.float64)


def count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
