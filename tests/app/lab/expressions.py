"""Random formulas over all operations, each beside the same in PyTorch: text, inputs, and the tensor it gives."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor

Shape = tuple[int, ...]
SHAPES: list[Shape] = [(), (1,), (2,), (3,), (1, 1), (2, 3), (3, 1), (1, 3), (3, 2), (3, 3)]
# Halves among them, so that kinks and ties are met.
NUMBERS = st.one_of(
    st.integers(-4, 4).map(lambda half: half / 2), st.floats(-2, 2, width=32).map(lambda x: round(x, 3))
)
DEEPEST, MOST_AXES = 4, 2


class Drawn(NamedTuple):
    text: str
    inputs: dict[str, Tensor]
    result: Tensor


class Made(NamedTuple):
    """`exact` if no rounding went into it: then both sides are at a kink or neither is."""

    text: str
    value: Tensor
    exact: bool = False


# Nearer to a kink than this by rounding alone, two right answers may differ.
NEAR = 1e-9
ROUNDS_NOTHING = ("(-{})", "(+{})", "relu({})", "abs({})", "max({}, {})", "min({}, {})")
KINKED = ("relu({})", "abs({})", "log(abs({}) + 0.5)", "sqrt(1 + abs({}))")
COMPARED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "<": torch.lt,
    "<=": torch.le,
    ">": torch.gt,
    ">=": torch.ge,
    "==": torch.eq,
    "!=": torch.ne,
}
KINKED_PAIRS = ("max({}, {})", "min({}, {})", *(f"({{}} {sign} {{}})" for sign in COMPARED))

Unary = Callable[[Tensor], Tensor]

UNARY: dict[str, Unary] = {
    "(-{})": torch.neg,
    "(+{})": lambda x: x,
    "sin({})": torch.sin,
    "cos({})": torch.cos,
    "tanh({})": torch.tanh,
    "sigmoid({})": torch.sigmoid,
    "softplus({})": lambda x: torch.nn.functional.softplus(x, threshold=40),
    "relu({})": torch.relu,
    "abs({})": torch.abs,
    "exp(tanh({}))": lambda x: torch.tanh(x).exp(),
    "log(abs({}) + 0.5)": lambda x: (x.abs() + 0.5).log(),
    "sqrt(1 + abs({}))": lambda x: (1 + x.abs()).sqrt(),
    "stop({})": torch.detach,
    "(({})**0)": lambda x: x**0,
    "(({})**2)": lambda x: x**2,
    "(({})**3)": lambda x: x**3,
    "((1.5 + sin({}))**-1.5)": lambda x: (1.5 + x.sin()) ** -1.5,
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "({} + {})": torch.add,
    "({} - {})": torch.sub,
    "({} * {})": torch.mul,
    "({} / (1.5 + sin({})))": lambda a, b: a / (1.5 + b.sin()),
    "((abs({}) + 0.5) ** (0.3 + tanh({})))": lambda a, b: (a.abs() + 0.5) ** (0.3 + b.tanh()),
    "max({}, {})": torch.maximum,
    "min({}, {})": torch.minimum,
    "({} < {})": lambda a, b: (a < b).double(),
    "({} <= {})": lambda a, b: (a <= b).double(),
    "({} > {})": lambda a, b: (a > b).double(),
    "({} >= {})": lambda a, b: (a >= b).double(),
    "({} == {})": lambda a, b: (a == b).double(),
    "({} != {})": lambda a, b: (a != b).double(),
}
Axis = int | tuple[int, ...]
REDUCTIONS: dict[str, Callable[[Tensor, Axis, bool], Tensor]] = {
    "sum": lambda x, axis, keep: x.sum(axis, keep),
    "mean": lambda x, axis, keep: x.mean(axis, keep),
    "max": lambda x, axis, keep: x.amax(axis, keep),
    "min": lambda x, axis, keep: x.amin(axis, keep),
    "norm": lambda x, axis, keep: torch.linalg.vector_norm(x, dim=axis, keepdim=keep),
}


@st.composite
def formulas(draw: st.DrawFn) -> Drawn:
    """Of any shape, with at least one input."""
    inputs: dict[str, Tensor] = {}
    made = _any(draw, draw(st.sampled_from(SHAPES)), DEEPEST, inputs)
    return Drawn(made.text, inputs, made.value)


def _any(draw: st.DrawFn, shape: Shape, depth: int, inputs: dict[str, Tensor]) -> Made:
    """Something of that shape."""
    kinds = (
        ["leaf"]
        if depth == 0
        else ["leaf", "unary", "unary", "binary", "binary", "where", "reduce", "softmax", "product"]
    )
    match draw(st.sampled_from(kinds)):
        case "unary":
            form = draw(st.sampled_from(sorted(UNARY)))
            of = _any(draw, shape, depth - 1, inputs)
            if form in KINKED:
                _away_from_kinks(of.value, of.exact)
            return Made(form.format(of.text), UNARY[form](of.value), of.exact and form in ROUNDS_NOTHING)
        case "binary":
            form = draw(st.sampled_from(sorted(BINARY)))
            whole = draw(st.booleans())
            one = _any(draw, shape if whole else _narrower(draw, shape), depth - 1, inputs)
            other = _any(draw, _narrower(draw, shape) if whole else shape, depth - 1, inputs)
            exact = one.exact and other.exact
            if form in KINKED_PAIRS:
                _away_from_kinks(one.value - other.value, exact)
            result = BINARY[form](one.value, other.value)
            return Made(form.format(one.text, other.text), result, exact and form in ROUNDS_NOTHING)
        case "where":
            parts = [
                _any(draw, each, depth - 1, inputs) for each in (_narrower(draw, shape), shape, _narrower(draw, shape))
            ]
            condition, yes, no = parts
            sign = draw(st.sampled_from([None, *COMPARED]))
            if sign is None:  # any number but 0 is true
                _away_from_kinks(condition.value, condition.exact)
                chosen, text = condition.value != 0, condition.text
            else:
                _away_from_kinks(condition.value - 0.25, condition.exact)
                limit = torch.tensor(0.25, dtype=torch.float64)
                chosen, text = COMPARED[sign](condition.value, limit), f"{condition.text} {sign} 0.25"
            return Made(f"where({text}, {yes.text}, {no.text})", torch.where(chosen, yes.value, no.value))
        case "reduce" if len(shape) < 2 or 1 in shape:
            return _reduced(draw, shape, depth, inputs)
        case "softmax" if shape:
            axis = draw(st.integers(-len(shape), len(shape) - 1))
            of = _any(draw, shape, depth - 1, inputs)
            return Made(f"softmax({of.text}, axis={axis})", of.value.softmax(axis))
        case "product":
            return _product(draw, shape, depth, inputs)
    return _leaf(draw, shape, inputs)


def _leaf(draw: st.DrawFn, shape: Shape, inputs: dict[str, Tensor]) -> Made:
    same = sorted(name for name, value in inputs.items() if value.shape == torch.Size(shape))
    if same and draw(st.booleans()):
        name = draw(st.sampled_from(same))
        return Made(name, inputs[name], exact=True)
    if not shape and draw(st.booleans()):
        number = abs(draw(NUMBERS))
        return Made(repr(number), torch.tensor(number, dtype=torch.float64), exact=True)
    name = f"x{len(inputs)}"
    size = int(torch.Size(shape).numel())
    values = draw(st.lists(NUMBERS, min_size=size, max_size=size))
    inputs[name] = torch.tensor(values, dtype=torch.float64).reshape(shape).requires_grad_()
    return Made(name, inputs[name], exact=True)


def _away_from_kinks(distances: Tensor, exact: bool) -> None:
    assume(exact or not (distances.abs() < NEAR).any())


def _narrower(draw: st.DrawFn, shape: Shape) -> Shape:
    """One that broadcasts to it."""
    kept = draw(st.integers(0, len(shape)))
    return tuple(1 if draw(st.integers(0, 3)) == 0 else size for size in shape[len(shape) - kept :])


def _reduced(draw: st.DrawFn, shape: Shape, depth: int, inputs: dict[str, Tensor]) -> Made:
    """Over all axes, or over one, which is there afterwards or not."""
    name, size = draw(st.sampled_from(sorted(REDUCTIONS))), draw(st.integers(1, 3))
    ways: list[tuple[Shape, int | None, bool]] = [
        ((*shape[:axis], size, *shape[axis + 1 :]), axis, True) for axis, kept in enumerate(shape) if kept == 1
    ]
    if len(shape) < MOST_AXES:
        ways += [((*shape[:axis], size, *shape[axis:]), axis, False) for axis in range(len(shape) + 1)]
    if set(shape) <= {1}:
        whole = draw(st.sampled_from([each for each in SHAPES if not shape or len(each) == len(shape)]))
        ways.append((whole, None, bool(shape)))
    before, axis, keep = draw(st.sampled_from(ways))
    of = _any(draw, before, depth - 1, inputs)
    axes = tuple(range(len(before))) if axis is None else (axis,)
    _away_from_ties(name, of, axes)
    shown = axis if axis is None or draw(st.booleans()) else axis - len(before)
    options = [f"axis={shown}"] * (axis is not None) + ["keepdims=True"] * keep
    text = f"{name}({', '.join([of.text, *options])})"
    return Made(text, REDUCTIONS[name](of.value, axes, keep) if axes else REDUCTIONS[name](of.value[None], (0,), False))


def _away_from_ties(name: str, of: Made, axes: tuple[int, ...]) -> None:
    values = of.value.flatten() if len(axes) != 1 else of.value.movedim(axes[0], -1)
    if name == "norm":
        _away_from_kinks(torch.linalg.vector_norm(values, dim=-1), of.exact)
    elif name in ("max", "min") and values.shape[-1] > 1:
        ordered = values.sort(-1).values
        near = ordered[..., -2:] if name == "max" else ordered[..., :2]
        _away_from_kinks(near.diff(dim=-1), of.exact)


def _product(draw: st.DrawFn, shape: Shape, depth: int, inputs: dict[str, Tensor]) -> Made:
    inner = draw(st.integers(1, 3))
    match shape:
        case ():
            shapes: tuple[Shape, Shape] = (inner,), (inner,)
        case (size,):
            shapes = draw(st.sampled_from([((size, inner), (inner,)), ((inner,), (inner, size))]))
        case _:
            shapes = (shape[0], inner), (inner, shape[1])
    one, other = (_any(draw, each, depth - 1, inputs) for each in shapes)
    if not shape and draw(st.booleans()):
        return Made(f"dot({one.text}, {other.text})", one.value.dot(other.value))
    if len(shape) == 2 and draw(st.booleans()):
        return Made(f"transpose(transpose({other.text}) @ transpose({one.text}))", one.value @ other.value)
    return Made(f"({one.text} @ {other.text})", one.value @ other.value)
