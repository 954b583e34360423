"""The documentation is complete, its examples are real, and it needs no internet."""

import base64
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.openapi import example_sheet, golden_pixels
from app.png import encode
from app.routes.docs import folder
from app.store import load_store
from tests.conftest import ROOT, SAMPLES
from tests.problems import assert_problem


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    described: dict[str, Any] = client.get("/openapi.json").json()
    return described


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, op) for path, methods in document["paths"].items() for method, op in methods.items()]


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_pages_load_only_local_assets_that_exist(client: TestClient, path: str) -> None:
    page = client.get(path).text
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)

    assert addresses
    for address in addresses:
        assert address.startswith("/docs/assets/"), address
        assert client.get(address).status_code == 200
    assert "://" not in page.replace("https://fastapi.tiangolo.com", "")


def test_assets_are_sent_once_and_packed_for_who_can_unpack_them(client: TestClient) -> None:
    path, held = "/docs/assets/swagger-ui.css", (folder() / "swagger-ui.css").read_bytes()
    answers = [client.get(path, headers={"Accept-Encoding": accepted}) for accepted in ("identity", "gzip")]
    again = client.get(path, headers={"If-None-Match": answers[0].headers["ETag"]} | {"Accept-Encoding": "identity"})

    assert [answer.content for answer in answers] == [held, held]
    assert [answer.headers["Content-Type"] for answer in answers] == ["text/css; charset=utf-8"] * 2
    assert int(answers[0].headers["Content-Length"]) == len(held) > 4 * int(answers[1].headers["Content-Length"])
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/docs/assets/favicon.png").headers["Content-Type"] == "image/png"
    assert client.head(path).status_code == 200
    assert_problem(client.post(path), 405)
    assert_problem(client.get("/docs/assets/none.js"), 404)


def test_pages_follow_a_proxys_prefix(client: TestClient) -> None:
    proxied = TestClient(client.app, root_path="/percept")
    with proxied:
        assert "'/percept/openapi.json'" in proxied.get("/percept/docs").text


