"""Saliency by gradients: how much a score changes with each pixel of what the model saw, by the graph beside the model
(training/saliency.py). Knows no HTTP and no queue.

Each graph is opened when it is first asked for, in a session of its own, of which the last few are kept.
"""

import hashlib
from typing import Annotated, Any, Literal

import numpy as np
import onnxruntime as ort
from pydantic import Field
from typing_extensions import TypedDict

from app.errors import ArtifactRejected, GoOn
from app.kept import Kept
from app.lab.tape import Floats
from app.model import Model
from app.morphology import Gray
from app.onnx_graph import DamagedGraph, read_graph
from app.png import address
from app.runtime import CPU, open_session, run

FILE, BELONGS_TO = "saliency.onnx", "percept.model_sha256"
MODEL_FILE = "model.onnx"  # by which it calls the model that it takes weights from
INPUTS = ["pixels", "index"]
MOST_SESSIONS = 4
# Smilkov et al. 2017: the noise's standard deviation as a share of what pixels span.
NOISE, NOISY_PICTURES, SEED = 0.15, 16, 0
# Sundararajan et al. 2017: pictures on the straight line from black, in the middle of equal steps.
STEPS = 32
WHITE = 255.0
ByGradient = Literal["gradient", "gradient_times_input", "smoothgrad", "integrated_gradients"]
# How many pictures each map takes: as the model saw it, and black; with noise; on the way.
PICTURES_FOR: dict[str, int] = {
    "gradient": 2,
    "gradient_times_input": 2,
    "smoothgrad": NOISY_PICTURES,
    "integrated_gradients": STEPS,
}
PICTURES = 2 + NOISY_PICTURES + STEPS  # all maps
# So many pictures run together.
TOGETHER = 16


class ByPixel(TypedDict):
    values: Annotated[list[list[float]], Field(description="By row and column of what the model saw.")]
    picture: Annotated[
        str,
        Field(description="Address of a gray PNG: middle gray is 0, white the largest absolute value, black less it."),
    ]


class Integrated(ByPixel):
    missing: Annotated[
        float,
        Field(description="What the sum of all values lacks of the score less that of a black picture: 0 if exact."),
    ]


class Gradients(TypedDict):
    """Of the score of one class, before any softmax."""

    index: Annotated[int, Field(description="The class.")]
    score: Annotated[float, Field(description="Its logit or margin.")]
    gradient: Annotated[ByPixel, Field(description="∂score/∂pixel, per gray level.")]
    gradient_times_input: Annotated[ByPixel, Field(description="The same times the pixel.")]
    smoothgrad: Annotated[
        ByPixel,
        Field(
            description=f"The mean gradient of {NOISY_PICTURES} pictures with noise, its deviation {NOISE:.0%} of 255."
        ),
    ]
    integrated_gradients: Annotated[
        Integrated,
        Field(description=f"The mean gradient on the way from a black picture, in {STEPS} steps, times the pixel."),
    ]


class SaliencyGraphs:
    """Of one worker's models. Safe in threads; what belongs to a model that nobody holds any more is freed with it."""

    def __init__(self) -> None:
        self._sessions = Kept(_opened, MOST_SESSIONS, _stamp)

    def of(self, model: Model) -> ort.InferenceSession | None:
        """None if there is no such graph beside the model, or one of another model, until another file is there. Raises
        NotReady if the model's file has gone."""
        try:
            return self._sessions.of(model)
        except ArtifactRejected:
            return None

    def announce(self, model: Model) -> tuple[bool, bool]:
        """Whether there seems to be one, and whether who asks is to count that it is opened."""
        there = self._sessions.known(model) is not None or _stamp(model) is not None
        return there, there and self._sessions.announce(model)


