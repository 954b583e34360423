"""The chain rule, backwards over results: gradients, each edge's part in them, Jacobian and Hessian matrices.

Gradients are results themselves, so they can be differentiated again.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.errors import GoOn
from app.lab.operations import ZERO, add, multiply, sum_to, where
from app.lab.tape import Floats, Result, constant, in_order


class Edge(NamedTuple):
    """From a result backwards to one of its arguments."""

    result: Result
    place: int  # which argument
    downstream: Result  # the gradient that reaches the argument this way, in the argument's shape

    @property
    def argument(self) -> Result:
        return self.result.arguments[self.place]


class Backward(NamedTuple):
    arrived: dict[Result, Result]  # at each active result: the sum over the edges that lead to it
    edges: list[Edge]  # in the order in which they were gone


def backward(result: Result, upstream: Result) -> Backward:
    """`upstream` is the gradient of what is differentiated by `result`, in its shape: 1 if that is the result."""
    arrived, edges = {result: upstream}, list[Edge]()
    for each in reversed(in_order(result)):
        if not each.active or each not in arrived:
            continue
        for place, argument in enumerate(each.arguments):
            if argument.active and each.operation.passes_to(place):
                downstream = pull_back(each, place, arrived[each])
                edges.append(Edge(each, place, downstream))
                before = arrived.get(argument)
                arrived[argument] = downstream if before is None else add(before, downstream)
    return Backward(arrived, edges)


def pull_back(result: Result, place: int, upstream: Result) -> Result:
    """From the gradient at a result to the one at its argument in that place."""
    operation = result.operation
    if operation.pullbacks:
        return operation.pullbacks[place](result, upstream)
    # An argument that was broadcast was used several times, and each use adds to its gradient.
    return sum_to(each_use(result, place, upstream), result.arguments[place].shape)


def each_use(result: Result, place: int, upstream: Result) -> Result:
    """Of an operation that works element by element, in the result's shape."""
    return _let_through(result, place, upstream, multiply(upstream, _partial(result, place)))


def local_derivatives(result: Result, place: int) -> Floats:
    """What `each_use` gives for an upstream gradient of 1 everywhere."""
    local = _partial(result, place)
    if result.operation.blocks:
        local = _let_through(result, place, constant(np.ones(result.shape)), local)
    return local.value if local.shape == result.shape else np.broadcast_to(local.value, result.shape)


def _partial(result: Result, place: int) -> Result:
    partial = result.operation.partials[place]
    assert partial is not None
    return partial(result)


def _let_through(result: Result, place: int, upstream: Result, downstream: Result) -> Result:
    if not result.operation.blocks:
        return downstream
    return where(result.operation.blocks[place](result, upstream), ZERO, downstream)


def gradients(result: Result, upstream: Floats, inputs: Sequence[Result]) -> list[Floats]:
    """Of the sum of `upstream` times `result`; 0 for an input that it does not depend on."""
    return _values(backward(result, constant(upstream)), inputs)


def _values(gone: Backward, inputs: Sequence[Result]) -> list[Floats]:
    return [gone.arrived[each].value if each in gone.arrived else np.zeros(each.shape) for each in inputs]


def jacobian(result: Result, inputs: Sequence[Result], go_on: GoOn = lambda: None) -> list[Floats]:
    """By each input: the axes of the result, then those of the input. A pass backwards for each element of the
    result; `go_on` is called before each."""
    passes = []
    for direction in _directions(result.shape):
        go_on()
        passes.append(gradients(result, direction, inputs))
    return [
        np.array([row[place] for row in passes]).reshape((*result.shape, *each.shape))
        for place, each in enumerate(inputs)
    ]


def hessian(result: Result, inputs: Sequence[Result], go_on: GoOn = lambda: None) -> list[list[Floats]]:
    """By each pair of inputs: the axes of the one, then those of the other. Of a scalar."""
    arrived = backward(result, constant(np.ones(result.shape))).arrived
    return [
        jacobian(arrived[one], inputs, go_on)
        if one in arrived
        else [np.zeros((*one.shape, *other.shape)) for other in inputs]
        for one in inputs
    ]


def _directions(shape: tuple[int, ...]) -> list[Floats]:
    size = int(np.prod(shape))
    return [row.reshape(shape) for row in np.eye(size)]
