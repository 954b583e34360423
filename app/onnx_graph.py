"""What is in an ONNX file, read from its bytes: nodes, initializers, inputs and outputs; and outputs appended to it.

A small reader of protobuf's wire format (https://protobuf.dev/programming-guides/encoding/) for those fields of
onnx.proto that are needed. The numbers of weights are passed over, never copied. Knows no session, no card, no files.
"""

import math
import struct
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain

# Protobuf's own parsers let messages nest 100 deep, and a graph in a graph is three of them.
MOST_DEPTH = 33
# More than any graph of a file that is served has; a few damaged bytes could pretend any number.
# In one message: numbers that are written one by one would each be an object.
MOST_FIELDS = 200_000
MOST_NODES, MOST_AXES = 100_000, 64
VARINT_BYTES = 10

VARINT, BYTES = 0, 2  # wire types
FIXED = {1: 8, 5: 4}  # the others, and their bytes
FLOAT, FLOAT16 = 1, 10
FLOATING = {FLOAT: "float32", FLOAT16: "float16", 11: "float64", 16: "bfloat16"}  # of onnx.TensorProto.DataType
EXTERNAL = 1  # of onnx.TensorProto.DataLocation

# What is read of each message of onnx.proto, by the fields' numbers; others are passed over.
MODEL, GRAPH, NODE = frozenset({7}), frozenset({1, 5, 11, 12, 15}), frozenset({1, 2, 3, 4, 5, 7})
ATTRIBUTE, TENSOR = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 20}), frozenset({1, 2, 8, 13, 14})
ENTRY, LOCATION = frozenset({1, 2}), "location"  # of where a tensor lies that is in another file
SPARSE_TENSOR, VALUE_INFO, TYPE = frozenset({1}), frozenset({1, 2}), frozenset({1})
TENSOR_TYPE, SHAPE, AXIS = frozenset({1, 2}), frozenset({1}), frozenset({1, 2})

Message = Mapping[int, "list[int | memoryview]"]  # what each field holds, by its number: numbers, or bytes


class DamagedGraph(ValueError):
    """The bytes are no ONNX file, or one that is not read here."""


@dataclass(frozen=True)
class Initializer:
    """A constant of the graph: a weight, a shape, an index."""

    name: str
    shape: tuple[int, ...]
    data_type: int  # as onnx.TensorProto numbers them

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def parameters(self) -> int:
        """How many numbers a training may have set: those of floating-point tensors with an axis. Whole numbers are
        shapes and indices, scalars mostly scales and limits; a file does not tell which one is a learned bias."""
        return self.size if self.data_type in FLOATING and self.shape else 0


@dataclass(frozen=True)
class ValueInfo:
    """An input or an output. `shape` is None for what is no tensor or tells none; an axis without a size is the name
    that it has, or None."""

    name: str
    data_type: int | None
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class Node:
    name: str
    operation: str
    domain: str
    inputs: tuple[str, ...]  # an empty name stands for an optional one that is left out
    outputs: tuple[str, ...]
    attributes: Mapping[str, "Attribute"]

    @property
    def graphs(self) -> tuple["Graph", ...]:
        """The bodies of If, Loop and Scan."""
        return tuple(value for value in self.attributes.values() if isinstance(value, Graph))

    @property
    def taken(self) -> tuple[str, ...]:
        """Every tensor that it takes, once: its inputs, and what its graphs take from the one around them."""
        inner = chain.from_iterable(graph.taken for graph in self.graphs)
        return tuple(dict.fromkeys(filter(None, (*self.inputs, *inner))))


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]
    initializers: tuple[Initializer, ...]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]

    @property
    def taken(self) -> tuple[str, ...]:
        """Of a body, what it takes from the graph around it."""
        given = (node.outputs for node in self.nodes)
        own = {each.name for each in self.inputs} | {each.name for each in self.initializers} | {*chain(*given)}
        used = chain(*(node.taken for node in self.nodes), (each.name for each in self.outputs))
        return tuple(name for name in dict.fromkeys(used) if name not in own)


# Types, sparse tensors and tensors in a list are read as None.
Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | Initializer | Graph | None
# What an attribute of each type is when it is empty, since that need not be written.
EMPTY: Mapping[int, Attribute] = {1: 0.0, 2: 0, 3: "", 6: (), 7: (), 8: ()}


