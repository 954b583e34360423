"""What all trainings are given, and what all cards say of a data set."""

from pathlib import Path

import pytest
import torch

from app.card import DatasetFacts
from tests.training.datasets import bars, bars_dataset
from training.data import MNIST
from training.system import DRY_RUN_ROWS, Workplace, dataset_facts


@pytest.fixture(autouse=True)
def data_sets_of_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.system.load", lambda *_: bars_dataset())
    monkeypatch.setattr("training.system.load_test", lambda *_: bars(600, seed=5))


def test_dry_run_has_the_first_rows_of_each_split() -> None:
    workplace = Workplace(Path(), torch.device("cpu"), dry_run=True)
    few, all_of_it = workplace.dataset(MNIST), bars_dataset()

    assert torch.equal(few.train.images, all_of_it.train.images[:DRY_RUN_ROWS])
    assert torch.equal(few.train.labels, all_of_it.train.labels[:DRY_RUN_ROWS])
    assert torch.equal(few.validation.images, all_of_it.validation.images)
    assert torch.equal(workplace.test(MNIST).images, bars(600, seed=5).images[:DRY_RUN_ROWS])


def test_training_has_all_rows_and_reads_them_once() -> None:
    workplace = Workplace(Path(), torch.device("cpu"))

    assert len(workplace.dataset(MNIST).train) == 640
    assert workplace.dataset(MNIST) is workplace.dataset(MNIST)
    assert len(workplace.test(MNIST)) == 600


def test_facts_are_the_sources_and_the_rows() -> None:
    assert dataset_facts(MNIST, 55_000, 5_000, 10_000) == DatasetFacts(
        name="mnist",
        source=MNIST.title,
        licence="CC BY-SA 3.0",
        train_rows=55_000,
        validation_rows=5_000,
        test_rows=10_000,
        sha256=MNIST.sha256,
    )
