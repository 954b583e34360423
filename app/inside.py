"""What goes on inside a model: the layers of its graph, and what each gives for one input.

Nothing of this is there before it is asked for. Activations are intermediate tensors made outputs, in a session of its
own on the CPU, of which the last few are kept. Knows no HTTP and no pictures.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.card import read_golden
from app.errors import ArtifactRejected, InvalidRequest
from app.gradient_saliency import SaliencyGraphs
from app.kept import Kept
from app.model import Model
from app.onnx_graph import FLOAT, DamagedGraph, Graph, Initializer, Node, read_graph, widened, with_outputs
from app.profile import has_batch_axis, random_rows
from app.runtime import BFLOAT16, CPU, give_back_freed_memory, open_session, run, run_with_bfloat16
from app.tensors import BY_ONNX

Array = NDArray[Any]
Axis = int | str | None

# Sessions with all activations that a worker keeps: each holds a model's weights once more.
MOST_SESSIONS = 4
# More numbers of the layers that are wanted, for all rows together, are not looked at: most are 4 bytes of memory, and
# telling them takes some hundredths of a second.
MOST_NUMBERS = 8_000_000
BATCH = "batch"
# Batches whose shapes are compared, to tell the axis that counts rows.
SIZES = (1, 2)
# What NumPy can hold, of what onnxruntime gives.
READABLE = set(BY_ONNX) - {BFLOAT16}


class GraphLayer(BaseModel):
    """A tensor that an operation of the graph gives."""

    name: str = Field(description="Of the tensor: what `/explain/{model}?layer=` takes.")
    operation: str = Field(description="As ONNX names it.", examples=["Conv"])
    step: int = Field(
        description="Which operation of the file gives it, counted from 0: several tensors may come from one. Casts of "
        "weights that are stored as float16 do not count."
    )
    inputs: list[str] = Field(
        description="The tensors that the operation takes, inputs of the model or others of these; weights are not "
        "among them. What the body of a loop or a branch takes from around it is."
    )
    output_shape: list[Axis] | None = Field(
        description="`batch` is the axis that counts rows, null one whose size depends on something else. Null as a "
        "whole where it could not be measured."
    )
    parameters: int = Field(
        description="Numbers in floating-point tensors with at least one axis that this operation is the first to use; "
        "scalars, a lone bias among them, whole numbers and what the operation computes are none."
    )
    weights: dict[str, list[int]] = Field(description="Those tensors and their shapes.")


class GraphTable(BaseModel):
    """The layers as the file has them, read from the graph; also of a model without a card."""

    layers: list[GraphLayer] = Field(description="In the order in which they are computed.")
    parameters: int = Field(
        description="Of all layers together: numbers stored in the graph. Constants of the preprocessing count, too, "
        "if they have an axis, since a file does not tell them from what was learned; a learned scalar does not."
    )
    operations: dict[str, int] = Field(description="How many operations of each kind the graph has.")
    note: str | None = Field(description="Why shapes are not known, if they are not.")


class Insides:
    """Of one worker's models: their tables, and the last few sessions that give activations. Safe in threads; what
    belongs to a model that nobody holds any more is freed with it."""

    def __init__(self) -> None:
        self._tables = Kept(self._read)
        self._sessions = Kept(_session, MOST_SESSIONS)
        self.saliency = SaliencyGraphs()

    def table(self, model: Model) -> GraphTable:
        """Raises InvalidRequest for a graph that cannot be read here, NotReady if the file has gone."""
        return self._tables.of(model)

    def known_table(self, model: Model) -> GraphTable | None:
        """None if it has not been asked for before. Waits for nobody."""
        return self._tables.known(model)

    def activations(
        self, model: Model, inputs: Mapping[str, Array], wanted: Sequence[GraphLayer] | None = None
    ) -> dict[str, Array]:
        """Of the layers that are wanted, by default all, by their names. Raises as `table` does, and InvalidRequest if
        they give too many numbers, or if onnxruntime refuses."""
        if self.known_table(model) is None:
            self._sessions.of(model)  # the table is measured with it
        layers = self.table(model).layers
        wanted = layers if wanted is None else wanted
        rows, weight = rows_in(model, inputs), weight_of(model, inputs)
        require_few_numbers(model, numbers_of(wanted, rows, weight), len(wanted))
        # A session computes all of its outputs, and keeps them until the end, whichever are fetched.
        few = numbers_of(layers, rows, weight) <= MOST_NUMBERS
        session = self._sessions.of(model) if few else _session(model, [layer.name for layer in wanted])
        given = {node.name: node.type for node in session.get_outputs()}
        names = [layer.name for layer in wanted if given.get(layer.name) in READABLE]
        arrays = run(session, names, inputs) if names else []
        # Of an axis that was not measured it is known only now.
        require_few_numbers(model, sum(array.size for array in arrays), len(wanted))
        return dict(zip(names, arrays, strict=True))

    def announce(self, model: Model) -> int:
        """How many sessions who asks is to count that they will be opened: for the activations, and for the table."""
        return self._sessions.announce(model) + self._tables.announce(model)

    def _read(self, model: Model) -> GraphTable:
        content = model.content()
        # A session that is kept anyhow, or one that is closed again.
        found = _table(model, _graph(model, content), content, self._sessions.known(model))
        give_back_freed_memory()
        return found


def numbers_of(layers: Iterable[GraphLayer], rows: int, weight: float) -> int:
    """How many they give for so many rows that weigh so much, by their measured shapes: an axis without a size counts
    as 1."""
    count = 0.0
    for layer in layers:
        axes = layer.output_shape or []
        count += math.prod(axis for axis in axes if isinstance(axis, int)) * weight / (1 if BATCH in axes else rows)
    return math.ceil(count)


def rows_in(model: Model, inputs: Mapping[str, Array]) -> int:
    """1 for a model without a batch axis. Inputs that may be left out have none."""
    required = model.signature.required
    return max(1, len(inputs[required[0]])) if model.profile.batched and required else 1


def weight_of(model: Model, inputs: Mapping[str, Array]) -> float:
    """In rows of as many numbers as were measured: what a layer gives is taken to grow with them. Texts are rows."""
    rows = rows_in(model, inputs)
    return rows if model.profile.text_base is not None else max(rows, model.profile.weight(inputs))


def require_few_numbers(model: Model, numbers: int, layers: int) -> None:
    if numbers > MOST_NUMBERS:
        which = "that layer gives" if layers == 1 else f"the {layers:,} layers of model {model.name!r} together give"
        less = "" if layers == 1 else ", or ask for one layer by ?layer="
        raise InvalidRequest(
            f"{which} {numbers:,} numbers for this; at most {MOST_NUMBERS:,} are looked at: send fewer rows{less}"
        )


def _session(model: Model, names: Collection[str] | None = None) -> ort.InferenceSession:
    """That gives these tensors of the graph, by default all."""
    content = model.content()
    return _open(model, _graph(model, content), content, names)


def _graph(model: Model, content: bytes) -> Graph:
    try:
        return widened(read_graph(content))
    except DamagedGraph as error:
        raise InvalidRequest(f"model {model.name!r} cannot be looked into: {error}") from None


def _open(model: Model, graph: Graph, content: bytes, names: Collection[str] | None = None) -> ort.InferenceSession:
    served = {output.name for output in graph.outputs}
    hidden = [name for node in graph.nodes for name in node.outputs if name and name not in served]
    hidden = [name for name in hidden if names is None or name in names]
    try:
        return open_session(with_outputs(content, hidden), [CPU])
    except ArtifactRejected as error:
        raise InvalidRequest(f"model {model.name!r} cannot be looked into: {error.detail}") from None


def _table(model: Model, graph: Graph, content: bytes, session: ort.InferenceSession | None) -> GraphTable:
    note = None
    try:
        shapes = _shapes(model, session or _open(model, graph, content))
    except MemoryError:
        raise
    except Exception as error:  # made-up rows may be none, and onnxruntime has no common class for what it raises
        shapes, note = {}, f"made-up rows cannot be run: {str(error).partition(chr(10))[0]}"
    layers = list(_layers(graph, shapes))
    return GraphTable(
        layers=layers,
        parameters=sum(layer.parameters for layer in layers),
        operations=dict(Counter(node.operation for node in graph.nodes)),
        note=note,
    )


def _layers(graph: Graph, shapes: Mapping[str, list[Axis]]) -> Iterator[GraphLayer]:
    constants = {each.name for each in graph.initializers}
    weights = {each.name: each for each in graph.initializers}
    for step, node in enumerate(graph.nodes):
        taken = node.taken
        own = [weights.pop(name) for name in taken if name in weights]
        own += list(_within(node))
        counted = {each.name: list(each.shape) for each in own if each.parameters}
        parameters = sum(each.parameters for each in own)
        for name in filter(None, node.outputs):
            yield GraphLayer(
                name=name,
                operation=node.operation,
                step=step,
                inputs=[each for each in taken if each not in constants],
                output_shape=shapes.get(name),
                parameters=parameters,
                weights=counted,
            )
            parameters, counted = 0, {}  # the first output's


def _within(node: Node) -> Iterator[Initializer]:
    """Tensors that an operation carries: constants, and those of the graphs in it. One without a name has its
    operation's."""
    name = "".join(node.outputs[:1])
    for value in node.attributes.values():
        if isinstance(value, Initializer):
            yield replace(value, name=value.name or name)
    match node.operation, node.attributes:
        case "Constant", {"value_floats": tuple(numbers)}:
            yield Initializer(name, (len(numbers),), FLOAT)
    for graph in node.graphs:
        yield from graph.initializers
        yield from chain.from_iterable(map(_within, graph.nodes))


