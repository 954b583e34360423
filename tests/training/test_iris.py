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


def test_losses_of_both_runs_are_cross_entropies_whatever_the_smoothing(
    flowers: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Oracle: F.cross_entropy and the share of right answers of the first batch, before any step."""
    train, _ = iris.split_rows(*flowers, seed=3)
    _, runs = iris.fit("test", train, iris.Settings(1, 112, 0.02, smoothing=0.3), seed=5)
    body = iris.begin(iris.SPLITS, torch.Generator().manual_seed(5))
    logits = body.logits(train.features)

    for split in (0, 13):
        expected = F.cross_entropy(logits[split], train.labels[split])
        assert runs.losses[0, split] == pytest.approx(float(expected), abs=1e-6)
        assert runs.right[0, split] == pytest.approx(
            float((logits[split].argmax(1) == train.labels[split]).float().mean())
        )


def test_settings_are_chosen_from_the_training_part_alone(flowers: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, labels = flowers
    train, _ = iris.split_rows(torch.arange(150.0)[:, None].expand(-1, 4), labels, seed=0)
    learned, held_out = iris.inner_splits(train)

    assert learned.features.shape == (100, 84, 4) and held_out.features.shape == (100, 28, 4)
    for split in range(iris.SPLITS):
        for inner in range(split * iris.INNER_SPLITS, (split + 1) * iris.INNER_SPLITS):
            rows = [*learned.features[inner, :, 0].tolist(), *held_out.features[inner, :, 0].tolist()]
            assert sorted(rows) == sorted(train.features[split, :, 0].tolist())
            for part in (learned, held_out):
                assert torch.equal(part.labels[inner], labels[part.features[inner, :, 0].long()])


def test_choice_of_a_split_does_not_know_the_rows_of_another(flowers: tuple[torch.Tensor, torch.Tensor]) -> None:
    train, _ = iris.split_rows(*flowers, seed=0)
    grid = [iris.Settings(2, 28, rate) for rate in (1e-4, 0.02)]
    found = iris.inner_accuracies("test", train, grid, seed=1)
    others = iris.Rows(train.features.clone(), train.labels.clone())
    others.features[1:] = 0

    assert torch.equal(iris.inner_accuracies("test", others, grid, seed=1)[:, 0], found[:, 0])
    assert len(found.unique()) > 2


def test_first_of_the_best_is_chosen() -> None:
    accuracies = torch.tensor([[0.5, 0.9, 0.1], [0.7, 0.9, 0.1], [0.7, 0.2, 0.3]])

    assert iris.first_of_the_best(accuracies) == [1, 0, 2]


def test_each_split_is_what_its_own_settings_make_of_it(flowers: tuple[torch.Tensor, torch.Tensor]) -> None:
    train, test = iris.split_rows(*flowers, seed=3)
    grid = [iris.Settings(2, 28, rate, averages=True) for rate in (0.001, 0.02)]
    chosen = [split % 3 == 0 for split in range(iris.SPLITS)]
    networks, runs = iris.fit_chosen("test", train, grid, list(map(int, chosen)), seed=5)
    whole = [iris.fit("test", train, settings, seed=5) for settings in grid]

    for split in (0, 1, 19):
        expected, curves = whole[chosen[split]]
        torch.testing.assert_close(
            networks.of_split(split)(test.features[split]), expected.of_split(split)(test.features[split])
        )
        np.testing.assert_array_equal(runs.losses[:, split], curves.losses[:, split])


def test_networks_side_by_side_answer_as_each_does(flowers: tuple[torch.Tensor, torch.Tensor]) -> None:
    train, test = iris.split_rows(*flowers, seed=3)
    networks, _ = iris.fit("test", train, iris.Settings(epochs=2, batch_size=28, learning_rate=0.02), seed=5)
    together = iris.EverySplit(networks)(test.features[0])

    assert together.shape == (38, iris.SPLITS, 3)
    for split in (0, 11):
        torch.testing.assert_close(together[:, split], networks.of_split(split)(test.features[0]), rtol=1e-4, atol=1e-4)


def test_card_keeps_the_goal_and_compares(card: Card) -> None:
    course, _one_for_all = card.comparisons

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


def test_exported_networks_of_all_splits_have_the_mean_of_the_card(
    flowers: tuple[torch.Tensor, torch.Tensor], session: ort.InferenceSession, card: Card
) -> None:
    _, test = iris.split_rows(*flowers, seed=0)
    shares = []
    for split in range(iris.SPLITS):
        rows = {"rows": test.features[split].numpy()}
        served, every = session.run(["probabilities", "probabilities_by_split"], rows)
        assert every.shape == (38, iris.SPLITS, 3)
        np.testing.assert_allclose(every[:, 0], served, atol=1e-5)
        shares.append((every[:, split].argmax(1) == test.labels[split].numpy()).mean())

    assert card.metrics["mean_test_accuracy"] == pytest.approx(np.mean(shares))
    assert card.metrics["spread_of_test_accuracy"] == pytest.approx(np.std(shares, ddof=1))
    assert "probabilities_by_split" not in card.told
