"""Twenty networks trained as one are the networks that PyTorch would train, and the served one is the first of them."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_iris

from app.card import Card, read_card
from tests.conftest import ROOT
from training import iris

FILE = ROOT / "artifacts" / "iris-mlp" / "1" / "model.onnx"


@pytest.fixture(scope="module")
def flowers() -> tuple[torch.Tensor, torch.Tensor]:
    bunch = load_iris()
    return torch.tensor(bunch.data, dtype=torch.float32), torch.tensor(bunch.target)


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    return ort.InferenceSession(FILE, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def card(session: ort.InferenceSession) -> Card:
    found = read_card(session.get_modelmeta().custom_metadata_map)
    assert found is not None
    return found


def test_splits_together_learn_what_one_learns_alone(flowers: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Oracle: nn.Sequential with nn.BatchNorm1d and torch.optim.SGD, given the same batches."""
    train, _ = iris.split_rows(*flowers, seed=3)
    settings = iris.Settings(epochs=3, batch_size=28, learning_rate=0.05, adam=False)
    networks, _ = iris.fit("test", train, settings, seed=5)

    generator, split = torch.Generator().manual_seed(5), 7
    body = iris.begin(iris.SPLITS, generator)
    body.logits(train.features)
    alone = body.of_split(split).train()
    optimizer = torch.optim.SGD(alone.parameters(), settings.learning_rate)
    for _ in range(settings.epochs):
        order = torch.rand(iris.SPLITS, 112, generator=generator).argsort(1)[split]
        for chosen in order.split(settings.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(alone(train.features[split, chosen]), train.labels[split, chosen]).backward()
            optimizer.step()

    for together, single in zip(networks.of_split(split).parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(together, single, rtol=1e-3, atol=1e-4)


def test_module_of_a_split_answers_as_the_networks_do(flowers: tuple[torch.Tensor, torch.Tensor]) -> None:
    train, test = iris.split_rows(*flowers, seed=3)
    networks, _ = iris.fit("test", train, iris.Settings(epochs=2, batch_size=28, learning_rate=0.02), seed=5)
    statistics = list(zip(networks.means, networks.variances, strict=True))
    together = networks.logits(test.features, statistics)

    for split in (0, 11):
        torch.testing.assert_close(networks.of_split(split)(test.features[split]), together[split])


def test_splits_are_stratified_and_apart(flowers: tuple[torch.Tensor, torch.Tensor]) -> None:
    features, labels = flowers
    train, test = iris.split_rows(torch.arange(150.0)[:, None].expand(-1, 4), labels, seed=0)

    assert features.shape == (150, 4)
    for split in range(iris.SPLITS):
        rows = [*train.features[split, :, 0].tolist(), *test.features[split, :, 0].tolist()]
        assert sorted(rows) == list(range(150))
        assert torch.bincount(test.labels[split]).tolist() in ([13, 13, 12], [13, 12, 13], [12, 13, 13])


def test_card_keeps_the_goal_and_compares(card: Card) -> None:
    [course] = card.comparisons

    assert card.metrics["mean_test_accuracy"] >= card.floor["mean_test_accuracy"] == 0.97
    assert card.metrics["mean_test_accuracy"] > course.metrics["mean_test_accuracy"]
    assert card.metrics["spread_of_test_accuracy"] > 0


def test_served_network_is_as_good_as_its_card_says(
    flowers: tuple[torch.Tensor, torch.Tensor], session: ort.InferenceSession, card: Card
) -> None:
    _, test = iris.split_rows(*flowers, seed=0)
    [probabilities] = session.run(["probabilities"], {"rows": test.features[0].numpy()})

    accuracy = float((probabilities.argmax(1) == test.labels[0].numpy()).mean())
    assert accuracy == pytest.approx(card.metrics["test_accuracy_of_the_served_split"])
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
