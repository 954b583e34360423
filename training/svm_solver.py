"""Two solvers of the support vector machine, on tensors: the dual, exactly, and the primal with the squared hinge, for
many classes at once. They know no data set and no graph."""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

# What stands for the curvature between two points that the kernel takes for the same one (as LIBSVM does).
NO_CURVATURE = 1e-12
NEWTON_STEPS, CONJUGATE_STEPS, HALVINGS = 40, 60, 20
CONJUGATE_TOLERANCE = 0.1  # a direction need not be exact: the next step mends it


class NotSolved(ValueError):
    """The solver did not reach its tolerance: the points are not separable with this cost, or the steps too few."""


def linear_kernel(one: Tensor, other: Tensor) -> Tensor:
    """[N, D], [M, D] → [N, M]"""
    return one @ other.T


def rbf_kernel(one: Tensor, other: Tensor, gamma: float) -> Tensor:
    """exp(−γ·|x − y|²), [N, D], [M, D] → [N, M]; the squares are expanded, so that it is one matrix product."""
    squares = (one * one).sum(1)[:, None] + (other * other).sum(1) - 2 * one @ other.T
    return torch.exp(-gamma * squares.clamp_min(0))


@dataclass(frozen=True)
class Dual:
    """The solution: f(x) = Σ coefficients·kernel(support vectors, x) + bias."""

    alphas: Tensor  # float64 [N], from 0 to the cost
    signs: Tensor  # float64 [N], −1 or 1
    bias: float
    objective: float  # ½ Σᵢⱼ αᵢαⱼyᵢyⱼKᵢⱼ − Σ αᵢ
    steps: int

    @property
    def support(self) -> Tensor:
        """int64: the places of the support vectors."""
        return self.alphas.nonzero()[:, 0]

    @property
    def coefficients(self) -> Tensor:
        """αᵢyᵢ of the support vectors."""
        return (self.alphas * self.signs)[self.support]


def solve_dual(
    kernel: Tensor, signs: Tensor, cost: float, tolerance: float = 1e-10, most_steps: int = 1_000_000
) -> Dual:
    """Sequential minimal optimisation (Platt 1998); the pair of each step is chosen by the second-order gain (Fan, Chen
    and Lin 2005). `kernel` is float64 [N, N], `signs` −1 or 1; the conditions of Karush, Kuhn and Tucker hold to
    `tolerance`, in units of the margin. Raises NotSolved."""
    alphas = torch.zeros_like(signs)
    diagonal = kernel.diagonal()
    # y − Σ αⱼyⱼKⱼ: what each point would want the bias to be. At the solution all free ones agree.
    wanted = signs.clone()
    positive = signs > 0
    for step in range(most_steps):
        may_rise = torch.where(positive, alphas < cost, alphas > 0)
        may_fall = torch.where(positive, alphas > 0, alphas < cost)
        highest, first = wanted.masked_fill(~may_rise, -torch.inf).max(0)
        lowest = wanted.masked_fill(~may_fall, torch.inf).min()
        if highest - lowest <= tolerance:
            return _solution(kernel, alphas, signs, cost, wanted, float(highest + lowest) / 2, step)
        i = int(first)
        gaps = highest - wanted
        curvatures = (diagonal[i] + diagonal - 2 * kernel[i]).clamp_min(NO_CURVATURE)
        gains = (gaps * gaps / curvatures).masked_fill(~(may_fall & (gaps > 0)), -1.0)
        j = int(gains.argmax())
        moved = min(float(gaps[j] / curvatures[j]), _room(alphas, signs, cost, i, 1), _room(alphas, signs, cost, j, -1))
        alphas[i] = _within(float(alphas[i] + signs[i] * moved), cost)
        alphas[j] = _within(float(alphas[j] - signs[j] * moved), cost)
        wanted -= moved * (kernel[i] - kernel[j])
    raise NotSolved(
        f"after {most_steps:,} steps the conditions are violated by {float(highest - lowest):.2g}; "
        f"{tolerance:.0e} is allowed. Are the points separable?"
    )


def _room(alphas: Tensor, signs: Tensor, cost: float, place: int, direction: int) -> float:
    """How far α·y may move in a direction before α leaves the box."""
    alpha = float(alphas[place])
    return cost - alpha if float(signs[place]) * direction > 0 else alpha


def _within(alpha: float, cost: float) -> float:
    """Rounding leaves no α a hair's breadth away from its bound, where it would count as a support vector."""
    hair = 1e-14 * min(cost, 1.0)
    return 0.0 if alpha < hair else cost if alpha > cost * (1 - 1e-14) else alpha


