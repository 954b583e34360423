"""Pictures move as far as they are told and no further; the oracle is torch.roll and torch.flip."""

import torch

from training.augment import ERASED_AREA, NO_JITTER, Jitter, ShiftAndErase

PICTURES = torch.zeros(64, 28, 28)
PICTURES[:, 10:16, 12:20] = torch.arange(48.0).reshape(6, 8)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_no_jitter_is_the_same_tensor() -> None:
    assert NO_JITTER(PICTURES, generator()) is PICTURES


def test_flip_turns_about_half_the_pictures_left_to_right_exactly() -> None:
    moved = Jitter(flip=True)(PICTURES, generator())
    flipped = [bool(torch.allclose(picture, PICTURES[0].flip(1), atol=1e-3)) for picture in moved]
    kept = [bool(torch.allclose(picture, PICTURES[0], atol=1e-3)) for picture in moved]

    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 20 < sum(flipped) < 44


def test_shift_moves_the_centre_of_mass_by_at_most_the_amount() -> None:
    moved = Jitter(shift=2)(PICTURES, generator())
    columns = (moved.sum(1) * torch.arange(28)).sum(1) / moved.sum((1, 2))
    rows = (moved.sum(2) * torch.arange(28)).sum(1) / moved.sum((1, 2))
    origin = PICTURES[0]

    for places, axis in ((rows, 1), (columns, 0)):
        start = (origin.sum(axis) * torch.arange(28)).sum() / origin.sum()
        assert 1.5 < float((places - start).abs().max()) <= 2.001


def moments(pictures: torch.Tensor) -> torch.Tensor:
    """The covariance of each picture's ink, [N, 2, 2], in (x, y): it is transformed as the picture's points are."""
    places = torch.arange(28.0) - 13.5
    mass = pictures.sum((1, 2))
    xx = (pictures.sum(1) * places**2).sum(1) / mass
    yy = (pictures.sum(2) * places**2).sum(1) / mass
    xy = torch.einsum("nyx,y,x->n", pictures, places, places) / mass
    return torch.stack([torch.stack([xx, xy], 1), torch.stack([xy, yy], 1)], 1)


def bar() -> torch.Tensor:
    """A soft upright bar about the middle."""
    places = torch.arange(28.0) - 13.5
    return torch.exp(-(places[None, :] ** 2) / 8 - places[:, None] ** 2 / 32).repeat(64, 1, 1) * 255


def test_rotation_turns_and_neither_stretches_nor_shrinks() -> None:
    turned = moments(Jitter(degrees=30)(bar(), generator()))
    angles = 0.5 * torch.atan2(2 * turned[:, 0, 1], turned[:, 1, 1] - turned[:, 0, 0])

    torch.testing.assert_close(
        torch.linalg.eigvalsh(turned), torch.linalg.eigvalsh(moments(bar())), rtol=0.05, atol=0.1
    )
    assert 25 < float(angles.abs().max().rad2deg()) <= 30.5


def test_rotation_and_scale_together_keep_the_proportions() -> None:
    short, long = torch.linalg.eigvalsh(moments(Jitter(degrees=30, scale=0.2)(bar(), generator()))).unbind(1)

    torch.testing.assert_close(long / short, torch.full((64,), 4.0), rtol=0.1, atol=0)
    assert float((short / 4).sqrt().max()) > 1.1 > 0.95 > float((short / 4).sqrt().min())


def test_shear_slants_and_keeps_the_area() -> None:
    slanted = moments(Jitter(shear=0.3)(bar(), generator()))

    torch.testing.assert_close(torch.linalg.det(slanted), torch.linalg.det(moments(bar())), rtol=0.08, atol=0)
    assert float((slanted[:, 0, 1] / slanted[:, 1, 1]).abs().max()) > 0.25


def test_same_generator_same_pictures() -> None:
    amount = Jitter(shift=2, degrees=10, scale=0.1, shear=0.1, flip=True)

    torch.testing.assert_close(amount(PICTURES, generator()), amount(PICTURES, generator()), rtol=0, atol=0)


def test_amounts_are_told_in_words() -> None:
    assert str(Jitter(shift=2, degrees=12, scale=0.1, flip=True)) == (
        "shift 2 px, rotation 12°, scale 10%, left-right flip"
    )
    assert str(NO_JITTER) == "none"


def test_shifts_are_of_whole_pixels_and_every_second_picture_is_mirrored() -> None:
    moved = ShiftAndErase(shift=2, erased=0)(PICTURES, generator())
    ways = {
        (down, right, mirrored): torch.roll(PICTURES[0].flip(1) if mirrored else PICTURES[0], (down, right), (0, 1))
        for down in range(-2, 3)
        for right in range(-2, 3)
        for mirrored in (False, True)
    }
    taken = [[way for way, picture in ways.items() if torch.equal(picture, each)] for each in moved]

    assert all(len(each) == 1 for each in taken)
    assert {way[0] for [way] in taken} == {way[1] for [way] in taken} == set(range(-2, 3))
    assert 20 < sum(way[2] for [way] in taken) < 44


def test_what_leaves_the_picture_is_lost_and_0_comes_in() -> None:
    moved = ShiftAndErase(shift=3, erased=0)(torch.full((64, 6, 5), 9.0), generator())

    assert set(moved.unique().tolist()) == {0.0, 9.0}
    assert moved.sum((1, 2)).min() == 3 * 2 * 9


def test_erasing_puts_one_rectangle_of_noise_into_its_share_of_the_pictures() -> None:
    pictures = torch.full((400, 28, 28), -1.0)
    changed = ShiftAndErase(shift=0, erased=0.5)(pictures, generator()) != -1
    hit = changed.any(2).any(1)
    assert 160 < int(hit.sum()) < 240

    for mask in changed[hit]:
        down, across = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        rectangle = mask[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
        assert rectangle.all()
    areas = changed[hit].sum((1, 2)) / 28**2
    # Whole pixels, and what does not fit is cut off.
    assert areas.max() <= ERASED_AREA[1] * 1.1
    assert areas.min() >= ERASED_AREA[0] * 0.3


def test_noise_covers_all_gray_levels_and_the_card_tells_the_share() -> None:
    noise = ShiftAndErase(shift=0, erased=1)(torch.full((400, 28, 28), -1.0), generator())
    levels = noise[noise != -1]

    assert levels.min() < 1
    assert levels.max() > 254
    assert abs(float(levels.mean()) - 127.5) < 2
    assert str(ShiftAndErase(shift=2, erased=0.5)) == "shift 2 px, left-right flip, random erasing of 50%"
    assert str(ShiftAndErase(shift=1, erased=0)) == "shift 1 px, left-right flip"
