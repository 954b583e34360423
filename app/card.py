"""What an artifact says about itself: the card and the golden rows, kept in the ONNX file's own metadata; so does a
demo of the lab.

Both halves share it. It knows neither onnxruntime nor torch; metadata comes and goes as text.
"""

import base64
import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

CARD_KEY = "percept.card"
GOLDEN_KEY = "percept.golden"
DEMO_KEY = "percept.demo"

# How a graph calls what it takes, by kind, and the outputs that decide which label is the answer.
INPUT_NAMES = {"image": "image", "photograph": "photograph", "rows": "rows", "text": "text"}
PROBABILITIES, INDEX = "probabilities", "index"
CLUSTERING = "clustering"  # the task
CENTROID = "centroid"  # what a clustering of rows calls the middle of a row's cluster, a number for each feature
# Boolean outputs that an answer has among its warnings, by the same code, where they are true.
WARNINGS = ("unlike_training_data",)

Array = NDArray[Any]
Fraction = Annotated[float, Field(ge=0, le=1)]
T = TypeVar("T", bound=BaseModel)


class Frozen(BaseModel):
    """A value that refuses members it does not know, so that a misspelt or newer card is noticed."""

    # Built when one is read: most are parts of another, which needs no validator of theirs.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class ImageInput(Frozen):
    """The preprocessing contract: what a picture has to become before the graph sees it."""

    kind: Literal["image"] = "image"
    height: int = Field(gt=0, description="Rows of the picture that the graph takes.")
    width: int = Field(gt=0, description="Columns of the picture that the graph takes.")
    ink: Literal["light-on-dark"] = Field(default="light-on-dark", description="Polarity: background 0, ink up to 255.")
    box: int = Field(gt=0, description="The longer side of the ink's bounding box is scaled to this many pixels.")
    centre: Literal["mass", "box"] = Field(description="What is put in the middle: the centre of mass or the box.")

    @model_validator(mode="after")
    def _box_fits(self) -> Self:
        if self.box > min(self.height, self.width):
            raise ValueError(f"a box of {self.box} does not fit into {self.height} × {self.width}")
        return self


class PhotographInput(Frozen):
    """The whole picture in colour, upright, its longer side fitted to the frame, the rest filled with the mean colour
    of the picture's own border. Where the border is of one colour, what it surrounds is taken for the picture."""

    kind: Literal["photograph"] = "photograph"
    height: int = Field(gt=0, le=1024, description="Rows of the picture, red, green and blue, that the graph takes.")
    width: int = Field(gt=0, le=1024, description="Columns of the picture that the graph takes.")


class Feature(Frozen):
    """One number of a row."""

    name: str
    unit: str = ""
    example: float = Field(default=0.0, description="A usual value, for documentation and forms.")
    choices: int | None = Field(
        default=None, gt=0, description="If the value is one of so many whole numbers, from 0 on."
    )
    usual: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default=[],
        max_length=64,
        description="What it is replaced by, to see what it contributes: its mean over the training data; where the "
        "data have a few values alone, each of them. Of `choices` it need not be said.",
    )


class RowsInput(Frozen):
    """Numbers, as many as there are features; scaling happens in the graph."""

    kind: Literal["rows"] = "rows"
    features: list[Feature] = Field(min_length=1)
    points: list[list[Annotated[float, Field(allow_inf_nan=False)]]] = Field(
        default=[], description="The rows that were learned from, where they are points of a plane and can be drawn."
    )
    classes: list[Annotated[int, Field(ge=0)]] = Field(
        default=[], description="Of each of the points, the place of its label; empty where nobody has told labels."
    )

    @model_validator(mode="after")
    def _points_fit(self) -> Self:
        if any(len(point) != len(self.features) for point in self.points):
            raise ValueError(f"a point has not {len(self.features)} numbers, as there are features")
        if self.classes and len(self.classes) != len(self.points):
            raise ValueError(f"{len(self.points)} points have {len(self.classes)} classes")
        return self


class TextInput(Frozen):
    """Text of any length; it is taken apart in the graph."""

    kind: Literal["text"] = "text"
    language: str
    example: str
    word: str | None = Field(
        default=None,
        description="The regular expression of a word as the graph has it, once A to Z are small letters; null if the "
        "graph does something else, or the card does not say.",
    )

    @field_validator("word")
    @classmethod
    def _is_a_pattern(cls, word: str | None) -> str | None:
        try:
            empty = word is not None and re.fullmatch(word, "") is not None
        except re.error as error:
            raise ValueError(f"{word!r} is no regular expression: {error}") from None
        if empty:
            raise ValueError(f"{word!r} finds words without a letter")
        return word


