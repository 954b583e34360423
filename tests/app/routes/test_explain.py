"""POST /explain/{model}: what a model saw, what its layers gave, and what an answer rests on, against its own answers
and those of sessions made with the package `onnx`."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from fastapi.testclient import TestClient
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from app.card import Card, read_card
from app.explanation_request import ByGradient
from app.main import create_app
from app.settings import Settings
from tests.conftest import MODELS, ROOT, SAMPLES
from tests.onnx_models import (
    addition_graph,
    doubling_graph,
    graph_of,
    picking_graph,
    write_agreement,
    write_higher,
    write_model,
    write_negative,
)
from tests.problems import assert_problem

SEVEN = (SAMPLES / "seven.png").read_bytes()
PICTURED = [name for name in MODELS if name.startswith(("mnist", "fashion"))]


def explained(client: TestClient, model: str, file: bytes = SEVEN, **query: Any) -> dict[str, Any]:
    answer = client.post(f"/explain/{model}", params=query, files={"file": file})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def pixels_of(address: str) -> NDArray[np.uint8]:
    prefix, data = address.split(",")
    assert prefix == "data:image/png;base64"
    return decoded(base64.b64decode(data, validate=True))


def decoded(png: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        return np.asarray(picture)


def session_with_everything(model: str) -> ort.InferenceSession:
    made = onnx.load(ROOT / "artifacts" / model / "1" / "model.onnx")
    there = {output.name for output in made.graph.output}
    hidden = [name for node in made.graph.node for name in node.output if name not in there]
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in hidden)
    return ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])


def probabilities(client: TestClient, model: str, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """As the protocol gives them for these very pixels."""
    entry = {"name": "image", "datatype": "UINT8", "shape": list(pictures.shape), "data": pictures.ravel().tolist()}
    answer = client.post(f"/v2/models/{model}/infer", json={"inputs": [entry], "outputs": [{"name": "probabilities"}]})
    return np.array(answer.json()["outputs"][0]["data"]).reshape(len(pictures), -1)


def test_prediction_is_that_of_predict(client: TestClient) -> None:
    told = explained(client, "digits", top=3)
    predicted = client.post("/predict/digits?top=3", files={"file": SEVEN}).json()

    assert [told["prediction"]] == predicted["predictions"]
    assert (told["model"], told["version"]) == (predicted["model"], predicted["version"])
    assert list(told) == ["model", "version", "input", "prediction", "explained", "layers", "methods"]


def test_picture_that_was_turned_round_is_told_as_the_model_saw_it(client: TestClient) -> None:
    photo = (SAMPLES / "three-on-paper.jpg").read_bytes()
    told = explained(client, "mnist-cnn", photo, occlusion=False, gradients=False)
    seen = pixels_of(told["input"])
    [row] = probabilities(client, "mnist-cnn", seen[np.newaxis])

    assert seen.shape == (28, 28)
    assert told["prediction"]["warnings"][0]["code"] == "inverted"
    assert told["prediction"]["probabilities"] == pytest.approx(row.tolist(), abs=1e-6)
    assert told["methods"] == {}


def test_activations_are_those_of_a_session_made_with_onnx(client: TestClient) -> None:
    told = explained(client, "mnist-cnn", pictures=True)
    session = session_with_everything("mnist-cnn")
    names = [layer["name"] for layer in told["layers"]]
    values = session.run(names, {"image": pixels_of(told["input"])[np.newaxis]})

    assert len(names) == len(session.get_outputs()) == 16
    for layer, [value] in zip(told["layers"], values, strict=True):
        assert layer["shape"] == list(value.shape)
        assert [layer["min"], layer["max"]] == pytest.approx([value.min(), value.max()], rel=1e-6)
        assert layer["mean"] == pytest.approx(value.mean(dtype=np.float64), rel=1e-6)
        assert layer["zeros"] == pytest.approx((value == 0).mean(), rel=1e-6)
        assert "numbers" not in layer
        assert pixels_of(layer["picture"]).size >= value.size


def test_one_layer_is_told_with_its_numbers_and_its_picture(client: TestClient) -> None:
    told = explained(client, "mnist-cnn", layer="relu_1")
    [layer] = told["layers"]
    seen = {"image": pixels_of(told["input"])[np.newaxis]}
    [[value]] = session_with_everything("mnist-cnn").run(["relu_1"], seen)
    sheet = pixels_of(layer["picture"])

    assert np.array(layer["numbers"]) == pytest.approx(value, abs=1e-5)
    assert sheet.shape == (71, 71)  # 8 × 8 maps of 8 × 8 pixels, with a line between
    assert sheet[9:17, 9:17] == pytest.approx(np.rint(value[9] / value.max() * 255), abs=1)


def test_layer_is_a_picture_for_who_asks_for_one(client: TestClient) -> None:
    address = explained(client, "mnist-cnn", layer="conv2d")["layers"][0]["picture"]
    answer = client.post("/explain/mnist-cnn?layer=conv2d", files={"file": SEVEN}, headers={"Accept": "image/png"})

    assert (answer.headers["content-type"], answer.headers["vary"]) == ("image/png", "Accept")
    assert np.array_equal(decoded(answer.content), pixels_of(address))
    assert "inference" in answer.headers["server-timing"]


@pytest.mark.parametrize("name", get_args(ByGradient))
@pytest.mark.parametrize("query", [{}, {"class": "1"}])
def test_gradients_are_pictures_for_who_asks_for_one(client: TestClient, name: str, query: dict[str, str]) -> None:
    expected = explained(client, "mnist-cnn", occlusion=False, **query)["methods"]["gradients"][name]["picture"]
    answer = drawn(client, "mnist-cnn", picture=name, **query)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["vary"] == "Accept"
    assert np.array_equal(decoded(answer.content), pixels_of(expected))


def drawn(client: TestClient, model: str, **query: Any) -> Any:
    headers = {"Accept": "image/png"}
    return client.post(f"/explain/{model}", params=query, files={"file": SEVEN}, headers=headers)


@pytest.mark.parametrize("model", ["mnist-cnn", "mnist-kmeans"])
def test_occlusion_and_what_was_seen_are_pictures_for_who_asks_for_one(client: TestClient, model: str) -> None:
    told = explained(client, model, patch=6, fill=9)
    occlusion = drawn(client, model, picture="occlusion", patch=6, fill=9, occlusion=False)

    assert np.array_equal(decoded(occlusion.content), pixels_of(told["methods"]["occlusion"]["picture"]))
    assert np.array_equal(decoded(drawn(client, model, picture="input").content), pixels_of(told["input"]))
    assert explained(client, model, picture="input", patch=6, fill=9) == told


def test_pictures_that_there_are_not_are_told(client: TestClient) -> None:
    of_clusters = assert_problem(drawn(client, "mnist-kmeans", picture="gradient"), 422)
    both = assert_problem(drawn(client, "mnist-cnn", picture="gradient", layer="conv2d"), 422)
    row = {"json": {"rows": [[1, 2, 3, 4]]}, "headers": {"Accept": "image/png"}}
    of_row = assert_problem(client.post("/explain/iris-mlp?picture=input", **row), 422)  # type: ignore[arg-type]

    assert of_clusters == "model 'mnist-kmeans' has no picture 'gradient' of this; there are: input, occlusion"
    assert both == "layer is 'conv2d' and picture is 'gradient'; one picture is drawn: leave one out"
    assert of_row == "model 'iris-mlp' has no picture 'input' of this; there are: none"
    assert "query picture" in assert_problem(drawn(client, "mnist-cnn", picture="nix"), 422)


def test_numbers_of_a_large_layer_are_not_told(client: TestClient, tmp_path: Path) -> None:
    [layer] = explained(client, "mnist-kmeans", layer="permute")["layers"]

    assert layer["shape"] == [784, 64]
    assert layer["numbers"] is None
    assert layer["picture"]


def test_falls_are_those_of_pictures_occluded_by_hand(client: TestClient) -> None:
    told = explained(client, "mnist-cnn", patch=6, stride=5, fill=128)
    found, seen, index = told["methods"]["occlusion"], pixels_of(told["input"]), told["prediction"]["index"]
    places = [0, 5, 10, 15, 20, 22]
    pictures = np.stack([seen] * 36)
    for place, picture in enumerate(pictures):
        top, left = places[place // 6], places[place % 6]
        picture[top : top + 6, left : left + 6] = 128
    [whole] = probabilities(client, "mnist-cnn", seen[np.newaxis])
    covered = probabilities(client, "mnist-cnn", pictures)

    assert (found["patch"], found["stride"], found["fill"], found["output"]) == (6, 5, 128, "probabilities")
    assert found["tops"] == found["lefts"] == places
    assert found["value"] == pytest.approx(whole[index], abs=1e-6)
    assert np.array(found["falls"]).ravel() == pytest.approx(whole[index] - covered[:, index], abs=1e-6)
    assert np.ptp(found["falls"]) > 0.001


def test_map_is_brightest_where_the_answer_falls_most(client: TestClient) -> None:
    told = explained(client, "mnist-cnn", patch=7, stride=7)
    found = told["methods"]["occlusion"]
    falls, picture = np.array(found["falls"]), pixels_of(found["picture"])

    assert picture[::7, ::7].tolist() == np.rint(falls.clip(0) / falls.max() * 255).tolist()
    assert np.array_equal(picture, picture[::7, ::7].repeat(7, 0).repeat(7, 1))


@pytest.mark.parametrize("name", PICTURED)
def test_every_image_model_is_explained(client: TestClient, name: str) -> None:
    told = explained(client, name)
    found = told["methods"]["occlusion"]
    expected = {"svm": "margins", "kmeans": "distances", "autoencoder": "reconstruction_error"}
    falls = np.array(found["falls"])

    assert found["output"] == expected.get(name.split("-")[1], "probabilities")
    assert falls.shape == (13, 13)
    empty = sliding_window_view(pixels_of(told["input"]), (4, 4))[::2, ::2].max((2, 3)) == 0
    assert empty.any() and falls[empty] == pytest.approx(0, abs=1e-4)  # nothing is covered there
    assert np.abs(falls[~empty]).max() > 0
    assert [layer["name"] for layer in told["layers"]] == [
        layer["name"] for layer in client.get(f"/models/{name}").json()["graph"]["layers"]
    ]


def test_rows_and_texts_have_layers_and_no_map(client: TestClient) -> None:
    row = client.post("/explain/iris-mlp", json={"rows": [[5.9, 3.0, 4.2, 1.5]]}).json()
    text = client.post("/explain/news-mlp", json={"texts": ["The cup final."]}).json()

    assert row["input"] == [5.9, 3.0, 4.2, 1.5]
    assert row["prediction"]["label"] == "versicolor"
    assert text["input"] == "The cup final."
    assert text["prediction"]["label"] == "sport"
    assert (list(row["methods"]), list(text["methods"])) == (["features"], ["words"])
    by_name = {layer["name"]: layer for layer in text["layers"]}
    assert by_name["words"] == {
        **{"name": "words", "operation": "Gather", "shape": [10]},
        **{"min": None, "max": None, "mean": None, "zeros": None},
    }


def test_raw_bytes_are_read_too(client: TestClient) -> None:
    answer = client.post("/explain/digits", content=SEVEN, headers={"Content-Type": "image/png"})

    assert answer.json()["prediction"]["label"] == "7"


# --- another class than the answered one ------------------------------------------------------------------------------


def test_another_class_is_explained_by_its_label_or_its_index(client: TestClient) -> None:
    answered = explained(client, "mnist-cnn")
    one = explained(client, "mnist-cnn", **{"class": "1"})
    seen, patches = pixels_of(one["input"]), one["methods"]["occlusion"]
    pictures = np.stack([seen] * (1 + 169))
    for place, picture in enumerate(pictures[1:]):
        top, left = patches["tops"][place // 13], patches["lefts"][place % 13]
        picture[top : top + 4, left : left + 4] = 0
    [whole, *covered] = probabilities(client, "mnist-cnn", pictures)[:, 1]

    assert answered["explained"] == {"label": "7", "index": 7}
    assert one["explained"] == {"label": "1", "index": 1}
    assert one["prediction"] == answered["prediction"]
    assert one["layers"] == answered["layers"]
    assert patches["value"] == pytest.approx(whole, abs=1e-6)
    assert np.array(patches["falls"]).ravel() == pytest.approx(whole - np.array(covered), abs=1e-6)
    assert np.abs(patches["falls"]).max() > 1e-6
    assert one["methods"]["gradients"]["index"] == 1


def test_index_is_taken_where_no_label_is_called_so(client: TestClient) -> None:
    shoe = (SAMPLES / "ankle-boot.png").read_bytes()
    by_label, by_index = (explained(client, "clothing", shoe, **{"class": name}) for name in ("Sandal", "5"))

    assert by_label == by_index
    assert by_label["explained"] == {"label": "Sandal", "index": 5}
    assert by_label["prediction"]["label"] == "Ankle boot"


def test_features_and_words_are_of_the_class_that_is_asked_for(client: TestClient) -> None:
    row, text = [6.9, 3.1, 5.4, 2.1], "The striker scored in the cup final."
    of_row = client.post("/explain/iris-mlp?class=setosa", json={"rows": [row]}).json()
    of_text = client.post("/explain/news-mlp?class=business", json={"texts": [text]}).json()
    without = " ".join(word for word in text.split() if word != "striker")
    by_text = client.post("/predict/news-mlp", json={"texts": [text, without]}).json()["predictions"]
    petal = next(part for part in of_row["methods"]["features"]["parts"] if part["value"] == pytest.approx(5.4))
    usual = [*row[:2], *petal["replaced_by"], row[3]]
    by_row = client.post("/predict/iris-mlp", json={"rows": [row, usual]}).json()["predictions"]
    setosa = [answer["probabilities"][0] for answer in by_row]
    words = {part["name"]: part["fall"] for part in of_text["methods"]["words"]["parts"]}

    assert (of_row["explained"]["index"], of_row["prediction"]["index"]) == (0, 2)
    assert of_row["methods"]["features"]["value"] == pytest.approx(setosa[0], abs=1e-6)
    assert petal["fall"] == pytest.approx(setosa[0] - setosa[1], abs=1e-6)
    assert (of_text["explained"]["label"], of_text["prediction"]["label"]) == ("business", "sport")
    business = [answer["probabilities"][0] for answer in by_text]
    assert words["striker"] == pytest.approx(business[0] - business[1], abs=1e-6)


def test_another_cluster_is_explained_by_its_distance(client: TestClient) -> None:
    told = client.post("/explain/tshirt-kmeans?class=XL", json={"rows": [[165, 58]]}).json()
    entry = {"name": "rows", "datatype": "FP32", "shape": [1, 2], "data": [165, 58]}
    asked = {"inputs": [entry], "outputs": [{"name": "distances"}]}
    distances = client.post("/v2/models/tshirt-kmeans/infer", json=asked).json()["outputs"][0]["data"]

    assert told["explained"]["label"] == "XL" != told["prediction"]["label"]
    assert told["methods"]["features"]["value"] == pytest.approx(distances[told["explained"]["index"]], rel=1e-6)


@pytest.mark.parametrize(
    ("model", "body", "name", "detail"),
    [
        ("mnist-cnn", SEVEN, "10", 'class is "10"; allowed is 0 to 9, or a label: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9'),
        ("iris-mlp", [6, 3, 5, 2], "-1", 'class is "-1"; allowed is 0 to 2, or a label: setosa, versicolor, virginica'),
        ("iris-mlp", [6, 3, 5, 2], "9" * 5_000, f'class is "{"9" * 39}…; allowed is 0 to 2'),
        ("iris-mlp", [6, 3, 5, 2], "", 'class is ""; allowed is 0 to 2'),
        ("mnist-kmeans", SEVEN, "0", None),
        ("mnist-kmeans", SEVEN, "seven", "0 (cluster 0), "),
        (
            "mnist-autoencoder",
            SEVEN,
            "digit",
            "class is \"digit\"; model 'mnist-autoencoder' has one number, reconstruction_error, for all of them: "
            "leave class out, its answer is explained",
        ),
        ("blobs-svm", [0, 0], "2", 'class is "2"; allowed is 0 to 1, or a label: 0, 1'),
    ],
)
def test_classes_that_there_are_not_are_told(
    client: TestClient, model: str, body: Any, name: str, detail: str | None
) -> None:
    sent: Any = {"files": {"file": body}} if isinstance(body, bytes) else {"json": {"rows": [body]}}
    answer = client.post(f"/explain/{model}", params={"class": name}, **sent)

    if detail is None:
        assert answer.json()["explained"]["index"] == 0
    else:
        assert detail in assert_problem(answer, 422)


def test_model_without_classes_explains_its_answer(client: TestClient) -> None:
    assert explained(client, "mnist-autoencoder")["explained"] is None


def blobs_margin(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """w·x + b, by the numbers on the card."""
    metrics = card_of("blobs-svm").metrics
    return np.asarray(rows @ [metrics["weight_x1"], metrics["weight_x2"]] + metrics["bias"])


def moons_margin(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ c·exp(−γ|x − s|²) + b, by the weights in the file and γ on the card."""
    made = onnx.load(ROOT / "artifacts" / "moons-svm" / "1" / "model.onnx")
    weights = {each.name: onnx.numpy_helper.to_array(each).astype(float) for each in made.graph.initializer}
    squares = ((rows[:, None] - weights["support_vectors"]) ** 2).sum(2)
    kernel = np.exp(-card_of("moons-svm").metrics["gamma"] * squares)
    return np.asarray(kernel @ weights["coefficients"] + weights["bias"])


