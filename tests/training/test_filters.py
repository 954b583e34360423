"""The learned filters that the service carries are those of the artifacts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from app.lab.kernels import FILTERS, kernels
from training import filters
from training.cnn import RECIPES


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one network, whose filters are somebody else's."""
    shutil.copytree(filters.ARTIFACTS / "mnist-lenet", tmp_path / "artifacts" / "mnist-lenet")
    shutil.copytree(filters.ARTIFACTS / "blobs-svm", tmp_path / "artifacts" / "blobs-svm")
    other = {"version": 1, "filters": [[[1.0]]]}
    (tmp_path / "filters.json").write_text(json.dumps({"fashion-cnn": other, "mnist-lenet": other}))
    monkeypatch.setattr(filters, "WHERE", tmp_path / "filters.json")
    monkeypatch.setattr(filters, "ARTIFACTS", tmp_path / "artifacts")
    return tmp_path / "artifacts"


def test_file_is_what_the_artifacts_hold() -> None:
    """If not: python -m training.beside"""
    learned = {name: filters.learned_filters(filters.ARTIFACTS, name) for name in filters.MODELS}

    assert filters.WHERE == FILTERS
    assert FILTERS.read_text(encoding="utf-8") == filters.as_json(learned)
    assert not any(filters.stale(filters.ARTIFACTS, name) for name in filters.MODELS)


def test_filters_are_exact_and_as_many_as_the_network_has() -> None:
    for recipe in RECIPES:
        convolution = next(each for each in recipe.body().modules() if isinstance(each, torch.nn.Conv2d))
        mine = [kernel.values for name, kernel in kernels().items() if name.startswith(f"{recipe.name}/")]

        assert np.array(mine).shape == (convolution.out_channels, *convolution.kernel_size)
        assert np.array_equal(np.array(mine), np.array(mine, np.float32))


def test_one_network_is_followed_and_the_others_stay(artifacts: Path) -> None:
    before = filters.kept_filters()
    assert filters.stale(artifacts, "mnist-lenet")
    assert filters.follow(artifacts, "mnist-lenet")

    now = filters.kept_filters()
    assert not filters.stale(artifacts, "mnist-lenet")
    assert list(now) == ["mnist-lenet", "fashion-cnn"]
    assert now["mnist-lenet"]["filters"] == json.loads(FILTERS.read_bytes())["mnist-lenet"]["filters"]
    assert now["fashion-cnn"] == before["fashion-cnn"]
    assert sorted(path.name for path in artifacts.parent.iterdir()) == ["artifacts", "filters.json"]


def test_the_highest_version_counts(artifacts: Path) -> None:
    shutil.copytree(artifacts / "mnist-lenet" / "1", artifacts / "mnist-lenet" / "12")
    filters.follow(artifacts, "mnist-lenet")

    assert filters.kept_filters()["mnist-lenet"]["version"] == 12


@pytest.mark.parametrize("name", ["fashion-cnn", "blobs-svm", "nobodys"])
def test_models_without_such_filters_are_not_followed(artifacts: Path, name: str) -> None:
    before = filters.WHERE.read_bytes()

    assert not filters.follow(artifacts, name)
    assert not filters.stale(artifacts, name)
    assert filters.WHERE.read_bytes() == before


def test_another_folder_than_the_services_is_not_followed(artifacts: Path) -> None:
    elsewhere = artifacts.rename(artifacts.with_name("elsewhere"))
    before = filters.WHERE.read_bytes()

    assert not filters.follow(elsewhere, "mnist-lenet")
    assert filters.WHERE.read_bytes() == before
