"""The loop learns, repeats itself exactly, and keeps its history."""

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from app.card import Epoch
from tests.training.datasets import bars, bars_dataset
from training.__main__ import RECIPES
from training.augment import NO_JITTER
from training.classifier import ImageClassifier
from training.committee import Committee
from training.compact import LARGE
from training.fit import AVERAGING_WARM_UP, build, choose_device, evaluate, fit, mean_history, moving_average
from training.mlp import one_hidden_layer
from training.recipe import Closing

CPU = torch.device("cpu")
SHORT = replace(RECIPES["mnist-dnn"], epochs=3, batch_size=64, augmentation=NO_JITTER)


def test_loop_learns_what_can_be_learned() -> None:
    fitted = fit(SHORT, bars_dataset(), CPU)

    assert fitted.history[-1].validation_accuracy == 1.0
    assert [row.epoch for row in fitted.history] == [1, 2, 3]
    assert fitted.history[0].loss > fitted.history[-1].loss


def test_history_ends_with_what_the_network_scores() -> None:
    fitted = fit(SHORT, bars_dataset(), CPU)
    loss, accuracy = evaluate(fitted.network, bars_dataset().validation)

    assert fitted.history[-1].validation_loss == pytest.approx(loss, rel=1e-5)
    assert fitted.history[-1].validation_accuracy == accuracy


@pytest.mark.parametrize("name", ["mnist-dnn", "mnist-lenet"])
def test_same_seed_gives_the_same_weights(name: str) -> None:
    recipe = replace(RECIPES[name], epochs=1)
    first, second = (fit(recipe, bars_dataset(), CPU).network.state_dict() for _ in range(2))

    for key, weights in first.items():
        torch.testing.assert_close(weights, second[key], rtol=0, atol=0)


@dataclass
class Counting:
    """Says how many batches it has changed."""

    batches: int = 0

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self.batches += 1
        return images


def test_the_last_epochs_have_the_closing_augmentation() -> None:
    before, after = Counting(), Counting()
    dataset = bars_dataset()
    fit(replace(SHORT, augmentation=before, closing=Closing(epochs=1, augmentation=after)), dataset, CPU)

    steps = -(-len(dataset.train) // SHORT.batch_size)
    assert (before.batches, after.batches) == (2 * steps, steps)


def test_a_committee_learns_and_its_accuracy_is_of_all_its_answers() -> None:
    def body() -> nn.Module:
        return Committee([one_hidden_layer(), one_hidden_layer()])

    fitted = fit(replace(SHORT, body=body, parameters=2 * SHORT.parameters), bars_dataset(), CPU)

    assert fitted.history[-1].validation_accuracy == 1.0
    assert 0.5 < fitted.history[-1].accuracy <= 1.0
    one, other = fitted.network.body.members  # type: ignore[union-attr]
    assert not torch.equal(one.hidden.weight, other.hidden.weight)


def test_weights_are_rounded_to_float16_when_the_training_is_over() -> None:
    recipe = replace(SHORT, epochs=1)
    exact, rounded = (fit(replace(recipe, weights=kind), bars_dataset(), CPU) for kind in ("float32", "float16"))
    theirs = exact.network.state_dict()

    assert rounded.history == exact.history
    for name, values in rounded.network.state_dict().items():
        large = values.numel() >= LARGE
        assert torch.equal(values, theirs[name].half().float() if large else theirs[name])
        assert torch.equal(values, theirs[name]) != large


def test_another_seed_gives_other_weights() -> None:
    one, two = (fit(replace(SHORT, epochs=1, seed=seed), bars_dataset(), CPU).network for seed in (1, 2))

    assert not torch.equal(one.body.hidden.weight, two.body.hidden.weight)  # type: ignore[union-attr, arg-type]


def test_evaluation_is_cross_entropy_and_share_of_right_answers() -> None:
    network = ImageClassifier(one_hidden_layer(), 0.1, 0.3)
    split = bars(40, seed=5)
    logits = network(split.images)

    assert evaluate(network, split) == (
        pytest.approx(F.cross_entropy(logits, split.labels).item(), rel=1e-6),
        pytest.approx((logits.argmax(1) == split.labels).float().mean().item()),
    )


def test_classifier_normalises_by_the_training_pixels() -> None:
    train = bars_dataset().train
    network = build(SHORT, one_hidden_layer(dropout=0.2), train).eval()
    pixels = train.images[:3].float() / 255
    everything = train.images.float() / 255

    torch.testing.assert_close(network(train.images[:3]), network.body((pixels - everything.mean()) / everything.std()))


def test_network_of_another_size_than_stated_is_refused() -> None:
    with pytest.raises(ValueError, match="mnist-dnn: the network has 50,890 parameters, the recipe says 101,770"):
        build(SHORT, one_hidden_layer(hidden=64), bars_dataset().train)


def test_cuda_in_vain_is_told() -> None:
    if torch.cuda.is_available():
        assert choose_device("cuda").type == "cuda"
        return
    with pytest.raises(ValueError, match="--device cuda: PyTorch sees no CUDA device here; allowed now: auto, cpu"):
        choose_device("cuda")
    assert choose_device("auto") == CPU


class Negative:
    """What a recipe may bring in the place of a jitter."""

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return 255 - images


def test_recipe_may_bring_any_augmentation_of_batches() -> None:
    """A network that has only seen negatives."""
    network = fit(replace(SHORT, augmentation=Negative()), bars_dataset(), CPU).network
    held_out = bars_dataset().validation
    negatives = replace(held_out, images=255 - held_out.images)

    assert evaluate(network, negatives)[1] == 1.0
    assert evaluate(network, held_out)[1] < 0.5


def test_the_moving_average_follows_the_weights_and_the_statistics() -> None:
    """By hand: after each step so much of the way as the decay leaves, and at the beginning more."""
    decay, warm_up = 0.5, AVERAGING_WARM_UP
    network = ImageClassifier(nn.BatchNorm1d(1, affine=False), 0.0, 1.0)
    average = moving_average(network, decay)
    statistics = network.body.running_mean
    expected = None
    for step, value in enumerate([4.0, 8.0, 16.0, 0.0, 1.0] * 4):
        statistics.fill_(value)
        network.body.num_batches_tracked.fill_(step)
        average.update_parameters(network)
        share = 1 - min(decay, (1 + step) / (warm_up + step))
        expected = value if expected is None else expected + share * (value - expected)

        assert float(average.module.body.running_mean) == pytest.approx(expected)
        assert int(average.module.body.num_batches_tracked) == step


def test_history_is_the_mean_of_all() -> None:
    def rows(*losses: float) -> list[Epoch]:
        return [
            Epoch(epoch=place, loss=loss, accuracy=1 - loss, validation_loss=2 * loss, validation_accuracy=loss / 2)
            for place, loss in enumerate(losses, start=1)
        ]

    assert mean_history([rows(0.5, 0.25), rows(1.0, 0.75)]) == rows(0.75, 0.5)
