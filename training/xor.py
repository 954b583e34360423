"""XOR, three ways: one unit, which cannot; a small MLP, which mostly can; two sigmoid units, by hand.

A hundred networks are trained as one: every weight has a first axis for the network, and their losses are added up.
One generator draws them all; what the cards call a seed of a hundred is one of its draws.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from app.card import Card, Comparison, DatasetFacts, Feature, Layer, RowsInput
from training import export, figures
from training.classifier import OUTPUTS, WithProbabilities
from training.export import Exportable
from training.system import NO_OPTIONS, Trained, Workplace, training_facts

SEEDS = 100
POINTS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR, AND, OR = (torch.tensor(truth) for truth in ([0.0, 1, 1, 0], [0.0, 0, 0, 1], [0.0, 1, 1, 1]))
# A unit that learns XOR ends at a half everywhere. What is as near to it as this is a half, whichever way a runtime
# rounds it, and counts as the answer 0.
DECIDED = 0.5 + 1e-4
INPUT = RowsInput(
    features=[Feature(name="a", example=1.0, usual=[0.0, 1.0]), Feature(name="b", example=0.0, usual=[0.0, 1.0])]
)
LABELS = ["0", "1"]
TRUTH_TABLE = DatasetFacts(
    name="xor",
    source="the truth table of exclusive or: all four rows, to train and to test",
    licence="none needed",
    train_rows=4,
    validation_rows=0,
    test_rows=4,
    sha256={},
)
# The square around the four points.
AROUND = torch.rand(export.PARITY_ROWS, 2, generator=torch.Generator().manual_seed(0)) * 2 - 0.5

Parameters = list[Tensor]  # each [seeds, …]
Losses = Callable[[int], Tensor]  # the number of a step → the loss of each seed
Measures = Callable[[], tuple[Tensor, Tensor]]  # loss and share of right answers of each seed, over all four points


def descend(
    name: str,
    parameters: Parameters,
    optimizer: Callable[[Parameters], torch.optim.Optimizer],
    losses: Losses,
    measures: Measures,
    steps: int,
) -> figures.Runs:
    """Trains all seeds in place, and notes now and then how they do."""
    every = max(1, steps // 500)
    for parameter in parameters:
        parameter.requires_grad_()
    chosen, noted = optimizer(parameters), []
    for number in tqdm(range(steps), desc=name, file=sys.stderr, dynamic_ncols=True):
        if number % every == 0:
            with torch.no_grad():
                noted.append(measures())
        chosen.zero_grad(set_to_none=True)
        losses(number).sum().backward()
        chosen.step()
    for parameter in parameters:
        parameter.requires_grad_(False)
    noted_losses, shares = (torch.stack(each).numpy() for each in zip(*noted, strict=True))
    return figures.Runs(noted_losses, shares, every)


def uniform(generator: torch.Generator, outputs: int, inputs: int) -> Parameters:
    """Weight and bias of a layer as PyTorch begins it, for every seed."""
    bound = 1 / math.sqrt(inputs)
    shapes = ((SEEDS, outputs, inputs), (SEEDS, outputs))
    return [(torch.rand(shape, generator=generator) * 2 - 1) * bound for shape in shapes]


def he(generator: torch.Generator, outputs: int, inputs: int, bias: float = 0.0) -> Parameters:
    """He et al. 2015, with a bias that may be more than zero."""
    weight = torch.randn(SEEDS, outputs, inputs, generator=generator) * math.sqrt(2 / inputs)
    return [weight, torch.full((SEEDS, outputs), bias)]


def layer(given: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[seeds, rows, inputs] → [seeds, rows, outputs]"""
    return torch.einsum("sri,soi->sro", given, weight) + bias[:, None]


def course_sgd(parameters: Parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.99, nesterov=True)


COURSE_SGD = "SGD, learning rate 0.01, Nesterov momentum 0.99"


def of_seed(parameters: Parameters, seed: int) -> Parameters:
    return [parameter[seed].clone() for parameter in parameters]


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.weight.data, made.bias.data = weight, bias
    return made


# --- one unit --------------------------------------------------------------------------------------------------------

PERCEPTRON_STEPS, PERCEPTRON_SEED = 3_000, 1
UNIT_OUTPUTS = {
    "probabilities": "Of 0 and of 1 as the answer to XOR, by the unit's sigmoid; it is right for two points or three.",
    "and": "Probability that both are 1, by the same unit trained on AND.",
    "or": "Probability that one of them is 1, by the same unit trained on OR.",
}


