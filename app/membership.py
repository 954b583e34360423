"""What a person gets for a picture or a row that a model has put into a cluster: which, how far from its middle, and
that middle. Knows no HTTP and no queue; the card says which outputs there are and what they mean."""

from typing import Annotated, Any, NotRequired, cast

from pydantic import Field

from app.card import CENTROID, Card, RowsInput
from app.prediction import Noticed, Outputs, Prediction, predictions_of, told_as

# What a clustering tells of each row under a name of its own; anything else is among `outputs`.
NAMED = ("distance", "distances", CENTROID, "prototype")


class Membership(Prediction):
    """Where one picture, row or text belongs; `label` and `index` are the cluster's name and number. What a model does
    not tell is absent."""

    distance: NotRequired[
        Annotated[
            float,
            Field(
                description="Euclidean, to the cluster's centroid; the card says in which units. It is no probability."
            ),
        ]
    ]
    distances: NotRequired[Annotated[list[float], Field(description="To every centroid, in the order of the labels.")]]
    centroid: NotRequired[
        Annotated[
            dict[str, float],
            Field(description="The cluster's middle, the mean of what it was learned from, by feature, in its unit."),
        ]
    ]
    prototype: NotRequired[
        Annotated[
            str,
            Field(description="The same of pictures: the cluster's mean picture, a PNG as `data:image/png;base64,…`."),
        ]
    ]


def outputs_of_clustering(card: Card) -> list[str]:
    """What is asked of the graph: what a prediction is made of, and the middle of the cluster."""
    return [*card.asked, *(name for name in NAMED if name in card.outputs and name not in card.asked)]


def memberships_of(card: Card, outputs: Outputs, noticed: Noticed) -> list[Membership]:
    """`outputs` are those of `outputs_of_clustering`."""
    unasked = {name: told_as(outputs[name]) for name in outputs if name in NAMED and name not in card.asked}
    return [
        _membership(card, prediction, {name: values[place] for name, values in unasked.items()})
        for place, prediction in enumerate(predictions_of(card, outputs, noticed))
    ]


def _membership(card: Card, prediction: Prediction, unasked: dict[str, Any]) -> Membership:
    rest: dict[str, Any] = {**prediction}
    told, warnings = rest.pop("outputs", {}) | unasked, rest.pop("warnings")
    if isinstance(card.input, RowsInput) and CENTROID in told:
        features = [feature.name for feature in card.input.features]
        told[CENTROID] = dict(zip(features, told[CENTROID], strict=True))
    named = {name: told.pop(name) for name in NAMED if name in told}
    others = {"outputs": told} if told else {}
    return cast(Membership, {**rest, **named, **others, "warnings": warnings})
