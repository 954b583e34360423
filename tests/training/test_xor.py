"""A hundred seeds trained as one learn what each would learn alone; what is served is right where it can be."""

import re
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from app.card import read_card
from tests.conftest import ROOT
from training import xor
from training.system import Trained, Workplace

SERVED = ROOT / "artifacts"


def session(name: str) -> ort.InferenceSession:
    return ort.InferenceSession(SERVED / name / "1" / "model.onnx", providers=["CPUExecutionProvider"])


def test_seeds_together_learn_what_one_learns_alone() -> None:
    """Oracle: the same steps with nn.Module and torch.optim for one seed."""
    seed, steps = 17, 200
    generator = torch.Generator().manual_seed(3)
    parameters = [tensor for size in xor.SIZES for tensor in xor.he(generator, *size, bias=0.5)]
    alone = [parameter[seed].clone() for parameter in parameters]
    rows, truth = xor.POINTS * 2 - 1, xor.XOR.long()

    def losses(_: int) -> torch.Tensor:
        logits, _activations = xor.mlp(parameters, rows.expand(xor.SEEDS, 4, 2))
        each = F.cross_entropy(logits.flatten(0, 1), truth.repeat(xor.SEEDS), reduction="none")
        return each.view(xor.SEEDS, 4).mean(1)

    def measures() -> tuple[torch.Tensor, torch.Tensor]:
        return xor.loss_and_right(parameters, rows.expand(xor.SEEDS, 4, 2))

    runs = xor.descend("test", parameters, xor.course_sgd, losses, measures, steps)

    layers = [xor.linear(*alone[place : place + 2]) for place in (0, 2, 4)]
    network = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = xor.course_sgd(list(network.parameters()))
    noted = []
    for _ in range(steps):
        logits = network(rows)
        loss = F.cross_entropy(logits, truth)
        noted.append((loss.item(), float((logits.argmax(1) == truth).float().mean())))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for together, single in zip(parameters, network.parameters(), strict=True):
        torch.testing.assert_close(together[seed], single.data, rtol=1e-3, atol=1e-4)
    single_losses, single_right = np.transpose(noted)
    np.testing.assert_allclose(runs.losses[:, seed], single_losses, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(runs.right[:, seed], single_right)


def test_silent_layer_is_called_dead() -> None:
    parameters = [torch.zeros(xor.SEEDS, *shape) for size in xor.SIZES for shape in (size, size[:1])]
    for weight in parameters[::2]:
        weight[1:] = torch.eye(4)[: weight.shape[1], : weight.shape[2]]

    _, dead = xor.learned_and_dead(parameters, xor.POINTS.expand(xor.SEEDS, 4, 2))

    assert dead[0]
    assert not dead[1:].any()


def test_no_unit_is_right_for_more_than_three_points() -> None:
    """Every half-plane, by trying many: the reason on the card."""
    generator = np.random.default_rng(0)
    weights, biases = generator.normal(size=(100_000, 2)), generator.normal(size=(100_000, 1))
    answers = weights @ xor.POINTS.numpy().T + biases > 0

    assert (answers == xor.XOR.bool().numpy()).sum(1).max() == 3


@pytest.mark.parametrize("name", ["xor-mlp", "xor-sigmoid"])
def test_served_network_is_right(name: str) -> None:
    [probabilities] = session(name).run(["probabilities"], {"rows": xor.POINTS.numpy()})

    np.testing.assert_array_equal(probabilities.argmax(1), xor.XOR.numpy())
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


def test_served_unit_fails_at_xor_and_is_right_for_and_and_or() -> None:
    probabilities, both, either = session("xor-perceptron").run(
        ["probabilities", "and", "or"], {"rows": xor.POINTS.numpy()}
    )

    assert (probabilities.argmax(1) == xor.XOR.numpy()).mean() <= 0.75
    np.testing.assert_array_equal(both > 0.5, xor.AND.numpy() > 0)
    np.testing.assert_array_equal(either > 0.5, xor.OR.numpy() > 0)


def test_callers_own_weights_are_used() -> None:
    generator = np.random.default_rng(1)
    shapes = {"hidden.weight": (2, 2), "hidden.bias": (2,), "output.weight": (1, 2), "output.bias": (1,)}
    weights = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    rows = generator.normal(size=(5, 2)).astype(np.float32)

    probabilities, hidden = session("xor-sigmoid").run(["probabilities", "hidden"], {"rows": rows, **weights})

    def sigmoid(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-values))

    expected = sigmoid(rows @ weights["hidden.weight"].T + weights["hidden.bias"])
    np.testing.assert_allclose(hidden, expected, atol=1e-6)
    one = sigmoid(expected @ weights["output.weight"].T + weights["output.bias"])
    np.testing.assert_allclose(probabilities[:, 1:], one, atol=1e-6)


