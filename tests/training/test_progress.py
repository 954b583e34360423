"""What is told of a training of several models, by hand."""

from pathlib import Path

import pytest

from app.card import Card
from tests.conftest import ROOT
from training.export import card_in
from training.progress import BESIDES, DRY, Outcome, Progress


@pytest.fixture(scope="module")
def perceptron() -> Card:
    """Of three figures that have a floor."""
    card = card_in(ROOT / "artifacts" / "xor-perceptron" / "1" / "model.onnx")
    assert card is not None
    reached = {"mistakes_of_4_points": 1.0, "and_accuracy": 1.0, "or_accuracy": 0.98765}
    return card.model_copy(update={"metrics": reached, "floor": dict.fromkeys(reached, 0.75)})


def test_without_earlier_trainings_the_models_that_remain_are_told() -> None:
    progress = Progress(["a", "b", "c"], {})
    assert progress.left() == "00:00 gone, left without an estimate: a b c"

    progress.outcomes.append(Outcome("a", 61.4))
    assert progress.place("b") == "b (2 of 3)"
    assert progress.left() == "01:01 gone, left without an estimate: b c"


def test_what_is_left_is_what_it_took_earlier_times_the_pace_so_far() -> None:
    progress = Progress(["a", "b", "c", "new"], {name: 60.0 - BESIDES for name in "abc"})
    assert progress.left() == "00:00 gone, about 03:00 left, left without an estimate: new"

    progress.outcomes.append(Outcome("a", 90.0))
    assert progress.left() == "01:30 gone, about 03:00 left, left without an estimate: new"

    progress.outcomes.append(Outcome("b", 30.0))
    assert progress.pace() == 1.0
    assert progress.left() == "02:00 gone, about 01:00 left, left without an estimate: new"


def test_pace_is_not_that_of_what_failed_or_was_never_timed() -> None:
    progress = Progress(["a", "b", "new", "c"], {name: 60.0 - BESIDES for name in "abc"})
    progress.outcomes += [Outcome("a", 120.0), Outcome("b", 1.0, fault="no data"), Outcome("new", 500.0)]

    assert progress.pace() == 2.0
    assert progress.left() == "10:21 gone, about 02:00 left"


def test_end_of_each_is_told(perceptron: Card) -> None:
    assert str(Outcome("a", 3725.0, fault="no such file")) == "failed after 1:02:05: no such file"
    assert str(Outcome("a", 3.0)) == f"done in 00:03: {DRY}"
    assert str(Outcome("a", 3.0, perceptron)) == (
        "done in 00:03: mistakes of 4 points 1 (floor 0.75), and accuracy 1 (floor 0.75), "
        "or accuracy 0.9877 (floor 0.75)"
    )


def test_table_has_every_figure_with_a_floor_and_the_total(perceptron: Card) -> None:
    progress = Progress(["a", "b", "c"], {})
    progress.outcomes += [Outcome("a", 4.04, perceptron), Outcome("b", 61.0, fault="no data")]

    assert progress.failed == ["b"]
    assert progress.table().splitlines() == [
        "model  figure                floor  reached  seconds",
        "a      mistakes of 4 points   0.75        1      4.0",
        "a      and accuracy           0.75        1",
        "a      or accuracy            0.75   0.9877",
        "b      failed                                   61.0",
        "total  1 of 3                                   65.0",
    ]


def test_no_card_is_read_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"not a graph")

    assert card_in(tmp_path / "garbage") is None
    assert card_in(tmp_path / "nowhere") is None
