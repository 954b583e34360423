"""Pictures of the data sets, as they are when they were uploaded: what the service makes of them, pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from app import images
from app.card import ImageInput
from tests.training.datasets import bars
from training import uploaded
from training.recipe import DIGIT_INPUT, GARMENT_INPUT

contracts = pytest.mark.parametrize("contract", [DIGIT_INPUT, GARMENT_INPUT], ids=["digits", "clothing"])


def strokes(count: int) -> uploaded.Pictures:
    """Light, soft strokes on black, none of them in the middle, some faint, one that is blank."""
    drawn = bars(count, seed=3).images.numpy()
    drawn[:, :, ::3] //= 2
    drawn[drawn < 70] = 0
    drawn[-1] = 10
    return drawn


@contracts
def test_pictures_fit_as_the_service_makes_them_fit(contract: ImageInput) -> None:
    """However they were enlarged; dark on white paper, which most drawings are, comes to the same."""
    pictures = strokes(2 * len(uploaded.ENLARGED))
    ours = uploaded.as_uploaded(pictures, contract)

    for place, picture in enumerate(pictures):
        factor, how = uploaded.ENLARGED[place % len(uploaded.ENLARGED)]
        large = np.asarray(Image.fromarray(picture).resize((28 * factor, 28 * factor), how))
        assert np.array_equal(ours[place], images.fit(large, contract).pixels)
        assert np.array_equal(ours[place], images.fit(255 - large, contract).pixels)
    assert not ours[-1].any()
    assert ours[:-1].max(axis=(1, 2)).tolist() == [255] * (len(pictures) - 1)


@contracts
@pytest.mark.parametrize("side", [28, 64, 100, 256])
def test_noise_fits_as_the_service_makes_it_fit(contract: ImageInput, side: int) -> None:
    service = [images.fit(noise, contract).pixels for noise in uploaded.uniform_noise(5, side)]

    assert np.array_equal(uploaded.noise_as_uploaded(5, side, contract), np.stack(service))


def test_large_noise_is_averaged_to_grey() -> None:
    """Why a warning of noise cannot be promised: what the model is given is no noise any more."""
    spread = [
        uploaded.noise_as_uploaded(5, side, GARMENT_INPUT)[:, 4:24, 4:24].std(axis=(1, 2)).mean() for side in (28, 256)
    ]

    assert spread[1] < spread[0] / 3


def test_every_way_of_enlarging_is_met_as_often() -> None:
    assert [uploaded._ways(24).count(how) for how in uploaded.ENLARGED] == [2] * 12
