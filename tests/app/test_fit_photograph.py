"""A photograph in colour fits the frame of its contract: against Pillow and NumPy, pixel by pixel."""

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.card import ImageInput, PhotographInput
from app.errors import InvalidRequest
from app.images import FORMATS, decode, open_limited
from app.images import fit as fit_gray
from app.photographs import (
    Photograph,
    background_of,
    colours_of,
    fit_colours,
    fit_photograph,
    looks_like_data_set,
)
from app.pictures import fit_by_looks, fit_photographs, fit_pictures, open_pictures

FRAME = PhotographInput(height=32, width=32)
GARMENT = ImageInput(height=28, width=28, box=28, centre="box")
WIDE = PhotographInput(height=32, width=64)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def fit(image: Image.Image, contract: PhotographInput = FRAME, kind: str = "PNG", **options: Any) -> Photograph:
    """As it comes: out of a file."""
    return fit_photograph(open_limited(file_of(image, kind, **options), 20_000_000), contract)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture whose border is of no one colour."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_picture_of_the_frames_size_stays_as_it_is() -> None:
    pixels = noise(32, 32)

    seen = fit(Image.fromarray(pixels))

    assert seen.pixels.dtype == np.uint8 and seen.warnings == ()
    assert np.array_equal(seen.pixels, pixels)


