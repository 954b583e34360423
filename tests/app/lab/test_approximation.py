"""Networks of one hidden layer that follow a curve: against PyTorch and scikit-learn, and the course's stories."""

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import orjson
import pytest
import torch
from sklearn.linear_model import LinearRegression

from app.errors import InvalidRequest
from app.lab.approximation import Samples, fit, folded, pieces
from app.lab.approximation_answer import answer, draw
from app.lab.approximation_request import read_approximation
from app.lab.formula import Formula, run


def ask(**members: Any) -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads(orjson.dumps(answer(read_approximation(orjson.dumps(members)))))
    return told


@pytest.mark.parametrize("units", [1, 3, 10])
def test_fit_is_the_least_squares_of_scikit_learn(units: int) -> None:
    x = np.linspace(-1, 2, 50)
    samples = Samples(x, np.sin(3 * x) + 0.1 * np.random.default_rng(0).normal(size=50))
    ours = fit(samples, -1, 2, units)
    theirs = LinearRegression().fit(np.maximum(x[:, None] - ours.kinks, 0), samples.y)

    assert ours.weights == pytest.approx(theirs.coef_, rel=1e-8, abs=1e-9)
    assert ours.bias == pytest.approx(theirs.intercept_, rel=1e-8, abs=1e-9)
    assert ours.kinks.tolist() == pytest.approx([-1 + 3 * place / units for place in range(units)])


def test_reading_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done on the event loop; what the longest curve takes is in what is expected."""
    calls: list[Formula] = []

    def counted(formula: Formula, *rest: Any) -> Any:
        calls.append(formula)
        return run(formula, *rest)

    monkeypatch.setattr("app.lab.sampled_curve.run", counted)
    asked = read_approximation(orjson.dumps({"curve": "+".join(["exp(sin(x))"] * 50), "units": [1]}))
    short = read_approximation(orjson.dumps({"curve": "x", "units": [1]}))

    assert calls == []
    assert len(asked.curve.steps) == 150
    assert asked.seconds > short.seconds + 0.002
    answer(asked)
    assert calls == [asked.curve] * 3


def test_it_is_a_network_with_one_hidden_layer() -> None:
    told = ask(curve="sin(2*x)", units=[6])
    [network] = told["networks"]
    first, second = torch.nn.Linear(1, 6, dtype=torch.float64), torch.nn.Linear(6, 1, dtype=torch.float64)
    with torch.no_grad():
        first.weight.fill_(1)
        first.bias.copy_(-torch.tensor(network["kinks"]))
        second.weight.copy_(torch.tensor([network["weights"]], dtype=torch.float64))
        second.bias.fill_(network["bias"])
        theirs = second(first(torch.tensor(told["clean"]["x"], dtype=torch.float64)[:, None]).relu())[:, 0]

    assert network["y"] == pytest.approx(theirs.numpy(), rel=1e-9, abs=1e-9)
    difference = theirs.numpy() - np.sin(2 * np.array(told["clean"]["x"]))
    assert network["test_error"] == pytest.approx(np.sqrt(np.square(difference).mean()), rel=1e-9)


def test_error_falls_as_units_are_added() -> None:
    errors = [each["test_error"] for each in ask(units=[1, 2, 4, 8, 16, 32], points=200)["networks"]]

    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 < 0.5 < errors[0]


def test_noise_is_learned_by_heart_where_units_are_as_many_as_samples() -> None:
    told = ask(curve="sin(x)", noise=0.4, points=30, units=[1, 6, 29], seed=2)
    few, some, many = told["networks"]

    assert [each["verdict"] for each in (few, some, many)] == ["underfits", "fits", "overfits"]
    assert many["train_error"] < 0.1 * some["train_error"]
    assert many["test_error"] > 1.5 * some["test_error"]


@pytest.mark.parametrize("curve", ["x", "3", "relu(x - 4.5)"])
def test_what_is_exact_but_for_rounding_neither_underfits_nor_overfits(curve: str) -> None:
    assert {each["verdict"] for each in ask(curve=curve, units=[2, 4, 8])["networks"]} == {"fits"}


@pytest.mark.parametrize(
    ("units", "drawn", "title"),
    [
        ([1, 2, 4, 8, 16, 32], [1, 2, 8, 16, 32], "networks with one hidden layer: 5 of 6"),
        (list(range(1, 11)), [1, 3, 5, 8, 10], "networks with one hidden layer: 5 of 10"),
        ([3, 4], [3, 4], "networks with one hidden layer"),
        ([7], [7], "networks with one hidden layer"),
    ],
)
def test_first_and_last_network_are_drawn(units: list[int], drawn: list[int], title: str) -> None:
    told = answer(read_approximation(orjson.dumps({"units": units, "noise": 0.3})))
    texts = [each.text or "" for each in ElementTree.fromstring(draw(told)).iter("{http://www.w3.org/2000/svg}text")]

    assert [int(text.split()[0]) for text in texts if re.match(r"\d+ units?, ", text)] == drawn
    assert title in texts
    assert any(text.endswith(", fits") for text in texts)
    assert {"in layers of two", "at most in one layer"} < set(texts)


def test_depth_makes_more_pieces_than_width() -> None:
    told = ask()["depth"]

    assert [each["pieces"] for each in told] == [2, 4, 8, 16, 32, 64, 128, 256]
    assert [each["at_most_in_one_layer"] for each in told] == [3, 5, 7, 9, 11, 13, 15, 17]


def test_folding_is_a_network_in_torch() -> None:
    x = torch.linspace(0, 1, 33, dtype=torch.float64)
    hidden = x
    for _ in range(3):
        hidden = 2 * hidden.relu() - 4 * (hidden - 0.5).relu()

    assert folded(x.numpy(), 3).tolist() == hidden.tolist()
    assert pieces(3) == 8


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        ({"curve": "x.real"}, "expression: at character 1: 'x.real' is not allowed"),
        ({"curve": 1}, "curve is 1; allowed is a formula of x"),
        ({"curve": "sin(y)"}, "there is no input 'y'; there are: x"),
        ({"curve": "transpose(x) @ x + softmax(x @ x)"}, "there is no axis -1 in the shape []"),
        ({"curve": "log(x)"}, "curve is -inf at x = 0; allowed are numbers of"),
        ({"curve": "exp(x)", "high": 100}, "allowed are numbers of −1e+06 to 1e+06 everywhere"),
        (
            {"curve": "softmax(x)"},
            "curve is another one for other values of x beside it; allowed are functions of each",
        ),
        ({"curve": "x - mean(x)"}, "curve is another one for other values of x beside it"),
        ({"low": 0, "high": 5e-324}, "allowed is more than low, 0"),
        ({"low": 2, "high": 2}, "high is 2; allowed is more than low, 2"),
        ({"low": True}, "low is true; allowed is a number of -1000 to 1000"),
        ({"noise": -1}, "noise is -1; allowed is a number of 0 to 10"),
        ({"points": 4}, "points is 4; allowed is a whole number of 5 to 200"),
        ({"units": []}, "units is []; allowed is a list of at most 10 whole numbers of 1 to 100, in rising order"),
        ({"units": [2, 1]}, "units is [2,1]; allowed is a list"),
        ({"units": [1, 101]}, "units is [1,101]; allowed is a list"),
        ({"units": [1.0]}, "units is [1.0]; allowed is a list"),
        ({"epochs": 3}, 'the body has a member "epochs" that is not read here'),
    ],
)
def test_what_cannot_be_followed_is_refused(members: dict[str, Any], detail: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask(**members)
    assert detail in caught.value.detail
