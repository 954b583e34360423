"""A loaded artifact: session, card and figures, proven by its golden rows before it answers anything."""

import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from app.card import (
    CENTROID,
    CLUSTERING,
    INDEX,
    INPUT_NAMES,
    PROBABILITIES,
    WARNINGS,
    Card,
    Golden,
    ImageInput,
    PhotographInput,
    RowsInput,
    are_pictures,
    read_card,
    read_golden,
)
from app.errors import ArtifactRejected, InvalidRequest, NotFound, NotReady
from app.open_inference import Signature, make_signature
from app.profile import Profile, measure, provisional
from app.runtime import Providers, open_session, provider_of, run, run_with_bfloat16

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Model:
    name: str
    version: int
    session: ort.InferenceSession
    card: Card | None  # None for an ONNX file that is not ours
    figures: Mapping[str, Path]
    profile: Profile
    path: Path
    checksum: int  # CRC-32 of the file as it was loaded
    size: int  # of the file, in bytes

    @property
    def provider(self) -> str:
        """Where it runs, as onnxruntime names it."""
        return provider_of(self.session)

    def run(self, inputs: Mapping[str, Array], outputs: list[str]) -> list[Array]:
        """The named outputs, in that order. bfloat16 comes and goes as the uint16 of its bits.

        Raises MemoryError, and whatever else onnxruntime raises."""
        if self.has_bfloat16:
            return run_with_bfloat16(self.session, inputs, outputs)
        return run(self.session, outputs, inputs)

    @cached_property
    def signature(self) -> Signature:
        """What the Open Inference Protocol has to know of it."""
        inputs, optional, outputs = (
            {node.name: (node.type, node.shape) for node in nodes}
            for nodes in (
                self.session.get_inputs(),
                self.session.get_overridable_initializers(),
                self.session.get_outputs(),
            )
        )
        labels = self.card.labels if self.card else ()
        picture = INPUT_NAMES[self.card.input.kind] if self.card and self.card.takes_pictures else None
        return make_signature(self.name, str(self.version), inputs, optional, outputs, labels, picture)

    @cached_property
    def has_bfloat16(self) -> bool:
        tensors = (*self.signature.inputs.values(), *self.signature.outputs.values())
        return any(tensor.datatype.name == "BF16" for tensor in tensors)

    def content(self) -> bytes:
        """The file once more: nobody keeps it. Raises NotReady if it is not the one that was loaded."""
        try:
            content = self.path.read_bytes()
        except OSError:
            content = b""
        if zlib.crc32(content) != self.checksum:
            raise NotReady(
                f"the file of model {self.name!r}, version {self.version}, is not there any more, or another; what "
                "came in its place is served in a few seconds"
            )
        return content

    def figure(self, name: str) -> bytes:
        """A PNG file. Raises NotFound and lists what there is."""
        try:
            return self.figures[name].read_bytes()
        except (KeyError, FileNotFoundError):
            there = ", ".join(self.figures) or "none"
            raise NotFound(f"model {self.name!r} has no figure {name!r}; there are: {there}") from None

    def require_card(self) -> Card:
        """Raises InvalidRequest for a model that says nothing about what its inputs and outputs mean."""
        if self.card is None:
            raise InvalidRequest(f"model {self.name!r} has no card: what its inputs and outputs mean is not known")
        return self.card


