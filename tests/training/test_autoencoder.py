"""Autoencoders held against arithmetic, PyTorch and scikit-learn; the committed ones against what their cards say."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from app import images
from app.card import Card, read_card
from app.prediction import SENTENCES
from tests.conftest import ROOT
from tests.training.datasets import bars, bars_dataset
from training import autoencoder, export, layerwise, novelty, pretraining
from training.autoencoder import SYSTEMS, AutoencoderSystem, Reconstructor
from training.data import load, load_test
from training.export import Exportable
from training.fit import seed_everything
from training.system import Workplace, require_floor
from training.uploaded import as_uploaded, enlarged

by_name = pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)


# --- training --------------------------------------------------------------------------------------------------------


def test_losses_are_pytorchs() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, pixels = 40 * torch.randn(5, 20, generator=generator), torch.rand(5, 20, generator=generator)
    entropy = F.binary_cross_entropy_with_logits(logits, pixels, reduction="none").mean(1)

    assert layerwise.cross_entropy(logits, pixels) == pytest.approx(entropy, rel=1e-6)
    assert layerwise.squared_error(logits, pixels) == pytest.approx((logits.sigmoid() - pixels).pow(2).mean(1))


def test_pixels_lie_between_0_and_1() -> None:
    pixels = layerwise.pixels_of(torch.tensor([[[0, 51], [204, 255]]], dtype=torch.uint8))

    assert pixels.tolist() == [pytest.approx([0, 0.2, 0.8, 1])]


def learned(widths: tuple[int, ...], epochs: int) -> tuple[Tensor, list[layerwise.Layer]]:
    seed_everything(0)
    pixels = layerwise.pixels_of(bars(640, seed=1).images)
    return pixels, layerwise.greedy(pixels, widths, layerwise.squared_error, epochs, "bars")


def test_unrolled_layers_are_the_layers_one_after_the_other() -> None:
    pixels, layers = learned((784, 20, 12, 6), epochs=1)
    network = layerwise.unrolled(layers)
    first, second, third = layers
    with torch.no_grad():
        code = third.encode(second.encode(first.encode(pixels).relu()).relu())
        logits = first.decode(second.decode(third.decode(code).relu()).relu())

        assert torch.equal(network.encoder(pixels), code)
        assert torch.equal(network.decoder(code), logits)
    assert [tuple(layer.encode.weight.shape) for layer in layers] == [(20, 784), (12, 20), (6, 12)]
    assert [tuple(layer.decode.weight.shape) for layer in layers] == [(784, 20), (20, 12), (12, 6)]


def test_each_layer_learns_the_codes_below_it() -> None:
    """Better than the best constant, of pixels and of codes."""
    pixels, (first, second) = learned((784, 20, 10), epochs=150)
    with torch.no_grad():
        codes = first.encode(pixels).relu()
        again = second.decode(second.encode(codes)).relu()
        reconstructed = layerwise.squared_error(first.decode(codes), pixels)

    assert float(reconstructed.mean()) < 0.5 * float((pixels - pixels.mean(0)).square().mean())
    assert float((again - codes).square().mean()) < 0.5 * float((codes - codes.mean(0)).square().mean())


def test_fine_tuning_goes_on_from_pretraining_and_is_better_for_it() -> None:
    pixels, layers = learned((784, 40, 20, 10), epochs=20)
    held_out = layerwise.pixels_of(bars(100, seed=2).images)
    seed_everything(0)
    history = layerwise.fine_tune(layerwise.unrolled(layers), pixels, held_out, layerwise.squared_error, 5, "bars")
    scratch = layerwise.unrolled(layerwise.untrained((784, 40, 20, 10)))
    without = layerwise.fine_tune(scratch, pixels, held_out, layerwise.squared_error, 5, "bars")

    assert len(history) == len(without) == 5
    assert history[0][1] < 0.8 * without[0][1]
    assert history[-1][1] < history[0][1]


def test_balanced_labels_are_as_many_of_each_and_others_with_each_seed() -> None:
    labels = bars(200, seed=0).labels
    one, same, other = (pretraining.balanced(labels, 50, seed) for seed in (1, 1, 2))

    assert torch.bincount(labels[one]).tolist() == [5] * 10
    assert len(set(one.tolist())) == 50
    assert torch.equal(one, same)
    assert set(one.tolist()) != set(other.tolist())


def test_stacked_classifier_begins_with_the_encoder_and_leaves_it_alone() -> None:
    encoder = nn.Sequential(nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 4))
    before = encoder[0].weight.clone()
    pixels = torch.rand(3, 784)
    network = pretraining.stacked(encoder)

    assert torch.equal(network[0](pixels), encoder(pixels))
    assert network(pixels).shape == (3, 10)

    how = pretraining.Labelled(100, seeds=1, epochs=40, batch=20, trials=1, rates=(1e-2,))
    trained = pretraining.classify(encoder, bars(200, seed=3), how, 1e-2, seed=0)
    assert torch.equal(encoder[0].weight, before)
    assert pretraining.accuracy_of(trained, bars(100, seed=4)) == 1.0


def test_network_from_scratch_has_the_same_shape_and_other_weights() -> None:
    encoder = nn.Sequential(nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 4))
    fresh = pretraining.anew(encoder)

    assert [tuple(weight.shape) for weight in fresh.parameters()] == [
        tuple(each.shape) for each in encoder.parameters()
    ]
    assert not torch.equal(fresh[0].weight, encoder[0].weight)


def test_rate_is_the_best_by_the_mean_the_smallest_of_equals() -> None:
    assert pretraining.best_rate({0.1: [0.25, 0.25], 0.2: [0.75, 0.25]}) == 0.2
    assert pretraining.best_rate({0.3: [0.5], 0.1: [0.5], 0.2: [0.25]}) == 0.1


def test_rate_is_tried_on_as_many_labels_as_are_learned_from() -> None:
    """Others than those; more than there are is all there are, and nothing of the one split is in the other."""
    dataset = bars_dataset()
    learned, held_out = pretraining.trial(dataset, 50, seed=1)
    everything = pretraining.trial(dataset, 60_000, seed=1)

    assert torch.bincount(held_out.labels).tolist() == torch.bincount(learned.labels).tolist() == [5] * 10
    rows = pretraining.balanced(dataset.validation.labels, 50, seed=1)
    assert torch.equal(held_out.images, dataset.validation.images[rows])
    assert [len(split) for split in everything] == [640, 100]


def test_60000_labels_are_training_and_validation_split_together() -> None:
    dataset = bars_dataset()

    assert len(pretraining.labelled(dataset, len(dataset.train) + 1, 0)) == 740
    assert len(pretraining.labelled(dataset, 50, 0)) == 50
    assert pretraining.PLAN[-1].labels == 60_000


def test_every_number_of_labels_has_rates_to_choose_from_and_a_spread() -> None:
    assert all(len(how.rates) >= 4 and how.seeds >= 3 for how in pretraining.PLAN)
    assert all(list(how.rates) == sorted(how.rates) for how in pretraining.PLAN)


def test_outcome_is_the_difference_and_its_standard_error() -> None:
    accuracies = {
        100: {"from scratch": np.array([0.70, 0.72]), "pretrained": np.array([0.73, 0.75])},
        60_000: {"from scratch": np.array([0.98, 0.98]), "pretrained": np.array([0.97, 0.97])},
    }
    plan = [pretraining.Labelled(labels, 2, 1, 1, 1, (1e-3, 1e-2)) for labels in accuracies]
    rates = {labels: {"from scratch": 1e-3, "pretrained": 1e-2} for labels in accuracies}
    tested = pretraining.Tested(accuracies, rates, plan)

    assert tested.outcome() == (
        "Under a classifier, pretrained instead of from scratch changed the test accuracy by +3.0% ± 1.4% with 100 "
        "labels, -1.0% ± 0.0% with 60,000 labels."
    )
    few, many = tested.comparisons()
    assert few.what.endswith("of 0.001, 0.01, is the best of 1 seed on as many labels of the validation split")
    assert many.what.endswith("is the best of 1 seed on the 5,000 labels of the validation split, the others learned")
    assert few.metrics["pretrained_learning_rate"] == 0.01
    assert few.metrics["pretrained_deviation"] == pytest.approx(0.02 / 2**0.5)


# --- the graph and its figures ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> tuple[Exportable, bytes]:
    _, layers = learned((784, 20, 6), epochs=5)
    module = Reconstructor(layerwise.unrolled(layers), layerwise.cross_entropy).eval()
    what = Exportable(module, "image", SYSTEMS[0].outputs())
    errors = export.pytorch_answers(what, bars(100, seed=2).images)["reconstruction_error"]
    module.threshold.fill_(float(np.median(errors)))
    return what, export.to_onnx(what, bars(2, seed=1).images)


def test_graph_answers_what_numpy_makes_of_its_weights(small: tuple[Exportable, bytes]) -> None:
    what, graph = small
    module = what.module
    assert isinstance(module, Reconstructor)
    pictures = bars(100, seed=2).images.numpy()
    answers = export.run(graph, pictures)
    value = pictures.reshape(100, 784).astype(np.float64) / 255
    pixels = value
    for layer in (*module.encoder, "code", *module.decoder):
        if isinstance(layer, nn.Linear):
            value = value @ layer.weight.detach().numpy().T.astype(np.float64) + layer.bias.detach().numpy()
        elif layer == "code":
            assert answers["code"] == pytest.approx(value, abs=1e-4)
        else:
            value = value.clip(0)
    made = 1 / (1 + np.exp(-value))
    entropy = -(pixels * np.log(made) + (1 - pixels) * np.log(1 - made)).mean(1)
    error = entropy / np.sqrt(pixels.mean(1) + 0.02)
    clear = np.abs(error - float(module.threshold)) > 1e-4

    assert answers["reconstruction"].dtype == np.uint8
    assert np.abs(answers["reconstruction"] - 255 * made.reshape(-1, 28, 28)).max() <= 0.51
    assert answers["reconstruction_error"] == pytest.approx(error, rel=1e-4)
    assert answers["unlike_training_data"].tolist() == (answers["index"] == 1).tolist()
    assert (answers["unlike_training_data"] == (error > float(module.threshold)))[clear].all()
    assert answers["unlike_training_data"].mean() == pytest.approx(0.5, abs=0.02)


def test_roc_auc_is_scikit_learns_ties_too() -> None:
    generator = np.random.default_rng(0)
    like, unlike = generator.integers(0, 12, 300) / 4, generator.integers(3, 20, 200) / 4
    oracle = roc_auc_score([0] * 300 + [1] * 200, np.concatenate([like, unlike]))

    assert novelty.roc_auc(like, unlike) == pytest.approx(oracle, abs=1e-12)
    assert novelty.roc_auc(np.zeros(3), np.ones(2)) == 1
    assert novelty.roc_auc(np.ones(3), np.ones(2)) == 0.5


def test_shuffled_pixels_are_the_same_in_every_picture_and_elsewhere() -> None:
    pictures = bars(5, seed=0).images.numpy()
    shuffled = novelty.shuffled_pixels(pictures)

    assert np.array_equal(np.sort(shuffled.reshape(5, -1)), np.sort(pictures.reshape(5, -1)))
    assert all((one != other).mean() > 0.1 for one, other in zip(pictures, shuffled, strict=True))


def test_units_that_never_fire_are_told_from_the_others() -> None:
    layer = nn.Linear(2, 3)
    layer.weight.data = torch.tensor([[1.0, 0], [0, 1], [-1, -1]])
    layer.bias.data = torch.tensor([-0.5, -0.5, 0])

    assert autoencoder.ever_fires(layer, torch.tensor([[0.0, 0], [0.75, 0], [0.25, 0.5]])).tolist() == [
        True,
        False,
        False,
    ]


def test_every_step_of_the_training_runs_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On bars: the floor is another matter."""
    monkeypatch.setattr("training.system.load", lambda *_: bars_dataset())
    monkeypatch.setattr("training.system.load_test", lambda *_: bars(100, seed=5))
    trained = SYSTEMS[0].train(Workplace(tmp_path, torch.device("cpu"), dry_run=True))

    assert sorted(trained.figures) == ["errors", "filters", "pretraining", "reconstructions", "training"]
    assert list(trained.card.outputs) == [node.name for node in ort.InferenceSession(trained.graph).get_outputs()]
    names = ("validation_pictures_above_it", "validation_pictures_as_uploaded_above_it")
    assert max(trained.card.metrics[name] for name in names) == pytest.approx(autoencoder.WARNED, abs=0.01)
    assert set(trained.card.floor) <= set(trained.card.metrics)


