"""The pictures beside an artifact. Each function draws one and returns PNG bytes; none reads data or a network."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import NDArray

from app.card import Epoch

Pictures = NDArray[np.uint8]  # [N, H, W]
Probabilities = NDArray[np.float32]  # [N, classes]
Labels = NDArray[np.int64]  # [N]
Points = NDArray[np.float32]  # [N, 2]

RIGHT, WRONG, QUIET, TRAIN = "#2563c9", "#c62f2f", "#b8bec8", "#e08a1e"
BAND = "#9dbcf0"
DPI = 100
TEXT = 9
ARROWS = ((-1, 0), (0, 1), (1, 0), (0, -1))  # left, down, right, up: across and down
TILES = {"H": ("#3b4352", "hole"), "G": (RIGHT, "goal")}
Q_COLOURS = "YlGn"
WORDS_OF_A_MISTAKE = 7


def learning_curves(history: Sequence[Epoch], floor: float | None = None) -> bytes:
    """Loss and accuracy per epoch, training and validation."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    epochs = [row.epoch for row in history]
    losses.plot(epochs, [row.loss for row in history], color=TRAIN, label="training")
    losses.plot(epochs, [row.validation_loss for row in history], color=RIGHT, label="validation")
    losses.set(xlabel="epoch", ylabel="cross-entropy", yscale="log", title="Loss")
    accuracies.plot(epochs, [100 * row.accuracy for row in history], color=TRAIN, label="training")
    accuracies.plot(epochs, [100 * row.validation_accuracy for row in history], color=RIGHT, label="validation")
    if floor is not None:
        accuracies.axhline(100 * floor, color=QUIET, linestyle="--", linewidth=1, label="floor of the test accuracy")
    lowest = 100 * np.median([row.accuracy for row in history]) - 5
    accuracies.set(xlabel="epoch", ylabel="accuracy in %", title="Accuracy", ylim=(max(0, lowest), 100))
    for axes in (losses, accuracies):
        axes.grid(color="#eceef1")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=TEXT)
    return png(figure)


def confusion_matrix(truth: Labels, predicted: Labels, names: Sequence[str], what: str = "pictures") -> bytes:
    """Rows are the truth, columns the answers; colour is the share of the row, numbers are counts."""
    counts = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(counts, (truth, predicted), 1)
    figure = Figure(figsize=(6.6, 6), layout="constrained")
    axes = figure.subplots()
    # The square root makes the rare confusions visible beside the diagonal.
    axes.imshow(np.sqrt(counts / counts.sum(1, keepdims=True).clip(1)), cmap="Blues", vmin=0, vmax=1)
    size = max(8, 16 - len(names))  # as the cells have room for it
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            colour = "white" if row == column else "#30343b"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=size, color=colour)
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=45 if max(map(len, names)) > 2 else 0, ha="right", rotation_mode="anchor")
    if max(map(len, names)) <= 2:
        axes.set_xticks(ticks, names, ha="center")
    axes.set_yticks(ticks, names)
    axes.set(xlabel="answer", ylabel="truth", title=f"Confusion on {len(truth):,} test {what}")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return png(figure)


def predictions(pictures: Pictures, probabilities: Probabilities, truth: Labels, names: Sequence[str]) -> bytes:
    """The first 15 pictures with answer, confidence and the probabilities as bars: blue when right, red when wrong."""
    return _answers(pictures[:15], probabilities[:15], truth[:15], names, "15 test pictures")


def mistakes(pictures: Pictures, probabilities: Probabilities, truth: Labels, names: Sequence[str]) -> bytes:
    """The 15 wrong answers that were given with the most confidence."""
    wrong = np.flatnonzero(probabilities.argmax(1) != truth)
    worst = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:15]
    title = f"The most confident of {len(wrong):,} mistakes on {len(truth):,} test pictures"
    return _answers(pictures[worst], probabilities[worst], truth[worst], names, title)


