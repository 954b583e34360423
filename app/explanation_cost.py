"""What an explanation is expected to take, in seconds: by the model's profile, its layers' measured shapes and what is
wished. The constants are one machine's, and there to tell long requests from short ones. Computes nothing."""

import math

from app.feature_maps import MOST_PIXELS
from app.feature_maps import MOST_TOGETHER as MOST_PIXELS_TOGETHER
from app.inside import MOST_NUMBERS as MOST_NUMBERS_TOGETHER
from app.inside import Insides, numbers_of
from app.layer_summary import MOST_NUMBERS
from app.model import Model
from app.service import UNMEASURED_SECONDS

# Fitting a picture, predictions, JSON.
BASE_SECONDS = 0.0005
# A run that gives all layers, in runs of the model: nothing in it is put together, and more is written.
RUNS_FOR_LAYERS = 2
# Of each layer, and of each number that it gives, for its figures; where the layers are not known yet.
LAYER_SECONDS, NUMBER_SECONDS, LAYERS_SECONDS = 25e-6, 3e-9, 0.002
# Of each number that is drawn, or told.
DRAWN_SECONDS, TOLD_SECONDS = 1e-7, 1e-7
# A patch laid over a picture, and its part of the map, beside the run.
PATCH_SECONDS = 6e-6
# Of each character of a text, to find its words and their places.
CHARACTER_SECONDS = 1e-7
# A pass forwards and backwards, in runs of the model.
RUNS_FOR_GRADIENT = 4.5
# A session that is not open yet, its first run, and each byte of its file.
OPENING_SECONDS, OPENING_BYTE_SECONDS = 0.0035, 3e-9


def answering(model: Model, weight: float) -> float:
    """A run of so many rows of the size that was measured."""
    expected = model.profile.estimate(weight)
    return expected if expected < math.inf else UNMEASURED_SECONDS


def looking(
    model: Model, insides: Insides, layer: str | None, pictures: bool, numbers: bool, rows: int, weight: float
) -> float:
    """At all layers, or at one."""
    seconds = RUNS_FOR_LAYERS * answering(model, weight)
    table = insides.known_table(model)
    if table is None:
        return seconds + LAYERS_SECONDS
    sizes = [numbers_of([each], rows, weight) for each in table.layers if layer in (None, each.name)]
    seconds += len(sizes) * LAYER_SECONDS + sum(sizes) * NUMBER_SECONDS
    if pictures or layer is not None:
        seconds += min(MOST_PIXELS_TOGETHER, sum(min(size, MOST_PIXELS) for size in sizes)) * DRAWN_SECONDS
    if (numbers or layer is not None) and sum(sizes) <= MOST_NUMBERS:
        seconds += sum(sizes) * TOLD_SECONDS
    if layer is not None and numbers_of(table.layers, rows, weight) > MOST_NUMBERS_TOGETHER:
        seconds += opening(model, 1)
    return seconds


def covering(model: Model, pictures: int, positions: int) -> float:
    """`pictures` are those that a patch changes, of so many positions."""
    return answering(model, 1 + pictures) + positions * PATCH_SECONDS


def covering_tensors(model: Model, weight: float, together: int) -> float:
    """One covered tensor of so many rows' weight, where so many run at once."""
    return answering(model, together * weight) / together + PATCH_SECONDS


def differentiating(model: Model, pictures: int) -> float:
    return answering(model, pictures) * RUNS_FOR_GRADIENT


def opening(model: Model, sessions: int) -> float:
    """Of the size of the model."""
    return sessions * (OPENING_SECONDS + model.size * OPENING_BYTE_SECONDS)