def test_every_operation_explains_itself(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{where}: {parameter['name']}"
        for status, response in operation["responses"].items():
            if status != "200":
                kind = "application/json" if path.startswith("/v2") else "application/problem+json"
                assert list(response["content"]) == [kind], f"{where}: {status}"


def test_error_responses_are_documented(document: dict[str, Any]) -> None:
    documented = {(method, path): set(op["responses"]) for path, method, op in operations(document)}

    assert documented == {
        ("post", "/predict/{model}"): {"200", "404", "408", "413", "415", "422", "429", "503", "504"},
        ("post", "/gradients/flow"): {"200", "408", "413", "415", "422", "429", "503", "504"},
        ("post", "/gradients/approximation"): {"200", "408", "413", "415", "422", "429", "503", "504"},
        ("get", "/train"): {"200", "422", "429", "503", "504"},
        ("post", "/train/{problem}"): {"200", "404", "408", "413", "415", "422", "429", "503", "504"},
        ("post", "/gradients/activations"): {"200", "408", "413", "415", "422", "429", "503", "504"},
        ("get", "/convolution"): {"200"},
        ("post", "/convolution"): {"200", "408", "413", "415", "422", "429", "503", "504"},
        ("get", "/gradients"): {"200", "422", "429", "503", "504"},
        ("post", "/explain/{model}"): {"200", "404", "408", "413", "415", "422", "429", "503", "504"},
        ("post", "/gradients/expression"): {"200", "408", "413", "415", "422", "429", "503", "504"},
        ("post", "/gradients/{demo}"): {"200", "404", "408", "413", "415", "422", "429", "503", "504"},
        ("post", "/cluster/fit"): {"200", "408", "413", "415", "422", "429", "503", "504"},
        ("post", "/cluster/{model}"): {"200", "404", "408", "413", "415", "422", "429", "503", "504"},
        ("get", "/models"): {"200"},
        ("get", "/models/{model}"): {"200", "404", "422", "429", "503", "504"},
        ("get", "/models/{model}/graph"): {"200", "404", "422", "429", "503", "504"},
        ("get", "/models/{model}/figures/{figure}"): {"200", "404", "422"},
        ("get", "/health/live"): {"200"},
        ("get", "/health/ready"): {"200", "503"},
        ("get", "/v2"): {"200"},
        ("get", "/v2/health/live"): {"200"},
        ("get", "/v2/health/ready"): {"200", "503"},
        ("post", "/v2/repository/index"): {"200", "400", "408", "413", "429", "503"},
        ("post", "/v2/repository/models/{model}/load"): {"200", "400", "403", "404", "408", "413", "429", "503"},
        ("post", "/v2/repository/models/{model}/unload"): {"200", "400", "403", "404", "408", "413", "429", "503"},
        ("get", "/v2/models/stats"): {"200"},
        **{
            (method, f"/v2/models/{{model}}{version}{path}"): {"200", "404", *others}
            for version in ("", "/versions/{version}")
            for method, path, *others in (
                ("get", ""),
                ("get", "/ready", "503"),
                ("get", "/config"),
                ("get", "/stats"),
                ("post", "/infer", "400", "408", "413", "415", "429", "503", "504"),
            )
        },
        ("get", "/metrics"): {"200"},
    }


def test_error_examples_are_what_the_service_answers(client: TestClient, document: dict[str, Any]) -> None:
    responses = document["paths"]["/predict/{model}"]["post"]["responses"]
    answers = [
        client.post("/predict/mnist-cnn?version=7", files={"file": b""}),
        client.post("/predict/digits", headers={"Content-Type": "image/png"}, content=b"x" * 21_000_000),
        client.post("/predict/mnist-cnn", json={}),
        client.post("/predict/digits", files={"file": b"just a text"}),
    ]

    for answer in answers:
        example = responses[str(answer.status_code)]["content"]["application/problem+json"]["example"]
        assert answer.json() | {"request_id": ""} == example | {"request_id": ""}


def test_examples_are_what_the_service_answers(client: TestClient, document: dict[str, Any]) -> None:
    example = {
        (method, path): operation["responses"]["200"]["content"].get("application/json", {}).get("example")
        for path, method, operation in operations(document)
    }
    page = example["get", "/models/{model}"]

    assert example["get", "/health/live"] == client.get("/health/live").json()
    assert example["get", "/health/ready"] == client.get("/health/ready").json()
    assert example["get", "/convolution"] == client.get("/convolution").json()
    assert example["get", "/models"] == client.get("/models").json()
    assert page == client.get(f"/models/{page['name']}", headers={"Host": "127.0.0.1:8000"}).json()


def test_examples_of_predictions_are_what_the_service_answers(client: TestClient, document: dict[str, Any]) -> None:
    """Of the model's golden pictures: the first, and three beside each other."""
    content = document["paths"]["/predict/{model}"]["post"]["responses"]["200"]["content"]["application/json"]
    examples = {name: example["value"] for name, example in content["examples"].items()}
    model = load_store(ROOT / "artifacts", ["CPUExecutionProvider"]).find("digits")
    one = encode(golden_pixels(model)[0])
    sheet = encode(example_sheet(model))

    assert examples["one"] == client.post("/predict/digits", files={"file": one}).json()
    assert examples["many"] == client.post("/predict/digits?many=true&top=1", files={"file": sheet}).json()
    assert len(examples["many"]["predictions"][0]["objects"]) == 3


def test_error_examples_of_clustering_are_what_the_service_answers(
    client: TestClient, document: dict[str, Any]
) -> None:
    def documented(path: str, status: int) -> Any:
        problem = document["paths"][path]["post"]["responses"][str(status)]["content"]["application/problem+json"]
        return problem["example"] | {"request_id": ""}

    slow = {"points": [[each % 97, each % 89] for each in range(3_000)], "k": 90, "tolerance": 0}
    statuses = set()
    for path, answer in (
        ("/cluster/{model}", client.post("/cluster/mnist-cnn")),
        ("/cluster/fit", client.post("/cluster/fit", json={"points": [[0]] * 10_001})),
        ("/cluster/fit", client.post("/cluster/fit", content="x,y", headers={"Content-Type": "text/csv"})),
        ("/cluster/fit", client.post("/cluster/fit", json={"points": [[0, 0], [1]], "k": 1})),
        ("/cluster/fit", client.post("/cluster/fit", json=slow, headers={"X-Request-Timeout-Ms": "1"})),
    ):
        assert answer.json() | {"request_id": ""} == documented(path, answer.status_code)
        statuses.add(answer.status_code)
    assert statuses == {413, 415, 422, 504}


def test_error_examples_of_expressions_are_what_the_service_answers(
    client: TestClient, document: dict[str, Any]
) -> None:
    path, statuses = "/gradients/expression", set()
    large = {"expression": "sum(" + "*".join(["x"] * 19) + ")", "inputs": {"x": [0.5] * 10_000}}
    for answer in (
        client.post(path, json={"expression": "x", "inputs": {"x": [[0] * 200] * 200}}),
        client.post(path, content="x", headers={"Content-Type": "text/plain"}),
        client.post(path, json={"expression": "9**9**9**9"}),
        client.post(path, json=large, headers={"X-Request-Timeout-Ms": "1"}),
    ):
        example = document["paths"][path]["post"]["responses"][str(answer.status_code)]["content"]
        assert answer.json() | {"request_id": ""} == example["application/problem+json"]["example"] | {"request_id": ""}
        statuses.add(answer.status_code)
    assert statuses == {413, 415, 422, 504}


def test_error_examples_of_activations_are_what_the_service_answers(
    client: TestClient, document: dict[str, Any]
) -> None:
    path, statuses = "/gradients/activations", set()
    large = {"function": "softmax", "x": [0.5] * 64}
    for answer in (
        client.post(path, json={"function": "tanh", "x": [0] * 1_002}),
        client.post(path, content="x", headers={"Content-Type": "text/plain"}),
        client.post(path, json={"function": "relu", "alpha": 2}),
        client.post(path, json=large, headers={"X-Request-Timeout-Ms": "1"}),
    ):
        example = document["paths"][path]["post"]["responses"][str(answer.status_code)]["content"]
        assert answer.json() | {"request_id": ""} == example["application/problem+json"]["example"] | {"request_id": ""}
        statuses.add(answer.status_code)
    assert statuses == {413, 415, 422, 504}


def test_error_examples_of_convolutions_are_what_the_service_answers(
    client: TestClient, document: dict[str, Any]
) -> None:
    path, statuses = "/convolution", set()
    large = {"matrix": [[0.5] * 256] * 256, "kernel": [[0.5] * 15] * 15, "pooling": {"kind": "max", "size": 8}}
    for answer in (
        client.post(path, json={"matrix": [[0] * 257], "kernel": "edge"}),
        client.post(path, content="1,2", headers={"Content-Type": "text/csv"}),
        client.post(path, json={"matrix": [[0, 0], [0, 0]], "kernel": "edge"}),
        client.post(path, json=large, headers={"X-Request-Timeout-Ms": "1"}),
    ):
        example = document["paths"][path]["post"]["responses"][str(answer.status_code)]["content"]
        assert answer.json() | {"request_id": ""} == example["application/problem+json"]["example"] | {"request_id": ""}
        statuses.add(answer.status_code)
    assert statuses == {413, 415, 422, 504}


def test_error_examples_of_demos_are_what_the_service_answers(client: TestClient, document: dict[str, Any]) -> None:
    statuses = set()
    for name, answer in (
        ("first", client.post("/gradients/first", json={})),
        ("sum-then-square", client.post("/gradients/sum-then-square", json={"inputs": {"x": [[0] * 500]}})),
        (
            "sum-then-square",
            client.post("/gradients/sum-then-square", content="x", headers={"Content-Type": "text/plain"}),
        ),
        ("higher-order", client.post("/gradients/higher-order", json={"inputs": {"x": 2e6}})),
    ):
        example = document["paths"]["/gradients/{demo}"]["post"]["responses"][str(answer.status_code)]["content"]
        told = answer.json() | {"request_id": ""}
        assert told == example["application/problem+json"]["example"] | {"request_id": ""}, name
        statuses.add(answer.status_code)
    assert statuses == {404, 413, 415, 422}


def test_example_of_the_list_of_demos_is_what_the_service_answers(client: TestClient, document: dict[str, Any]) -> None:
    responses = document["paths"]["/gradients"]["get"]["responses"]
    refused = client.get("/gradients", headers={"X-Request-Timeout-Ms": "soon"}).json()

    assert (
        responses["200"]["content"]["application/json"]["example"]
        == client.get("/gradients", headers={"Host": "127.0.0.1:8000"}).json()
    )
    assert refused["detail"] == responses["422"]["content"]["application/problem+json"]["example"]["detail"]


def test_error_examples_of_explanations_are_what_the_service_answers(
    client: TestClient, document: dict[str, Any]
) -> None:
    picture, statuses = (SAMPLES / "seven.png").read_bytes(), set()
    for answer in (
        client.post("/explain/xor-mlp?layer=conv", json={"rows": [[0, 1]]}),
        client.post("/explain/digits?patch=29", files={"file": picture}),
        client.post("/explain/digits", files={"file": picture}, headers={"X-Request-Timeout-Ms": "1"}),
    ):
        responses = document["paths"]["/explain/{model}"]["post"]["responses"]
        example = responses[str(answer.status_code)]["content"]["application/problem+json"]["example"]
        assert answer.json() | {"request_id": ""} == example | {"request_id": ""}
        statuses.add(answer.status_code)
    assert statuses == {404, 422, 504}


def test_example_of_an_explanation_is_what_the_service_answers(client: TestClient, document: dict[str, Any]) -> None:
    """Of the picture that the example says the model saw."""
    answered = document["paths"]["/explain/{model}"]["post"]["responses"]["200"]["content"]["application/json"]
    picture = base64.b64decode(answered["example"]["input"].partition(",")[2])
    told = document["components"]["schemas"][answered["schema"]["$ref"].rpartition("/")[2]]

    assert client.post("/explain/digits", files={"file": picture}).json() == answered["example"]
    assert set(told["required"]) == set(answered["example"])


@pytest.mark.parametrize(
    "path",
    [
        *("/cluster/{model}", "/cluster/fit", "/convolution", "/train/{problem}"),
        *("/gradients/expression", "/gradients/activations", "/gradients/{demo}"),
        *("/gradients/flow", "/gradients/approximation"),
    ],
)
def test_example_works_when_it_is_pasted(client: TestClient, document: dict[str, Any], path: str) -> None:
    operation = document["paths"][path]["post"]
    asked = operation["requestBody"]["content"]["application/json"]["example"]
    answered = operation["responses"]["200"]["content"]["application/json"]

    assert client.post(addressed(document, path, "post"), json=asked).json() == answered["example"]
    told = document["components"]["schemas"][answered["schema"]["$ref"].rpartition("/")[2]]
    assert set(told["required"]) <= set(answered["example"]) <= set(told["properties"])


def test_error_examples_of_training_are_what_the_service_answers(client: TestClient, document: dict[str, Any]) -> None:
    statuses = set()
    for answer in (
        client.post("/train/parity", json={}),
        client.post("/train/bowl", json={"weights": {"point": [0] * 20_000}}),
        client.post("/train/bowl", content="x", headers={"Content-Type": "text/plain"}),
        client.post("/train/bowl", json={"optimiser": "lbfgs"}),
        client.post("/train/iris", json={"steps": 300}, headers={"X-Request-Timeout-Ms": "1"}),
    ):
        example = document["paths"]["/train/{problem}"]["post"]["responses"][str(answer.status_code)]["content"]
        assert answer.json() | {"request_id": ""} == example["application/problem+json"]["example"] | {"request_id": ""}
        statuses.add(answer.status_code)
    assert statuses == {404, 413, 415, 422, 504}


def test_every_number_of_a_fit_is_explained(document: dict[str, Any]) -> None:
    body = document["paths"]["/cluster/fit"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schemas = [body, *(document["components"]["schemas"][name] for name in ("RoundTold",))]

    for schema in schemas:
        assert all(member.get("description") for member in schema["properties"].values())
    told = document["components"]["schemas"]["Fit"]["properties"]
    assert [name for name, member in told.items() if not member.get("description")] == []


def test_members_that_a_fit_does_not_read_are_documented_as_not_allowed(
    client: TestClient, document: dict[str, Any]
) -> None:
    body = document["paths"]["/cluster/fit"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    asked = {"points": [[0]], "k": 1}

    assert body["additionalProperties"] is False
    assert client.post("/cluster/fit", json=asked).status_code == 200
    assert client.post("/cluster/fit", json=asked | {"clusters": 1}).status_code == 422


def test_example_of_rows_is_not_shown_with_predictions(document: dict[str, Any]) -> None:
    content = document["paths"]["/predict/{model}"]["post"]["requestBody"]["content"]

    assert "example" not in content["application/json"]


INFER = "/v2/models/{model}/infer"


def addressed(document: dict[str, Any], path: str, method: str) -> str:
    """The path, filled in as Swagger UI does it."""
    for parameter in document["paths"][path][method].get("parameters", []):
        if parameter["in"] == "path":
            example = parameter.get("example") or next(iter(parameter["examples"].values()))["value"]
            path = path.replace(f"{{{parameter['name']}}}", example)
    return path


@pytest.mark.parametrize("path", [INFER, "/v2/models/{model}/versions/{version}/infer"])
def test_example_of_infer_works_when_it_is_pasted(client: TestClient, document: dict[str, Any], path: str) -> None:
    operation = document["paths"][path]["post"]
    content = operation["requestBody"]["content"]
    answer = client.post(addressed(document, path, "post"), json=content["application/json"]["example"]).json()

    assert list(content) == ["application/json", "application/octet-stream"]
    assert content["application/json"]["schema"]["required"] == ["inputs"]
    assert answer == operation["responses"]["200"]["content"]["application/json"]["example"]
    assert [output["name"] for output in answer["outputs"]] == ["probabilities", "logits"]
    assert [len(output["data"]) for output in answer["outputs"]] == [10, 3]


@pytest.mark.parametrize("path", ["", "/ready", "/config"])
@pytest.mark.parametrize("version", ["", "/versions/{version}"])
def test_examples_of_the_protocol_are_what_the_service_answers(
    client: TestClient, document: dict[str, Any], version: str, path: str
) -> None:
    template = f"/v2/models/{{model}}{version}{path}"
    example = document["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["example"]

    assert client.get(addressed(document, template, "get")).json() == example


def test_examples_of_the_server_are_what_it_answers(client: TestClient, document: dict[str, Any]) -> None:
    for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
        example = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["example"]
        assert client.get(path).json() == example
    index = document["paths"]["/v2/repository/index"]["post"]
    asked = index["requestBody"]["content"]["application/json"]["example"]
    answered = index["responses"]["200"]["content"]["application/json"]["example"]
    assert client.post("/v2/repository/index", json=asked).json() == answered


def test_error_examples_of_the_protocol_are_what_the_service_answers(
    client: TestClient, document: dict[str, Any]
) -> None:
    responses = document["paths"][INFER]["post"]["responses"]
    wrong = {"inputs": [{"name": "image", "shape": [1, 27, 27], "datatype": "UINT8", "data": []}]}
    answers = [
        client.post("/v2/models/digits/infer", json=wrong),
        client.post("/v2/models/mnist-cnn/versions/7/infer", json=wrong),
        client.post("/v2/models/digits/infer", content=b"x" * 21_000_000),
        client.post("/v2/models/digits/infer", json=wrong, headers={"Content-Encoding": "br"}),
    ]

    assert [answer.status_code for answer in answers] == [400, 404, 413, 415]
    for answer in answers:
        assert answer.json() == responses[str(answer.status_code)]["content"]["application/json"]["example"]


def test_infer_documents_its_header(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/v2/models/{model}/versions/{version}/infer"]["post"]["parameters"]

    assert {(parameter["in"], parameter["name"]) for parameter in parameters} == {
        ("path", "model"),
        ("path", "version"),
        ("header", "Inference-Header-Content-Length"),
        ("header", "X-Request-Timeout-Ms"),
    }


def test_example_request_is_real(client: TestClient, document: dict[str, Any]) -> None:
    description = document["paths"]["/predict/{model}"]["post"]["description"]
    file, path = re.findall(r"curl -F file=@(\S+) http://127\.0\.0\.1:8000(/\S+)`", description)[0]
    answer = client.post(path, files={"file": (SAMPLES.parent / file).read_bytes()})

    assert answer.json()["predictions"][0]["label"] == "7"


def test_optional_parameters_are_not_described_as_null(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/predict/{model}"]["post"]["parameters"]

    assert {(parameter["in"], parameter["name"], parameter["schema"]["type"]) for parameter in parameters} == {
        ("path", "model", "string"),
        ("query", "model", "string"),
        ("query", "version", "integer"),
        ("query", "top", "integer"),
        ("query", "many", "boolean"),
        ("query", "as_seen", "boolean"),
        ("header", "X-Request-Timeout-Ms", "integer"),
    }


def test_body_is_described_as_files_or_json(document: dict[str, Any]) -> None:
    content = document["paths"]["/predict/{model}"]["post"]["requestBody"]["content"]

    assert set(content) == {"multipart/form-data", "image/*", "application/json"}
    assert content["multipart/form-data"]["schema"]["required"] == ["file"]


def references(part: Any) -> list[str]:
    """All of them, wherever they stand."""
    if isinstance(part, list):
        return [found for each in part for found in references(each)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [found for each in part.values() for found in references(each)]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = references(document)
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]

    assert found


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/cluster/fit", {"points": [[1], [2]], "start": [[]]}),
        ("/gradients/approximation", {"units": [0]}),
        ("/gradients/approximation", {"units": [101]}),
        ("/gradients/flow", {"activations": ["relu", "relu"]}),
    ],
)
def test_what_is_refused_for_its_form_alone_is_not_documented_as_allowed(
    client: TestClient, document: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    [(name, value)] = [(name, value) for name, value in body.items() if name != "points"]
    told = schema["properties"][name]
    lists = [kind for kind in [told, *told.get("anyOf", [])] if kind.get("type") == "array"]

    assert client.post(path, json=body).status_code == 422
    assert all(
        (kind.get("uniqueItems") and len(set(map(str, value))) < len(value))
        or any(not _allows(kind["items"], each) for each in value)
        for kind in lists
    )


def _allows(items: dict[str, Any], value: Any) -> bool:
    if isinstance(value, list):
        return len(value) >= items.get("minItems", 0)
    return value in items["enum"] if "enum" in items else items["minimum"] <= value <= items["maximum"]


def test_an_empty_deadline_is_refused_as_the_documentation_says(client: TestClient) -> None:
    answer = client.get("/gradients", headers={"X-Request-Timeout-Ms": ""})

    assert "X-Request-Timeout-Ms is ''; allowed is a whole number, 1 and more" in assert_problem(answer, 422)
