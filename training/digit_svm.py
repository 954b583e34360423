"""Handwritten digits by a support vector machine: pictures are made upright, projected, compared with some training
pictures by an RBF kernel; ten squared-hinge machines, one against the rest, weigh the similarities.

A kernel machine restricted to some of the training pictures is the reduced SVM of Lee and Mangasarian (2001), or a
Nyström approximation of the whole one (Williams and Seeger 2001). The solver is training/svm_solver.py.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from app.card import Card, Comparison, Layer, read_card
from training import export, figures, svm_figures
from training.data import MNIST, Split, load_test
from training.export import Exportable
from training.fit import accuracy
from training.memory import keep_freed_memory
from training.recipe import DIGIT_INPUT
from training.saliency import Scores, saliency_graph
from training.svm_solver import Primal, rbf_kernel, solve_squared_hinge
from training.system import Trained, Workplace, dataset_facts, training_facts

SIDE, CLASSES = 28, 10
PIECE = 1_000  # pictures at a time, so that what is made on the way stays small
# Added to the diagonal of the landmarks' kernel matrix, which is all but singular; it also keeps coefficients small.
RIDGE = 1e-3
FLOOR = 0.985
OUTPUTS = {
    "index": "The digit whose margin is the largest.",
    "margins": "The decision value of each digit against the nine others: above 0 it is that digit, by its machine; "
    "the edges of the margin are at −1 and 1. In units of the functional margin: neither distances nor probabilities, "
    "and they do not add up to anything.",
}


@dataclass(frozen=True)
class Scale:
    """How much a machine is made of."""

    rows: int
    landmarks: int
    components: int = 60


FULL, SEARCH = Scale(rows=55_000, landmarks=3_000), Scale(rows=6_000, landmarks=600)
DRY_RUN = Scale(rows=1_000, landmarks=100, components=20)
COSTS, GAMMAS = (1.0, 3.0, 10.0, 30.0), (0.01, 0.02, 0.04)
DRY_RUN_TEST_ROWS = 512


class Upright(nn.Module):
    """Takes the slant out of a digit: each row is shifted sideways by its height times the slope of the ink's principal
    axis, and the ink's centre of mass comes to the middle column. uint8 [N, 28, 28] → float32, 0 to 1."""

    columns: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("columns", torch.arange(SIDE, dtype=torch.float32))

    def forward(self, image: Tensor) -> Tensor:
        ink = image.float() / 255
        by_row, by_column = ink.sum(2), ink.sum(1)
        mass = by_row.sum(1, keepdim=True).clamp_min(1e-6)
        across = self.columns - (by_column * self.columns).sum(1, keepdim=True) / mass
        down = self.columns - (by_row * self.columns).sum(1, keepdim=True) / mass
        covariance = (ink * down[:, :, None] * across[:, None]).sum((1, 2))[:, None]
        slope = covariance / (by_row * down * down).sum(1, keepdim=True).clamp_min(1e-3)
        middle = self.columns[None, :] - across - (SIDE - 1) / 2
        # Where each pixel comes from; between two pixels, from both, by linear interpolation.
        source = self.columns + (slope * down + middle)[:, :, None]
        weights = (1 - (source[..., None] - self.columns).abs()).clamp_min(0)
        return (weights @ ink[..., None])[..., 0]


class Plain(nn.Module):
    """The picture as it is, for comparison."""

    def forward(self, image: Tensor) -> Tensor:
        return image.float() / 255


class Projection(nn.Module):
    """On the principal components of what it is made of."""

    mean: Tensor
    basis: Tensor

    def __init__(self, pictures: Tensor, components: int) -> None:
        super().__init__()
        mean = pictures.mean(0)
        centred = pictures - mean
        _, vectors = torch.linalg.eigh((centred.T @ centred).double() / len(pictures))
        self.register_buffer("mean", mean)
        self.register_buffer("basis", vectors[:, -components:].to(pictures))

    def forward(self, pictures: Tensor) -> Tensor:
        return (pictures - self.mean) @ self.basis


