"""Every error, expected or not, has the one shape."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.envelope import Envelope, RequestIds
from app.errors import AppError
from app.problems import DOCUMENTED, add_error_handlers
from tests.problems import assert_problem


def subclasses(kind: type[AppError]) -> list[type[AppError]]:
    return [kind, *(sub for child in kind.__subclasses__() for sub in subclasses(child))]


def app_that_raises(error: Exception) -> TestClient:
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/")
    def fail() -> None:
        raise error

    return TestClient(Envelope(app, lambda status: None, RequestIds()), raise_server_exceptions=False)


@pytest.mark.parametrize("kind", subclasses(AppError))
def test_each_named_fault_becomes_a_problem(kind: type[AppError]) -> None:
    answer = app_that_raises(kind("what was wrong", {"Retry-After": "1"})).get("/")

    assert assert_problem(answer, kind.status) == "what was wrong"
    assert answer.json()["title"] == kind.title
    assert answer.headers["retry-after"] == "1"


def test_type_names_the_fault() -> None:
    class OutOfTea(AppError):
        status = 418

    assert app_that_raises(OutOfTea("")).get("/").json()["type"] == "urn:percept:problem:out-of-tea"


def test_unexpected_fault_keeps_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    answer = app_that_raises(RuntimeError("secret")).get("/", headers={"X-Request-ID": "mine"})

    assert assert_problem(answer, 500) == "the service failed; the log says why"
    assert answer.headers["x-request-id"] == "mine"
    assert "request mine failed: GET /" in caplog.messages


def test_each_status_that_a_fault_may_have_is_documented() -> None:
    caller_sees = {kind.status for kind in subclasses(AppError) if kind.__module__ == "app.errors"} - {500}

    assert {status: error.status for status, (_, error) in DOCUMENTED.items()} == {s: s for s in caller_sees}


def test_unknown_path_is_a_problem(client: TestClient) -> None:
    assert assert_problem(client.get("/nowhere"), 404) == "GET /nowhere"


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "new\tline"])
def test_harmful_request_id_is_replaced(client: TestClient, given: str) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": given})

    assert len(answer.headers["x-request-id"]) == 16


def test_harmless_request_id_is_kept(client: TestClient) -> None:
    assert client.get("/health/live", headers={"X-Request-ID": "a-1:b_2.c"}).headers["x-request-id"] == "a-1:b_2.c"


def test_every_response_has_its_own_request_id(client: TestClient) -> None:
    assert len({client.get("/health/live").headers["x-request-id"] for _ in range(20)}) == 20