def card_of(name: str) -> Card:
    made = onnx.load(ROOT / "artifacts" / name / "1" / "model.onnx")
    card = read_card({each.key: each.value for each in made.metadata_props})
    assert card is not None
    return card


@pytest.mark.parametrize(
    ("model", "margin", "row", "answered"),
    [
        ("blobs-svm", blobs_margin, [3.0, 3.2], 0),
        ("blobs-svm", blobs_margin, [1.0, 0.5], 1),
        ("moons-svm", moons_margin, [-0.5, 1.0], 0),
        ("moons-svm", moons_margin, [1.5, -0.6], 1),
    ],
)
def test_margin_that_decides_between_two_falls_towards_the_other_class(
    client: TestClient,
    model: str,
    margin: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    row: Any,
    answered: int,
) -> None:
    of_answer = client.post(f"/explain/{model}", json={"rows": [row]}).json()
    of_other = client.post(f"/explain/{model}?class={1 - answered}", json={"rows": [row]}).json()
    [found, other] = [each["methods"]["features"] for each in (of_answer, of_other)]
    parts, others = ({part["name"]: part for part in each["parts"]} for each in (found, other))
    [x1], [x2] = (parts[name]["replaced_by"] for name in ("x1", "x2"))
    whole, without_x1, without_x2 = margin(np.array([row, [x1, row[1]], [row[0], x2]]))
    towards = 1 if answered else -1

    assert of_answer["prediction"]["index"] == answered
    assert of_answer["explained"] == {"label": str(answered), "index": answered}
    assert of_other["explained"] == {"label": str(1 - answered), "index": 1 - answered}
    assert found["value"] == other["value"] == pytest.approx(whole, abs=1e-4)
    assert parts["x1"]["fall"] == pytest.approx(towards * (whole - without_x1), abs=1e-4)
    assert parts["x2"]["fall"] == pytest.approx(towards * (whole - without_x2), abs=1e-4)
    assert {name: -part["fall"] for name, part in parts.items()} == {
        name: part["fall"] for name, part in others.items()
    }


