"""A worker is imported without what it never uses, and documents itself like any other."""

import json
import urllib.request
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.conftest import run_python
from tests.served import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("lean") / "log", PERCEPT_WORKERS="1")
    yield server
    server.stop()


def test_models_of_openapi_wait_and_those_of_others_do_not() -> None:
    told = run_python(
        "import sys; from app.server import import_worker; import_worker()\n"
        "import fastapi.openapi.models as openapi, pydantic\n"
        "class Other(pydantic.BaseModel): number: int\n"
        "print(sys.modules['pydantic.v1'], openapi.OpenAPI.__pydantic_complete__, Other.__pydantic_complete__)"
    )

    assert told == "None False True\n"


def test_a_worker_documents_itself_as_an_application_whose_imports_are_whole(
    server: Server, client: TestClient
) -> None:
    with urllib.request.urlopen(f"{server.url}/openapi.json") as response:
        document = json.load(response)
    expected = client.get("/openapi.json").json()
    for each in (document, expected):  # one of its examples was measured, in each process for itself
        answer = each["paths"]["/models/{model}"]["get"]["responses"]["200"]["content"]["application/json"]
        del answer["example"]["batching"]

    assert document == expected
    assert document["components"]["schemas"]
