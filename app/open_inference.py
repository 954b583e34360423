"""The Open Inference Protocol V2 as a codec: the bytes of an infer request → named arrays and what is wanted of them,
outputs → the bytes of the response. Pure: knows no HTTP framework, no session and no file.

What a request may ask is in the model's Signature; everything else about it is refused with a BadRequest that names
the tensor or parameter, what came and what is allowed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from app.errors import BadRequest
from app.tensors import (
    BY_ONNX,
    DATATYPES,
    Array,
    Datatype,
    TensorSpec,
    count,
    elements,
    from_binary,
    from_json,
    refuse_json,
    to_binary,
    to_json,
)

LENGTH_HEADER = "Inference-Header-Content-Length"
# Those of Triton that would change what an answer means; a request that relies on one must not be answered without.
RESERVED = ("sequence_id", "sequence_start", "sequence_end", "headers")
RESERVED_PREFIX = "triton_"
MOST_LOOKED_AT = 50
MOST_CLASSES = 20_000
BYTES = DATATYPES["BYTES"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Signature:
    """All that the codec has to know of a model. Built once per model."""

    name: str
    version: str
    inputs: Mapping[str, TensorSpec]
    required: tuple[str, ...]
    outputs: Mapping[str, TensorSpec]
    unspoken: Mapping[str, str]  # inputs and outputs of types that the protocol has no name for
    batched: bool  # the first axis of every input and output is the batch
    labels: tuple[str, ...] = ()
    picture: str | None = None  # the input that may come as encoded files


@dataclass(frozen=True)
class WantedOutput:
    spec: TensorSpec
    binary: bool = False
    classes: int = 0  # the so many highest values as "value:index:label" instead of the tensor


@dataclass(frozen=True)
class InferRequest:
    inputs: dict[str, Array]
    outputs: list[WantedOutput]
    id: str | None = None
    pictures: tuple[bytes, ...] = ()  # encoded files for the signature's `picture`, which `inputs` then lacks
    priority: int = 0  # 1 is the highest, 0 the default
    timeout_us: int | None = None  # how long it may wait, in microseconds
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)  # those with no meaning here

    @property
    def output_names(self) -> list[str]:
        return [output.spec.name for output in self.outputs]


@dataclass(frozen=True)
class Reply:
    body: bytes
    headers: dict[str, str]


# --- the model -------------------------------------------------------------------------------------------------------


def make_signature(
    name: str,
    version: str,
    inputs: Mapping[str, tuple[str, Sequence[object]]],
    optional: Mapping[str, tuple[str, Sequence[object]]],
    outputs: Mapping[str, tuple[str, Sequence[object]]],
    labels: Sequence[str] = (),
    picture: str | None = None,
) -> Signature:
    """From onnxruntime's types and shapes, by name; `optional` inputs have a value of their own."""
    every = {**inputs, **optional, **outputs}
    shapes = [shape for _, shape in (*inputs.values(), *outputs.values())]
    return Signature(
        name,
        version,
        inputs=_specs({**inputs, **optional}),
        required=tuple(inputs),
        outputs=_specs(outputs),
        unspoken={tensor: kind for tensor, (kind, _) in every.items() if kind not in BY_ONNX},
        batched=all(shape and not isinstance(shape[0], int) for shape in shapes),
        labels=tuple(labels),
        picture=picture,
    )


def _specs(nodes: Mapping[str, tuple[str, Sequence[object]]]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(name, BY_ONNX[kind], tuple(size if isinstance(size, int) else -1 for size in shape))
        for name, (kind, shape) in nodes.items()
        if kind in BY_ONNX
    }


# --- the request -----------------------------------------------------------------------------------------------------


def read_request(body: bytes, header_length: str | None, signature: Signature) -> InferRequest:
    """`header_length` is the value of Inference-Header-Content-Length. Raises BadRequest."""
    for name in signature.required:
        if name in signature.unspoken:
            raise BadRequest(
                f"model {signature.name!r} cannot be asked with this protocol, which has no datatype for its input "
                f"{name!r}: {signature.unspoken[name]}"
            )
    if header_length is None:
        return _read(body, None, signature)
    length = _length(header_length, len(body))
    if length == 0:
        return _read_raw(body, signature)
    return _read(body[:length], _Binary(memoryview(body)[length:]), signature)


