"""GET /train and POST /train/{problem}: steps that go on from where others ended, and what is refused."""

import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient

from app.lab.descent import Graphs
from app.lab.descent_answer import answer, tell
from app.lab.descent_cost import RUNS, WARM_UP, measure
from app.lab.descent_request import read_descent
from app.main import create_app
from app.runtime import CPU, Providers, open_session
from app.settings import Settings
from tests.problems import assert_problem
from tests.processor import least_seconds


def train(client: TestClient, problem: str, **settings: Any) -> Any:
    answer = client.post(f"/train/{problem}", json=settings)

    assert answer.status_code == 200, answer.text
    return answer.json()


def test_one_step_of_gradient_descent(client: TestClient) -> None:
    """f = (x² + 25 y²) / 2 at (4, 1): the gradient is (4, 25)."""
    told = train(client, "ravine", steps=1, learning_rate=0.02)
    first, second = told["steps"]

    assert first == {
        **{"step": 0, "loss": 20.5, "accuracy": None, "gradient_norm": math.sqrt(641)},
        **{"gradient_norms": {"point": math.sqrt(641)}, "weights": {"point": [4.0, 1.0]}},
    }
    assert second["weights"]["point"] == pytest.approx([3.92, 0.5], rel=1e-12)
    assert second["loss"] == pytest.approx((3.92**2 + 25 * 0.25) / 2, rel=1e-12)
    assert told["weights"] == second["weights"]
    assert (told["steps_so_far"], told["stopped"]["code"], told["state"]) == (1, "steps", {})
    assert told["settings"] == {"learning_rate": 0.02, "weight_decay": 0.0}


@pytest.mark.parametrize("problem", ["rosenbrock", "xor", "iris"])
@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "nesterov", "rmsprop", "adam"])
def test_two_requests_are_as_one(client: TestClient, problem: str, optimiser: str) -> None:
    """Whoever answers the second needs nothing but what the caller carries."""
    settings = {"optimiser": optimiser, "learning_rate": 1e-4}
    whole = train(client, problem, steps=20, seed=3, **settings)
    first = train(client, problem, steps=12, seed=3, **settings)
    carried = {name: first[name] for name in ("weights", "state", "steps_so_far")}
    second = train(client, problem, steps=8, **carried, **settings)

    assert [*first["steps"][:-1], *second["steps"]] == whole["steps"]
    assert (second["weights"], second["state"]) == (whole["weights"], whole["state"])


@pytest.mark.parametrize(("problem", "steps"), [("xor", 200), ("iris", 200)])
def test_networks_learn(client: TestClient, problem: str, steps: int) -> None:
    told = train(client, problem, optimiser="adam", steps=steps, seed=1, tell_weights=False)
    losses = [each["loss"] for each in told["steps"]]

    assert told["steps"][-1]["accuracy"] >= 0.97
    assert losses[-1] < 0.1 * losses[0]
    assert all(each["weights"] is None for each in told["steps"])
    assert list(told["steps"][0]["gradient_norms"]) == list(told["weights"])


def test_many_weights_are_told_at_the_end_only(client: TestClient) -> None:
    told = train(client, "iris", steps=200)

    assert told["steps"][0]["weights"] is None
    assert len(told["weights"]["weight1"]) == 16


@pytest.mark.parametrize(
    ("problem", "settings"),
    [
        ("saddle", {"steps": 250}),
        ("rosenbrock", {"optimiser": "rmsprop", "steps": 1, "weights": {"point": [10, 2]}}),
        ("rosenbrock", {"optimiser": "momentum", "steps": 1, "weights": {"point": [30, 2]}}),
    ],
)
def test_however_far_it_has_come_it_goes_on(client: TestClient, problem: str, settings: dict[str, Any]) -> None:
    first = train(client, problem, **settings)
    carried = {name: first[name] for name in ("weights", "state", "steps_so_far")}
    second = train(client, problem, **{**settings, **carried, "steps": 1})

    assert second["steps"][0]["loss"] == first["steps"][-1]["loss"]


