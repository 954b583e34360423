"""Image classifiers whose probabilities are calibrated and that say when a picture is nothing they know: a recipe, and
what it is judged by. Knows no subject.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training import calibration, doubt, export
from training.calibration import Calibrate, Temperature
from training.classifier import ImageClassifier
from training.data import Dataset, Source, Split
from training.export import Exportable
from training.fit import EVALUATION_BATCH, fit
from training.recipe import Recipe
from training.system import Trained, Workplace
from training.train import Facts, ImageSystem, as_asked, test_figures, trained, why_no_saliency

# So many of the pictures that no weight was chosen by are warned of: the price of warning of strangers.
WARNED_SHARE = 0.01
OTHER_STEP = 5  # every fifth test picture of the other subject

OUTPUTS = {
    "logits": "Scores before the softmax; only their differences mean something.",
    "probabilities": "Softmax of the logits divided by a temperature, chosen on validation pictures so that the "
    "probability of an answer is the share of such answers that are right.",
    "unlike_training_data": "Whether all logits are small: the logarithm of the sum of their exponentials is below "
    f"what {1 - WARNED_SHARE:.0%} of pictures reach that the network was not trained on.",
}


class Doubting(nn.Module):
    """A classifier with calibrated probabilities and an answer to whether it should have been asked."""

    def __init__(self, classifier: nn.Module, temperature: Temperature, least: float) -> None:
        super().__init__()
        self.classifier = classifier
        self.temperature = temperature
        self.register_buffer("least", torch.tensor(least))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.classifier(image)
        return logits, self.temperature.probabilities(logits), logits.logsumexp(dim=1) < self.least


@dataclass(frozen=True)
class Judged:
    """What the temperature is chosen by; the threshold by the first alone."""

    clean: Split
    spoilt: Split


def as_they_are(validation: Split, recipe: Recipe) -> Judged:
    return Judged(validation, validation.first(0))


def alone(dataset: Dataset, few: bool) -> Dataset:
    return dataset


def no_more_figures(graph: bytes, test: Split) -> dict[str, float]:
    return {}


@dataclass(frozen=True)
class DoubtingSystem(ImageSystem):
    other: Source  # whose pictures show what is nothing the model knows
    floors: Mapping[str, float]  # beside that of the test accuracy
    judged_by: Callable[[Split, Recipe], Judged] = as_they_are
    trained_on: Callable[[Dataset, bool], Dataset] = alone  # more than the data set; few of them in a dry run
    calibrate: Calibrate = calibration.one_temperature
    more_figures: Callable[[bytes, Split], Mapping[str, float]] = no_more_figures
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def floor(self) -> dict[str, float]:
        return {**super().floor, **self.floors}

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        return self.figures_of(workplace, graph, workplace.test(self.recipe.source))

    def train(self, workplace: Workplace) -> Trained:
        recipe = as_asked(self.recipe, workplace)
        why = why_no_saliency(recipe)
        dataset = workplace.dataset(recipe.source)
        found = fit(recipe, self.trained_on(dataset, workplace.dry_run), workplace.device)
        temperature, least = doubts(found.network, self.judged_by(dataset.validation, recipe), self.calibrate)
        facts = Facts(
            recipe,
            dataset,
            found,
            workplace.device,
            found.seconds,
            floor=self.floors,
            why_no_saliency=why,
            notes=list(self.notes),
        )
        what = Exportable(Doubting(found.network, temperature, least), "image", OUTPUTS)
        return trained(facts, what, partial(workplace.test, recipe.source), partial(self.figures_of, workplace))

    def figures_of(self, workplace: Workplace, graph: bytes, test: Split) -> dict[str, float]:
        """Of the exported graph."""
        images, truth = test.images.numpy(), test.labels.numpy()
        answers = export.run(graph, images)
        error = calibration.expected_calibration_error(answers["probabilities"], truth)
        other = workplace.test(self.other).images[::OTHER_STEP].numpy()
        unlike = doubt.strangers(images, other, self.recipe.input)
        strange = {kind: export.run(graph, each) for kind, each in unlike.items()}
        return {
            **test_figures(graph, test),
            "test_calibration": 1 - error,
            **self.more_figures(graph, test),
            **doubt.figures(
                strangeness(answers),
                {kind: strangeness(each) for kind, each in strange.items()},
                {"test": answers["unlike_training_data"]}
                | {kind: each["unlike_training_data"] for kind, each in strange.items()},
            ),
        }


def doubts(network: ImageClassifier, judged: Judged, calibrate: Calibrate) -> tuple[Temperature, float]:
    """The temperature, and the least logarithm of the sum of exponentials that is no warning."""
    clean, spoilt = (logits_of(network, split.images) for split in (judged.clean, judged.spoilt))
    labels = torch.cat([judged.clean.labels, judged.spoilt.labels])
    temperature = calibrate(torch.cat([clean, spoilt]), labels)
    return temperature, float(clean.logsumexp(1).quantile(WARNED_SHARE))


@torch.inference_mode()
def logits_of(network: ImageClassifier, images: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(rows) for rows in images.split(EVALUATION_BATCH)])


def strangeness(answers: export.Answers) -> NDArray[np.float64]:
    """The energy (Liu et al. 2020): the smaller all logits, the stranger."""
    logits = answers["logits"].astype(np.float64)
    return -np.asarray(np.logaddexp.reduce(logits, axis=1))