class RbfMachines(nn.Module):
    """Ten weighted sums over the same similarities."""

    landmarks: Tensor
    coefficients: Tensor
    biases: Tensor

    def __init__(self, landmarks: Tensor, coefficients: Tensor, biases: Tensor, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("landmarks", landmarks)
        self.register_buffer("coefficients", coefficients.float())
        self.register_buffer("biases", biases.float())

    def forward(self, points: Tensor) -> Tensor:
        # In float64: large coefficients of both signs nearly cancel, and would leave few digits of a float32.
        similarities = rbf_kernel(points.double(), self.landmarks.double(), self.gamma)
        return (similarities @ self.coefficients.double() + self.biases.double()).float()


class DigitMachine(nn.Module):
    def __init__(self, upright: nn.Module, projection: Projection, machines: RbfMachines) -> None:
        super().__init__()
        self.upright, self.projection, self.machines = upright, projection, machines

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        margins = self.margins(image)
        return margins.argmax(1), margins

    def margins(self, image: Tensor) -> Tensor:
        """[N, classes]"""
        found: Tensor = self.machines(self.projection(self.upright(image).flatten(1)))
        return found


@torch.inference_mode()
def in_pieces(module: nn.Module, rows: Tensor) -> Tensor:
    return torch.cat([module(piece) for piece in rows.split(PIECE)])


@torch.inference_mode()
def margins_of(network: DigitMachine, images: Tensor) -> Tensor:
    return torch.cat([network(piece)[1] for piece in images.split(PIECE)])


def signs_of(labels: Tensor) -> Tensor:
    """[N, classes]: 1 for the truth, −1 for the rest."""
    return torch.where(labels[:, None] == torch.arange(CLASSES, device=labels.device), 1.0, -1.0)


class Similarities:
    """The features in which the kernel machine is linear: z = L⁻¹·k(landmarks, x) with L·Lᵀ = K + ridge, so that |w|²
    is the squared norm of the function that w stands for. The last feature is the constant 1."""

    def __init__(self, landmarks: Tensor, gamma: float) -> None:
        self.landmarks, self.gamma = landmarks, gamma
        kernel = rbf_kernel(landmarks.double(), landmarks.double(), gamma)
        kernel.diagonal().add_(RIDGE)
        unit = torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
        self.inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(kernel), unit, upper=False)

    def of(self, points: Tensor) -> Tensor:
        """float32 [N, landmarks + 1]"""
        features = points.new_ones(len(points), len(self.landmarks) + 1)
        whitening = self.inverse.T.float()
        for rows, out in zip(points.split(PIECE), features.split(PIECE), strict=True):
            torch.mm(rbf_kernel(rows, self.landmarks, self.gamma), whitening, out=out[:, :-1])
        return features

    def machines(self, weights: Tensor) -> RbfMachines:
        """The same function, written with the kernel itself."""
        coefficients = self.inverse.T @ weights[:-1].double()
        return RbfMachines(self.landmarks, coefficients, weights[-1], self.gamma)


@dataclass(frozen=True)
class Prepared:
    """A split after all that has nothing to learn from labels."""

    points: Tensor  # float32 [N, components]
    labels: Tensor

    def first(self, rows: int) -> "Prepared":
        return Prepared(self.points[:rows], self.labels[:rows])


@dataclass(frozen=True)
class Solved:
    """Machines, and how they came about: from what a part of the points says."""

    machines: RbfMachines
    start: Primal
    whole: Primal


def fit_machines(train: Prepared, scale: Scale, cost: float, gamma: float, what: str | None = None) -> Solved:
    """The landmarks are the first points; the order is a random one."""
    similarities = Similarities(train.points[: scale.landmarks], gamma)
    features, signs = similarities.of(train.points), signs_of(train.labels)
    # What a part of the points says is a good start, and takes a fraction of the time.
    part = len(features) // 5
    start = solve_squared_hinge(features[:part], signs[:part], cost * 5, 1e-2, what=what and f"{what}, a fifth")
    whole = solve_squared_hinge(features, signs, cost, start=start.weights, what=what)
    return Solved(similarities.machines(whole.weights), start, whole)


