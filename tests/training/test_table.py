"""A table of text by hand."""

from training.table import aligned


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    rows = [("short", "–", "ok"), ("a longer one", "12.5", "far off")]

    assert aligned(("model", "n", "verdict"), rows) == (
        "model            n  verdict\nshort            –  ok\na longer one  12.5  far off"
    )


def test_without_rows_the_head_remains() -> None:
    assert aligned(("model", "n"), []) == "model  n"
