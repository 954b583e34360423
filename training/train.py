"""One recipe from start to artifact: fit, export, measure the graph on the test split, write if it is good enough."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from app.card import Card, Comparison, DatasetFacts, Training
from training import export, figures
from training.data import Dataset, Split
from training.fit import Fitted, fit
from training.recipe import Recipe

DRY_RUN_ROWS = 512
VERSION = 1  # a new training takes the place of the old one
LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")


class BelowFloor(Exception):
    """The test figure did not reach the recipe's floor; nothing has been written."""


def train(recipe: Recipe, dataset: Dataset, read_test: Callable[[], Split], device: torch.device, out: Path) -> Card:
    """Train, export and write `out/<name>/1`. The test split is read when every choice has been made.

    Raises BelowFloor or ExportError, and then writes nothing.
    """
    fitted = fit(recipe, dataset, device)
    comparisons = [_compare(recipe, fitted, dataset, device, variant) for variant in recipe.variants]
    graph = export.to_onnx(fitted.network, recipe.input)
    difference = export.check_parity(fitted.network, graph, dataset.validation.images)

    test = read_test()
    scores = export.run(graph, test.images)
    truth = test.labels.numpy()
    accuracy = float((scores.probabilities.argmax(1) == truth).mean())
    if accuracy < recipe.floor:
        raise BelowFloor(
            f"{recipe.name}: test accuracy {accuracy:.4f} is below its floor {recipe.floor:.4f}; nothing was written"
        )

    last = fitted.history[-1]
    metrics = {
        "test_accuracy": accuracy,
        "test_loss": float(-np.log(scores.probabilities[np.arange(len(truth)), truth].clip(1e-12)).mean()),
        "validation_accuracy": last.validation_accuracy,
        "train_accuracy": last.accuracy,
        "onnx_max_difference": difference,
    }
    card = describe(recipe, dataset, len(test), fitted, device, metrics, comparisons)
    golden = export.golden_rows(fitted.network, dataset.validation.images)
    names, pictures = recipe.source.labels, test.images.numpy()
    drawn = {
        "training": figures.learning_curves(fitted.history, recipe.floor),
        "confusion": figures.confusion_matrix(truth, scores.probabilities.argmax(1), names),
        "predictions": figures.predictions(pictures, scores.probabilities, truth, names),
        "mistakes": figures.mistakes(pictures, scores.probabilities, truth, names),
        "filters": figures.filters(first_layer_filters(fitted)),
    }
    with export.artifact_folder(out, recipe.name, VERSION) as folder:
        (folder / "model.onnx").write_bytes(export.with_metadata(graph, card, golden))
        (folder / "figures").mkdir()
        for name, picture in drawn.items():
            (folder / "figures" / f"{name}.png").write_bytes(picture)
    return card


def first_layer_filters(fitted: Fitted) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """The first layer's weights as pictures, at most 64: kernels of a convolution, templates of a dense layer."""
    weight = next(parameter for parameter in fitted.network.body.parameters() if parameter.dim() > 1).detach()
    side = round(weight[0].numel() ** 0.5)
    return weight.reshape(len(weight), side, side)[:64].numpy()


def describe(
    recipe: Recipe,
    dataset: Dataset,
    test_rows: int,
    fitted: Fitted,
    device: torch.device,
    metrics: dict[str, float],
    comparisons: list[Comparison],
) -> Card:
    source = recipe.source
    return Card(
        name=recipe.name,
        title=recipe.title,
        description=recipe.description,
        task="classification",
        subject=recipe.subject,
        input=recipe.input,
        outputs=export.OUTPUTS,
        labels=list(source.labels),
        parameters=recipe.parameters,
        layers=export.layer_table(fitted.network, recipe.input),
        metrics=metrics,
        floor={"test_accuracy": recipe.floor},
        dataset=DatasetFacts(
            name=source.name,
            source=source.title,
            licence=source.licence,
            train_rows=len(dataset.train),
            validation_rows=len(dataset.validation),
            test_rows=test_rows,
            sha256=source.sha256,
        ),
        training=Training(
            command=f"percept train {recipe.name} --epochs {recipe.epochs} --seed {recipe.seed}",
            seed=recipe.seed,
            optimizer="AdamW, one-cycle schedule with its peak at the learning rate",
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            augmentation=str(recipe.augmentation),
            precision=recipe.precision,
            device=str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
            seconds=round(fitted.seconds, 1),
            commit=current_commit(),
            libraries={"python": platform.python_version()}
            | {name: importlib.metadata.version(name) for name in LIBRARIES},
            history=fitted.history,
        ),
        comparisons=comparisons,
    )


def dry_run(recipe: Recipe, dataset: Dataset, read_test: Callable[[], Split], device: torch.device, out: Path) -> Card:
    """The whole road on a few rows and without a floor: does every step run?"""
    few = Dataset(dataset.source, _first(dataset.train), _first(dataset.validation))
    return train(replace(recipe, epochs=1, floor=0.0), few, lambda: _first(read_test()), device, out)


def current_commit() -> str:
    """The commit of this code, `+changes` if the tree differs from it, `unknown` outside a repository."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def _compare(recipe: Recipe, fitted: Fitted, dataset: Dataset, device: torch.device, variant: str) -> Comparison:
    other = fit(recipe, dataset, device, variant)
    return Comparison(
        what=variant,
        metrics={
            "validation_accuracy": other.history[-1].validation_accuracy,
            "validation_accuracy_first_epoch": other.history[0].validation_accuracy,
            "validation_accuracy_of_the_recipe": fitted.history[-1].validation_accuracy,
            "validation_accuracy_first_epoch_of_the_recipe": fitted.history[0].validation_accuracy,
        },
    )


def _first(split: Split) -> Split:
    return Split(split.images[:DRY_RUN_ROWS], split.labels[:DRY_RUN_ROWS])
