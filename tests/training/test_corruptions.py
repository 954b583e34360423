"""Fifteen kinds, each the same again with the same seed and as strong as it says."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from training import corruptions
from training.corruptions import KINDS, corrupted
from training.drawn_digits import drawn_digit

RNG = np.random.default_rng(0)
DIGITS = np.stack([drawn_digit(place % 10, RNG, side=28) for place in range(100)])


def centres(
    images: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array([ndimage.center_of_mass(image.astype(float)) for image in images])


def test_there_are_fifteen() -> None:
    assert len(KINDS) == 15


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_the_same_again_and_changes_every_picture(kind: str) -> None:
    spoilt = corrupted(DIGITS, kind)

    assert spoilt.dtype == np.uint8
    assert spoilt.shape == DIGITS.shape
    np.testing.assert_array_equal(spoilt, corrupted(DIGITS, kind))
    assert (np.abs(spoilt.astype(int) - DIGITS).max((1, 2)) > 0).mean() > 0.9


@pytest.mark.parametrize("kind", ["shot_noise", "rotate", "fog", "zigzag"])
def test_another_seed_spoils_otherwise(kind: str) -> None:
    assert not np.array_equal(corrupted(DIGITS, kind), corrupted(DIGITS, kind, seed=1))


def test_translation_moves_by_two_to_four_pixels() -> None:
    dot = np.zeros((200, 28, 28), np.uint8)
    dot[:, 13:15, 13:15] = 255
    moved = np.abs(centres(corrupted(dot, "translate")) - 13.5)

    assert moved.min() >= 2 - 0.02
    assert moved.max() <= 4 + 0.02


def test_scaling_makes_pictures_smaller_about_their_middle() -> None:
    square = np.zeros((200, 28, 28), np.uint8)
    square[:, 4:24, 4:24] = 255
    share = corrupted(square, "scale").sum((1, 2)) / square.sum((1, 2))

    assert share.min() > 0.55**2 - 0.02
    assert share.max() < 0.75**2 + 0.02


def test_a_stripe_is_four_rows_of_the_negative() -> None:
    different = corrupted(DIGITS, "stripe") != DIGITS

    assert (different.any(2).sum(1) == 4).all()
    row = np.argwhere(different[0].any(1))[0, 0]
    np.testing.assert_array_equal(corrupted(DIGITS, "stripe")[0, row], 255 - DIGITS[0, row])


def test_edges_are_where_sobels_differences_are_large() -> None:
    image = DIGITS[8].astype(float) / 255
    down, right = (ndimage.sobel(image, axis, mode="constant") for axis in (0, 1))

    np.testing.assert_array_equal(corrupted(DIGITS, "edges")[8], 255 * (np.hypot(down, right) > 1.5))


def test_motion_blur_makes_the_ink_half_as_bright_again_and_leaves_it_where_it_is() -> None:
    dim = DIGITS // 2  # nothing becomes brighter than white
    spoilt = corrupted(dim, "motion_blur")

    np.testing.assert_allclose(spoilt.sum((1, 2)), 1.5 * dim.sum((1, 2), dtype=np.float64), rtol=0.02)
    np.testing.assert_allclose(centres(spoilt), centres(dim), atol=0.15)


def test_glass_blur_takes_each_pixel_from_at_most_two_away() -> None:
    """And is smoothed over one more."""
    dot = np.zeros((400, 28, 28), np.uint8)
    dot[:, 13:15, 13:15] = 255
    rows, columns = np.nonzero(corrupted(dot, "glass_blur").any(0))

    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 17, 10, 17)


def test_brightness_only_adds() -> None:
    spoilt = corrupted(DIGITS, "brightness").astype(int)

    assert (spoilt >= DIGITS).all()
    lifted = spoilt[:, 0, 0]
    assert lifted.min() >= 0.2 * 255 - 1
    assert lifted.max() <= 0.4 * 255 + 1


def test_shot_noise_is_poissons() -> None:
    gray = np.full((200, 28, 28), 102, np.uint8)  # six pieces of light of fifteen
    spoilt = corrupted(gray, "shot_noise") / 255 * 15

    assert spoilt.mean() == pytest.approx(6, rel=0.01)
    assert spoilt.var() == pytest.approx(6, rel=0.05)


def test_nothing_is_left_to_chance_outside() -> None:
    torch.manual_seed(1)
    one = corrupted(DIGITS, "fog")
    torch.manual_seed(2)

    np.testing.assert_array_equal(one, corrupted(DIGITS, "fog"))
    assert corruptions.KINDS["fog"] is corruptions.fog