def test_what_alone_speaks_for_the_first_class_has_a_positive_fall(client: TestClient) -> None:
    """(3, 3.2) lies high, where blob 0 is, and far to the right, where blob 1 is."""
    parts = client.post("/explain/blobs-svm", json={"rows": [[3.0, 3.2]]}).json()["methods"]["features"]["parts"]
    falls = {part["name"]: part["fall"] for part in parts}

    assert falls["x2"] > 0 > falls["x1"]


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("patch=29", 422, "patch is 29; allowed is 1 to 28, the shorter side of what the model sees"),
        ("patch=1", 422, "a patch of 1 with a stride of 1 has 784 positions; at most 400 are allowed"),
        ("patch=0", 422, "query patch"),
        ("fill=256", 422, "query fill"),
        ("stride=9", 422, "stride is 9; allowed is 1 to 4"),
        ("layer=nix", 404, "model 'mnist-cnn' has no layer 'nix'; there are: _to_copy, div, "),
        ("version=9", 404, "has no version 9"),
        ("top=0", 422, "query top"),
    ],
)
def test_parameters_out_of_range_are_told(client: TestClient, query: str, status: int, detail: str) -> None:
    answer = client.post(f"/explain/mnist-cnn?{query}", files={"file": SEVEN})

    assert detail in assert_problem(answer, status)


