"""Both ways are timed, for weights and for pixels."""

from benchmarks.backward import by_pixels, by_weights, row
from training.mlp import RECIPES


def test_both_ways_are_timed() -> None:
    forwards, backwards = by_weights(RECIPES[0].body(), rounds=3)

    assert forwards > 0
    assert forwards + backwards > 0
    assert by_pixels(RECIPES[0].name, rounds=3)[0] > 0


def test_row_tells_milliseconds_and_their_ratio() -> None:
    assert row("mnist-cnn", "the weights", 0.02, 0.035) == "| `mnist-cnn` | the weights | 20.00 | 35.00 | 1.8 |"
