"""Activation functions and their derivatives against torch.autograd, saturation by where it can be computed."""

import math
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from app.errors import AppError
from app.lab.activation_answer import answer
from app.lab.activation_request import MOST, ActivationRequest, read_activation
from app.lab.activations import ACTIVATIONS
from app.lab.curves import draw
from app.lab.expression_answer import answer as differentiated
from app.lab.expression_request import read_expression

# By name: what PyTorch computes, of x and the function's parameter. Its softplus is exact only up to its threshold.
THEIRS: dict[str, Any] = {
    "step": lambda x, _: (x > 0).double() + 0 * x,
    "sigmoid": lambda x, alpha: torch.sigmoid(alpha * x),
    "tanh": lambda x, alpha: torch.tanh(alpha * x),
    "softplus": lambda x, _: functional.softplus(x, threshold=100),
    "relu": lambda x, _: torch.relu(x),
    "leaky-relu": lambda x, slope: functional.leaky_relu(x, slope),
}


def ask(function: str, **members: Any) -> dict[str, Any]:
    """As it goes out: through JSON."""
    asked = orjson.dumps({"function": function} | members)
    told: dict[str, Any] = orjson.loads(orjson.dumps(answer(read_activation(asked))))
    return told


def theirs(function: str, x: list[float], parameter: float) -> tuple[Tensor, Tensor]:
    at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    value = THEIRS[function](at, parameter)
    [derivative] = torch.autograd.grad(value.sum(), at)
    return value.detach(), derivative


def assert_close(ours: Any, expected: Tensor) -> None:
    scale = max(1.0, float(expected.abs().max()))
    assert float((torch.tensor(ours, dtype=torch.float64) - expected).abs().max()) <= 1e-12 * scale


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(
    function=st.sampled_from(sorted(THEIRS)),
    x=st.lists(
        st.one_of(st.just(0.0), st.just(-0.0), st.floats(-50, 50), st.floats(-1e6, 1e6)), min_size=1, max_size=9
    ),
    parameter=st.one_of(st.floats(-10, 10), st.just(0.0)),
)
def test_values_and_derivatives_are_those_of_torch(function: str, x: list[float], parameter: float) -> None:
    name = ACTIVATIONS[function].parameter
    told = ask(function, x=x, **({name: parameter} if name else {}))
    values, derivatives = theirs(function, x, parameter)

    assert told["x"] == x
    assert_close(told["values"], values)
    assert_close(told["derivatives"], derivatives)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(x=st.lists(st.one_of(st.floats(-5, 5), st.floats(-1e6, 1e6)), min_size=1, max_size=12))
def test_softmax_and_its_jacobian_are_those_of_torch(x: list[float]) -> None:
    told = ask("softmax", x=x)
    at = torch.tensor(x, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: x.softmax(0), at)

    assert_close(told["values"], at.softmax(0))
    assert_close(told["jacobian"], jacobian)
    assert told["derivatives"] == np.diagonal(np.array(told["jacobian"])).tolist()
    assert told["saturated"] == [each == 0 or abs(each) < 0.0025 for each in told["derivatives"]]


@pytest.mark.parametrize("function", sorted(THEIRS))
def test_kink_is_where_torch_takes_that_derivative(function: str) -> None:
    told = ask(function, x=[0])
    [derivative] = theirs(function, [0], ACTIVATIONS[function].default)[1].tolist()
    has_kink = function in ("step", "relu", "leaky-relu")

    assert told["kink"] == ({"x": 0, "derivative": derivative} if has_kink else None)
    assert told["derivatives"] == [derivative]


@pytest.mark.parametrize("function", sorted(THEIRS))
@pytest.mark.parametrize("parameter", [-3, -0.4, 0, 1, 2.5])
def test_nothing_is_steeper_than_the_steepest(function: str, parameter: float) -> None:
    name = ACTIVATIONS[function].parameter
    told = ask(function, points=1_001, **{"from": -60, "to": 60}, **({name: parameter} if name else {}))

    assert max(map(abs, told["derivatives"])) == pytest.approx(told["steepest"], rel=1e-12)


@pytest.mark.parametrize(
    ("function", "members", "border"),
    [
        # s(1 − s) = 0.01 / 4 where s = (1 ± √0.99) / 2.
        ("sigmoid", {}, math.log((1 + math.sqrt(0.99)) / (1 - math.sqrt(0.99)))),
        ("sigmoid", {"alpha": -2}, math.log((1 + math.sqrt(0.99)) / (1 - math.sqrt(0.99))) / 2),
        # 1 − t² = 0.01.
        ("tanh", {}, math.atanh(math.sqrt(0.99))),
        ("tanh", {"alpha": 5}, math.atanh(math.sqrt(0.99)) / 5),
    ],
)
def test_saturated_is_where_the_derivative_is_below_a_hundredth_of_its_greatest(
    function: str, members: dict[str, float], border: float
) -> None:
    told = ask(function, x=[-1.001 * border, -0.999 * border, 0, 0.999 * border, 1.001 * border], **members)

    assert told["saturated"] == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("function", "members", "saturated"),
    [
        ("step", {}, [True, True, True]),
        ("relu", {}, [True, True, False]),
        ("softplus", {}, [True, False, False]),
        ("leaky-relu", {}, [False, False, False]),
        ("leaky-relu", {"slope": 0.009}, [True, True, False]),
        ("sigmoid", {"alpha": 0}, [True, True, True]),
    ],
)
def test_what_lets_no_gradient_through_is_saturated(
    function: str, members: dict[str, float], saturated: list[bool]
) -> None:
    assert ask(function, x=[-5, 0, 3], **members)["saturated"] == saturated


