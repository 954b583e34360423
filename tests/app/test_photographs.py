"""Photographs of paper, made up, fit as the drawing alone does: the right ink is found, whole, and nothing else."""

import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from app import images
from app.card import ImageInput
from app.pictures import fit_sheets, open_pictures
from tests.photographs import KINDS, Photograph, drawn, photograph

DIGIT = ImageInput(height=28, width=28, box=20, centre="mass")
SEEDS = range(100, 120)
# Of twenty: where light ends in an edge that is darker than the ink, and where specks lie upon strokes.
HARD = {"shadow": 1, "specks": 3}
LIKE = 0.9


def taken(kind: str) -> list[Photograph]:
    return [photograph(kind, seed % 10, seed) for seed in SEEDS]


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    return images.decode(images.open_limited(jpeg, 1_000_000))


def alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The correlation of their pixels, each the mean of those around it: an edge that is shifted by a part of a pixel
    is the same edge, and the whole may be shifted by one."""
    first, second = (np.sum(shifted(each.astype(np.float64)), axis=0) for each in (one, other))
    return max(float(np.corrcoef(first.ravel(), each.ravel())[0, 1]) for each in shifted(second))


def shifted(levels: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [np.roll(levels, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_photograph_fits_as_the_drawing_does(kind: str) -> None:
    """The one object on it, at its place in the upload's own pixels."""
    unlike = []
    for seen in taken(kind):
        [sheet] = fit_sheets(open_pictures([seen.jpeg], 1_000_000), DIGIT)
        [only] = sheet.objects
        likeness = alike(sheet.picture.pixels, images.fit(seen.clean, DIGIT).pixels)
        left, top, right, bottom = seen.box
        off = int(np.abs(np.array(only.box) - (top, bottom, left, right)).max())
        if likeness < LIKE or off > max(4, 0.05 * (bottom - top)):
            unlike.append((seen.digit, likeness, off))

    assert len(unlike) <= HARD.get(kind, 0), unlike


@pytest.mark.parametrize("kind", KINDS)
def test_polarity_is_that_of_the_strokes(kind: str) -> None:
    for seen in taken(kind):
        assert ("inverted" in images.fit(decoded(seen.jpeg), DIGIT).warnings) == (kind != "chalk")


def test_photographed_digits_are_recognised(client: TestClient) -> None:
    """All but one of 280: of each kind twenty."""
    wrong = []
    for kind in KINDS:
        files = [("file", seen.jpeg) for seen in taken(kind)]
        answers = client.post("/predict/digits", files=files).json()["predictions"]
        wrong += [
            (kind, seen.digit, answer["label"])
            for seen, answer in zip(taken(kind), answers, strict=True)
            if answer["label"] != str(seen.digit)
        ]

    assert len(wrong) <= 1, wrong


@pytest.mark.parametrize("width", [0.004, 0.02, 0.05, 0.09])
@pytest.mark.parametrize("inverted", [False, True])
def test_drawings_of_any_pen_are_recognised(client: TestClient, width: float, inverted: bool) -> None:
    """From one pixel of three hundred to strokes that nearly merge."""
    files = []
    for digit in range(10):
        file, levels = io.BytesIO(), drawn(digit, 300, width / 2)
        Image.fromarray(255 - levels if inverted else levels).save(file, "PNG")
        files.append(("file", file.getvalue()))
    answers = client.post("/predict/digits", files=files).json()["predictions"]

    assert [answer["label"] for answer in answers] == [str(digit) for digit in range(10)]


def test_thin_strokes_stay_visible_and_thick_ones_as_they_are() -> None:
    faint, thin, pen, thick = (
        images.fit(drawn(3, 300, width), DIGIT).pixels.mean() for width in (0.002, 0.02, 0.08, 0.1)
    )

    assert faint > 0.6 * pen
    assert thin < pen < thick


def test_digit_in_a_frame_is_found_on_a_drawing_too() -> None:
    framed = np.zeros((300, 300), np.uint8)
    framed[8:-8, 8:-8] = 255 - drawn(6, 284)

    np.testing.assert_array_equal(images.fit(framed, DIGIT).pixels, images.fit(255 - drawn(6, 284), DIGIT).pixels)


def test_photograph_in_a_plain_margin_is_found() -> None:
    seen = taken("gradient")[0]
    inside = decoded(seen.jpeg)
    framed = np.zeros((inside.shape[0] + 60, inside.shape[1] + 60), np.uint8)
    framed[30:-30, 30:-30] = inside

    assert alike(images.fit(framed, DIGIT).pixels, images.fit(seen.clean, DIGIT).pixels) > LIKE


def test_digit_of_a_few_pixels_in_a_large_photograph_has_all_of_them() -> None:
    """It is found on a reduced copy, and drawn from the pixels that there are."""
    large = np.full((512, 512), 225.0)
    clean = drawn(8, 60, 0.05)
    large[300:360, 400:460] -= 150.0 * (clean / 255)
    noisy = (large + np.random.default_rng(1).normal(0, 3, large.shape)).clip(0, 255).astype(np.uint8)

    assert alike(images.fit(noisy, DIGIT).pixels, images.fit(clean, DIGIT).pixels) > 0.95


@pytest.mark.parametrize("digit", [2, 3, 5, 8])
def test_strokes_as_wide_as_the_paper_between_them_are_the_ink(digit: int) -> None:
    """Of a marker, filling the photograph."""
    clean = drawn(digit, 400, 0.13, 0.9)
    levels = (215 - 170.0 * clean / 255) * np.linspace(1, 0.8, 400)
    noisy = (levels + np.random.default_rng(1).normal(0, 4, levels.shape)).clip(0, 255).astype(np.uint8)[40:-40, 30:-30]
    picture = images.fit(noisy, DIGIT)

    assert "inverted" in picture.warnings
    assert alike(picture.pixels, images.fit(clean, DIGIT).pixels) > LIKE