@pytest.mark.parametrize(("height", "width"), [(96, 64), (64, 96), (20, 10), (7, 30), (500, 300)])
@pytest.mark.parametrize("contract", [FRAME, WIDE])
def test_aspect_is_kept_and_the_rest_has_the_mean_colour_of_the_border(
    height: int, width: int, contract: PhotographInput
) -> None:
    pixels = noise(height, width)
    scale = min(contract.width / width, contract.height / height)
    size = (round(width * scale), round(height * scale))
    left, top = (contract.width - size[0]) // 2, (contract.height - size[1]) // 2
    at_border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    expected = np.empty((contract.height, contract.width, 3), np.uint8)
    expected[:] = np.rint(at_border.mean(axis=0))
    resized = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    expected[top : top + size[1], left : left + size[0]] = np.asarray(resized)

    assert np.array_equal(fit(Image.fromarray(pixels), contract).pixels, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_is_turned_as_its_exif_says(orientation: int) -> None:
    upright = noise(32, 32)
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation

    assert np.array_equal(fit(Image.fromarray(np.ascontiguousarray(turned)), exif=exif).pixels, upright)


def test_what_is_transparent_lies_over_white() -> None:
    layers = np.dstack([noise(32, 32), np.random.default_rng(1).choice(np.array([0, 128, 255], np.uint8), (32, 32))])
    colours, alpha = layers[..., :3].astype(float), layers[..., 3:] / 255

    seen = fit(Image.fromarray(layers)).pixels

    assert np.abs(seen - (255 + (colours - 255) * alpha)).max() <= 0.51
    assert (seen[layers[..., 3] == 0] == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_has_its_colours(mode: str) -> None:
    picture = Image.fromarray(noise(32, 32))
    if mode == "I;16":
        levels = np.random.default_rng(2).integers(0, 65_536, (32, 32)).astype(np.uint16)
        levels[0, 0] = 65_535
        image, expected = (
            Image.fromarray(levels),
            np.repeat((levels[..., None] * (255 / 65_535)).astype(np.uint8), 3, 2),
        )
    else:
        image = picture.convert(mode)
        expected = np.asarray(image.convert("RGB"))

    assert np.array_equal(fit(image, kind="TIFF").pixels, expected)


def product(height: int, width: int, colour: tuple[int, int, int], of: tuple[slice, slice]) -> NDArray[np.uint8]:
    """Red of the brightness of its place, on one colour."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = colour
    rows, columns = np.indices((height, width))[:, of[0], of[1]]
    pixels[of] = np.stack([100 + (rows + columns) % 50, 0 * rows, 0 * rows], axis=-1)
    return pixels


def test_margin_of_one_colour_is_cut_to_six_hundredths_of_what_is_on_it() -> None:
    """50 rows and 20 columns: a margin of 3, so that 56 become 28."""
    pixels = product(200, 160, (250, 240, 230), (slice(100, 150), slice(30, 50)))
    part = Image.fromarray(pixels[97:153, 27:53]).resize((13, 28), Image.Resampling.BICUBIC)
    expected = np.empty((28, 28, 3), np.uint8)
    expected[:] = (250, 240, 230)
    expected[:, 7:20] = np.asarray(part)

    assert np.array_equal(fit(Image.fromarray(pixels), PhotographInput(height=28, width=28)).pixels, expected)


def test_margin_may_reach_beyond_the_picture() -> None:
    """What touches the edge has a margin there, too."""
    pixels = product(100, 100, (255, 255, 255), (slice(50, 100), slice(48, 52)))

    seen = fit(Image.fromarray(pixels), PhotographInput(height=56, width=56)).pixels

    assert (seen[-3:] == 255).all() and (seen[:3] == 255).all()
    assert np.array_equal(seen[3:53, 26:30], pixels[50:, 48:52])


def test_border_of_a_few_levels_is_of_one_colour_and_one_of_many_is_not() -> None:
    pixels = np.full((100, 100, 3), 200, np.uint8)
    pixels[40:60, 40:60] = (20, 90, 30)
    pixels[0, ::2] -= 5
    plain = background_of(pixels)
    pixels[0], pixels[1:12, 0] = 100, 100

    assert plain == ((200, 200, 200), True)
    assert background_of(pixels) == ((172, 172, 172), False)  # (111 · 100 + 285 · 200) / 396 is 171.97


def test_a_speck_of_dirt_is_not_what_is_on_the_picture() -> None:
    pixels = product(400, 400, (255, 255, 255), (slice(100, 300), slice(100, 300)))
    clean = fit_colours(pixels, FRAME)
    pixels[380, 20] = 0

    assert np.array_equal(fit_colours(pixels, FRAME).pixels, clean.pixels)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_picture_of_one_colour_is_blank(mode: str) -> None:
    seen = fit(Image.new(mode, (50, 30), "#6496c8"))

    assert seen.warnings == ("blank",)
    assert len(np.unique(seen.pixels.reshape(-1, 3), axis=0)) == 1
    if mode == "RGB":
        assert seen.pixels[0, 0].tolist() == [0x64, 0x96, 0xC8]


def test_picture_with_hardly_any_contrast_is_blank() -> None:
    slope = np.repeat(np.linspace(100, 120, 64).astype(np.uint8)[np.newaxis, :, np.newaxis], 64, axis=0)

    assert fit_colours(np.repeat(slope, 3, axis=2), FRAME).warnings == ("blank",)
    assert fit_colours(np.concatenate([slope, slope, 2 * slope], axis=2), FRAME).warnings == ()


def test_large_jpeg_is_decoded_at_a_quarter() -> None:
    """Of 12 megapixels the decoder gives 1,000 × 750, the smallest of its sizes with 512 on the shorter side."""
    large = Image.fromarray(noise(24, 32)).resize((4_000, 3_000), Image.Resampling.BICUBIC)
    image = open_limited(file_of(large, "JPEG"), 20_000_000)
    seen = fit_photograph(image, FRAME).pixels
    whole = np.asarray(large.resize((32, 24), Image.Resampling.BOX))

    assert image.size == (1_000, 750)
    assert np.abs(seen[4:28].astype(int) - whole).mean() < 12


def test_long_thin_picture_has_a_place() -> None:
    seen = fit(Image.fromarray(noise(1, 3_000)))

    assert seen.pixels.shape == (32, 32, 3)


def test_truncated_file_is_refused() -> None:
    data = file_of(Image.fromarray(noise(64, 64)))

    with pytest.raises(InvalidRequest, match="is damaged or truncated"):
        colours_of(open_limited(data[: len(data) // 2], 10_000))


# --- which model a picture goes to -----------------------------------------------------------------------------------


def shirt(side: int, background: int = 0) -> NDArray[np.uint8]:
    """A square that does not fill the picture, so that it has not the geometry of the contract."""
    gray = np.full((side, side), background, np.uint8)
    gray[side // 4 : -side // 4, side // 4 : -side // 4] = 180
    return gray


def in_colour(gray: NDArray[np.uint8], red: int = 0) -> NDArray[np.uint8]:
    colours = np.repeat(gray[..., np.newaxis], 3, axis=2)
    colours[..., 0] += np.uint8(red)
    return colours


def test_garments_of_the_data_set_look_like_it(data: Path) -> None:
    """As they are, and at twice their size, which is no geometry of the contract's."""
    garments = np.frombuffer(
        gzip.decompress((data / "fashion-mnist/t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
    ).reshape(-1, 28, 28)
    few = garments[:1_000]
    doubled = [np.asarray(Image.fromarray(each).resize((56, 56), Image.Resampling.BICUBIC)) for each in few]

    assert all(looks_like_data_set(each, GARMENT) for each in garments)
    assert all(looks_like_data_set(in_colour(each), GARMENT) for each in few)
    assert not any(looks_like_data_set(255 - each, GARMENT) for each in few)
    assert np.mean([looks_like_data_set(each, GARMENT) for each in doubled]) >= 0.995


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (shirt(64), True),
        (shirt(65), False),
        (shirt(64)[:, :20], True),
        (shirt(40, background=29), True),
        (shirt(40, background=30), False),
        (255 - shirt(28), False),
        (in_colour(shirt(40), red=12), True),
        (in_colour(shirt(40), red=13), False),
        (noise(28, 28), False),
    ],
)
def test_picture_is_of_the_data_set_if_it_is_small_gray_and_dark_at_its_border(
    picture: NDArray[np.uint8], expected: bool
) -> None:
    assert looks_like_data_set(picture, GARMENT) is expected


@pytest.mark.parametrize("bright", [39, 40, 41])
def test_three_fifths_of_the_border_are_dark(bright: int) -> None:
    """Of 100 pixels."""
    picture = np.zeros((26, 26), np.uint8)
    places = [(0, x) for x in range(26)] + [(25, x) for x in range(26)] + [(y, 0) for y in range(1, 25)]
    for place in places[:bright]:
        picture[place] = 200

    assert looks_like_data_set(picture, GARMENT) is (bright <= 40)


@pytest.mark.parametrize("kind", FORMATS)
def test_each_file_is_fitted_as_it_would_be_alone(kind: str) -> None:
    """Whatever was decoded of it to look at it."""
    gray, white = in_colour(shirt(40)), in_colour(shirt(40, background=255))
    files = [file_of(Image.fromarray(pixels), kind) for pixels in (gray, noise(40, 40), white, noise(90, 50))]
    seen = fit_by_looks(open_pictures(files, 100_000), GARMENT, FRAME)
    [alone] = fit_pictures(open_pictures(files[:1], 100_000), GARMENT)

    assert [isinstance(each, Photograph) for each in seen] == [False, True, True, True]
    assert np.array_equal(seen[0].pixels, alone.pixels) and seen[0].warnings == alone.warnings
    for one, other in zip(seen[1:], fit_photographs(open_pictures(files[1:], 100_000), FRAME), strict=True):
        assert np.array_equal(one.pixels, other.pixels)
    assert np.array_equal(alone.pixels, fit_gray(decode(open_limited(files[0], 10_000)), GARMENT).pixels)


def test_small_gray_png_is_a_photograph_if_it_does_not_look_like_the_data_set() -> None:
    """Those are decoded before anybody looks."""
    paper = file_of(Image.fromarray(shirt(40, background=255)))
    [seen] = fit_by_looks(open_pictures([paper], 100_000), GARMENT, FRAME)

    assert isinstance(seen, Photograph)
    assert np.array_equal(seen.pixels, fit_photograph(open_limited(paper, 10_000), FRAME).pixels)
