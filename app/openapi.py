"""The OpenAPI document, with examples that are real: they are what this service answers, asked when the document is."""

import io
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from PIL import Image

from app.card import read_golden
from app.catalogue import catalogue, model_page
from app.model import Model
from app.prediction import predict
from app.settings import Settings
from app.store import Store

DESCRIPTION = """
Small learning systems, trained with PyTorch, exported to ONNX, served on onnxruntime, open to look inside.

Send a picture to `/predict/digits` or `/predict/clothing`; read about the models under `/models`. Every error is
`application/problem+json` (RFC 9457) and says what was wrong and what is allowed. Every response carries an
`X-Request-ID`.
"""


def describe(app: FastAPI, store: Store, settings: Settings) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    for operation in operations(document):
        for parameter in operation.get("parameters", []):
            parameter["schema"] = _without_null(parameter["schema"])
    for (path, method), example in examples(store, settings).items():
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


def examples(store: Store, settings: Settings) -> dict[tuple[str, str], Any]:
    """What operations answer, by path and method. The model's page and the prediction are those of the first alias."""
    found: dict[tuple[str, str], Any] = {
        ("/health/live", "get"): {"live": True},
        ("/health/ready", "get"): {"ready": True, "models": len(store.models)},
        ("/models", "get"): catalogue(store).model_dump(mode="json"),
    }
    for alias in sorted(store.aliases(), reverse=True)[:1]:
        model = store.find(alias)
        answer = predict(model, [golden_picture(model)], settings.max_pixels)
        found["/models/{model}", "get"] = model_page(model, store, "http://127.0.0.1:8000").model_dump(mode="json")
        found["/predict/{model}", "post"] = {
            "model": model.name,
            "version": str(model.version),
            "predictions": [prediction.model_dump(mode="json", exclude_none=True) for prediction in answer.predictions],
        }
    return found


def golden_picture(model: Model) -> bytes:
    """The first of the model's golden rows as a PNG file."""
    golden = read_golden(model.session.get_modelmeta().custom_metadata_map)
    assert golden is not None  # a model with a card is not loaded without them
    file = io.BytesIO()
    Image.fromarray(golden.inputs["image"].array()[0]).save(file, "PNG")
    return file.getvalue()
