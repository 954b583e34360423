"""The support vector machines against scikit-learn's, and what their graphs, cards and figures say."""

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from scipy.optimize import minimize
from sklearn.datasets import make_classification
from sklearn.svm import SVC

from tests.training.test_figures import colours, rgb
from training import export, figures, svm_figures
from training.digit_svm import (
    DigitMachine,
    Prepared,
    Projection,
    Scale,
    Similarities,
    Upright,
    fit_machines,
    in_pieces,
    signs_of,
    validation_accuracies,
)
from training.fit import accuracy
from training.svm import ASKED, CANDIDATES, BlobsSvm, MoonsSvm, Points, around, blobs, candidate, moons, nearest
from training.svm_solver import NotSolved, linear_kernel, rbf_kernel, solve_dual, solve_squared_hinge
from training.system import Trained, Workplace, keep

COURSE_BLOBS = SVC(kernel="linear", C=1e10, tol=1e-10)


def problem(seed: int, separable: bool, rows: int = 60) -> Points:
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    centres = np.where(labels == 1, 1, -1)[:, None] * np.array([1.0, 0.5, 0.0])
    return Points(generator.normal(size=(rows, 3)) * (0.3 if separable else 1.5) + centres, labels)


@cache
def trained(kind: type[BlobsSvm] | type[MoonsSvm]) -> Trained:
    return kind().train(Workplace(Path("unused"), torch.device("cpu")))


# --- the solvers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cost", [0.01, 1.0, 1e10])
def test_linear_dual_is_scikit_learns(seed: int, cost: float) -> None:
    points = problem(seed, separable=cost > 1)
    solved = solve_dual(linear_kernel(points.tensor, points.tensor), points.signs, cost)
    oracle = SVC(kernel="linear", C=cost, tol=1e-10).fit(points.at, points.labels)
    coefficients = np.zeros(len(points.at))
    coefficients[oracle.support_] = oracle.dual_coef_[0]

    assert (solved.alphas * solved.signs).numpy() == pytest.approx(coefficients, abs=1e-5)
    assert solved.support.tolist() == sorted(oracle.support_)
    assert solved.bias == pytest.approx(oracle.intercept_[0], abs=1e-5)


@pytest.mark.parametrize(("cost", "gamma"), [(0.1, 0.5), (1.0, 2.0), (100.0, 0.5), (1e10, 5.0)])
def test_kernel_dual_is_scikit_learns(cost: float, gamma: float) -> None:
    points = problem(7, separable=False, rows=150)
    kernel = rbf_kernel(points.tensor, points.tensor, gamma)
    solved = solve_dual(kernel, points.signs, cost)
    oracle = SVC(C=cost, gamma=gamma, tol=1e-10).fit(points.at, points.labels)
    signed = np.zeros(len(points.at))
    signed[oracle.support_] = oracle.dual_coef_[0]
    objective = signed @ kernel.numpy() @ signed / 2 - np.abs(signed).sum()

    assert solved.objective == pytest.approx(objective, rel=1e-6)
    assert solved.support.tolist() == sorted(oracle.support_)


def test_dual_meets_the_conditions_of_its_solution() -> None:
    points = problem(3, separable=False)
    kernel = linear_kernel(points.tensor, points.tensor)
    solved = solve_dual(kernel, points.signs, 2.0)
    margins = solved.signs * (kernel[:, solved.support] @ solved.coefficients + solved.bias)
    free = (solved.alphas > 0) & (solved.alphas < 2)

    assert float(solved.alphas @ solved.signs) == pytest.approx(0, abs=1e-12)
    assert free.any() and margins[free].numpy() == pytest.approx(1, abs=1e-9)
    assert float(margins[solved.alphas == 0].min()) >= 1 - 1e-9
    assert float(margins[solved.alphas == 2].max()) <= 1 + 1e-9


def test_the_same_point_in_both_classes_costs_all_it_may() -> None:
    at = torch.tensor([[0.0], [0.0], [1.0], [-1.0]], dtype=torch.float64)
    solved = solve_dual(linear_kernel(at, at), torch.tensor([1.0, -1, 1, -1], dtype=torch.float64), 1.0)

    assert solved.alphas.tolist() == pytest.approx([1, 1, 0.5, 0.5])
    assert solved.bias == pytest.approx(0)


def test_points_that_no_line_divides_have_no_hard_margin() -> None:
    points = problem(1, separable=False)

    with pytest.raises(NotSolved, match=r"after 300 steps .* Are the points separable\?"):
        solve_dual(linear_kernel(points.tensor, points.tensor), points.signs, 1e10, most_steps=300)


