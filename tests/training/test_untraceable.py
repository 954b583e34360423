"""An image classifier whose gradients no graph can hold: told before it is trained, kept without them, named by the
check."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from app.card import read_card
from tests.training.datasets import bars, bars_dataset
from training import export, saliency
from training.__main__ import RECIPES
from training.check import WELL, beside
from training.fit import fit
from training.recipe import DIGIT_INPUT
from training.system import Trained, Workplace, keep
from training.train import ImageSystem, train

CPU = torch.device("cpu")
MAPS = nn.Unflatten(1, (1, 28))
REASON = "ONNX has no aten._adaptive_avg_pool2d_backward"


def body() -> nn.Module:
    """Its 26 × 26 places are no multiple of 4, so that windows are of several sizes."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 28)),
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


@dataclass(frozen=True)
class OnBars(ImageSystem):
    """Learns bars in the place of its own pictures."""

    def train(self, workplace: Workplace) -> Trained:
        return train(self.recipe, bars_dataset(), lambda: bars(100, seed=3), workplace.device)


SYSTEM = OnBars(replace(RECIPES["mnist-dnn"], body=body, parameters=4 * 10 + 650, variants={}, epochs=1, floor=0.0))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (body(), REASON),
        (
            nn.Sequential(MAPS, nn.AvgPool2d(3, 2, ceil_mode=True), nn.Flatten()),
            "average pooling with ceil_mode, whose last windows go past the edge, is not traced",
        ),
        (nn.Sequential(MAPS, nn.MaxPool2d(3, 2), nn.Flatten()), None),
    ],
)
def test_reason_names_the_operation(network: nn.Module, reason: str | None) -> None:
    assert saliency.untraceable(network.requires_grad_(False), DIGIT_INPUT) == reason


def test_graph_that_there_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(saliency.Untraceable, match=REASON):
        saliency.saliency_graph(body().requires_grad_(False), DIGIT_INPUT)


def test_it_is_told_before_the_training_and_kept_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = SYSTEM.train(Workplace(Path("unused"), CPU))
    told = capsys.readouterr().err

    assert told.splitlines()[0] == (
        f"mnist-dnn: its gradients cannot be traced: {REASON}; it is trained, and kept without saliency.onnx"
    )
    assert "mnist-dnn 1/1" in told.partition("saliency.onnx")[2]

    keep(trained, tmp_path)
    [file] = export.versions(tmp_path / "mnist-dnn")
    graph = file.read_bytes()
    card = read_card(export.opened(graph).get_modelmeta().custom_metadata_map)

    assert card is not None
    assert not file.with_name(saliency.FILE).exists()
    assert card.notes == [f"Without gradients of its scores by pixels: {REASON}."]
    [finding] = beside("mnist-dnn", file, graph, card)
    assert (finding.verdict, finding.code) == (card.notes[0], WELL)


def test_asking_changes_no_training() -> None:
    """Weights begin where they began."""
    recipe = replace(RECIPES["mnist-dnn"], epochs=1, floor=0.0, variants={})
    trained = train(recipe, bars_dataset(), lambda: bars(100, seed=3), CPU)

    assert trained.card.training.history == fit(recipe, bars_dataset(), CPU).history
    assert trained.saliency is not None
    assert trained.card.notes == []
