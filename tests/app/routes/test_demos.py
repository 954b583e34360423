"""GET /gradients and POST /gradients/{demo} over HTTP: the course's figures, known derivatives, what is refused."""

import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from app.lab.demo import FOLDER, Demos
from app.main import create_app
from app.settings import Settings
from tests.problems import assert_problem

ONES = [[1.0, 1.0], [1.0, 1.0]]
NAMES = sorted(file.stem for file in FOLDER.glob("*.onnx"))


def ask(client: TestClient, demo: str, **inputs: Any) -> dict[str, Any]:
    answer = client.post(f"/gradients/{demo}", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


# --- the course's figures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("demo", "inputs", "outputs"),
    [
        (
            "first-backward-pass",
            {},
            {
                "y": [[3, 3], [3, 3]],
                "z": [[27, 27], [27, 27]],
                "out": 27,
                "out_by_x": [[4.5, 4.5], [4.5, 4.5]],
                "out_by_y": [[4.5, 4.5], [4.5, 4.5]],
                "out_by_z": [[0.25, 0.25], [0.25, 0.25]],
            },
        ),
        ("first-backward-pass", {"x": ONES}, {"out": 27, "out_by_x": [[4.5, 4.5], [4.5, 4.5]]}),
        ("requires-gradient", {}, {"equal": True, "product_by_x": [4, 5, 6], "through_detached_by_x": [1, 2, 3]}),
        (
            "vector-jacobian",
            {},
            {
                "y": [256, -512, 1024],
                "doublings": 9,
                "product": [51.2, 512, 0.0512],
                "jacobian": [[512, 0, 0], [0, 512, 0], [0, 0, 512]],
            },
        ),
        ("sum-then-square", {}, {"s": 4, "z": 16, "z_by_x": [[8, 8], [8, 8]], "z_by_s": 8}),
        ("several-derivatives", {}, {"y": 9, "z": 81, "z_by_x": 108, "z_by_y": 18, "y_by_x": 6}),
        ("control-flow", {}, {"value": 8, "multiplications": 3, "value_by_x": 12}),
        ("control-flow", {"x": 2, "n": 6}, {"value_by_x": 12}),
        ("control-flow", {"x": 2, "n": 5}, {"value_by_x": 12}),
        ("control-flow", {"x": 2, "n": 4}, {"value_by_x": 4}),
        ("control-flow", {"x": 2, "n": 0}, {"value": 1, "multiplications": 0, "value_by_x": 0}),
        ("higher-order", {}, {"y": 1, "first": 3, "second": 6, "third": 6}),
        ("hessian", {"x": [0, 0]}, {"gradient": [0.5, 0.5], "hessian": [[0.25, -0.25], [-0.25, 0.25]]}),
        (
            "node-multiply",
            {},
            {"value": -12, "local_a": -4, "local_b": 3, "downstream_a": -8, "downstream_b": 6},
        ),
        ("node-add", {}, {"value": -1, "local_a": 1, "local_b": 1, "downstream_a": 2, "downstream_b": 2}),
        ("node-sigmoid", {}, {"value": 0.5, "local_x": 0.25, "downstream_x": 0.5}),
        ("node-max", {}, {"value": 3, "local_a": 1, "local_b": 0, "downstream_a": 2, "downstream_b": 0}),
        ("node-max", {"a": 5, "b": 5}, {"value": 5, "local_a": 0.5, "local_b": 0.5, "downstream_a": 1}),
        ("node-relu", {}, {"value": 3, "local_x": 1, "downstream_x": 2}),
        ("node-relu", {"x": 0}, {"value": 0, "local_x": 0, "downstream_x": 0}),
        ("node-fan-out", {}, {"used": [3, 3, 3], "downstream_x": 5}),
        (
            "neuron",
            {},
            {
                **{"value": 1, "local_w": [-1, -2], "local_x": [2, -3], "local_b": 1},
                **{"downstream_w": [-2, -4], "downstream_x": [4, -6], "downstream_b": 2},
            },
        ),
    ],
)
def test_figures_are_exact(client: TestClient, demo: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    told = ask(client, demo, **inputs)["outputs"]

    assert {name: told[name] for name in outputs} == outputs
    if not inputs:
        assert outputs.keys() <= told.keys()


def test_nodes_and_leaves_of_the_first_backward_pass_are_told(client: TestClient) -> None:
    told = ask(client, "first-backward-pass")

    assert list(told) == ["demo", "title", "mathematics", "inputs", "outputs", "tensors", "nodes"]
    assert [node["kind"] for node in told["nodes"]] == [
        *("MeanBackward0", "MulBackward0", "MulBackward0", "AddBackward0", "AccumulateGrad")
    ]
    assert [each["name"] for each in told["tensors"] if each["leaf"]] == ["x"]
    assert [each["name"] for each in told["tensors"] if each["requires_gradient"]] == ["x", "y", "z", "out"]


@pytest.mark.parametrize("n", range(11))
@pytest.mark.parametrize("x", [2, 0.5])
def test_what_pytorch_recorded_is_told_of_these_numbers_alone(client: TestClient, n: int, x: float) -> None:
    """f is 1, with no history, where the loop does not multiply; of other numbers than the recorded nothing is said."""
    told = ask(client, "control-flow", n=n, x=x)["tensors"]
    value = {"name": "value", "requires_gradient": n > 2, "leaf": n <= 2, "node": "MulBackward0" if n > 2 else None}

    if x == 2 and n < 10:
        assert told == [{"name": "x", "requires_gradient": True, "leaf": True, "node": None}, value]
    else:
        assert told is None


def test_what_requires_a_gradient_is_told(client: TestClient) -> None:
    told = ask(client, "requires-gradient")

    assert [each["name"] for each in told["tensors"] if each["requires_gradient"]] == [
        *("x", "product", "through_detached")
    ]
    assert told["outputs"]["under_no_grad"] == told["outputs"]["product"]
    assert told["outputs"]["detached"] == told["inputs"]["x"]


def test_perceptron_decides_by_names(client: TestClient) -> None:
    x, w = {"hungry": 1, "late": 1, "rain": 0}, {"rain": 5, "hungry": 3, "late": -2}
    told = ask(client, "perceptron", x=x, w=w, b=-0.5)["outputs"]
    slope = told["probability"] * (1 - told["probability"])

    assert (told["products"], told["f"], told["step"]) == ({"hungry": 3, "late": -2, "rain": 0}, 0.5, 1)
    assert told["probability"] == pytest.approx(1 / (1 + np.exp(-0.5)), abs=1e-15)
    assert told["probability_by_w"] == pytest.approx({name: slope * x[name] for name in x}, abs=1e-15)
    assert told["probability_by_x"] == pytest.approx({name: slope * w[name] for name in x}, abs=1e-15)
    assert ask(client, "perceptron", x=x, w=w, b=-1)["outputs"]["step"] == 0


def test_neuron_tells_by_the_names_that_it_was_sent(client: TestClient) -> None:
    told = ask(client, "neuron", w=[2, 3], x={"b": 5, "a": 7}, upstream=10)

    assert told["inputs"]["w"] == {"b": 2, "a": 3}
    assert told["outputs"]["downstream_x"] == {"b": 20, "a": 30}


# --- any numbers ------------------------------------------------------------------------------------------------------


def assert_close(ours: Any, wanted: Any) -> None:
    ours, wanted = np.array(ours, float), np.array(wanted, float)
    assert ours.shape == wanted.shape
    assert np.abs(ours - wanted).max() <= 1e-9 * max(1, np.abs(wanted).max())


@pytest.mark.parametrize("seed", range(10))
def test_derivatives_are_those_of_the_formulas(client: TestClient, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=generator.integers(1, 20, size=2)) * 10
    v, t = x[0], x[0, 0]
    softmax = np.exp(v - v.max()) / np.exp(v - v.max()).sum()

    def derivative(demo: str, output: str, **inputs: Any) -> Any:
        return ask(client, demo, **{name: np.array(each).tolist() for name, each in inputs.items()})["outputs"][output]

    assert_close(derivative("first-backward-pass", "out_by_x", x=x), 6 * (x + 2) / x.size)
    assert_close(derivative("sum-then-square", "z_by_x", x=x), np.full(x.shape, 2 * x.sum()))
    assert_close(derivative("several-derivatives", "z_by_x", x=t), 4 * t**3)
    assert_close(derivative("higher-order", "second", x=t), 6 * t)
    assert_close(derivative("hessian", "gradient", x=v), softmax)
    assert_close(derivative("hessian", "hessian", x=v), np.diag(softmax) - np.outer(softmax, softmax))
    assert_close(derivative("requires-gradient", "through_detached_by_x", x=v, c=v), v)
    assert_close(derivative("control-flow", "value_by_x", x=t, n=4), 2 * t)
    assert_close(derivative("node-sigmoid", "local_x", x=t), 1 / (2 + 2 * np.cosh(t)))
    assert_close(derivative("neuron", "downstream_w", w=v, x=v + 1, upstream=3), 3 * (v + 1))
    assert_close(derivative("node-fan-out", "downstream_x", upstream=v), v.sum())


@pytest.mark.parametrize("demo", [name for name in NAMES if name.startswith("node-") or name == "neuron"])
def test_downstream_is_upstream_times_local(client: TestClient, demo: str) -> None:
    if demo == "node-fan-out":
        assert ask(client, demo, upstream=[0.1, -7])["outputs"]["downstream_x"] == pytest.approx(-6.9)
        return
    told = ask(client, demo, upstream=-1.5)["outputs"]
    local = {name.removeprefix("local_"): each for name, each in told.items() if name.startswith("local_")}

    assert local
    for name, each in local.items():
        assert_close(told[f"downstream_{name}"], -1.5 * np.array(each))


@pytest.mark.parametrize(
    ("demo", "expression", "inputs"),
    [
        ("first-backward-pass", "mean(3*(x+2)**2)", {"x": [[1, -2, 0.5], [3, 4, 0]]}),
        ("sum-then-square", "sum(x)**2", {"x": [[1, -2, 0.5], [3, 4, 0]]}),
        ("several-derivatives", "(x**2)**2", {"x": 1.25}),
        ("control-flow", "x*x*x", {"x": 1.25}),
        ("higher-order", "x**3", {"x": -1.25}),
        ("hessian", "log(sum(exp(x)))", {"x": [1, -2, 0.5]}),
        ("node-multiply", "2*(a*b)", {"a": 1.25, "b": -3}),
        ("node-add", "2*(a+b)", {"a": 1.25, "b": -3}),
        ("node-sigmoid", "2*sigmoid(x)", {"x": 1.25}),
        ("node-max", "2*max(a, b)", {"a": 1.25, "b": -3}),
        ("node-relu", "2*max(x, 0)", {"x": 1.25}),
        ("neuron", "2*(dot(w, x) + b)", {"w": [1, 2, 3], "x": [-0.5, 0.25, 4], "b": 7}),
        ("perceptron", "sigmoid(dot(w, x) + b)", {"w": [1, 2, 3], "x": [-0.5, 0.25, 0.4], "b": -0.7}),
    ],
)
def test_formula_of_a_demo_has_the_same_gradients(
    client: TestClient, demo: str, expression: str, inputs: dict[str, Any]
) -> None:
    told = client.post("/gradients/expression", json={"expression": expression, "inputs": inputs}).json()
    outputs = ask(client, demo, **inputs)["outputs"]

    for name, gradient in told["gradients"].items():
        names = (*(f"{what}_by_{name}" for what in ("out", "z", "value", "probability")), f"downstream_{name}")
        [ours] = [outputs[each] for each in (*names, "gradient", "first") if each in outputs]
        assert_close(ours, gradient)


def test_hessian_is_that_of_the_formula(client: TestClient) -> None:
    asked = {"expression": "log(sum(exp(x)))", "inputs": {"x": [1, -2, 0.5]}, "hessian": True}
    told = client.post("/gradients/expression", json=asked).json()["hessian"]["x"]["x"]

    assert_close(ask(client, "hessian", x=[1, -2, 0.5])["outputs"]["hessian"], told)


# --- the list ---------------------------------------------------------------------------------------------------------


def test_list_has_every_demo_and_every_call_works(client: TestClient) -> None:
    told = client.get("/gradients", headers={"Host": "percept.example"}).json()

    assert ([each["name"] for each in told["demos"]], told["refused"]) == (NAMES, [])
    for each in (*told["demos"], told["expression"]):
        curl, _, header, _, body, address = shlex.split(each["call"])
        assert (curl, header) == ("curl", "Content-Type: application/json")
        assert address == f"http://percept.example/gradients/{each['name']}"
        answer = client.post(address, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200
        if "inputs" in each:
            assert answer.json()["inputs"] == {taken["name"]: taken["default"] for taken in each["inputs"]}
            assert list(answer.json()["outputs"]) == [output["name"] for output in each["outputs"]]


@pytest.mark.parametrize("demo", NAMES)
def test_nothing_sent_is_the_default(client: TestClient, demo: str) -> None:
    answer = client.post(f"/gradients/{demo}", json={})

    assert answer.json() == ask(client, demo)
    assert "inference" in answer.headers["server-timing"]


def test_is_counted_by_names_that_no_model_has(client: TestClient) -> None:
    client.get("/gradients")
    ask(client, "higher-order")
    metrics = client.get("/metrics").text

    assert 'model="gradients/list"' in metrics
    assert 'model="gradients/higher-order"' in metrics
    assert 'model="gradients/nothing"' not in metrics


def test_demo_that_is_not_served_says_why_and_harms_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "first-backward-pass.onnx").write_bytes(b"no graph")
    shutil.copy(FOLDER / "higher-order.onnx", tmp_path)
    monkeypatch.setattr("app.main.Demos", lambda: Demos(tmp_path))
    with TestClient(create_app(Settings(artifacts=tmp_path / "artifacts"))) as client:
        reason = assert_problem(client.post("/gradients/first-backward-pass", json={}), 503)

        assert reason.startswith("demo 'first-backward-pass' is not served: onnxruntime cannot load it")
        assert client.get("/gradients").json()["refused"] == [{"name": "first-backward-pass", "reason": reason}]
        assert ask(client, "higher-order")["outputs"]["first"] == 3
        assert client.get("/openapi.json").status_code == 200


# --- what is refused --------------------------------------------------------------------------------------------------


def test_unknown_demo_is_told_which_there_are(client: TestClient) -> None:
    detail = assert_problem(client.post("/gradients/nothing", content=b"x" * 1_000), 404)

    assert detail == f"there is no demo 'nothing'; there are: {', '.join(NAMES)}"


@pytest.mark.parametrize(
    ("demo", "inputs", "status", "detail"),
    [
        ("several-derivatives", {"y": 1}, 422, "demo 'several-derivatives' has no input \"y\"; it has: x"),
        ("several-derivatives", {"x": [1, 2]}, 422, "input 'x' has the shape [2]; allowed is a number"),
        ("several-derivatives", {"x": "1"}, 422, "input 'x' has \"1\" in it; allowed is a number"),
        ("several-derivatives", {"x": None}, 422, "input 'x' has null in it"),
        ("several-derivatives", {"x": True}, 422, "input 'x' has true in it"),
        ("several-derivatives", {"x": []}, 422, "input 'x' is empty; allowed is at least one number"),
        ("several-derivatives", {"x": -1.1e6}, 422, "input 'x' has -1.1e+06 in it; allowed is -1e+06 to 1e+06"),
        ("several-derivatives", {"x": 10**30}, 422, "input 'x' has 1e+30 in it"),
        ("several-derivatives", {"x": {"a": 1}}, 422, "input 'x' is an object; allowed is a number"),
        ("sum-then-square", {"x": [1, 2]}, 422, "input 'x' has the shape [2]; allowed is a list of rows of numbers"),
        ("sum-then-square", {"x": [[1], [2, 3]]}, 422, "input 'x' has rows of several lengths"),
        ("sum-then-square", {"x": [[[1]]]}, 422, "input 'x' has [1] in it"),
        ("sum-then-square", {"x": [[0] * 21]}, 422, "input 'x' has 21 along its axis columns; allowed are 1 to 20"),
        ("sum-then-square", {"x": [[0] * 500]}, 413, "input 'x' has 500 numbers; at most 400 are allowed"),
        ("control-flow", {"n": 2.5}, 422, "input 'n' is 2.5; allowed is a whole number of 0 to 10"),
        ("control-flow", {"n": 11}, 422, "input 'n' has 11 in it; allowed is 0 to 10"),
        ("vector-jacobian", {"x": [0, 0, 0]}, 422, "input 'x' has the norm 0; allowed is 0.001 and more"),
        ("vector-jacobian", {"x": [1] * 21, "v": [1] * 21}, 422, "input 'x' has 21 along its axis n; allowed are 1 to"),
        (
            *("vector-jacobian", {"x": [1, 2]}, 422),
            "inputs 'x' and 'v' have 2 numbers and 3; allowed are equally many; 'v' is as by default: send it, too",
        ),
        (
            *("vector-jacobian", {"x": [1, 2], "v": [1]}, 422),
            "inputs 'x' and 'v' have 2 numbers and 1; allowed are equally many",
        ),
        (
            *("perceptron", {"x": {"a": 1}}, 422),
            'inputs \'x\' and \'w\' name different numbers: ["a"], ["clouds","forecast","short_way"]; '
            "'w' is as by default: send it, too",
        ),
        (
            "perceptron",
            {"x": {"a": [1]}, "w": [1]},
            422,
            "input 'x' has the shape [1, 1]; allowed is a list of numbers",
        ),
        ("perceptron", {"x": {}, "w": []}, 422, "input 'x' is empty"),
        ("perceptron", {"x": {"a" * 41: 1}, "w": [1]}, 422, "input 'x' has a name of 41 characters; at most 40 are"),
        ("hessian", {"x": [501]}, 422, "input 'x' has 501 in it; allowed is -500 to 500"),
    ],
)
def test_what_a_demo_does_not_take_is_told(
    client: TestClient, demo: str, inputs: dict[str, Any], status: int, detail: str
) -> None:
    told = assert_problem(client.post(f"/gradients/{demo}", json={"inputs": inputs}), status)

    assert detail in told


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        ({"json": []}, 422, "the body is []; allowed is an object"),
        ({"json": {"input": {}}}, 422, 'the body has a member "input" that is not read here'),
        ({"json": {"inputs": 3}}, 422, "inputs is 3; allowed is an object of numbers by name"),
        ({"content": b'{"inputs": {"x": 1e999}}', "headers": {"Content-Type": "application/json"}}, 422, "infinity"),
        (
            {"content": b'{"inputs": {"x": NaN}}', "headers": {"Content-Type": "application/json"}},
            422,
            "not valid JSON",
        ),
        ({"content": b" " * 50_001, "headers": {"Content-Type": "application/json"}}, 413, "at most 50,000 bytes"),
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415, "content type 'text/plain' is not read"),
        ({"json": {}, "headers": {"X-Request-Timeout-Ms": "soon"}}, 422, "X-Request-Timeout-Ms is 'soon'"),
    ],
)
def test_what_is_no_request_is_told(client: TestClient, request_: dict[str, Any], status: int, detail: str) -> None:
    assert detail in assert_problem(client.post("/gradients/higher-order", **request_), status)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
