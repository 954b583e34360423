"""The OpenAPI document, with examples that are real: what this service answers, computed when the document is made."""

import importlib.metadata
from typing import Any

import numpy as np
import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.card import CLUSTERING, INPUT_NAMES, ImageInput, PhotographInput, RowsInput, read_golden
from app.catalogue import catalogue, graph_of, model_page
from app.explanation import explaining
from app.explanation_request import Wishes as ExplanationWishes
from app.guard import Guard, right_for
from app.images import fit_all
from app.inside import Insides
from app.lab import (
    activation_answer,
    approximation_answer,
    demo_answer,
    descent_answer,
    expression_answer,
    fit_answer,
    flow_answer,
)
from app.lab.activation_request import read_activation
from app.lab.approximation_request import read_approximation
from app.lab.convolution_answer import kernel_list, stages, told
from app.lab.convolution_request import read_convolution
from app.lab.demo_request import read_demo_request
from app.lab.descent_request import read_descent
from app.lab.expression_request import read_expression
from app.lab.fit_request import read_fit
from app.lab.flow_request import read_flow
from app.lab.graphs import LabGraphs
from app.membership import memberships_of, outputs_of_clustering
from app.model import Array, Model
from app.open_inference import Json, read_request, write_response
from app.photographs import fit_colours
from app.pictures import stack
from app.png import encode
from app.prediction import predictions_of
from app.problems import documented, documented_protocol
from app.protocol import model_config, model_metadata, model_ready, repository_index, server_metadata
from app.settings import Settings
from app.sheets import Wishes, predictions_of_sheets, rows_of
from app.store import Store

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
FIT, CLUSTER = "/cluster/fit", "/cluster/{model}"
FIT_EXAMPLE = {"points": [[0, 0], [0, 2], [1, 1], [6, 0], [6, 2]], "k": 2, "start": [[0, 0], [0, 2]]}
PREDICT, EXPLAIN = "/predict/{model}", "/explain/{model}"
EXPRESSION = "/gradients/expression"
TRAIN, TRAIN_EXAMPLE = "/train/{problem}", {"optimiser": "adam", "steps": 2}
ACTIVATIONS = "/gradients/activations"
ACTIVATIONS_EXAMPLE = {"function": "sigmoid", "alpha": 2, "from": -4, "to": 4, "points": 9}
FLOW_EXAMPLE = {"depth": 3, "width": 8, "samples": 16, "activations": ["sigmoid", "relu"]}
APPROXIMATION_EXAMPLE = {"curve": "abs(x - 1)", "high": 2, "points": 9, "units": [1, 2]}
CONVOLUTION = "/convolution"
CONVOLUTION_EXAMPLE = {
    "matrix": [[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9], [9, 9, 9, 9]],
    "kernel": "sobel-x",
    "padding": "same",
    "pooling": {"kind": "max", "size": 2},
}
GRADIENTS, DEMO, DEMO_SHOWN = "/gradients", "/gradients/{demo}", "first-backward-pass"
DEMO_EXAMPLE = {"inputs": {"x": [[1, 1], [1, 1]]}}
MODEL, VERSION = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
ADDRESS = "http://127.0.0.1:8000"  # as in the README
DESCRIPTION = """
Small learning systems, trained with PyTorch, exported to ONNX, served on onnxruntime, open to look inside.

Send a picture to `/predict/digits` or `/predict/clothing`, and look inside the model at work under `/explain`; find its
cluster, or those of your own points, under `/cluster`; see gradients come about under `/gradients`, of demos and of a
formula of your own, and descend by them under `/train`; convolve a matrix or a picture under `/convolution`; read about
the models under `/models`; ask any of them with tensors under `/v2` (Open Inference Protocol). Every error says what
was wrong and what is allowed, as `application/problem+json` (RFC 9457), under `/v2` as `{"error": "…"}`. Every response
carries an `X-Request-ID`.
"""


def describe(
    app: FastAPI, store: Store, lab: LabGraphs, insides: Insides, guard: Guard | None = None
) -> dict[str, Any]:
    if guard and guard.keys:
        store = Store()  # whoever may read the documentation may not always ask for the models
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    for operation in operations(document):
        for parameter in operation.get("parameters", []):
            parameter["schema"] = _without_null(parameter["schema"])
    for path, methods in document["paths"].items():
        if path.startswith("/v2"):
            # FastAPI's guess; what is wrong with a request is said with 400 there.
            for operation in methods.values():
                operation["responses"].pop("422", None)
    for path, example in request_examples(store).items():
        document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"] = example
    for (path, method), example in examples(store, lab, insides).items():
        content = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]
        content["example"] = example
    _add_predictions(document, store)
    if guard:
        _add_guard(document, guard)
    return document


