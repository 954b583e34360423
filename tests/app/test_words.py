"""Which spellings are one word, and what is left without it."""

from app.words import first_words, without

LATIN = "[a-zÀ-ÖØ-öø-ɏ]{2,}"


def times(text: str, pattern: str | None = None) -> dict[str, int]:
    return {word: len(spans) for word, spans in first_words(text, pattern, 99).items()}


def test_usual_word_is_letters_and_digits_of_any_case() -> None:
    assert times("Cup, «CUP» — cup_cup: Straße STRASSE 2nd!") == {"cup": 4, "strasse": 2, "2nd": 1}
    assert times("?! …") == {}


def test_word_of_a_pattern_is_found_once_ascii_is_folded() -> None:
    assert times("Don't PANIC: 2 cafés, a b\0cd", LATIN) == {"don": 1, "panic": 1, "cafés": 1, "cd": 1}


def test_words_know_where_they_stand_beyond_the_first_few() -> None:
    text = "One two, ONE three one."

    assert first_words(text, None, 2) == {"one": [(0, 3), (9, 12), (19, 22)], "two": [(4, 7)]}


def test_what_stood_around_a_word_does_not_grow_together() -> None:
    text = "mp3s: the cup-final, Cup."

    assert without(text, first_words(text, None, 9)["cup"]) == "mp3s: the  -final,  ."
    assert without("mp3s", first_words("mp3s", "mp", 9)["mp"]) == " 3s"
    assert without(text, []) == text