def _solution(
    kernel: Tensor, alphas: Tensor, signs: Tensor, cost: float, wanted: Tensor, middle: float, steps: int
) -> Dual:
    free = (alphas > 0) & (alphas < cost)
    signed = alphas * signs
    return Dual(
        alphas=alphas,
        signs=signs,
        bias=float(wanted[free].mean()) if free.any() else middle,
        objective=float(signed @ kernel @ signed / 2 - alphas.sum()),
        steps=steps,
    )


@dataclass(frozen=True)
class Primal:
    """f(x) = features·weights; the last feature is the constant 1, its weight the bias."""

    weights: Tensor  # [D, classes]
    objectives: Tensor  # [Newton steps + 1, classes], before the first step and after each
    gradients: Tensor  # of the same shape: the gradient's norm as a share of that at 0

    @property
    def objective(self) -> Tensor:
        """[classes], in the end."""
        return self.objectives[-1]

    @property
    def newton_steps(self) -> int:
        return len(self.objectives) - 1


def solve_squared_hinge(
    features: Tensor,
    signs: Tensor,
    cost: float,
    tolerance: float = 1e-3,
    start: Tensor | None = None,
    what: str | None = None,
) -> Primal:
    """½|w|² + C·Σ max(0, 1 − y·f)² of every class at once, by Newton's method with conjugate gradients (Chapelle 2007,
    Training a support vector machine in the primal).

    `features` is [N, D], the last one 1 and its weight not penalised; `signs` is [N, classes]. Stops when every
    gradient is `tolerance` of that at 0. Raises NotSolved. `start` are weights to begin with; `what` names a bar.
    """
    weights = features.new_zeros(features.shape[1], signs.shape[1]) if start is None else start
    scores = features @ weights
    penalised = torch.ones_like(weights[:, :1])
    penalised[-1] = 0
    first = 2 * cost * (features.T @ signs).norm(dim=0)
    objectives, gradients = [], []
    with tqdm(total=NEWTON_STEPS, desc=what, file=sys.stderr, dynamic_ncols=True, disable=what is None) as bar:
        for _ in range(NEWTON_STEPS):
            slack = (1 - signs * scores).clamp_min(0)
            gradient = penalised * weights - 2 * cost * (features.T @ (signs * slack))
            size = gradient.norm(dim=0)
            objectives.append(_objective(penalised * weights, slack, cost))
            gradients.append(size / first)
            bar.set_postfix_str(f"gradient {float(gradients[-1].max()):.1e}")
            if (size <= tolerance * first).all():
                return Primal(weights, torch.stack(objectives), torch.stack(gradients))
            direction = _newton_direction(features, slack > 0, penalised, cost, gradient)
            change = features @ direction
            length = _line_search(penalised, weights, direction, signs, scores, change, cost)
            weights, scores = weights + length * direction, scores + length * change
            bar.update()
    raise NotSolved(f"after {NEWTON_STEPS} Newton steps the gradient is {float((size / first).max()):.1e} of the first")


def _newton_direction(features: Tensor, active: Tensor, penalised: Tensor, cost: float, gradient: Tensor) -> Tensor:
    """By conjugate gradients. Only points within the margin have curvature; those that are in none are left out."""
    some = active.any(1)
    features, curving = features[some], active[some].to(features)
    tiny = torch.finfo(gradient.dtype).tiny  # a class that is done already has nothing to divide by
    direction, residual = torch.zeros_like(gradient), -gradient
    search, squared = residual, (residual * residual).sum(0)
    enough = squared * CONJUGATE_TOLERANCE**2
    for _ in range(CONJUGATE_STEPS):
        curved = penalised * search + 2 * cost * (features.T @ (curving * (features @ search)))
        length = squared / (search * curved).sum(0).clamp_min(tiny)
        direction = direction + length * search
        residual = residual - length * curved
        before, squared = squared, (residual * residual).sum(0)
        if (squared <= enough).all():
            break
        search = residual + squared / before.clamp_min(tiny) * search
    return direction


def _objective(weights: Tensor, slack: Tensor, cost: float) -> Tensor:
    return (weights * weights).sum(0) / 2 + cost * (slack * slack).sum(0)


def _line_search(
    penalised: Tensor, weights: Tensor, direction: Tensor, signs: Tensor, scores: Tensor, change: Tensor, cost: float
) -> Tensor:
    """For each class the longest of 1, ½, ¼, … that makes the objective no larger, but for rounding; 0 where none
    does."""

    def at(length: Tensor) -> Tensor:
        slack = (1 - signs * (scores + length * change)).clamp_min(0)
        return _objective(penalised * (weights + length * direction), slack, cost)

    length = torch.ones_like(weights[0])
    now = at(torch.zeros_like(length)) * (1 + 10 * torch.finfo(length.dtype).eps)
    for _ in range(HALVINGS):
        worse = at(length) > now
        if not worse.any():
            return length
        length = torch.where(worse, length / 2, length)
    return torch.where(worse, 0, length)
