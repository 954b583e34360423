"""Support vector machines in the plane: the hard margin between two blobs, and an RBF kernel on two moons. The solver
is training/svm_solver.py; scikit-learn draws the points and is what the result is held against."""

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import make_blobs, make_moons
from sklearn.svm import SVC
from torch import Tensor, nn
from tqdm import tqdm

from app.card import Card, Comparison, DatasetFacts, Feature, Layer, RowsInput
from training import export, figures, svm_figures
from training.digit_svm import DigitSvm
from training.export import Exportable
from training.svm_figures import Line
from training.svm_solver import Dual, linear_kernel, rbf_kernel, solve_dual
from training.system import NO_OPTIONS, Trained, Workplace, training_facts

LABELS = ["0", "1"]
SOLVER = "sequential minimal optimisation of the dual, pairs by second-order gain"
# Of SVC, whose own default of 1e-3 would be the larger part of what is compared.
ORACLE_TOLERANCE = 1e-10
DIGITS = 4  # of a feature's mean, and of the points
EQUAL = 1e-3  # what differs by no more counts as the same
MARGIN_MEANING = (
    "The decision value f(x), signed: above 0 it is class 1, below 0 class 0; the edges of the margin are at −1 and 1. "
    "In units of the functional margin: neither a distance nor a probability."
)


@dataclass(frozen=True)
class Points:
    """Points of the plane and their class, 0 or 1."""

    at: NDArray[np.float64]  # [N, 2]
    labels: NDArray[np.int64]  # [N]

    @property
    def signs(self) -> Tensor:
        return torch.from_numpy(np.where(self.labels == 1, 1.0, -1.0))

    @property
    def tensor(self) -> Tensor:
        return torch.from_numpy(self.at)

    def part(self, start: int, stop: int) -> "Points":
        return Points(self.at[start:stop], self.labels[start:stop])

    def digest(self) -> str:
        return hashlib.sha256(self.at.tobytes() + self.labels.tobytes()).hexdigest()


def described(points: Points, example: tuple[float, float]) -> RowsInput:
    """What is taken, with what is learned from and its means."""
    columns = zip(("x1", "x2"), example, points.at.mean(0).tolist(), strict=True)
    return RowsInput(
        features=[Feature(name=name, example=value, usual=[round(mean, DIGITS)]) for name, value, mean in columns],
        points=points.at.round(DIGITS).tolist(),
        classes=points.labels.tolist(),
    )


def around(points: Points, side: int = 25) -> NDArray[np.float32]:
    """[side², 2]: a grid over the points and some room around them."""
    low, high = points.at.min(0) - 0.5, points.at.max(0) + 0.5
    across, up = (np.linspace(*ends, side, dtype=np.float32) for ends in zip(low, high, strict=True))
    return np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)