def test_range_is_spread_evenly_and_meets_its_ends() -> None:
    told = ask("tanh")

    assert (len(told["x"]), told["x"][0], told["x"][60], told["x"][-1]) == (121, -6, 0, 6)
    assert ask("tanh", **{"from": 1, "to": 2, "points": 3})["x"] == [1, 1.5, 2]


@pytest.mark.parametrize("function", sorted(THEIRS))
def test_expression_is_the_same_function(function: str) -> None:
    """And may be pasted where formulas are differentiated."""
    told = ask(function, x=[-2, -0.5, 0, 1.5])
    asked = {"expression": told["expression"], "inputs": {"x": told["x"]}, "constants": told["parameters"]}
    other = differentiated(read_expression(orjson.dumps(asked | {"v": [1] * 4})))

    assert (told["values"], told["derivatives"]) == (other["value"], (other["gradients"] or {})["x"])


def test_schema_names_the_functions_that_there_are() -> None:
    described = ActivationRequest.__annotations__["function"].__args__[0]

    assert list(described.__args__) == list(ACTIVATIONS)
    assert {each.parameter for each in ACTIVATIONS.values()} == {None, *MOST}


@pytest.mark.parametrize(
    ("members", "status", "detail"),
    [
        ({}, 422, "the body has no function; allowed is an object with function and, if wanted, alpha, slope, from,"),
        ({"function": "gelu"}, 422, 'function is "gelu"; allowed are step, sigmoid, tanh, softplus, relu, leaky-relu'),
        ({"function": ["relu"]}, 422, 'function is ["relu"]; allowed are step'),
        ({"function": "relu", "alpha": 1}, 422, "relu takes no alpha; those that do: sigmoid, tanh"),
        ({"function": "sigmoid", "slope": 1}, 422, "sigmoid takes no slope; those that do: leaky-relu"),
        ({"function": "sigmoid", "alpha": "1"}, 422, 'alpha is "1"; allowed is a number of -1000 to 1000'),
        ({"function": "sigmoid", "alpha": 1001}, 422, "alpha is 1001; allowed is a number of -1000 to 1000"),
        ({"function": "sigmoid", "alpha": True}, 422, "alpha is true; allowed is a number"),
        ({"function": "leaky-relu", "slope": -11}, 422, "slope is -11; allowed is a number of -10 to 10"),
        ({"function": "tanh", "from": 1e7}, 422, "from is 10000000.0; allowed is a number of -1e+06 to 1e+06"),
        ({"function": "tanh", "from": 2, "to": 2}, 422, "the range is from 2 to 2; allowed is a to that is greater"),
        ({"function": "tanh", "points": 1}, 422, "points is 1; allowed is a whole number of 2 to 1001"),
        ({"function": "tanh", "points": 10**9}, 422, "points is 1000000000; allowed is a whole number of 2 to 1001"),
        ({"function": "tanh", "x": [1], "to": 2}, 422, "there are x and to; allowed is a list of x, or a range"),
        ({"function": "tanh", "x": []}, 422, "x is empty"),
        ({"function": "tanh", "x": 1}, 422, "x is 1; allowed is a list of numbers"),
        ({"function": "tanh", "x": [[1]]}, 422, "x is [[1]]; allowed is a list of numbers"),
        ({"function": "tanh", "x": [None]}, 422, "x has null in it"),
        ({"function": "tanh", "x": [-2e6]}, 422, "x has a number of size 2e+06; at most 1e+06 is allowed"),
        ({"function": "tanh", "x": [0] * 1_002}, 413, "x has 1,002 numbers; at most 1,001 are allowed"),
        ({"function": "softmax", "x": [0] * 65}, 413, "x has 65 numbers; at most 64 are allowed"),
        ({"function": "softmax"}, 422, "softmax is of a vector, and there is no x; allowed is a list of numbers"),
        ({"function": "softmax", "to": 2}, 422, "softmax is of a vector, and there is no x"),
    ],
)
def test_what_is_wrong_is_told(members: dict[str, Any], status: int, detail: str) -> None:
    with pytest.raises(AppError) as caught:
        read_activation(orjson.dumps(members))

    assert caught.value.status == status
    assert detail in caught.value.detail


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 2_000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)
figures = st.floats(-1e3, 1e3) | anything


@settings(max_examples=1_000, deadline=None, derandomize=True, database=None)
@given(
    members=st.fixed_dictionaries(
        {"function": st.sampled_from(sorted(ACTIVATIONS)) | anything},
        optional={
            **{name: figures for name in ("alpha", "slope", "from", "to")},
            "points": st.integers(2, 50) | anything,
            "x": st.lists(st.floats(-1e6, 1e6), max_size=20) | anything,
        },
    )
)
def test_whatever_comes_is_refused_or_answered_with_numbers_and_drawn(members: dict[str, Any]) -> None:
    try:
        told = answer(read_activation(orjson.dumps(members)))
    except AppError as error:
        assert error.status in (413, 422)
        return
    assert np.isfinite(told["values"] + told["derivatives"]).all()
    assert "nan" not in draw(told) and "inf" not in draw(told)
