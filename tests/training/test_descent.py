"""Problems and optimisers as graphs: 100 steps against the same loop with torch.optim, and files that are today's."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from app.lab.descent import FOLDER, OPTIMISERS, PROBLEMS, Graphs, Position, at_random, descend, settings_for
from app.runtime import CPU, open_session
from training import descent
from training.descent import problems

OPEN = Graphs(lambda content: open_session(content, [CPU]))
THEIRS: dict[str, Callable[[Iterable[torch.Tensor], dict[str, float]], torch.optim.Optimizer]] = {
    "sgd": lambda weights, s: torch.optim.SGD(weights, s["learning_rate"], weight_decay=s["weight_decay"]),
    "momentum": lambda weights, s: torch.optim.SGD(
        weights, s["learning_rate"], momentum=s["momentum"], weight_decay=s["weight_decay"]
    ),
    "nesterov": lambda weights, s: torch.optim.SGD(
        weights, s["learning_rate"], momentum=s["momentum"], weight_decay=s["weight_decay"], nesterov=True
    ),
    "rmsprop": lambda weights, s: torch.optim.RMSprop(
        weights, s["learning_rate"], alpha=s["decay"], eps=s["epsilon"], weight_decay=s["weight_decay"]
    ),
    "adam": lambda weights, s: torch.optim.Adam(
        weights, s["learning_rate"], betas=(s["beta1"], s["beta2"]), eps=s["epsilon"], weight_decay=s["weight_decay"]
    ),
}


def start_of(name: str) -> dict[str, Any]:
    given = PROBLEMS[name].start
    return (
        {each: np.array(value, np.float64) for each, value in given.items()}
        if given
        else at_random(OPEN.problem(name), 5)
    )


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("optimiser", sorted(OPTIMISERS))
@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_hundred_steps_are_torchs(name: str, optimiser: str, decay: float) -> None:
    facts, problem = OPTIMISERS[optimiser], OPEN.problem(name)
    settings = {**settings_for(name, optimiser), "weight_decay": decay}
    start = start_of(name)
    state = {each: np.zeros(problem.size) for each in facts.state}
    way = list(descend(problem, OPEN.optimiser(optimiser), facts, Position(start, state), settings, 100))

    weights = {each: torch.tensor(value, dtype=torch.float64, requires_grad=True) for each, value in start.items()}
    theirs = THEIRS[optimiser](weights.values(), settings)
    losses = []
    for _ in range(100):
        theirs.zero_grad()
        loss, *_ = KNOWN[name](weights)
        losses.append(loss.item())
        loss.backward()
        theirs.step()

    assert len(way) == 101
    assert [seen.loss for _, seen in way[:100]] == pytest.approx(losses, rel=1e-6, abs=1e-12)
    for each, value in weights.items():
        assert way[-1][0].weights[each] == pytest.approx(value.detach().numpy(), rel=1e-5, abs=1e-8)


KNOWN = {name: problem.function for name, problem in problems().items()}


def test_committed_graphs_are_what_is_exported_today() -> None:
    graphs = descent.graphs()

    assert sorted(graphs) == sorted(file.name for file in FOLDER.glob("*.onnx"))
    for name, graph in graphs.items():
        ours, today = onnx.load(FOLDER / name), onnx.load_from_string(graph)
        assert [node.op_type for node in ours.graph.node] == [node.op_type for node in today.graph.node]
        assert (ours.graph.input, ours.graph.output) == (today.graph.input, today.graph.output)


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_forward_graph_gives_the_same_without_gradients(name: str) -> None:
    problem = OPEN.problem(name)
    for seed in range(5):
        weights = at_random(problem, seed)
        whole = dict(zip(problem.outputs, problem.run(problem.outputs, weights), strict=True))
        alone = OPEN.forward(name)(None, weights)

        assert problem.told == (["loss", "accuracy"] if name in ("xor", "iris") else ["loss"])
        assert [each.item() for each in alone] == pytest.approx(
            [whole[each].item() for each in problem.told], rel=1e-14
        )


def test_facts_are_those_of_the_graphs() -> None:
    assert sorted(PROBLEMS) == sorted(descent.problems())
    for name, facts in OPTIMISERS.items():
        exported = descent.OPTIMISERS[name]
        assert facts.state == exported.state
        assert set(facts.settings) | {"step"} == set(exported.settings) | {"step"}
    for name, problem in descent.problems().items():
        assert OPEN.problem(name).shapes == problem.shapes


def test_random_start_is_within_pytorchs_bounds() -> None:
    weights = at_random(OPEN.problem("iris"), 0)

    assert np.abs(weights["weight1"]).max() <= 0.5
    assert np.abs(weights["weight1"]).max() > 0.4
    assert np.abs(weights["bias1"]).max() <= 0.5
    assert np.abs(weights["weight2"]).max() <= 0.25
    assert any((weights[each] != other).any() for each, other in at_random(OPEN.problem("iris"), 1).items())