def _stamp(model: Model) -> tuple[int, int] | None:
    """Of the graph's file: another one has another."""
    try:
        status = model.path.with_name(FILE).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _opened(model: Model) -> ort.InferenceSession:
    try:
        graph = model.path.with_name(FILE).read_bytes()
    except OSError as error:
        raise ArtifactRejected(f"cannot be read: {error.strerror}") from error
    content = model.content()
    require_weights_beside(graph)
    # Not by its path: onnxruntime would map the model's file into memory, and one that is overwritten in its place
    # ends the process. These are the bytes that the digest below is of.
    session = open_session(graph, [CPU], {MODEL_FILE: content})
    inputs = [node.name for node in session.get_inputs()]
    if inputs != INPUTS:
        raise ArtifactRejected(f"it takes {inputs}; {INPUTS} are given")
    belongs_to = session.get_modelmeta().custom_metadata_map.get(BELONGS_TO)
    if belongs_to != hashlib.sha256(content).hexdigest():
        raise ArtifactRejected("it belongs to another model")
    return session


def require_weights_beside(graph: bytes) -> None:
    """Raises ArtifactRejected for a graph that takes weights from another file than its model's."""
    try:
        read_graph(graph, MODEL_FILE)
    except DamagedGraph as error:
        raise ArtifactRejected(f"cannot be read: {error}") from None


def gradients(session: ort.InferenceSession, pixels: Gray, index: int, go_on: GoOn = lambda: None) -> Gradients:
    """`go_on` is called before each batch, and what it raises ends it."""
    picture = pixels.astype(np.float64)
    [gradient, _], [score, black] = _run(session, _with_black(picture), index, go_on)
    smooth, _ = _run(session, _with_noise(picture), index, go_on)
    way, _ = _run(session, _on_the_way(picture), index, go_on)
    integrated = way.mean(0) * picture
    return Gradients(
        index=index,
        score=float(score),
        gradient=_told(gradient),
        gradient_times_input=_told(gradient * picture),
        smoothgrad=_told(smooth.mean(0)),
        integrated_gradients=Integrated(**_told(integrated), missing=float(score - black - integrated.sum())),
    )


def one_map(
    session: ort.InferenceSession, pixels: Gray, index: int, which: ByGradient, go_on: GoOn = lambda: None
) -> ByPixel:
    """The very one of `gradients`, without the others."""
    picture = pixels.astype(np.float64)
    if which == "smoothgrad":
        return _told(_run(session, _with_noise(picture), index, go_on)[0].mean(0))
    if which == "integrated_gradients":
        return _told(_run(session, _on_the_way(picture), index, go_on)[0].mean(0) * picture)
    gradient = _run(session, _with_black(picture), index, go_on)[0][0]
    return _told(gradient if which == "gradient" else gradient * picture)


def _with_black(picture: Floats) -> Floats:
    return np.stack([picture, np.zeros_like(picture)])


def _with_noise(picture: Floats) -> Floats:
    return picture + np.random.default_rng(SEED).normal(scale=NOISE * WHITE, size=(NOISY_PICTURES, *picture.shape))


def _on_the_way(picture: Floats) -> Floats:
    return ((np.arange(STEPS) + 0.5) / STEPS)[:, np.newaxis, np.newaxis] * picture


def _run(session: ort.InferenceSession, pictures: Floats, index: int, go_on: GoOn) -> tuple[Floats, Floats]:
    """Gradients [N, height, width] and the class's scores [N]."""
    found, scores = [], []
    for start in range(0, len(pictures), TOGETHER):
        go_on()
        batch = pictures[start : start + TOGETHER].astype(np.float32)
        feed: dict[str, Any] = {"pixels": batch, "index": np.full(len(batch), index, np.int64)}
        gradient, score = run(session, ["gradient", "scores"], feed)
        found.append(gradient.astype(np.float64))
        scores.append(score[:, index].astype(np.float64))
    return np.concatenate(found), np.concatenate(scores)


def _told(values: Floats) -> ByPixel:
    largest = float(np.abs(values).max()) or 1.0
    gray = np.rint(127.5 + 127.5 * values / largest).astype(np.uint8)
    return ByPixel(values=values.tolist(), picture=address(gray))
