"""The answer to a request that a model be explained: what it saw, its prediction, what every layer gave, and what the
answer rests on. Work of a thread: knows models and arrays, no HTTP and no queue."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NotRequired, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict

from app.card import INPUT_NAMES, ImageInput, RowsInput
from app.errors import GoOn, InvalidRequest, NotFound
from app.explanation_request import MOST_NAMED, Asked, Inputs, Picture, told_as_ours
from app.feature_maps import MOST_PIXELS, MOST_TOGETHER, tiled
from app.gradient_saliency import ByGradient, Gradients, gradients, one_map
from app.images import Code
from app.inside import BATCH, GraphLayer, Insides, numbers_of, rows_in, weight_of
from app.layer_summary import MOST_NUMBERS, LayerSeen, has_numbers, layer_seen
from app.model import Model
from app.perturbation import (
    Occluded,
    Parts,
    deciding,
    features_replaced,
    occlusion,
    occlusion_of_tensor,
    words_left_out,
)
from app.pictures import fit_pictures, stack
from app.png import address, encode, png_at
from app.prediction import Prediction, predictions_of, told_as
from app.protocol import refusals
from app.rows import require_finite

Array = NDArray[Any]


class ExplainedClass(TypedDict):
    label: Annotated[str, Field(description="Its index again, where a model has no card.")]
    index: Annotated[int, Field(description="Its place among the model's labels, or the numbers of its output.")]


class Methods(TypedDict):
    """Ways to tell on which parts of a picture the answer rests."""

    gradients: NotRequired[Annotated[Gradients, Field(description="Where a graph of them lies beside the model.")]]
    occlusion: NotRequired[Occluded]
    features: NotRequired[Annotated[Parts, Field(description="Of a row: each feature replaced by what is usual.")]]
    words: NotRequired[Annotated[Parts, Field(description="Of a text: each word left out.")]]


class Explanation(TypedDict):
    model: str
    version: str
    input: Annotated[
        Any,
        Field(
            description="What the model saw: a row, a text, or, preprocessed, the address of a PNG; null for tensors."
        ),
    ]
    prediction: Annotated[
        Prediction | None, Field(description="As `/predict` answers; null for a model without a card.")
    ]
    explained: Annotated[
        ExplainedClass | None,
        Field(
            description="The class that `methods` speak of: that of `?class=`, else the answered one. Null where a "
            "model has no number for each class, and none whose sign decides between two."
        ),
    ]
    layers: Annotated[list[LayerSeen], Field(description="Every tensor that the graph computes, in order.")]
    methods: Annotated[
        Methods,
        Field(
            description="What the answer rests on. Of a model without a card occlusion alone, and that where it takes "
            "one tensor [1, height, width] or [1, channels, height, width] and gives [1, n]."
        ),
    ]


def explain(asked: Asked, insides: Insides, go_on: GoOn = lambda: None) -> Explanation:
    """`go_on` is called before each piece of work, and what it raises ends it."""
    model, wishes, one = asked.model, asked.wishes, asked.wishes.layer is not None
    inputs, noticed = _inputs(asked)
    go_on()
    prediction = _prediction(model, inputs, noticed, wishes.top)
    go_on()
    wanted = _wanted(asked, insides)
    pixels = min(MOST_PIXELS, MOST_TOGETHER // max(1, len(wanted))) if one or wishes.pictures else 0
    if wishes.numbers and not one:
        layers = _with_numbers(model, inputs, wanted, pixels, insides, go_on)
    else:
        seen = _seen(model, inputs, wanted, insides, go_on)
        layers = [layer_seen(layer, values, pixels, numbers=one) for layer, values in seen]
    explained, methods = _reasons(asked, inputs, prediction, insides, go_on)
    return Explanation(
        model=model.name,
        version=str(model.version),
        input=_input(model, inputs),
        prediction=prediction,
        explained=explained,
        layers=layers,
        methods=methods,
    )


def _with_numbers(
    model: Model, inputs: Inputs, layers: Sequence[GraphLayer], pixels: int, insides: Insides, go_on: GoOn
) -> list[LayerSeen]:
    """All layers with theirs. Raises InvalidRequest if these are more together than of one layer are told: by the
    measured shapes, or else as they come."""
    told, left = list[LayerSeen](), MOST_NUMBERS
    _require_few(model, numbers_of(layers, rows_in(model, inputs), weight_of(model, inputs)))
    for layer, values in _seen(model, inputs, layers, insides, go_on):
        left -= 0 if values is None else values.size
        _require_few(model, MOST_NUMBERS - left)
        told.append(layer_seen(layer, values, pixels, numbers=True))
    return told


def _require_few(model: Model, numbers: int) -> None:
    if numbers > MOST_NUMBERS:
        raise InvalidRequest(
            f"the layers of model {model.name!r} give {numbers:,} numbers or more for this; with ?numbers=true at most "
            f"{MOST_NUMBERS:,} are told: send fewer rows, or ask for one layer by ?layer="
        )


def _reasons(
    asked: Asked, inputs: Inputs, prediction: Prediction | None, insides: Insides, go_on: GoOn
) -> tuple[ExplainedClass | None, Methods]:
    """Which class is explained, and what speaks for it."""
    if prediction is not None:
        index = prediction["index"] if asked.index is None else asked.index
        return _explained(asked.model, index), _methods(asked, inputs, index, insides, go_on)
    methods, place = Methods(), asked.index
    if asked.patches is not None:
        with told_as_ours(), refusals(asked.model):
            found = occlusion_of_tensor(asked.model, inputs, asked.index, asked.patches, go_on)
        if found is not None:
            place, methods["occlusion"] = found
    return None if place is None else ExplainedClass(label=str(place), index=place), methods


def _explained(model: Model, index: int) -> ExplainedClass | None:
    watched = deciding(model)
    known = watched is not None and watched.knows_classes
    return ExplainedClass(label=model.require_card().labels[index], index=index) if known else None


def _methods(asked: Asked, inputs: Inputs, index: int, insides: Insides, go_on: GoOn) -> Methods:
    """What the kind of input has."""
    model, methods, taken = asked.model, Methods(), asked.model.require_card().input
    [[one]] = inputs.values()
    if not isinstance(taken, ImageInput):
        if not asked.wishes.occlusion:
            return methods
        rows = isinstance(taken, RowsInput)
        parts = features_replaced(model, one, index, go_on) if rows else words_left_out(model, one, index, go_on)
        if parts and rows:
            methods["features"] = parts
        elif parts:
            methods["words"] = parts
        return methods
    pixels = one
    if asked.wishes.gradients and (graph := insides.saliency.of(model)):
        methods["gradients"] = gradients(graph, pixels, index, go_on)
    if asked.patches and (found := occlusion(model, pixels, index, asked.patches, go_on)):
        methods["occlusion"] = found
    return methods


def _prediction(model: Model, inputs: Inputs, noticed: tuple[Code, ...], top: int | None) -> Prediction | None:
    card = model.card
    if card is None:
        return None
    outputs = dict(zip(card.asked, model.run(inputs, card.asked), strict=True))
    if not isinstance(card.input, ImageInput):
        require_finite(outputs)
    [prediction] = predictions_of(card, outputs, [noticed], top)
    return prediction


def _input(model: Model, inputs: Inputs) -> Any:
    """What the model saw, told; None for tensors, which the caller knows."""
    if model.card is None:
        return None
    [[seen]] = inputs.values()
    return address(seen) if isinstance(model.card.input, ImageInput) else told_as(np.array([seen]))[0]


def draw(asked: Asked, insides: Insides, go_on: GoOn = lambda: None) -> bytes:
    """One layer, or one map of a method, as a PNG. Raises InvalidRequest if none or both are named, or if there is no
    such picture."""
    if asked.wishes.picture is not None:
        return _drawn_alone(asked, asked.wishes.picture, insides, go_on)
    if asked.wishes.layer is None:
        names = _names(asked.model, insides)
        raise InvalidRequest(
            f"a picture is of one layer: say which by ?layer=; there are: {names}; or of what the answer rests on: "
            f"?picture= is one of {_listed(_pictures(asked, insides))}"
        )
    inputs, _ = _inputs(asked)
    go_on()
    [(layer, values)] = _seen(asked.model, inputs, _wanted(asked, insides), insides, go_on)
    if not has_numbers(values):
        raise InvalidRequest(f"layer {layer.name!r} gives no numbers that could be drawn")
    return encode(tiled(values.astype(np.float64)))


def _drawn_alone(asked: Asked, picture: Picture, insides: Insides, go_on: GoOn) -> bytes:
    """The very picture that the answer as JSON has."""
    model = asked.model
    if asked.wishes.layer is not None:
        raise InvalidRequest(
            f"layer is {asked.wishes.layer!r} and picture is {picture!r}; one picture is drawn: leave one out"
        )
    there = _pictures(asked, insides)
    if picture not in there:
        raise InvalidRequest(f"model {model.name!r} has no picture {picture!r} of this; there are: {_listed(there)}")
    inputs, noticed = _inputs(asked)
    go_on()
    if picture == "input":
        [[pixels]] = inputs.values()
        return encode(pixels)
    prediction = _prediction(model, inputs, noticed, None)
    if picture != "occlusion":
        graph, [[pixels]] = insides.saliency.of(model), inputs.values()
        assert graph is not None and prediction is not None  # there is such a picture
        index = prediction["index"] if asked.index is None else asked.index
        return png_at(one_map(graph, pixels, index, picture, go_on)["picture"])
    _, methods = _reasons(asked, inputs, prediction, insides, go_on)
    if "occlusion" not in methods:
        raise InvalidRequest(f"model {model.name!r} gives no finite numbers for this, so that nothing can be drawn")
    return png_at(methods["occlusion"]["picture"])


def _pictures(asked: Asked, insides: Insides) -> list[str]:
    """What can be drawn alone beside the layers."""
    model = asked.model
    if model.card is None:
        return ["occlusion"] if asked.patches else []
    if not isinstance(model.card.input, ImageInput):
        return []
    by_gradient = get_args(ByGradient) if insides.saliency.of(model) else ()
    return ["input", *by_gradient, *(["occlusion"] if deciding(model) else [])]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _inputs(asked: Asked) -> tuple[Inputs, tuple[Code, ...]]:
    """What the graph takes, one row, and what was noticed of the picture."""
    if isinstance(asked.read, Mapping):
        return asked.read, asked.noticed
    contract = asked.model.require_card().input
    assert isinstance(contract, ImageInput)
    [picture] = fit_pictures([asked.read], contract)
    return {INPUT_NAMES["image"]: stack([picture.pixels])}, picture.warnings


def _names(model: Model, insides: Insides) -> str:
    names = [layer.name for layer in insides.table(model).layers]
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


def _wanted(asked: Asked, insides: Insides) -> list[GraphLayer]:
    """Those that are to be told. Raises NotFound."""
    model, wanted = asked.model, asked.wishes.layer
    layers = [layer for layer in insides.table(model).layers if wanted in (None, layer.name)]
    if wanted is not None and not layers:
        raise NotFound(f"model {model.name!r} has no layer {wanted!r}; there are: {_names(model, insides)}")
    return layers


def _seen(
    model: Model, inputs: Inputs, layers: Sequence[GraphLayer], insides: Insides, go_on: GoOn
) -> Iterator[tuple[GraphLayer, Array | None]]:
    """The layers and what they gave, a lone row without the axis that counts rows; None for what NumPy has no type for.
    `go_on` is called before each."""
    go_on()
    with told_as_ours(), refusals(model):
        given = insides.activations(model, inputs, layers)
    lone = rows_in(model, inputs) == 1
    for layer in layers:
        go_on()
        values = given.pop(layer.name, None)
        counts_rows = layer.output_shape is not None and layer.output_shape[:1] == [BATCH]
        # An axis that depends on the numbers may be another size than the batch.
        alone = lone and counts_rows and values is not None and len(values) == 1
        yield layer, values[0, ...] if values is not None and alone else values