def _add_guard(document: dict[str, Any], guard: Guard) -> None:
    """How to say who asks, and what is refused to whom."""
    if guard.keys:
        document["components"] = {**document.get("components", {}), "securitySchemes": SCHEMES}
    statuses = [*([401, 403] if guard.keys else []), *([429] if guard.rate else [])]
    for path, methods in document["paths"].items():
        if right_for(path) is None:
            continue
        told = documented_protocol(*statuses) if path.startswith("/v2") else documented(*statuses)
        for operation in methods.values():
            for status, each in told.items():
                operation["responses"][str(status)] = _both(operation["responses"].get(str(status)), each)
            if guard.keys:
                operation["security"] = [{scheme: []} for scheme in SCHEMES]


def _both(one: dict[str, Any] | None, other: dict[str, Any]) -> dict[str, Any]:
    """Two reasons for one status. The example is of the first."""
    return {**one, "description": f"{one['description']} {other['description']}"} if one else other


def _add_predictions(document: dict[str, Any], store: Store) -> None:
    """More examples of predictions, beside that of one picture."""
    others, model = {}, example_model(store)
    taken = model.require_card().input if model is not None else None
    if model is not None and isinstance(taken, ImageInput) and taken.centre == "mass":
        others["many"] = {
            "summary": "A picture of three digits, with many=true and top=1",
            "value": sheet_example(model),
        }
    for alias in sorted(store.of_photographs)[:1]:
        others["photograph"] = {
            "summary": f"A photograph, sent to the alias {alias!r}",
            "value": photograph_example(store.find(alias), store.of_photographs[alias]),
        }
    if others:
        content = document["paths"][PREDICT]["post"]["responses"]["200"]["content"]["application/json"]
        content["examples"] = {"one": {"summary": "A picture", "value": content.pop("example")}, **others}


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter of an address is given or not given; it is never null, whatever the function's annotation says."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return kinds[0] | rest if len(kinds) == 1 else schema


def request_examples(store: Store) -> dict[str, Any]:
    """What to send, by path: points, a row of the clustering that the examples are of, and the first golden picture of
    the model that they are of."""
    found: dict[str, Any] = {
        FIT: FIT_EXAMPLE,
        EXPRESSION: demo_answer.EXPRESSION,
        DEMO: DEMO_EXAMPLE,
        TRAIN: TRAIN_EXAMPLE,
        "/gradients/flow": FLOW_EXAMPLE,
        "/gradients/approximation": APPROXIMATION_EXAMPLE,
        CONVOLUTION: CONVOLUTION_EXAMPLE,
        ACTIVATIONS: ACTIVATIONS_EXAMPLE,
    }
    if (clustering := example_clustering(store)) is not None:
        found[CLUSTER] = {"rows": [example_row(clustering)]}
    model = example_model(store)
    if model is None:
        return found
    [pixels] = golden_pixels(model)
    entry = {"name": "image", "shape": [1, *pixels.shape], "datatype": "UINT8", "data": pixels.ravel().tolist()}
    outputs: list[Json] = [{"name": "probabilities"}, {"name": "logits", "parameters": {"classification": 3}}]
    served = [output for output in outputs if output["name"] in model.signature.outputs]
    request = {"id": "1", "inputs": [entry], "outputs": served}
    return found | {f"{MODEL}/infer": request, f"{VERSION}/infer": request}


def example_model(store: Store) -> Model | None:
    """The model that the examples are of: one that answers under an alias."""
    aliases = sorted(store.aliases(), reverse=True)
    return store.find(aliases[0]) if aliases else None


def example_clustering(store: Store) -> Model | None:
    """The first of those that cluster rows."""
    models = [model for model in store.newest() if model.card and model.card.task == CLUSTERING]
    return next((model for model in models if isinstance(model.require_card().input, RowsInput)), None)


def example_row(model: Model) -> list[float]:
    taken = model.require_card().input
    assert isinstance(taken, RowsInput)
    return [feature.example for feature in taken.features]