# --- what is committed -----------------------------------------------------------------------------------------------


def graph_of(system: AutoencoderSystem) -> bytes:
    return (ROOT / "artifacts" / system.name / "1" / "model.onnx").read_bytes()


def card_of(system: AutoencoderSystem) -> Card:
    session = ort.InferenceSession(graph_of(system), providers=["CPUExecutionProvider"])
    card = read_card(session.get_modelmeta().custom_metadata_map)
    assert card is not None
    return card


def test_squared_error_by_hand() -> None:
    black = Reconstructor(layerwise.unrolled(layerwise.untrained((784, 2))), layerwise.squared_error)
    for parameter in black.parameters():
        nn.init.zeros_(parameter)
    reconstruction, code, error, index, unlike = black(torch.full((1, 28, 28), 255, dtype=torch.uint8))

    assert (reconstruction == 128).all()
    assert code.tolist() == [[0, 0]]
    assert error.item() == pytest.approx(0.25 / 1.02**0.5)
    assert (index.tolist(), unlike.tolist()) == ([0], [False])


@by_name
def test_artifact_is_small_and_reaches_its_floor(system: AutoencoderSystem) -> None:
    card = card_of(system)

    assert len(graph_of(system)) < 2_000_000
    require_floor(card)
    assert card.floor[f"roc_auc_against_{system.kind.other_plural}"] >= 0.99
    assert card.outputs == system.outputs()


