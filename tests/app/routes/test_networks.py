"""POST /gradients/flow and /gradients/approximation over HTTP: numbers, pictures, and what is refused."""

from typing import Any
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient

from app.lab.gradient_flow import flow, network
from tests.problems import assert_problem

SVG = "{http://www.w3.org/2000/svg}"


def test_flow_tells_what_the_mathematics_gives(client: TestClient) -> None:
    told = client.post("/gradients/flow", json={"depth": 4, "width": 6, "samples": 9, "start": "he", "seed": 7}).json()
    asked = network(4, 6, 9, "he", 7)

    assert [each["activation"] for each in told["networks"]] == ["sigmoid", "tanh", "relu"]
    for each in told["networks"]:
        loss, layers = flow(asked, each["activation"])
        assert each["loss"] == loss
        assert [layer.pop("layer") for layer in each["layers"]] == [1, 2, 3, 4, 5]
        assert each["layers"] == [layer._asdict() for layer in layers]
        assert each["first_to_last"] == layers[0].gradient_norm / layers[3].gradient_norm


@pytest.mark.parametrize(
    ("path", "settings", "lines"),
    [
        ("/gradients/flow", {"depth": 12}, 6),
        ("/gradients/flow", {"activations": ["relu"], "start": "small", "width": 1, "samples": 1}, 2),
        ("/gradients/approximation", {"noise": 0.3}, 10),
        ("/gradients/approximation", {"curve": "3", "units": [1]}, 6),
        ("/gradients/approximation", {"curve": "x", "high": 1e-6}, 10),
        ("/gradients/approximation", {"curve": "x * 5e-324", "units": [1, 2]}, 7),
    ],
)
def test_is_drawn_for_who_asks_for_a_picture(client: TestClient, path: str, settings: Any, lines: int) -> None:
    answer = client.post(path, json=settings, headers={"Accept": "image/svg+xml"})
    picture = ElementTree.fromstring(answer.text)

    assert answer.headers["content-type"] == "image/svg+xml"
    assert len(list(picture.iter(f"{SVG}polyline"))) == lines
    assert "nan" not in answer.text and "inf" not in answer.text
    assert {each.tag.removeprefix(SVG) for each in picture.iter()} <= {
        *("svg", "title", "style", "rect", "text", "line", "polyline", "circle")
    }


@pytest.mark.parametrize(
    ("path", "settings", "detail"),
    [
        ("flow", {"depth": 31}, "depth is 31; allowed is a whole number of 1 to 30"),
        ("flow", {"width": 0}, "width is 0; allowed is a whole number of 1 to 64"),
        ("flow", {"activations": []}, "activations is []; allowed is a list of sigmoid, tanh, relu, each once at most"),
        ("flow", {"activations": ["relu", "relu"]}, 'activations is ["relu","relu"]; allowed is a list'),
        ("flow", {"activations": [["relu"]]}, 'activations is [["relu"]]; allowed is a list'),
        ("flow", {"start": "zeros"}, 'start is "zeros"; allowed is one of xavier, he, small, large'),
        ("approximation", {"low": 3, "high": 2}, "high is 2; allowed is more than low, 3"),
    ],
)
def test_wrong_settings_are_refused(client: TestClient, path: str, settings: Any, detail: str) -> None:
    assert detail in assert_problem(client.post(f"/gradients/{path}", json=settings), 422)


def test_error_examples_are_what_the_service_answers(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    wrong: dict[str, Any] = {"/gradients/flow": {"depth": 31}, "/gradients/approximation": {"low": 3, "high": 2}}
    for path, settings in wrong.items():
        answers = (
            client.post(path, json=settings),
            client.post(path, content="x", headers={"Content-Type": "text/plain"}),
            client.post(path, content=b" " * 20_001, headers={"Content-Type": "application/json"}),
        )
        for answer in answers:
            example = paths[path]["post"]["responses"][str(answer.status_code)]["content"]["application/problem+json"]
            assert example["example"]["detail"] in answer.json()["detail"]
        assert [answer.status_code for answer in answers] == [422, 415, 413]