def read_graph(model: bytes, beside: str | None = None) -> Graph:
    """Raises DamagedGraph, also for a file whose weights are in a second one, unless that is called `beside`."""
    try:
        pieces = _message(model, MODEL)[7]
        if not pieces:
            raise DamagedGraph("it has no graph")
        return _Reader(beside).graph(_joined(pieces), 1)
    except (struct.error, UnicodeDecodeError) as error:
        raise DamagedGraph(f"it is damaged: {error}") from None


def widened(graph: Graph) -> Graph:
    """The same graph with weights that are stored as float16 and cast to float32 at once as the float32 that they are
    used as, by the names of the casts: those are how they are stored, and no step of what is computed."""
    given = {each.name for each in (*graph.inputs, *graph.outputs)}
    uses = Counter(name for node in graph.nodes for name in node.taken)
    half = {
        each.name
        for each in graph.initializers
        if each.data_type == FLOAT16 and each.name not in given and uses[each.name] == 1
    }
    casts: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        match (node.operation, node.domain, node.attributes.get("to"), node.inputs, node.outputs):
            case ("Cast", "", to, (stored,), (name,)) if to == FLOAT and stored in half and name not in given:
                casts[stored] = name
            case _:
                nodes.append(node)
    weights = [
        replace(each, name=casts[each.name], data_type=FLOAT) if each.name in casts else each
        for each in graph.initializers
    ]
    return replace(graph, nodes=tuple(nodes), initializers=tuple(weights))


def with_outputs(model: bytes, names: list[str]) -> bytes:
    """The same model with more outputs: tensors of its graph, whose types and shapes onnxruntime infers. They are
    appended to the file as a second piece of the graph, which every reader of protobuf joins to the first."""
    outputs = b"".join(_written(12, _written(1, name.encode())) for name in names)  # GraphProto.output, ValueInfo.name
    return model + _written(7, outputs)


def _written(number: int, content: bytes) -> bytes:
    return _varint_of(number << 3 | BYTES) + _varint_of(len(content)) + content


