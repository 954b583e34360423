"""onnxruntime: which execution providers there are, and a session made for small models. Knows no card and no files."""

import contextlib
import ctypes
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from app.errors import ArtifactRejected, ConfigurationError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",  # the default searches again for every new batch size
    "use_tf32": "0",  # served means what was trained: float32
}

BFLOAT16 = "tensor(bfloat16)"
BFLOAT16_IN_ONNX = 16  # its number among ONNX's types

Array = NDArray[Any]
Providers = list[str | tuple[str, dict[str, str]]]
NO_FILES: Mapping[str, bytes] = {}


def choose_providers(choice: str) -> Providers:
    """`auto` takes CUDA where this onnxruntime has it. Raises ConfigurationError if `cuda` is asked for in vain."""
    if choice != "cpu" and CUDA in ort.get_available_providers():
        ort.preload_dlls()  # CUDA and cuDNN from their Python packages, where those are installed
        return [(CUDA, CUDA_OPTIONS), CPU]
    if choice == "cuda":
        raise ConfigurationError(
            f"PERCEPT_PROVIDERS=cuda: this onnxruntime has {', '.join(ort.get_available_providers())}; "
            "install the gpu extra (`make gpu`), or allow auto or cpu"
        )
    return [CPU]


def open_session(model: bytes, providers: Providers, files: Mapping[str, bytes] = NO_FILES) -> ort.InferenceSession:
    """One thread and no spinning: small models lose more to hand-overs than they gain from a second core.

    Weights that the model has in other files are taken from `files`, their contents by name, and copied; onnxruntime
    then opens none itself, and refuses a model that asks for another.

    Raises ArtifactRejected if onnxruntime cannot load the model, MemoryError if it has nowhere to. A session for which
    CUDA turns out to be unusable falls back to the CPU; `provider_of` tells.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    _share_memory()
    options.add_session_config_entry("session.use_env_allocators", "1")
    if files:
        names, contents = list(files), list(files.values())
        options.add_external_initializers_from_files_in_memory(names, contents, list(map(len, contents)))
    options.log_severity_level = 4  # what goes wrong is raised; the log would say it a second time
    try:
        return _session(model, options, providers)
    except Exception as error:  # onnxruntime has no common class for its exceptions
        if providers == [CPU]:
            raise_lack_of_memory(error)
            raise ArtifactRejected(f"onnxruntime cannot load it: {_first_line(error)}") from error
    return open_session(model, [CPU], files)


@cache
def _share_memory() -> None:
    """One arena for the activations of all sessions, instead of one for each: models that do not run keep nothing."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    defaults = ort.OrtArenaCfg(0, -1, -1, -1)
    ort.create_and_register_allocator(memory, defaults)


def _session(model: bytes, options: ort.SessionOptions, providers: Providers) -> ort.InferenceSession:
    # onnxruntime's own fallback prints to standard output, and may change the provider in the middle of a run.
    session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    session._model_bytes = None  # the whole file once more, kept for that fallback
    return session


def run(session: ort.InferenceSession, outputs: list[str] | None, inputs: Mapping[str, Array]) -> list[Array]:
    """As `session.run`; raises MemoryError, and whatever else onnxruntime raises."""
    try:
        return list(session.run(outputs, dict(inputs)))
    except Exception as error:
        raise_lack_of_memory(error)
        raise


def raise_lack_of_memory(error: Exception) -> None:
    """As MemoryError, if that is it: onnxruntime has no class for it, only the words of its arena and those of C++."""
    told = str(error)
    if isinstance(error, MemoryError) or "Failed to allocate memory" in told or "bad_alloc" in told:
        raise MemoryError(told) from None


def run_and_shrink(session: ort.InferenceSession, inputs: Mapping[str, Array]) -> None:
    """A run after which the arena gives back what larger batches made it take."""
    options = ort.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    session.run(None, dict(inputs), options)


def run_with_bfloat16(session: ort.InferenceSession, inputs: Mapping[str, Array], outputs: list[str]) -> list[Array]:
    """As `session.run`, which cannot take or give bfloat16 because NumPy has no such type: here it is the uint16 of its
    bits."""
    nodes = (*session.get_inputs(), *session.get_overridable_initializers())
    brain = {node.name for node in nodes if node.type == BFLOAT16}
    values = {
        name: ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, BFLOAT16_IN_ONNX)
        if name in brain
        else ort.OrtValue.ortvalue_from_numpy(array)
        for name, array in inputs.items()
    }
    try:
        return [_array(value) for value in session.run_with_ort_values(outputs, values)]
    except Exception as error:
        raise_lack_of_memory(error)
        raise


def _array(value: ort.OrtValue) -> Array:
    if value.data_type() != BFLOAT16:
        array: Array = value.numpy()
        return array
    assert value.device_name() == "cpu"  # else its address is not one to read from
    shape = value.shape()
    bits = ctypes.string_at(value.data_ptr(), 2 * int(np.prod(shape)))
    return np.frombuffer(bits, np.uint16).reshape(shape)


def give_back_freed_memory() -> None:
    """Reading and proving models leaves holes that glibc would keep; other C libraries have no such call."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def provider_of(session: ort.InferenceSession) -> str:
    """The provider that runs the model, as onnxruntime names it."""
    name: Any = session.get_providers()[0]
    return str(name)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