def filters(weights: NDArray[np.float32], columns: int = 8, title: str | None = None) -> bytes:
    """First-layer filters, [N, H, W], each on a scale of its own: red pulls the unit down, blue up, white is zero."""
    rows = -(-len(weights) // columns)
    figure = Figure(figsize=(columns * 0.8, rows * 0.8 + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, weight in zip(grid.flat, weights, strict=False):
        largest = float(np.abs(weight).max()) or 1.0
        axes.imshow(weight, cmap="RdBu", vmin=-largest, vmax=largest, interpolation="nearest")
    for axes in grid.flat:
        axes.axis("off")
    figure.suptitle(title or f"The {len(weights)} first-layer filters", fontsize=TEXT + 2)
    return png(figure)


@dataclass(frozen=True)
class Runs:
    """Loss and share of right answers of many runs, [noted steps, runs], one every so many steps."""

    losses: NDArray[np.float32]
    right: NDArray[np.float32]
    every: int = 1

    def part(self, runs: slice) -> "Runs":
        return Runs(self.losses[:, runs], self.right[:, runs], self.every)


def training_bands(
    kinds: Mapping[str, Runs],
    loss: str,
    runs: str = "seeds",
    step: str = "step",
    where: str = "all four points",
    least: float = 1e-4,
) -> bytes:
    """By kind a column: losses above, accuracies below, both over the rows named by `where`; each run a faint line
    behind the middle half and the median of the losses, the mean of the accuracies. Losses below `least` are off the
    axis."""
    figure = Figure(figsize=(max(6.4, 3.6 * len(kinds)), 6), layout="constrained")
    panels = figure.subplots(2, len(kinds), squeeze=False, sharex="col", sharey="row")
    for (losses, accuracies), (title, each) in zip(panels.T, kinds.items(), strict=True):
        steps = each.every * np.arange(len(each.losses))
        _band(losses, steps, each.losses)
        losses.plot(steps, np.median(each.losses, axis=1), color=RIGHT, linewidth=2, label="median", zorder=4)
        _band(accuracies, steps, 100 * each.right)
        accuracies.plot(steps, 100 * each.right.mean(1), color=TRAIN, linewidth=2, label="mean", zorder=4)
        losses.set(title=f"{title}, {each.losses.shape[1]} {runs}")
        accuracies.set(xlabel=step)
    lowest = max(least, min(float(each.losses.min()) for each in kinds.values()) / 1.5)
    panels[0, 0].set(ylabel=f"{loss}, {where}", yscale="log", ylim=(lowest, None))
    panels[1, 0].set(ylabel=f"accuracy in %, {where}", ylim=(-3, 103))
    for axes in panels.flat:
        axes.grid(color="#eceef1")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[:, 0]:
        axes.legend(frameon=True, fontsize=TEXT).set_zorder(5)
    return png(figure)


def _band(axes: Axes, steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
    """Every run as a faint line, and before them all the band of the middle half."""
    low, high = np.percentile(values, (25, 75), axis=1)
    axes.plot(steps, values, color=QUIET, linewidth=0.4, alpha=0.5, zorder=2)
    axes.fill_between(steps, low, high, color=BAND, alpha=0.75, linewidth=0, label="the middle half", zorder=3)


def split_accuracies(runs: Mapping[str, NDArray[np.float32]], floor: float) -> bytes:
    """The accuracy of each split by run, as dots, with the mean."""
    figure = Figure(figsize=(7, 1 + 0.7 * len(runs)), layout="constrained")
    axes = figure.subplots()
    for place, values in enumerate(runs.values()):
        beside = np.argsort(np.argsort(values, kind="stable"), kind="stable") / len(values) - 0.5
        axes.scatter(100 * values, place + 0.4 * beside, s=22, color=QUIET)
        axes.plot([100 * values.mean()] * 2, [place - 0.3, place + 0.3], color=RIGHT, linewidth=2)
        axes.text(100 * values.mean(), place - 0.36, f"{values.mean():.1%}", ha="center", va="bottom", fontsize=TEXT)
    axes.axvline(100 * floor, color=QUIET, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(runs)), list(runs))
    axes.set(xlabel=f"test accuracy in %, {len(next(iter(runs.values())))} splits", ylim=(len(runs) - 0.5, -0.7))
    axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def grid(low: float, high: float, side: int) -> Points:
    """[side, side, 2]: points of a square."""
    across = np.linspace(low, high, side, dtype=np.float32)
    return np.stack(np.meshgrid(across, across), axis=-1)


def decision_surface(
    probability: Callable[[Points], Points], points: Points, truth: NDArray[np.float32], names: Sequence[str]
) -> bytes:
    """What a model of two numbers answers everywhere around its points, the line at one half drawn."""
    square = grid(-0.5, 1.5, 121)
    answers = probability(square.reshape(-1, 2)).reshape(square.shape[:2])
    figure = Figure(figsize=(4.8, 4), layout="constrained")
    axes = figure.subplots()
    drawn = axes.contourf(square[..., 0], square[..., 1], answers, levels=np.linspace(0, 1, 21), cmap="RdBu")
    if answers.min() < 0.5 < answers.max():
        axes.contour(square[..., 0], square[..., 1], answers, levels=[0.5], colors="#30343b", linewidths=1.2)
    _two_classes(axes, points, truth, names)
    axes.set(xlabel="a", ylabel="b", aspect="equal")
    figure.colorbar(drawn, ax=axes, ticks=[0, 0.5, 1], label=f"probability of {names[1]}")
    return png(figure)


def folded_plane(
    square: Points, hidden: Points, points: Points, truth: NDArray[np.float32], names: Sequence[str]
) -> bytes:
    """Where two hidden units put the unit square: its grid lines, [side, side, 2], before and after; `points` are the
    four corners after."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    before, after = figure.subplots(1, 2)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    for axes, lines, at, title in (
        (before, square, corners, "the inputs"),
        (after, hidden, points, "the hidden units"),
    ):
        axes.plot(lines[..., 0], lines[..., 1], color=QUIET, linewidth=0.7)
        axes.plot(lines[..., 0].T, lines[..., 1].T, color=QUIET, linewidth=0.7)
        _two_classes(axes, at, truth, names)
        axes.set(title=title, aspect="equal", xlim=(-0.08, 1.08), ylim=(-0.08, 1.08))
    return png(figure)


def lake_policies(policies: Mapping[str, tuple[NDArray[Any], NDArray[np.int64]]], tiles: str) -> bytes:
    """By title: value and action of each state on the square map, as colour, number and arrow."""
    figure = Figure(figsize=(4.4 * len(policies) + 0.8, 4.6), layout="constrained")
    panels = figure.subplots(1, len(policies), squeeze=False)[0]
    side = math.isqrt(len(tiles))
    every = np.concatenate([values[_goes_on(tiles)] for values, _ in policies.values()])
    colours = ScalarMappable(Normalize(every.min(), every.max()), Q_COLOURS)
    for axes, (title, (values, actions)) in zip(panels, policies.items(), strict=True):
        for state, (value, action) in enumerate(zip(values, actions, strict=True)):
            row, column = divmod(state, side)
            if _goes_on(tiles)[state]:
                across, down = ARROWS[action]
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=colours.to_rgba(value)))
                ink = _ink(colours, value)
                axes.annotate(
                    "",
                    (column + 0.27 * across, row - 0.08 + 0.27 * down),
                    (column - 0.27 * across, row - 0.08 - 0.27 * down),
                    arrowprops={"arrowstyle": "-|>", "linewidth": 2, "color": ink, "mutation_scale": 16},
                )
                axes.text(column, row + 0.4, f"{value:.3f}", ha="center", va="center", fontsize=TEXT, color=ink)
            _tile(axes, tiles[state], column, row, _ink(colours, value))
        _map(axes, side, title)
    figure.colorbar(colours, ax=list(panels), label="largest Q-value", shrink=0.85)
    return png(figure)


def q_table(q: NDArray[Any], tiles: str) -> bytes:
    """Q-values, [states, actions], as four triangles in each cell of the square map; the largest is in bold."""
    side = math.isqrt(len(tiles))
    figure = Figure(figsize=(7.6, 6.6), layout="constrained")
    axes = figure.subplots()
    colours = ScalarMappable(Normalize(min(0, q[_goes_on(tiles)].min()), max(1, q.max())), Q_COLOURS)
    for state, action in np.argwhere(_goes_on(tiles)[:, None] & np.ones(len(ARROWS), bool)):
        row, column = divmod(int(state), side)
        across, down = ARROWS[action]
        # The edge of the cell that the action leads to, and the middle.
        edge = [(column + (across + k * down) / 2, row + (down + k * across) / 2) for k in (-1, 1)]
        value = q[state, action].round(3) + 0.0  # no -0.000
        axes.add_patch(Polygon([(column, row), *edge], facecolor=colours.to_rgba(value), edgecolor="white"))
        place, weight = (column + 0.32 * across, row + 0.32 * down), "bold" if action == q[state].argmax() else "normal"
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": TEXT, "fontweight": weight}
        axes.text(*place, f"{value:.3f}", color=_ink(colours, value), **style)
    for state, tile in enumerate(tiles):
        _tile(axes, tile, state % side, state // side, _ink(colours, q[state].max()))
    _map(axes, side, "Q-values of left, down, right and up")
    figure.colorbar(colours, ax=axes, label="Q-value", shrink=0.85)
    return png(figure)


def learning_by_episode(
    runs: Mapping[str, tuple[NDArray[Any], NDArray[Any], NDArray[Any]]], optimum: float, most: int
) -> bytes:
    """By run: the episodes that had ended, the success of the greedy policy and the error of its Q-values, each
    [notes, seeds]. Every seed is a faint line, their mean a strong one."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for (title, (episodes, *measured)), colour in zip(runs.items(), (TRAIN, RIGHT), strict=True):
        # Seeds come to the same number of episodes at different times.
        until = np.linspace(0, min(most, episodes[-1].min()), 200)
        for axes, each in zip(panels, measured, strict=True):
            seeds = [np.interp(until, *pair) for pair in zip(episodes.T, each.T, strict=True)]
            axes.plot(until, np.transpose(seeds), color=colour, linewidth=0.5, alpha=0.3)
            axes.plot(until, np.mean(seeds, axis=0), color=colour, label=f"{title}, mean of {len(seeds)} seeds")
    success, error = panels
    success.axhline(optimum, color="#30343b", linestyle="--", linewidth=1, label="value iteration")
    success.set(ylabel="success of the greedy policy", title="Reaches the goal within 100 steps", ylim=(-0.02, 1.02))
    error.set(ylabel="largest error", title="Q-values against value iteration", yscale="log", ylim=(1e-4, None))
    for axes in panels:
        axes.set(xlabel="episodes")
        axes.grid(color="#eceef1")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*success.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return png(figure)


def _goes_on(tiles: str) -> NDArray[np.bool_]:
    return np.array([tile in "SF" for tile in tiles])


def _ink(colours: ScalarMappable, value: float) -> str:
    """What can be read on the colour of the value."""
    low, high = colours.get_clim()
    assert low is not None and high is not None
    return "white" if value > low + 0.65 * (high - low) else "#1d2128"


def _tile(axes: Axes, tile: str, column: int, row: int, ink: str) -> None:
    """Holes and the goal in the middle of their cell, the start in a corner of its own."""
    if tile in TILES:
        colour, name = TILES[tile]
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=colour))
        axes.text(column, row, name, ha="center", va="center", color="white", fontsize=TEXT + 2, fontweight="bold")
    elif tile == "S":
        axes.text(column - 0.45, row - 0.43, "start", ha="left", va="top", fontsize=TEXT - 1, color=ink)


def _map(axes: Axes, side: int, title: str) -> None:
    axes.set(title=title, xticks=[], yticks=[], xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5), aspect="equal")
    for line in np.arange(0.5, side - 1):
        axes.axhline(line, color="white", linewidth=2)
        axes.axvline(line, color="white", linewidth=2)
    axes.spines[:].set_visible(False)


