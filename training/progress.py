"""How far the training of several models has come: what each took, what it reached, what is left. Knows no network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from app.card import Card
from training.table import aligned

BESIDES = 3.0  # seconds for export, proof and figures, which are not among those that a card tells
DRY = "every step ran; nothing was kept"


@dataclass(frozen=True)
class Outcome:
    """Of one model: the card of what was written, none after a dry run, or why nothing was written."""

    name: str
    seconds: float
    card: Card | None = None
    fault: str = ""

    def __str__(self) -> str:
        if self.fault:
            return f"failed after {interval(self.seconds)}: {self.fault}"
        figures = [f"{figure} {reached} (floor {floor})" for figure, floor, reached in self.figures()]
        return f"done in {interval(self.seconds)}: {', '.join(figures) or DRY}"

    def figures(self) -> Iterator[tuple[str, str, str]]:
        """Name, floor and what was reached of each figure that has a floor."""
        if self.card is not None:
            for metric, floor in self.card.floor.items():
                yield metric.replace("_", " "), f"{floor:g}", f"{self.card.metrics[metric]:.4g}"

    def rows(self) -> Iterator[tuple[str, ...]]:
        rest = [("failed" if self.fault else DRY, "", "")]
        for place, cells in enumerate(list(self.figures()) or rest):
            yield (self.name, *cells, "" if place else f"{self.seconds:.1f}")


@dataclass
class Progress:
    """`earlier` are the seconds that the models' cards tell of trainings before, as far as there are any."""

    names: Sequence[str]
    earlier: Mapping[str, float]
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(outcome.seconds for outcome in self.outcomes)

    @property
    def failed(self) -> list[str]:
        return [outcome.name for outcome in self.outcomes if outcome.fault]

    def place(self, name: str) -> str:
        """Of the next."""
        return f"{name} ({len(self.outcomes) + 1} of {len(self.names)})"

    def left(self) -> str:
        """The next model counts among what is left."""
        remaining = self.names[len(self.outcomes) :]
        known = [name for name in remaining if name in self.earlier]
        unknown = [name for name in remaining if name not in self.earlier]
        return ", ".join(
            [
                f"{interval(self.seconds)} gone",
                *([f"about {interval(self.pace() * self.before(known))} left"] if known else []),
                *([f"left without an estimate: {' '.join(unknown)}"] if unknown else []),
            ]
        )

    def pace(self) -> float:
        """How many times as long it takes as earlier, by what is done."""
        comparable = [each for each in self.outcomes if each.name in self.earlier and not each.fault]
        before = self.before([outcome.name for outcome in comparable])
        return sum(outcome.seconds for outcome in comparable) / before if before else 1.0

    def before(self, names: Sequence[str]) -> float:
        return sum(self.earlier[name] + BESIDES for name in names)

    def table(self) -> str:
        rows = [row for outcome in self.outcomes for row in outcome.rows()]
        done = f"{len(self.outcomes) - len(self.failed)} of {len(self.names)}"
        return aligned(
            ("model", "figure", "floor", "reached", "seconds"), [*rows, ("total", done, "", "", f"{self.seconds:.1f}")]
        )


def interval(seconds: float) -> str:
    """`01:30`, or `1:02:03`"""
    return str(tqdm.format_interval(seconds))