Input = ImageInput | PhotographInput | RowsInput | TextInput


class Layer(Frozen):
    """One row of the layer table; shapes are those of a batch of one, without the batch axis."""

    name: str
    kind: str
    output_shape: list[int]
    parameters: int


class DatasetFacts(Frozen):
    """What the model learned from."""

    name: str
    source: str
    licence: str
    train_rows: int
    validation_rows: int
    test_rows: int
    sha256: dict[str, str] = Field(description="Digest of each file's uncompressed content.")


class Epoch(Frozen):
    """One row of the training history. Training figures are means over the epoch's batches as the network saw them:
    augmented, with dropout on."""

    epoch: int
    loss: float
    accuracy: Fraction
    validation_loss: float
    validation_accuracy: Fraction


class Training(Frozen):
    """How the weights came about: enough to do it again. What a method has not, is null."""

    command: str
    seed: int
    optimizer: str
    epochs: int = Field(description="Passes over the data, or the rounds of a method that has no such thing.")
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    augmentation: str | None = None
    precision: Literal["float32", "bfloat16", "float64"]
    device: str
    seconds: float
    commit: str
    libraries: dict[str, str]
    history: list[Epoch] = []


class Comparison(Frozen):
    """A variant trained with everything else equal, for the record."""

    what: str
    metrics: dict[str, float]


class Card(Frozen):
    """What a model says about itself."""

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    description: str
    task: Literal["classification", "clustering", "reconstruction", "control"]
    subject: Literal["digits", "clothing"] | None = Field(
        default=None,
        description="The alias this model competes for: the best model of a subject answers under its name. One that "
        "takes photographs answers for those among the pictures that are sent to the alias.",
    )
    input: Annotated[Input, Field(discriminator="kind")]
    outputs: dict[str, str] = Field(description="What each output of the graph means.")
    told: list[str] = Field(
        default=[], description="Outputs that an answer tells by their names, beside label and probabilities."
    )
    notes: list[str] = Field(default=[], description="What one should know before one relies on it.")
    labels: list[str]
    parameters: int = Field(description="What the training has set, of one network where the graph holds several.")
    layers: list[Layer]
    metrics: dict[str, float]
    floor: dict[str, float] = Field(description="What the metrics had to reach before anything was written.")
    dataset: DatasetFacts
    training: Training
    comparisons: list[Comparison] = []

    @property
    def takes_pictures(self) -> bool:
        """Encoded files, gray or in colour, that are made to fit."""
        return isinstance(self.input, ImageInput | PhotographInput)

    @cached_property
    def asked(self) -> list[str]:
        """The outputs that an answer is made of: what decides the label, what is told by its name, what warns."""
        deciding = [name for name in (PROBABILITIES, INDEX) if name in self.outputs][:1]
        return list(dict.fromkeys((*deciding, *self.told, *self.warnings)))

    @cached_property
    def warnings(self) -> list[str]:
        """The outputs that are warnings."""
        return [name for name in WARNINGS if name in self.outputs]


class Tensor(Frozen):
    """An array as text: little-endian, row-major, base64."""

    dtype: Literal["bool", "uint8", "int64", "float32", "string"]
    shape: list[Annotated[int, Field(ge=0)]]
    data: str = Field(description="Base64; of strings, a JSON list of them.")

    @classmethod
    def of(cls, array: Array) -> "Tensor":
        if array.dtype == object:
            return cls(dtype="string", shape=list(array.shape), data=json.dumps(array.ravel().tolist()))
        little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        return cls.model_validate(
            {
                "dtype": array.dtype.name,
                "shape": list(array.shape),
                "data": base64.b64encode(little_endian.tobytes()).decode("ascii"),
            }
        )

    def array(self) -> Array:
        """Raises ValueError if the data does not fill the shape."""
        if self.dtype == "string":
            return np.array(json.loads(self.data), object).reshape(self.shape)
        dtype = np.dtype(self.dtype).newbyteorder("<")
        return np.frombuffer(base64.b64decode(self.data, validate=True), dtype).reshape(self.shape)