@by_name
def test_card_says_what_the_graph_does_with_the_test_splits(data: Path, system: AutoencoderSystem) -> None:
    own, other = (load_test(source, data).images.numpy() for source in (system.kind.source, system.kind.other))
    measured = novelty.measured(graph_of(system), system.kind, novelty.groups_of(system.kind, own, other))
    card = card_of(system)

    assert measured == pytest.approx({name: card.metrics[name] for name in measured}, abs=5e-4)


@by_name
def test_threshold_is_the_validation_splits_as_it_is_and_as_uploaded(data: Path, system: AutoencoderSystem) -> None:
    validation = load(system.kind.source, data).validation.images.numpy()
    uploads = as_uploaded(validation, system.kind.input)
    answers = [export.run(graph_of(system), each) for each in (validation, uploads)]
    quantiles = [float(np.quantile(each["reconstruction_error"], 0.98)) for each in answers]
    warned = [float(each["unlike_training_data"].mean()) for each in answers]

    assert max(quantiles) == pytest.approx(card_of(system).metrics["threshold"], rel=1e-4)
    assert max(warned) == pytest.approx(0.02, abs=4e-4)


@by_name
def test_of_its_own_kind_few_are_warned_of_however_they_come(data: Path, system: AutoencoderSystem) -> None:
    """Enlarged by each of four factors, dark on white paper, through the service's own code."""
    pictures = load_test(system.kind.source, data).images[:1_000].numpy()
    for factor in (2, 4, 6, 10):
        large = [enlarged(picture, factor, Image.Resampling.BICUBIC) for picture in pictures[factor::5]]
        made_to_fit = np.stack([images.fit(255 - each, system.kind.input).pixels for each in large])
        assert export.run(graph_of(system), made_to_fit)["unlike_training_data"].mean() <= 0.05
    metrics = card_of(system).metrics
    assert metrics[f"test_{system.kind.plural}_warned_of"] <= 0.025
    assert metrics[f"test_{system.kind.plural}_as_uploaded_warned_of"] <= 0.025


