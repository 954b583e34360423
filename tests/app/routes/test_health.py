"""Live is the process; ready is every model that should be served."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from onnx import helper

from app.card import CARD_KEY
from app.errors import ConfigurationError
from app.main import create_app, open_store
from app.problems import DOCUMENTED
from app.settings import Settings
from tests.conftest import MODELS
from tests.onnx_models import brightness_card, brightness_graph, write_brightness, write_model
from tests.problems import assert_problem


def test_service_with_all_models_is_ready(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"live": True}
    assert client.get("/health/ready").json() == {"ready": True, "models": len(MODELS)}


def test_refused_artifact_is_named_and_the_others_answer(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    broken = tmp_path / "broken" / "1" / "model.onnx"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"not a model")

    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        detail = assert_problem(client.get("/health/ready"), 503)
        assert detail.startswith("1 artifact is not served: broken 1: onnxruntime cannot load it")
        assert client.get("/health/live").status_code == 200
        listed = client.get("/models").json()
        assert [refused["model"] for refused in listed["refused"]] == ["broken"]
        assert str(tmp_path) not in str(listed["refused"])
        answer = client.post("/predict/brightness", files={"file": b"GIF89a"})
        assert assert_problem(answer, 422).startswith("the file is not an image that can be decoded")


def test_service_without_models_is_not_ready(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        assert assert_problem(client.get("/health/ready"), 503) == "no model was found"
        ready = client.get("/openapi.json").json()["paths"]["/health/ready"]["get"]["responses"]
        assert "example" not in ready["200"]["content"]["application/json"]


def test_no_variable_of_a_telemetry_library_makes_the_service_call_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FastAPI keeps what it was told in a private place; there is no public one to look at."""
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    telemetry = create_app(Settings(artifacts=tmp_path))._telemetry

    assert not any(telemetry[what] for what in ("auto_configure", "tracing", "metrics", "logs"))


def test_documented_example_of_not_ready_is_what_is_answered(tmp_path: Path) -> None:
    model = brightness_graph()
    helper.set_model_props(model, {CARD_KEY: brightness_card("broken").model_dump_json()})
    write_model(tmp_path, model, "broken")
    _, example = DOCUMENTED[503]

    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        assert assert_problem(client.get("/health/ready"), 503) == example.detail


def test_missing_folder_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"PERCEPT_ARTIFACTS=.*nowhere: there is no such folder"):
        open_store(Settings(artifacts=tmp_path / "nowhere"))


def test_cuda_that_is_not_there_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="PERCEPT_PROVIDERS=cuda: "):
        open_store(Settings(providers="cuda"))
