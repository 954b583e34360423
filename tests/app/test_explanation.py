"""What an explanation is expected to take, whether many are taken at once, and when one ends."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any, cast

import numpy as np
import onnx
import orjson
import pytest
from fastapi.testclient import TestClient

from app.errors import CallerGone, InvalidRequest
from app.explanation import drawing, explaining
from app.explanation_request import Picture, Wishes
from app.gradient_saliency import PICTURES_FOR
from app.inside import Insides, numbers_of
from app.main import create_app
from app.model import Model, load_model
from app.perturbation import CHARACTERS_TOGETHER, MOST_CHARACTERS, words_left_out
from app.profile import Profile
from app.runtime import CPU
from app.service import Service
from app.settings import Settings
from app.store import Store
from tests.conftest import ROOT, SAMPLES

SEVEN = (SAMPLES / "seven.png").read_bytes()
# Of mnist-cnn, in seconds: so that what is refused does not depend on the machine that tests it.
MEASURED = {1: 90e-6, 4: 300e-6, 16: 1.18e-3}


def committed(name: str) -> Model:
    return load_model(name, 1, ROOT / "artifacts" / name / "1" / "model.onnx", [CPU])


def with_profile(model: Model, seconds: dict[int, float] = MEASURED) -> Model:
    return replace(model, profile=replace(model.profile, seconds=seconds))


def estimate(model: Model, insides: Insides, body: bytes = SEVEN, **wishes: Any) -> float:
    return explaining(model, insides, Wishes(**wishes), Settings()).read(body).seconds


# --- ten at once ------------------------------------------------------------------------------------------------------


def test_ten_clients_of_a_fresh_server_are_all_answered(tmp_path: Path) -> None:
    """By a worker that computes one at a time, with the settings as they are."""
    copytree(ROOT / "artifacts" / "mnist-cnn", tmp_path / "mnist-cnn")
    with TestClient(create_app(Settings(artifacts=tmp_path))) as client, ThreadPoolExecutor(10) as clients:
        service: Service = client.app_state["service"]
        service.scheduler.slots = 1
        [model] = service.store.newest()
        service.repository.store = Store({model.name: {1: with_profile(model)}})
        answers = list(clients.map(lambda _: client.post("/explain/digits", files={"file": SEVEN}), range(10)))

    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.content for answer in answers}) == 1


def test_ten_estimates_of_a_fresh_server_leave_room_for_the_tenth() -> None:
    model, insides = with_profile(committed("mnist-cnn")), Insides()
    estimates = [estimate(model, insides) for _ in range(10)]

    assert estimates[0] > estimates[1] == estimates[9]  # the first opens what all need
    assert sum(estimates[:9]) <= Settings().max_wait_ms / 1_000


# --- what it is expected to take --------------------------------------------------------------------------------------


def test_estimate_follows_what_is_wished() -> None:
    model, insides = with_profile(committed("mnist-cnn")), Insides()
    insides.table(model)
    insides.announce(model)
    insides.saliency.announce(model)
    neither = estimate(model, insides, gradients=False, occlusion=False)
    covered = estimate(model, insides, gradients=False) - neither
    pictures = estimate(model, insides, gradients=False, occlusion=False, pictures=True) - neither
    one = estimate(model, insides, gradients=False, occlusion=False, layer="conv2d")
    drawn = drawing(model, insides, Wishes(layer="conv2d"), Settings()).read(SEVEN).seconds
    white = estimate(model, insides, gradients=False, fill=255) - neither

    assert covered == pytest.approx(model.profile.estimate(60) + 169 * 6e-6)  # 59 of them cover ink
    assert white == pytest.approx(model.profile.estimate(170) + 169 * 6e-6)
    assert estimate(model, insides, occlusion=False) - neither == pytest.approx(4.5 * model.profile.estimate(50))
    assert pictures == pytest.approx(55_780 * 1e-7)
    assert drawn == one
    iris = committed("iris-mlp")
    insides.activations(iris, {"rows": np.zeros((1, 4), np.float32)})
    told, row = sum(numbers_of([each], 1, 1) for each in insides.table(iris).layers), b'{"rows": [[0, 0, 0, 0]]}'
    numbers = estimate(iris, insides, row, numbers=True) - estimate(iris, insides, row)
    assert numbers == pytest.approx(told * 1e-7) and 0 < told < 20_000


def test_picture_that_is_drawn_alone_takes_no_layers() -> None:
    model, insides = with_profile(committed("mnist-cnn")), Insides()
    insides.saliency.announce(model)

    def seconds(picture: Picture) -> float:
        return drawing(model, insides, Wishes(picture=picture), Settings()).read(SEVEN).seconds

    seen = seconds("input")
    assert seen == pytest.approx(0.0005 + model.profile.estimate(1))
    assert seconds("occlusion") - seen == pytest.approx(model.profile.estimate(60) + 169 * 6e-6)
    for picture, gradients in PICTURES_FOR.items():
        expected = 4.5 * model.profile.estimate(gradients)
        assert seconds(cast(Picture, picture)) - seen == pytest.approx(expected)
    assert PICTURES_FOR["gradient"] == 2
    assert insides.known_table(model) is None


def test_gradients_are_counted_where_there_are_any() -> None:
    model, insides = committed("mnist-kmeans"), Insides()
    estimate(model, insides)

    assert estimate(model, insides) == estimate(model, insides, gradients=False)


def test_each_part_of_a_row_or_a_text_counts() -> None:
    iris, news, insides = committed("iris-mlp"), committed("news-mlp"), Insides()
    row = orjson.dumps({"rows": [[5.9, 3.0, 4.2, 1.5]]})
    text = " ".join(f"word{chr(97 + place % 25)}{chr(97 + place // 25)}" for place in range(50))
    weight = news.profile.weight({"text": np.array([text], object)})
    for model, body, rows, characters in (
        (iris, row, 1 + 4, 0),
        (news, orjson.dumps({"texts": [text]}), (1 + 50) * weight, len(text)),
    ):
        estimate(model, insides, body)
        parts = estimate(model, insides, body) - estimate(model, insides, body, occlusion=False)
        assert parts == pytest.approx(model.profile.estimate(rows) + characters * 1e-7)


def test_model_that_could_not_be_measured_has_an_estimate() -> None:
    model = committed("mnist-dnn")
    unmeasured = replace(model, profile=Profile({}, False, False, "not measured"))

    assert 0 < estimate(unmeasured, Insides()) < 1


def test_words_of_a_long_text_are_fewer_and_run_in_small_batches() -> None:
    """So that neither the time nor the memory grows with the square of the text."""
    words = ["word" + f"{place:06}".translate(str.maketrans("0123456789", "abcdefghij")) for place in range(15_000)]
    text, sizes = " ".join(words), list[int]()
    news = committed("news-mlp")

    class Watched:
        """The model, which says how many characters it was given."""

        session, require_card = news.session, news.require_card

        def run(self, inputs: dict[str, Any], outputs: list[str]) -> list[Any]:
            sizes.append(sum(map(len, inputs["text"])))
            return news.run(inputs, outputs)

    found = words_left_out(Watched(), text, 0, lambda: None)  # type: ignore[arg-type]

    assert found is not None
    assert len(found["parts"]) == MOST_CHARACTERS // len(text) == 12
    assert max(sizes) <= CHARACTERS_TOGETHER
    for few, parts in (("", 0), ("?!", 0), (" ".join(words[:200]), 100)):
        told = words_left_out(news, few, 0, lambda: None)
        assert told is not None and len(told["parts"]) == parts


def test_patches_of_a_tensor_are_as_many_as_the_models_time_allows(tmp_path: Path) -> None:
    made = onnx.load(ROOT / "artifacts" / "mnist-lenet" / "1" / "model.onnx")
    del made.metadata_props[:]
    onnx.save(made, tmp_path / "model.onnx")
    bare = load_model("bare", 1, tmp_path / "model.onnx", [CPU])
    entry = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": [0] * 784}
    body = orjson.dumps({"inputs": [entry]})
    counts = []
    for seconds in (0.001, 0.005, 0.02, 0.1, 0.4):
        slow = with_profile(bare, {1: seconds, 4: 4 * seconds, 16: 16 * seconds})
        asked = explaining(slow, Insides(), Wishes(), Settings()).read(body)
        left_out = explaining(slow, Insides(), Wishes(occlusion=False), Settings()).read(body)
        counts.append(asked.patches.count if asked.patches else 0)
        assert asked.seconds - left_out.seconds <= 0.5 + 2.1 * seconds
    slow = with_profile(bare, {1: 0.02, 16: 0.32})

    assert counts == [169, 49, 16, 4, 0]
    with pytest.raises(InvalidRequest, match="a stride of 2 has 169 positions; of model 'bare' at most"):
        explaining(slow, Insides(), Wishes(patch=4), Settings()).read(body)


# --- when it ends -----------------------------------------------------------------------------------------------------


def calls_until(model: Model, body: bytes, wishes: Wishes, most: int | None) -> int:
    """How often it asks whether to go on; the one after `most` raises."""
    insides, calls = Insides(), 0

    def go_on() -> None:
        nonlocal calls
        calls += 1
        if calls == most:
            raise CallerGone

    work = explaining(model, insides, wishes, Settings())
    work.answer(work.read(body), go_on)
    return calls


def test_it_can_be_stopped_before_each_layer_and_each_batch() -> None:
    model = committed("mnist-cnn")
    plain = calls_until(model, SEVEN, Wishes(gradients=False, occlusion=False), None)

    assert plain == 3 + 16  # before the prediction, the layers, the run; before each layer
    assert calls_until(model, SEVEN, Wishes(gradients=False), None) == plain + 4  # 60 pictures, 16 at a time
    assert calls_until(model, SEVEN, Wishes(occlusion=False), None) == plain + 4  # 2, 16 and 32 pictures
    for most in (1, plain - 1):
        with pytest.raises(CallerGone):
            calls_until(model, SEVEN, Wishes(), most)