def test_bodies_that_cannot_be_explained_are_told(client: TestClient) -> None:
    two = client.post("/explain/digits", files=[("file", SEVEN), ("file", SEVEN)])
    rows = client.post("/explain/iris-mlp", json={"rows": [[1, 2, 3, 4]] * 2})

    assert assert_problem(two, 422) == "the form has 2 files; one picture is explained at a time"
    assert "the file is not an image" in assert_problem(client.post("/explain/digits", files={"file": b"text"}), 422)
    assert "takes pictures" in assert_problem(client.post("/explain/digits", json={"rows": [[1]]}), 415)
    assert "takes rows" in assert_problem(client.post("/explain/iris-mlp", files={"file": SEVEN}), 415)
    assert "rows has 2 entries; at most 1" in assert_problem(rows, 413)


def test_picture_without_a_layer_or_numbers_is_refused(client: TestClient) -> None:
    headers = {"Accept": "image/png"}
    none = client.post("/explain/mnist-mlp", files={"file": SEVEN}, headers=headers)
    words = client.post("/explain/news-mlp?layer=words", json={"texts": ["cup"]}, headers=headers)

    assert assert_problem(none, 422).startswith(
        "a picture is of one layer: say which by ?layer=; there are: _to_copy, "
    )
    assert assert_problem(words, 422) == "layer 'words' gives no numbers that could be drawn"


def test_damaged_picture_that_is_large_is_told_from_its_thread(client: TestClient) -> None:
    file = io.BytesIO()
    Image.effect_noise((900, 900), 80).save(file, "PNG")
    answer = client.post("/explain/digits", files={"file": file.getvalue()[:-50_000]})

    assert "the file is damaged or truncated" in assert_problem(answer, 422)


def test_deadline_ends_it(client: TestClient) -> None:
    answer = client.post("/explain/mnist-cnn", files={"file": SEVEN}, headers={"X-Request-Timeout-Ms": "1"})

    assert "was over before the answer was computed" in assert_problem(answer, 504)


def test_is_counted_beside_the_models_predictions(client: TestClient) -> None:
    explained(client, "mnist-lenet")

    assert 'model="explain/mnist-lenet"' in client.get("/metrics").text


# --- other models -----------------------------------------------------------------------------------------------------


def wide_graph(width: int = 1_000_000, layers: int = 3) -> onnx.ModelProto:
    """x [batch, 1] → h1 [batch, width], the same everywhere, and so on to y."""
    names, floats = [*(f"h{place}" for place in range(1, layers + 1)), "y"], onnx.TensorProto.FLOAT
    nodes = [onnx.helper.make_node("Expand", ["x", "shape"], ["h1"])]
    nodes += [onnx.helper.make_node("Abs", [each], [following]) for each, following in pairwise(names)]
    shape = np.array([1, width])
    return graph_of(nodes, {"x": (floats, ["batch", 1])}, {"y": (floats, ["batch", width])}, shape=shape)


def spread_graph() -> onnx.ModelProto:
    """n [1] → so many ones, and their sum."""
    one = onnx.numpy_helper.from_array(np.ones(1, np.float32))
    nodes = [
        onnx.helper.make_node("ConstantOfShape", ["n"], ["ones"], value=one),
        onnx.helper.make_node("ReduceSum", ["ones"], ["y"], keepdims=0),
    ]
    return graph_of(nodes, {"n": (onnx.TensorProto.INT64, [1])}, {"y": (onnx.TensorProto.FLOAT, [])})


def channelled_graph() -> onnx.ModelProto:
    """x [1, 2, 4, 6] → [1, 2]: the sum of the first channel and the sum of the second, less 3."""
    shape = {"x": (onnx.TensorProto.FLOAT, [1, 2, 4, 6])}
    nodes = [
        onnx.helper.make_node("ReduceSum", ["x", "axes"], ["sums"], keepdims=0),
        onnx.helper.make_node("Sub", ["sums", "less"], ["y"]),
    ]
    constants = {"axes": np.array([2, 3]), "less": np.array([0, 3], np.float32)}
    return graph_of(nodes, shape, {"y": (onnx.TensorProto.FLOAT, [1, 2])}, **constants)


