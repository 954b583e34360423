"""Each change does what its name says; the oracles are NumPy, SciPy and what has to stay."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from training import upload_like
from training.drawn_digits import drawn_digit
from training.upload_like import CHANGES, HAND, UploadLike, warped

SIDE = 28


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits(count: int = 60) -> torch.Tensor:
    """[count, 28, 28] of 0 to 1."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([drawn_digit(place % 10, rng, side=SIDE) for place in range(count)])).float() / 255


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_batch_stays_a_batch_of_gray_levels(share: float) -> None:
    pictures = digits() * 255
    changed = UploadLike(share)(pictures, generator())

    assert changed.shape == pictures.shape
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 255
    assert torch.isfinite(changed).all()
    assert not torch.equal(changed, pictures)


def test_the_same_generator_gives_the_same_batch_and_another_another() -> None:
    pictures = digits() * 255
    one, same, other = (UploadLike()(pictures, generator(seed)) for seed in (1, 1, 2))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_without_a_share_pictures_are_only_written_by_another_hand() -> None:
    pictures = digits()
    seeded = generator()
    torch.rand(len(pictures), generator=seeded)  # who is chosen
    expected = warped(pictures, HAND, seeded).clamp(0, 1) * 255

    torch.testing.assert_close(UploadLike(0.0)(pictures * 255, generator()), expected)


def test_a_batch_of_one_and_of_none() -> None:
    assert UploadLike(0.5)(digits(1) * 255, generator()).shape == (1, SIDE, SIDE)
    assert UploadLike(0.5)(digits(10)[:0], generator()).shape == (0, SIDE, SIDE)


def test_the_card_names_every_change() -> None:
    told = str(UploadLike(0.5))

    assert "50%" in told
    assert all(change.__name__.replace("_", " ") in told for _, change in CHANGES)


@pytest.mark.parametrize("change", [change for _, change in CHANGES], ids=lambda change: change.__name__)
def test_each_change_changes_all_pictures_it_is_given_and_keeps_their_shape(change: upload_like.Change) -> None:
    pictures = digits()
    changed = change(pictures.clone(), generator()).clamp(0, 1)

    assert changed.shape == pictures.shape
    different = (changed - pictures).abs().amax((1, 2)) > 1e-3
    # Stray marks may lie where there is ink already.
    assert different.float().mean() > 0.85


def test_thick_pens_only_add_ink_and_thin_pens_only_take_it() -> None:
    pictures = digits()
    thick = upload_like.thick_pens(pictures, generator())
    thin = upload_like.thin_pens(pictures, generator())

    assert (thick >= pictures - 1e-6).all()
    assert (thick.sum((1, 2)) > pictures.sum((1, 2))).all()
    assert (thin > 0.5).float().sum((1, 2)).mean() < (pictures > 0.5).float().sum((1, 2)).mean()


def test_blur_is_a_gaussian() -> None:
    """One deviation of 0.4 to 1.3 pixels for all; the kernel ends at two pixels."""
    dot = torch.zeros(1, SIDE, SIDE)
    dot[0, 14, 14] = 1
    for seed in range(5):
        blurred = upload_like.blur(dot, generator(seed))[0].numpy()
        deviation = 0.4 + 0.9 * float(torch.rand(1, generator=generator(seed)))
        expected = gaussian_filter(dot[0].numpy().astype(float), deviation, radius=2)

        np.testing.assert_allclose(blurred, expected, atol=1e-6)


def test_negatives_are_negatives() -> None:
    pictures = digits()

    assert torch.equal(upload_like.negatives(pictures, generator()), 1 - pictures)


def test_bands_are_rows_or_columns_of_the_negative() -> None:
    pictures = digits(200)
    changed = upload_like.bands(pictures, generator())
    different = (changed != pictures) & (pictures != 0.5)

    assert torch.equal(changed[different], 1 - pictures[different])
    down, across = different.any(2).sum(1), different.any(1).sum(1)
    upright = across < SIDE
    assert 0.15 < upright.float().mean() < 0.45
    lines = torch.where(upright, across, down)
    assert lines.min() >= 1
    assert lines.max() == 5


def test_what_is_shaken_stays_in_its_place_and_keeps_its_ink_or_gains() -> None:
    dot = torch.zeros(100, SIDE, SIDE)
    dot[:, 13:15, 13:15] = 0.5
    moved = upload_like.shaken(dot, generator())
    gain = moved.sum((1, 2)) / dot.sum((1, 2))

    assert gain.min() >= 0.99
    assert gain.max() <= 1.81
    places = torch.arange(float(SIDE))
    for axis in (1, 2):
        middle = (moved.sum(axis) * places).sum(1) / moved.sum((1, 2))
        torch.testing.assert_close(middle, torch.full((100,), 13.5), atol=0.02, rtol=0)


def test_glass_takes_each_pixel_from_at_most_three_away() -> None:
    dot = torch.zeros(400, SIDE, SIDE)
    dot[:, 14, 14] = 1
    rows, columns = (upload_like.seen_through_glass(dot, generator()).amax(0) > 0).nonzero(as_tuple=True)

    # And is smoothed over one more.
    assert (int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())) == (10, 18, 10, 18)


def test_coarse_scans_are_blocks_or_smooth() -> None:
    """A picture of 7 to 14 pixels on a side, each a block or blended into its neighbours."""
    ways = set()
    for seed in range(20):
        scanned = upload_like.coarse_scans(digits(1), generator(seed))[0]
        seeded = generator(seed)
        side = int(torch.randint(7, 15, (1,), generator=seeded))
        smooth = bool(torch.rand(1, generator=seeded) < 0.6)
        ways.add(smooth)

        assert (len(torch.unique(scanned, dim=0)) > side) == smooth
        assert float(scanned.max()) == pytest.approx(1)
    assert ways == {True, False}


def test_ruled_paper_has_whole_lines() -> None:
    lined = upload_like.ruled_paper(torch.zeros(200, SIDE, SIDE), generator())

    assert torch.equal(lined.amin(2), lined.amax(2))
    lines = (lined[:, :, 0] > 0).sum(1)
    assert 0 < lines.max() <= SIDE / 2
    assert (lines > 0).float().mean() > 0.5


def test_outlines_are_empty_inside() -> None:
    square = torch.zeros(1, SIDE, SIDE)
    square[0, 8:20, 8:20] = 1
    outline = upload_like.outlines(square, generator())[0]

    assert float(outline[10:18, 10:18].abs().max()) == 0
    assert float(outline[8, 8:20].min()) >= 1


def test_a_warp_of_nothing_is_the_same_picture() -> None:
    still = upload_like.Warp(degrees=0, slant=0, scale=0, stretch=0, shift=0)

    torch.testing.assert_close(warped(digits(), still, generator()), digits(), atol=1e-5, rtol=0)