def test_squared_hinge_reaches_the_minimum_that_scipy_finds() -> None:
    points = problem(2, separable=False)
    features = torch.cat([points.tensor, torch.ones(60, 1, dtype=torch.float64)], dim=1)
    signs = torch.stack([points.signs, -points.signs, points.signs.roll(7)], dim=1)
    solved = solve_squared_hinge(features, signs, 0.7, tolerance=1e-9)

    def objective(weights: np.ndarray, column: int) -> float:
        slack = (1 - signs[:, column].numpy() * (features.numpy() @ weights)).clip(0)
        return float(weights[:-1] @ weights[:-1] / 2 + 0.7 * slack @ slack)

    for column in range(3):
        best = minimize(objective, np.zeros(4), args=(column,), method="BFGS", options={"gtol": 1e-8})
        assert float(solved.objective[column]) == pytest.approx(best.fun, rel=1e-8)
        assert solved.weights[:, column].numpy() == pytest.approx(best.x, abs=1e-5)


def test_squared_hinge_falls_with_every_newton_step_to_what_its_weights_cost() -> None:
    points = problem(2, separable=False)
    features = torch.cat([points.tensor, torch.ones(60, 1, dtype=torch.float64)], dim=1)
    solved = solve_squared_hinge(features, points.signs[:, None], 0.7, tolerance=1e-9)
    slack = (1 - points.signs * (features @ solved.weights)[:, 0]).clamp_min(0)
    weights = solved.weights[:-1, 0]

    assert float(solved.objectives[0]) == pytest.approx(0.7 * 60)  # every slack is 1 at 0
    assert float(solved.gradients[0]) == pytest.approx(1)
    last_digits = 1e-14 * float(solved.objective)
    assert (solved.objectives.diff(dim=0) <= last_digits).all() and solved.newton_steps > 1
    assert float(solved.objective) == pytest.approx(float(weights @ weights / 2 + 0.7 * slack @ slack))
    assert float(solved.gradients[-1]) <= 1e-9


def test_newton_steps_of_both_solutions_are_drawn() -> None:
    points = problem(2, separable=False)
    features = torch.cat([points.tensor, torch.ones(60, 1, dtype=torch.float64)], dim=1)
    start = solve_squared_hinge(features[:20], points.signs[:20, None], 1.0)
    whole = solve_squared_hinge(features, points.signs[:, None], 0.3, start=start.weights)
    drawn = svm_figures.newton({"a part": start, "all": whole}, ["0"])

    assert {rgb(figures.TRAIN), rgb(figures.RIGHT)} <= colours(drawn)
    assert drawn != svm_figures.newton({"a part": whole, "all": start}, ["0"])


def test_a_good_start_leads_to_the_same_machine_in_fewer_steps() -> None:
    points = problem(2, separable=False)
    features = torch.cat([points.tensor, torch.ones(60, 1, dtype=torch.float64)], dim=1)
    solved = solve_squared_hinge(features, points.signs[:, None], 5.0, tolerance=1e-9)
    again = solve_squared_hinge(features, points.signs[:, None], 5.0, tolerance=1e-9, start=solved.weights)

    assert again.newton_steps == 0 < solved.newton_steps
    assert torch.equal(again.weights, solved.weights)


# --- two blobs -------------------------------------------------------------------------------------------------------


def test_blobs_have_scikit_learns_margin() -> None:
    points, made = blobs(), trained(BlobsSvm)
    oracle = COURSE_BLOBS.fit(points.at, points.labels)
    metrics = made.card.metrics
    answers = export.run(made.graph, around(points))
    wanted = oracle.decision_function(around(points).astype(np.float64))

    assert [metrics["weight_x1"], metrics["weight_x2"]] == pytest.approx(oracle.coef_[0], abs=1e-6)
    assert metrics["bias"] == pytest.approx(oracle.intercept_[0], abs=1e-5)
    assert metrics["margin_width"] == pytest.approx(2 / np.linalg.norm(oracle.coef_), abs=1e-6)
    assert metrics["support_vectors"] == 3
    assert answers["margin"] == pytest.approx(wanted, abs=1e-5)
    assert answers["distance"] == pytest.approx(wanted / np.linalg.norm(oracle.coef_), abs=1e-5)
    assert answers["index"].tolist() == oracle.predict(around(points)).tolist()


def test_the_card_of_the_blobs_tells_what_the_course_asks() -> None:
    made, points = trained(BlobsSvm), blobs()
    oracle = COURSE_BLOBS.fit(points.at, points.labels)
    notes = " ".join(made.card.notes)

    for x1, x2 in oracle.support_vectors_:
        assert f"({x1:.4f}, {x2:.4f})" in notes
    for point, label in zip(ASKED, oracle.predict(np.array(ASKED)), strict=True):
        assert f"{point} is of class {label}" in notes
    assert made.card.metrics["equals_scikit_learn_to_1e-3"] == 1
    assert made.card.told == ["margin", "distance"]


