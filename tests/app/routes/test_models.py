"""GET /models…: what is served, each card, each figure."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient

from app.catalogue import FEWER, MORE
from app.main import create_app
from app.settings import Settings
from tests.conftest import MODELS, ROOT
from tests.onnx_models import doubling_graph, write_brightness, write_model
from tests.problems import assert_problem

SVG = "{http://www.w3.org/2000/svg}"


def test_models_are_listed_with_their_measured_figures(client: TestClient) -> None:
    listed = client.get("/models").json()
    by_name = {model["name"]: model for model in listed["models"]}

    assert listed["refused"] == []
    assert set(listed["aliases"]) == {"clothing", "digits"}
    assert by_name["mnist-cnn"]["metrics"]["test_accuracy"] >= 0.992
    kinds = [by_name[name]["input"] for name in ("mnist-cnn", "iris-mlp", "news-mlp", "toy-network")]
    assert kinds == ["image", "rows", "text", None]
    assert by_name["mnist-cnn"]["provider"] == "CPUExecutionProvider"
    assert by_name[listed["aliases"]["clothing"]]["aliases"] == ["clothing"]


def test_model_page_has_card_layers_figures_and_a_call(client: TestClient) -> None:
    page = client.get("/models/mnist-cnn").json()

    assert page["inputs"] == [{"name": "image", "datatype": "tensor(uint8)", "shape": ["batch", 28, 28]}]
    assert [output["name"] for output in page["outputs"]] == ["logits", "probabilities"]
    assert page["call"] == "curl -F file=@picture.png 'http://testserver/predict/mnist-cnn'"
    assert page["card"]["layers"][1] == {
        "name": "conv1",
        "kind": "Conv2d",
        "output_shape": [32, 24, 24],
        "parameters": 832,
    }
    assert sum(layer["parameters"] for layer in page["card"]["layers"]) == page["card"]["parameters"] == 118_346


def test_model_page_has_the_layers_of_the_graph_beside_the_cards(client: TestClient) -> None:
    page = client.get("/models/mnist-cnn").json()
    graph = page["graph"]

    assert graph["layers"][5] == {
        "name": "conv2d",
        "operation": "Conv",
        "step": 5,
        "inputs": ["view"],
        "output_shape": ["batch", 32, 24, 24],
        "parameters": 832,
        "weights": {"classifier.body.conv1.weight": [32, 1, 5, 5], "classifier.body.conv1.bias": [32]},
    }
    assert sum(layer["parameters"] for layer in graph["layers"]) == graph["parameters"] == page["card"]["parameters"]
    assert graph["operations"] == {
        **{"Cast": 1, "Div": 2, "Sub": 1, "Reshape": 2, "Conv": 2, "Relu": 3, "MaxPool": 2, "Gemm": 2, "Softmax": 1},
    }


# The card's number and the file's, where they differ.
COUNTS = {
    "blobs-svm": (3, 2),
    "fashion-kmeans": (58_016, 58_026),
    "frozenlake-dqn": (31_428, 32_980),
    "frozenlake-slippery-dqn": (31_428, 31_460),
    "iris-mlp": (12_003, 242_655),
    "mnist-kmeans": (58_016, 58_026),
    "mnist-svm": (257_834, 257_890),
    "moons-svm": (82, 81),
    "news-mlp": (793_876, 797_516),
    "tshirt-kmeans": (8, 20),
    "xor-perceptron": (3, 9),
}


@pytest.mark.parametrize("name", MODELS)
def test_page_tells_what_was_learned_and_what_is_stored_and_why_they_differ(client: TestClient, name: str) -> None:
    page = client.get(f"/models/{name}").json()
    told, card = page["parameters"], page["card"]
    learned, stored = told["learned"], told["stored"]

    assert (learned, stored) == (card and card["parameters"], page["graph"]["parameters"])
    if name in COUNTS:
        assert (learned, stored) == COUNTS[name]
        assert told["difference"] == (MORE if stored > learned else FEWER)
    else:
        assert learned in (stored, None)
        assert told["difference"] is None


def test_page_is_there_when_the_file_has_gone(tmp_path: Path) -> None:
    path = write_brightness(tmp_path)
    with TestClient(create_app(Settings(artifacts=tmp_path, reload_seconds=0))) as client:
        path.unlink()
        page = client.get("/models/brightness").json()

    assert page["graph"] is page["graph_picture"] is None
    assert page["card"]["name"] == "brightness"


def test_graph_of_every_model_is_a_picture_that_its_page_leads_to(client: TestClient) -> None:
    for model in client.get("/models").json()["models"]:
        page = client.get(f"/models/{model['name']}").json()
        answer = client.get(page["graph_picture"])
        [title, *boxes] = [each.text for each in ElementTree.fromstring(answer.text).iter(f"{SVG}title")]

        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
        assert title.startswith(f"{model['name']}: ")
        assert len(boxes) == sum(page["graph"]["operations"].values()) + len(page["inputs"]) + len(page["outputs"])


def test_graph_of_a_file_without_a_card_and_of_a_version_is_drawn(tmp_path: Path) -> None:
    write_model(tmp_path, doubling_graph(), "own")
    write_model(tmp_path, doubling_graph(), "own", version=3)
    with TestClient(create_app(Settings(artifacts=tmp_path)), root_path="/percept") as client:
        page = client.get("/percept/models/own?version=1").json()
        answers = [client.get(f"/percept/models/own/graph{query}") for query in ("", "?version=1")]

        assert page["graph_picture"] == "http://testserver/percept/models/own/graph?version=1"
        assert [answer.status_code for answer in answers] == [200, 200]
        assert "own: 1 operation" in answers[0].text
        assert "has no version 2" in assert_problem(client.get("/models/own/graph?version=2"), 404)


def test_graph_that_cannot_be_read_is_told_as_documented(tmp_path: Path) -> None:
    path = write_model(tmp_path, doubling_graph(), "odd")
    path.write_bytes(path.read_bytes() + b"\xd3\x02\xd4\x02")
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        detail = assert_problem(client.get("/models/odd/graph"), 422)
        responses = client.get("/openapi.json").json()["paths"]["/models/{model}/graph"]["get"]["responses"]

        assert detail == responses["422"]["content"]["application/problem+json"]["example"]["detail"]
        assert client.get("/models/odd").json()["graph"] is None


def test_table_that_is_not_there_yet_waits_its_turn_and_a_known_one_does_not(tmp_path: Path) -> None:
    for name in ("known", "new"):
        write_model(tmp_path, doubling_graph(), name)
    with TestClient(create_app(Settings(artifacts=tmp_path, max_queue=1))) as client:
        client.get("/models/known")
        scheduler = client.app_state["service"].scheduler
        scheduler.admitted += 1
        try:
            page, *refused = [client.get(f"/models/{path}") for path in ("known", "known/graph", "new", "new/graph")]
        finally:
            scheduler.admitted -= 1
        after = client.get("/models/new").json()

    assert page.json()["graph"]["operations"] == after["graph"]["operations"] == {"Add": 1}
    for answer in refused:
        assert "1 requests are under way" in assert_problem(answer, 429)
        assert answer.headers["retry-after"] == "1"


def test_table_that_comes_too_late_is_told_as_documented(tmp_path: Path) -> None:
    (tmp_path / "news-mlp").symlink_to(ROOT / "artifacts" / "news-mlp")
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        for path in ("/models/{model}", "/models/{model}/graph"):
            address = path.replace("{model}", "news-mlp")
            late = assert_problem(client.get(address, headers={"X-Request-Timeout-Ms": "1"}), 504)
            responses = client.get("/openapi.json").json()["paths"][path]["get"]["responses"]

            assert late == responses["504"]["content"]["application/problem+json"]["example"]["detail"]


def test_alias_leads_to_the_page_of_its_model(client: TestClient) -> None:
    assert client.get("/models/digits").json()["name"] == client.get("/models").json()["aliases"]["digits"]


def test_each_figure_of_each_model_is_a_picture(client: TestClient) -> None:
    for model in client.get("/models").json()["models"]:
        page = client.get(f"/models/{model['name']}").json()
        figures = page["figures"]

        assert bool(figures) == bool(page["card"])
        if page["card"] and page["card"]["training"]["history"] and page["card"]["input"]["kind"] == "image":
            assert [path.rsplit("/", 1)[1] for path in figures] == [
                "confusion",
                "filters",
                "mistakes",
                "predictions",
                "training",
            ]
        for path in figures:
            answer = client.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
            assert answer.content.startswith(b"\x89PNG")


def test_addresses_on_the_page_of_an_older_version_lead_to_it(tmp_path: Path) -> None:
    for version in (1, 2):
        folder = write_brightness(tmp_path, version=version).parent / "figures"
        folder.mkdir()
        (folder / f"of {version}.png").write_bytes(b"\x89PNG")

    with TestClient(create_app(Settings(artifacts=tmp_path)), root_path="/percept") as client:
        old, new = (client.get(f"/percept/models/brightness?version={version}").json() for version in (1, 2))
        assert old["figures"] == ["http://testserver/percept/models/brightness/figures/of%201?version=1"]
        assert new["figures"] == ["http://testserver/percept/models/brightness/figures/of%202"]
        assert old["call"].endswith("/percept/predict/brightness?version=1'")
        assert client.get(old["figures"][0]).content == b"\x89PNG"
        (tmp_path / "brightness" / "2" / "figures" / "of 2.png").unlink()
        assert "has no figure 'of 2'" in assert_problem(client.get(new["figures"][0]), 404)


def test_a_range_of_a_figure_is_not_given_but_the_whole(client: TestClient) -> None:
    for wanted in ("bytes=abc", "bytes=99999999-"):
        assert client.get("/models/mnist-cnn/figures/training", headers={"Range": wanted}).status_code == 200


def test_unknown_names_are_told(client: TestClient) -> None:
    assert "there is no model 'nix'; there are: clothing" in assert_problem(client.get("/models/nix"), 404)
    detail = assert_problem(client.get("/models/mnist-cnn/figures/nix"), 404)
    assert detail == (
        "model 'mnist-cnn' has no figure 'nix'; there are: confusion, filters, mistakes, predictions, training"
    )


def test_figure_names_do_not_reach_the_file_system(client: TestClient) -> None:
    for name in ("..%2Fmodel", "%2e%2e%2f%2e%2e%2f%2e%2e%2fpyproject", "training.png%00"):
        assert_problem(client.get(f"/models/mnist-cnn/figures/{name}"), 404)
