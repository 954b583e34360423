"""POST /cluster/{model}: the cluster, how far its middle is, and that middle, by the way that predictions go."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.main import create_app
from app.settings import Settings
from tests.conftest import ROOT, SAMPLES
from tests.onnx_models import brightness_card, write_brightness, write_higher
from tests.problems import assert_problem

SEVEN, BOOT = ((SAMPLES / name).read_bytes() for name in ("seven.png", "ankle-boot.png"))


def clusters(client: TestClient, model: str, **request: Any) -> Any:
    answer = client.post(f"/cluster/{model}", **request)

    assert answer.status_code == 200, answer.text
    assert (answer.json()["model"], answer.json()["version"]) == (model, "1")
    return answer.json()["clusters"]


def asked(model: str, name: str, value: Any) -> dict[str, Any]:
    """What the committed graph answers."""
    session = ort.InferenceSession(ROOT / "artifacts" / model / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {name: value}), strict=True))


def test_rows_are_told_their_centroid_by_the_features_names(client: TestClient) -> None:
    many, few = clusters(client, "players-kmeans", json={"rows": [[110, 3], [45, 0]]})

    assert list(many) == ["label", "index", "distance", "distances", "centroid", "warnings"]
    assert (many["label"], many["index"]) == ("many passes, many goals", 1)
    assert (few["label"], few["index"]) == ("few passes, few goals", 0)
    assert list(many["centroid"]) == ["passes", "goals"]
    assert many["distance"] == min(many["distances"])
    assert many["distance"] == pytest.approx(
        np.hypot(110 - many["centroid"]["passes"], 3 - many["centroid"]["goals"]), rel=1e-5
    )


def test_centroids_are_in_the_units_of_the_rows(client: TestClient) -> None:
    """Distances are in standard deviations there."""
    [shirt] = clusters(client, "tshirt-kmeans", json={"rows": [[170, 70]]})
    wanted = asked("tshirt-kmeans", "rows", np.array([[170, 70]], np.float32))

    assert shirt["label"] == "M"
    assert [np.float32(shirt["centroid"][name]) for name in ("height", "weight")] == wanted["centroid"][0].tolist()
    assert 160 < shirt["centroid"]["height"] < 170


@pytest.mark.parametrize(("model", "file"), [("mnist-kmeans", SEVEN), ("fashion-kmeans", BOOT)])
def test_pictures_are_told_the_mean_picture_of_their_cluster(client: TestClient, model: str, file: bytes) -> None:
    [found] = clusters(client, model, files={"file": file})
    kind, _, encoded = found["prototype"].partition(",")
    prototype = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
    again = asked(model, "image", prototype[None])

    assert list(found) == ["label", "index", "distance", "distances", "prototype", "warnings"]
    assert (kind, prototype.shape) == ("data:image/png;base64", (28, 28))
    assert again["index"] == [found["index"]]
    assert again["distance"] < 0.1 < found["distance"]


@pytest.mark.parametrize(
    ("model", "request_"),
    [("players-kmeans", {"json": {"rows": [[110, 3], [2.5, -1]]}}), ("mnist-kmeans", {"files": {"file": SEVEN}})],
)
def test_prediction_says_the_same_in_its_own_words(client: TestClient, model: str, request_: Any) -> None:
    """Of pictures the prototype too."""
    found = clusters(client, model, **request_)
    predicted = client.post(f"/predict/{model}", **request_).json()["predictions"]

    assert [(each["label"], each["index"]) for each in found] == [(each["label"], each["index"]) for each in predicted]
    told = ("distance", "distances", *(["prototype"] if model == "mnist-kmeans" else []))
    assert [{name: each[name] for name in told} for each in found] == [each["outputs"] for each in predicted]


def test_what_was_noticed_of_a_picture_is_told(client: TestClient) -> None:
    paper = (SAMPLES / "three-on-paper.jpg").read_bytes()
    [found] = clusters(client, "mnist-kmeans", files={"file": paper})

    assert [warning["code"] for warning in found["warnings"]] == ["inverted"]


def test_stages_are_timed_and_requests_counted_as_of_predictions(client: TestClient) -> None:
    def count() -> float:
        lines = client.get("/metrics").text.splitlines()
        name = 'percept_predictions_total{model="tshirt-kmeans",version="1"}'
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = count()
    answer = client.post("/cluster/tshirt-kmeans", json={"rows": [[170, 70]]})

    assert [stage.split(";")[0] for stage in answer.headers["server-timing"].split(", ")] == [
        "decode",
        "queue",
        "inference",
    ]
    assert count() == before + 1


@pytest.mark.parametrize(
    ("path", "request_", "status", "detail"),
    [
        (
            "/cluster/mnist-cnn",
            {"files": {"file": SEVEN}},
            422,
            "model 'mnist-cnn' does not cluster, its task is classification; those that do: fashion-kmeans, "
            "mnist-kmeans, players-kmeans, tshirt-kmeans",
        ),
        ("/cluster/letters", {"json": {}}, 404, "there is no model 'letters'; there are: clothing, digits"),
        ("/cluster/players-kmeans?version=7", {"json": {}}, 404, "model 'players-kmeans' has no version 7"),
        ("/cluster/players-kmeans", {"files": {"file": SEVEN}}, 415, "takes rows of 2 numbers (passes, goals)"),
        ("/cluster/mnist-kmeans", {"json": {"rows": [[1, 2]]}}, 415, "model 'mnist-kmeans' takes pictures"),
        ("/cluster/players-kmeans", {"json": {"rows": [[1, 2, 3]]}}, 422, "row 1 has 3 values; allowed are 2"),
        ("/cluster/mnist-kmeans", {"files": {"file": b"text"}}, 422, "the file is not an image"),
        (
            "/cluster/players-kmeans",
            {"json": {"rows": [[1, 2]]}, "headers": {"X-Request-Timeout-Ms": "0"}},
            422,
            "'0'; allowed",
        ),
    ],
)
def test_bad_request_is_told(client: TestClient, path: str, request_: Any, status: int, detail: str) -> None:
    assert detail in assert_problem(client.post(path, **request_), status)


def test_wrong_method_is_told(client: TestClient) -> None:
    assert "allowed: POST" in assert_problem(client.get("/cluster/players-kmeans"), 405)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A clustering that tells nothing of distances, one decided by probabilities, and a graph without a card."""
    folder = tmp_path_factory.mktemp("artifacts")
    write_higher(folder, task="clustering")
    write_brightness(folder, card=brightness_card("brightness", task="clustering"))
    (folder / "bare.onnx").write_bytes((ROOT / "app" / "lab" / "lloyd.onnx").read_bytes())
    with TestClient(create_app(Settings(artifacts=folder, max_rows=2))) as client:
        yield client


