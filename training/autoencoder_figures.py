"""The pictures beside an autoencoder. Each function draws one and returns PNG bytes; none runs a network."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from training.figures import QUIET, RIGHT, TEXT, TRAIN, WRONG, Pictures, filters, png

Numbers = NDArray[Any]
COLOURS = (RIGHT, "#7ba3dc", WRONG, "#e08a8a", "#7a4fb5", "#2f8f5b", TRAIN)
INK = "#30343b"
COLUMNS = 8


def losses(runs: Mapping[str, Sequence[tuple[float, float]]]) -> bytes:
    """Training and validation loss of each epoch of the fine-tuning, by how it began."""
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    for (name, history), colour in zip(runs.items(), (RIGHT, TRAIN), strict=False):
        epochs = range(1, len(history) + 1)
        axes.plot(epochs, [row[0] for row in history], color=colour, linestyle=":", label=f"{name}, training")
        axes.plot(epochs, [row[1] for row in history], color=colour, label=f"{name}, validation")
    axes.set(xlabel="epoch of the whole network", ylabel="loss", title="Reconstruction loss")
    _plain(axes)
    axes.legend(frameon=False, fontsize=TEXT)
    return png(figure)


def reconstructions(
    pictures: Mapping[str, Pictures], made: Mapping[str, Pictures], errors: Mapping[str, Numbers], threshold: float
) -> bytes:
    """Originals above their reconstructions with the error, red where it is above the threshold. The first group is
    the autoencoder's own: the best, those around the median and the worst; of the others, the first ones."""
    own, *strangers = pictures
    order = np.argsort(errors[own], kind="stable")
    middle = len(order) // 2
    bands = [
        (f"{own}: best", own, order[:COLUMNS]),
        (f"{own}: median", own, order[middle - COLUMNS // 2 : middle + COLUMNS // 2]),
        (f"{own}: worst", own, order[-COLUMNS:]),
        *((name, name, np.arange(min(COLUMNS, len(pictures[name])))) for name in strangers),
    ]
    figure = Figure(figsize=(COLUMNS * 0.95, len(bands) * 2.1 + 0.5), layout="constrained")
    figure.suptitle(f"Picture, its error (red above the threshold, {threshold:.3g}), reconstruction", fontsize=TEXT + 3)
    for panel, (title, name, places) in zip(figure.subfigures(len(bands), 1, squeeze=False)[:, 0], bands, strict=True):
        panel.suptitle(title, fontsize=TEXT + 2, color=INK, fontweight="bold")
        grid = panel.subplots(2, COLUMNS)
        for axes in grid.flat:
            axes.axis("off")
        for (above, below), place in zip(grid.T, places, strict=False):
            error = float(errors[name][place])
            above.imshow(pictures[name][place], cmap="gray_r", vmin=0, vmax=255)
            below.imshow(made[name][place], cmap="gray_r", vmin=0, vmax=255)
            above.set_title(f"{error:.3g}", fontsize=TEXT, color=WRONG if error > threshold else RIGHT)
    return png(figure)


def error_histograms(errors: Mapping[str, Numbers], threshold: float) -> bytes:
    """Each group's errors on one logarithmic scale, one above the other, with the share beyond the threshold."""
    figure = Figure(figsize=(8, 1.25 * len(errors) + 0.6), layout="constrained")
    panels = figure.subplots(len(errors), 1, sharex=True, squeeze=False)[:, 0]
    everything = np.concatenate(list(errors.values()))
    bins = np.geomspace(everything.min() * 0.95, everything.max() * 1.05, 121)
    for axes, (name, values), colour in zip(panels, errors.items(), cycle(COLOURS), strict=False):
        axes.hist(values, bins=bins, color=colour, weights=np.full(len(values), 1 / len(values)))
        axes.axvline(threshold, color=INK, linestyle="--", linewidth=1)
        text = f"{name}: {(values > threshold).mean():.1%} above the threshold"
        axes.set_title(text, fontsize=TEXT + 1, color=INK, loc="left")
        axes.set(xscale="log", yticks=[])
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[-1].set(xlabel=f"reconstruction error; dashed: the threshold, {threshold:.3g}")
    return png(figure)


def accuracies_by_labels(accuracies: Mapping[int, Mapping[str, Numbers]]) -> bytes:
    """A panel for each number of labels: every seed a dot, the mean a line with its figure."""
    figure = Figure(figsize=(4.2 * len(accuracies), 3.8), layout="constrained")
    panels = figure.subplots(1, len(accuracies), squeeze=False)[0]
    for axes, (labels, by_start) in zip(panels, accuracies.items(), strict=True):
        for place, ((_, values), colour) in enumerate(zip(by_start.items(), (QUIET, RIGHT, TRAIN), strict=False)):
            beside = place + np.linspace(-0.22, 0.22, len(values))
            axes.scatter(beside, values, s=18, color=colour)
            axes.plot([place - 0.32, place + 0.32], [values.mean()] * 2, color=INK, linewidth=1.5)
            axes.annotate(
                f"{values.mean():.2%}",
                (place, max(values)),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=TEXT,
                color=INK,
            )
        axes.set_xticks(range(len(by_start)), [fill(start, 12) for start in by_start], fontsize=TEXT)
        axes.set(title=f"{labels:,} labels", xlim=(-0.6, len(by_start) - 0.4))
        axes.margins(y=0.2)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        _plain(axes)
    panels[0].set(ylabel="test accuracy")
    return png(figure)


def live_filters(weights: Numbers, fires: NDArray[np.bool_], shown: int = 64) -> bytes:
    """The first filters, [units, pixels], of units that ever fire; the others are the noise they began as."""
    live = weights[fires]
    side = round(weights.shape[1] ** 0.5)
    pictures = live[:shown].reshape(-1, side, side)
    never = len(weights) - len(live)
    title = f"{len(pictures)} of {len(weights)} first-layer filters" + (
        f"; {never} that never fire left out" * bool(never)
    )
    return filters(pictures, title=title)


def _plain(axes: Axes) -> None:
    axes.grid(color="#eceef1")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
