"""What the service says about its models. Data for `/models`, the command line and the README's table; no HTTP."""

import json
from typing import Any
from urllib.parse import quote

from onnxruntime import NodeArg
from pydantic import BaseModel, Field

from app.card import Card, RowsInput, TextInput
from app.errors import AppError
from app.inside import GraphTable, Insides
from app.model import Model
from app.profile import Profile
from app.store import Store


class TensorFacts(BaseModel):
    name: str
    datatype: str = Field(description="As onnxruntime names it.", examples=["tensor(uint8)"])
    shape: list[int | str | None] = Field(description="A name stands for an axis of any size.")


class ModelSummary(BaseModel):
    name: str
    version: str
    versions: list[str]
    aliases: list[str] = Field(description="Other names that lead to this model.")
    title: str | None
    task: str | None
    input: str | None = Field(
        description="What it takes: `image`, `photograph`, `rows` or `text`; null for an ONNX file that is not ours."
    )
    labels: list[str]
    parameters: int | None
    metrics: dict[str, float]
    floor: dict[str, float] = Field(description="What some of them had to reach before the model was kept.")
    provider: str = Field(description="The onnxruntime execution provider that runs it.")


class RefusedArtifact(BaseModel):
    model: str
    version: str
    reason: str


class Catalogue(BaseModel):
    models: list[ModelSummary]
    aliases: dict[str, str] = Field(description="Alias → the model that answers.")
    photographs: dict[str, str] = Field(
        description="Alias → the model that answers for photographs among the pictures that are sent to it."
    )
    refused: list[RefusedArtifact] = Field(description="Artifacts that are not served, and why.")


class Batching(BaseModel):
    """Measured when the model was loaded."""

    merged: bool = Field(description="Whether rows of several callers run together while the service is busy.")
    reason: str
    milliseconds: dict[int, float] = Field(description="What so many rows take, on one thread.")


# Why the numbers stored in a graph are more, or fewer, than the learned parameters of a card.
MORE = (
    "In the graph lie constants of the preprocessing, what was computed from weights, or more networks than the one "
    "that the card counts: its description and outputs tell."
)
FEWER = "Lone numbers are not counted in the graph: a file does not tell a learned bias from a limit or a scale."


class Parameters(BaseModel):
    """How many, counted in two ways."""

    learned: int | None = Field(description="What the training has set, by the card; null without one.")
    stored: int | None = Field(
        description="Numbers stored in the graph, constants of the preprocessing included, lone ones not; null if the "
        "file cannot be read."
    )
    difference: str | None = Field(description="Why the two are not equal; null where they are, or one is not known.")


class ModelPage(BaseModel):
    """All there is to know about one model."""

    name: str
    version: str
    versions: list[str]
    aliases: list[str]
    provider: str
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]
    batching: Batching
    figures: list[str] = Field(description="Addresses of its pictures.")
    call: str | None = Field(description="A call to paste into a terminal.")
    parameters: Parameters
    graph_picture: str | None = Field(description="Address of its graph, drawn; null where that cannot be read.")
    graph: GraphTable | None = Field(
        description="The layers as the file has them, beside what the card says; null if the file cannot be read."
    )
    card: Card | None = Field(description="What the model says about itself; null for an ONNX file that is not ours.")


def catalogue(store: Store) -> Catalogue:
    return Catalogue(
        models=[summary(model, store) for model in store.newest()],
        aliases={alias: model.name for alias, model in sorted(store.aliases().items())},
        photographs={alias: model.name for alias, model in sorted(store.of_photographs.items())},
        refused=[
            RefusedArtifact(model=refused.model, version=refused.version, reason=refused.reason)
            for refused in store.refused
        ],
    )


def summary(model: Model, store: Store) -> ModelSummary:
    card = model.card
    return ModelSummary(
        name=model.name,
        version=str(model.version),
        versions=versions_of(model, store),
        aliases=aliases_of(model, store),
        title=card.title if card else None,
        task=card.task if card else None,
        input=card.input.kind if card else None,
        labels=card.labels if card else [],
        parameters=card.parameters if card else None,
        metrics=card.metrics if card else {},
        floor=card.floor if card else {},
        provider=model.provider,
    )


def model_page(model: Model, store: Store, base_url: str, graph: GraphTable | None) -> ModelPage:
    """`base_url` is where the caller reached the service, without a slash at its end."""
    name, version = quote(model.name), model.version
    address = f"{base_url}/models/{name}"
    query = "" if version == max(store.models[model.name]) else f"?version={version}"
    return ModelPage(
        name=model.name,
        version=str(model.version),
        versions=versions_of(model, store),
        aliases=aliases_of(model, store),
        provider=model.provider,
        inputs=[tensor_facts(node) for node in model.session.get_inputs()],
        outputs=[tensor_facts(node) for node in model.session.get_outputs()],
        batching=batching(model.profile),
        figures=[f"{address}/figures/{quote(figure)}{query}" for figure in model.figures],
        call=f"curl {_body(model.card)} '{base_url}/predict/{name}{query}'" if model.card else None,
        parameters=parameters_of(model.card, graph),
        graph_picture=f"{address}/graph{query}" if graph else None,
        graph=graph,
        card=model.card,
    )


def parameters_of(card: Card | None, graph: GraphTable | None) -> Parameters:
    learned, stored = card.parameters if card else None, graph.parameters if graph else None
    unequal = learned is not None and stored is not None and learned != stored
    difference = None if not unequal else MORE if (stored or 0) > (learned or 0) else FEWER
    return Parameters(learned=learned, stored=stored, difference=difference)


def graph_of(model: Model, insides: Insides) -> GraphTable | None:
    """Opens a session the first time. A file that has just been replaced is no reason to say nothing of the model that
    is still served."""
    try:
        return insides.table(model)
    except AppError:
        return None


def _body(card: Card) -> str:
    """What to send, as curl's options."""
    match card.input:
        case RowsInput(features=features):
            document: dict[str, Any] = {"rows": [[feature.example for feature in features]]}
        case TextInput(example=example):
            document = {"texts": [example]}
        case _:
            return "-F file=@picture.png"
    text = json.dumps(document, ensure_ascii=False).replace("'", "\\u0027")  # a quotation mark would end the shell's
    return f"-H 'Content-Type: application/json' -d '{text}'"


def aliases_of(model: Model, store: Store) -> list[str]:
    return [alias for alias, best in sorted(store.aliases().items()) if best is model]


def versions_of(model: Model, store: Store) -> list[str]:
    return [str(version) for version in sorted(store.models[model.name])]


def batching(profile: Profile) -> Batching:
    milliseconds = {rows: round(1_000 * seconds, 3) for rows, seconds in profile.seconds.items()}
    return Batching(merged=profile.merges, reason=profile.reason, milliseconds=milliseconds)


def tensor_facts(node: NodeArg) -> TensorFacts:
    return TensorFacts(name=node.name, datatype=node.type, shape=list(node.shape))