def test_clustering_of_others_tells_what_it_has(own: TestClient) -> None:
    assert clusters(own, "higher", json={"rows": [[1, 3]]}) == [
        {"label": "right", "index": 1, "outputs": {"margin": 2.0}, "warnings": []}
    ]


def test_clustering_with_probabilities_tells_them(own: TestClient) -> None:
    [found] = clusters(own, "brightness", files={"file": SEVEN})

    assert sum(found["probabilities"]) == pytest.approx(1)
    assert found["probability"] == max(found["probabilities"])


def test_limits_are_those_of_predictions(own: TestClient) -> None:
    answer = own.post("/cluster/higher", json={"rows": [[1, 3]] * 3})

    assert "rows has 3 entries; at most 2 are allowed (PERCEPT_MAX_ROWS)" in assert_problem(answer, 413)


def test_graph_without_a_card_is_no_clustering(own: TestClient) -> None:
    detail = assert_problem(own.post("/cluster/bare", json={"rows": [[1, 3]]}), 422)

    assert detail == "model 'bare' does not cluster, its task is not known; those that do: brightness, higher"


def test_centroid_has_to_have_a_number_for_each_feature(tmp_path: Path) -> None:
    """Refused when it is loaded, not when it is asked."""
    write_higher(tmp_path, difference="centroid", task="clustering")
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        [refused] = client.get("/models").json()["refused"]

    assert refused["reason"].startswith("its card says centroid is tensor(float) ['batch', 2], its graph says")
