"""What people send to the news model is answered, whatever it is, and says which words decided."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.conftest import ROOT

ODD = ["", " \n\t", "😀🎉", "1234 !?", "日本語", "nul\0byte", "x" * 100_000, "Oil Shares FELL " * 33_334]
TELLING = {
    "business": "The company's profits rose and its shares gained on the stock market.",
    "entertainment": "The film won the award for best actress, and its director sang.",
    "politics": "The prime minister told MPs that the party would win the election.",
    "sport": "The coach praised his players after the cup match that they won in injury time.",
    "tech": "Users of the software can download music to their computers and phones.",
}


MEMORY = """
import re
from pathlib import Path
import numpy as np
from app.runtime import CPU, open_session

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def opened(name):
    return open_session(Path("artifacts", name, "1", "model.onnx").read_bytes(), [CPU])

first = opened("xor-mlp")
first.run(None, {"rows": np.zeros((1, 2), np.float32)})
before = resident()
session = opened("news-mlp")
for length in range(50):
    session.run(None, {"text": np.array(["The coach praised film, software and shares. " * 2 * length], object)})
print(resident() - before)
"""


def ask(client: TestClient, *texts: str) -> list[dict[str, Any]]:
    response = client.post("/predict/news-mlp", json={"texts": texts})
    assert response.status_code == 200, response.text
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


@pytest.mark.parametrize("topic", TELLING)
def test_sentence_is_answered_with_its_topic_and_its_words(client: TestClient, topic: str) -> None:
    [prediction] = ask(client, TELLING[topic])
    words = [word for word in prediction["outputs"]["words"] if word]

    assert prediction["label"] == topic
    assert words and all(word in TELLING[topic].lower() for word in words)
    assert len(prediction["outputs"]["word_weights"]) == len(prediction["outputs"]["words"]) == 10


@pytest.mark.parametrize("text", ODD, ids=lambda text: repr(text[:8]))
def test_odd_text_gets_an_answer(client: TestClient, text: str) -> None:
    [prediction] = ask(client, text)

    assert sum(prediction["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_text_without_a_word_is_doubted(client: TestClient) -> None:
    [prediction] = ask(client, "")

    assert [warning["code"] for warning in prediction["warnings"]] == ["low_confidence"]
    assert prediction["outputs"] == {"words": [""] * 10, "word_weights": [0.0] * 10}


def test_each_text_gets_the_answer_it_gets_alone(client: TestClient) -> None:
    texts = [*TELLING.values(), *ODD]
    for together, text in zip(ask(client, *texts), texts, strict=True):
        [alone] = ask(client, text)
        assert together["outputs"]["words"] == alone["outputs"]["words"]
        assert together["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)


def test_its_rows_are_known_to_be_independent(client: TestClient) -> None:
    """So that texts of several callers may run together, if that is quicker here."""
    assert "together" in client.get("/models/news-mlp").json()["batching"]["reason"]


def test_long_text_does_not_hold_up_the_event_loop(client: TestClient) -> None:
    """It is expected to take long, and a sentence is not."""
    service = client.app_state["service"]
    model = service.store.find("news-mlp")
    inline = [
        service.scheduler.runs_inline(model, model.profile.weight({"text": np.array([text], object)}))
        for text in (TELLING["sport"], "The coach praised his players. " * 50_000)
    ]

    assert inline == [True, False]


def test_text_that_would_take_the_memory_is_refused_by_either_way(client: TestClient) -> None:
    text = "a" * 1_000_001
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    asked = {
        "/predict/news-mlp": {"texts": [text]},
        "/v2/models/news-mlp/infer": {"inputs": [tensor]},
    }
    answers = {path: client.post(path, json=document) for path, document in asked.items()}

    reason = "text 1 has 1,000,001 characters; at most 1,000,000 are allowed (PERCEPT_MAX_CHARACTERS)"
    assert [answer.status_code for answer in answers.values()] == [413, 413]
    assert all(reason in answer.text for answer in answers.values())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what is resident")
def test_it_takes_little_of_a_workers_memory() -> None:
    """Beside a model that is loaded already, and after articles of up to 4,500 characters."""
    command = [sys.executable, "-c", MEMORY]
    kilobytes = int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout)

    assert 1_000 < kilobytes < 8_000
