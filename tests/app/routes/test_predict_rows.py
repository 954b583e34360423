"""Rows and texts in: the card and the graph's outputs decide what is answered; what a model does not take is told."""

import asyncio
import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.prediction import told_as
from app.service import Service
from app.settings import Settings
from app.uploads import Upload
from tests.conftest import SAMPLES
from tests.onnx_models import write_agreement, write_brightness, write_higher
from tests.problems import assert_problem


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("artifacts")
    for write in (write_higher, write_agreement, write_brightness):
        write(folder)
    with TestClient(create_app(Settings(artifacts=folder, max_rows=100))) as client:
        assert client.get("/health/ready").json() == {"ready": True, "models": 3}
        yield client


def predictions(client: TestClient, model: str, document: Any) -> Any:
    return client.post(f"/predict/{model}", json=document).json()["predictions"]


def test_output_called_index_decides_and_others_are_told_by_their_names(client: TestClient) -> None:
    assert predictions(client, "higher", {"rows": [[1, 3], [2, 0.1]]}) == [
        {"label": "right", "index": 1, "outputs": {"margin": 2.0}, "warnings": []},
        {"label": "left", "index": 0, "outputs": {"margin": -1.9}, "warnings": []},
    ]


def test_texts_have_probabilities_and_told_strings(client: TestClient) -> None:
    assert predictions(client, "agreement", {"texts": ["yes", "nö ☃", ""]}) == [
        {
            "label": label,
            "index": index,
            "probability": 1.0,
            "probabilities": [1.0 - index, float(index)],
            "outputs": {"echo": echo},
            "warnings": [],
        }
        for label, index, echo in (("yes", 1, "yes!"), ("no", 0, "nö ☃!"), ("no", 0, "!"))
    ]


def test_row_that_overflows_is_refused_and_its_neighbours_are_not_answered_with_null(client: TestClient) -> None:
    detail = assert_problem(client.post("/predict/higher", json={"rows": [[1, 3], [-3e38, 3e38]]}), 422)

    assert detail == "row 2 has numbers too large for this model: its margin would be no finite number"


def test_too_many_texts_are_refused_by_the_protocol_too(client: TestClient) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [101], "data": ["yes"] * 101}
    answer = client.post("/v2/models/agreement/infer", json={"inputs": [tensor]})

    assert answer.status_code == 413
    assert answer.json() == {"error": "text has 101 texts; at most 100 are allowed (PERCEPT_MAX_ROWS)"}


def test_top_leaves_what_is_told(client: TestClient) -> None:
    [answer] = client.post("/predict/agreement?top=1", json={"texts": ["yes"]}).json()["predictions"]

    assert answer["alternatives"] == [{"label": "yes", "index": 1, "probability": 1.0}]
    assert answer["outputs"] == {"echo": "yes!"}
    assert "probabilities" not in answer


@pytest.mark.parametrize(
    ("model", "given", "status", "detail"),
    [
        (
            "higher",
            {"files": {"file": (SAMPLES / "seven.png").read_bytes()}},
            415,
            "model 'higher' takes rows of 2 numbers (left, right): send JSON, {\"rows\": [[…], …]}",
        ),
        ("higher", {"json": {"texts": ["a"]}}, 422, "the body has the members \"texts\"; model 'higher' takes rows"),
        (
            "agreement",
            {"json": {"rows": [[1]]}},
            422,
            'model \'agreement\' takes texts: send JSON, {"texts": ["…", …]}',
        ),
        ("brightness", {"json": {"rows": [[1]]}}, 415, "model 'brightness' takes pictures: send multipart/form-data"),
        ("higher", {"json": {"rows": [[1, 2]] * 101}}, 413, "rows has 101 entries; at most 100 are allowed"),
        ("higher", {"json": {}}, 422, "the body has no member"),
    ],
)
def test_what_a_model_does_not_take_is_told(
    client: TestClient, model: str, given: Any, status: int, detail: str
) -> None:
    assert detail in assert_problem(client.post(f"/predict/{model}", **given), status)


def test_protocol_takes_no_files_for_rows(client: TestClient) -> None:
    entry = {"name": "rows", "datatype": "BYTES", "shape": [1, 1], "data": ["x"]}

    assert "rows" in client.post("/v2/models/higher/infer", json={"inputs": [entry]}).json()["error"]


@pytest.mark.parametrize(
    ("model", "call"),
    [
        ("higher", """curl -H 'Content-Type: application/json' -d '{"rows": [[0.0, 2.5]]}' '{url}/predict/higher'"""),
        ("agreement", """curl -H 'Content-Type: application/json' -d '{"texts": ["yes"]}' '{url}/predict/agreement'"""),
    ],
)
def test_page_has_a_call_that_works(client: TestClient, model: str, call: str) -> None:
    assert client.get(f"/models/{model}").json()["call"] == call.replace("{url}", "http://testserver")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"labels": ["left", "right"], "outputs": {"margin": "…"}},
            "its card explains no output 'probabilities' and no 'index'",
        ),
        ({"told": ["depth"]}, "its card tells an output 'depth' that it does not explain"),
        (
            {"outputs": {"index": "…", "depth": "…"}, "told": []},
            "its card explains an output 'depth' that its graph has not",
        ),
    ],
)
def test_card_that_does_not_fit_its_graph_is_refused(tmp_path: Path, changes: Any, reason: str) -> None:
    write_higher(tmp_path, **changes)
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        [refused] = client.get("/models").json()["refused"]

    assert reason in refused["reason"]


def test_floats_are_told_by_the_digits_that_they_have() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, np.uint32).view(np.float32)
    numbers = bits[np.isfinite(bits)][:18_000].reshape(-1, 3)
    told = told_as(numbers.T)

    assert told == [[float(str(number)) for number in row] for row in numbers.T]
    assert told_as(np.array([1.5, 0.1])) == [1.5, 0.1]


@pytest.mark.alone
def test_long_answers_do_not_hold_up_the_event_loop() -> None:
    """10,000 rows are made into an answer in a thread, while the loop has its turns."""

    async def longest_turn(rows: int) -> tuple[float, float]:
        """Of all turns, and how long the whole took."""
        app = create_app(Settings())
        async with app.router.lifespan_context(app) as state:
            service: Service = state["service"]
            body = orjson.dumps({"rows": [[170.5, 70.25]] * rows})
            start = time.perf_counter()
            task = asyncio.ensure_future(service.cluster(service.store.find("tshirt-kmeans"), Upload([], body)))
            longest, before = 0.0, start
            while not task.done():
                await asyncio.sleep(0)
                longest, before = max(longest, time.perf_counter() - before), time.perf_counter()
            assert orjson.loads(task.result().body)["clusters"][rows - 1]["label"] == "M"
            return longest, before - start

    gc.collect()
    gc.freeze()  # what other tests have left behind is not to be looked through meanwhile, as a worker does not
    try:
        longest, whole = asyncio.run(longest_turn(10_000))
    finally:
        gc.unfreeze()

    assert longest < 0.5 * whole
