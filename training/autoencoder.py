"""The systems that are autoencoders: digits and clothing through 32 numbers, and whether a picture is either at all
(row A14 of the course). What is reconstructed badly is unlike what was learned from.

The training is in training/layerwise.py, the use of the encoder under a classifier in training/pretraining.py.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from app.card import Card, Comparison, DatasetFacts, ImageInput
from training import autoencoder_figures, export, figures, layerwise, pretraining
from training.data import FASHION_MNIST, MNIST, Dataset, Source, Split, load_test
from training.export import Exportable
from training.fit import seed_everything
from training.layerwise import Autoencoder, Loss, cross_entropy, fine_tune, pixels_of, squared_error, unrolled
from training.memory import keep_freed_memory
from training.recipe import DIGIT_INPUT, GARMENT_INPUT
from training.system import Trained, Workplace, training_facts

Pictures = NDArray[np.uint8]

SIDE = 28
WIDTHS = (SIDE * SIDE, 256, 64, 32)
LAYER_EPOCHS, FINE_TUNING_EPOCHS = 4, 12
FAINT = 0.02  # added to the mean pixel, so that a picture with next to no ink has no enormous error
WARNED = 0.02  # of the validation pictures lie above the threshold
DRY_RUN_ROWS = 512


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


# --- what it is measured by ------------------------------------------------------------------------------------------


def roc_auc(like: NDArray[np.floating], unlike: NDArray[np.floating]) -> float:
    """How probable it is that a picture of the second kind has a larger error than one of the first; a tie is half."""
    ordered = np.sort(like)
    below, not_above = np.searchsorted(ordered, unlike, "left"), np.searchsorted(ordered, unlike, "right")
    return float((below + not_above).mean() / (2 * len(like)))


def uniform_noise(count: int, seed: int = 0) -> Pictures:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8)


def shuffled_pixels(images: Pictures, seed: int = 0) -> Pictures:
    """The same pixels in every picture, each time in another order."""
    return np.random.default_rng(seed).permuted(images.reshape(len(images), -1), axis=1).reshape(images.shape)


def as_uploaded(images: Tensor, contract: ImageInput) -> Tensor:
    """As the contract of a model has it: the ink's box scaled and put in the middle. Nearly what the service makes of a
    picture: light ink on black paper is all that is known here."""
    return torch.stack([_as_uploaded(picture, contract) for picture in images])


def _as_uploaded(picture: Tensor, contract: ImageInput) -> Tensor:
    ink = picture > picture.max() // 4
    if not ink.any():
        return picture
    down, across = ink.any(1).nonzero().flatten(), ink.any(0).nonzero().flatten()
    cut = picture[down[0] : down[-1] + 1, across[0] : across[-1] + 1].float()
    height, width = (max(1, round(size * contract.box / max(cut.shape))) for size in cut.shape)
    resized = F.interpolate(cut[None, None], size=(height, width), mode="bicubic", antialias=True)[0, 0].clamp(0, 255)
    strokes = (resized * (255 / resized.max())).round()
    middle = [height / 2, width / 2]
    if contract.centre == "mass":
        by_row, by_column = strokes.sum(1), strokes.sum(0)
        middle = [float(each @ torch.arange(len(each), dtype=each.dtype) / each.sum()) for each in (by_row, by_column)]
    top, left = (
        min(max(round(SIDE / 2 - where), 0), SIDE - size) for where, size in zip(middle, strokes.shape, strict=True)
    )
    sheet = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    sheet[top : top + height, left : left + width] = strokes.to(torch.uint8)
    return sheet


@dataclass(frozen=True)
class Kind:
    """What an autoencoder learns, and what it is to be told from."""

    source: Source
    other: Source
    input: ImageInput
    like: str  # the two labels
    unlike: str
    plural: str
    other_plural: str


def measured(graph: bytes, kind: Kind, own: Split, other: Split) -> dict[str, float]:
    """What the exported graph does with pictures that it has not seen: of its own kind, of the other, with noise."""
    images = own.images.numpy()
    answers = export.run(graph, images)
    reconstruction = answers["reconstruction"].astype(np.float64)
    metrics = {
        "test_squared_error": float(np.square((reconstruction - images) / 255).mean()),
        "test_reconstruction_error": float(answers["reconstruction_error"].mean()),
        f"test_{kind.plural}_warned_of": float(answers["unlike_training_data"].mean()),
    }
    for name, pictures in strangers(kind, images, other.images).items():
        found = export.run(graph, pictures)
        metrics[f"roc_auc_against_{name}"] = roc_auc(answers["reconstruction_error"], found["reconstruction_error"])
        metrics[f"{name}_warned_of"] = float(found["unlike_training_data"].mean())
    return metrics


def strangers(kind: Kind, own: Pictures, other: Tensor) -> dict[str, Pictures]:
    """Pictures that are none of the kind, by name."""
    return {
        kind.other_plural: other.numpy(),
        f"{kind.other_plural}_as_uploaded": as_uploaded(other, kind.input).numpy(),
        "uniform_noise": uniform_noise(len(own)),
        "shuffled_pixels": shuffled_pixels(own),
    }


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
    seed: int = 1

    @property
    def floor(self) -> dict[str, float]:
        strangers = (self.kind.other_plural, "uniform_noise", "shuffled_pixels")
        return {f"roc_auc_against_{name}": 0.99 for name in strangers}

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        own, other = (load_test(source, workplace.data) for source in (self.kind.source, self.kind.other))
        return measured(graph, self.kind, own, other)

    def train(self, workplace: Workplace) -> Trained:
        keep_freed_memory()
        start = time.perf_counter()
        seed = self.seed if workplace.seed is None else workplace.seed
        dataset, others = self._data(workplace)
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
        from_scratch = fine_tune(alone, pixels, held_out, self.loss, epochs, f"{self.name}, from scratch")
        encoders = {"pretrained layer by layer": pretrained, "fine-tuned autoencoder": network.encoder}
        tried = pretraining.compare(encoders, dataset, workplace, self.name)
        seconds = time.perf_counter() - start

        reconstructor = Reconstructor(network, self.loss).eval().cpu()
        what = Exportable(reconstructor, "image", self.outputs())
        errors = export.pytorch_answers(what, dataset.validation.images)["reconstruction_error"]
        reconstructor.threshold.fill_(float(np.quantile(errors, 1 - WARNED)))
        graph = export.to_onnx(what, dataset.validation.images[:2])
        difference = export.check_parity(what, graph, dataset.validation.images)
        scores = self._scores(network, dataset.validation.images, others.validation.images)

        own, other = (load_test(source, workplace.data) for source in (self.kind.source, self.kind.other))
        if workplace.dry_run:
            own, other = _first(own), _first(other)
        metrics = measured(graph, self.kind, own, other) | {
            "threshold": float(reconstructor.threshold),
            "validation_pictures_above_it": float((errors > float(reconstructor.threshold)).mean()),
            "validation_loss": history[-1][1],
            "onnx_max_difference": difference,
        }
        tested = tried.tested(own)
        comparisons = [
            *tested.comparisons(),
            Comparison(
                what="the autoencoder itself: the same network and epochs without pretraining",
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
        card = self._card(workplace, reconstructor, dataset, len(own), metrics, comparisons, seconds, seed, epochs)
        return Trained(
            graph,
            card,
            export.golden_rows(what, dataset.validation.images),
            self._figures(graph, network, own, other, history, from_scratch, tested, metrics["threshold"]),
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

    def _data(self, workplace: Workplace) -> tuple[Dataset, Dataset]:
        own, other = (workplace.dataset(source) for source in (self.kind.source, self.kind.other))
        if not workplace.dry_run:
            return own, other
        few = [Dataset(each.source, _first(each.train), _first(each.validation)) for each in (own, other)]
        return few[0], few[1]

    @torch.inference_mode()
    def _scores(self, network: Autoencoder, own: Tensor, other: Tensor) -> dict[str, float]:
        """What could have been warned by."""
        found: dict[str, float] = {}
        groups = [pixels_of(each) for each in (own, other, as_uploaded(other, self.kind.input))]
        logits = [network.decoder(network.encoder(pixels)) for pixels in groups]
        for name, loss in (("squared_error", squared_error), ("cross_entropy", cross_entropy)):
            plain = [loss(*each) for each in zip(logits, groups, strict=True)]
            relative = [relative_to_ink(*each) for each in zip(plain, groups, strict=True)]
            for suffix, (like, raw, uploaded) in (("", plain), ("_relative_to_ink", relative)):
                found[f"{name}{suffix}"] = roc_auc(like.numpy(), raw.numpy())
                found[f"{name}{suffix}_as_uploaded"] = roc_auc(like.numpy(), uploaded.numpy())
        return found

    def _card(
        self,
        workplace: Workplace,
        reconstructor: Reconstructor,
        dataset: Dataset,
        test_rows: int,
        metrics: dict[str, float],
        comparisons: list[Comparison],
        seconds: float,
        seed: int,
        epochs: int,
    ) -> Card:
        kind, source = self.kind, self.kind.source
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
            notes=[
                f"The threshold, {metrics['threshold']:.4g}, is the error that {WARNED:.0%} of the validation "
                "pictures are above: about as many of its own kind are warned of wrongly.",
                f"It finds what is far from {kind.plural}: another data set's pictures, noise, shuffled pixels. The "
                "service scales and centres what is uploaded, and what has been made to fit looks more alike: that is "
                f"`…_as_uploaded`, where {metrics[f'{kind.other_plural}_as_uploaded_warned_of']:.0%} of "
                "them are warned of. No warning does not mean that it is one.",
                "The error was chosen on validation pictures of both data sets; what the others would have given is "
                "among the comparisons.",
                "The reconstruction is made of the code, 32 numbers: what it leaves out is what is usual.",
            ],
            labels=[kind.like, kind.unlike],
            parameters=sum(parameter.numel() for parameter in reconstructor.parameters()),
            layers=export.layer_table(reconstructor, reconstructor, blank),
            metrics=metrics,
            floor=self.floor,
            dataset=DatasetFacts(
                name=source.name,
                source=source.title,
                licence=source.licence,
                train_rows=len(dataset.train),
                validation_rows=len(dataset.validation),
                test_rows=test_rows,
                sha256=source.sha256,
            ),
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

    def _figures(
        self,
        graph: bytes,
        network: Autoencoder,
        own: Split,
        other: Split,
        history: Sequence[tuple[float, float]],
        from_scratch: Sequence[tuple[float, float]],
        tested: pretraining.Tested,
        threshold: float,
    ) -> dict[str, bytes]:
        kind = self.kind
        groups = {f"test {kind.plural}": own.images.numpy()} | {
            name.replace("_", " "): pictures
            for name, pictures in strangers(kind, own.images.numpy(), other.images).items()
        }
        answers = {name: export.run(graph, pictures) for name, pictures in groups.items()}
        errors = {name: each["reconstruction_error"] for name, each in answers.items()}
        first = network.encoder[0]
        assert isinstance(first, nn.Linear)
        return {
            "training": autoencoder_figures.losses({"with pretraining": history, "from scratch": from_scratch}),
            "reconstructions": autoencoder_figures.reconstructions(
                groups, {name: each["reconstruction"] for name, each in answers.items()}, errors, threshold
            ),
            "errors": autoencoder_figures.error_histograms(errors, threshold),
            "pretraining": autoencoder_figures.accuracies_by_labels(tested.accuracies),
            "filters": figures.filters(first.weight.detach().cpu().view(-1, SIDE, SIDE)[:64].numpy()),
        }


def _first(split: Split) -> Split:
    return Split(split.images[:DRY_RUN_ROWS], split.labels[:DRY_RUN_ROWS])


SYSTEMS: Sequence[AutoencoderSystem] = (
    AutoencoderSystem(
        "mnist-autoencoder",
        "Digits through 32 numbers",
        Kind(MNIST, FASHION_MNIST, DIGIT_INPUT, "digit", "no digit", "digits", "clothing"),
        cross_entropy,
        "Cross-entropy in nats, each pixel taken as a probability of ink",
    ),
    AutoencoderSystem(
        "fashion-autoencoder",
        "Clothing through 32 numbers",
        Kind(FASHION_MNIST, MNIST, GARMENT_INPUT, "clothing", "no clothing", "clothing", "digits"),
        squared_error,
        "Squared difference",
    ),
)
