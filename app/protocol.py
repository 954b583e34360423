"""The Open Inference Protocol spoken by our models: metadata, configuration, index, and infer. Bytes and header values
in, bytes and headers out; knows no HTTP framework.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from app.encodings import WORTH_COMPRESSING, choose_coding, compress, decompress, unpacked_size
from app.errors import BadRequest, ContentTooLarge, InvalidRequest, NotReady
from app.model import Array, Model
from app.open_inference import InferRequest, Json, Reply, read_request, write_response
from app.pictures import stack
from app.service import INLINE_BYTES, Admission, Gone, Service, Timings
from app.store import Store
from app.tensors import Datatype, TensorSpec

NAME = "percept"
# What of Triton's extensions is offered; clients look here before they rely on one.
EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "statistics",
]
PLATFORM, BACKEND = "onnxruntime_onnx", "onnxruntime"
# What a configuration tells clients that want to know how large a batch may be; the limit that is enforced is that of
# the body.
MAX_BATCH_SIZE = 1_024

# Tensors as bytes are taken as they are, those in JSON read number by number.
TIMES_AS_QUICK = 20

DEVICE_FAULTS = ("EPFail", "EngineError", "DeviceReset")  # as onnxruntime calls them


@dataclass(frozen=True)
class Body:
    """What came with an infer request, as it came: `content` within the body limit, and the headers that matter."""

    content: bytes
    header_length: str | None = None  # Inference-Header-Content-Length
    content_encoding: str = ""
    accept_encoding: str = ""


# --- infer -----------------------------------------------------------------------------------------------------------


async def infer(
    service: Service, model: Model, body: Body, deadline: float | None = None, gone: Gone | None = None
) -> Reply:
    """Raises an AppError that says what was wrong and what is allowed."""
    with service.admit(model) as admission:
        request = await _read(service, model, body, admission)
        inputs = await _with_pictures(service, model, request, admission, gone)
        decode_seconds = time.perf_counter() - admission.started
        admission.metrics.decode.observe(decode_seconds)
        if request.timeout_us:
            deadline = min(deadline or math.inf, time.perf_counter() + request.timeout_us / 1e6)
        with refusals(model):
            result = await service.run(
                model,
                inputs,
                request.output_names,
                admission,
                deadline,
                gone,
                alone=not _is_batch(model, inputs),
                priority=request.priority,
            )
        reply = await _reply(service, model, request, result.outputs, body.accept_encoding)
    timings = Timings(decode_seconds, result.queue_seconds, result.inference_seconds)
    return Reply(reply.body, {**reply.headers, "Server-Timing": timings.header()})


async def _read(service: Service, model: Model, body: Body, admission: Admission) -> InferRequest:
    """Unpacked and read in one turn of a thread: what many have packed is not to lie there unpacked at once."""
    if not body.content_encoding and len(body.content) <= INLINE_BYTES:
        return read_request(body.content, body.header_length, model.signature)
    most = service.settings.max_body_bytes
    size = unpacked_size(body.content, body.content_encoding, most)
    if body.header_length is not None:
        size //= TIMES_AS_QUICK
    return await service.read(admission, size, _unpacked_and_read, body, model, most)


def _unpacked_and_read(body: Body, model: Model, most: int) -> InferRequest:
    content = decompress(body.content, body.content_encoding, most)
    return read_request(content, body.header_length, model.signature)


async def _with_pictures(
    service: Service, model: Model, request: InferRequest, admission: Admission, gone: Gone | None
) -> dict[str, Array]:
    """The inputs, encoded pictures among them decoded."""
    files, most = request.pictures, service.settings.max_files
    if not files:
        return request.inputs
    name = model.signature.picture
    assert name is not None  # the codec takes files for no other model
    if len(files) > most:
        raise ContentTooLarge(f"input {name!r} has {len(files)} files; at most {most} are allowed (PERCEPT_MAX_FILES)")
    try:
        pictures = await service.read_pictures(files, model.require_card(), admission, gone)
    except InvalidRequest as error:
        raise BadRequest(f"input {name!r}: {error.detail}") from error
    return {**request.inputs, name: stack([each.pixels for each in pictures])}


def _is_batch(model: Model, inputs: Mapping[str, Array]) -> bool:
    """Whether the rows can go with those of others: the same number of them in every input, and no input that the
    model does not need, whose axes say nothing of rows."""
    required = model.signature.required
    return len(inputs) == len(required) and len({array.shape[:1] for array in inputs.values()}) == 1


async def _reply(
    service: Service, model: Model, request: InferRequest, outputs: list[Array], accept_encoding: str
) -> Reply:
    if sum([output.nbytes for output in outputs]) <= INLINE_BYTES:
        return _write(request, outputs, model, accept_encoding)
    return await service.scheduler.decode(0, _write, request, outputs, model, accept_encoding)


@contextmanager
def refusals(model: Model) -> Iterator[None]:
    """The request fits the model's tensors; what onnxruntime refuses now, it refuses for the caller's values. A device
    that fails is not the caller's fault, nor is an error of ours."""
    try:
        yield
    except Exception as error:
        kind = type(error)
        refused = kind in (ValueError, RuntimeError, UnicodeDecodeError) or kind.__module__.startswith("onnxruntime.")
        if not refused or kind.__name__ in DEVICE_FAULTS:
            raise
        reason = " ".join(str(error).split())
        raise BadRequest(f"model {model.name!r} cannot answer this: {reason}") from error


