"""Whether an error tells pictures of one kind from all others: what it is measured with, as it is and as callers upload
it, and the figures of an exported graph. Knows no training.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.card import ImageInput
from training import export
from training.data import Source
from training.uploaded import Pictures, as_uploaded, noise_as_uploaded, uniform_noise

AS_UPLOADED = "_as_uploaded"
UPLOADED_STEP = 2  # every second test picture is enlarged and made to fit, which takes longer than all the rest
NOISE_SIDES, NOISE_ROWS = (64, 100, 128, 256), 500


def roc_auc(like: NDArray[np.floating], unlike: NDArray[np.floating]) -> float:
    """How probable it is that a picture of the second kind has a larger error than one of the first; a tie is half."""
    ordered = np.sort(like)
    below, not_above = np.searchsorted(ordered, unlike, "left"), np.searchsorted(ordered, unlike, "right")
    return float((below + not_above).mean() / (2 * len(like)))


def shuffled_pixels(images: Pictures, seed: int = 0) -> Pictures:
    """The same pixels in every picture, each time in another order."""
    return np.random.default_rng(seed).permuted(images.reshape(len(images), -1), axis=1).reshape(images.shape)


@dataclass(frozen=True)
class Kind:
    """What an autoencoder learns, and what it is to be told from."""

    source: Source
    other: Source
    input: ImageInput
    like: str  # the two labels
    unlike: str
    plural: str
    other_plural: str


def groups_of(kind: Kind, own: Pictures, other: Pictures) -> dict[str, Pictures]:
    """What it is measured with, by the names of the figures: [n, 28, 28] of its own kind, of the other, with noise."""
    return {
        kind.plural: own,
        f"{kind.plural}{AS_UPLOADED}": as_uploaded(own[::UPLOADED_STEP], kind.input),
        kind.other_plural: other,
        f"{kind.other_plural}{AS_UPLOADED}": as_uploaded(other[::UPLOADED_STEP], kind.input),
        "uniform_noise": uniform_noise(len(own), own.shape[1]),
        "shuffled_pixels": shuffled_pixels(own),
    } | {noise(side): noise_as_uploaded(NOISE_ROWS, side, kind.input) for side in NOISE_SIDES}


def noise(side: int) -> str:
    return f"uniform_noise_{side}_by_{side}{AS_UPLOADED}"


def measured(graph: bytes, kind: Kind, groups: Mapping[str, Pictures]) -> dict[str, float]:
    """What the exported graph does with pictures that it has not seen. What comes as uploaded is held against its own
    kind's as uploaded."""
    own, uploaded = kind.plural, f"{kind.plural}{AS_UPLOADED}"
    answers = {name: export.run(graph, pictures) for name, pictures in groups.items()}
    errors = {name: each["reconstruction_error"] for name, each in answers.items()}
    difference = (answers[own]["reconstruction"].astype(np.float64) - groups[own]) / 255
    metrics = {
        "test_squared_error": float(np.square(difference).mean()),
        "test_reconstruction_error": float(errors[own].mean()),
    }
    for name, each in answers.items():
        of_its_own = name in (own, uploaded)
        prefix = "test_" if of_its_own else ""
        metrics[f"{prefix}{name}_warned_of"] = float(each["unlike_training_data"].mean())
        if not of_its_own:
            like = errors[uploaded if name.endswith(AS_UPLOADED) else own]
            metrics[f"roc_auc_against_{name}"] = roc_auc(like, errors[name])
    return metrics