def without_card(name: str) -> onnx.ModelProto:
    made = onnx.load(ROOT / "artifacts" / name / "1" / "model.onnx")
    del made.metadata_props[:]
    return made


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("artifacts")
    write_negative(folder)
    write_higher(folder)
    write_agreement(folder)
    write_model(folder, doubling_graph(), "bare")
    write_model(folder, picking_graph(), "picking")
    write_model(folder, toy_graph(), "toy")
    write_model(folder, addition_graph(), "addition")
    write_model(folder, wide_graph(), "wide")
    write_model(folder, wide_graph(100_000, 40), "deep")
    write_model(folder, spread_graph(), "spread")
    write_model(folder, channelled_graph(), "channelled")
    write_model(folder, without_card("mnist-lenet"), "lenet")
    with TestClient(create_app(Settings(artifacts=folder))) as client:
        yield client


def test_smallest_pictures_are_explained(others: TestClient) -> None:
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 255], [7, 130]], np.uint8)).save(file, "PNG")
    told = explained(others, "negative", file.getvalue())
    found, seen = told["methods"]["occlusion"], pixels_of(told["input"])
    share = seen.sum(dtype=float) / 4 / 255

    assert told["prediction"]["probabilities"] == pytest.approx([1 - share, share], abs=1e-6)
    sign = 1 if told["prediction"]["index"] else -1
    assert np.array(found["falls"]) == pytest.approx(sign * (seen / 4 / 255), abs=1e-6)


def test_models_of_rows_and_texts_are_explained(others: TestClient) -> None:
    assert others.post("/explain/higher", json={"rows": [[1, 3]]}).json()["prediction"]["label"] == "right"
    assert others.post("/explain/agreement", json={"texts": ["yes"]}).json()["prediction"]["label"] == "yes"


def test_model_without_a_card_is_explained_by_tensors(others: TestClient) -> None:
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, -0.5]}
    told = others.post("/explain/bare?layer=y", json={"inputs": [entry]}).json()

    assert (told["input"], told["prediction"], told["explained"], told["methods"]) == (None, None, None, {})
    [layer] = told["layers"]
    assert (layer["shape"], layer["numbers"]) == ([3], [2.0, 4.0, -1.0])
    assert (layer["min"], layer["max"], layer["zeros"]) == (-1, 4, 0)


@pytest.mark.parametrize("query", [{}, {"class": "1"}, {"patch": 6, "stride": 5, "fill": 128}])
def test_graph_without_its_card_rests_on_what_the_model_rests_on(
    client: TestClient, others: TestClient, query: dict[str, Any]
) -> None:
    told = explained(client, "mnist-lenet", gradients=False, **query)
    seen = pixels_of(told["input"])
    entry = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": seen.ravel().tolist()}
    bare = others.post("/explain/lenet", params=query, json={"inputs": [entry]}).json()
    ours, theirs = told["methods"]["occlusion"], bare["methods"]["occlusion"]

    headers = {"Accept": "image/png"}
    address = "/explain/lenet"
    alone = others.post(address, params=query | {"picture": "occlusion"}, json={"inputs": [entry]}, headers=headers)
    assert np.array_equal(decoded(alone.content), pixels_of(theirs["picture"]))
    assert np.array(theirs.pop("falls")) == pytest.approx(np.array(ours.pop("falls")), abs=1e-6)
    assert theirs.pop("value") == pytest.approx(ours.pop("value"), abs=1e-6)
    assert pixels_of(theirs.pop("picture")) == pytest.approx(pixels_of(ours.pop("picture")), abs=1)
    assert theirs == ours and theirs["output"] == "probabilities"
    assert (bare["prediction"], bare["input"]) == (None, None)
    assert bare["explained"] == {"label": str(told["explained"]["index"]), "index": told["explained"]["index"]}


def test_tensor_of_channels_is_covered_patch_by_patch(others: TestClient) -> None:
    """A graph that takes one at a time; each channel's sum falls by what was under the patch."""
    x = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 2, 4, 6], "data": x.ravel().tolist()}
    for place in (0, 1):
        query = {"class": place, "patch": 2, "stride": 2, "fill": 1}
        told = others.post("/explain/channelled", params=query, json={"inputs": [entry]}).json()
        found = told["methods"]["occlusion"]
        under = sliding_window_view(x[place], (2, 2))[::2, ::2].sum((2, 3))

        assert (found["output"], found["tops"], found["lefts"]) == ("y", [0, 2], [0, 2, 4])
        assert found["value"] == pytest.approx(x[place].sum() - 3 * place, abs=1e-5)
        assert np.array(found["falls"]) == pytest.approx(under - 4, abs=1e-5)
    answered = others.post("/explain/channelled", json={"inputs": [entry]}).json()
    assert answered["explained"]["index"] == int(x[0].sum() < x[1].sum() - 3)
    left_out = others.post("/explain/channelled?occlusion=false&class=1", json={"inputs": [entry]}).json()
    assert (left_out["methods"], left_out["explained"]) == ({}, {"label": "1", "index": 1})


def test_tensor_without_a_finite_answer_rests_on_nothing(others: TestClient) -> None:
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 2, 4, 6], "data": [3e38] * 48}
    told = others.post("/explain/channelled", json={"inputs": [entry]}).json()

    assert told["methods"] == {} and told["explained"] is None


def test_classes_of_a_tensor_are_numbers_of_its_output(others: TestClient) -> None:
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 2, 4, 6], "data": [1] * 48}
    answer = others.post("/explain/channelled?class=2", json={"inputs": [entry]})

    assert assert_problem(answer, 422) == "class is \"2\"; allowed is 0 to 1, a place in 'y'"


