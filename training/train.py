"""An image recipe from start to artifact: fit, export, measure the graph on the test split, describe, draw."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from app.card import Card, Comparison, Training
from training import export, figures
from training.classifier import ImageClassifier, exportable
from training.compact import STORED_SMALL, in_half
from training.data import Dataset, Split
from training.export import Exportable
from training.fit import Fitted, evaluate, fit
from training.normalised_conv import folded
from training.recipe import Recipe
from training.saliency import FILE, WITHOUT, Scores, saliency_graph, untraceable
from training.system import Trained, Workplace, current_commit, dataset_facts, device_name, libraries


@dataclass(frozen=True)
class ImageSystem:
    """A recipe as one of the course's systems."""

    options: ClassVar[frozenset[str]] = frozenset({"epochs", "seed"})
    recipe: Recipe

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def title(self) -> str:
        return self.recipe.title

    @property
    def floor(self) -> dict[str, float]:
        return {"test_accuracy": self.recipe.floor}

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        return test_figures(graph, workplace.test(self.recipe.source))

    def scores(self, graph: bytes) -> Scores:
        return scores_by(self.recipe, graph)

    def train(self, workplace: Workplace) -> Trained:
        recipe = as_asked(self.recipe, workplace)
        return train(recipe, workplace.dataset(recipe.source), partial(workplace.test, recipe.source), workplace.device)


def as_asked(recipe: Recipe, workplace: Workplace) -> Recipe:
    """With the number of epochs and the seed that were asked for, if any were."""
    epochs = 1 if workplace.dry_run else workplace.epochs or recipe.epochs
    return replace(recipe, epochs=epochs, seed=recipe.seed if workplace.seed is None else workplace.seed)


def scores_by(recipe: Recipe, graph: bytes) -> Scores:
    """Of pixels, by the weights of an exported graph."""
    network, prefix = ImageClassifier(folded(recipe.body()), 0.0, 1.0), "classifier."
    weights = export.weights_in(graph).items()
    network.load_state_dict({name.removeprefix(prefix): each for name, each in weights if name.startswith(prefix)})
    return network.eval().requires_grad_(False)


def train(recipe: Recipe, dataset: Dataset, read_test: Callable[[], Split], device: torch.device) -> Trained:
    """The test split is read when every choice has been made. Raises ExportError. A network whose gradients cannot be
    traced is told of before it is trained, and kept without them."""
    why = why_no_saliency(recipe)
    start = time.perf_counter()
    fitted = fit(recipe, dataset, device)
    comparisons = [_compare(recipe, fitted, dataset, device, variant) for variant in recipe.variants]
    seconds = time.perf_counter() - start
    facts = Facts(recipe, dataset, fitted, device, seconds, comparisons=comparisons, why_no_saliency=why)
    return trained(facts, exportable(fitted.network), read_test, test_figures)


@dataclass(frozen=True)
class Facts:
    """Of a training that is over: what its card tells beside the figures."""

    recipe: Recipe
    dataset: Dataset
    fitted: Fitted
    device: torch.device
    seconds: float
    floor: Mapping[str, float] = field(default_factory=dict)  # of figures, beside that of the test accuracy
    comparisons: list[Comparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    why_no_saliency: str | None = None


def trained(
    facts: Facts,
    what: Exportable,
    read_test: Callable[[], Split],
    figures_of: Callable[[bytes, Split], Mapping[str, float]],
) -> Trained:
    """The graph, measured on the test split, described and drawn. Raises ExportError."""
    recipe, dataset, fitted = facts.recipe, facts.dataset, facts.fitted
    graph = export.to_onnx(what, torch.zeros(2, recipe.input.height, recipe.input.width, dtype=torch.uint8))
    if recipe.weights == "float16":
        graph = in_half(graph)
    difference = export.check_parity(what, graph, dataset.validation.images)
    test = read_test()
    probabilities = export.run(graph, test.images.numpy())["probabilities"]
    truth = test.labels.numpy()
    last = fitted.history[-1]
    metrics = dict(figures_of(graph, test)) | {
        # Of the network as it is served: folded, and its weights rounded.
        "validation_accuracy": evaluate(fitted.network, dataset.validation)[1],
        "train_accuracy": last.accuracy,
        "onnx_max_difference": difference,
    }
    names, pictures = recipe.source.labels, test.images.numpy()
    return Trained(
        graph,
        describe(facts, what, len(test), metrics),
        export.golden_rows(what, dataset.validation.images),
        {
            "training": figures.learning_curves(fitted.history, recipe.floor),
            "confusion": figures.confusion_matrix(truth, probabilities.argmax(1), names),
            "predictions": figures.predictions(pictures, probabilities, truth, names),
            "mistakes": figures.mistakes(pictures, probabilities, truth, names),
            "filters": figures.filters(first_layer_filters(fitted)),
        },
        None if facts.why_no_saliency else saliency_graph(fitted.network.requires_grad_(False), recipe.input),
    )


def why_no_saliency(recipe: Recipe) -> str | None:
    """Asked of a network that is not trained, so that no hour is spent before it is known."""
    network = ImageClassifier(folded(recipe.body()), 0.0, 1.0).eval().requires_grad_(False)
    reason = untraceable(network, recipe.input)
    if reason:
        told = f"{recipe.name}: its gradients cannot be traced: {reason}; it is trained, and kept without {FILE}"
        print(told, file=sys.stderr)
    return reason


def test_figures(graph: bytes, test: Split) -> dict[str, float]:
    probabilities, truth = export.run(graph, test.images.numpy())["probabilities"], test.labels.numpy()
    return {
        "test_accuracy": float((probabilities.argmax(1) == truth).mean()),
        "test_loss": float(-np.log(probabilities[np.arange(len(truth)), truth].clip(1e-12)).mean()),
    }


def first_layer_filters(fitted: Fitted) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """The first layer's weights as pictures, at most 64: kernels of a convolution, templates of a dense layer."""
    weight = next(parameter for parameter in fitted.network.body.parameters() if parameter.dim() > 1).detach()
    side = round(weight[0].numel() ** 0.5)
    return weight.reshape(len(weight), side, side)[:64].numpy()


def describe(facts: Facts, what: Exportable, test_rows: int, metrics: dict[str, float]) -> Card:
    recipe, dataset, fitted, device = facts.recipe, facts.dataset, facts.fitted, facts.device
    source = recipe.source
    blank = torch.zeros(1, recipe.input.height, recipe.input.width, dtype=torch.uint8)
    return Card(
        name=recipe.name,
        title=recipe.title,
        description=recipe.description,
        task="classification",
        subject=recipe.subject,
        input=recipe.input,
        outputs=dict(what.outputs),
        notes=notes_of(facts),
        labels=list(source.labels),
        parameters=sum(parameter.numel() for parameter in fitted.network.body.parameters()),
        layers=export.layer_table(fitted.network, fitted.network.body, blank),
        metrics=metrics,
        floor={"test_accuracy": recipe.floor, **facts.floor},
        dataset=dataset_facts(source, len(dataset.train), len(dataset.validation), test_rows),
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
            device=device_name(device),
            seconds=round(facts.seconds, 1),
            commit=current_commit(),
            libraries=libraries(),
            history=fitted.history,
        ),
        comparisons=facts.comparisons,
    )


def notes_of(facts: Facts) -> list[str]:
    stored = [STORED_SMALL] if facts.recipe.weights == "float16" else []
    without = [f"{WITHOUT}{facts.why_no_saliency}."] if facts.why_no_saliency else []
    return [*facts.notes, *stored, *without]


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
