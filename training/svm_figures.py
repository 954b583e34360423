"""The pictures of support vector machines: what they decide in the plane, and how sure of pictures they are, in units
of the margin. Like all figures: PNG bytes out, no data read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from training.figures import QUIET, RIGHT, TEXT, TRAIN, WRONG, Labels, Pictures, Points, png
from training.svm_solver import Primal

INK = "#30343b"
Margins = NDArray[np.float32]  # [N], or [N, classes]


@dataclass(frozen=True)
class Line:
    """x2 = slope · x1 + intercept, with the distance of the nearest point."""

    slope: float
    intercept: float
    distance: float

    @property
    def equation(self) -> str:
        return f"x2 = {self.slope:.4g}·x1 + {self.intercept:.4g}".replace("+ -", "− ").replace("-", "−")


def boundary(
    margin: Callable[[Points], Margins],
    points: NDArray[np.float64],
    truth: Labels,
    support: NDArray[np.int64],
    names: Sequence[str],
    title: str,
) -> bytes:
    """The decision value everywhere around the points; boundary solid, margins dashed, support vectors ringed."""
    figure = Figure(figsize=(7, 5.4), layout="constrained")
    axes = figure.subplots()
    low, high = _frame(points)
    square = _grid(low, high)
    values = margin(square.reshape(-1, 2)).reshape(square.shape[:2])
    steps = np.linspace(-3, 3, 25)
    drawn = axes.contourf(square[..., 0], square[..., 1], values, levels=steps, cmap="RdBu", extend="both", alpha=0.55)
    contours = axes.contour(
        square[..., 0],
        square[..., 1],
        values,
        levels=[-1, 0, 1],
        colors=INK,
        linestyles=["--", "-", "--"],
        linewidths=[1, 1.8, 1],
    )
    axes.clabel(contours, fmt={-1: "−1", 0: "0", 1: "+1"}, fontsize=TEXT)
    _points(axes, points, truth, names)
    ringed = points[support]
    axes.scatter(
        ringed[:, 0],
        ringed[:, 1],
        s=110,
        facecolors="none",
        edgecolors=INK,
        linewidths=1.4,
        label="support vector",
        zorder=4,
    )
    axes.set(xlabel="x1", ylabel="x2", xlim=(low[0], high[0]), ylim=(low[1], high[1]), title=title)
    axes.legend(frameon=True, fontsize=TEXT, loc="best")
    figure.colorbar(drawn, ax=axes, ticks=range(-3, 4), label="margin: the decision value f(x)")
    return png(figure)


def plane_mistakes(
    margin: Callable[[Points], Margins], points: NDArray[np.float64], truth: Labels, names: Sequence[str]
) -> bytes:
    """Test points in the plane: the right ones faint, mistakes in the colour of their class, and the worst of them,
    furthest on the wrong side, with their margins in a panel of its own."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    plane, bars = figure.subplots(1, 2, width_ratios=[2.1, 1])
    low, high = _frame(points)
    square = _grid(low, high)
    values = margin(square.reshape(-1, 2)).reshape(square.shape[:2])
    lines = {"levels": [-1, 0, 1], "colors": INK, "linestyles": ["--", "-", "--"], "linewidths": [0.8, 1.6, 0.8]}
    plane.contour(square[..., 0], square[..., 1], values, zorder=2, **lines)
    margins = margin(points.astype(np.float32))
    worst = worst_in_plane(margins, truth)
    wrong = (margins > 0) != (truth == 1)
    for value, colour in ((0, WRONG), (1, RIGHT)):
        for chosen, style in ((~wrong, {"s": 8, "alpha": 0.18}), (wrong, {"s": 30, "edgecolor": "white"})):
            at = points[chosen & (truth == value)]
            label = f"{names[value]}{', answered wrong' if chosen is wrong else ''}"
            plane.scatter(at[:, 0], at[:, 1], color=colour, label=label, zorder=3, **style)
    for place, index in enumerate(worst, start=1):
        beside = (5, 5) if place % 2 else (-5, 9)  # of neighbours one higher than the other
        plane.annotate(
            str(place), points[index], beside, textcoords="offset points", fontsize=TEXT, weight="bold", zorder=5
        )
    title = f"{wrong.sum():,} mistakes on {len(truth):,} test points"
    plane.set(xlabel="x1", ylabel="x2", xlim=(low[0], high[0]), ylim=(low[1], high[1]), title=title)
    plane.legend(frameon=True, fontsize=TEXT - 1, loc="lower left")
    bars.barh(range(len(worst)), margins[worst], color=[RIGHT if truth[each] else WRONG for each in worst], height=0.7)
    bars.axvline(0, color=INK, linewidth=0.8)
    bars.set_yticks(range(len(worst)), [str(place + 1) for place in range(len(worst))])
    bars.set(ylim=(len(worst) - 0.4, -0.6), xlabel="margin: above 0 is class 1")
    bars.set_title(f"The {len(worst)} furthest on the wrong side", fontsize=TEXT + 2)
    bars.tick_params(axis="y", length=0)
    for axes in (plane, bars):
        axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def worst_in_plane(margins: Margins, truth: Labels, most: int = 10) -> NDArray[np.intp]:
    """The wrong answers of class 1 (margin above 0) and 0, the furthest on the wrong side first."""
    wrong = np.flatnonzero((margins > 0) != (truth == 1))
    return wrong[np.argsort(-np.abs(margins[wrong]), kind="stable")][:most]


