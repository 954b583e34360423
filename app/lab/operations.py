"""What a formula may compute, each operation with its derivatives: NumPy's broadcasting, float64, at most two axes.

Where there is no derivative (kinks, ties, 0 to the power of 0) the choice is PyTorch's.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from app.lab.tape import Floats, Kink, Mask, Operation, Result, apply, constant

Axis = int | None
Shape = tuple[int, ...]

MOST_ELEMENTS = 10_000
MOST_EXPONENT = 1_000
MOST_AXES = 2
# Squares and norms beyond these may have lost digits to under- or overflow.
SMALL, LARGE = 1e-280, 1e300
# Powers of 2 whose reciprocals are numbers of all digits, too.
MOST_SHIFT = 1_021

ZERO, HALF, ONE = constant(0), constant(0.5), constant(1)


def too_many(shape: Shape) -> str | None:
    elements = math.prod(shape)
    if elements > MOST_ELEMENTS:
        return f"the shape {list(shape)} has {elements:,} elements; at most {MOST_ELEMENTS:,} are allowed"
    return None


def _refuse_broadcast(*values: Floats) -> str | None:
    try:
        return too_many(np.broadcast_shapes(*(value.shape for value in values)))
    except ValueError:
        shapes = " and ".join(str(list(value.shape)) for value in values)
        return f"the shapes {shapes} do not fit: each axis, from the last on, has to be equal, or 1 in one of them"


# --- shapes, for the derivatives of others ---------------------------------------------------------------------------


def _sum_to(value: Floats, shape: Shape) -> Any:
    value = value.sum(tuple(range(value.ndim - len(shape))))
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 and value.shape[axis] != 1)
    return value.sum(stretched, keepdims=True) if stretched else value


def _spread(value: Floats, shape: Shape, axis: Axis, keepdims: bool) -> Any:
    return np.broadcast_to(value if axis is None or keepdims else np.expand_dims(value, axis), shape)


SUM_TO = Operation("sum_to", _sum_to, pullbacks=(lambda out, up: broadcast_to(up, out.arguments[0].shape),))
BROADCAST_TO = Operation(
    "broadcast_to", np.broadcast_to, pullbacks=(lambda out, up: sum_to(up, out.arguments[0].shape),)
)
RESHAPE = Operation("reshape", np.reshape, pullbacks=(lambda out, up: reshape(up, out.arguments[0].shape),))
SPREAD = Operation(
    "spread",
    _spread,
    pullbacks=(lambda out, up: sum_(up, out.options["axis"], out.options["keepdims"]),),
)
TRANSPOSE = Operation("transpose", np.transpose, pullbacks=(lambda out, up: transpose(up),))


def sum_to(value: Result, shape: Shape) -> Result:
    """The sum over what broadcasting from `shape` repeats."""
    return value if value.shape == shape else apply(SUM_TO, value, shape=shape)


def broadcast_to(value: Result, shape: Shape) -> Result:
    return value if value.shape == shape else apply(BROADCAST_TO, value, shape=shape)


def reshape(value: Result, shape: Shape) -> Result:
    return apply(RESHAPE, value, shape=shape)


def spread(value: Result, like: Result, axis: Axis, keepdims: bool) -> Result:
    """What was reduced over an axis, again in the shape that it was reduced from."""
    return apply(SPREAD, value, shape=like.shape, axis=axis, keepdims=keepdims)


def transpose(value: Result) -> Result:
    return apply(TRANSPOSE, value)


# --- element by element ----------------------------------------------------------------------------------------------


def _first(out: Result) -> Result:
    return out.arguments[0]


def _second(out: Result) -> Result:
    return out.arguments[1]


def _one(out: Result) -> Result:
    return ONE


def _by_base(out: Result) -> Result:
    base, exponent = out.arguments
    base = _unless_zero(base, exponent.value == 0)
    return multiply(exponent, power(base, subtract(exponent, ONE)))


def _no_base(out: Result, up: Result) -> Mask:
    """To the power of 0 everything is 1. Elsewhere than at 0 the derivative is 0 by itself, and goes on to depend on
    the exponent."""
    base, exponent = (argument.value for argument in out.arguments)
    flat: Mask = (exponent == 0) & ((base == 0) | ~np.isfinite(up.value))
    return flat


def _by_exponent(out: Result) -> Result:
    base, exponent = out.arguments
    return multiply(out, log(_unless_zero(base, exponent.value >= 0)))


def _no_exponent(out: Result, up: Result) -> Mask:
    base, exponent = (argument.value for argument in out.arguments)
    flat: Mask = (base == 0) & (exponent >= 0)
    return flat


def _unless_zero(base: Result, blocked: Mask) -> Result:
    """1 in the place of a 0 whose derivative is blocked: 0 times its second derivative would be undefined."""
    zero = blocked & (base.value == 0)
    return where(zero, ONE, base) if zero.any() else base


def _jumps_at_zero(out: Result) -> Mask:
    """0 to the power of 0 is 1, and of a little more than 0, 0."""
    base, exponent = out.arguments
    return np.logical_and(np.equal(base.value, 0), exponent.active and np.equal(exponent.value, 0))


def _refuse_power(base: Floats, exponent: Floats) -> str | None:
    largest = np.abs(exponent).max(initial=0)
    if largest > MOST_EXPONENT:
        shown = f"{largest:g}" if largest > 2 * MOST_EXPONENT else str(largest)
        return f"an exponent is {shown}; at most {MOST_EXPONENT:,} is allowed"
    return _refuse_broadcast(base, exponent)


def _sigmoid(value: Floats) -> Any:
    small = np.exp(-np.abs(value))
    return np.where(value >= 0, 1, small) / (1 + small)


def _half_at_ties(out: Result) -> Result:
    return constant(np.where(_tied(out), 0.5, 1.0))


def _smaller(place: int) -> Callable[[Result, Result], Mask]:
    def mask(out: Result, up: Result) -> Mask:
        smaller: Mask = np.less(out.arguments[place].value, out.arguments[1 - place].value)
        return smaller

    return mask


def _is_false(out: Result, up: Result) -> Mask:
    return np.equal(_first(out).value, 0)


def _is_true(out: Result, up: Result) -> Mask:
    return np.not_equal(_first(out).value, 0)


def _not_above_zero(out: Result, up: Result) -> Mask:
    return np.less_equal(_first(out).value, 0)


def _tied(out: Result) -> Mask:
    return np.equal(_first(out).value, _second(out).value)


def _is_zero(out: Result) -> Mask:
    return np.equal(_first(out).value, 0)


HALF_EACH = Kink(_tied, "where both are equal each gets half of the gradient")

ADD = Operation("add", np.add, (_one, _one), refuse=_refuse_broadcast)
SUBTRACT = Operation("subtract", np.subtract, (_one, lambda out: constant(-1)), refuse=_refuse_broadcast)
MULTIPLY = Operation("multiply", np.multiply, (_second, _first), refuse=_refuse_broadcast)
DIVIDE = Operation(
    "divide",
    np.divide,
    (lambda out: divide(ONE, _second(out)), lambda out: negative(divide(out, _second(out)))),
    refuse=_refuse_broadcast,
)
POWER = Operation(
    "power",
    np.power,
    (_by_base, _by_exponent),
    blocks=(_no_base, _no_exponent),
    kinks=(Kink(_jumps_at_zero, "where it is 0 to the power of 0 it jumps, and both derivatives are taken as 0"),),
    refuse=_refuse_power,
)
NEGATIVE = Operation("negative", np.negative, (lambda out: constant(-1),))
EXP = Operation("exp", np.exp, (lambda out: out,))
LOG = Operation("log", np.log, (lambda out: divide(ONE, _first(out)),))
SIN: Operation = Operation("sin", np.sin, (lambda out: apply(COS, _first(out)),))
COS: Operation = Operation("cos", np.cos, (lambda out: negative(apply(SIN, _first(out))),))
TANH = Operation("tanh", np.tanh, (lambda out: subtract(ONE, multiply(out, out)),))
SIGMOID = Operation("sigmoid", _sigmoid, (lambda out: multiply(out, subtract(ONE, out)),))
SOFTPLUS = Operation("softplus", lambda value: np.logaddexp(0, value), (lambda out: apply(SIGMOID, _first(out)),))
SQRT = Operation("sqrt", np.sqrt, (lambda out: divide(HALF, out),))
RELU = Operation(
    "relu",
    lambda value: np.maximum(value, 0),
    (_one,),
    blocks=(_not_above_zero,),
    kinks=(Kink(_is_zero, "at 0 the derivative is taken as 0, of those from 0 to 1"),),
)
ABS = Operation(
    "abs",
    np.abs,
    (lambda out: constant(np.sign(_first(out).value)),),
    kinks=(Kink(_is_zero, "at 0 the derivative is taken as 0, of those from -1 to 1"),),
)
LARGER = Operation(
    "max",
    np.maximum,
    (_half_at_ties, _half_at_ties),
    blocks=(_smaller(0), _smaller(1)),
    kinks=(HALF_EACH,),
    refuse=_refuse_broadcast,
)
SMALLER = Operation(
    "min",
    np.minimum,
    (_half_at_ties, _half_at_ties),
    blocks=(_smaller(1), _smaller(0)),
    kinks=(HALF_EACH,),
    refuse=_refuse_broadcast,
)
STOP = Operation("stop", lambda value: value)


def add(one: Result, other: Result) -> Result:
    return apply(ADD, one, other)


def subtract(one: Result, other: Result) -> Result:
    return apply(SUBTRACT, one, other)


def multiply(one: Result, other: Result) -> Result:
    return apply(MULTIPLY, one, other)


def divide(one: Result, other: Result) -> Result:
    return apply(DIVIDE, one, other)


def power(base: Result, exponent: Result) -> Result:
    return apply(POWER, base, exponent)


def negative(value: Result) -> Result:
    return apply(NEGATIVE, value)


def log(value: Result) -> Result:
    return apply(LOG, value)


def _so_or_not(compared: "np.ufunc", one: Floats, other: Floats) -> Any:
    return np.where(compared(one, other), 1.0, 0.0)


def _jumps(out: Result) -> Mask:
    moves = any(argument.active for argument in out.arguments)
    return np.logical_and(moves, _tied(out))


JUMP = Kink(_jumps, "where both are equal it jumps, and no gradient goes through it", jumps=True)
# 1 where it is so, 0 where not: steps, whose derivative is 0 or none.
COMPARISONS = {
    sign: Operation(sign, partial(_so_or_not, ufunc), kinks=(JUMP,), refuse=_refuse_broadcast)
    for sign, ufunc in {
        "<": np.less,
        "<=": np.less_equal,
        ">": np.greater,
        ">=": np.greater_equal,
        "==": np.equal,
        "!=": np.not_equal,
    }.items()
}


def _changes_over(out: Result) -> Mask:
    """Where the least change of the condition may choose the other branch: it is a comparison of what is equal, or a
    number that moves and is 0."""
    condition = _first(out)
    if condition.operation in COMPARISONS.values():
        return _jumps(condition)
    return np.logical_and(condition.active, np.equal(condition.value, 0))


def _turn(taken: str, condition: bool) -> Kink:
    return Kink(
        lambda out: np.logical_and(_changes_over(out), np.not_equal(_first(out).value, 0) == condition),
        f"where the condition changes, the {taken} argument is taken, with its gradient",
        jumps=True,
    )


WHERE = Operation(
    "where",
    lambda condition, yes, no: np.where(condition != 0, yes, no),
    (None, _one, _one),
    blocks=(_is_false, _is_false, _is_true),
    kinks=(_turn("second", True), _turn("third", False)),
    refuse=_refuse_broadcast,
)


def where(condition: Mask, yes: Result, no: Result) -> Result:
    return apply(WHERE, constant(condition), yes, no)


# --- over an axis, or all --------------------------------------------------------------------------------------------


def _reduced(out: Result) -> tuple[Axis, bool]:
    return out.options.get("axis"), out.options.get("keepdims", False)


def _refuse_axis(value: Floats, axis: Axis = None, keepdims: bool = False) -> str | None:
    if axis is not None and not -value.ndim <= axis < value.ndim:
        return f"there is no axis {axis} in the shape {list(value.shape)}"
    return None


def _sum(value: Floats, axis: Axis = None, keepdims: bool = False) -> Any:
    return value.sum(axis, keepdims=keepdims)


def _mean_of(value: Floats, axis: Axis = None, keepdims: bool = False) -> Any:
    total = _sum(value, axis, keepdims)
    return total / (value.size // total.size)


def _over(out: Result, up: Result) -> Result:
    return spread(up, _first(out), *_reduced(out))


def _mean(out: Result, up: Result) -> Result:
    return divide(_over(out, up), constant(_first(out).value.size / out.value.size))


def _ties(out: Result) -> Mask:
    axis, keepdims = _reduced(out)
    value = _first(out).value
    tied: Mask = np.equal(value, _spread(out.value, value.shape, axis, keepdims))
    return tied


def _ties_sharing(out: Result, up: Result) -> Result:
    axis, _ = _reduced(out)
    ties = _ties(out)
    return multiply(_over(out, up), constant(ties / ties.sum(axis, keepdims=True)))


def _is_tied(out: Result) -> Mask:
    axis, keepdims = _reduced(out)
    several: Mask = np.greater(_ties(out).sum(axis, keepdims=keepdims), 1)
    return several


def _norm(value: Floats, axis: Axis = None, keepdims: bool = False) -> Any:
    squares = np.square(value).sum(axis, keepdims=keepdims)
    if squares.min() > SMALL and squares.max() < LARGE:
        return np.sqrt(squares)
    scale = _scale(value, axis)
    squares = np.square(value * scale).sum(axis, keepdims=keepdims)
    return np.sqrt(squares) / scale.reshape(squares.shape)


def _scale(value: Floats, axis: Axis) -> Floats:
    """Powers of 2, so that nothing is rounded, by which no square over- or underflows that counts. Has the axis."""
    largest = np.abs(value).max(axis, keepdims=True)
    known = (largest > 0) & np.isfinite(largest)
    _, exponent = np.frexp(np.where(known, largest, 1.0))
    scale: Floats = np.ldexp(1.0, -np.clip(exponent, -MOST_SHIFT, MOST_SHIFT))
    return scale


def _direction(out: Result, up: Result) -> Result:
    """x / ‖x‖, and 0 where that is 0 / 0."""
    x, length = _first(out), out
    if not (out.value.min() > SMALL and out.value.max() < LARGE):
        x = multiply(x, constant(_scale(x.value, _reduced(out)[0])))
        length = apply(NORM, x, **out.options)
    direction = divide(x, _over(out, length))
    return multiply(_over(out, up), where(_over(out, length).value == 0, ZERO, direction))


def _softmax(value: Floats, axis: int = -1) -> Any:
    weights = np.exp(value - value.max(axis, keepdims=True))
    return weights / weights.sum(axis, keepdims=True)


def _softmax_back(out: Result, up: Result) -> Result:
    axis = out.options.get("axis", -1)
    weighted = multiply(up, out)
    return subtract(weighted, multiply(out, sum_(weighted, axis, keepdims=True)))


SHARED = Kink(_is_tied, "the elements that are equal share the gradient evenly")

SUM = Operation("sum", _sum, pullbacks=(_over,), refuse=_refuse_axis)
MEAN = Operation("mean", _mean_of, pullbacks=(_mean,), refuse=_refuse_axis)
LARGEST = Operation("max", np.max, pullbacks=(_ties_sharing,), kinks=(SHARED,), refuse=_refuse_axis)
SMALLEST = Operation("min", np.min, pullbacks=(_ties_sharing,), kinks=(SHARED,), refuse=_refuse_axis)
NORM = Operation(
    "norm",
    _norm,
    pullbacks=(_direction,),
    kinks=(Kink(lambda out: np.equal(out.value, 0), "where the norm is 0 the gradient is taken as 0"),),
    refuse=_refuse_axis,
)
SOFTMAX = Operation(
    "softmax",
    _softmax,
    pullbacks=(_softmax_back,),
    refuse=lambda value, axis=-1: _refuse_axis(value, axis),
)


def sum_(value: Result, axis: Axis = None, keepdims: bool = False) -> Result:
    return apply(SUM, value, axis=axis, keepdims=keepdims)


# --- products --------------------------------------------------------------------------------------------------------


def _refuse_product(one: Floats, other: Floats) -> str | None:
    if not one.ndim or not other.ndim:
        return "@ takes vectors and matrices, not a single number; write * for a product with one"
    if one.shape[-1] != other.shape[0]:
        return f"the shapes {list(one.shape)} and {list(other.shape)} do not fit: {one.shape[-1]} ≠ {other.shape[0]}"
    return too_many((*one.shape[:-1], *other.shape[1:]))


def _refuse_dot(one: Floats, other: Floats) -> str | None:
    if one.ndim == other.ndim == 1 and one.shape == other.shape:
        return None
    return f"dot takes two vectors of one length, not the shapes {list(one.shape)} and {list(other.shape)}"


def _to_left(out: Result, up: Result) -> Result:
    one, other = out.arguments
    if other.value.ndim == 2:
        return matmul(up, transpose(other))
    return multiply(up if one.value.ndim == 1 else reshape(up, (*up.shape, 1)), other)


def _to_right(out: Result, up: Result) -> Result:
    one, other = out.arguments
    if one.value.ndim == 2:
        return matmul(transpose(one), up)
    return multiply(one if other.value.ndim == 1 else reshape(one, (*one.shape, 1)), up)


MATMUL = Operation("matmul", np.matmul, pullbacks=(_to_left, _to_right), refuse=_refuse_product)
DOT = Operation("dot", np.dot, pullbacks=(_to_left, _to_right), refuse=_refuse_dot)


def matmul(one: Result, other: Result) -> Result:
    return apply(MATMUL, one, other)