def _length(text: str, available: int) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 18 or int(text) > available:
        raise BadRequest(
            f"{LENGTH_HEADER} is {text[:40]!r}; allowed is the length of the JSON in bytes, 0 to the body's {available}"
        )
    return int(text)


class _Binary:
    """The bytes after the JSON, taken by the inputs in their order."""

    def __init__(self, data: memoryview) -> None:
        self.left = data

    def take(self, where: str, size: int) -> memoryview:
        if size > len(self.left):
            raise BadRequest(f"{where}: its binary data have {size} bytes; the body has {len(self.left)} left for it")
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def finish(self) -> None:
        if self.left:
            raise BadRequest(f"the body has {len(self.left)} bytes more than its JSON and the inputs' binary data")


def _read(text: bytes, binary: _Binary | None, signature: Signature) -> InferRequest:
    document = _document(text)
    parameters = _parameters("the request", document)
    binary_output = _flag("the request", parameters, "binary_data_output")
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise BadRequest(f"id is {_kind(request_id)}; allowed is a string")
    outputs = _outputs(document, binary_output, signature)
    inputs, pictures = _inputs(document, text, binary, signature)
    if binary is not None:
        binary.finish()
    return InferRequest(
        inputs,
        outputs,
        request_id,
        pictures,
        priority=_whole("the request", parameters, "priority") or 0,
        timeout_us=_whole("the request", parameters, "timeout") or None,
        parameters={
            name: value
            for name, value in parameters.items()
            if name not in ("binary_data_output", "priority", "timeout")
        },
    )


def _document(text: bytes) -> Json:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        hint = "; NaN and Infinity are not JSON: send the tensor as binary data" if _has_nan(text) else ""
        raise BadRequest(f"the request is not valid JSON: {error}{hint}") from None
    if not isinstance(document, dict):
        raise BadRequest(f"the request is {_kind(document)}; allowed is a JSON object with 'inputs'")
    return document


def _has_nan(text: bytes) -> bool:
    return b"NaN" in text or b"Infinity" in text


def _inputs(
    document: Json, text: bytes, binary: _Binary | None, signature: Signature
) -> tuple[dict[str, Array], tuple[bytes, ...]]:
    entries = _list_of_objects(document, "inputs")
    if entries is None:
        raise BadRequest("the request has no 'inputs'")
    arrays: dict[str, Array] = {}
    pictures: tuple[bytes, ...] = ()
    may_hold_bools = _may_hold_bools(text)
    for entry in entries:
        spec = _spec("input", entry, signature.inputs, signature)
        where = f"input {spec.name!r}"
        if spec.name in arrays or (pictures and spec.name == signature.picture):
            raise BadRequest(f"{where} is given twice")
        datatype, shape = _datatype(where, entry), _shape(where, entry)
        if spec.name == signature.picture and datatype is BYTES:
            pictures = _pictures(where, entry, shape, binary, len(entries))
            continue
        _check(where, spec, datatype, shape)
        raw = _raw(where, entry, datatype, shape, binary, len(entries))
        if raw is None:
            arrays[spec.name] = from_json(where, datatype, shape, entry["data"], may_hold_bools)
        else:
            arrays[spec.name] = from_binary(where, datatype, shape, raw)
    for name in signature.required:
        if name not in arrays and not (pictures and name == signature.picture):
            raise BadRequest(f"input {name!r} is missing; the model takes {_names(signature.required)}")
    return arrays, pictures


def _may_hold_bools(text: bytes) -> bool:
    """Whether true or false stands anywhere in the JSON. One letter is looked for, which takes a fiftieth of the time
    that a word takes; where that letter is common, the answer is yes without looking on."""
    for word, letter in ((b"true", b"u"), (b"false", b"l")):
        before, place = word.index(letter), text.find(letter)
        for _ in range(MOST_LOOKED_AT):
            if place < 0:
                break
            if text.startswith(word, max(place - before, 0)):
                return True
            place = text.find(letter, place + 1)
        else:
            return True
    return False


