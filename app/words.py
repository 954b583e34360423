"""The words of a text as a model has them: which spellings are the same one, and where each stands. Pure: knows no
model."""

import re
import string
from itertools import pairwise

# Where a card does not say what a word is: letters and digits in a row, whatever their case.
USUAL = re.compile(r"[^\W_]+")
FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


Span = tuple[int, int]  # of a text: where a word begins, and where it has ended


def first_words(text: str, pattern: str | None, most: int) -> dict[str, list[Span]]:
    """The first different ones, and everywhere that each stands in the text. `pattern` finds a word once A to Z are
    small letters, as `TextInput.word` has it."""
    found = USUAL.finditer(text) if pattern is None else re.finditer(pattern, text.translate(FOLD))
    words = dict[str, list[Span]]()
    for each in found:
        word = each[0].casefold() if pattern is None else each[0]
        if word in words:
            words[word].append(each.span())
        elif len(words) < most:
            words[word] = [each.span()]
    return words


def without(text: str, spans: list[Span]) -> str:
    """The text with a space wherever one of these stood, so that what was around it does not grow together."""
    ends = [(0, 0), *spans, (len(text), len(text))]
    return " ".join([text[end:start] for (_, end), (start, _) in pairwise(ends)])
