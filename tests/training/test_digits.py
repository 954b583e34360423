"""What the best model of digits is trained on and judged by beside MNIST: drawn digits, pictures as uploads look."""

import torch

from training import digits
from training.data import MNIST, Dataset, Split
from training.digits import DRAWN_FOR_VALIDATION, RECIPE, VALIDATION_SEED
from training.recipe import DIGIT_INPUT
from training.upload_like import UploadLike


def test_drawn_digits_have_the_geometry_of_uploads_and_their_labels() -> None:
    drawn = digits.drawn_digits(200, seed=3)

    assert drawn.images.shape == (200, 28, 28)
    assert drawn.images.dtype == torch.uint8
    assert set(drawn.labels.tolist()) == set(range(10))
    rows, columns = ((drawn.images > 0).any(axis) for axis in (2, 1))
    longer = torch.maximum(rows.sum(1), columns.sum(1))
    # The longer side of the ink is the box; faint edges of what was reduced may be 0 after all.
    assert ((longer >= DIGIT_INPUT.box - 2) & (longer <= DIGIT_INPUT.box)).float().mean() > 0.9


def test_drawn_digits_are_the_same_again_and_those_for_validation_are_others() -> None:
    one, same, other = (digits.drawn_digits(20, seed) for seed in (1, 1, 2))

    assert torch.equal(one.images, same.images)
    assert torch.equal(one.labels, same.labels)
    assert not torch.equal(one.images, other.images)


def test_drawn_digits_are_trained_on_beside_mnists_and_not_judged_by() -> None:
    own = Split(torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
    together = digits.with_drawn_digits(Dataset(MNIST, own, own), few=True)

    assert len(together.train) == 105
    assert torch.equal(together.train.images[:5], own.images)
    assert together.validation is own


def test_it_is_judged_by_pictures_that_were_not_trained_on() -> None:
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (30, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (30,), generator=generator)
    judged = digits.judged_by(Split(images, labels), RECIPE)

    drawn = digits.drawn_digits(DRAWN_FOR_VALIDATION, VALIDATION_SEED)
    spoilt = UploadLike(1.0)(images.float(), torch.Generator().manual_seed(RECIPE.seed)).round().to(torch.uint8)
    assert torch.equal(judged.clean.images, torch.cat([images, drawn.images]))
    assert torch.equal(judged.clean.labels, torch.cat([labels, drawn.labels]))
    assert torch.equal(judged.spoilt.images, spoilt)
    assert torch.equal(judged.spoilt.labels, labels)


def test_its_floor_is_that_of_the_table_of_systems() -> None:
    [system] = digits.SYSTEMS

    assert system.options == {"epochs", "seed"}
    assert system.floor["test_accuracy"] == RECIPE.floor >= 0.9965
    assert system.floor["corrupted_accuracy"] == 0.97