class Units(nn.Module):
    """The same unit three times, trained on XOR, AND and OR."""

    def __init__(self, weights: Tensor, biases: Tensor) -> None:
        super().__init__()
        self.units = linear(weights, biases)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        xor, both, either = torch.sigmoid(self.units(rows)).unbind(1)
        return torch.stack([1 - xor, xor], dim=1), both, either


@dataclass(frozen=True)
class Perceptron:
    options: ClassVar[frozenset[str]] = NO_OPTIONS
    name: str = "xor-perceptron"
    title: str = "XOR by one unit, which cannot"

    @property
    def floor(self) -> dict[str, float]:
        return {"mistakes_of_4_points": 1.0, "and_accuracy": 1.0, "or_accuracy": 1.0}

    def takes(self) -> RowsInput:
        return INPUT

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        answers, reached = export.run(graph, POINTS.numpy()), accuracy(graph)
        return {
            "accuracy": reached,
            "mistakes_of_4_points": 4 * (1 - reached),
            "and_accuracy": share_right(answers["and"], AND),
            "or_accuracy": share_right(answers["or"], OR),
        }

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(PERCEPTRON_SEED)
        truth = torch.stack([XOR, AND, OR])
        # Three tasks of a hundred seeds each, in one axis.
        weights, biases = zip(*(uniform(generator, 1, 2) for _ in truth), strict=True)
        parameters = [torch.cat(weights), torch.cat(biases)]
        targets = truth.repeat_interleave(SEEDS, 0)

        def measures() -> tuple[Tensor, Tensor]:
            probabilities = self._probabilities(parameters)
            right = (probabilities > DECIDED) == targets.bool()
            return ((probabilities - targets) ** 2).mean(1), right.float().mean(1)

        steps = 20 if workplace.dry_run else PERCEPTRON_STEPS
        runs = descend(self.name, parameters, course_sgd, lambda _: measures()[0], measures, steps)
        right = measures()[1].view(3, SEEDS)
        best = right.argmax(1) + torch.arange(3) * SEEDS
        what = Exportable(Units(parameters[0][best, 0], parameters[1][best, 0]), "rows", UNIT_OUTPUTS)
        graph = export.to_onnx(what, POINTS[:2])
        told = {
            "mean_accuracy_of_100_seeds": right[0].mean().item(),
            "and_accuracy_of_the_worst_of_100_seeds": right[1].min().item(),
            "or_accuracy_of_the_worst_of_100_seeds": right[2].min().item(),
            "onnx_max_difference": export.check_parity(what, graph, AROUND),
        }
        seconds = time.perf_counter() - start
        return Trained(
            graph,
            card(
                self.name,
                self.title,
                "2 → 1, sigmoid: 3 parameters. The graph holds the same unit three times, trained on XOR, on AND and "
                "on OR; those trained on AND and OR are right. Parameters and layers are those of one unit.",
                UNIT_OUTPUTS,
                told=["and", "or"],
                parameters=3,
                layers=[Layer(name="unit", kind="Linear", output_shape=[1], parameters=3)],
                metrics=self.evaluate(graph, workplace, told) | told,
                floor=self.floor,
                notes=[
                    "One unit divides the plane by a line, and no line has (0, 0) and (1, 1) on one side and (0, 1) "
                    "and (1, 0) on the other: XOR is not linearly separable (Minsky and Papert 1969). At most three of "
                    "the four points are right; with this loss the unit ends at a half everywhere.",
                    f"Each task has {SEEDS} units, all drawn by one generator of seed {PERCEPTRON_SEED}; of each the "
                    "first of the best is served (of XOR, AND and OR those numbered "
                    f"{', '.join(str(int(number)) for number in right.argmax(1))}, from 0 on). accuracy, "
                    "mistakes_of_4_points, and_accuracy and or_accuracy are of the units that are served.",
                ],
                training=training_facts(
                    self.name,
                    workplace,
                    f"{COURSE_SGD}; mean squared error",
                    PERCEPTRON_STEPS,
                    seconds,
                    seed=PERCEPTRON_SEED,
                    batch_size=4,
                    learning_rate=0.01,
                ),
            ),
            export.golden_rows(what, POINTS),
            {
                "training": figures.training_bands(
                    {
                        task: runs.part(slice(place * SEEDS, (place + 1) * SEEDS))
                        for place, task in enumerate(("XOR", "AND", "OR"))
                    },
                    "mean squared error",
                ),
                "decision": figures.decision_surface(surface(graph), POINTS.numpy(), XOR.numpy(), LABELS),
            },
        )

    def _probabilities(self, parameters: Parameters) -> Tensor:
        return torch.sigmoid(layer(POINTS.expand(3 * SEEDS, 4, 2), *parameters))[..., 0]


