"""POST /gradients/activations over HTTP: numbers, the picture and what is shaded in it, what is refused."""

from typing import Any
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient

from tests.problems import assert_problem

URL = "/gradients/activations"
SVG = "{http://www.w3.org/2000/svg}"
FUNCTIONS = ("step", "sigmoid", "tanh", "softplus", "relu", "leaky-relu")


def drawn(client: TestClient, **asked: Any) -> ElementTree.Element:
    answer = client.post(URL, json=asked, headers={"Accept": "image/svg+xml"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    return ElementTree.fromstring(answer.text)


def of_class(picture: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [each for each in picture.iter() if each.get("class") == kind]


def points(line: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = [pair.split(",") for pair in line.get("points", "").split()]
    return [(float(x), float(y)) for x, y in pairs]


def test_function_is_answered_with_its_derivative(client: TestClient) -> None:
    answer = client.post(URL, json={"function": "relu", "from": -1, "to": 1, "points": 3})

    assert answer.json() == {
        **{"function": "relu", "expression": "relu(x)", "parameters": {}, "x": [-1, 0, 1], "values": [0, 0, 1]},
        **{"derivatives": [0, 0, 1], "steepest": 1, "saturated": [True, True, False]},
        "kink": {"x": 0, "derivative": 0},
    }
    assert (answer.headers["content-type"], answer.headers["vary"]) == ("application/json", "Accept")
    assert "inference" in answer.headers["server-timing"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_curves_are_drawn_in_their_panels(client: TestClient, function: str) -> None:
    picture = drawn(client, function=function)
    width, height = (float(picture.get(name, "0")) for name in ("width", "height"))
    [values], [derivatives] = (of_class(picture, kind) for kind in ("curve", "slope"))
    told = client.post(URL, json={"function": function}).json()

    for line, numbers in ((values, told["values"]), (derivatives, told["derivatives"])):
        places = points(line)
        assert len(places) == 121
        assert all(0 < x < width and 0 < y < height for x, y in places)
        highest, lowest = (min(y for _, y in places), max(y for _, y in places))
        assert places[numbers.index(max(numbers))][1] == highest
        assert places[numbers.index(min(numbers))][1] == lowest
    assert max(y for _, y in points(values)) < min(y for _, y in points(derivatives)) or function == "step"
    assert {each.tag.removeprefix(SVG) for each in picture.iter()} == {
        *("svg", "title", "style", "rect", "text", "line", "polyline")
    }


def test_what_is_saturated_is_shaded(client: TestClient) -> None:
    picture = drawn(client, function="sigmoid", **{"from": -10, "to": 10, "points": 21})
    bands = [(float(each.get("x", "")), float(each.get("width", ""))) for each in of_class(picture, "saturated")]

    # Of -10 to 10 on 640 pixels, from 92 on, what is beyond 5.5: at 6 it is saturated, at 5 not.
    assert bands == [(92, 144), (588, 144)] * 2


def test_where_nothing_is_saturated_nothing_is_shaded(client: TestClient) -> None:
    assert of_class(drawn(client, function="leaky-relu", slope=0.2), "saturated") == []


def test_axes_have_numbers(client: TestClient) -> None:
    texts = [each.text for each in of_class(drawn(client, function="tanh", alpha=-2), "text")]
    [head] = of_class(drawn(client, function="tanh", alpha=-2), "head")

    assert head.text == "tanh: tanh(alpha*x), alpha = −2"
    assert texts[0] == "shaded: saturated, a derivative below 1% of 2, its greatest"
    assert texts.count("−6") == texts.count("6") == 2
    assert {"value", "derivative", "−1", "−0.5", "0", "0.5", "1", "−2", "−1.5"} <= set(texts)


def test_own_points_are_drawn_in_order(client: TestClient) -> None:
    [line] = of_class(drawn(client, function="tanh", x=[3, -1, 2, -1]), "curve")
    across = [x for x, _ in points(line)]

    assert across == sorted(across)


def test_softmax_has_a_bar_for_each_element(client: TestClient) -> None:
    asked = {"function": "softmax", "x": [2, 0, 1]}
    picture, told = drawn(client, **asked), client.post(URL, json=asked).json()
    bars = of_class(picture, "bar")
    heights = [float(bar.get("height", "")) for bar in bars]

    assert told["values"] == pytest.approx([0.665, 0.090, 0.245], abs=1e-3)
    assert [height / sum(heights) for height in heights] == pytest.approx(told["values"], abs=1e-3)
    assert [bar.findtext(f"{SVG}title") for bar in bars] == ["0.665", "0.09", "0.245"]
    assert len(of_class(picture, "steep")) == 3


@pytest.mark.parametrize(
    "asked",
    [
        {"function": "sigmoid", "x": [0]},
        {"function": "sigmoid", "x": [745.1, 745.11]},
        {"function": "softplus", "x": [-744, -743, -745]},
        {"function": "sigmoid", "alpha": 1000, "from": -1e6, "to": 1e6},
        {"function": "relu", "from": 1, "to": 1.0000000000000002, "points": 5},
        {"function": "leaky-relu", "slope": -10, "from": -1e6, "to": -999999.9999999999},
        {"function": "softmax", "x": [1e6]},
        {"function": "softmax", "x": [0] * 64},
    ],
)
def test_what_is_flat_or_tiny_is_drawn_too(client: TestClient, asked: dict[str, Any]) -> None:
    picture = drawn(client, **asked)

    assert "nan" not in ElementTree.tostring(picture, "unicode").lower()


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        ({"json": {"function": "swish"}}, 422, 'function is "swish"; allowed are step'),
        ({"json": {"function": "tanh", "x": [0] * 1_002}}, 413, "x has 1,002 numbers"),
        ({"content": b"[]", "headers": {"Content-Type": "application/json"}}, 422, "the body is []; allowed is an obj"),
        ({"content": b" " * 100_001, "headers": {"Content-Type": "application/json"}}, 413, "at most 100,000 bytes"),
        ({"data": {"function": "tanh"}}, 415, "content type 'application/x-www-form-urlencoded' is not read here"),
    ],
)
def test_what_is_wrong_is_told(client: TestClient, request_: dict[str, Any], status: int, detail: str) -> None:
    assert detail in assert_problem(client.post(URL, **request_), status)


def test_is_counted_by_a_name_that_no_model_has(client: TestClient) -> None:
    client.post(URL, json={"function": "tanh"})

    assert 'model="gradients/activations"' in client.get("/metrics").text


def test_members_are_documented_by_the_names_that_are_read(client: TestClient) -> None:
    """`from` is no name that Python has."""
    operation = client.get("/openapi.json").json()["paths"][URL]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]

    assert list(schema["properties"]) == ["function", "alpha", "slope", "from", "to", "points", "x"]
    assert all(member["description"] for member in schema["properties"].values())