def test_no_candidate_line_is_as_far_from_the_points_as_the_widest_margin() -> None:
    half = trained(BlobsSvm).card.metrics["margin_width"] / 2
    shares = [each.metrics["share_of_the_widest_margin"] for each in trained(BlobsSvm).card.comparisons]

    assert len(shares) == len(CANDIDATES) and all(0 < share < 1 for share in shares)
    # The point (2.3358, 3.4291) is the nearest to the line x2 = x1 + 0.65, by hand: |2.3358 − 3.4291 + 0.65| / √2.
    assert candidate(*CANDIDATES[0], blobs()).distance == pytest.approx(shares[0] * half)
    assert candidate(*CANDIDATES[0], blobs()).distance == pytest.approx(0.4433 / 2**0.5, abs=1e-3)


def test_a_line_that_does_not_divide_the_points_has_a_negative_distance() -> None:
    assert nearest(np.array([1.0, 0.0]), -1.5, blobs()) < 0


def test_the_equation_of_a_line_has_one_sign_before_each_number() -> None:
    assert svm_figures.Line(-0.2, -2.9, 0.1).equation == "x2 = −0.2·x1 − 2.9"
    assert svm_figures.Line(0.5, 1.6, 0.1).equation == "x2 = 0.5·x1 + 1.6"


# --- two moons -------------------------------------------------------------------------------------------------------


def test_moons_have_scikit_learns_decision_function() -> None:
    made, (train, _, test) = trained(MoonsSvm), moons()
    oracle = SVC(C=made.card.metrics["cost"], gamma=made.card.metrics["gamma"], tol=1e-10).fit(train.at, train.labels)
    rows = np.concatenate([test.at.astype(np.float32), around(train, 51)])
    answers = export.run(made.graph, rows)

    # LIBSVM keeps the kernel in float32: it misses the conditions of the solution by 1e-5, ours by 1e-10.
    assert answers["margin"] == pytest.approx(oracle.decision_function(rows.astype(np.float64)), abs=3e-4)
    assert (answers["index"] == (answers["margin"] > 0)).all()
    assert made.card.metrics["support_vectors"] == len(oracle.support_)
    assert made.card.metrics["test_accuracy"] == pytest.approx(oracle.score(test.at, test.labels))


def test_the_parameters_of_the_moons_are_the_best_on_the_validation_points() -> None:
    metrics, (train, validation, _) = trained(MoonsSvm).card.metrics, moons()

    def accuracy(cost: float, gamma: float) -> float:
        return float(SVC(C=cost, gamma=gamma).fit(train.at, train.labels).score(validation.at, validation.labels))

    chosen = accuracy(metrics["cost"], metrics["gamma"])
    assert metrics["validation_accuracy"] == pytest.approx(chosen, abs=1e-3)
    assert chosen >= max(accuracy(metrics["cost"] * up, metrics["gamma"]) for up in (0.1, 10))


def test_artifacts_of_the_plane_are_kept_with_their_figures(tmp_path: Path) -> None:
    for kind, drawn in ((BlobsSvm, ["boundary", "lines"]), (MoonsSvm, ["boundary", "confusion", "mistakes", "search"])):
        made = trained(kind)
        keep(made, tmp_path)
        folder = tmp_path / made.card.name / "1"
        assert sorted(path.stem for path in (folder / "figures").iterdir()) == drawn
        assert list(made.card.outputs) == [
            node.name for node in ort.InferenceSession(folder / "model.onnx").get_outputs()
        ]
        assert {rgb(figures.RIGHT), rgb(figures.WRONG)} <= colours(made.figures["boundary"])


def test_worst_of_the_plane_are_mistakes_furthest_on_the_wrong_side() -> None:
    margins = np.array([0.5, -2.0, 3.0, -0.1, 1.5, -4.0], np.float32)
    truth = np.array([1, 1, 0, 1, 0, 0])

    assert svm_figures.worst_in_plane(margins, truth).tolist() == [2, 1, 4, 3]
    assert svm_figures.worst_in_plane(margins, truth, most=1).tolist() == [2]


def test_mistakes_of_the_moons_are_drawn_in_the_colours_of_their_classes() -> None:
    assert {rgb(figures.RIGHT), rgb(figures.WRONG)} <= colours(trained(MoonsSvm).figures["mistakes"])


# --- digits ----------------------------------------------------------------------------------------------------------


def stroke(slope: float, top: int = 5, bottom: int = 23, foot: float = 10.0) -> torch.Tensor:
    """uint8 [1, 28, 28]: a slanted stroke, three pixels wide."""
    rows, columns = torch.arange(28.0)[:, None], torch.arange(28.0)
    ink = (1.5 - (columns - foot - slope * (bottom - rows)).abs()).clamp(0, 1)
    return (255 * ink * ((rows >= top) & (rows < bottom))).round().to(torch.uint8)[None]