def margins_of(graph: bytes, rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return export.run(graph, rows.astype(np.float32))["margin"]


def largest_difference(graph: bytes, oracle: SVC, rows: NDArray[np.floating]) -> float:
    """Between the exported graph's decision values and scikit-learn's, at the same float32 points."""
    rows = rows.astype(np.float32)
    return float(np.abs(margins_of(graph, rows) - oracle.decision_function(rows.astype(np.float64))).max())


def accuracy(graph: bytes, points: Points) -> float:
    return float((export.run(graph, points.at.astype(np.float32))["index"] == points.labels).mean())


def in_words(points: NDArray[np.float64]) -> str:
    return ", ".join(f"({x1:.4f}, {x2:.4f})" for x1, x2 in points)


# --- two blobs, a hard margin ----------------------------------------------------------------------------------------

HARD = 1e10
BLOB_POINTS = 50
CANDIDATES = ((1.0, 0.65), (0.5, 1.6), (-0.2, 2.9))  # slope and intercept of the course's three lines
ASKED = ((0.6, 2.1), (3.0, 3.2))
BLOBS_EXAMPLE = (0.6, 2.1)
BLOBS_OUTPUTS = {
    "index": "The class: 1 where the margin is above 0.",
    "margin": MARGIN_MEANING,
    "distance": "Euclidean distance to the boundary, f(x)/|w|, in the units of x1 and x2; signed as the margin is.",
}


def blobs() -> Points:
    return Points(*make_blobs(n_samples=BLOB_POINTS, centers=2, random_state=0, cluster_std=0.60))


class LinearSvm(nn.Module):
    weights: Tensor
    bias: Tensor
    norm: Tensor

    def __init__(self, weights: Tensor, bias: float) -> None:
        """`weights` is float64 [D]; float32 is what is kept."""
        super().__init__()
        self.register_buffer("weights", weights.float())
        self.register_buffer("bias", torch.tensor(bias))
        self.register_buffer("norm", weights.norm().float())

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        margin = rows @ self.weights + self.bias
        return (margin > 0).long(), margin, margin / self.norm


def nearest(weights: NDArray[np.float64], bias: float, points: Points) -> float:
    """The distance of the nearest point from the line w·x + b = 0; less than 0 if the line does not divide the two
    classes, whichever side is which."""
    distances = (points.at @ weights + bias) / np.linalg.norm(weights) * np.where(points.labels == 1, 1, -1)
    return float(max(distances.min(), (-distances).min()))


def candidate(slope: float, intercept: float, points: Points) -> Line:
    return Line(slope, intercept, nearest(np.array([slope, -1.0]), intercept, points))


@dataclass(frozen=True)
class BlobsSvm:
    options: ClassVar[frozenset[str]] = NO_OPTIONS
    name: str = "blobs-svm"
    title: str = "Two blobs, divided by the widest margin"

    @property
    def floor(self) -> dict[str, float]:
        return {"train_accuracy": 1.0, "equals_scikit_learn_to_1e-3": 1.0}

    def takes(self) -> RowsInput:
        return described(blobs(), BLOBS_EXAMPLE)

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        """Weights and support vectors as they can be seen from outside: by the margins that the graph answers."""
        points = blobs()
        weights, bias = line_of(graph)
        support = np.flatnonzero(np.abs(margins_of(graph, points.at)) <= 1 + EQUAL)
        return {
            "weight_x1": weights[0],
            "weight_x2": weights[1],
            "bias": bias,
            "margin_width": 2 / float(np.linalg.norm(weights)),
            "support_vectors": float(len(support)),
            "train_accuracy": accuracy(graph, points),
            **against_scikit_learn(graph, points, weights, bias, support),
        }

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        points = blobs()
        at = points.tensor
        solved = solve_dual(linear_kernel(at, at), points.signs, HARD)
        weights = solved.coefficients @ at[solved.support]
        seconds = time.perf_counter() - start

        what = Exportable(LinearSvm(weights, solved.bias), "rows", BLOBS_OUTPUTS)
        graph = export.to_onnx(what, at[:2].float())
        difference = export.check_parity(what, graph, torch.from_numpy(around(points)))
        numbers = weights.numpy()
        lines = [candidate(*line, points) for line in CANDIDATES]
        slope, intercept = -numbers[0] / numbers[1], -solved.bias / numbers[1]
        widest = Line(slope, intercept, nearest(numbers, solved.bias, points))
        told = {"onnx_max_difference": difference}
        metrics = self.evaluate(graph, workplace, told) | told
        answers = export.run(graph, np.array(ASKED, np.float32))
        return Trained(
            graph,
            Card(
                name=self.name,
                title=self.title,
                description="The linear support vector machine with a hard margin (C = 1e10), by its dual in float64.",
                task="classification",
                input=self.takes(),
                outputs=BLOBS_OUTPUTS,
                told=["margin", "distance"],
                labels=LABELS,
                parameters=3,
                layers=[Layer(name="margin", kind="w·x + b", output_shape=[], parameters=3)],
                metrics=metrics,
                floor=self.floor,
                notes=blob_notes(points, solved, numbers, lines, widest, answers),
                dataset=DatasetFacts(
                    name="blobs",
                    source="scikit-learn: make_blobs(n_samples=50, centers=2, random_state=0, cluster_std=0.60)",
                    licence="none needed",
                    train_rows=len(points.at),
                    validation_rows=0,
                    test_rows=0,
                    sha256={"points and labels": points.digest()},
                ),
                training=training_facts(
                    self.name, workplace, f"{SOLVER}, to 1e-10", solved.steps, seconds, precision="float64"
                ),
                comparisons=[
                    Comparison(
                        what=f"the line {line.equation}",
                        metrics={
                            "nearest_point": line.distance,
                            "nearest_point_of_the_widest_margin": widest.distance,
                            "share_of_the_widest_margin": line.distance / widest.distance,
                        },
                    )
                    for line in lines
                ],
            ),
            export.golden_rows(what, at.float()),
            {
                "boundary": svm_figures.boundary(
                    lambda rows: margins_of(graph, rows),
                    points.at,
                    points.labels,
                    solved.support.numpy(),
                    [f"class {label}" for label in LABELS],
                    f"The widest margin: {metrics['margin_width']:.4f}",
                ),
                "lines": svm_figures.candidate_lines(
                    [*lines, widest],
                    ["candidate 1", "candidate 2", "candidate 3", "the widest margin"],
                    points.at,
                    points.labels,
                    [f"class {label}" for label in LABELS],
                ),
            },
        )


def line_of(graph: bytes) -> tuple[NDArray[np.float64], float]:
    """Weights and bias of a linear machine, from what it answers at the origin and one step from it on each axis."""
    origin, *steps = margins_of(graph, np.eye(3, 2, -1)).astype(np.float64)
    return np.array(steps) - origin, float(origin)


def against_scikit_learn(
    graph: bytes, points: Points, weights: NDArray[np.float64], bias: float, support: NDArray[np.intp]
) -> dict[str, float]:
    oracle = SVC(kernel="linear", C=HARD, tol=ORACLE_TOLERANCE).fit(points.at, points.labels)
    theirs = np.array([*oracle.coef_[0], *oracle.intercept_, 2 / np.linalg.norm(oracle.coef_)])
    ours = np.array([*weights, bias, 2 / np.linalg.norm(weights)])
    difference = float(np.abs(theirs - ours).max())
    served = largest_difference(graph, oracle, np.concatenate([points.at, around(points)]))
    asked = export.run(graph, np.array(ASKED, np.float32))["index"]
    same = set(oracle.support_.tolist()) == set(support.tolist()) and np.array_equal(asked, oracle.predict(ASKED))
    return {
        "equals_scikit_learn_to_1e-3": float(same and difference <= EQUAL and served <= EQUAL),
        "difference_from_scikit_learn_of_weights_bias_width": difference,
        "difference_from_scikit_learn_of_served_margins": served,
    }


def blob_notes(
    points: Points,
    solved: Dual,
    weights: NDArray[np.float64],
    lines: Sequence[Line],
    widest: Line,
    answers: Mapping[str, NDArray[np.generic]],
) -> list[str]:
    lines_told = "; ".join(f"{line.equation} has its nearest point at {line.distance:.4f}" for line in lines)
    asked = " and ".join(
        f"{point} is of class {LABELS[int(index)]} (margin {margin:+.4f}, distance {distance:+.4f})"
        for point, index, margin, distance in zip(ASKED, *answers.values(), strict=True)
    )
    return [
        f"w = ({weights[0]:.6f}, {weights[1]:.6f}), b = {solved.bias:.6f}; the margin is 2/|w| = "
        f"{2 / np.linalg.norm(weights):.6f} wide. The boundary is {widest.equation}.",
        f"The {len(solved.support)} support vectors are {in_words(points.at[solved.support.numpy()])}; all other "
        "points could be left out without changing anything.",
        f"Three lines that also divide the points are nearer to them: {lines_told}; the widest margin's is at "
        f"{widest.distance:.4f}.",
        f"{asked}.",
        "All 50 points are what it learned from: train_accuracy says that they are separated, not how well others are.",
        "equals_scikit_learn_to_1e-3 is 1 if SVC(kernel='linear', C=1e10) has the same support vectors and the "
        "same classes for those two points, and if weights, bias, width and the served margins differ from its by at "
        "most 1e-3. All of them are read off the margins that are served.",
    ]


# --- two moons, a kernel ---------------------------------------------------------------------------------------------

NOISE, MOON_SEED = 0.2, 0
TRAIN_ROWS, VALIDATION_ROWS, TEST_ROWS = 300, 2_000, 2_000
COSTS = (0.1, 1.0, 10.0, 100.0, 1000.0)
GAMMAS = (0.1, 0.3, 1.0, 3.0, 10.0)
SEARCH_TOLERANCE = 1e-3
MOONS_EXAMPLE = (0.5, 0.25)
MOONS_OUTPUTS = {"index": BLOBS_OUTPUTS["index"], "margin": MARGIN_MEANING}


def moons() -> tuple[Points, Points, Points]:
    """To train, to choose by and to test by; scikit-learn has shuffled them."""
    rows = TRAIN_ROWS + VALIDATION_ROWS + TEST_ROWS
    points = Points(*make_moons(n_samples=rows, noise=NOISE, random_state=MOON_SEED))
    after = TRAIN_ROWS + VALIDATION_ROWS
    return points.part(0, TRAIN_ROWS), points.part(TRAIN_ROWS, after), points.part(after, rows)


class RbfSvm(nn.Module):
    support_vectors: Tensor
    coefficients: Tensor
    bias: Tensor

    def __init__(self, support_vectors: Tensor, coefficients: Tensor, bias: float, gamma: float) -> None:
        """Of float64 [S, D] and [S]; float32 is what is kept."""
        super().__init__()
        self.gamma = gamma
        self.register_buffer("support_vectors", support_vectors.float())
        self.register_buffer("coefficients", coefficients.float())
        self.register_buffer("bias", torch.tensor(bias))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        # The differences themselves: with the squares expanded, float32 would lose digits to cancellation.
        squares = ((rows[:, None] - self.support_vectors) ** 2).sum(2)
        margin = torch.exp(-self.gamma * squares) @ self.coefficients + self.bias
        return (margin > 0).long(), margin


def validation_accuracies(
    train: Points, validation: Points, costs: Sequence[float], gammas: Sequence[float]
) -> NDArray[np.float64]:
    """[costs, gammas]"""
    accuracies = np.zeros((len(costs), len(gammas)))
    for row, column in tqdm(
        list(np.ndindex(*accuracies.shape)), desc="moons-svm: C and γ", file=sys.stderr, dynamic_ncols=True
    ):
        kernel = rbf_kernel(train.tensor, train.tensor, gammas[column])
        solved = solve_dual(kernel, train.signs, costs[row], SEARCH_TOLERANCE)
        support = train.tensor[solved.support]
        margin = rbf_kernel(validation.tensor, support, gammas[column]) @ solved.coefficients + solved.bias
        accuracies[row, column] = float(((margin > 0) == (validation.signs > 0)).double().mean())
    return accuracies


@dataclass(frozen=True)
class MoonsSvm:
    options: ClassVar[frozenset[str]] = NO_OPTIONS
    name: str = "moons-svm"
    title: str = "Two moons, divided by an RBF kernel"

    @property
    def floor(self) -> dict[str, float]:
        return {"equals_scikit_learn_to_1e-3": 1.0}

    def takes(self) -> RowsInput:
        return described(moons()[0], MOONS_EXAMPLE)

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        train, _, test = moons()
        oracle = SVC(kernel="rbf", C=told["cost"], gamma=told["gamma"], tol=ORACLE_TOLERANCE).fit(
            train.at, train.labels
        )
        served = largest_difference(graph, oracle, np.concatenate([test.at, around(train, 101)]))
        return {
            "test_accuracy": accuracy(graph, test),
            "train_accuracy": accuracy(graph, train),
            "equals_scikit_learn_to_1e-3": float(served <= EQUAL),
            "difference_from_scikit_learn_of_served_margins": served,
        }

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        train, validation, test = moons()
        costs, gammas = (COSTS[1:3], GAMMAS[1:3]) if workplace.dry_run else (COSTS, GAMMAS)
        accuracies = validation_accuracies(train, validation, costs, gammas)
        # The first of the best: the smallest C, then the smallest γ, which is the smoothest boundary.
        row, column = (int(place) for place in np.unravel_index(int(accuracies.argmax()), accuracies.shape))
        cost, gamma = costs[row], gammas[column]
        solved = solve_dual(rbf_kernel(train.tensor, train.tensor, gamma), train.signs, cost)
        seconds = time.perf_counter() - start

        support = solved.support
        what = Exportable(RbfSvm(train.tensor[support], solved.coefficients, solved.bias, gamma), "rows", MOONS_OUTPUTS)
        graph = export.to_onnx(what, train.tensor[:2].float())
        difference = export.check_parity(what, graph, validation.tensor.float())
        told = {
            "validation_accuracy": float(accuracies.max()),
            "support_vectors": float(len(support)),
            "cost": cost,
            "gamma": gamma,
            "onnx_max_difference": difference,
        }
        return Trained(
            graph,
            Card(
                name=self.name,
                title=self.title,
                description="A support vector machine with the kernel exp(−γ·|x − y|²), by its dual in float64; the "
                "graph holds the support vectors and their coefficients.",
                task="classification",
                input=self.takes(),
                outputs=MOONS_OUTPUTS,
                told=["margin"],
                labels=LABELS,
                parameters=3 * len(support) + 1,
                layers=[
                    Layer(name="kernel", kind="RBF", output_shape=[len(support)], parameters=2 * len(support)),
                    Layer(name="margin", kind="w·k + b", output_shape=[], parameters=len(support) + 1),
                ],
                metrics=self.evaluate(graph, workplace, told) | told,
                floor=self.floor,
                notes=[
                    f"Moons with noise {NOISE}: {TRAIN_ROWS} points to train, {VALIDATION_ROWS} to choose C and γ by, "
                    f"{TEST_ROWS} to test. C = {cost:g} and γ = {gamma:g} are the first of the best of "
                    f"{len(costs)} × {len(gammas)} by validation accuracy, smallest C and then smallest γ first.",
                    f"{int((solved.alphas == cost).sum())} of the {len(support)} support vectors are within the margin "
                    "or on the wrong side (their coefficient is ±C); the others lie on its edges.",
                    "equals_scikit_learn_to_1e-3 is 1 if the served margins differ from SVC's decision function with "
                    "the same C and γ by at most 1e-3, at all test points and on a grid of 101 × 101 around the moons.",
                ],
                dataset=DatasetFacts(
                    name="moons",
                    source=f"scikit-learn: make_moons(n_samples={TRAIN_ROWS + VALIDATION_ROWS + TEST_ROWS}, "
                    f"noise={NOISE}, random_state={MOON_SEED})",
                    licence="none needed",
                    train_rows=TRAIN_ROWS,
                    validation_rows=VALIDATION_ROWS,
                    test_rows=TEST_ROWS,
                    sha256={"training points and labels": train.digest()},
                ),
                training=training_facts(
                    self.name, workplace, f"{SOLVER}, to 1e-10", solved.steps, seconds, precision="float64"
                ),
            ),
            export.golden_rows(what, train.tensor.float()),
            {
                "boundary": svm_figures.boundary(
                    lambda rows: margins_of(graph, rows),
                    train.at,
                    train.labels,
                    support.numpy(),
                    [f"class {label}" for label in LABELS],
                    f"RBF kernel, C = {cost:g}, γ = {gamma:g}: {len(support)} support vectors of {TRAIN_ROWS} points",
                ),
                "search": svm_figures.search(accuracies, {"C": costs}, {"γ": gammas}),
                "confusion": figures.confusion_matrix(
                    test.labels, export.run(graph, test.at.astype(np.float32))["index"], LABELS, "points"
                ),
                "mistakes": svm_figures.plane_mistakes(
                    lambda rows: margins_of(graph, rows), test.at, test.labels, [f"class {label}" for label in LABELS]
                ),
            },
        )


SYSTEMS: Sequence[BlobsSvm | MoonsSvm | DigitSvm] = (BlobsSvm(), MoonsSvm(), DigitSvm())