def _write(request: InferRequest, outputs: list[Array], model: Model, accept_encoding: str) -> Reply:
    reply = write_response(request, outputs, model.signature)
    coding = choose_coding(accept_encoding) if accept_encoding and len(reply.body) >= WORTH_COMPRESSING else None
    if coding is None:
        return reply
    return Reply(compress(reply.body, coding), {**reply.headers, "Content-Encoding": coding})


# --- what is told ----------------------------------------------------------------------------------------------------


def server_metadata(version: str) -> Json:
    return {"name": NAME, "version": version, "extensions": EXTENSIONS}


def model_metadata(model: Model, store: Store) -> Json:
    signature = model.signature
    document: Json = {
        "name": model.name,
        "versions": [str(version) for version in sorted(store.models[model.name])],
        "platform": PLATFORM,
        "inputs": [_tensor(spec) for spec in signature.inputs.values()],
        "outputs": [_tensor(spec) for spec in signature.outputs.values()],
    }
    if model.card is not None:
        document["properties"] = {
            "title": model.card.title,
            "task": model.card.task,
            "labels": json.dumps(model.card.labels, ensure_ascii=False),
        }
    return document


def _tensor(spec: TensorSpec) -> Json:
    return {"name": spec.name, "datatype": spec.datatype.name, "shape": list(spec.shape)}


def model_config(model: Model) -> Json:
    """As Triton tells it, whose clients read batch size and types there."""
    signature = model.signature
    kind = "KIND_GPU" if model.provider.startswith("CUDA") else "KIND_CPU"
    optional = {name: name not in signature.required for name in signature.inputs}
    return {
        "name": model.name,
        "platform": PLATFORM,
        "backend": BACKEND,
        "version_policy": {"all": {}},
        "max_batch_size": MAX_BATCH_SIZE if signature.batched else 0,
        "input": [
            {**_config_tensor(spec, signature.batched), "format": "FORMAT_NONE", "optional": optional[spec.name]}
            for spec in signature.inputs.values()
        ],
        "output": [_config_tensor(spec, signature.batched) for spec in signature.outputs.values()],
        "instance_group": [{"name": model.name, "kind": kind, "count": 1}],
        "default_model_filename": "model.onnx",
    }


def _config_tensor(spec: TensorSpec, batched: bool) -> Json:
    return {
        "name": spec.name,
        "data_type": _config_type(spec.datatype),
        "dims": list(spec.shape[1:] if batched else spec.shape),
    }


def _config_type(datatype: Datatype) -> str:
    return "TYPE_STRING" if datatype.name == "BYTES" else f"TYPE_{datatype.name}"


def model_ready(store: Store, name: str, version: str | None) -> Json:
    """Raises NotReady for what is there and not served, with the reason; NotFound for what there is not."""
    served = name in store.models and (version is None or version in map(str, store.models[name]))
    if not served:
        for missing, place, reason in _not_served(store):
            if missing == name and version in (None, place):
                raise NotReady(f"model {name!r} is not served: {reason}")
    return {"name": store.find_text(name, version).name, "ready": True}


def _not_served(store: Store) -> Iterator[tuple[str, str, str]]:
    """Name, version and the reason."""
    yield from ((refused.model, refused.version, refused.reason) for refused in store.refused)
    yield from ((artifact.name, artifact.version, "unloaded") for artifact in store.unloaded)


def repository_index(store: Store, body: bytes) -> list[Json]:
    """Every model and version there is; those that answer alone if the body says `{"ready": true}`. Raises
    BadRequest."""
    entries: list[Json] = [
        {"name": model.name, "version": str(model.version), "state": "READY"} for model in store.all()
    ]
    if not _only_ready(body):
        entries += [
            {"name": name, "version": version, "state": "UNAVAILABLE", "reason": reason}
            for name, version, reason in _not_served(store)
        ]
    return sorted(entries, key=lambda entry: (entry["name"], entry["version"].zfill(20)))


def check_load(body: bytes) -> None:
    """Raises BadRequest for a load that brings a configuration or files of its own: artifacts come by the folder."""
    parameters = _repository_parameters(body)
    if parameters:
        raise BadRequest(
            f"parameter {next(iter(parameters))!r} is not offered here: a model is loaded as it lies there"
        )


def check_unload(body: bytes) -> None:
    """No model depends on another, so `unload_dependents` may say what it likes."""
    parameters = _repository_parameters(body)
    unknown = [name for name in parameters if name != "unload_dependents"]
    if unknown:
        raise BadRequest(f"parameter {unknown[0]!r} is not offered here; allowed: 'unload_dependents'")


def _repository_parameters(body: bytes) -> Json:
    if not body.strip():
        return {}
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None
    parameters = document.get("parameters", {}) if isinstance(document, dict) else None
    if not isinstance(parameters, dict):
        raise BadRequest('the body is not what is allowed: nothing, or an object with "parameters", an object')
    return parameters


def _only_ready(body: bytes) -> bool:
    if not body.strip():
        return False
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None
    ready = document.get("ready", False) if isinstance(document, dict) else None
    if not isinstance(ready, bool):
        raise BadRequest(
            'the body is not what an index can be asked with; allowed: nothing, or {"ready": true or false}'
        )
    return ready