@pytest.mark.parametrize("slope", [-0.4, 0.0, 0.25, 0.6])
def test_a_slanted_stroke_is_made_upright_and_central(slope: float) -> None:
    upright = Upright()(stroke(slope))[0]
    columns = torch.arange(28.0)
    centres = [float((row @ columns) / row.sum()) for row in upright if row.sum() > 0]

    assert centres == pytest.approx([13.5] * 18, abs=0.1)
    assert float(upright.sum()) == pytest.approx(float(stroke(slope).sum()) / 255, rel=1e-3)


def test_a_blank_picture_stays_blank() -> None:
    assert Upright()(torch.zeros(2, 28, 28, dtype=torch.uint8)).eq(0).all()


def test_the_projection_keeps_the_variance_that_it_can() -> None:
    pictures = torch.randn(200, 6, generator=torch.Generator().manual_seed(1)) @ torch.diag(
        torch.tensor([5.0, 0.1, 3.0, 0.1, 0.1, 0.1])
    )
    projected = Projection(pictures, 2)(pictures)

    assert projected.mean(0).abs().max() < 1e-5
    assert projected.var(0).sum() > 0.99 * pictures.var(0).sum()


def test_machines_say_in_kernels_what_the_weights_say_in_features() -> None:
    points = torch.randn(50, 5, generator=torch.Generator().manual_seed(2))
    similarities = Similarities(points[:20], 0.1)
    weights = torch.randn(21, 10, generator=torch.Generator().manual_seed(3))

    served = similarities.machines(weights)(points)
    assert served.numpy() == pytest.approx((similarities.of(points) @ weights).numpy(), abs=1e-3)


def test_with_every_point_a_landmark_the_machines_separate_what_can_be() -> None:
    at, labels = make_classification(200, 8, n_informative=6, n_redundant=0, n_classes=4, random_state=5)
    train = Prepared(torch.from_numpy(at).float(), torch.from_numpy(labels))
    machines = fit_machines(train, Scale(rows=200, landmarks=200, components=8), 1e3, 0.1).machines
    margins = in_pieces(machines, train.points)

    assert torch.equal(margins.argmax(1), train.labels)
    assert float((signs_of(train.labels) * margins).min()) > 0.5


def test_the_search_gives_every_cost_its_own_machine() -> None:
    at, labels = make_classification(400, 8, n_informative=6, n_classes=4, flip_y=0.1, random_state=6)
    points = Prepared(torch.from_numpy(at).float(), torch.from_numpy(labels))
    train, validation = points.first(200), Prepared(points.points[200:], points.labels[200:])
    scale, costs = Scale(rows=200, landmarks=100, components=8), [1e-4, 1.0, 1e3]
    found = validation_accuracies(train, validation, scale, costs, [0.05], "search")[:, 0]
    similarities = Similarities(train.points[:100], 0.05)
    features, signs = similarities.of(train.points).double(), signs_of(train.labels).double()
    alone = [
        accuracy(
            similarities.of(validation.points).double() @ solve_squared_hinge(features, signs, cost, 1e-7).weights,
            validation.labels,
        )
        for cost in costs
    ]

    assert len(set(alone)) == 3
    assert found == pytest.approx(alone, abs=0.05)


def test_margins_are_the_same_for_a_picture_alone_and_among_others() -> None:
    pictures = torch.cat([stroke(slope) for slope in torch.linspace(-0.5, 0.5, 70).tolist()])
    upright = Upright()
    projection = Projection(upright(pictures).flatten(1), 5)
    points = projection(upright(pictures).flatten(1))
    machines = fit_machines(
        Prepared(points, torch.arange(70) % 10), Scale(rows=70, landmarks=20, components=5), 1.0, 0.05
    ).machines
    what = export.Exportable(
        DigitMachine(upright, projection, machines), "image", {"index": "the answer", "margins": "its margins"}
    )
    graph = export.to_onnx(what, pictures[:2])

    assert export.check_parity(what, graph, pictures) < 1e-4
    alone = np.concatenate([export.run(graph, each[None].numpy())["margins"] for each in pictures[:5]])
    assert export.run(graph, pictures[:5].numpy())["margins"] == pytest.approx(alone, abs=1e-5)


def test_mistakes_are_ordered_by_how_far_they_are_ahead_of_the_truth() -> None:
    margins = np.full((20, 10), -1, np.float32)
    truth = np.zeros(20, np.int64)
    margins[:, 1] = np.arange(20) / 10  # every answer is 1, the later the surer
    pictures = np.arange(20, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2) * 10
    names = [str(digit) for digit in range(10)]

    assert svm_figures.mistakes(pictures, margins, truth, names) == svm_figures.mistakes(
        pictures[::-1], margins[::-1], truth, names
    )
    assert rgb(figures.RIGHT) not in colours(svm_figures.mistakes(pictures, margins, truth + 1, names))
