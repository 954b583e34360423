"""The learned filters that the service carries are those of the artifacts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from app.lab.kernels import FILTERS, kernels
from tests.conftest import ROOT
from training import filters
from training.cnn import RECIPES


def test_file_is_what_the_artifacts_hold() -> None:
    """If not: python -m training.filters"""
    assert filters.WHERE == FILTERS
    assert FILTERS.read_text(encoding="utf-8") == filters.as_json(filters.learned_filters(ROOT / "artifacts"))


def test_every_convolutional_network_has_its_filters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "filters.json"

    assert filters.main(["--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: {FILTERS.stat().st_size:,} bytes\n"
    assert out.read_bytes() == FILTERS.read_bytes()
    assert {recipe.name for recipe in RECIPES} == set(filters.MODELS)


def test_filters_are_exact_and_as_many_as_the_network_has() -> None:
    for recipe in RECIPES:
        convolution = next(each for each in recipe.body().modules() if isinstance(each, torch.nn.Conv2d))
        mine = [kernel.values for name, kernel in kernels().items() if name.startswith(f"{recipe.name}/")]

        assert np.array(mine).shape == (convolution.out_channels, *convolution.kernel_size)
        assert np.array_equal(np.array(mine), np.array(mine, np.float32))
