"""What is drawn is the median; how much is kept with many models is told from rounds, not from drifting totals."""

from pathlib import Path

from benchmarks.scaling import Scaling, Series, draw, ratio_of_ends


def test_medians_leave_out_what_was_not_measured() -> None:
    assert Series("Percept", {1: [10, 30, 20], 2: [5.0], 4: []}).medians() == {1: 20, 2: 5}


def test_ratio_of_ends_is_the_median_of_the_rounds() -> None:
    assert ratio_of_ends({1: [100, 10, 50], 10: [1, 1, 1], 100: [50, 10, 45]}) == 0.9


def test_figure_is_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "figures" / "models.png"
    draw(Scaling("Models", "models", "requests/s", [Series("Percept", {1: [10.0], 100: [9.0]})], []), path)

    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size < 40_000
