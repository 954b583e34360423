"""The systems that are autoencoders: digits and clothing through 32 numbers, and whether a picture is either at all
(row A14 of the course). What is reconstructed badly is unlike what was learned from.

The training is in training/layerwise.py, the use of the encoder under a classifier in training/pretraining.py, what
the warning is measured by in training/novelty.py.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from app.card import Card, Comparison
from training import autoencoder_figures, export, layerwise, pretraining
from training.data import FASHION_MNIST, MNIST, Dataset
from training.export import Exportable
from training.fit import seed_everything
from training.layerwise import Autoencoder, Loss, cross_entropy, fine_tune, pixels_of, squared_error, unrolled
from training.memory import keep_freed_memory
from training.novelty import AS_UPLOADED, NOISE_SIDES, Kind, groups_of, measured, noise, roc_auc
from training.recipe import DIGIT_INPUT, GARMENT_INPUT
from training.system import Trained, Workplace, dataset_facts, training_facts
from training.uploaded import ENLARGED, Pictures, as_uploaded

SIDE = 28
WIDTHS = (SIDE * SIDE, 256, 64, 32)
LAYER_EPOCHS, FINE_TUNING_EPOCHS = 4, 12
FAINT = 0.02  # added to the mean pixel, so that a picture with next to no ink has no enormous error
WARNED = 0.02  # of the validation pictures lie above the threshold, at most: as they are, and as they are uploaded
DRAWN_NOISE_SIDE = 128


# --- the graph -------------------------------------------------------------------------------------------------------


class Reconstructor(nn.Module):
    """The reconstruction, the code and the error of a picture, and whether the error is above the threshold."""

    threshold: Tensor

    def __init__(self, network: Autoencoder, loss: Loss) -> None:
        super().__init__()
        self.encoder, self.decoder, self.loss = network.encoder, network.decoder, loss
        self.register_buffer("threshold", torch.tensor(torch.inf))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """uint8 [n, 28, 28] → reconstruction uint8 [n, 28, 28], code [n, 32], error [n], index int64 [n], bool [n]"""
        pixels = pixels_of(image)
        code = self.encoder(pixels)
        logits = self.decoder(code)
        error = relative_to_ink(self.loss(logits, pixels), pixels)
        unlike = error > self.threshold
        reconstruction = (logits.sigmoid() * 255).round().to(torch.uint8).view(-1, SIDE, SIDE)
        return reconstruction, code, error, unlike.long(), unlike


def relative_to_ink(error: Tensor, pixels: Tensor) -> Tensor:
    """Much ink leaves much error, and little ink little: an error is held against what a picture has to get wrong.
    By the square root, so that a picture that is all white does not get away with anything."""
    return error / (pixels.mean(1) + FAINT).sqrt()


@torch.inference_mode()
def ever_fires(layer: nn.Linear, pixels: Tensor) -> Tensor:
    """Whether a unit is above 0 for any of the pictures; one that is not learns nothing any more, and its weights stay
    the noise that they began as."""
    activity: Tensor = layer.cpu()(pixels.cpu())
    return (activity > 0).any(0)


# --- the systems -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AutoencoderSystem:
    """One of the two; `loss` is what it learns by and, held against the ink, what it warns by."""

    options: ClassVar[frozenset[str]] = frozenset({"epochs", "seed"})
    name: str
    title: str
    kind: Kind
    loss: Loss
    unit: str
    floor_as_uploaded: float  # of the ROC-AUC against the other kind
    seed: int = 1

    @property
    def floor(self) -> dict[str, float]:
        strangers = (self.kind.other_plural, "uniform_noise", "shuffled_pixels")
        floors = {f"roc_auc_against_{name}": 0.99 for name in strangers}
        return floors | {f"roc_auc_against_{self.kind.other_plural}{AS_UPLOADED}": self.floor_as_uploaded}

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        return measured(graph, self.kind, self._groups(workplace))

    def _groups(self, workplace: Workplace) -> dict[str, Pictures]:
        own, other = (workplace.test(source).images.numpy() for source in (self.kind.source, self.kind.other))
        return groups_of(self.kind, own, other)

    def train(self, workplace: Workplace) -> Trained:
        keep_freed_memory()
        start = time.perf_counter()
        seed = self.seed if workplace.seed is None else workplace.seed
        dataset, others = (workplace.dataset(source) for source in (self.kind.source, self.kind.other))
        pixels = pixels_of(dataset.train.images).to(workplace.device)
        held_out = pixels_of(dataset.validation.images).to(workplace.device)
        layer_epochs = 1 if workplace.dry_run else LAYER_EPOCHS
        epochs = 1 if workplace.dry_run else workplace.epochs or FINE_TUNING_EPOCHS

        seed_everything(seed)
        layers = layerwise.greedy(pixels, WIDTHS, self.loss, layer_epochs, self.name)
        pretrained = pretraining.copied(unrolled(layers).encoder)
        network = unrolled(layers)
        history = fine_tune(network, pixels, held_out, self.loss, epochs, f"{self.name}, fine-tuning")
        alone = unrolled(layerwise.untrained(WIDTHS))
        for part in (alone.encoder, alone.decoder):
            part.to(workplace.device)
        # As many epochs as the layers and the whole had together.
        longer = epochs + layer_epochs * (len(WIDTHS) - 1)
        from_scratch = fine_tune(alone, pixels, held_out, self.loss, longer, f"{self.name}, from scratch")
        encoders = {"pretrained layer by layer": pretrained, "fine-tuned autoencoder": network.encoder}
        tried = pretraining.compare(encoders, dataset, workplace, self.name)
        seconds = time.perf_counter() - start

        reconstructor = Reconstructor(network, self.loss).eval().cpu()
        what = Exportable(reconstructor, "image", self.outputs())
        validation = dataset.validation.images
        uploaded = torch.from_numpy(as_uploaded(validation.numpy(), self.kind.input))
        errors = [export.pytorch_answers(what, each)["reconstruction_error"] for each in (validation, uploaded)]
        reconstructor.threshold.fill_(max(float(np.quantile(each, 1 - WARNED)) for each in errors))
        graph = export.to_onnx(what, dataset.validation.images[:2])
        difference = export.check_parity(what, graph, dataset.validation.images)
        scores = self._scores(network, validation, uploaded, others.validation.images)
        first = network.encoder[0]
        assert isinstance(first, nn.Linear)
        fires = ever_fires(first, pixels_of(validation))

        threshold = float(reconstructor.threshold)
        groups = self._groups(workplace)
        metrics = measured(graph, self.kind, groups) | {
            "threshold": threshold,
            "validation_pictures_above_it": float((errors[0] > threshold).mean()),
            "validation_pictures_as_uploaded_above_it": float((errors[1] > threshold).mean()),
            "first_layer_units_that_never_fire": float((~fires).sum()),
            "validation_loss": history[-1][1],
            "onnx_max_difference": difference,
        }
        tested = tried.tested(workplace.test(self.kind.source))
        comparisons = [
            *tested.comparisons(),
            Comparison(
                what=f"the autoencoder itself: the same network without pretraining, in {longer} epochs, as many as "
                f"with pretraining: {layer_epochs} for each of {len(WIDTHS) - 1} layers and {epochs} for the whole",
                metrics={
                    "validation_loss": from_scratch[-1][1],
                    "validation_loss_first_epoch": from_scratch[0][1],
                    "validation_loss_with_pretraining": history[-1][1],
                    "validation_loss_first_epoch_with_pretraining": history[0][1],
                },
            ),
            Comparison(
                what=f"ROC-AUC against {self.kind.other_plural} by other errors of the same network, on validation "
                "pictures as they are and as uploaded",
                metrics=scores,
            ),
        ]
        notes = [*self._notes(metrics), tested.outcome()]
        rows = len(groups[self.kind.plural])
        card = self._card(workplace, reconstructor, dataset, rows, metrics, notes, comparisons, seconds, seed, epochs)
        return Trained(
            graph,
            card,
            export.golden_rows(what, dataset.validation.images),
            self._figures(graph, groups, threshold)
            | {
                "training": autoencoder_figures.losses({"with pretraining": history, "from scratch": from_scratch}),
                "pretraining": autoencoder_figures.accuracies_by_labels(tested.accuracies),
                "filters": autoencoder_figures.live_filters(first.weight.detach().cpu().numpy(), fires.numpy()),
            },
        )

    def outputs(self) -> dict[str, str]:
        return {
            "reconstruction": "The picture once more, from the code alone: uint8, 0 to 255.",
            "code": f"The {WIDTHS[-1]} numbers that the encoder makes of the picture. They have no unit and no order.",
            "reconstruction_error": f"{self.unit}, the mean over the pixels (0 to 1), divided by the square "
            f"root of the picture's mean pixel plus {FAINT}.",
            "index": f"0 = {self.kind.like}, 1 = {self.kind.unlike}: whether the error is above the threshold.",
            "unlike_training_data": "The same as a warning.",
        }

    @torch.inference_mode()
    def _scores(self, network: Autoencoder, own: Tensor, own_uploaded: Tensor, other: Tensor) -> dict[str, float]:
        """What could have been warned by."""
        found: dict[str, float] = {}
        other_uploaded = torch.from_numpy(as_uploaded(other.numpy(), self.kind.input))
        groups = [pixels_of(each) for each in (own, other, own_uploaded, other_uploaded)]
        logits = [network.decoder(network.encoder(pixels)) for pixels in groups]
        for name, loss in (("squared_error", squared_error), ("cross_entropy", cross_entropy)):
            plain = [loss(*each) for each in zip(logits, groups, strict=True)]
            relative = [relative_to_ink(*each) for each in zip(plain, groups, strict=True)]
            for suffix, errors in (("", plain), ("_relative_to_ink", relative)):
                like, unlike, like_uploaded, unlike_uploaded = (each.numpy() for each in errors)
                found[f"{name}{suffix}"] = roc_auc(like, unlike)
                found[f"{name}{suffix}{AS_UPLOADED}"] = roc_auc(like_uploaded, unlike_uploaded)
        return found

    def _notes(self, metrics: Mapping[str, float]) -> list[str]:
        kind = self.kind
        own, other = kind.plural, kind.other_plural
        factors = sorted({factor for factor, _ in ENLARGED})
        by_size = ", ".join(f"{metrics[f'{noise(side)}_warned_of']:.0%} at {side} × {side}" for side in NOISE_SIDES)
        return [
            f"The threshold, {metrics['threshold']:.4g}, is the error that {WARNED:.0%} of the validation pictures are "
            "above, taken as they are or as uploaded, whichever is larger. Wrongly warned of are, of the test split's "
            f"{own}, {metrics[f'test_{own}_warned_of']:.1%} as they are and "
            f"{metrics[f'test_{own}{AS_UPLOADED}_warned_of']:.1%} as uploaded.",
            f"As uploaded means enlarged {', '.join(map(str, factors))} times, then scaled and centred as the service "
            "does with what is uploaded. That blurs, and makes strangers more alike: of the other data set's pictures, "
            f"{other}, {metrics[f'{other}_warned_of']:.0%} are warned of as they are and "
            f"{metrics[f'{other}{AS_UPLOADED}_warned_of']:.0%} as uploaded. No warning does not mean that it is one.",
            f"Uniform noise of {SIDE} × {SIDE}, given as it is, is warned of in "
            f"{metrics['uniform_noise_warned_of']:.0%}; larger noise is averaged "
            f"towards grey when it is made to fit, and is warned of in {by_size}.",
            "The error was chosen on validation pictures of both data sets; what the others would have given is "
            "among the comparisons.",
            f"The reconstruction is made of the code, {WIDTHS[-1]} numbers: what it leaves out is what is usual.",
        ]

    def _card(
        self,
        workplace: Workplace,
        reconstructor: Reconstructor,
        dataset: Dataset,
        test_rows: int,
        metrics: dict[str, float],
        notes: list[str],
        comparisons: list[Comparison],
        seconds: float,
        seed: int,
        epochs: int,
    ) -> Card:
        kind = self.kind
        widths = " → ".join(map(str, (*WIDTHS, *WIDTHS[-2::-1])))
        blank = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
        return Card(
            name=self.name,
            title=self.title,
            description=f"{widths}, ReLU between; pretrained layer by layer, with {layerwise.MASKED:.0%} masked, then "
            "fine-tuned as a whole. A picture that it reconstructs badly is told to be unlike what it learned from.",
            task="reconstruction",
            input=kind.input,
            outputs=self.outputs(),
            told=["reconstruction", "code", "reconstruction_error"],
            notes=notes,
            labels=[kind.like, kind.unlike],
            parameters=sum(parameter.numel() for parameter in reconstructor.parameters()),
            layers=export.layer_table(reconstructor, reconstructor, blank),
            metrics=metrics,
            floor=self.floor,
            dataset=dataset_facts(self.kind.source, len(dataset.train), len(dataset.validation), test_rows),
            training=training_facts(
                self.name,
                workplace,
                "AdamW, one-cycle schedule with its peak at the learning rate, layer by layer, then as a whole",
                epochs,
                seconds,
                seed=seed,
                batch_size=layerwise.BATCH,
                learning_rate=layerwise.RATE,
                weight_decay=layerwise.WEIGHT_DECAY,
            ),
            comparisons=comparisons,
        )

    def _figures(self, graph: bytes, groups: Mapping[str, Pictures], threshold: float) -> dict[str, bytes]:
        """Of the sizes of noise, one."""
        left_out = {noise(side) for side in NOISE_SIDES if side != DRAWN_NOISE_SIDE}
        drawn = {name.replace("_", " "): each for name, each in groups.items() if name not in left_out}
        answers = {name: export.run(graph, pictures) for name, pictures in drawn.items()}
        errors = {name: each["reconstruction_error"] for name, each in answers.items()}
        made = {name: each["reconstruction"] for name, each in answers.items()}
        return {
            "reconstructions": autoencoder_figures.reconstructions(drawn, made, errors, threshold),
            "errors": autoencoder_figures.error_histograms(errors, threshold),
        }


SYSTEMS: Sequence[AutoencoderSystem] = (
    AutoencoderSystem(
        "mnist-autoencoder",
        "Digits through 32 numbers",
        Kind(MNIST, FASHION_MNIST, DIGIT_INPUT, "digit", "no digit", "digits", "clothing"),
        cross_entropy,
        "Cross-entropy in nats, each pixel taken as a probability of ink",
        floor_as_uploaded=0.85,
    ),
    AutoencoderSystem(
        "fashion-autoencoder",
        "Clothing through 32 numbers",
        Kind(FASHION_MNIST, MNIST, GARMENT_INPUT, "clothing", "no clothing", "clothing", "digits"),
        squared_error,
        "Squared difference",
        floor_as_uploaded=0.98,
    ),
)