def words_by_topic(topics: Mapping[str, Mapping[str, float]], what: str) -> bytes:
    """For each topic some words with what they weigh, the heaviest first, as bars on one scale."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, len(topics), sharex=True)
    for axes, (topic, words) in zip(panels, topics.items(), strict=True):
        axes.barh(range(len(words)), list(words.values()), color=RIGHT, height=0.7)
        axes.set_yticks(range(len(words)), list(words), fontsize=TEXT)
        axes.set(title=topic, ylim=(len(words) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.grid(axis="x", color="#eceef1")
        axes.set_axisbelow(True)
    figure.supxlabel(what, fontsize=TEXT)
    return png(figure)


@dataclass(frozen=True)
class WrongArticle:
    beginning: str
    truth: str
    answer: str
    probability: float
    words: Mapping[str, float]  # that spoke for the answer, with what they weigh


def wrong_articles(articles: Sequence[WrongArticle], title: str) -> bytes:
    """How each article begins, what it is, what the answer was and which words spoke for it."""
    figure = Figure(figsize=(9.6, 0.62 * max(1, len(articles)) + 0.6), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(max(1, len(articles)), -0.1))
    for place, each in enumerate(articles):
        spoke = [f"{word} {weight:.2f}" for word, weight in each.words.items()]
        lines = (
            (0, 0.1, each.beginning, "black", TEXT + 1),
            (0.56, 0.1, f"is {each.truth}, answered {each.answer} {each.probability:.0%}", WRONG, TEXT + 1),
            (0, 0.5, ", ".join(spoke[:WORDS_OF_A_MISTAKE]), "#6b7280", TEXT),
        )
        for across, down, text, colour, size in lines:
            # Between two dollars Matplotlib would read a formula.
            written = axes.text(across, place + down, text, color=colour, fontsize=size, va="top", parse_math=False)
            written.set_in_layout(False)
        axes.axhline(place + 0.94, color="#eceef1", linewidth=1)
    figure.suptitle(title, fontsize=TEXT + 3)
    return png(figure)


def _two_classes(axes: Axes, points: Points, truth: NDArray[np.float32], names: Sequence[str]) -> None:
    for value, colour in ((0, WRONG), (1, RIGHT)):
        chosen = points[truth == value]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=60, color=colour, edgecolor="white", label=names[value], zorder=3)
    axes.legend(frameon=True, fontsize=TEXT)
    axes.spines[["top", "right"]].set_visible(False)


def _answers(
    pictures: Pictures, probabilities: Probabilities, truth: Labels, names: Sequence[str], title: str
) -> bytes:
    figure = Figure(figsize=(10, 8.6), layout="constrained")
    grid = figure.subplots(5, 6, width_ratios=[1, 1.25] * 3)
    for axes in grid.flat:
        axes.axis("off")
    for place, (picture, row, label) in enumerate(zip(pictures, probabilities, truth, strict=True)):
        shown, bars = grid[place // 3, 2 * (place % 3)], grid[place // 3, 2 * (place % 3) + 1]
        _picture(shown, picture, row, label, names)
        _bars(bars, row, label, names)
    figure.suptitle(title, fontsize=TEXT + 3)
    return png(figure)


def _picture(
    axes: Axes, picture: NDArray[np.uint8], probabilities: NDArray[np.float32], label: int, names: Sequence[str]
) -> None:
    answer = int(probabilities.argmax())
    right = answer == label
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=255)
    text = f"{names[answer]} {probabilities[answer]:.1%}" + ("" if right else f"\nis {names[label]}")
    axes.set_title(text, color=RIGHT if right else WRONG, fontsize=TEXT)


def _bars(axes: Axes, probabilities: NDArray[np.float32], label: int, names: Sequence[str]) -> None:
    answer = int(probabilities.argmax())
    colours = [RIGHT if k == label else WRONG if k == answer else QUIET for k in range(len(names))]
    axes.axis("on")
    axes.barh(range(len(names)), probabilities, color=colours, height=0.7)
    axes.set(xlim=(0, 1), xticks=[], ylim=(len(names) - 0.4, -0.6))
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def png(figure: Figure) -> bytes:
    """The file, the same for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