def _raw(
    where: str, entry: Json, datatype: Datatype, shape: Sequence[int], binary: _Binary | None, inputs: int
) -> memoryview | None:
    """The input's own bytes; None if its data are in the JSON. Their size may be left out where it can be told."""
    parameters = _parameters(where, entry)
    if "shared_memory_region" in parameters:
        raise BadRequest(f"{where}: shared memory is not offered here; send the data in the request")
    size = _whole(where, parameters, "binary_data_size")
    if "data" in entry:
        if size is not None:
            raise BadRequest(f"{where} has both 'data' and 'binary_data_size'; allowed is one of them")
        return None
    if binary is None:
        if size is None:
            raise BadRequest(f"{where} has neither 'data' nor 'binary_data_size'")
        raise BadRequest(f"{where} has binary data, but the request lacks the header {LENGTH_HEADER}")
    if size is None:
        if not datatype.size and inputs > 1:
            raise BadRequest(
                f"{where} has neither 'data' nor 'binary_data_size', which BYTES needs beside other inputs"
            )
        size = count(shape) * datatype.size if datatype.size else len(binary.left)
    return binary.take(where, size)


def _pictures(where: str, entry: Json, shape: Sequence[int], binary: _Binary | None, inputs: int) -> tuple[bytes, ...]:
    if len(shape) not in (1, 2) or shape[1:] not in ([], [1]) or shape[0] < 1:
        raise BadRequest(f"{where} has shape {list(shape)}; encoded pictures (BYTES) have [N] or [N, 1], N at least 1")
    raw = _raw(where, entry, BYTES, shape, binary, inputs)
    if raw is None:
        raise BadRequest(f"{where}: encoded pictures (BYTES) have no JSON form: send them as binary data")
    return tuple(bytes(piece) for piece in elements(where, shape, raw))


def _read_raw(body: bytes, signature: Signature) -> InferRequest:
    """The body is the one input's bytes, and all outputs come back as bytes."""
    if len(signature.required) != 1:
        raise BadRequest(
            f"{LENGTH_HEADER} 0 says that the body is the one input's bytes; the model takes "
            f"{_names(signature.required)}"
        )
    spec = signature.inputs[signature.required[0]]
    where = f"input {spec.name!r}"
    if not body and spec.datatype is not BYTES:
        raise BadRequest(f"{where}: the body is empty; allowed are the bytes of one row and more")
    shape = _raw_shape(where, spec, len(body), signature.batched)
    if spec.datatype is BYTES:
        # One element is all there can be, so no length stands before it.
        array = from_json(where, BYTES, shape, [_utf8(where, body)], may_hold_bools=False)
    else:
        array = from_binary(where, spec.datatype, shape, memoryview(body))
    return InferRequest({spec.name: array}, _every_output(True, signature))


def _raw_shape(where: str, spec: TensorSpec, size: int, batched: bool) -> list[int]:
    """One axis may be of any size, the bytes tell it; if the batch is another such axis, it is a batch of one."""
    shape = list(spec.shape)
    if spec.datatype is BYTES:
        shape = [1 if axis == -1 else axis for axis in shape]
        if count(shape) != 1:
            raise BadRequest(
                f"{where} has shape {list(spec.shape)}; one element, which a raw request is, cannot fill it"
            )
        return shape
    if shape.count(-1) > 1 and batched:
        shape[0] = 1
    if shape.count(-1) > 1:
        raise BadRequest(f"{where} has shape {list(spec.shape)}; a raw request can tell the size of one axis only")
    if -1 in shape:
        known = count([axis for axis in shape if axis != -1]) * spec.datatype.size
        if not known or size % known:
            raise BadRequest(
                f"{where}: the body has {size} bytes; {spec.datatype.name} of shape {list(spec.shape)} has a multiple "
                f"of {known}"
            )
        shape[shape.index(-1)] = size // known
    return shape