def test_defaults_go_down(client: TestClient) -> None:
    for problem in client.get("/train").json()["problems"]:
        for optimiser, rate in problem["learning_rates"].items():
            told = train(client, problem["name"], optimiser=optimiser, steps=100)
            assert told["settings"]["learning_rate"] == rate
            assert told["stopped"]["code"] == "steps", (problem["name"], optimiser)
            assert told["steps"][-1]["loss"] < told["steps"][0]["loss"], (problem["name"], optimiser)


def test_divergence_ends_it_and_is_told(client: TestClient) -> None:
    told = train(client, "rosenbrock", steps=300, learning_rate=1)

    assert told["stopped"]["code"] == "diverged"
    assert len(told["steps"]) < 20
    assert told["steps"][-1]["loss"] is None


def test_graphs_are_opened_beside_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks first, and for whatever form."""
    opened_in: list[str] = []

    def opened(content: bytes, providers: Providers) -> object:
        opened_in.append(threading.current_thread().name.partition("_")[0])
        return open_session(content, providers)

    monkeypatch.setattr("app.main.open_session", opened)
    for first in (
        lambda client: train(client, "xor"),
        lambda client: client.post("/train/iris", json={"steps": 1}, headers={"Accept": "text/event-stream"}),
        lambda client: client.get("/train"),
    ):
        with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
            opened_in.clear()  # k-means has a graph, which is opened at the start
            first(client)

        assert set(opened_in) == {"decoding"}


def test_lessons_are_counted(client: TestClient) -> None:
    assert "inference" in client.get("/train").headers["server-timing"]
    assert 'model="train/list"' in client.get("/metrics").text


def test_lessons_list_what_can_be_sent(client: TestClient) -> None:
    lessons = client.get("/train").json()

    assert [each["name"] for each in lessons["problems"]] == ["bowl", "ravine", "saddle", "rosenbrock", "xor", "iris"]
    for problem in lessons["problems"]:
        for optimiser in lessons["optimisers"]:
            told = train(client, problem["name"], optimiser=optimiser["name"], steps=1, **optimiser["settings"])
            assert list(told["weights"]) == list(problem["weights"])
            assert list(told["state"]) == optimiser["state"]


@pytest.mark.parametrize("place", [(0.5, -1.25), (-3.0, 2.0)])
def test_expressions_are_the_functions_that_are_descended(client: TestClient, place: tuple[float, float]) -> None:
    problems = {each["name"]: each["expression"] for each in client.get("/train").json()["problems"]}

    assert problems["xor"] is None and problems["iris"] is None
    for name in ("bowl", "ravine", "saddle", "rosenbrock"):
        [first] = train(client, name, steps=0, weights={"point": place})["steps"]
        asked = {"expression": problems[name], "inputs": dict(zip("xy", place, strict=True))}
        told = client.post("/gradients/expression", json=asked).json()
        assert told["value"] == pytest.approx(first["loss"], rel=1e-12)
        assert math.hypot(*told["gradients"].values()) == pytest.approx(first["gradient_norm"], rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "detail"),
    [
        ({"optimiser": "lbfgs"}, 'optimiser is "lbfgs"; allowed is one of sgd, momentum, nesterov, rmsprop, adam'),
        ({"optimiser": ["sgd"]}, 'optimiser is ["sgd"]; allowed is one of'),
        ({"steps": 301}, "steps is 301; allowed is a whole number of 0 to 300"),
        ({"steps": 1.5}, "steps is 1.5; allowed is a whole number"),
        ({"learning_rate": 0}, "learning_rate is 0; allowed is a number above 0, at most 10"),
        ({"learning_rate": "1"}, 'learning_rate is "1"; allowed is a number above 0'),
        ({"weight_decay": 1}, "weight_decay is 1; allowed is a number from 0 to below 1"),
        ({"momentum": 0.9}, "momentum is no setting of the optimiser 'sgd'; allowed are learning_rate, weight_decay"),
        ({"weights": {"point": [1, 2, 3]}}, "weights: point has the shape [3]; allowed is [2]"),
        ({"weights": {"point": [1, None]}}, "weights: point has null in it"),
        ({"weights": {"x": 1}}, 'weights has "x"; allowed is an object of point [2]'),
        ({"weights": 1}, "weights is 1; allowed is an object of point [2]"),
        ({"state": {"velocity": [0, 0]}}, "allowed for the optimiser 'sgd' is nothing"),
        ({"optimiser": "adam", "state": {"mean": [0, 0]}}, "allowed for the optimiser 'adam' is mean, squares"),
        (
            {"optimiser": "momentum", "state": {"velocity": [0]}},
            "state: velocity has the shape [1]; allowed is [2]",
        ),
        (
            {"optimiser": "adam", "state": {"mean": [-1, 0], "squares": [0, -2.5]}},
            "state: squares has -2.5 in it; allowed are numbers from 0 on",
        ),
        (
            {"optimiser": "rmsprop", "state": {"squares": [-1e-300, 0]}},
            "state: squares has -1e-300 in it; allowed are numbers from 0 on",
        ),
        ({"steps_so_far": -1}, "steps_so_far is -1; allowed is a whole number of 0 to 1000000000"),
        ({"measure": 1}, "measure is 1; allowed is true or false"),
        ({"tell_weights": 0}, "tell_weights is 0; allowed is true or false"),
        ({"epochs": 1}, 'the body has a member "epochs" that is not read here'),
    ],
)
def test_wrong_settings_are_refused(client: TestClient, settings: dict[str, Any], detail: str) -> None:
    assert detail in assert_problem(client.post("/train/bowl", json=settings), 422)


@pytest.mark.parametrize("problem", ["rosenbrock", "xor", "iris"])
def test_cost_of_gradients_is_measured(client: TestClient, problem: str) -> None:
    told = train(client, problem, steps=1, measure=True)
    cost = told["cost"]

    assert 0 < cost["forward_seconds"] < 0.1
    assert 0 < cost["both_seconds"] < 0.1
    assert cost["backward_seconds"] == cost["both_seconds"] - cost["forward_seconds"]
    assert cost["backward_to_forward"] == cost["backward_seconds"] / cost["forward_seconds"]
    assert cost["runs"] == RUNS
    assert {**told, "cost": None} == {**train(client, problem, steps=1), "cost": None}


def test_gradients_of_a_network_cost_something(client: TestClient) -> None:
    assert train(client, "iris", steps=0, measure=True)["cost"]["backward_to_forward"] > 0.2


def test_runs_are_in_turns_and_their_medians_are_told() -> None:
    """By a clock that goes on by what each run takes: 3 the loss alone, 10 with gradients, and a hundred times that
    the runs that warm up and a few that something disturbs."""
    problem, calls, now = Graphs(lambda content: open_session(content, [CPU])).problem("bowl"), list[str](), [0.0]

    def run(what: str, seconds: float) -> Any:
        def running(outputs: Any, weights: Any) -> list[Any]:
            disturbed = len(calls) < 2 * WARM_UP or len(calls) % 9 == 0
            now[0] += seconds * (100 if disturbed else 1)
            calls.append(what)
            return []

        return running

    cost = measure(replace(problem, run=run("both", 10)), run("forward", 3), {}, clock=lambda: now[0])

    assert calls == ["forward", "both"] * (WARM_UP + RUNS)
    assert (cost.forward, cost.both, cost.backward, cost.ratio) == pytest.approx((3, 10, 7, 7 / 3))


def test_unknown_problem_is_not_found(client: TestClient) -> None:
    detail = assert_problem(client.post("/train/parity", json={}), 404)

    assert detail == "there is no problem 'parity' to train on; there are: bowl, ravine, saddle, rosenbrock, xor, iris"


@pytest.mark.alone
def test_three_hundred_steps_are_quick() -> None:
    """As events they take no more, but for handing them over."""
    graphs = Graphs(lambda content: open_session(content, [CPU]))
    body = orjson.dumps({"optimiser": "adam", "steps": 300, "tell_weights": False})
    asked = read_descent("iris", body, graphs)

    assert len(answer(asked, graphs)["steps"]) == 301
    assert least_seconds(lambda: orjson.dumps(answer(asked, graphs)), 0.08) <= 0.08
    assert least_seconds(lambda: tell(asked, graphs, lambda: None, lambda piece: None), 0.08) <= 0.08
