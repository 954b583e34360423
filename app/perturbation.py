"""Attribution by perturbation: by how much an answer falls when a patch of a picture is covered, a feature of a row has
its usual value, or a word of a text is left out. Knows models, no HTTP and no queue; app/occlusion.py knows patches.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict

from app.card import INPUT_NAMES, PROBABILITIES, Feature, RowsInput, TextInput
from app.errors import GoOn
from app.feature_maps import MOST_PIXELS, gray
from app.model import Model
from app.occlusion import Patches, Place, by_pixel, changing, covered
from app.png import address
from app.words import Span, first_words, without

Array = NDArray[Any]

# So many occluded pictures run together: 64 take no less time, and 20 MB more of what a worker keeps.
TOGETHER = 16
# Fewer of larger tensors: so many numbers.
MOST_TOGETHER = 1_000_000
# A tensor whose last axes are shorter is no picture.
LEAST_SIDE = 4
# What is near or well known has less of these.
LOWER_IS_BETTER = ("distance", "distances", "reconstruction_error")
# One number for two classes: above 0 it speaks for the second, below 0 for the first.
SIGNED = ("margin",)
# Different ones that are left out in turn; of a long text fewer, so that all texts together have so many characters:
# these take about a tenth of a second. So many run together: what divides words takes 24 bytes for each.
MOST_WORDS, MOST_CHARACTERS, CHARACTERS_TOGETHER = 100, 2_000_000, 400_000
# As many values of a feature take its place.
MOST_VALUES = 64
# Of one word no more different spellings are told, nor places.
MOST_SPELLINGS, MOST_PLACES = 10, 100
FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


class Occluded(TypedDict):
    """A patch is laid over every part of the picture, and the model asked again."""

    patch: Annotated[int, Field(description="The side of the square that covers, in pixels of what the model saw.")]
    stride: Annotated[int, Field(description="How far it moves; at the edge less, so that no pixel is left out.")]
    fill: Annotated[int, Field(description="The level of covered pixels; 0 is the background.")]
    output: Annotated[
        str,
        Field(
            description="What falls: `probabilities`, or of a model that has none another output: of its card, or "
            "without a card the first [1, n] of two numbers or more."
        ),
    ]
    value: Annotated[float, Field(description="That of the class that is explained with nothing covered.")]
    tops: Annotated[list[int], Field(description="The patch's first row, of each row of `falls`.")]
    lefts: Annotated[list[int], Field(description="The patch's first column, of each column of `falls`.")]
    falls: Annotated[
        list[list[float]],
        Field(
            description="How much worse the value is for the class with the patch there: less of a probability, more "
            "of a distance or an error; negative: better."
        ),
    ]
    picture: Annotated[
        str,
        Field(
            description="The mean fall of the patches over each pixel, as the address of a gray PNG: the greatest is "
            "white, none is black."
        ),
    ]


class Part(TypedDict):
    """A feature of a row, or a word of a text."""

    name: Annotated[str, Field(description="Of the feature; of a text the word as the model has it.")]
    spellings: NotRequired[
        Annotated[
            list[str],
            Field(description=f"How the text writes the word, at most {MOST_SPELLINGS}: all of them are left out."),
        ]
    ]
    times: NotRequired[Annotated[int, Field(description="How often the word stands in the text.")]]
    places: NotRequired[
        Annotated[
            list[tuple[int, int]],
            Field(
                description="Where: the first character, counted from 0, and the one behind the last; at most "
                f"{MOST_PLACES}."
            ),
        ]
    ]
    value: NotRequired[Annotated[float, Field(description="That the row has.")]]
    replaced_by: NotRequired[
        Annotated[
            list[float], Field(description="What it was replaced by, one after the other; the fall is the mean of all.")
        ]
    ]
    replacement: NotRequired[
        Annotated[
            Literal["mean", "others", "example"],
            Field(
                description="`mean`: of the training data. `others`: each other value that the feature may have. "
                "`example`: that of the card, which says nothing of either; a fall of 0 says nothing where the row has "
                "it, too."
            ),
        ]
    ]
    fall: Annotated[
        float,
        Field(
            description="How much worse the value is for the class without it: less of a probability, more of a "
            "distance or an error, nearer to 0 or beyond of a `margin` that decides between two; negative: better."
        ),
    ]


class Parts(TypedDict):
    """Each part is left out in turn, and the model asked again; the parts that matter most come first. Of a text
    they are the first 100 different words, fewer if it has more than 20,000 characters, each left out wherever it
    stands and however it is spelt. What a word is the card says; where it does not, letters and digits in a row,
    whatever their case."""

    output: Annotated[
        str, Field(description="What falls: `probabilities`, or of a model that has none another output.")
    ]
    value: Annotated[
        float,
        Field(
            description="That of the class that is explained with everything in its place; a `margin` that decides "
            "between two classes as the model tells it, below 0 for the first."
        ),
    ]
    parts: list[Part]


class Deciding(NamedTuple):
    """The output that is watched."""

    output: str
    by_class: bool  # else it has a single number
    signed: bool = False  # which decides between two classes by its sign

    @property
    def knows_classes(self) -> bool:
        return self.by_class or self.signed

    def better(self, index: int) -> int:
        """1 if more of it speaks for the class, -1 if less of it does."""
        return -1 if self.output in LOWER_IS_BETTER or (self.signed and index == 0) else 1


def deciding(model: Model) -> Deciding | None:
    """An output with a number for each class; failing that, one with a single number."""
    card = model.require_card()
    if PROBABILITIES in card.outputs:
        return Deciding(PROBABILITIES, by_class=True)
    nodes = [node for node in model.session.get_outputs() if node.name in card.outputs and node.type in FLOATS]
    by_class = [Deciding(node.name, True) for node in nodes if node.shape[1:] == [len(card.labels)]]
    two = len(card.labels) == 2
    single = [Deciding(node.name, False, two and node.name in SIGNED) for node in nodes if len(node.shape) == 1]
    return next(iter(by_class + single), None)


def deciding_without_card(model: Model) -> Deciding | None:
    """An output [batch, n] of two numbers or more: the one called `probabilities`, else the first."""
    nodes = [node for node in model.session.get_outputs() if node.type in FLOATS and len(node.shape) == 2]
    names = [node.name for node in nodes if isinstance(node.shape[1], int) and node.shape[1] >= 2]
    names.sort(key=lambda name: name != PROBABILITIES)
    return Deciding(names[0], by_class=True) if names else None


def picture_in(inputs: Mapping[str, Array]) -> Array | None:
    """The one tensor of a model without a card, [H, W] or [C, H, W], if it is such as pictures are: one row of floats
    or uint8, of sides from 4 on and at most 400,000 places."""
    if len(inputs) != 1:
        return None
    [tensor] = inputs.values()
    if tensor.ndim not in (3, 4) or len(tensor) != 1 or tensor.dtype not in (np.uint8, np.float16, np.float32, float):
        return None
    height, width = tensor.shape[-2:]
    fits = min(height, width) >= LEAST_SIDE and height * width <= MOST_PIXELS and tensor.size > 0
    return np.asarray(tensor[0]) if fits else None


def together(model: Model, picture: Array) -> int:
    """How many covered tensors may run at once: one where rows are not known to be answered each for itself."""
    return max(1, min(TOGETHER, MOST_TOGETHER // picture.size)) if model.profile.independent else 1


def occlusion(model: Model, pixels: Array, index: int, patches: Patches, go_on: GoOn) -> Occluded | None:
    """Of the class `index`. `go_on` is called before each batch, and what it raises ends it. None for a model that has
    no number for its answer."""
    watched = deciding(model)
    return (
        _occlusion(model, INPUT_NAMES["image"], pixels, watched, index, patches, TOGETHER, go_on) if watched else None
    )


def occlusion_of_tensor(
    model: Model, inputs: Mapping[str, Array], index: int | None, patches: Patches, go_on: GoOn
) -> tuple[int, Occluded] | None:
    """The same for a model without a card, of the class with the largest number unless one is given. None if it has
    not one number for each class, or if one of them is none."""
    [(name, tensor)], watched = inputs.items(), deciding_without_card(model)
    if watched is None:
        return None
    if index is None:
        go_on()
        [[row]] = model.run(inputs, [watched.output])
        index = int(row.argmax())
    found = _occlusion(model, name, tensor[0], watched, index, patches, together(model, tensor), go_on)
    return (index, found) if np.isfinite(found["falls"]).all() else None


def _occlusion(
    model: Model, name: str, pixels: Array, watched: Deciding, index: int, patches: Patches, most: int, go_on: GoOn
) -> Occluded:
    changed, falls = changing(pixels, patches), np.zeros(patches.count)
    places: list[Place | None] = [place for place, changes in zip(patches.positions(), changed, strict=True) if changes]
    places.insert(0, None)
    batches = (covered(pixels, places[start : start + most], patches.fill) for start in range(0, len(places), most))
    whole, falls[changed] = _falls(model, name, batches, watched, index, go_on)
    return Occluded(
        patch=patches.side,
        stride=patches.stride,
        fill=patches.fill,
        output=watched.output,
        value=whole,
        tops=patches.tops,
        lefts=patches.lefts,
        falls=falls.reshape(len(patches.tops), len(patches.lefts)).tolist(),
        picture=address(gray(by_pixel(falls, patches), low=0.0)),
    )


class Replacement(NamedTuple):
    """What takes a feature's place, one after the other."""

    kind: Literal["mean", "others", "example"]
    values: list[float]


