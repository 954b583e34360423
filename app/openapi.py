"""The OpenAPI document, with examples that are real: what this service answers, asked when the document first is."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.card import read_golden
from app.catalogue import catalogue, model_page
from app.images import Picture
from app.model import Array, Model
from app.prediction import predictions_of
from app.store import Store

DESCRIPTION = """
Small learning systems, trained with PyTorch, exported to ONNX, served on onnxruntime, open to look inside.

Send a picture to `/predict/digits` or `/predict/clothing`; read about the models under `/models`. Every error is
`application/problem+json` (RFC 9457) and says what was wrong and what is allowed. Every response carries an
`X-Request-ID`.
"""


def describe(app: FastAPI, store: Store) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    for operation in operations(document):
        for parameter in operation.get("parameters", []):
            parameter["schema"] = _without_null(parameter["schema"])
    for (path, method), example in examples(store).items():
        content = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]
        content["example"] = example
    return document


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter of an address is given or not given; it is never null, whatever the function's annotation says."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return kinds[0] | rest if len(kinds) == 1 else schema


def examples(store: Store) -> dict[tuple[str, str], Any]:
    """What operations answer, by path and method. The model's page and the prediction are those of one alias."""
    found: dict[tuple[str, str], Any] = {
        ("/health/live", "get"): {"live": True},
        ("/models", "get"): catalogue(store).model_dump(mode="json"),
    }
    if store.models and not store.refused:  # else it answers a problem, whose example is documented with it
        found["/health/ready", "get"] = {"ready": True, "models": len(store.models)}
    for alias in sorted(store.aliases(), reverse=True)[:1]:
        model = store.find(alias)
        found["/models/{model}", "get"] = model_page(model, store, "http://127.0.0.1:8000").model_dump(mode="json")
        rows, card = golden_pixels(model), model.require_card()
        [probabilities] = model.run({"image": rows}, ["probabilities"])
        found["/predict/{model}", "post"] = {
            "model": model.name,
            "version": str(model.version),
            "predictions": predictions_of(card, probabilities, [Picture(rows[0])]),
        }
    return found


def golden_pixels(model: Model) -> Array:
    """The first of the model's golden rows, [1, H, W]."""
    golden = read_golden(model.session.get_modelmeta().custom_metadata_map)
    assert golden is not None  # a model with a card is not loaded without them
    return golden.inputs["image"].array()[:1]