def _varint_of(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def _message(content: bytes | memoryview, wanted: frozenset[int]) -> Message:
    content, place = memoryview(content), 0
    found: defaultdict[int, list[int | memoryview]] = defaultdict(list)
    fields = 0
    while place < len(content):
        fields += 1
        if fields > MOST_FIELDS:
            raise DamagedGraph(f"a part of it has more than {MOST_FIELDS:,} fields")
        key, place = _varint(content, place)
        number, wire = key >> 3, key & 7
        if not number:
            raise DamagedGraph("it is damaged: a field of number 0")
        if wire == VARINT:
            value, place = _varint(content, place)
            if number in wanted:
                found[number].append(value)
            continue
        if wire == BYTES:
            length, place = _varint(content, place)
        elif wire in FIXED:
            length = FIXED[wire]
        else:
            raise DamagedGraph(f"a field of wire type {wire} is not read here")
        if length > len(content) - place:
            raise DamagedGraph("it is cut off: a field is longer than what is there")
        if number in wanted:
            found[number].append(content[place : place + length])
        place += length
    return found


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """And the place after it."""
    value = 0
    for more, byte in enumerate(content[place : place + VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * more
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place + more + 1
    raise DamagedGraph("it is damaged: a number has no end")


def _content(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise DamagedGraph("it is damaged: a number where there should be bytes")
    return value


def _texts(values: list[int | memoryview]) -> tuple[str, ...]:
    return tuple(str(_content(value), "utf-8") for value in values)


def _text(message: Message, number: int) -> str:
    """The last one counts, as protobuf has it; empty if there is none."""
    return "".join(_texts(message[number][-1:]))


def _integers(values: list[int | memoryview]) -> tuple[int, ...]:
    """Of a repeated field, where each is by itself or many are packed."""
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(_signed(value))
            continue
        place = 0
        while place < len(value):
            number, place = _varint(value, place)
            found.append(_signed(number))
    return tuple(found)


def _integer(message: Message, number: int) -> int:
    values = _integers(message[number][-1:])
    return values[-1] if values else 0


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _floats(values: list[int | memoryview]) -> tuple[float, ...]:
    return tuple(number for value in values for (number,) in struct.iter_unpack("<f", _content(value)))


def _joined(values: list[int | memoryview]) -> memoryview:
    """A message that is written in several pieces is the pieces one after the other."""
    return _content(values[0]) if len(values) == 1 else memoryview(b"".join(map(_content, values)))


class _Reader:
    """Counts the nodes of all graphs in the graph together."""

    def __init__(self, beside: str | None) -> None:
        self.nodes, self.beside = 0, beside

    def graph(self, content: bytes | memoryview, depth: int) -> Graph:
        if depth > MOST_DEPTH:
            raise DamagedGraph(f"its graphs are nested more than {MOST_DEPTH} deep")
        message = _message(content, GRAPH)
        self.nodes += len(message[1])
        if self.nodes > MOST_NODES:
            raise DamagedGraph(f"it has more than {MOST_NODES:,} nodes")
        return Graph(
            tuple(self.node(_message(_content(each), NODE), depth) for each in message[1]),
            (*(_initializer(each, self.beside) for each in message[5]), *map(_sparse, message[15])),
            tuple(map(_value_info, message[11])),
            tuple(map(_value_info, message[12])),
        )

    def node(self, message: Message, depth: int) -> Node:
        attributes = [_message(_content(each), ATTRIBUTE) for each in message[5]]
        return Node(
            name=_text(message, 3),
            operation=_text(message, 4),
            domain=_text(message, 7),
            inputs=_texts(message[1]),
            outputs=_texts(message[2]),
            attributes={_text(each, 1): self.attribute(each, depth) for each in attributes},
        )

    def attribute(self, message: Message, depth: int) -> Attribute:
        match message:
            case {6: [_, *_] as pieces}:
                return self.graph(_joined(pieces), depth + 1)
            case {5: [_, *_] as pieces}:
                return _initializer(_joined(pieces))
            case {2: [_, *_] as numbers}:
                return _floats(numbers)[-1]
            case {3: [_, *_]}:
                return _integer(message, 3)
            case {4: [*_, last]}:
                return str(_content(last), "utf-8", "replace")
            case {7: [_, *_] as numbers}:
                return _floats(numbers)
            case {8: [_, *_] as numbers}:
                return _integers(numbers)
            case {9: [_, *_] as texts}:
                return tuple(str(_content(text), "utf-8", "replace") for text in texts)
        return EMPTY.get(_integer(message, 20))


def _initializer(value: int | memoryview, beside: str | None = None) -> Initializer:
    message = _message(_content(value), TENSOR)
    name = _text(message, 8)
    external = message[13] or _integer(message, 14) == EXTERNAL
    if external and (beside is None or _locations(message) != {beside}):
        raise DamagedGraph(f"its tensor {name!r} is in a second file, which is not read")
    return Initializer(name, _shape(message[1], name), _integer(message, 2))


def _locations(tensor: Message) -> set[str]:
    entries = [_message(_content(each), ENTRY) for each in tensor[13]]
    return {_text(entry, 2) for entry in entries if _text(entry, 1) == LOCATION}


def _sparse(value: int | memoryview) -> Initializer:
    """With the shape of what is written of it: the numbers that are not zero."""
    return _initializer(_joined(_message(_content(value), SPARSE_TENSOR)[1]))


def _shape(values: list[int | memoryview], name: str) -> tuple[int, ...]:
    shape = _integers(values)
    if len(shape) > MOST_AXES or min(shape, default=0) < 0:
        raise DamagedGraph(f"it is damaged: its tensor {name!r} has {len(shape)} axes, or one below 0")
    return shape


def _value_info(value: int | memoryview) -> ValueInfo:
    message = _message(_content(value), VALUE_INFO)
    tensor = _message(_joined(_message(_joined(message[2]), TYPE)[1]), TENSOR_TYPE)
    axes = _message(_joined(tensor[2]), SHAPE)[1] if tensor[2] else None
    shape = None if axes is None else tuple(_axis(_message(_content(axis), AXIS)) for axis in axes)
    return ValueInfo(_text(message, 1), _integer(tensor, 1) or None, shape)


def _axis(message: Message) -> int | str | None:
    return _text(message, 2) or None if message[2] else _integer(message, 1) if message[1] else None
