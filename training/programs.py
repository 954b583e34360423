"""A function of tensors and its gradients as one ONNX graph, with what PyTorch recorded about them in its metadata.

Knows how a demo of the lab is written, traced and exported, and none of the demos: those are in training/gradients.py.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import onnx
import torch
from torch import Tensor
from torch.autograd.graph import Node

from app.card import (
    Axis,
    DemoCard,
    DemoExample,
    DemoInput,
    DemoOutput,
    NodeFacts,
    Numbers,
    TensorFacts,
    write_demo,
)
from training import export
from training.differentiation import traced


class Computed(NamedTuple):
    outputs: Mapping[str, Tensor]  # what the graph gives, without a history
    tensors: Mapping[str, Tensor]  # what PyTorch's records of are told
    results: tuple[str, ...] = ()  # those of the tensors from which the nodes are told; none if they hang on values


@dataclass(frozen=True)
class Demo:
    """`function` takes the inputs in their order. It asks PyTorch for gradients, and is given no tensor with a
    history: it makes its own leaves."""

    name: str
    title: str
    mathematics: str
    function: Callable[..., Computed]
    inputs: tuple[DemoInput, ...]
    outputs: tuple[DemoOutput, ...]
    axes: Mapping[str, Axis] = field(default_factory=dict)
    # In place of the defaults, for more golden rows; where what PyTorch records hangs on the numbers, some for which it
    # is another: by them it is told that it does.
    examples: tuple[Mapping[str, Numbers], ...] = ()
    # The same with Python's own loops and conditions, which a graph cannot have: golden rows and records are its.
    as_written: Callable[..., Computed] | None = None


def leaf(tensor: Tensor) -> Tensor:
    """The same numbers as an input that gradients are wanted of."""
    return tensor.detach().requires_grad_()


def tensor_of(given: DemoInput, value: Numbers) -> Tensor:
    """float64, int64 for what has to be whole, of the input's shape."""
    numbers = list(value.values()) if isinstance(value, dict) else value
    return torch.tensor(numbers, dtype=torch.int64 if given.whole else torch.float64)


def compute(demo: Demo, values: Mapping[str, Numbers]) -> Computed:
    """By PyTorch, as it is written; what `values` lacks is as by default."""
    function = demo.as_written or demo.function
    return function(*(tensor_of(each, values.get(each.name, each.default)) for each in demo.inputs))


def program_of(demo: Demo) -> bytes:
    """The checked graph, with the demo's card. Axes with names may have any size."""
    names = [each.name for each in demo.outputs]

    def outputs(*inputs: Tensor) -> tuple[Tensor, ...]:
        computed = demo.function(*inputs).outputs
        return tuple(computed[name].detach() for name in names)

    # Several numbers along each axis, and not equally many, so that none is taken for fixed or for another.
    sizes = {name: 3 + place for place, name in enumerate(demo.axes)}
    examples = tuple(_example(each, sizes) for each in demo.inputs)
    module = traced(outputs, examples, core=False)
    dims = {name: torch.export.Dim(name) for name in demo.axes}
    shapes = tuple({place: dims[axis] for place, axis in enumerate(each.shape)} for each in demo.inputs)
    graph = export.graph_of(module, examples, [each.name for each in demo.inputs], names, shapes)
    model = onnx.load_from_string(graph)
    onnx.helper.set_model_props(model, write_demo(card_of(demo)))
    return bytes(model.SerializeToString())


def _example(given: DemoInput, sizes: Mapping[str, int]) -> Tensor:
    if not given.shape:
        return tensor_of(given, given.default)
    shape = torch.Size(sizes[axis] for axis in given.shape)
    return torch.linspace(0.5, 2, shape.numel(), dtype=torch.float64).reshape(shape)


def card_of(demo: Demo) -> DemoCard:
    recorded = compute(demo, {})
    examples = [_golden(demo, values) for values in ({}, *demo.examples)]
    always = all(each.tensors == examples[0].tensors for each in examples)
    return DemoCard(
        name=demo.name,
        title=demo.title,
        mathematics=demo.mathematics,
        axes=dict(demo.axes),
        inputs=list(demo.inputs),
        outputs=list(demo.outputs),
        tensors=examples[0].tensors if always else [],
        nodes=list(nodes_of(recorded)),
        examples=[each.model_copy(update={"tensors": []}) for each in examples] if always else examples,
    )


def _golden(demo: Demo, values: Mapping[str, Numbers]) -> DemoExample:
    computed = compute(demo, values)
    return DemoExample(
        inputs={each.name: values.get(each.name, each.default) for each in demo.inputs},
        outputs={each.name: computed.outputs[each.name].tolist() for each in demo.outputs},
        tensors=[tensor_facts(name, tensor) for name, tensor in computed.tensors.items()],
    )


# --- what PyTorch records --------------------------------------------------------------------------------------------


def tensor_facts(name: str, tensor: Tensor) -> TensorFacts:
    node = tensor.grad_fn.name() if tensor.grad_fn else None
    return TensorFacts(name=name, requires_gradient=tensor.requires_grad, leaf=tensor.is_leaf, node=node)


def nodes_of(recorded: Computed) -> Iterator[NodeFacts]:
    """From the results backwards, each before those that it leads to."""
    names = {tensor.grad_fn: name for name, tensor in recorded.tensors.items() if tensor.grad_fn}
    leaves = {id(tensor): name for name, tensor in recorded.tensors.items() if tensor.is_leaf}
    ordered = _ordered([node for name in recorded.results if (node := recorded.tensors[name].grad_fn)])
    places = {node: place for place, node in enumerate(ordered)}
    for node, place in places.items():
        variable: Any = getattr(node, "variable", None)
        yield NodeFacts(
            id=place,
            kind=node.name().rpartition("::")[2],
            leads_to=[places[following] for following, _ in node.next_functions if following],
            tensor=leaves.get(id(variable)) if variable is not None else names.get(node),
        )


def _ordered(results: list[Node]) -> list[Node]:
    """Topologically: the order after which all of a node's gradient has arrived before it goes on."""
    done: dict[Node, None] = {}

    def visit(node: Node) -> None:
        if node not in done:
            for following, _ in reversed(node.next_functions):
                if following:
                    visit(following)
            done[node] = None

    for node in results:
        visit(node)
    return list(reversed(done))