# --- an MLP ----------------------------------------------------------------------------------------------------------

SIZES = ((4, 2), (4, 4), (2, 4))
COURSE_EPOCHS, LONGER_EPOCHS, COURSE_SEED = 30, 300, 2
STEPS, MLP_SEED = 1_500, 3


def mlp(parameters: Parameters, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits [seeds, rows, 2], and the activations of the hidden layers."""
    hidden, activations = rows, []
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        hidden = F.relu(layer(hidden, weight, bias))
        activations.append(hidden)
    return layer(hidden, *parameters[-2:]), activations


def loss_and_right(parameters: Parameters, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Of each seed, over the four points: mean cross-entropy, and the share of right answers."""
    logits, _ = mlp(parameters, rows)
    truth = XOR.long().expand(SEEDS, 4)
    each = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none")
    return each.view(SEEDS, 4).mean(1), (logits.argmax(2) == truth).float().mean(1)


def learned_and_dead(parameters: Parameters, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Of each seed: whether all four points are right, and whether a whole hidden layer is silent for some two points
    that have different answers, or answers the same for both, so that nothing behind it can tell them apart. Never
    both."""
    logits, activations = mlp(parameters, rows)
    right = (logits.argmax(2) == XOR.long()).all(1)
    different = (XOR[:, None] != XOR[None]).nonzero().tolist()
    dead = torch.zeros(SEEDS, dtype=torch.bool)
    for hidden in activations:
        for one, other in different:
            dead |= (hidden[:, one] - hidden[:, other]).abs().amax(1) < 1e-6
    return right, dead


def fates(learned: Tensor, dead: Tensor) -> dict[str, float]:
    """What became of the seeds, for the card; the three add up to all of them."""
    return {
        "seeds_of_100_that_learn": float(learned.sum()),
        "seeds_of_100_with_dead_relu": float(dead.sum()),
        "seeds_of_100_with_neither": float((~learned & ~dead).sum()),
    }


class Centred(nn.Module):
    """0 and 1 become −1 and 1: a unit then begins with points on both sides of it."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows * 2 - 1


@dataclass(frozen=True)
class Mlp:
    options: ClassVar[frozenset[str]] = NO_OPTIONS
    name: str = "xor-mlp"
    title: str = "XOR by a small MLP"

    @property
    def floor(self) -> dict[str, float]:
        return {"accuracy": 1.0}

    def takes(self) -> RowsInput:
        return INPUT

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        return {"accuracy": accuracy(graph)}

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        lengths = (1, 2) if workplace.dry_run else (COURSE_EPOCHS, LONGER_EPOCHS)
        (course, course_runs), (longer, longer_runs) = (self._course(epochs) for epochs in lengths)
        theirs, longer_theirs = (
            fates(*learned_and_dead(reference, POINTS.expand(SEEDS, 4, 2))) for reference in (course, longer)
        )
        parameters, runs = self._ours(200 if workplace.dry_run else STEPS)
        right, dead = learned_and_dead(parameters, (POINTS * 2 - 1).expand(SEEDS, 4, 2))
        seed = int(right.nonzero()[0]) if right.any() else 0
        weights = of_seed(parameters, seed)
        body = nn.Sequential()
        body.add_module("centred", Centred())
        for place, name in enumerate(("hidden1", "hidden2", "logits")):
            body.add_module(name, linear(*weights[2 * place : 2 * place + 2]))
            if name != "logits":
                body.add_module(f"relu{place + 1}", nn.ReLU())
        what = Exportable(WithProbabilities(body), "rows", OUTPUTS)
        graph = export.to_onnx(what, POINTS[:2])
        told = {
            **fates(right, dead),
            "onnx_max_difference": export.check_parity(what, graph, AROUND),
        }
        failed = ~right
        return Trained(
            graph,
            card(
                self.name,
                self.title,
                "2 → 4 ReLU → 4 ReLU → 2 softmax.",
                OUTPUTS,
                told=[],
                parameters=sum(weight.numel() for weight in weights),
                layers=export.layer_table(body, body, POINTS[:1]),
                metrics=self.evaluate(graph, workplace, told) | told,
                floor=self.floor,
                notes=[
                    f"{int(right.sum())} of {SEEDS} seeds learn all four points; of the {int(failed.sum())} others "
                    f"{int((failed & dead).sum())} are dead: a layer of their ReLUs is silent for two points with "
                    "different answers, or answers the same for both, and nothing behind it can tell them apart. Where "
                    "it is silent, no gradient comes through it either.",
                    f"A seed is one of {SEEDS} networks that one generator of seed {MLP_SEED} draws; network {seed}, "
                    "counted from 0, is served, the first that learns.",
                    f"The course's run is too short: of its {SEEDS} seeds {theirs['seeds_of_100_with_neither']:.0f} "
                    "neither learn nor are dead, and are still on their way. Ten times as long, "
                    f"{longer_theirs['seeds_of_100_that_learn']:.0f} learn, "
                    f"{longer_theirs['seeds_of_100_with_dead_relu']:.0f} are dead, "
                    f"{longer_theirs['seeds_of_100_with_neither']:.0f} are neither.",
                    "Two things make the difference to the course's run: inputs of −1 and 1, so that a unit does not "
                    "begin with all points on its silent side, and biases that begin at 1.",
                ],
                training=training_facts(
                    self.name,
                    workplace,
                    "Adam, learning rate 0.01; He initialisation, hidden biases 1",
                    STEPS,
                    time.perf_counter() - start,
                    seed=MLP_SEED,
                    batch_size=4,
                    learning_rate=0.01,
                ),
                comparisons=[
                    Comparison(
                        what=f"the course's run: {COURSE_SGD}, {COURSE_EPOCHS} epochs one point at a time, PyTorch's "
                        "initialisation",
                        metrics=theirs,
                    ),
                    Comparison(
                        what=f"the course's run for {LONGER_EPOCHS} epochs, from the same weights",
                        metrics=longer_theirs,
                    ),
                ],
            ),
            export.golden_rows(what, POINTS),
            {
                "training": figures.training_bands({"Adam": runs}, "cross-entropy"),
                "course": figures.training_bands(
                    {
                        f"SGD, {epochs} epochs": each
                        for epochs, each in zip(lengths, (course_runs, longer_runs), strict=True)
                    },
                    "cross-entropy",
                ),
                "decision": figures.decision_surface(surface(graph), POINTS.numpy(), XOR.numpy(), LABELS),
            },
        )

    def _course(self, epochs: int) -> tuple[Parameters, figures.Runs]:
        generator = torch.Generator().manual_seed(COURSE_SEED)
        parameters = [tensor for size in SIZES for tensor in uniform(generator, *size)]
        orders = torch.rand(epochs, SEEDS, 4, generator=generator).argsort(2)

        def losses(step: int) -> Tensor:
            chosen = orders[step // 4, :, step % 4]
            logits, _ = mlp(parameters, POINTS[chosen][:, None])
            return F.cross_entropy(logits[:, 0], XOR.long()[chosen], reduction="none")

        def measures() -> tuple[Tensor, Tensor]:
            return loss_and_right(parameters, POINTS.expand(SEEDS, 4, 2))

        name = f"{self.name} (the course's, {epochs} epochs)"
        return parameters, descend(name, parameters, course_sgd, losses, measures, 4 * epochs)

    def _ours(self, steps: int) -> tuple[Parameters, figures.Runs]:
        generator = torch.Generator().manual_seed(MLP_SEED)
        biases = (1.0, 1.0, 0.0)
        parameters = [tensor for size, bias in zip(SIZES, biases, strict=True) for tensor in he(generator, *size, bias)]
        rows = (POINTS * 2 - 1).expand(SEEDS, 4, 2)

        def measures() -> tuple[Tensor, Tensor]:
            return loss_and_right(parameters, rows)

        def adam(parameters: Parameters) -> torch.optim.Optimizer:
            return torch.optim.Adam(parameters, lr=0.01)

        return parameters, descend(self.name, parameters, adam, lambda _: measures()[0], measures, steps)


# --- by hand ---------------------------------------------------------------------------------------------------------

SIGMOID_STEPS, SIGMOID_SEED = 50_000, 4
FOLDED_OUTPUTS = {
    "probabilities": "Of 0 and of 1, by the last unit's sigmoid.",
    "hidden": "What the two hidden units answer: the plane, folded so that a line can divide the four points.",
}


class Folded(nn.Module):
    """Two sigmoid units, and one that looks at them. The weights are inputs of the graph that need not be given."""

    def __init__(self, hidden: nn.Linear, output: nn.Linear) -> None:
        super().__init__()
        self.hidden, self.output = hidden, output

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.sigmoid(self.hidden(rows))
        one = torch.sigmoid(self.output(hidden))
        return torch.cat([1 - one, one], dim=1), hidden


@dataclass(frozen=True)
class ByHand:
    options: ClassVar[frozenset[str]] = NO_OPTIONS
    name: str = "xor-sigmoid"
    title: str = "XOR by two sigmoid units and one"

    @property
    def floor(self) -> dict[str, float]:
        return {"accuracy": 1.0}

    def takes(self) -> RowsInput:
        return INPUT

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        return {"accuracy": accuracy(graph)}

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(SIGMOID_SEED)
        shapes = ((SEEDS, 2, 2), (SEEDS, 2), (SEEDS, 1, 2), (SEEDS, 1))
        parameters = [torch.randn(shape, generator=generator) for shape in shapes]
        rows = POINTS.expand(SEEDS, 4, 2)

        def logits() -> Tensor:
            return layer(torch.sigmoid(layer(rows, *parameters[:2])), *parameters[2:])[..., 0]

        def losses(_: int) -> Tensor:
            return F.binary_cross_entropy_with_logits(logits(), XOR.expand(SEEDS, 4), reduction="none").sum(1)

        def measures() -> tuple[Tensor, Tensor]:
            return losses(0) / 4, ((logits() > 0) == XOR.bool()).float().mean(1)

        runs = descend(
            self.name,
            parameters,
            lambda all_: torch.optim.SGD(all_, lr=0.01),
            losses,
            measures,
            200 if workplace.dry_run else SIGMOID_STEPS,
        )
        right = measures()[1] == 1
        seed = int(right.nonzero()[0]) if right.any() else 0
        weights = of_seed(parameters, seed)
        body = Folded(linear(*weights[:2]), linear(*weights[2:]))
        what = Exportable(body, "rows", FOLDED_OUTPUTS)
        graph = export.to_onnx(what, POINTS[:2])
        told = {
            "seeds_of_100_that_learn": float(right.sum()),
            "onnx_max_difference": export.check_parity(what, graph, AROUND),
        }
        return Trained(
            export.with_overridable_weights(graph),
            card(
                self.name,
                self.title,
                "2 → 2 sigmoid → 1 sigmoid; 9 parameters, drawn from N(0, 1).",
                FOLDED_OUTPUTS,
                told=["hidden"],
                parameters=9,
                layers=export.layer_table(body, body, POINTS[:1]),
                metrics=self.evaluate(graph, workplace, told) | told,
                floor=self.floor,
                notes=[
                    f"{int(right.sum())} of {SEEDS} seeds learn all four points in {SIGMOID_STEPS:,} steps. A seed is "
                    f"one of {SEEDS} networks that one generator of seed {SIGMOID_SEED} draws; network {seed}, counted "
                    "from 0, is served, the first that learns.",
                    "The weights are optional inputs of the graph: /v2/models/xor-sigmoid/infer takes your own.",
                ],
                training=training_facts(
                    self.name,
                    workplace,
                    "SGD, learning rate 0.01; binary cross-entropy, added up over the points",
                    SIGMOID_STEPS,
                    time.perf_counter() - start,
                    seed=SIGMOID_SEED,
                    batch_size=4,
                    learning_rate=0.01,
                ),
            ),
            export.golden_rows(what, POINTS),
            {
                "training": figures.training_bands({"SGD": runs}, "cross-entropy"),
                "decision": figures.decision_surface(surface(graph), POINTS.numpy(), XOR.numpy(), LABELS),
                "folding": figures.folded_plane(
                    *folding(graph), export.run(graph, POINTS.numpy())["hidden"], XOR.numpy(), LABELS
                ),
            },
        )


def accuracy(graph: bytes) -> float:
    """For XOR, over the truth table."""
    return share_right(export.run(graph, POINTS.numpy())["probabilities"][:, 1], XOR)


def share_right(probabilities: figures.Points, truth: Tensor) -> float:
    return float(((probabilities > DECIDED) == truth.numpy()).mean())


def folding(graph: bytes) -> tuple[figures.Points, figures.Points]:
    """A grid over the square, and where the hidden units put it."""
    grid = figures.grid(0, 1, 11)
    return grid, export.run(graph, grid.reshape(-1, 2))["hidden"].reshape(grid.shape)


def surface(graph: bytes) -> Callable[[figures.Points], figures.Points]:
    """The probability of 1 at any points."""
    return lambda points: export.run(graph, points)["probabilities"][:, 1]


def card(name: str, title: str, description: str, outputs: dict[str, str], **more: object) -> Card:
    given: dict[str, object] = {
        "name": name,
        "title": title,
        "description": description,
        "task": "classification",
        "input": INPUT,
        "outputs": outputs,
        "labels": LABELS,
        "dataset": TRUTH_TABLE,
    }
    return Card.model_validate(given | more)


SYSTEMS: Sequence[Perceptron | Mlp | ByHand] = (Perceptron(), Mlp(), ByHand())
