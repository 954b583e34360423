"""The pictures beside a clustering. Each function draws one and returns PNG bytes; none computes a cluster."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from training.figures import QUIET, RIGHT, TEXT, TRAIN, WRONG, Pictures, png
from training.kmeans import Round

Array = NDArray[Any]
COLOURS = (RIGHT, WRONG, TRAIN, "#2f8f5b")
INK = "#30343b"
COLUMNS = 8


def round_by_round(
    points: Array, rounds: Sequence[Round], axes_names: tuple[str, str], shown: Sequence[int] = (1, 2, 3, 4, 5)
) -> bytes:
    """Five rounds in two dimensions, by their numbers: where each centre comes from and goes to, whose each point is;
    and the inertia of all. `points` and the centres of `rounds` are in the same units."""
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    panels = figure.subplots(2, 3).flat
    numbered = [(number, rounds[number - 1]) for number in shown if number <= len(rounds)]
    everywhere = np.concatenate([points, *(np.asarray(each.centroids) for _, each in numbered)])
    low, high = everywhere.min(0), everywhere.max(0)
    edge = (high - low) * 0.06
    size = 16 if len(points) < 500 else 4
    for axes, (number, each) in zip(panels, numbered, strict=False):
        before, after = np.asarray(each.centroids), np.asarray(each.moved)
        for cluster, colour in zip(range(len(before)), COLOURS, strict=False):
            own = points[np.asarray(each.assignments) == cluster]
            axes.scatter(own[:, 0], own[:, 1], s=size, color=colour, alpha=0.55, linewidths=0)
            axes.scatter(*before[cluster], s=90, marker="X", facecolor="white", edgecolor=colour, linewidths=1.4)
            axes.plot(*np.stack([before[cluster], after[cluster]]).T, color=colour, linewidth=1, linestyle=":")
            axes.scatter(*after[cluster], s=90, marker="X", color=colour, edgecolor="white", linewidths=0.8, zorder=4)
        axes.set(title=f"round {number}: inertia {each.inertia:,.0f}", xlabel=axes_names[0], ylabel=axes_names[1])
        axes.set(xlim=(low[0] - edge[0], high[0] + edge[0]), ylim=(low[1] - edge[1], high[1] + edge[1]))
        axes.spines[["top", "right"]].set_visible(False)
    _inertia(figure.axes[5], "", [each.inertia for each in rounds])
    figure.axes[5].set(title="inertia of each round")
    figure.suptitle("✕ white: where a round finds a centre; ✕ filled: where it leaves it", fontsize=TEXT + 2)
    return png(figure)


def inertia_curves(inertias: Mapping[str, Sequence[float]]) -> bytes:
    """The sum of squared distances that each round found, a panel for each run."""
    figure = Figure(figsize=(4.5 * len(inertias), 3.6), layout="constrained")
    for axes, (title, values) in zip(
        figure.subplots(1, len(inertias), squeeze=False)[0], inertias.items(), strict=True
    ):
        _inertia(axes, title, values)
    return png(figure)


def _inertia(axes: Axes, title: str, values: Sequence[float]) -> None:
    axes.plot(range(1, len(values) + 1), values, color=RIGHT, marker="o" if len(values) < 12 else "", markersize=4)
    axes.set(xlabel="round", ylabel="inertia", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#eceef1")
    axes.spines[["top", "right"]].set_visible(False)


def regions(
    index: Callable[[Array], Array], points: Array, centroids: Array, labels: Sequence[str], axes_names: tuple[str, str]
) -> bytes:
    """Points in two dimensions, the plane divided among the centres as the model divides it."""
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.subplots()
    low, high = points.min(0), points.max(0)
    edge = (high - low) * 0.06
    across, up = (np.linspace(low[d] - edge[d], high[d] + edge[d], 240, dtype=np.float32) for d in (0, 1))
    grid = np.stack(np.meshgrid(across, up), axis=-1)
    answers = index(grid.reshape(-1, 2)).reshape(grid.shape[:2])
    levels = np.arange(len(labels) + 1) - 0.5
    axes.contourf(across, up, answers, levels=levels, colors=COLOURS[: len(labels)], alpha=0.13)
    own = index(points.astype(np.float32))
    for cluster, (label, colour) in enumerate(zip(labels, COLOURS, strict=False)):
        mine = points[own == cluster]
        axes.scatter(mine[:, 0], mine[:, 1], s=9, color=colour, alpha=0.6, linewidths=0, label=label)
        axes.scatter(
            centroids[cluster, 0], centroids[cluster, 1], s=110, marker="X", color=colour, edgecolor="white", zorder=4
        )
    axes.set(xlabel=axes_names[0], ylabel=axes_names[1], title="✕: the centres")
    axes.legend(frameon=True, fontsize=TEXT, markerscale=2)
    axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def prototypes(pictures: Pictures, majorities: Sequence[str], sizes: Sequence[int], purities: Sequence[float]) -> bytes:
    """Every cluster's mean picture with its number, its majority label, how many it has and how many of them agree."""
    rows = -(-len(pictures) // COLUMNS)
    figure = Figure(figsize=(COLUMNS * 1.25, rows * 1.6 + 0.5), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for cluster, axes in zip(range(len(pictures)), grid.flat, strict=False):
        axes.imshow(pictures[cluster], cmap="gray_r", vmin=0, vmax=255)
        text = f"{cluster}: {majorities[cluster]}\n{sizes[cluster]:,}, {purities[cluster]:.0%}"
        axes.set_title(text, fontsize=TEXT - 1, color=INK)
    figure.suptitle(
        f"The {len(pictures)} clusters: number, majority label, size, share of that label", fontsize=TEXT + 3
    )
    return png(figure)


def answers(
    pictures: Pictures, nearest: Pictures, distances: Array, majorities: Sequence[str], truth: Sequence[str]
) -> bytes:
    """15 pictures, each beside the prototype of its cluster: blue where the majority label is right, red where not."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    grid = figure.subplots(5, 6)
    for axes in grid.flat:
        axes.axis("off")
    for place in range(min(15, len(pictures))):
        shown, prototype = grid[place // 3, 2 * (place % 3)], grid[place // 3, 2 * (place % 3) + 1]
        shown.imshow(pictures[place], cmap="gray_r", vmin=0, vmax=255)
        prototype.imshow(nearest[place], cmap="gray_r", vmin=0, vmax=255)
        right = majorities[place] == truth[place]
        shown.set_title(f"is {truth[place]}", fontsize=TEXT)
        prototype.set_title(
            f"{majorities[place]}, distance {distances[place]:.1f}", fontsize=TEXT, color=RIGHT if right else WRONG
        )
    figure.suptitle("15 test pictures, each with the prototype of its cluster", fontsize=TEXT + 3)
    return png(figure)


def labels_in_clusters(counts: Array, names: Sequence[str], majorities: Sequence[str]) -> bytes:
    """`counts` [clusters, labels] of test pictures; colour is the share of the cluster."""
    tall = 0.16 * len(counts) + 1.6
    figure = Figure(figsize=(6.4, max(3.6, tall)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / counts.sum(1, keepdims=True).clip(1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            strong = counts[row, column] > counts[row].sum() / 2
            colour = "white" if strong else INK if counts[row, column] > counts[row].sum() / 20 else QUIET
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=6.5, color=colour)
    long = max(map(len, names)) > 2
    axes.set_xticks(range(len(names)), names, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(len(majorities)), [f"{n}: {name}" for n, name in enumerate(majorities)], fontsize=6.5)
    axes.set(xlabel="label", title="Test pictures of each label in each cluster")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return png(figure)