def examples(store: Store, lab: LabGraphs, insides: Insides) -> dict[tuple[str, str], Any]:
    """What operations answer, by path and method."""
    found: dict[tuple[str, str], Any] = {
        ("/health/live", "get"): {"live": True},
        ("/models", "get"): catalogue(store).model_dump(mode="json"),
        ("/v2", "get"): server_metadata(importlib.metadata.version("percept")),
        ("/v2/health/live", "get"): {"live": True},
        ("/v2/repository/index", "post"): repository_index(store, b'{"ready": true}'),
        (FIT, "post"): fit_answer.answer(read_fit(orjson.dumps(FIT_EXAMPLE)), lab.lloyd),
        ("/train", "get"): descent_answer.lessons(lab.descent),
        (TRAIN, "post"): descent_answer.answer(
            read_descent("rosenbrock", orjson.dumps(TRAIN_EXAMPLE), lab.descent), lab.descent
        ),
        (ACTIVATIONS, "post"): activation_answer.answer(read_activation(orjson.dumps(ACTIVATIONS_EXAMPLE))),
        (CONVOLUTION, "get"): kernel_list(),
        (CONVOLUTION, "post"): orjson.loads(
            orjson.dumps(told(stages(read_convolution(orjson.dumps(CONVOLUTION_EXAMPLE)))))
        ),
        (EXPRESSION, "post"): expression_answer.answer(read_expression(orjson.dumps(demo_answer.EXPRESSION))),
        ("/gradients/flow", "post"): flow_answer.answer(read_flow(orjson.dumps(FLOW_EXAMPLE))),
        ("/gradients/approximation", "post"): approximation_answer.answer(
            read_approximation(orjson.dumps(APPROXIMATION_EXAMPLE))
        ),
        (GRADIENTS, "get"): demo_answer.listed(lab.demos, ADDRESS),
    }
    if DEMO_SHOWN in [demo["name"] for demo in found[GRADIENTS, "get"]["demos"]]:  # else it is refused
        shown = demo_answer.answer(read_demo_request(orjson.dumps(DEMO_EXAMPLE)), lab.demos.find(DEMO_SHOWN))
        found[DEMO, "post"] = shown
    if (clustering := example_clustering(store)) is not None:
        found[CLUSTER, "post"] = cluster_example(clustering)
    if store.models and not store.refused:  # else it answers an error, whose example is documented with it
        found["/health/ready", "get"] = {"ready": True, "models": len(store.models)}
        found["/v2/health/ready", "get"] = {"live": True, "ready": True}
    model = example_model(store)
    if model is not None:
        page = model_page(model, store, ADDRESS, graph_of(model, insides))
        found["/models/{model}", "get"] = page.model_dump(mode="json")
        found[EXPLAIN, "post"] = explain_example(model, insides)
        card = model.require_card()
        answers = dict(zip(card.asked, model.run({"image": golden_pixels(model)}, card.asked), strict=True))
        found[PREDICT, "post"] = {
            "model": model.name,
            "version": str(model.version),
            "predictions": predictions_of(card, answers, [()]),
        }
        for path in (MODEL, VERSION):
            found[path, "get"] = model_metadata(model, store)
            found[f"{path}/ready", "get"] = model_ready(store, model.name, None)
            found[f"{path}/config", "get"] = model_config(model)
            found[f"{path}/infer", "post"] = infer_example(model, request_examples(store)[f"{path}/infer"])
    return found


def cluster_example(model: Model) -> Any:
    card = model.require_card()
    wanted, rows = outputs_of_clustering(card), np.array([example_row(model)], np.float32)
    answers = dict(zip(wanted, model.run({INPUT_NAMES["rows"]: rows}, wanted), strict=True))
    return {"model": model.name, "version": str(model.version), "clusters": memberships_of(card, answers, [()])}


def explain_example(model: Model, insides: Insides) -> object:
    """Of the picture that the prediction's example is of."""
    work = explaining(model, insides, ExplanationWishes(), Settings())
    return work.answer(work.read(encode(golden_pixels(model)[0])), lambda: None)


def sheet_example(model: Model) -> Any:
    card, wishes = model.require_card(), Wishes(top=1, many=True)
    assert isinstance(card.input, ImageInput)
    sheets = [fit_all(example_sheet(model), card.input)]
    batch = stack(rows_of(sheets))
    answers = dict(zip(card.asked, model.run({"image": batch}, card.asked), strict=True))
    told = predictions_of_sheets(card, answers, batch, sheets, wishes)
    return {"model": model.name, "version": str(model.version), "predictions": told}


def photograph_example(model: Model, photographs: Model) -> Any:
    """Of a golden photograph, as the alias of `model` answers it."""
    card = photographs.require_card()
    assert isinstance(card.input, PhotographInput)
    seen = fit_colours(example_photograph(photographs), card.input)
    inputs = {INPUT_NAMES[card.input.kind]: stack([seen.pixels])}
    answers = dict(zip(card.asked, photographs.run(inputs, card.asked), strict=True))
    [prediction] = predictions_of(card, answers, [seen.warnings])
    told = {"model": photographs.name, **prediction}
    return {"model": model.name, "version": str(model.version), "predictions": [told]}


def example_photograph(model: Model) -> Array:
    """The last golden one, [H, W, 3]."""
    golden = read_golden(model.session.get_modelmeta().custom_metadata_map)
    assert golden is not None  # as in golden_pixels
    [*_, last] = golden.inputs[INPUT_NAMES["photograph"]].array()
    return np.asarray(last)


def example_sheet(model: Model) -> Array:
    """The first golden pictures beside each other, [H, W]."""
    return np.hstack(list(golden_pixels(model, 3)))


def infer_example(model: Model, document: Any) -> Any:
    request = read_request(orjson.dumps(document), None, model.signature)
    outputs = model.run(request.inputs, request.output_names)
    return orjson.loads(write_response(request, outputs, model.signature).body)


def golden_pixels(model: Model, count: int = 1) -> Array:
    """The first of the model's golden rows, [count, H, W]."""
    golden = read_golden(model.session.get_modelmeta().custom_metadata_map)
    assert golden is not None  # a model with a card is not loaded without them
    return golden.inputs["image"].array()[:count]