def validation_accuracies(
    train: Prepared, validation: Prepared, scale: Scale, costs: Sequence[float], gammas: Sequence[float], what: str
) -> NDArray[np.float64]:
    """[costs, gammas], at a small scale."""
    accuracies = np.zeros((len(costs), len(gammas)))
    signs = signs_of(train.labels)
    with tqdm(total=accuracies.size, desc=what, file=sys.stderr, dynamic_ncols=True) as bar:
        for column, gamma in enumerate(gammas):
            similarities = Similarities(train.points[: scale.landmarks], gamma)
            features = similarities.of(train.points)
            for row, cost in enumerate(costs):
                # From 0 each time: the machine of another C has a gradient so small that it would pass for this C's.
                weights = solve_squared_hinge(features, signs, cost).weights
                margins = in_pieces(similarities.machines(weights), validation.points)
                accuracies[row, column] = accuracy(margins, validation.labels)
                bar.update()
    return accuracies


def prepare(preparation: nn.Module, train: Split, validation: Split, scale: Scale) -> tuple[Projection, list[Prepared]]:
    pictures = [in_pieces(preparation, split.images).flatten(1) for split in (train, validation)]
    projection = Projection(pictures[0], scale.components)
    splits = zip(pictures, (train, validation), strict=True)
    return projection, [Prepared(projection(each), split.labels) for each, split in splits]