def features_replaced(model: Model, row: Array, index: int, go_on: GoOn) -> Parts | None:
    """Of a row [features], one feature after the other by what is usual."""
    watched = deciding(model)
    if watched is None:
        return None
    replacements = replacements_of(model, row)
    rows = [row]
    for place, replacement in enumerate(replacements):
        for value in replacement.values:
            rows.append(row.copy())
            rows[-1][place] = value
    whole, falls = _falls(model, INPUT_NAMES["rows"], _parts_of(np.stack(rows)), watched, index, go_on)
    ends = np.cumsum([len(replacement.values) for replacement in replacements])
    parts = [
        Part(
            name=feature.name,
            value=float(value),
            replaced_by=replacement.values,
            replacement=replacement.kind,
            fall=float(each.mean()),
        )
        for feature, value, replacement, each in zip(
            _features(model), row, replacements, np.split(falls, ends[:-1]), strict=True
        )
    ]
    return Parts(output=watched.output, value=whole, parts=_by_weight(parts))


def replacements_of(model: Model, row: Array) -> list[Replacement]:
    """Of each feature."""
    return [_replacement(feature, float(value)) for feature, value in zip(_features(model), row, strict=True)]


def _features(model: Model) -> list[Feature]:
    taken = model.require_card().input
    assert isinstance(taken, RowsInput)
    return taken.features