def candidate_lines(
    lines: Sequence[Line], names: Sequence[str], points: NDArray[np.float64], truth: Labels, classes: Sequence[str]
) -> bytes:
    """Lines that divide the points, each in a panel of its own with the widest band around it that holds no point."""
    figure = Figure(figsize=(2.7 * len(lines), 4.9), layout="constrained")
    panels = figure.subplots(1, len(lines), squeeze=False, sharey=True)[0]
    low, high = _frame(points)
    across = np.array([low[0], high[0]])
    for axes, line, name in zip(panels, lines, names, strict=True):
        middle = line.slope * across + line.intercept
        half = line.distance * np.hypot(1, line.slope)  # measured along x2
        axes.fill_between(across, middle - half, middle + half, color=QUIET, alpha=0.45, linewidth=0)
        axes.plot(across, middle, color=INK)
        _points(axes, points, truth, classes)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axes.set_title(f"{name}\n{line.equation}\nnearest point at {line.distance:.4f}", fontsize=TEXT + 1)
        axes.set(xlabel="x1")
    panels[0].set(ylabel="x2")
    panels[0].legend(frameon=True, fontsize=TEXT - 1, loc="lower left")
    return png(figure)


def search(
    accuracies: NDArray[np.float64], rows: Mapping[str, Sequence[float]], columns: Mapping[str, Sequence[float]]
) -> bytes:
    """Validation accuracy over two hyperparameters, each given as {name: values}; the best one framed."""
    [(row_name, row_values)], [(column_name, column_values)] = rows.items(), columns.items()
    figure = Figure(figsize=(1.4 + 0.85 * len(column_values), 1.5 + 0.55 * len(row_values)), layout="constrained")
    axes = figure.subplots()
    low, high = float(accuracies.min()), float(accuracies.max())
    axes.imshow(accuracies, cmap="Blues", vmin=low - 0.2 * (high - low), vmax=high + 1e-9, aspect="auto")
    best = np.unravel_index(int(accuracies.argmax()), accuracies.shape)
    for place in np.ndindex(*accuracies.shape):
        text = f"{100 * accuracies[place]:.2f}"
        weight = "bold" if place == best else "normal"
        colour = "white" if accuracies[place] > (low + high) / 2 else INK
        axes.text(place[1], place[0], text, ha="center", va="center", fontsize=TEXT, color=colour, weight=weight)
    row, column = (int(index) for index in best)
    axes.plot(
        [column - 0.5, column + 0.5, column + 0.5, column - 0.5, column - 0.5],
        [row - 0.5, row - 0.5, row + 0.5, row + 0.5, row - 0.5],
        color=WRONG,
        linewidth=2.5,
    )
    axes.set_xticks(range(len(column_values)), [f"{value:g}" for value in column_values])
    axes.set_yticks(range(len(row_values)), [f"{value:g}" for value in row_values])
    axes.set(xlabel=column_name, ylabel=row_name)
    axes.set_title("Validation accuracy in %", fontsize=TEXT + 2)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return png(figure)


