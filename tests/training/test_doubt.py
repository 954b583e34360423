"""Strangers are what they are called, and the figures are scikit-learn's."""

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from app.card import PhotographInput
from app.photographs import fit_photograph
from training import doubt
from training.drawn_digits import drawn_digit
from training.recipe import DIGIT_INPUT

RNG = np.random.default_rng(0)
OWN = np.stack([drawn_digit(place % 10, RNG, side=28) for place in range(40)])
STRANGERS = doubt.strangers(OWN, OWN[::-1], DIGIT_INPUT)


def test_all_kinds_are_pictures_of_the_contract() -> None:
    assert all(each.dtype == np.uint8 and each.shape[1:] == (28, 28) for each in STRANGERS.values())
    assert {"uniform_noise", "letters", "photographs", "blank_pages", "the_other_subject"} <= set(STRANGERS)


def test_letters_and_photographs_can_be_seen_and_are_the_same_again() -> None:
    again = doubt.strangers(OWN, OWN, DIGIT_INPUT)
    for kind in ("letters", "photographs"):
        assert (STRANGERS[kind].max((1, 2)) > 128).mean() > 0.95
        np.testing.assert_array_equal(STRANGERS[kind], again[kind])
    assert len(np.unique(STRANGERS["photographs"], axis=0)) > 0.95 * doubt.ROWS


def test_strange_photographs_are_coloured_and_digits_as_people_write_them() -> None:
    contract = PhotographInput(height=24, width=20)
    found = doubt.strange_photographs(OWN, contract)

    assert list(found) == ["uniform_noise", "digits", "photographs"]
    assert all(each.dtype == np.uint8 and each.shape[1:] == (24, 20, 3) for each in found.values())
    assert len(found["digits"]) == len(OWN)
    fitted = [fit_photograph(Image.fromarray(255 - image), contract).pixels for image in OWN]
    np.testing.assert_array_equal(found["digits"], fitted)
    # A temple's sky is bluer than it is red, a flower redder than it is blue.
    warmer = (found["photographs"][..., 0].mean((1, 2)) > found["photographs"][..., 2].mean((1, 2))).mean()
    assert 0.1 < warmer < 0.9
    np.testing.assert_array_equal(doubt.strange_photographs(OWN, contract)["photographs"], found["photographs"])


def test_blank_pages_are_blank() -> None:
    assert not STRANGERS["blank_pages"].any()


def test_the_areas_are_scikit_learns_and_the_shares_are_counted() -> None:
    like, unlike = RNG.normal(size=500), RNG.normal(1, size=300)
    found = doubt.figures(like, {"letters": unlike}, {"test": np.array([True, False, False, False])})
    truth = np.repeat([0, 1], [500, 300])

    assert found["roc_auc_against_letters"] == pytest.approx(roc_auc_score(truth, np.concatenate([like, unlike])))
    assert found["test_warned_of"] == 0.25