def _utf8(where: str, body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{where}: the body is not UTF-8, which the model's strings are") from None


def _outputs(document: Json, binary_default: bool, signature: Signature) -> list[WantedOutput]:
    entries = _list_of_objects(document, "outputs")
    if entries:
        wanted = [_output(entry, binary_default, signature) for entry in entries]
    else:
        wanted = _every_output(binary_default, signature)
    seen = set()
    for output in wanted:
        if output.spec.name in seen:
            raise BadRequest(f"output {output.spec.name!r} is asked for twice")
        seen.add(output.spec.name)
        if not output.binary and not output.classes:
            refuse_json(f"output {output.spec.name!r}", output.spec.datatype)
    return wanted


def _every_output(binary: bool, signature: Signature) -> list[WantedOutput]:
    if not signature.outputs:
        raise BadRequest(f"model {signature.name!r} has no output that the protocol has a datatype for")
    return [WantedOutput(spec, binary) for spec in signature.outputs.values()]


def _output(entry: Json, binary_default: bool, signature: Signature) -> WantedOutput:
    spec = _spec("output", entry, signature.outputs, signature)
    where = f"output {spec.name!r}"
    parameters = _parameters(where, entry)
    if "shared_memory_region" in parameters:
        raise BadRequest(f"{where}: shared memory is not offered here; the data come in the response")
    classes = _whole(where, parameters, "classification") or 0
    if classes and spec.datatype.name in ("BYTES", "BOOL"):
        raise BadRequest(f"{where} is {spec.datatype.name}; classification is for numbers")
    return WantedOutput(spec, _flag(where, parameters, "binary_data", binary_default), classes)


# --- members of the request ------------------------------------------------------------------------------------------


def _list_of_objects(document: Json, member: str) -> list[Json] | None:
    entries = document.get(member)
    if entries is None:
        return None
    if not isinstance(entries, list):
        raise BadRequest(f"'{member}' is {_kind(entries)}; allowed is a list of objects")
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise BadRequest(f"'{member}' has {_kind(entry)} at {place}; allowed is an object")
    return entries


def _spec(which: str, entry: Json, known: Mapping[str, TensorSpec], signature: Signature) -> TensorSpec:
    name = entry.get("name")
    if not isinstance(name, str):
        raise BadRequest(f"an {which} has {_kind(name)} as its 'name'; allowed: {_names(known)}")
    spec = known.get(name)
    if spec is None and name in signature.unspoken:
        raise BadRequest(f"{which} {name!r} is {signature.unspoken[name]}, which the protocol has no datatype for")
    if spec is None:
        raise BadRequest(f"model {signature.name!r} has no {which} {name[:100]!r}; there are: {_names(known)}")
    return spec


def _datatype(where: str, entry: Json) -> Datatype:
    name = entry.get("datatype")
    datatype = DATATYPES.get(name) if isinstance(name, str) else None
    if datatype is None:
        given = repr(name[:40]) if isinstance(name, str) else _kind(name)
        raise BadRequest(f"{where} has {given} as its 'datatype'; allowed: {', '.join(DATATYPES)}")
    return datatype


def _shape(where: str, entry: Json) -> list[int]:
    shape = entry.get("shape")
    if not isinstance(shape, list) or not set(map(type, shape)) <= {int} or min(shape, default=0) < 0:
        given = _kind(shape) if not isinstance(shape, list) else "a list of other things"
        raise BadRequest(f"{where} has {given} as its 'shape'; allowed is a list of whole numbers, 0 and more")
    return shape


def _check(where: str, spec: TensorSpec, datatype: Datatype, shape: Sequence[int]) -> None:
    if datatype is not spec.datatype:
        raise BadRequest(f"{where} has datatype {datatype.name}; the model takes {spec.datatype.name}")
    wanted = spec.shape
    if not wanted:  # a scalar or any rank: onnxruntime does not tell which
        return
    if len(shape) != len(wanted):
        raise _misfit(where, spec, shape)
    for size, want in zip(shape, wanted, strict=True):
        if size != want and want != -1:
            raise _misfit(where, spec, shape)


def _misfit(where: str, spec: TensorSpec, shape: Sequence[int]) -> BadRequest:
    return BadRequest(f"{where} has shape {shape}; the model takes {list(spec.shape)}, where -1 is any size")


def _parameters(where: str, owner: Json) -> Json:
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"{where} has {_kind(parameters)} as its 'parameters'; allowed is an object")
    for name, value in parameters.items():
        if not isinstance(value, str | int | float):
            raise BadRequest(f"{where}: parameter {name!r} is {_kind(value)}; allowed: string, number, boolean")
        if name in RESERVED or name.startswith(RESERVED_PREFIX):
            raise BadRequest(f"{where}: parameter {name!r} is reserved by the protocol and has no meaning here")
    return parameters


