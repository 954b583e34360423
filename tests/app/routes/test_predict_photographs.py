"""POST /predict/{model} of photographs: by name, and by the alias of a subject that has a model for each kind."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from app.card import Card
from app.catalogue import Catalogue
from app.images import open_limited
from app.main import create_app
from app.photographs import fit_photograph
from app.prediction import SENTENCES
from app.settings import Settings
from app.table import table
from tests.onnx_models import FRAME, brightness_card, write_brightness, write_redness
from tests.problems import assert_problem

Pixels = NDArray[np.uint8]


def measured(accuracy: float) -> dict[str, float]:
    return {"test_accuracy": 1.0, "validation_accuracy": accuracy}


def clothing(name: str, accuracy: float, **changes: Any) -> Card:
    return brightness_card(name, subject="clothing", metrics=measured(accuracy), **changes)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """`redness` takes photographs, and is the better one; `brightness` and `worse` small gray pictures."""
    folder = tmp_path_factory.mktemp("artifacts")
    write_brightness(folder, card=clothing("brightness", 0.8))
    write_brightness(folder, "worse", card=clothing("worse", 0.7))
    write_redness(folder, subject="clothing", metrics=measured(0.9))
    with TestClient(create_app(Settings(artifacts=folder))) as client:
        assert client.get("/health/ready").json() == {"ready": True, "models": 3}
        yield client


def file_of(pixels: Pixels, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def noise(height: int, width: int, seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def fitted(file: bytes) -> Pixels:
    return fit_photograph(open_limited(file, 20_000_000), FRAME).pixels


def redness(file: bytes) -> float:
    return float(fitted(file)[..., 0].mean() / 255)


def post(client: TestClient, path: str, *files: bytes) -> Any:
    return client.post(path, files=[("file", ("picture", file)) for file in files])


TALL, WIDE, JPEG = file_of(noise(90, 60, 1)), file_of(noise(40, 100, 2)), file_of(noise(300, 200, 3), "JPEG")
# As the data set has them, with a border of 0: shape and box are those of `brightness`.
OWN = np.array([[0, 200], [100, 0]], np.uint8)


@pytest.mark.parametrize("file", [TALL, WIDE, JPEG])
def test_answer_is_that_of_the_fitted_photograph(client: TestClient, file: bytes) -> None:
    answer = post(client, "/predict/redness", file)
    [prediction] = answer.json()["predictions"]

    assert (answer.json()["model"], answer.json()["version"]) == ("redness", "1")
    assert prediction["probabilities"] == pytest.approx([1 - redness(file), redness(file)], abs=1e-6)
    assert prediction["label"] == ("light" if redness(file) > 0.5 else "dark")
    assert "model" not in prediction
    assert {"decode", "queue", "inference"} == {
        stage.split(";")[0].strip() for stage in answer.headers["Server-Timing"].split(",")
    }


def test_several_photographs_are_answered_in_order(client: TestClient) -> None:
    answers = post(client, "/predict/redness", TALL, WIDE, JPEG).json()["predictions"]

    assert [each["probabilities"][1] for each in answers] == pytest.approx(
        [redness(file) for file in (TALL, WIDE, JPEG)], abs=1e-6
    )


def test_raw_body_gives_the_same_answer_as_a_form(client: TestClient) -> None:
    raw = client.post("/predict/redness", content=JPEG, headers={"Content-Type": "image/jpeg"})

    assert raw.json() == post(client, "/predict/redness", JPEG).json()


def test_small_gray_picture_is_a_photograph_by_name(client: TestClient) -> None:
    [prediction] = post(client, "/predict/redness", file_of(OWN)).json()["predictions"]

    assert prediction["probabilities"][1] == pytest.approx(redness(file_of(OWN)), abs=1e-6)


def seen(prediction: Any) -> Pixels:
    prefix, data = prediction["as_seen"].split(",")
    assert prefix == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


@pytest.mark.parametrize("path", ["/predict/redness", "/predict/clothing"])
def test_as_seen_is_the_fitted_photograph(client: TestClient, path: str) -> None:
    answers = post(client, f"{path}?as_seen=true", TALL, JPEG).json()["predictions"]

    assert np.array_equal(seen(answers[0]), fitted(TALL))
    assert np.array_equal(seen(answers[1]), fitted(JPEG))


def test_top_and_warnings_are_as_of_other_models(client: TestClient) -> None:
    [prediction] = post(client, "/predict/redness?top=1", file_of(np.zeros((20, 20, 3), np.uint8))).json()[
        "predictions"
    ]

    assert prediction["alternatives"] == [{"label": "dark", "index": 0, "probability": 1.0}]
    assert prediction["warnings"] == [
        {"code": code, "message": SENTENCES[code]} for code in ("blank", "unlike_training_data")
    ]


# --- by the alias --------------------------------------------------------------------------------------------------


def test_alias_leads_to_the_model_of_gray_pictures(client: TestClient) -> None:
    catalogue = client.get("/models").json()

    assert catalogue["aliases"] == {"clothing": "brightness"}
    assert catalogue["photographs"] == {"clothing": "redness"}
    assert client.get("/models/clothing").json()["name"] == "brightness"


def test_picture_of_the_data_set_goes_to_its_model(client: TestClient) -> None:
    by_alias, by_name = (post(client, f"/predict/{name}", file_of(OWN)).json() for name in ("clothing", "brightness"))

    assert by_alias == by_name
    assert by_alias["predictions"][0]["probabilities"] == pytest.approx([1 - 75 / 255, 75 / 255], abs=1e-6)


@pytest.mark.parametrize("query", ["", "?top=2"])
def test_photograph_goes_to_the_model_of_photographs_which_says_so(client: TestClient, query: str) -> None:
    """Through the hot path and past it."""
    by_alias = post(client, f"/predict/clothing{query}", WIDE).json()
    by_name = post(client, f"/predict/redness{query}", WIDE).json()

    assert (by_alias["model"], by_alias["version"]) == ("brightness", "1")
    assert by_alias["predictions"] == [{"model": "redness", **by_name["predictions"][0]}]


def test_pictures_of_both_kinds_are_answered_in_order(client: TestClient) -> None:
    small = np.zeros((40, 40), np.uint8)
    small[10:30, 10:30] = 180
    files = [TALL, file_of(OWN), JPEG, file_of(small), file_of(255 - small), WIDE]
    kinds = ["redness", None, "redness", None, "redness", "redness"]
    answers = post(client, "/predict/clothing", *files).json()["predictions"]
    alone = [
        post(client, f"/predict/{kind or 'brightness'}", file).json()["predictions"][0]
        for kind, file in zip(kinds, files, strict=True)
    ]

    assert [answer.pop("model", None) for answer in answers] == kinds
    assert answers == alone


def test_as_seen_of_both_kinds(client: TestClient) -> None:
    gray, colours = post(client, "/predict/clothing?as_seen=true", file_of(OWN), TALL).json()["predictions"]

    assert np.array_equal(seen(gray), OWN)
    assert np.array_equal(seen(colours), fitted(TALL))


@pytest.mark.parametrize(
    "path", ["/predict/brightness", "/predict/clothing?model=worse", "/predict/clothing?version=1"]
)
def test_who_names_a_model_or_a_version_gets_that_one(client: TestClient, path: str) -> None:
    [prediction] = post(client, path, WIDE).json()["predictions"]

    assert "model" not in prediction


def test_another_model_may_be_that_of_photographs(client: TestClient) -> None:
    by_query = post(client, "/predict/clothing?model=redness", WIDE).json()

    assert by_query == post(client, "/predict/redness", WIDE).json()


def test_fault_names_the_file_among_both_kinds(client: TestClient) -> None:
    answer = post(client, "/predict/clothing", TALL, file_of(OWN), WIDE[: len(WIDE) // 2])

    assert "file 3 of 3 is damaged or truncated" in assert_problem(answer, 422)


@pytest.mark.parametrize("labels", [["other", "labels"], None])
def test_alias_asks_no_model_of_other_labels_or_subject(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str] | None
) -> None:
    folder = tmp_path_factory.mktemp("others")
    write_brightness(folder, card=clothing("brightness", 0.8))
    write_redness(folder, **{"labels": labels, "subject": "clothing"} if labels else {"subject": "digits"})
    with TestClient(create_app(Settings(artifacts=folder))) as client:
        [prediction] = post(client, "/predict/clothing", WIDE).json()["predictions"]

        assert client.get("/models").json()["photographs"] == {}
    assert "model" not in prediction


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["redness", "clothing"])
def test_what_is_no_picture_is_refused(client: TestClient, name: str) -> None:
    assert "is not an image that can be decoded" in assert_problem(post(client, f"/predict/{name}", b"no picture"), 422)
    assert "is empty" in assert_problem(post(client, f"/predict/{name}", b""), 422)
    assert "takes pictures" in assert_problem(client.post(f"/predict/{name}", json={"rows": [[1]]}), 415)
    assert "takes a whole picture for one thing" in assert_problem(
        post(client, f"/predict/{name}?many=true", WIDE), 422
    )


def test_photographs_are_not_explained(client: TestClient) -> None:
    for query in ("", "?layer=red", "?class=dark"):
        assert "model 'redness' takes photographs" in assert_problem(
            post(client, f"/explain/redness{query}", WIDE), 422
        )
    assert "allowed are models of gray pictures" in assert_problem(
        client.post("/explain/redness", json={"inputs": []}), 422
    )


def test_photographs_are_not_clustered(client: TestClient) -> None:
    assert "does not cluster" in assert_problem(post(client, "/cluster/redness", WIDE), 422)


@pytest.mark.parametrize("path", ["/models/redness", "/models/redness/graph", "/v2/models/redness", "/openapi.json"])
def test_pages_of_the_model_are_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_documentation_has_an_answer_for_a_photograph(client: TestClient) -> None:
    """What the service answers to that picture."""
    answer = client.get("/openapi.json").json()["paths"]["/predict/{model}"]["post"]["responses"]["200"]
    example = answer["content"]["application/json"]["examples"]["photograph"]
    pixels = np.zeros((8, 6, 3), np.uint8)
    pixels[:, :3, 0] = 255

    assert example["summary"] == "A photograph, sent to the alias 'clothing'"
    assert example["value"] == post(client, "/predict/clothing", file_of(pixels)).json()


def test_table_says_what_photographs_go_to(client: TestClient) -> None:
    rows = table(Catalogue.model_validate(client.get("/models").json())).splitlines()

    assert [row.split("|")[-2].strip() for row in rows[2:]] == ["`clothing`", "`clothing`, photographs", ""]


def test_request_is_counted_where_its_pictures_went(tmp_path: Path) -> None:
    """One of both kinds is the alias's model's; the rows are counted where they ran."""
    write_brightness(tmp_path, card=clothing("brightness", 0.8))
    write_redness(tmp_path, subject="clothing")
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        for files in ([file_of(OWN)], [WIDE], [WIDE, file_of(OWN), TALL]):
            post(client, "/predict/clothing", *files)
        post(client, "/predict/clothing", b"no picture")
        found = {
            name: client.get(f"/v2/models/{name}/stats").json()["model_stats"][0] for name in ("brightness", "redness")
        }

    assert {name: each["inference_stats"]["success"]["count"] for name, each in found.items()} == {
        "brightness": 2,
        "redness": 1,
    }
    assert {name: each["inference_count"] for name, each in found.items()} == {"brightness": 2, "redness": 3}


def test_deadline_is_that_of_all_parts(client: TestClient) -> None:
    """A large JPEG is not decoded in a millisecond."""
    large = file_of(noise(1_500, 1_500, 4), "JPEG")
    answer = client.post(
        "/predict/clothing",
        files=[("file", large), ("file", file_of(OWN))],
        headers={"X-Request-Timeout-Ms": "1"},
    )

    assert_problem(answer, 504)


def test_protocol_takes_the_tensor(client: TestClient) -> None:
    pixels = fitted(TALL)
    entry = {"name": "photograph", "datatype": "UINT8", "shape": [1, 8, 6, 3], "data": pixels.ravel().tolist()}
    answer = client.post("/v2/models/redness/infer", json={"inputs": [entry]}).json()
    [probabilities] = [output["data"] for output in answer["outputs"] if output["name"] == "probabilities"]

    assert probabilities == pytest.approx([1 - redness(TALL), redness(TALL)], abs=1e-6)


def test_protocol_takes_files(client: TestClient) -> None:
    """As it does for models of gray pictures; an alias does not choose there."""
    entry = '{"name": "photograph", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": %d}}'
    files = b"".join(len(file).to_bytes(4, "little") + file for file in (TALL, JPEG))
    text = b'{"inputs": [%b]}' % (entry % len(files)).encode()
    answer = client.post(
        "/v2/models/redness/infer", content=text + files, headers={"Inference-Header-Content-Length": str(len(text))}
    ).json()
    [probabilities] = [output["data"] for output in answer["outputs"] if output["name"] == "probabilities"]

    assert probabilities[1::2] == pytest.approx([redness(TALL), redness(JPEG)], abs=1e-6)


def test_card_of_another_frame_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("wrong")
    write_redness(folder, frame=FRAME.model_copy(update={"width": 7}))
    with TestClient(create_app(Settings(artifacts=folder))) as client:
        [refused] = client.get("/models").json()["refused"]

    assert refused["reason"] == (
        "its card says photograph is tensor(uint8) ['batch', 8, 7, 3], its graph says tensor(uint8) ['batch', 8, 6, 3]"
    )
