"""Pictures move as far as they are told and no further; the oracle is torch.roll and torch.flip."""

import torch

from training.augment import NO_JITTER, Jitter, jitter

PICTURES = torch.zeros(64, 28, 28)
PICTURES[:, 10:16, 12:20] = torch.arange(48.0).reshape(6, 8)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_no_jitter_is_the_same_tensor() -> None:
    assert jitter(PICTURES, NO_JITTER, generator()) is PICTURES


def test_flip_turns_about_half_the_pictures_left_to_right_exactly() -> None:
    moved = jitter(PICTURES, Jitter(flip=True), generator())
    flipped = [bool(torch.allclose(picture, PICTURES[0].flip(1), atol=1e-3)) for picture in moved]
    kept = [bool(torch.allclose(picture, PICTURES[0], atol=1e-3)) for picture in moved]

    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 20 < sum(flipped) < 44


def test_shift_moves_the_centre_of_mass_by_at_most_the_amount() -> None:
    moved = jitter(PICTURES, Jitter(shift=2), generator())
    columns = (moved.sum(1) * torch.arange(28)).sum(1) / moved.sum((1, 2))
    rows = (moved.sum(2) * torch.arange(28)).sum(1) / moved.sum((1, 2))
    origin = PICTURES[0]

    for places, axis in ((rows, 1), (columns, 0)):
        start = (origin.sum(axis) * torch.arange(28)).sum() / origin.sum()
        assert 1.5 < float((places - start).abs().max()) <= 2.001


def test_rotation_keeps_the_mass_and_turns_about_the_middle() -> None:
    disc = torch.zeros(8, 28, 28)
    y, x = torch.meshgrid(torch.arange(28), torch.arange(28), indexing="ij")
    disc[:, (y - 13.5) ** 2 + (x - 13.5) ** 2 < 64] = 255

    assert float((jitter(disc, Jitter(degrees=45), generator()) - disc).abs().mean()) < 6


def test_same_generator_same_pictures() -> None:
    amount = Jitter(shift=2, degrees=10, scale=0.1, shear=0.1, flip=True)

    torch.testing.assert_close(
        jitter(PICTURES, amount, generator()), jitter(PICTURES, amount, generator()), rtol=0, atol=0
    )


def test_amounts_are_told_in_words() -> None:
    assert str(Jitter(shift=2, degrees=12, scale=0.1, flip=True)) == (
        "shift 2 px, rotation 12°, scale 10%, left-right flip"
    )
    assert str(NO_JITTER) == "none"
