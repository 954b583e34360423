"""Figures are pictures, and what they show is what they were given."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.card import Epoch
from training import figures

NAMES = [str(digit) for digit in range(10)]
GENERATOR = np.random.default_rng(1)
PICTURES = GENERATOR.integers(0, 255, (40, 28, 28), dtype=np.uint8)
TRUTH = np.arange(40) % 10


def probabilities(right: bool) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    one_hot = np.eye(10, dtype=np.float32)[TRUTH if right else (TRUTH + 1) % 10]
    return 0.9 * one_hot + np.float32(0.01)


def colours(png: bytes) -> set[tuple[int, int, int]]:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3)
    return {(int(red), int(green), int(blue)) for red, green, blue in np.unique(pixels, axis=0)}


def rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def test_right_answers_are_blue_and_wrong_ones_red() -> None:
    right = colours(figures.predictions(PICTURES, probabilities(True), TRUTH, NAMES))
    wrong = colours(figures.predictions(PICTURES, probabilities(False), TRUTH, NAMES))

    assert rgb(figures.RIGHT) in right and rgb(figures.WRONG) not in right
    assert rgb(figures.WRONG) in wrong


def test_mistakes_are_only_mistakes() -> None:
    mixed = np.where((np.arange(40) < 20)[:, None], probabilities(True), probabilities(False)).astype(np.float32)

    drawn = figures.mistakes(PICTURES, mixed, TRUTH, NAMES)
    others = np.where((np.arange(40) < 20)[:, None, None], 255 - PICTURES, PICTURES)

    assert rgb(figures.WRONG) in colours(drawn)
    assert figures.mistakes(others, mixed, TRUTH, NAMES) == drawn


def test_a_model_without_mistakes_has_an_empty_picture_of_them() -> None:
    assert rgb(figures.WRONG) not in colours(figures.mistakes(PICTURES, probabilities(True), TRUTH, NAMES))


@pytest.mark.parametrize("names", [NAMES, [f"class number {name}" for name in NAMES]], ids=["short", "long"])
def test_confusion_matrix_is_drawn_for_short_and_long_names(names: list[str]) -> None:
    picture = Image.open(io.BytesIO(figures.confusion_matrix(TRUTH, (TRUTH + 1) % 10, names)))

    assert picture.size == (660, 600)


def test_words_of_each_topic_are_drawn_as_bars() -> None:
    topics = {topic: {f"{topic}-{place}": 1 / (1 + place) for place in range(15)} for topic in ("a", "b", "c")}
    few = {"a": {"one": 1.0}, "b": {}, "c": {"two": 0.5, "three": 0.1}}

    assert rgb(figures.RIGHT) in colours(figures.words_by_topic(topics, "weight"))
    assert figures.words_by_topic(topics, "weight") != figures.words_by_topic(few, "weight")


def test_wrong_articles_are_listed_with_what_spoke_for_the_answer() -> None:
    one = figures.WrongArticle("Film sold for $5bn, then $6bn", "business", "entertainment", 0.71, {"film": 1.25})
    drawn = figures.wrong_articles([one, one], "2 mistakes")

    assert rgb(figures.WRONG) in colours(drawn)
    assert Image.open(io.BytesIO(drawn)).height > Image.open(io.BytesIO(figures.wrong_articles([one], "1"))).height
    assert figures.wrong_articles([replace(one, words={"film": 1.2})] * 2, "2 mistakes") != drawn
    assert rgb(figures.WRONG) not in colours(figures.wrong_articles([], "no mistake"))


def test_learning_curves_are_drawn() -> None:
    history = [
        Epoch(epoch=n, loss=1 / n, accuracy=1 - 0.5 / n, validation_loss=2 / n, validation_accuracy=1 - 0.6 / n)
        for n in range(1, 6)
    ]
    drawn = colours(figures.learning_curves(history, floor=0.9))

    assert {rgb(figures.TRAIN), rgb(figures.RIGHT)} <= drawn


def test_band_and_its_middle_are_seen_before_a_hundred_lines() -> None:
    """A band of a colour of its own, median and mean on it: what lies behind them would leave none of their pixels."""
    steps = np.linspace(0, 1, 200, dtype=np.float32)[:, None]
    losses = np.exp(-5 * steps * np.linspace(0.5, 2, 100, dtype=np.float32))
    runs = figures.Runs(losses, 1 - losses / 2, every=3)
    pixels = np.asarray(Image.open(io.BytesIO(figures.training_bands({"SGD": runs}, "loss"))).convert("RGB"))

    def share(colour: str) -> float:
        return float((pixels == rgb(colour)).all(2).mean())

    assert share(figures.RIGHT) > 1e-3 and share(figures.TRAIN) > 1e-3
    band = np.array(rgb(figures.BAND)) * 0.75
    near = np.abs(pixels - (band + 0.25 * np.array(rgb(figures.QUIET)))).max(2) < 12
    assert near.mean() > 0.02


def test_runs_are_parted_by_run() -> None:
    runs = figures.Runs(np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float32), 5)
    part = runs.part(slice(1, 3))

    assert part.losses.tolist() == [[1, 2], [4, 5]] and part.every == 5


def test_filters_of_any_number_are_drawn() -> None:
    for number in (1, 6, 64):
        weights = GENERATOR.normal(size=(number, 5, 5)).astype(np.float32)
        assert Image.open(io.BytesIO(figures.filters(weights))).width == 640


def test_same_figure_twice_is_the_same_file() -> None:
    first, second = (figures.confusion_matrix(TRUTH, TRUTH, NAMES) for _ in range(2))

    assert first == second