def _whole(where: str, parameters: Json, name: str) -> int | None:
    value = parameters.get(name)
    if value is not None and (type(value) is not int or value < 0):
        raise BadRequest(f"{where}: parameter {name!r} is {value!r:.40}; allowed is a whole number, 0 and more")
    return value


def _flag(where: str, parameters: Json, name: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise BadRequest(f"{where}: parameter {name!r} is {value!r:.40}; allowed: true, false")
    return value


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "nothing"}
    return kinds.get(type(value), "a number")


def _names(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


# --- the response ----------------------------------------------------------------------------------------------------


def write_response(request: InferRequest, outputs: Sequence[Array], signature: Signature) -> Reply:
    """`outputs` are those that the request wants, in its order. Raises BadRequest for a value without a JSON form."""
    entries: list[Json] = []
    parts: list[bytes | memoryview] = []
    for wanted, values in zip(request.outputs, outputs, strict=True):
        name, datatype = wanted.spec.name, wanted.spec.datatype
        if wanted.classes:
            datatype, values = BYTES, classified(values, wanted, signature)
        entry: Json = {"name": name, "datatype": datatype.name, "shape": list(np.shape(values))}
        if wanted.binary:
            part = to_binary(datatype, values)
            entry["parameters"] = {"binary_data_size": len(part)}
            parts.append(part)
        else:
            entry["data"] = to_json(f"output {name!r}", datatype, values)
        entries.append(entry)
    document: Json = {"model_name": signature.name, "model_version": signature.version, "outputs": entries}
    if request.id is not None:
        document["id"] = request.id
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not parts:
        return Reply(text, {"Content-Type": "application/json"})
    headers = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(len(text))}
    return Reply(b"".join([text, *parts]), headers)


def classified(values: Array, wanted: WantedOutput, signature: Signature) -> Array:
    """The highest values as "value:index", with ":label" where the model's labels are those of the output. Raises
    BadRequest for more than Python, which writes each of them, writes in some tenths of a second."""
    if wanted.spec.datatype.name == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    batch = values.shape[:1] if signature.batched else (1,)
    rows = values.reshape(*batch, count(values.shape[len(batch) :] if signature.batched else values.shape))
    if (told := len(rows) * min(wanted.classes, rows.shape[1])) > MOST_CLASSES:
        raise BadRequest(
            f"output {wanted.spec.name!r}: a classification of {len(rows):,} rows tells {told:,} classes; at most "
            f"{MOST_CLASSES:,} are told; ask for fewer rows, or for the numbers"
        )
    labels = signature.labels if len(signature.labels) == rows.shape[1] else ()
    texts = [[_class(row, index, labels) for index in _highest(row, wanted.classes)] for row in rows]
    found = np.empty((len(texts), min(wanted.classes, rows.shape[1])), np.object_)
    for place, text in enumerate(texts):
        found[place] = text
    return found if signature.batched else found[0]


def _highest(row: Array, classes: int) -> list[int]:
    """Places of the highest values, highest first; the first place among equals."""
    ascending = np.argsort(row[::-1], kind="stable")
    places: list[int] = (len(row) - 1 - ascending[::-1])[:classes].tolist()
    return places


def _class(row: Array, index: int, labels: Sequence[str]) -> str:
    text = f"{row[index]!s}:{index}"  # NumPy writes as many digits as the datatype has
    return f"{text}:{labels[index]}" if labels else text
