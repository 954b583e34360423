"""POST /gradients/expression over HTTP: JSON, the picture, what is refused, and neighbours that are not held up."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from fastapi.testclient import TestClient

from app.routes.gradients import TOLD
from tests.conftest import SAMPLES
from tests.problems import assert_problem
from tests.processor import least_seconds

URL = "/gradients/expression"
SVG = "{http://www.w3.org/2000/svg}"
COURSE = {"expression": "mean(3*(x+2)**2)", "inputs": {"x": [[1, 1], [1, 1]]}}
# A layer of a network and its loss: 22 steps.
TWENTY = {
    "expression": "mean((sigmoid(w@x+b)-y)**2) + 0.01*sum(w**2) + exp(-sum(b*b))",
    "inputs": {"w": [[1, -2, 0.5, 1]] * 3, "x": [1, 2, 3, -4], "b": [0, 0.1, 0.2]},
    "constants": {"y": [1, 0, 1]},
}


def test_expression_is_answered_with_its_gradients(client: TestClient) -> None:
    answer = client.post(URL, json=COURSE)
    told = answer.json()

    assert answer.status_code == 200
    assert (told["value"], told["gradients"]) == (27.0, {"x": [[4.5, 4.5], [4.5, 4.5]]})
    assert list(told) == ["expression", "shape", "value", "gradients", "notes", "graph", "check"]
    assert (answer.headers["content-type"], answer.headers["vary"]) == ("application/json", "Accept")
    assert "inference" in answer.headers["server-timing"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/svg+xml", "image/svg+xml"),
        ("text/html, image/svg+xml;q=0.9, */*", "image/svg+xml"),
        ("application/json, image/svg+xml", "application/json"),
        ("*/*", "application/json"),
        ("image/svg+xml;q=0, application/json", "application/json"),
        ("application/json;q=0.5, IMAGE/SVG+XML", "image/svg+xml"),
        ("image/svg+xml;q=much", "application/json"),
        ("", "application/json"),
    ],
)
def test_graph_is_drawn_for_who_asks_for_a_picture(client: TestClient, accept: str, kind: str) -> None:
    answer = client.post(URL, json=COURSE | {"graph": False}, headers={"Accept": accept})

    assert answer.headers["content-type"] == kind
    if kind == "application/json":
        assert "graph" not in answer.json()


def test_picture_has_every_step_and_nothing_active(client: TestClient) -> None:
    expression = "where(x < 1, x*x, x) + max(x, y)"
    told = client.post(URL, json={"expression": expression, "inputs": {"x": 0.5, "y": 2}}).json()
    answer = client.post(
        URL, json={"expression": expression, "inputs": {"x": 0.5, "y": 2}}, headers={"Accept": "image/svg+xml"}
    )
    picture = ElementTree.fromstring(answer.text)
    boxes = [each for each in picture.iter(f"{SVG}rect") if "box" in each.get("class", "")]
    edges = list(picture.iter(f"{SVG}path"))
    tags = {each.tag.removeprefix(SVG) for each in picture.iter()}

    assert [box.findtext(f"{SVG}title") for box in boxes] == [step["text"] for step in told["graph"]]
    assert len(edges) == sum(len(step["arguments"]) for step in told["graph"])
    assert tags == {"svg", "title", "style", "rect", "text", "path"}
    assert picture.findtext(f"{SVG}title") == f"{expression} = 2.25"


def test_boxes_of_a_picture_do_not_overlap(client: TestClient) -> None:
    answer = client.post(URL, json=TWENTY, headers={"Accept": "image/svg+xml"})
    picture = ElementTree.fromstring(answer.text)
    width, height = (float(picture.get(name, "0")) for name in ("width", "height"))
    boxes = [
        tuple(float(each.get(name, "0")) for name in ("x", "y", "width", "height"))
        for each in picture.iter(f"{SVG}rect")
        if "box" in each.get("class", "")
    ]

    for place, (x, y, w, h) in enumerate(boxes):
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        for x2, y2, w2, h2 in boxes[:place]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        ({"json": {"expression": "9**9**9**9"}}, 422, "expression: 9**9**9: an exponent is 3.8742e+08; at most 1,000"),
        (
            {"json": {"expression": "x.__class__", "inputs": {"x": 1}}},
            422,
            "expression: at character 3: '_' is no part",
        ),
        ({"json": {"expression": "x", "inputs": {"x": [0] * 10_001}}}, 413, "input 'x' has 10,001 numbers"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "the body is not valid JSON"),
        ({"content": b" " * 500_001, "headers": {"Content-Type": "application/json"}}, 413, "at most 500,000 bytes"),
        ({"data": {"expression": "x"}}, 415, "content type 'application/x-www-form-urlencoded' is not read here"),
        ({"json": COURSE, "headers": {"X-Request-Timeout-Ms": "soon"}}, 422, "X-Request-Timeout-Ms is 'soon'"),
    ],
)
def test_what_is_wrong_is_told(client: TestClient, request_: dict[str, Any], status: int, detail: str) -> None:
    assert detail in assert_problem(client.post(URL, **request_), status)


def test_is_counted_by_a_name_that_no_model_has(client: TestClient) -> None:
    client.post(URL, json=COURSE)

    assert 'model="gradients/expression"' in client.get("/metrics").text


@pytest.fixture
def slow() -> Iterator[dict[str, Any]]:
    yield {
        "expression": "sum(" + "*".join(["x"] * 19) + ")",
        "inputs": {"x": [[0.5] * 40] * 50},
    }


def test_neighbours_of_a_long_formula_are_served(client: TestClient, slow: dict[str, Any]) -> None:
    picture = (SAMPLES / "seven.png").read_bytes()
    with ThreadPoolExecutor(6) as pool:
        formulas = [pool.submit(client.post, URL, json=slow) for _ in range(5)]
        answers = [
            client.post("/predict/digits", content=picture, headers={"Content-Type": "image/png"}) for _ in range(5)
        ]

    assert [each.result().status_code for each in formulas] == [200] * 5
    assert [each.json()["predictions"][0]["label"] for each in answers] == ["7"] * 5


@pytest.mark.alone
def test_twenty_steps_take_at_most_2_ms_at_the_server() -> None:
    """Of the processor, from the body to the answer's bytes."""
    body = orjson.dumps(TWENTY)

    def answer() -> bytes:
        return TOLD.written(TOLD.answer(TOLD.read(body), lambda: None))

    assert len(orjson.loads(answer())["graph"]) >= 20
    assert least_seconds(answer, 0.002) <= 0.002
