"""A look inside a model at work, as work of the lab."""

from dataclasses import replace
from functools import partial
from typing import get_args

from app.computation import Work
from app.explanation_answer import draw, explain
from app.explanation_request import Asked, Wishes, read_explanation
from app.gradient_saliency import ByGradient
from app.inside import Insides
from app.model import Model
from app.settings import Settings


def explaining(model: Model, insides: Insides, wishes: Wishes, settings: Settings) -> Work[Asked]:
    """The answer as JSON."""
    wishes = replace(wishes, picture=None)
    read = partial(read_explanation, model=model, insides=insides, wishes=wishes, settings=settings)
    return Work(_counted_as(model), read, lambda asked, go_on: explain(asked, insides, go_on))


def drawing(model: Model, insides: Insides, wishes: Wishes, settings: Settings) -> Work[Asked]:
    """One picture as a PNG, of a layer or of what the answer rests on, and nothing else."""
    by_gradient = wishes.picture in get_args(ByGradient)
    wishes = replace(
        wishes, pictures=False, numbers=False, gradients=by_gradient, occlusion=wishes.picture == "occlusion"
    )
    read = partial(read_explanation, model=model, insides=insides, wishes=wishes, settings=settings)
    return Work(_counted_as(model), read, lambda asked, go_on: draw(asked, insides, go_on), _as_it_is)


def _as_it_is(png: object) -> bytes:
    assert isinstance(png, bytes)
    return png


def _counted_as(model: Model) -> str:
    return f"explain/{model.name}"
