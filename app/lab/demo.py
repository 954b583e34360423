"""The demos of the gradient lab: graphs exported from PyTorch with what they say about themselves, opened when they are
first asked for and proven by their golden rows. Knows no HTTP."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime as ort

from app.card import Array, DemoCard, DemoInput, Numbers, read_demo_card
from app.errors import ArtifactRejected, NotFound, NotReady
from app.runtime import CPU, open_session

FOLDER = Path(__file__).with_name("demos")  # training/gradients.py writes what is in it
TOLERANCE = 1e-12  # relative beyond 1: two runtimes may round the last digits in other ways
FLOAT, WHOLE = "tensor(double)", "tensor(int64)"


class Demo(NamedTuple):
    card: DemoCard
    session: ort.InferenceSession

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs, by their names."""
        names = [output.name for output in self.card.outputs]
        return dict(zip(names, self.session.run(names, dict(inputs)), strict=True))


class Demos:
    """What lies in a folder as `<demo>.onnx`. Threads may share it."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {file.stem: file for file in sorted(folder.glob("*.onnx"))}
        self._opened: dict[str, Demo | ArtifactRejected] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return list(self._files)

    def require(self, name: str) -> None:
        """Raises NotFound and lists what there is."""
        if name not in self._files:
            raise NotFound(f"there is no demo {name!r}; there are: {', '.join(self._files) or 'none'}")

    def find(self, name: str) -> Demo:
        """Raises NotFound, and NotReady with the reason for one that is not what PyTorch exported."""
        self.require(name)
        with self._lock:
            if name not in self._opened:
                self._opened[name] = _open(self._files[name])
            found = self._opened[name]
        if isinstance(found, ArtifactRejected):
            raise NotReady(f"demo {name!r} is not served: {found.detail}")
        return found


def _open(file: Path) -> Demo | ArtifactRejected:
    try:
        return load_demo(file)
    except ArtifactRejected as rejected:
        return rejected


def load_demo(file: Path) -> Demo:
    """Raises ArtifactRejected, with the reason, if its card speaks of another graph, or if the graph does not give what
    PyTorch gave."""
    try:
        session = open_session(file.read_bytes(), [CPU])
        card = read_demo_card(session.get_modelmeta().custom_metadata_map)
    except OSError as error:
        raise ArtifactRejected(f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ArtifactRejected(str(error)) from error
    if card is None:
        raise ArtifactRejected("it says nothing about itself")
    if card.name != file.stem:
        raise ArtifactRejected(f"it calls itself {card.name!r}, its file {file.stem!r}")
    demo = Demo(card, session)
    _require_the_graph_of(demo)
    _require_golden(demo)
    return demo


def _require_the_graph_of(demo: Demo) -> None:
    card = demo.card
    said = [(each.name, WHOLE if each.whole else FLOAT, len(each.shape)) for each in card.inputs]
    found = [(node.name, node.type, len(node.shape)) for node in demo.session.get_inputs()]
    if said != found:
        raise ArtifactRejected(f"its card says it takes {said}, its graph takes {found}")
    explained = [(each.name, len(each.shape)) for each in card.outputs]
    given = [(node.name, len(node.shape)) for node in demo.session.get_outputs()]
    if explained != given:
        raise ArtifactRejected(f"its card says it gives {explained}, its graph gives {given}")


def _require_golden(demo: Demo) -> None:
    for example in demo.card.examples:
        try:
            outputs = demo.run({each.name: array_of(each, example.inputs[each.name]) for each in demo.card.inputs})
            expected = {name: np.array(example.outputs[name]) for name in outputs}
        except Exception as error:  # an input that is missing, a shape the graph refuses: all the same here
            raise ArtifactRejected(f"its golden rows cannot be replayed: {error}") from error
        for name, output in outputs.items():
            if not _agree(output, expected[name]):
                raise ArtifactRejected(
                    f"its golden rows give {name} {output.tolist()}; PyTorch gave {expected[name].tolist()}"
                )


def _agree(output: Array, expected: Array) -> bool:
    if output.dtype == bool:
        return np.array_equal(output, expected)
    return output.shape == expected.shape and np.allclose(output, expected, TOLERANCE, TOLERANCE)


def array_of(given: DemoInput, value: Numbers) -> Array:
    """As the graph takes it: float64, or int64 for what has to be whole."""
    return np.array(list(value.values()) if isinstance(value, dict) else value, np.int64 if given.whole else np.float64)
