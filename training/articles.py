"""Texts with a topic each, split so that no article has a twin on another side. Knows no network and no graph."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.data import ARTICLES, MEMBER, Source, read_archive
from training.words import words_of

TEST_SHARE, VALIDATION_SHARE = 0.25, 0.15
# The splits do not change with a training's seed.
SPLIT_SEED = 2006
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
# Shorter sentences are said by many.
SENTENCE_WORDS = 8


@dataclass(frozen=True)
class Articles:
    texts: list[str]
    labels: Tensor  # int64 [N]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: list[int]) -> "Articles":
        return Articles([self.texts[row] for row in rows], self.labels[rows])

    def joined(self, other: "Articles") -> "Articles":
        return Articles([*self.texts, *other.texts], torch.cat([self.labels, other.labels]))


def load_articles(source: Source, folder: Path) -> tuple[Articles, Articles]:
    """Training and validation split. Raises DataError."""
    everything = _read(source, folder)
    _, validation, train = _split(everything)
    return everything.take(train), everything.take(validation)


def load_test_articles(source: Source, folder: Path) -> Articles:
    """A quarter of all. Read it once, when every choice has been made."""
    everything = _read(source, folder)
    return everything.take(_split(everything)[0])


def _read(source: Source, folder: Path) -> Articles:
    members = read_archive(source, folder, ARTICLES)
    topics = [MEMBER.sub(r"\1", name) for name in members]
    labels = torch.tensor([source.labels.index(topic) for topic in topics])
    return Articles([decode(content) for content in members.values()], labels)


def decode(content: bytes) -> str:
    """UTF-8, or what Windows wrote where it is not."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _split(articles: Articles) -> tuple[list[int], list[int], list[int]]:
    """Rows of test, validation and training."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    groups = twins(articles.texts)
    test, validation = [], []
    for topic in articles.labels.unique().tolist():
        ours = [group for group in groups if articles.labels[group[0]] == topic]
        shuffled = [ours[place] for place in torch.randperm(len(ours), generator=generator).tolist()]
        rows = sum(map(len, ours))
        given: list[int] = []
        for group in shuffled:
            if len(given) < rows * TEST_SHARE:
                test += group
            elif len(given) < rows * (TEST_SHARE + VALIDATION_SHARE):
                validation += group
            given += group
    train = set(range(len(articles))) - set(test) - set(validation)
    return sorted(test), sorted(validation), sorted(train)


def twins(texts: list[str]) -> list[list[int]]:
    """Rows in groups: two texts that have a longer sentence in common are in one, directly or by way of others. An
    archive of news has articles twice, and again with a new beginning."""
    parents = list(range(len(texts)))

    def root(row: int) -> int:
        while parents[row] != row:
            row = parents[row]
        return row

    first: dict[tuple[str, ...], int] = {}
    for row, text in enumerate(texts):
        for sentence in _long_sentences(text):
            one, other = sorted((root(row), root(first.setdefault(sentence, row))))
            parents[other] = one
    groups: dict[int, list[int]] = {}
    for row in range(len(texts)):
        groups.setdefault(root(row), []).append(row)
    return list(groups.values())


def _long_sentences(text: str) -> Iterator[tuple[str, ...]]:
    for sentence in SENTENCE_END.split(text):
        words = tuple(words_of(sentence))
        if len(words) >= SENTENCE_WORDS:
            yield words