@dataclass(frozen=True)
class DigitSvm:
    options: ClassVar[frozenset[str]] = frozenset({"seed"})
    name: str = "mnist-svm"
    title: str = "Handwritten digits, a support vector machine"

    @property
    def floor(self) -> dict[str, float]:
        return {"test_accuracy": FLOOR}

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        test = self._test(workplace)
        return {"test_accuracy": float((export.run(graph, test.images.numpy())["index"] == test.labels.numpy()).mean())}

    def scores(self, graph: bytes) -> Scores:
        """Margins of pixels, by the weights of an exported graph with its card."""
        card = read_card(export.opened(graph).get_modelmeta().custom_metadata_map)
        assert card is not None
        weights = export.weights_in(graph)
        projection = Projection(torch.zeros(2, SIDE * SIDE), 1)
        projection.mean, projection.basis = weights["projection.mean"], weights["projection.basis"]
        [biases] = [each for each in weights.values() if each.shape == (len(card.labels),)]
        machines = RbfMachines(
            weights["machines.landmarks"], weights["machines.coefficients"], biases, card.metrics["gamma"]
        )
        return DigitMachine(Upright(), projection, machines).margins

    def _test(self, workplace: Workplace) -> Split:
        test = load_test(MNIST, workplace.data)
        rows = DRY_RUN_TEST_ROWS if workplace.dry_run else len(test)
        return Split(test.images[:rows], test.labels[:rows])

    def train(self, workplace: Workplace) -> Trained:
        keep_freed_memory()
        start = time.perf_counter()
        full, small = (DRY_RUN, DRY_RUN) if workplace.dry_run else (FULL, SEARCH)
        costs, gammas = (COSTS[:2], GAMMAS[:2]) if workplace.dry_run else (COSTS, GAMMAS)
        seed = 1 if workplace.seed is None else workplace.seed
        dataset, device = workplace.dataset(MNIST), workplace.device
        order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(seed))[: full.rows]
        chosen = Split(dataset.train.images[order], dataset.train.labels[order]).to(device)
        held_out = dataset.validation.to(device)

        upright = Upright().to(device)
        projection, (train, validation) = prepare(upright, chosen, held_out, full)
        accuracies = validation_accuracies(
            train.first(small.rows), validation, small, costs, gammas, f"{self.name}: C and γ"
        )
        row, column = (int(place) for place in np.unravel_index(int(accuracies.argmax()), accuracies.shape))
        cost, gamma = costs[row], gammas[column]
        solved = fit_machines(train, full, cost, gamma, self.name)
        slanted = self._without_upright(chosen, held_out, small, cost, gamma)
        seconds = time.perf_counter() - start

        network = DigitMachine(upright, projection, solved.machines).cpu()
        what = Exportable(network, "image", OUTPUTS)
        graph = export.to_onnx(what, dataset.validation.images[:2])
        difference = export.check_parity(what, graph, dataset.validation.images)
        validated = export.run(graph, dataset.validation.images.numpy())["index"]
        trained_on = dataset.train.images[order].numpy()
        told = {
            "validation_accuracy": float((validated == dataset.validation.labels.numpy()).mean()),
            "train_accuracy": float((export.run(graph, trained_on)["index"] == chosen.labels.cpu().numpy()).mean()),
            "cost": cost,
            "gamma": gamma,
            "onnx_max_difference": difference,
        }
        test = self._test(workplace)
        pictures, truth = test.images.numpy(), test.labels.numpy()
        answers = export.run(graph, pictures)
        return Trained(
            graph,
            Card(
                name=self.name,
                title=self.title,
                description=f"Made upright, projected on {full.components} principal components, compared with "
                f"{full.landmarks:,} training pictures by an RBF kernel; one squared-hinge machine for each digit "
                "against the rest.",
                task="classification",
                subject="digits",
                input=DIGIT_INPUT,
                outputs=OUTPUTS,
                told=["margins"],
                notes=[
                    f"C = {cost:g} and γ = {gamma:g} are the best of {len(costs)} × {len(gammas)} by the accuracy on "
                    f"the {len(validation.labels):,} validation pictures, for machines of {small.landmarks:,} "
                    f"landmarks and {small.rows:,} training pictures.",
                    "A margin is no probability: two digits may both have positive margins, or none.",
                    "The training is Newton steps, at first on a fifth of the pictures with five times the C, then on "
                    "all from where those ended; `epochs` is the number of both together.",
                    "Similarities and their sums are float64 inside the graph, because large coefficients of both "
                    "signs nearly cancel.",
                ],
                labels=list(MNIST.labels),
                parameters=sum(buffer.numel() for part in (projection, solved.machines) for buffer in part.buffers()),
                layers=layers(full),
                metrics=self.evaluate(graph, workplace, told) | told,
                floor=self.floor,
                dataset=dataset_facts(MNIST, len(order), len(dataset.validation), len(test)),
                training=training_facts(
                    self.name,
                    workplace,
                    "Newton's method with conjugate gradients on the squared hinge; ½βᵀKβ + C·Σ max(0, 1 − y·f)²",
                    solved.start.newton_steps + solved.whole.newton_steps,
                    seconds,
                    seed=seed,
                ),
                comparisons=[
                    Comparison(
                        what=f"pictures as they are, not made upright; both with {small.landmarks:,} landmarks and "
                        f"{small.rows:,} training pictures",
                        metrics={
                            "validation_accuracy": slanted,
                            "validation_accuracy_upright": float(accuracies.max()),
                        },
                    )
                ],
            ),
            export.golden_rows(what, dataset.validation.images),
            {
                "confusion": figures.confusion_matrix(truth, answers["index"], MNIST.labels),
                "predictions": svm_figures.predictions(pictures, answers["margins"], truth, MNIST.labels),
                "mistakes": svm_figures.mistakes(pictures, answers["margins"], truth, MNIST.labels),
                "search": svm_figures.search(accuracies, {"C": costs}, {"γ": gammas}),
                "training": svm_figures.newton(
                    {"a fifth of the pictures, 5·C": solved.start, "all, from there": solved.whole}, MNIST.labels
                ),
            },
            saliency_graph(network.margins, DIGIT_INPUT),
        )

    def _without_upright(self, train: Split, validation: Split, scale: Scale, cost: float, gamma: float) -> float:
        few = Split(train.images[: scale.rows], train.labels[: scale.rows])
        _, (points, held_out) = prepare(Plain(), few, validation, scale)
        return float(validation_accuracies(points, held_out, scale, [cost], [gamma], f"{self.name}: not upright")[0, 0])


def layers(scale: Scale) -> list[Layer]:
    projected = (SIDE * SIDE) * (scale.components + 1)
    return [
        Layer(name="upright", kind="Upright", output_shape=[SIDE, SIDE], parameters=0),
        Layer(name="projection", kind="Projection", output_shape=[scale.components], parameters=projected),
        Layer(
            name="similarities",
            kind="RBF",
            output_shape=[scale.landmarks],
            parameters=scale.landmarks * scale.components,
        ),
        Layer(name="margins", kind="Linear", output_shape=[CLASSES], parameters=(scale.landmarks + 1) * CLASSES),
    ]