@pytest.mark.parametrize(
    ("model", "entry", "detail"),
    [
        ("bare", {"name": "x", "datatype": "FP32", "shape": [0, 3], "data": []}, "no rows; 1 to 64 are allowed"),
        ("bare", {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1] * 4}, "input 'x' has shape [1, 4]"),
        ("bare", {"name": "z", "datatype": "FP32", "shape": [1, 3], "data": [1] * 3}, "'z'"),
        (
            "picking",
            {"name": "index", "datatype": "INT64", "shape": [1, 1], "data": [9]},
            "'picking' cannot answer this",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_told(others: TestClient, model: str, entry: Any, detail: str) -> None:
    answer = others.post(f"/explain/{model}", json={"inputs": [entry]})

    assert detail in assert_problem(answer, 422)


# The course's toy network: 3 → 2 ReLU → 3 ReLU → 4.
SIZES = (3, 2, 3, 4)


def toy_weights() -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    generator = np.random.default_rng(0)
    return [
        (generator.normal(size=pair).astype("f4"), generator.normal(size=pair[1]).astype("f4"))
        for pair in pairwise(SIZES)
    ]


def toy_graph() -> onnx.ModelProto:
    """x [batch, 3] → linear, relu, linear_1, relu_1, y [batch, 4]."""
    nodes, constants, last = [], dict[str, NDArray[np.float32]](), "x"
    for place, (weight, bias) in enumerate(toy_weights()):
        constants |= {f"w{place}": weight, f"b{place}": bias}
        linear = ["linear", "linear_1", "y"][place]
        nodes.append(onnx.helper.make_node("Gemm", [last, f"w{place}", f"b{place}"], [linear]))
        if linear != "y":
            last = linear.replace("linear", "relu")
            nodes.append(onnx.helper.make_node("Relu", [linear], [last]))
    floats = onnx.TensorProto.FLOAT
    return graph_of(nodes, {"x": (floats, ["batch", 3])}, {"y": (floats, ["batch", 4])}, **constants)


def test_toy_network_is_explained_for_several_rows(others: TestClient) -> None:
    """Forwards through ones(3, 3), as NumPy does it; every layer keeps the axis that counts rows."""
    entry = {"name": "x", "datatype": "FP32", "shape": [3, 3], "data": [1] * 9}
    told = others.post("/explain/toy", json={"inputs": [entry]}).json()
    value, expected = np.ones((3, 3), np.float32), {}
    for place, (weight, bias) in enumerate(toy_weights()):
        value = expected[["linear", "linear_1", "y"][place]] = value @ weight + bias
        if place < 2:
            value = expected[["relu", "relu_1"][place]] = np.maximum(value, 0)

    assert (
        [layer["name"] for layer in told["layers"]] == list(expected) == ["linear", "relu", "linear_1", "relu_1", "y"]
    )
    assert [layer["shape"] for layer in told["layers"]] == [[3, 2], [3, 2], [3, 3], [3, 3], [3, 4]]
    for layer in told["layers"]:
        values = expected[layer["name"]]
        ends = [values.min(), values.max(), values.mean(), (values == 0).mean()]
        assert [layer["min"], layer["max"], layer["mean"], layer["zeros"]] == pytest.approx(ends, abs=1e-6)
        alone = others.post(f"/explain/toy?layer={layer['name']}", json={"inputs": [entry]}).json()
        assert np.array(alone["layers"][0]["numbers"]) == pytest.approx(values, abs=1e-6)
        assert pixels_of(alone["layers"][0]["picture"]).shape == values.shape


def test_toy_network_is_read_in_one_call(client: TestClient) -> None:
    """The committed one, on ones(3, 3): each layer's numbers are onnxruntime's."""
    entry = {"name": "x", "datatype": "FP32", "shape": [3, 3], "data": [1] * 9}
    layers = client.post("/explain/toy-network?numbers=true", json={"inputs": [entry]}).json()["layers"]
    session = session_with_everything("toy-network")
    expected = session.run([layer["name"] for layer in layers], {"x": np.ones((3, 3), np.float32)})

    assert [layer["shape"] for layer in layers] == [[3, 2], [3, 2], [3, 3], [3, 3], [3, 4]]
    for layer, values in zip(layers, expected, strict=True):
        assert np.array(layer["numbers"]) == pytest.approx(values, abs=1e-6)
        assert "picture" not in layer


def test_numbers_of_all_layers_are_those_of_each(client: TestClient) -> None:
    row = {"rows": [[5.9, 3.0, 4.2, 1.5]]}
    told = client.post("/explain/iris-mlp?numbers=true", json=row).json()
    one = client.post("/explain/iris-mlp?layer=logits", json=row).json()["layers"][0]

    assert all(np.shape(layer["numbers"]) == tuple(layer["shape"]) for layer in told["layers"])
    [logits] = [layer for layer in told["layers"] if layer["name"] == "logits"]
    assert logits["numbers"] == one["numbers"]


def test_numbers_of_all_layers_are_bounded_together(client: TestClient, others: TestClient) -> None:
    """By their shapes, or, where no shape foretells them, as they come."""
    answer = client.post("/explain/mnist-cnn?numbers=true", files={"file": SEVEN})
    numbers = sum(np.prod(layer["shape"], dtype=int) for layer in explained(client, "mnist-cnn")["layers"])
    one = client.post("/explain/mnist-cnn?numbers=true&layer=logits", files={"file": SEVEN})
    entries = [{"name": "n", "datatype": "INT64", "shape": [1], "data": [size]} for size in (25_999, 26_000)]
    most, more = (others.post("/explain/spread?numbers=true", json={"inputs": [entry]}) for entry in entries)

    assert assert_problem(answer, 422) == (
        f"the layers of model 'mnist-cnn' give {numbers:,} numbers or more for this; with ?numbers=true at most 26,000 "
        "are told: send fewer rows, or ask for one layer by ?layer="
    )
    assert len(one.json()["layers"][0]["numbers"]) == 10
    assert sum(np.size(layer["numbers"]) for layer in most.json()["layers"]) == 26_000
    assert "give 26,001 numbers or more" in assert_problem(more, 422)


@pytest.mark.parametrize(("rows", "status"), [(64, 200), (65, 413)])
def test_rows_are_bounded(others: TestClient, rows: int, status: int) -> None:
    entry = {"name": "x", "datatype": "FP32", "shape": [rows, 3], "data": [1] * 3 * rows}
    answer = others.post("/explain/toy", json={"inputs": [entry]})

    assert answer.status_code == status
    if status == 413:
        assert assert_problem(answer, 413) == "the inputs have 65 rows; at most 64 are explained at once"


def test_inputs_with_different_numbers_of_rows_are_told(others: TestClient) -> None:
    entries = [
        {"name": name, "datatype": "FP32", "shape": [rows, 2], "data": [1] * 2 * rows}
        for name, rows in (("a", 1), ("b", 2))
    ]
    answer = others.post("/explain/addition", json={"inputs": entries})

    assert "the inputs have 1, 2 rows; equally many are allowed in all" in assert_problem(answer, 422)


def test_input_that_may_be_left_out_has_no_rows(others: TestClient) -> None:
    entries = [
        {"name": name, "datatype": "FP32", "shape": shape, "data": data}
        for name, shape, data in (("a", [2, 2], [1] * 4), ("b", [2, 2], [2] * 4), ("bias", [1], [3]))
    ]
    layers = others.post("/explain/addition", json={"inputs": entries}).json()["layers"]

    assert [(layer["shape"], layer["max"]) for layer in layers] == [([2, 2], 3), ([2, 2], 6), ([2, 2], 2)]


def test_layers_of_a_large_model_are_told_one_by_one(others: TestClient) -> None:
    """Four layers of a million numbers in a row."""
    wide = {"name": "x", "datatype": "FP32", "shape": [3, 1], "data": [1, 2, 3]}
    most = "at most 8,000,000 are looked at: send fewer rows"
    all_of_it = others.post("/explain/wide", json={"inputs": [wide]})
    one = others.post("/explain/wide?layer=h2", json={"inputs": [wide]}).json()
    many = wide | {"shape": [9, 1], "data": [1] * 9}
    too_many = others.post("/explain/wide?layer=h2", json={"inputs": [many]})

    assert assert_problem(all_of_it, 422) == (
        f"the 4 layers of model 'wide' together give 12,000,000 numbers for this; {most}, "
        "or ask for one layer by ?layer="
    )
    assert (one["layers"][0]["shape"], one["layers"][0]["mean"]) == ([3, 1_000_000], 2.0)
    assert assert_problem(too_many, 422) == f"that layer gives 9,000,000 numbers for this; {most}"
    few = others.post("/explain/wide", json={"inputs": [wide | {"shape": [2, 1], "data": [1, 2]}]}).json()
    assert [layer["max"] for layer in few["layers"]] == [2, 2, 2, 2]


def test_pictures_of_many_layers_are_small(others: TestClient) -> None:
    """Forty layers of 100,000 numbers share the pixels of five."""
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}
    layers = others.post("/explain/deep?pictures=true", json={"inputs": [entry]}).json()["layers"]
    one = others.post("/explain/deep?layer=y", json={"inputs": [entry]}).json()["layers"][0]

    assert len(layers) == 41
    assert sum(pixels_of(layer["picture"]).size for layer in layers) <= 1.1 * 2_000_000
    assert pixels_of(one["picture"]).size >= 100_000


def test_numbers_that_no_shape_foretells_are_counted(others: TestClient) -> None:
    """As many as the input says, which is not known before the graph has run."""
    entry = {"name": "n", "datatype": "INT64", "shape": [1], "data": [9_000_000]}
    answer = others.post("/explain/spread", json={"inputs": [entry]})

    assert "give 9,000,001 numbers for this" in assert_problem(answer, 422)


def test_model_without_a_card_has_no_classes(others: TestClient) -> None:
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, -0.5]}
    answer = others.post("/explain/bare?class=0", json={"inputs": [entry]})

    assert assert_problem(answer, 422) == "class is \"0\"; model 'bare' has no card, so no classes are known"