def load_model(name: str, version: int, path: Path, providers: Providers, measuring: bool = True) -> Model:
    """Raises ArtifactRejected, with the reason, for anything that cannot be served as it says; MemoryError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactRejected(f"cannot be read: {error.strerror}") from error
    return model_of(name, version, path, content, providers, measuring)


def model_of(
    name: str, version: int, path: Path, content: bytes, providers: Providers, measuring: bool = True
) -> Model:
    """As `load_model`, of a file's content, wherever that came from. Without `measuring`, what its rows cost is only
    what the golden rows took, if it has any."""
    session = open_session(content, providers)
    metadata = session.get_modelmeta().custom_metadata_map
    try:
        card, golden = read_card(metadata), read_golden(metadata)
    except ValueError as error:
        raise ArtifactRejected(str(error)) from error
    examples, profile = None, None
    if card is not None:
        check_card(name, card, session)
        examples, seconds = check_golden(card, golden, session)
        profile = None if measuring else provisional(session, examples, seconds)
    figures = {file.stem: file for file in sorted((path.parent / "figures").glob("*.png"))}
    profile = profile or measure(session, examples)
    return Model(name, version, session, card, figures, profile, path, zlib.crc32(content), len(content))


def measured(model: Model) -> Model:
    """The same with a new profile. Raises MemoryError."""
    golden = read_golden(model.session.get_modelmeta().custom_metadata_map) if model.card else None
    examples = {name: tensor.array() for name, tensor in golden.inputs.items()} if golden else None
    return replace(model, profile=measure(model.session, examples))


def check_card(name: str, card: Card, session: ort.InferenceSession) -> None:
    """Raises ArtifactRejected if the card speaks of another graph."""
    if card.name != name:
        raise ArtifactRejected(f"its card says {card.name!r}, its folder {name!r}")
    taken = INPUT_NAMES[card.input.kind]
    inputs, outputs = session.get_inputs(), {node.name: node for node in session.get_outputs()}
    if [node.name for node in inputs] != [taken]:
        raise ArtifactRejected(f"its graph has the inputs {[node.name for node in inputs]}; one, {taken!r}, is served")
    for output in card.outputs:
        if output not in outputs:
            raise ArtifactRejected(f"its card explains an output {output!r} that its graph has not")
    for output in card.told:
        if output not in card.outputs:
            raise ArtifactRejected(f"its card tells an output {output!r} that it does not explain")
    deciding = next((output for output in (PROBABILITIES, INDEX) if output in card.outputs), None)
    if deciding is None:
        raise ArtifactRejected(f"its card explains no output {PROBABILITIES!r} and no {INDEX!r}: which label is it?")
    known = [inputs[0], *(outputs[name] for name in (deciding, *card.warnings))]
    if card.task == CLUSTERING and CENTROID in card.outputs and isinstance(card.input, RowsInput):
        known.append(outputs[CENTROID])
    for node in known:
        datatype, shape = _expected(node.name, card)
        batch, *rest = node.shape or [None]
        if node.type != datatype or rest != shape or isinstance(batch, int):
            raise ArtifactRejected(
                f"its card says {node.name} is {datatype} {['batch', *shape]}, its graph says {node.type} {node.shape}"
            )


def _expected(name: str, card: Card) -> tuple[str, list[int]]:
    """Type and shape, without the batch axis, of what a graph takes, decides by or warns with."""
    match name, card.input:
        case "image", ImageInput(height=height, width=width):
            return "tensor(uint8)", [height, width]
        case "photograph", PhotographInput(height=height, width=width):
            return "tensor(uint8)", [height, width, 3]
        case (("rows" | "centroid"), RowsInput(features=features)):
            return "tensor(float)", [len(features)]
        case "text", _:
            return "tensor(string)", []
    if name in WARNINGS:
        return "tensor(bool)", []
    return ("tensor(float)", [len(card.labels)]) if name == PROBABILITIES else ("tensor(int64)", [])


def check_golden(card: Card, golden: Golden | None, session: ort.InferenceSession) -> tuple[dict[str, Array], float]:
    """Replay the golden rows; returns their inputs and the seconds that one took. Raises ArtifactRejected if there are
    none for an output that the card explains, or if the answers differ from PyTorch's."""
    proven = {name for name, tensor in golden.outputs.items() if 0 not in tensor.shape} if golden else set()
    if golden is None or not proven.issuperset(card.outputs):
        raise ArtifactRejected("it has a card and no golden rows to prove it by")
    provider = provider_of(session)
    tolerance = golden.tolerance.get(provider)
    if tolerance is None:
        raise ArtifactRejected(f"its golden rows state no tolerance for {provider}")
    names = list(golden.outputs)
    try:
        inputs = {name: tensor.array() for name, tensor in golden.inputs.items()}
        expected = [tensor.array() for tensor in golden.outputs.values()]
        began = time.perf_counter()
        answers = run(session, names, inputs)
        seconds = (time.perf_counter() - began) / len(next(iter(inputs.values())))
        differences = [_difference(*pair) for pair in zip(answers, expected, strict=True)]
    except MemoryError:
        raise
    except Exception as error:  # damaged base64, a shape the graph refuses, a kernel that fails: all the same here
        raise ArtifactRejected(f"its golden rows cannot be replayed: {error}") from error
    for name, difference in zip(names, differences, strict=True):
        if not difference <= tolerance:
            raise ArtifactRejected(
                f"its golden rows give {name} that differ from PyTorch's by {difference:.2g}; "
                f"at most {tolerance:g} is allowed on {provider}"
            )
    return inputs, seconds


def _difference(answer: Array, wanted: Array) -> float:
    """Of strings and truth values there is no small one."""
    if answer.shape != wanted.shape:
        return float("inf")
    if answer.dtype.kind in "Ob" or wanted.dtype.kind in "Ob":
        return 0.0 if np.array_equal(answer, wanted) else float("inf")
    if answer.dtype.kind != "u" or wanted.dtype.kind != "u":
        return float(np.abs(answer - wanted).max())
    difference = float(np.abs(answer.astype(np.float64) - wanted).max())  # in their own type it would wrap around
    return max(0.0, difference - 1) if are_pictures(answer) else difference