SENSIBLE = st.floats(-1e6, 1e6) | st.lists(st.floats(-1e6, 1e6), max_size=4) | st.integers(0, 10)
SENT = st.dictionaries(
    st.sampled_from(["x", "n", "v", "w", "b", "a", "c", "upstream"]), ANYTHING | SENSIBLE, max_size=4
)


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(demo=st.sampled_from(NAMES), inputs=SENT | ANYTHING)
def test_whatever_is_sent_is_answered_or_refused(client: TestClient, demo: str, inputs: Any) -> None:
    answer = client.post(f"/gradients/{demo}", json={"inputs": inputs})

    if answer.status_code == 200:
        assert b"null" not in orjson.dumps(answer.json()["outputs"])
    else:
        assert assert_problem(answer, 413 if answer.status_code == 413 else 422)


def test_largest_request_takes_a_few_milliseconds(client: TestClient) -> None:
    """As the server's own clock tells; the quickest of some, since a machine does other things too."""
    for demo, inputs in (
        ("vector-jacobian", {"x": [1] * 20, "v": [1] * 20}),
        ("first-backward-pass", {"x": [[1] * 20] * 20}),
        ("hessian", {"x": [1] * 20}),
    ):
        taken = []
        for _ in range(20):
            answer = client.post(f"/gradients/{demo}", json={"inputs": inputs})
            taken.append(sum(float(part.split("dur=")[1]) for part in answer.headers["server-timing"].split(",")))
        assert min(taken) <= 5.0, demo
