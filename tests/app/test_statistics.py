"""The statistics that the protocol tells are what has been counted."""

from pathlib import Path

from fastapi.testclient import TestClient

from app.main import create_app
from app.metrics import Metrics
from app.settings import Settings
from app.statistics import model_statistics
from app.store import load_store
from tests.onnx_models import write_brightness

NOTHING = {"count": 0, "ns": 0}


def test_model_that_nobody_has_asked_has_zeros(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    models = load_store(tmp_path, ["CPUExecutionProvider"]).all()
    [statistics] = model_statistics(models, Metrics())["model_stats"]

    assert statistics.pop("inference_stats") == dict.fromkeys(
        (
            *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
            *("cache_hit", "cache_miss"),
        ),
        NOTHING,
    )
    assert statistics == {
        "name": "brightness",
        "version": "1",
        "last_inference": 0,
        "inference_count": 0,
        "execution_count": 0,
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def test_numbers_are_those_of_the_workers_together(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    [model] = load_store(tmp_path, ["CPUExecutionProvider"]).all()
    metrics = Metrics(2)
    for worker in metrics.workers:
        counted = worker.model("brightness", "1")
        counted.batch(3, 0.25, 1_000.0)
        counted.success(0.5)
        counted.queue.observe(0.125)
        counted.decode.observe(0.0625)
        counted.add("invalid")
    metrics.workers[0].model("brightness", "1").batch(100, 1.0, 2_000.0)
    [statistics] = model_statistics([model], metrics)["model_stats"]

    assert statistics["inference_count"] == 106
    assert statistics["execution_count"] == 3
    assert statistics["last_inference"] == 2_000
    assert statistics["inference_stats"] == {
        "success": {"count": 2, "ns": 1_000_000_000},
        "fail": {"count": 2, "ns": 0},
        "queue": {"count": 2, "ns": 250_000_000},
        "compute_input": {"count": 2, "ns": 125_000_000},
        "compute_infer": {"count": 3, "ns": 1_500_000_000},
        "compute_output": NOTHING,
        "cache_hit": NOTHING,
        "cache_miss": NOTHING,
    }
    assert statistics["batch_stats"] == [
        {
            "batch_size": 3,
            "compute_input": NOTHING,
            "compute_infer": {"count": 2, "ns": 500_000_000},
            "compute_output": NOTHING,
        }
    ]


def test_addresses_tell_one_model_or_all(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    write_brightness(tmp_path, version=2)
    write_brightness(tmp_path, "other")
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client:
        body = {"inputs": [{"name": "image", "shape": [1, 2, 2], "datatype": "UINT8", "data": [0, 0, 0, 0]}]}
        client.post("/v2/models/brightness/infer", json=body)
        client.post("/v2/models/brightness/infer", json={})

        def counts(path: str) -> dict[tuple[str, str], tuple[int, int]]:
            return {
                (entry["name"], entry["version"]): (
                    entry["inference_stats"]["success"]["count"],
                    entry["inference_stats"]["fail"]["count"],
                )
                for entry in client.get(path).json()["model_stats"]
            }

        brightness = {("brightness", "1"): (0, 0), ("brightness", "2"): (1, 1)}
        assert counts("/v2/models/stats") == brightness | {("other", "1"): (0, 0)}
        assert counts("/v2/models/brightness/stats") == brightness
        assert counts("/v2/models/brightness/versions/2/stats") == {("brightness", "2"): (1, 1)}
        assert client.get("/v2/models/nothing/stats").status_code == 404
