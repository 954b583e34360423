"""Digits that a program draws are there, differ, and are the same again with the same seed."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from training import drawn_digits
from training.drawn_digits import LETTERS, WAYS, drawn_digit, fonts, typed


def test_every_digit_has_several_ways_and_all_points_are_in_the_box() -> None:
    assert sorted(WAYS) == list(range(10))
    for ways in WAYS.values():
        assert len(ways) >= 2
        for way in ways:
            numbers = [int(number) for point in way.split() if "," in point for number in point.split(",")]
            assert min(numbers) >= 0
            assert max(numbers) <= 100


@pytest.mark.parametrize("digit", range(10))
def test_a_drawn_digit_is_light_ink_that_stays_off_the_border(digit: int) -> None:
    rng = np.random.default_rng(digit)
    for _ in range(40):
        picture = drawn_digit(digit, rng)

        assert picture.shape == (96, 96)
        assert picture.max() == 255
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (border > 0).mean() < 0.1


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    one, same, other = (drawn_digit(4, np.random.default_rng(seed)) for seed in (1, 1, 2))

    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_points_that_two_strokes_share_stay_shared() -> None:
    flag, foot = drawn_digits._strokes("~ 10,30 35,20 55,0 | ~ 55,0 50,50 50,100", np.random.default_rng(0))

    np.testing.assert_array_equal(flag[-1], foot[0])


def test_a_curve_goes_through_its_points_and_a_closed_one_is_smooth_where_it_closes() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    curve = drawn_digits._through(points)

    for place, point in enumerate(points):
        np.testing.assert_allclose(curve[place * drawn_digits.POINTS_OF_A_CURVE], point, atol=1e-12)
    first, last = curve[1] - curve[0], curve[-1] - curve[-2]
    cosine = first @ last / np.linalg.norm(first) / np.linalg.norm(last)
    assert cosine > 0.9


@pytest.mark.parametrize("file", fonts(), ids=lambda file: file.stem)
def test_every_font_has_all_digits_and_letters(file: object) -> None:
    font = ImageFont.truetype(str(file), 40)

    def glyph(character: str) -> bytes:
        sheet = Image.new("L", (64, 64))
        ImageDraw.Draw(sheet).text((32, 32), character, fill=255, font=font, anchor="mm")
        return sheet.tobytes()

    missing = glyph("\ufffe")
    glyphs = {character: glyph(character) for character in "0123456789" + LETTERS}
    assert all(any(each) and each != missing for each in glyphs.values())
    assert len(set(glyphs.values())) == len(glyphs)


def test_what_is_typed_can_be_seen() -> None:
    rng = np.random.default_rng(0)

    assert all(typed(character, rng).max() > 200 for character in "0123456789" + LETTERS for _ in range(3))


def test_no_letter_is_one_that_digits_look_like() -> None:
    assert not set(LETTERS) & set("BIOSZbgiloqsz0123456789")