def test_model_without_a_card_takes_no_pictures(others: TestClient) -> None:
    answer = others.post("/explain/bare", files={"file": SEVEN})

    assert assert_problem(answer, 415) == "model 'bare' takes tensors: send JSON, {\"inputs\": […]}, as under /v2"


def test_model_without_a_card_has_its_layers(others: TestClient) -> None:
    page = others.get("/models/bare").json()
    assert page["card"] is None
    assert page["graph"] == {
        "layers": [
            {
                **{"name": "y", "operation": "Add", "step": 0, "inputs": ["x"], "output_shape": ["batch", 3]},
                **{"parameters": 0, "weights": {}},
            },
        ],
        "parameters": 0,
        "operations": {"Add": 1},
        "note": None,
    }


def test_features_fall_by_what_the_model_answers_with_their_usual_value(client: TestClient) -> None:
    row = [6.9, 3.1, 5.4, 2.1]
    told = client.post("/explain/iris-mlp", json={"rows": [row]}).json()
    features = client.get("/models/iris-mlp").json()["card"]["input"]["features"]
    index = told["prediction"]["index"]
    parts = told["methods"]["features"]["parts"]
    replaced = [[*row[:at], *feature["usual"], *row[at + 1 :]] for at, feature in enumerate(features)]
    answers = client.post("/predict/iris-mlp", json={"rows": [row, *replaced]}).json()["predictions"]
    whole, *others = [answer["probabilities"][index] for answer in answers]

    assert told["methods"]["features"]["value"] == pytest.approx(whole, abs=1e-6)
    assert [abs(part["fall"]) for part in parts] == sorted((abs(part["fall"]) for part in parts), reverse=True)
    by_name = {part["name"]: part for part in parts}
    for feature, value, other in zip(features, row, others, strict=True):
        part = by_name[feature["name"]]
        assert part["fall"] == pytest.approx(whole - other, abs=1e-6)
        assert (part["value"], part["replaced_by"]) == (pytest.approx(value), feature["usual"])
        assert part["replacement"] == "mean"


# Several spellings of one word, punctuation about them, and words within words.
ARTICLE = (
    "Cup final: the STRIKER scored twice. The striker's cup-winning goal, \u201cmy best\u201d, came late; Striker and "
    "coach lifted the cup (the Cup!). A cupboard of cups awaits \u2014 goals, cup ties, 1 more final."
)


def words_fallen(client: TestClient, text: str) -> dict[str, Any]:
    told = client.post("/explain/news-mlp", json={"texts": [text]}).json()
    return {part["name"]: part for part in told["methods"]["words"]["parts"]}


def sport_of(client: TestClient, *texts: str) -> list[float]:
    predictions = client.post("/predict/news-mlp", json={"texts": texts}).json()["predictions"]
    return [prediction["probabilities"][3] for prediction in predictions]


def test_all_spellings_of_a_word_are_left_out_together(client: TestClient) -> None:
    [part] = words_fallen(client, "Cup cup cup, CUP.").values()
    whole, empty = sport_of(client, "Cup cup cup, CUP.", "")

    assert part["fall"] == pytest.approx(whole - empty, abs=1e-6) and part["fall"] > 0.3
    assert (part["name"], part["spellings"], part["times"]) == ("cup", ["Cup", "cup", "CUP"], 4)
    assert part["places"] == [[0, 3], [4, 7], [8, 11], [13, 16]]