def newton(solved: Mapping[str, Primal], names: Sequence[str]) -> bytes:
    """What the solver minimises, after each Newton step of one solution and the next: every class a faint line, their
    mean a strong one; and the largest gradient, by which it knows when to stop."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    objective, gradient = figure.subplots(1, 2)
    first = 0
    for (what, each), colour in zip(solved.items(), (TRAIN, RIGHT), strict=True):
        steps = first + np.arange(each.newton_steps + 1)
        first = int(steps[-1])
        values = each.objectives.double().cpu().numpy()
        objective.plot(steps, values, color=colour, linewidth=0.6, alpha=0.45)
        objective.plot(steps, values.mean(1), color=colour, marker="o", markersize=3, label=what)
        gradient.plot(steps, each.gradients.amax(1).cpu().numpy(), color=colour, marker="o", markersize=3)
    objective.set(title=f"½|w|² + C·Σ max(0, 1 − y·f)², mean of {len(names)} machines", ylabel="objective")
    gradient.set(title="Largest gradient, as a share of that at 0")
    for axes in (objective, gradient):
        axes.set(xlabel="Newton step", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="#eceef1")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    objective.legend(frameon=False, fontsize=TEXT)
    return png(figure)


def predictions(pictures: Pictures, margins: Margins, truth: Labels, names: Sequence[str]) -> bytes:
    """The first 15 pictures with the answer, its margin and every class's as bars: blue when right, red when wrong."""
    return _answers(pictures[:15], margins[:15], truth[:15], names, "15 test pictures, with the margin of every class")


def mistakes(pictures: Pictures, margins: Margins, truth: Labels, names: Sequence[str]) -> bytes:
    """The 15 wrong answers that were furthest ahead of the truth."""
    wrong = np.flatnonzero(margins.argmax(1) != truth)
    lead = margins[wrong].max(1) - margins[wrong, truth[wrong]]
    worst = wrong[np.argsort(-lead, kind="stable")][:15]
    title = f"Of {len(wrong):,} mistakes on {len(truth):,} test pictures those furthest ahead of the truth"
    return _answers(pictures[worst], margins[worst], truth[worst], names, title)


def _answers(pictures: Pictures, margins: Margins, truth: Labels, names: Sequence[str], title: str) -> bytes:
    figure = Figure(figsize=(10, 8.6), layout="constrained")
    grid = figure.subplots(5, 6, width_ratios=[1, 1.25] * 3)
    widest = float(np.abs(margins).max()) if len(margins) else 1.0
    for axes in grid.flat:
        axes.axis("off")
    for place, (picture, row, label) in enumerate(zip(pictures, margins, truth, strict=True)):
        shown, bars = grid[place // 3, 2 * (place % 3)], grid[place // 3, 2 * (place % 3) + 1]
        _picture(shown, picture, row, label, names)
        _bars(bars, row, label, names, widest)
    figure.suptitle(title, fontsize=TEXT + 3)
    return png(figure)


def _picture(axes: Axes, picture: NDArray[np.uint8], margins: Margins, label: int, names: Sequence[str]) -> None:
    answer = int(margins.argmax())
    right = answer == label
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=255)
    text = f"{names[answer]}, margin {margins[answer]:+.2f}"
    wrong = "" if right else f"\nis {names[label]}, margin {margins[label]:+.2f}"
    axes.set_title(text + wrong, color=RIGHT if right else WRONG, fontsize=TEXT)


def _bars(axes: Axes, margins: Margins, label: int, names: Sequence[str], widest: float) -> None:
    answer = int(margins.argmax())
    colours = [RIGHT if k == label else WRONG if k == answer else QUIET for k in range(len(names))]
    axes.axis("on")
    axes.barh(range(len(names)), margins, color=colours, height=0.7)
    axes.axvline(0, color=INK, linewidth=0.8)
    for edge in (-1, 1):
        axes.axvline(edge, color=INK, linewidth=0.6, linestyle=":")
    axes.set(xlim=(-widest, widest), ylim=(len(names) - 0.4, -0.6))
    axes.set_xticks((-1, 0, 1), ("−1", "0", "1"), fontsize=6)
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _points(axes: Axes, points: NDArray[np.float64], truth: Labels, names: Sequence[str]) -> None:
    for value, colour in ((0, WRONG), (1, RIGHT)):
        chosen = points[truth == value]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=26, color=colour, edgecolor="white", label=names[value], zorder=3)
    axes.spines[["top", "right"]].set_visible(False)


def _frame(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The corners of a rectangle that leaves the points some room."""
    room = 0.08 * np.ptp(points, axis=0)
    return points.min(0) - room, points.max(0) + room


def _grid(low: NDArray[np.float64], high: NDArray[np.float64], side: int = 201) -> Points:
    across, up = (np.linspace(*ends, side, dtype=np.float32) for ends in zip(low, high, strict=True))
    return np.stack(np.meshgrid(across, up), axis=-1)