@by_name
def test_notes_promise_no_more_than_was_measured(system: AutoencoderSystem) -> None:
    card = card_of(system)
    notes = " ".join(card.notes)

    for side in novelty.NOISE_SIDES:
        share = card.metrics[f"uniform_noise_{side}_by_{side}_as_uploaded_warned_of"]
        assert f"{share:.0%} at {side} × {side}" in notes
    assert f"{card.metrics[f'test_{system.kind.plural}_as_uploaded_warned_of']:.1%} as uploaded" in notes
    assert "Under a classifier, " in notes


def png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def served(client: TestClient, model: str, pictures: NDArray[np.uint8]) -> list[dict[str, Any]]:
    files = [("file", ("picture.png", png(pixels), "image/png")) for pixels in pictures]
    predictions: list[dict[str, Any]] = client.post(f"/predict/{model}", files=files).json()["predictions"]
    return predictions


@by_name
def test_service_answers_with_the_graphs_picture_and_its_warning(
    data: Path, client: TestClient, system: AutoencoderSystem
) -> None:
    """The same as onnxruntime on what the service makes of the picture, of both kinds."""
    pictures = np.concatenate(
        [load_test(source, data).images[:25].numpy() for source in (system.kind.source, system.kind.other)]
    )
    answers = export.run(graph_of(system), np.stack([images.fit(each, system.kind.input).pixels for each in pictures]))
    predictions = served(client, system.name, pictures)
    notice = {"code": "unlike_training_data", "message": SENTENCES["unlike_training_data"]}
    labels = [system.kind.like, system.kind.unlike]

    for place, prediction in enumerate(predictions):
        prefix, text = prediction["outputs"]["reconstruction"].split(",")
        with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
            told = np.asarray(picture).astype(int)
        assert prefix == "data:image/png;base64"
        assert np.abs(told - answers["reconstruction"][place]).max() <= 1
        assert prediction["outputs"]["reconstruction_error"] == pytest.approx(
            answers["reconstruction_error"][place], rel=1e-4
        )
        assert prediction["label"] == labels[answers["index"][place]]
        assert (notice in prediction["warnings"]) == bool(answers["unlike_training_data"][place])
    warned = answers["unlike_training_data"]
    assert warned[:25].sum() <= 2
    assert warned[25:].sum() >= 5  # what has been made to fit looks more alike


@by_name
def test_protocol_warns_of_the_other_kinds_pictures_as_they_are(
    data: Path, client: TestClient, system: AutoencoderSystem
) -> None:
    pictures = [load_test(source, data).images[0].numpy() for source in (system.kind.source, system.kind.other)]
    entry = {"name": "image", "datatype": "UINT8", "shape": [2, 28, 28], "data": np.stack(pictures).ravel().tolist()}
    request = {"inputs": [entry], "outputs": [{"name": "unlike_training_data"}]}
    [output] = client.post(f"/v2/models/{system.name}/infer", json=request).json()["outputs"]

    assert (output["datatype"], output["data"]) == ("BOOL", [False, True])