@pytest.mark.parametrize("system", xor.SYSTEMS, ids=lambda system: system.name)
def test_parameters_are_those_of_the_course(system: xor.Perceptron | xor.Mlp | xor.ByHand) -> None:
    trained: Trained = system.train(Workplace(Path(), torch.device("cpu"), dry_run=True))

    assert trained.card.parameters == {"xor-perceptron": 3, "xor-mlp": 42, "xor-sigmoid": 9}[system.name]
    assert sum(layer.parameters for layer in trained.card.layers) == trained.card.parameters
    assert set(trained.figures) >= {"training", "decision"}


def test_card_says_how_many_seeds_learn() -> None:
    card = read_card(session("xor-mlp").get_modelmeta().custom_metadata_map)
    assert card is not None
    course, longer = card.comparisons

    assert card.metrics["accuracy"] == 1.0
    assert card.metrics["seeds_of_100_that_learn"] > course.metrics["seeds_of_100_that_learn"]
    assert f"{card.metrics['seeds_of_100_that_learn']:.0f} of 100 seeds learn" in card.notes[0]
    fates = ("seeds_of_100_that_learn", "seeds_of_100_with_dead_relu", "seeds_of_100_with_neither")
    assert [course.metrics[fate] for fate in fates] == [30, 36, 34]
    assert [longer.metrics[fate] for fate in fates] == [58, 42, 0]
    assert sum(card.metrics[fate] for fate in fates) == 100
    assert "34 neither learn nor are dead" in card.notes[2]


@pytest.mark.parametrize(("name", "seed"), [("xor-perceptron", 1), ("xor-mlp", 3), ("xor-sigmoid", 4)])
def test_seed_on_the_card_is_the_generators(name: str, seed: int) -> None:
    card = read_card(session(name).get_modelmeta().custom_metadata_map)
    assert card is not None

    assert card.training.seed == seed
    assert re.search(rf"one generator of seed {seed}\b", " ".join(card.notes))


def test_served_network_is_the_one_that_the_card_names() -> None:
    """Oracle: the weights drawn again from the seed on the card, and trained as it says."""
    card = read_card(session("xor-mlp").get_modelmeta().custom_metadata_map)
    assert card is not None
    served = int(card.notes[1].split("network ")[1].split(",")[0])
    generator = torch.Generator().manual_seed(card.training.seed)
    drawn = [xor.he(generator, *size, bias) for size, bias in zip(xor.SIZES, (1.0, 1.0, 0.0), strict=True)]
    layers = [xor.linear(*(part[served].clone() for part in each)) for each in drawn]
    network = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(card.training.epochs):
        optimizer.zero_grad()
        F.cross_entropy(network(xor.POINTS * 2 - 1), xor.XOR.long()).backward()
        optimizer.step()

    [logits] = session("xor-mlp").run(["logits"], {"rows": xor.POINTS.numpy()})
    np.testing.assert_allclose(logits, network(xor.POINTS * 2 - 1).detach().numpy(), rtol=1e-2, atol=1e-2)


def test_mistakes_of_the_unit_are_counted() -> None:
    card = read_card(session("xor-perceptron").get_modelmeta().custom_metadata_map)
    assert card is not None

    assert (
        card.metrics["mistakes_of_4_points"] == 4 * (1 - card.metrics["accuracy"]) >= card.floor["mistakes_of_4_points"]
    )
    assert card.floor["mistakes_of_4_points"] == 1
    assert "the same unit three times" in card.description