class Golden(Frozen):
    """A few inputs with the outputs that PyTorch gave; an artifact that does not reproduce them is refused."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    tolerance: dict[str, float] = Field(description="Largest absolute difference allowed, by execution provider.")


# --- demos of the lab ------------------------------------------------------------------------------------------------

Number = bool | int | float
# A number, a vector, a vector whose numbers have names, or a matrix by rows.
Numbers = Number | list[Number] | dict[str, Number] | list[list[Number]]


class Axis(Frozen):
    """How many numbers there may be along an axis that has a name; inputs that share it have equally many."""

    least: int = Field(ge=1)
    most: int


class DemoInput(Frozen):
    """What a caller may choose, within bounds."""

    name: str
    description: str
    shape: list[str] = Field(description="Its axes by name; [] is a single number.")
    default: Numbers = Field(description="An example that works; taken if nothing is sent.")
    least: float
    most: float
    whole: bool = Field(default=False, description="Whether it has to be a whole number.")
    least_norm: float = Field(default=0, description="Its Euclidean norm may not be smaller.")


class DemoOutput(Frozen):
    name: str
    description: str
    shape: list[str] = Field(description="Its axes by name; [] is a single number.")


class TensorFacts(Frozen):
    """What PyTorch records of a tensor, apart from its numbers."""

    name: str
    requires_gradient: bool = Field(description="`requires_grad`: whether it is part of what is differentiated.")
    leaf: bool = Field(description="`is_leaf`: nothing that is differentiated leads to it.")
    node: str | None = Field(description="`grad_fn`: the node that has made it and goes back over it; null for a leaf.")


class NodeFacts(Frozen):
    """A node of the graph that PyTorch goes backwards over."""

    id: int
    kind: str = Field(description="As PyTorch calls it: `MulBackward0`; `AccumulateGrad` is where a leaf's arrives.")
    leads_to: list[int] = Field(description="The nodes that it hands gradients on to.")
    tensor: str | None = Field(description="The tensor that it has made, or the leaf, if it has a name.")


class DemoExample(Frozen):
    """Inputs, and what PyTorch gave for them."""

    inputs: dict[str, Numbers]
    outputs: dict[str, Any]
    tensors: list[TensorFacts] = Field(default=[], description="Where they are others for other numbers; else empty.")


class DemoCard(Frozen):
    """What a demo says about itself."""

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    title: str
    mathematics: str
    axes: dict[str, Axis]
    inputs: list[DemoInput]
    outputs: list[DemoOutput]
    tensors: list[TensorFacts] = Field(description="Empty where they hang on the numbers: then the examples have them.")
    nodes: list[NodeFacts]
    examples: list[DemoExample] = Field(min_length=1, description="Golden rows; the first is that of the defaults.")


def write_demo(card: DemoCard) -> dict[str, str]:
    return {DEMO_KEY: card.model_dump_json()}


def read_demo_card(metadata: Mapping[str, str]) -> DemoCard | None:
    """None where there is none. Raises ValueError if it is not a valid card."""
    return _read(DemoCard, metadata, DEMO_KEY)


def are_pictures(output: Array) -> bool:
    """Whether an output is [N, height, width] of gray levels. They come from rounding: one level more or less, as
    another machine or another batch may give, is the same picture."""
    return output.dtype == np.uint8 and output.ndim == 3


def write_metadata(card: Card, golden: Golden) -> dict[str, str]:
    return {CARD_KEY: card.model_dump_json(), GOLDEN_KEY: golden.model_dump_json()}


def read_card(metadata: Mapping[str, str]) -> Card | None:
    """The card in an ONNX file's metadata, None where there is none. Raises ValueError if it is not a valid card."""
    return _read(Card, metadata, CARD_KEY)


def read_golden(metadata: Mapping[str, str]) -> Golden | None:
    """The golden rows in an ONNX file's metadata, None where there are none. Raises ValueError if they are damaged."""
    return _read(Golden, metadata, GOLDEN_KEY)


def _read(kind: type[T], metadata: Mapping[str, str], key: str) -> T | None:
    if key not in metadata:
        return None
    try:
        return kind.model_validate_json(metadata[key])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole text"
        raise ValueError(f"metadata {key!r}: {where}: {first['msg']}") from error
