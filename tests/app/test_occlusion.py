"""Patches over a picture: where they lie, what they cover, and how falls become a map."""

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.occlusion import MOST_POSITIONS, by_pixel, changing, occluded, patches_of, patches_within

PIXELS = np.arange(1, 13, dtype=np.uint8).reshape(3, 4)


def test_patches_lie_row_by_row_and_end_where_the_picture_does() -> None:
    patches = patches_of(3, 4, 2, 2, 0)

    assert (patches.tops, patches.lefts, patches.count) == ([0, 1], [0, 2], 4)


def test_each_picture_has_one_patch_covered() -> None:
    covered = occluded(PIXELS, patches_of(3, 4, 2, 2, 200))

    assert covered.tolist() == [
        [[200, 200, 3, 4], [200, 200, 7, 8], [9, 10, 11, 12]],
        [[1, 2, 200, 200], [5, 6, 200, 200], [9, 10, 11, 12]],
        [[1, 2, 3, 4], [200, 200, 7, 8], [200, 200, 11, 12]],
        [[1, 2, 3, 4], [5, 6, 200, 200], [9, 10, 200, 200]],
    ]
    assert PIXELS.max() == 12


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("fill", [0, 7])
def test_patches_that_change_something_are_those_whose_picture_is_another(side: int, fill: int) -> None:
    pixels = np.zeros((6, 9), np.uint8)
    pixels[2, 3:5] = 200
    pixels[5, 8] = 7
    patches = patches_of(6, 9, side, None, fill)
    expected = (occluded(pixels, patches) != pixels).any((1, 2))

    assert changing(pixels, patches).tolist() == expected.tolist()
    assert expected.any() and not (expected.all() and fill == 0)


def test_map_is_the_mean_of_the_patches_over_each_pixel() -> None:
    found = by_pixel(np.array([1.0, 2, 3, 4]), patches_of(3, 4, 2, 2, 0))

    assert found.tolist() == [[1, 1, 2, 2], [2, 2, 3, 3], [3, 3, 4, 4]]


@pytest.mark.parametrize("side", range(1, 8))
@pytest.mark.parametrize("height", [7, 9, 10])
def test_no_pixel_is_left_out(height: int, side: int) -> None:
    for stride in range(1, side + 1):
        patches = patches_of(height, 8, side, stride, 255)
        covered = occluded(np.zeros((height, 8), np.uint8), patches)

        assert covered.max(0).all()
        assert (covered == 255).sum((1, 2)).tolist() == [side * side] * patches.count


@pytest.mark.parametrize(("height", "width", "side", "stride"), [(28, 28, 4, 2), (2, 2, 1, 1), (224, 300, 32, 16)])
def test_patch_follows_the_pictures_size(height: int, width: int, side: int, stride: int) -> None:
    chosen = patches_of(height, width, None, None, 0)

    assert (chosen.side, chosen.stride) == (side, stride)
    assert chosen.count <= MOST_POSITIONS


@pytest.mark.parametrize(
    ("side", "stride", "detail"),
    [
        (29, None, "patch is 29; allowed is 1 to 28, the shorter side of what the model sees"),
        (0, None, "patch is 0; allowed is 1 to 28"),
        (4, 5, "stride is 5; allowed is 1 to 4, the patch, so that no pixel is left out"),
        (4, 0, "stride is 0; allowed is 1 to 4"),
        (3, 1, "a patch of 3 with a stride of 1 has 676 positions; at most 400 are allowed"),
    ],
)
def test_what_is_too_much_is_told(side: int, stride: int | None, detail: str) -> None:
    with pytest.raises(InvalidRequest, match=detail):
        patches_of(28, 28, side, stride, 0)


def test_channels_are_covered_together() -> None:
    picture = np.stack([PIXELS, np.zeros_like(PIXELS)]).astype(np.float32)
    patches = patches_of(3, 4, 2, 2, 0)

    assert np.array_equal(occluded(picture, patches)[:, 0], occluded(PIXELS, patches))
    assert not occluded(picture, patches)[:, 1].any()
    assert changing(picture, patches).all()
    assert not changing(picture * 0, patches).any()


@pytest.mark.parametrize(
    ("most", "side", "stride", "count"),
    [(400, 4, 2, 169), (168, 4, 4, 49), (48, 7, 7, 16), (15, 14, 14, 4), (3, None, None, 0)],
)
def test_patches_are_as_fine_as_may_be(most: int, side: int | None, stride: int | None, count: int) -> None:
    patches = patches_within(28, 28, 0, most)

    if patches is None:
        assert side is None
    else:
        assert (patches.side, patches.stride, patches.count) == (side, stride, count)


def test_long_tensor_has_no_patches_that_are_few() -> None:
    assert patches_within(4, 90_000, 0, 400) is None
