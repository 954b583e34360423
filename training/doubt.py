"""What is no digit and no garment, and how well a score tells it from what is: pictures of several kinds, and the area
under the ROC curve against each. Knows no network."""

from collections.abc import Mapping
from itertools import cycle, islice, product

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from app.card import ImageInput, PhotographInput
from app.images import fit
from app.photographs import fit_photograph
from training.drawn_digits import LETTERS, typed
from training.novelty import roc_auc, shuffled_pixels
from training.uploaded import Pictures, uniform_noise

ROWS = 1000  # of each kind
CROPS = (48, 96, 160, 240)  # sides of what is cut out of photographs
COLOURED_ROWS, COLOURED_SIDES = 500, (100, 300)


def strangers(own: Pictures, other: Pictures, contract: ImageInput) -> dict[str, Pictures]:
    """By kind, [n, height, width]: `own` are test pictures of what the model knows, `other` of another subject."""
    side = own.shape[1]
    return {
        "the_other_subject": other,
        "uniform_noise": uniform_noise(ROWS, side),
        "shuffled_pixels": shuffled_pixels(own[:ROWS]),
        "blank_pages": np.zeros((1, side, side), np.uint8),
        "letters": typed_letters(ROWS, contract),
        "photographs": crops_of_photographs(ROWS, contract),
    }


def strange_photographs(digits: Pictures, contract: PhotographInput, seed: int = 1) -> dict[str, Pictures]:
    """The same in colour, by kind, [n, height, width, 3]: `digits` light on dark, shown as people write them."""
    rng = np.random.default_rng(seed)
    written = [Image.fromarray(255 - image) for image in digits[:COLOURED_ROWS]]
    return {
        "uniform_noise": rng.integers(0, 256, (COLOURED_ROWS, contract.height, contract.width, 3), dtype=np.uint8),
        "digits": np.stack([fit_photograph(image, contract).pixels for image in written]),
        "photographs": np.stack([fit_photograph(image, contract).pixels for image in _coloured_crops(rng)]),
    }


def _coloured_crops(rng: np.random.Generator) -> list[Image.Image]:
    photographs = load_sample_images().images
    return [
        Image.fromarray(_crop(photographs[place % len(photographs)], int(rng.integers(*COLOURED_SIDES)), rng))
        for place in range(COLOURED_ROWS)
    ]


def typed_letters(count: int, contract: ImageInput, seed: int = 0) -> Pictures:
    rng = np.random.default_rng(seed)
    letters = rng.choice(list(LETTERS), count)
    return np.stack([fit(typed(letter, rng), contract).pixels for letter in letters])


def crops_of_photographs(count: int, contract: ImageInput, seed: int = 0) -> Pictures:
    """Of the two photographs that come with scikit-learn, a temple and a flower, gray, made to fit as uploads are;
    plain sky, which is blank, is left out."""
    rng = np.random.default_rng(seed)
    photographs = [photograph.mean(2).astype(np.uint8) for photograph in load_sample_images().images]
    places = cycle(product(photographs, CROPS))
    seen = (fit(_crop(photograph, side, rng), contract) for photograph, side in places)
    return np.stack([each.pixels for each in islice((each for each in seen if "blank" not in each.warnings), count)])


def _crop(photograph: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    top, left = (int(rng.integers(0, length - side)) for length in photograph.shape[:2])
    return photograph[top : top + side, left : left + side]


def figures(
    like: NDArray[np.floating], unlike: Mapping[str, NDArray[np.floating]], warned: Mapping[str, NDArray[np.bool_]]
) -> dict[str, float]:
    """Scores, the larger the stranger."""
    areas = {f"roc_auc_against_{kind}": roc_auc(like, scores) for kind, scores in unlike.items()}
    return areas | {f"{kind}_warned_of": float(answers.mean()) for kind, answers in warned.items()}
