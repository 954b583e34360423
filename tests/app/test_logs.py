"""A line of the log is one JSON object; a request is a line only if it is wanted, and one at most."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app import logs


@pytest.fixture
def restored() -> Iterator[None]:
    loggers = [logging.root, logs.ACCESS, logging.getLogger("percept"), logging.getLogger("uvicorn.error")]
    before = [(logger.level, [*logger.handlers], [*logger.filters]) for logger in loggers]
    yield
    for logger, (level, handlers, filters) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:], logger.filters[:] = handlers, filters


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_line_is_an_object_with_its_fields(restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(access=False)
    logging.getLogger("percept").info("%s is served", "a", extra={"fields": {"request_id": "mine"}})
    [line] = lines(capsys)

    assert line.pop("time").endswith("+00:00")  # type: ignore[attr-defined]
    assert isinstance(line.pop("worker"), int)
    assert line == {"level": "INFO", "message": "a is served", "request_id": "mine"}


def test_exception_stays_within_its_line(restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(access=False)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("percept").error("failed", exc_info=sys.exc_info())
    [line] = lines(capsys)

    assert str(line["exception"]).endswith("ValueError: two\nlines")


def test_request_is_no_line_unless_it_is_wanted(
    restored: None, client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(access=False)
    client.get("/health/live")

    assert lines(capsys) == []


def test_request_is_one_line_if_it_is_wanted(
    restored: None, client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(access=True)
    client.post("/predict/nothing", headers={"X-Request-ID": "mine"})
    [line] = [line for line in lines(capsys) if line["message"] == "request"]

    assert (line["request_id"], line["method"], line["path"], line["status"]) == (
        "mine",
        "POST",
        "/predict/nothing",
        404,
    )
    assert isinstance(line["ms"], float)


def test_uvicorn_does_not_say_again_what_the_problem_has_said(
    restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(access=False)
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n")
    logging.getLogger("uvicorn.error").error("something else")

    assert [line["message"] for line in lines(capsys)] == ["something else"]