def _replacement(feature: Feature, value: float) -> Replacement:
    """A feature that may be one of several is replaced by each other one: the middle of them is none, and one of them
    alone may be the row's own."""
    if len(feature.usual) == 1:
        return Replacement("mean", feature.usual)
    # Of many choices some, as far apart as they may be.
    choices = np.linspace(0, feature.choices - 1, min(feature.choices, MOST_VALUES)).round() if feature.choices else ()
    others = [float(each) for each in feature.usual or choices if each != value]
    return Replacement("others", others) if others else Replacement("example", [feature.example])


def words_left_out(model: Model, text: str, index: int, go_on: GoOn) -> Parts | None:
    """Of the first different words, as the model has them, wherever and however each stands."""
    watched = deciding(model)
    if watched is None:
        return None
    words = words_of(model, text)
    texts = np.array([text, *(without(text, places) for places in words.values())], object)
    whole, falls = _falls(model, INPUT_NAMES["text"], _parts_of(texts), watched, index, go_on)
    parts = [
        Part(
            name=word,
            spellings=list(dict.fromkeys(text[start:end] for start, end in places))[:MOST_SPELLINGS],
            times=len(places),
            places=places[:MOST_PLACES],
            fall=float(fall),
        )
        for (word, places), fall in zip(words.items(), falls, strict=True)
    ]
    return Parts(output=watched.output, value=whole, parts=_by_weight(parts))


def words_of(model: Model, text: str) -> dict[str, list[Span]]:
    """The words that are left out, and where they stand."""
    taken = model.require_card().input
    return first_words(text, taken.word if isinstance(taken, TextInput) else None, most_words(text))


def most_words(text: str) -> int:
    """How many are left out: MOST_WORDS, fewer of a text of more than 20,000 characters."""
    return min(MOST_WORDS, MOST_CHARACTERS // max(1, len(text)))


def _by_weight(parts: list[Part]) -> list[Part]:
    return sorted(parts, key=lambda part: -abs(part["fall"]))


def _parts_of(batch: Array) -> Iterator[Array]:
    """Some rows after the other; of long texts fewer."""
    most = TOGETHER
    if batch.dtype == object:
        most = min(most, max(1, CHARACTERS_TOGETHER // max(1, *map(len, batch))))
    return (batch[start : start + most] for start in range(0, len(batch), most))


def _falls(
    model: Model, name: str, batches: Iterable[Array], watched: Deciding, index: int, go_on: GoOn
) -> tuple[float, NDArray[np.float64]]:
    """The first one's value, and how much less that of each other one is. `name` is the input's."""
    values = list[float]()
    for batch in batches:
        go_on()
        [rows] = model.run({name: batch}, [watched.output])
        values += (rows[:, index] if watched.by_class else rows).astype(np.float64).tolist()
    whole, *others = values
    return whole, watched.better(index) * np.array([whole - value for value in others])