def _shapes(model: Model, session: ort.InferenceSession) -> dict[str, list[Axis]]:
    """By running it with one row and with two."""
    names = [node.name for node in session.get_outputs() if node.type in READABLE or node.type == BFLOAT16]
    sizes = SIZES if has_batch_axis(model.session) else (1,)
    runs = [_shapes_of(session, names, _rows(model, size)) for size in sizes]
    return {
        name: [_axis(axes) for axes in zip(*shapes, strict=True)]
        for name, *shapes in zip(names, *runs, strict=True)
        if len({len(shape) for shape in shapes}) == 1
    }


def _shapes_of(session: ort.InferenceSession, names: list[str], inputs: Mapping[str, Array]) -> list[Sequence[int]]:
    has_bfloat16 = any(node.type == BFLOAT16 for node in session.get_outputs())
    arrays = run_with_bfloat16(session, inputs, names) if has_bfloat16 else run(session, names, inputs)
    return [array.shape for array in arrays]


def _rows(model: Model, size: int) -> dict[str, Array]:
    """So many golden rows, others for each size, or made-up ones where there are none."""
    golden = read_golden(model.session.get_modelmeta().custom_metadata_map) if model.card else None
    if golden is None:
        return random_rows(model.session, size)
    arrays = {name: tensor.array() for name, tensor in golden.inputs.items()}
    return {name: np.resize(array[size - 1 :], (size, *array.shape[1:])) for name, array in arrays.items()}


def _axis(sizes: Sequence[int]) -> Axis:
    if len(set(sizes)) == 1:
        return sizes[0]
    return BATCH if tuple(sizes) == SIZES else None