def test_words_fall_by_what_the_model_answers_without_them(client: TestClient) -> None:
    parts = words_fallen(client, ARTICLE)
    letters = re.findall(r"[a-z]+", ARTICLE.lower())
    words = [word for word in dict.fromkeys(letters) if len(word) > 1]
    texts = [" ".join(each for each in letters if each != word) for word in words]
    whole, *others = sport_of(client, ARTICLE, *texts)

    assert set(words) <= set(parts)
    for word, other in zip(words, others, strict=True):
        assert parts[word]["fall"] == pytest.approx(whole - other, abs=1e-6)
        assert parts[word]["times"] == letters.count(word)
        assert parts[word]["spellings"] == list(
            dict.fromkeys(ARTICLE[start:end] for start, end in parts[word]["places"])
        )
    assert parts["striker"]["spellings"] == ["STRIKER", "striker", "Striker"]
    assert parts["cup"]["times"] == 5
    assert [abs(part["fall"]) for part in parts.values()] == sorted(
        (abs(part["fall"]) for part in parts.values()), reverse=True
    )
    assert client.post("/explain/news-mlp?occlusion=false", json={"texts": [ARTICLE]}).json()["methods"] == {}


def test_places_and_spellings_of_a_word_are_bounded(client: TestClient) -> None:
    cases = ["".join(each) for each in product("cC", "uU", "pP", "sS")]
    [part] = words_fallen(client, " ".join(cases * 10)).values()

    assert (len(part["spellings"]), part["times"], len(part["places"])) == (10, 160, 100)


@pytest.mark.parametrize(
    "model",
    [
        "iris-mlp",
        "blobs-svm",
        "moons-svm",
        "players-kmeans",
        "tshirt-kmeans",
        "xor-mlp",
        "xor-sigmoid",
        "frozenlake-dqn",
    ],
)
def test_examples_of_the_cards_rest_on_something(client: TestClient, model: str) -> None:
    card = client.get(f"/models/{model}").json()["card"]
    row = [feature["example"] for feature in card["input"]["features"]]
    methods = client.post(f"/explain/{model}", json={"rows": [row]}).json()["methods"]

    assert max(abs(part["fall"]) for part in methods["features"]["parts"]) > 0.001
    assert "example" not in [part["replacement"] for part in methods["features"]["parts"]]


def test_value_that_is_one_of_two_is_replaced_by_the_other(client: TestClient) -> None:
    [told] = client.post("/predict/xor-mlp", json={"rows": [[1, 1]]}).json()["predictions"]
    [turned] = client.post("/predict/xor-mlp", json={"rows": [[1, 0]]}).json()["predictions"]
    parts = client.post("/explain/xor-mlp", json={"rows": [[1, 1]]}).json()["methods"]["features"]["parts"]
    between = client.post("/explain/xor-mlp", json={"rows": [[1, 0.5]]}).json()["methods"]["features"]["parts"]
    b = next(part for part in parts if part["name"] == "b")

    assert (b["replaced_by"], b["replacement"]) == ([0.0], "others")
    assert (
        b["fall"] == pytest.approx(told["probabilities"][0] - turned["probabilities"][0], abs=1e-6) and b["fall"] > 0.9
    )
    assert {part["name"]: part["replaced_by"] for part in between} == {"a": [0.0], "b": [0.0, 1.0]}


def test_choice_falls_by_the_mean_of_all_others(client: TestClient) -> None:
    rows = [[state] for state in range(16)]
    predictions = client.post("/predict/frozenlake-dqn", json={"rows": rows}).json()["predictions"]
    told = client.post("/explain/frozenlake-dqn", json={"rows": [[14]]}).json()
    values = np.array([each["outputs"]["q_values"][told["prediction"]["index"]] for each in predictions])
    [part] = told["methods"]["features"]["parts"]

    assert part["replaced_by"] == [state for state in range(16) if state != 14]
    assert part["fall"] == pytest.approx(values[14] - np.delete(values, 14).mean(), abs=1e-6) and part["fall"] > 0.1


def test_feature_without_a_usual_value_is_replaced_by_the_example_and_says_so(others: TestClient) -> None:
    parts = others.post("/explain/higher", json={"rows": [[1, 2.5]]}).json()["methods"]["features"]["parts"]
    by_name = {part["name"]: part for part in parts}

    assert [by_name["right"][key] for key in ("replaced_by", "replacement", "fall")] == [[2.5], "example", 0.0]


def test_distances_and_errors_are_worse_where_they_grow(client: TestClient) -> None:
    """Covering the ink of a 7 takes it away from the middle of its cluster."""
    told = explained(client, "mnist-kmeans", gradients=False)
    falls, seen = told["methods"]["occlusion"], pixels_of(told["input"]).astype(int)
    ink = sliding_window_view(seen, (falls["patch"], falls["patch"])).sum((2, 3))
    by_patch = {
        (top, left): fall
        for top, row in zip(falls["tops"], falls["falls"], strict=True)
        for left, fall in zip(falls["lefts"], row, strict=True)
    }
    most = max(by_patch, key=lambda place: int(ink[place]))

    assert falls["output"] == "distances"
    assert by_patch[most] > 0


def test_axis_that_depends_on_the_numbers_is_told_whole(tmp_path: Path) -> None:
    """Rows above a level are kept: of the made-up ones all, of the caller's none."""
    nodes = [
        onnx.helper.make_node("ReduceMax", ["x", "last"], ["top"], keepdims=0),
        onnx.helper.make_node("Greater", ["top", "level"], ["kept"]),
        onnx.helper.make_node("Compress", ["x", "kept"], ["some"], axis=0),
        onnx.helper.make_node("Relu", ["x"], ["y"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "keeps",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 3])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 3])],
        [
            onnx.helper.make_tensor("last", onnx.TensorProto.INT64, [1], [1]),
            onnx.helper.make_tensor("level", onnx.TensorProto.FLOAT, [], [-10.0]),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    (tmp_path / "keeps.onnx").write_bytes(model.SerializeToString())
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [-20, -20, -20]}
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        answer = client.post("/explain/keeps", json={"inputs": [entry]})

    assert answer.status_code == 200, answer.text
    assert {layer["name"]: layer["shape"] for layer in answer.json()["layers"]}["some"] == [0, 3]
