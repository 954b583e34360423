"""What cards say about inputs, written anew without training."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from sklearn.svm import SVC

from app.card import CARD_KEY, Card, RowsInput, TextInput, read_card
from tests.conftest import ROOT
from training import cards, export
from training.iris import SPLIT_SEED, flowers, split_rows
from training.words import WORD

ARTIFACTS = ROOT / "artifacts"
DESCRIBED = [
    *("xor-perceptron", "xor-mlp", "xor-sigmoid", "iris-mlp", "blobs-svm", "moons-svm"),
    *("players-kmeans", "tshirt-kmeans", "news-mlp"),
]


def opened(path: Path) -> tuple[onnx.ModelProto, Card, dict[str, str]]:
    """The model, its card, and its other metadata."""
    model = onnx.load(path)
    metadata = {each.key: each.value for each in model.metadata_props}
    card = read_card(metadata)
    assert card is not None
    del metadata[CARD_KEY]
    return model, card, metadata


def test_systems_that_know_what_they_take_are_those_of_rows_and_texts() -> None:
    """But Q-learning, whose states are choices."""
    assert sorted(cards.DESCRIBING) == sorted(DESCRIBED)


@pytest.mark.parametrize("name", DESCRIBED)
def test_committed_cards_say_what_the_data_say(name: str) -> None:
    """If not: python -m training.cards"""
    _, card, _ = opened(ARTIFACTS / name / "1" / "model.onnx")

    assert card.input == cards.DESCRIBING[name].takes()


def test_only_the_input_of_a_card_is_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("iris-mlp", "xor-sigmoid"):
        folder = tmp_path / name / "1"
        folder.mkdir(parents=True)
        model, card, metadata = opened(ARTIFACTS / name / "1" / "model.onnx")
        assert isinstance(card.input, RowsInput)
        features = [feature.model_copy(update={"usual": []}) for feature in card.input.features]
        older = card.model_copy(update={"input": RowsInput(features=features)})
        onnx.helper.set_model_props(model, {CARD_KEY: older.model_dump_json()} | metadata)
        onnx.save(model, folder / "model.onnx")
    shutil.copytree(ARTIFACTS / "blobs-svm", tmp_path / "blobs-svm")
    before = (tmp_path / "blobs-svm" / "1" / "model.onnx").stat().st_mtime_ns
    assert cards.main(["--artifacts", str(tmp_path)]) == 0

    for name in ("iris-mlp", "xor-sigmoid"):
        model, card, metadata = opened(tmp_path / name / "1" / "model.onnx")
        committed, expected, others = opened(ARTIFACTS / name / "1" / "model.onnx")
        assert (card, metadata) == (expected, others)
        assert model.graph.SerializeToString(deterministic=True) == committed.graph.SerializeToString(
            deterministic=True
        )
        assert (model.ir_version, model.opset_import) == (committed.ir_version, committed.opset_import)
    assert (tmp_path / "blobs-svm" / "1" / "model.onnx").stat().st_mtime_ns == before
    told = capsys.readouterr().out.splitlines()
    assert [line.rpartition(": ")[2] for line in told] == ["written", "written", "as it was"]
    assert [file.name for file in export.versions(tmp_path / "iris-mlp")] == ["model.onnx"]


def test_means_are_those_of_what_was_learned_from() -> None:
    _, iris, _ = opened(ARTIFACTS / "iris-mlp" / "1" / "model.onnx")
    _, news, _ = opened(ARTIFACTS / "news-mlp" / "1" / "model.onnx")
    learned = split_rows(*flowers(), SPLIT_SEED)[0].features[0].numpy()
    assert isinstance(iris.input, RowsInput) and isinstance(news.input, TextInput)

    assert learned.shape == (112, 4)
    assert np.array([feature.usual for feature in iris.input.features])[:, 0] == pytest.approx(
        learned.mean(0, dtype=float), abs=5e-5
    )
    assert news.input.word == WORD


@pytest.mark.parametrize(
    ("name", "oracle"), [("blobs-svm", SVC(kernel="linear", C=1e10)), ("moons-svm", SVC(kernel="rbf", C=100, gamma=1))]
)
def test_support_vectors_can_be_read_off_the_points_of_a_card_and_their_margins(name: str, oracle: SVC) -> None:
    """As whoever has the API alone does it: those are within the margin, on its edge or on the wrong side."""
    model, card, _ = opened(ARTIFACTS / name / "1" / "model.onnx")
    assert isinstance(card.input, RowsInput)
    points, classes = np.array(card.input.points), np.array(card.input.classes)
    margins = export.run(model.SerializeToString(), points.astype(np.float32))["margin"]
    support = np.flatnonzero(np.where(classes == 1, 1, -1) * margins <= 1 + 2e-3)

    assert len(support) == card.metrics["support_vectors"]
    assert support.tolist() == sorted(oracle.set_params(tol=1e-8).fit(points, classes).support_)
