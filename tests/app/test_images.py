"""Any picture becomes the array that the card asks for; what is none says so."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from app import images
from app.card import ImageInput
from app.errors import ContentTooLarge, InvalidRequest
from tests.conftest import SAMPLES

DIGIT = ImageInput(height=28, width=28, box=20, centre="mass")
GARMENT = ImageInput(height=28, width=28, box=28, centre="box")
PIXELS = 1_000_000
SEVEN = np.asarray(Image.open(SAMPLES / "seven.png"))


def encode(picture: Image.Image | NDArray[Any], format: str = "PNG", **options: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def enlarged(picture: NDArray[np.uint8], factor: int = 10) -> NDArray[np.uint8]:
    return picture.repeat(factor, 0).repeat(factor, 1)


def drawn_l() -> Image.Image:
    """A black L on white paper, right of the middle."""
    image = Image.new("L", (300, 200), 255)
    draw = ImageDraw.Draw(image)
    draw.rectangle((180, 40, 195, 159), fill=0)
    draw.rectangle((180, 145, 239, 159), fill=0)
    return image


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_lossless_formats_pass_an_mnist_picture_unchanged(format: str, options: dict[str, Any]) -> None:
    picture = images.read(encode(SEVEN, format, **options), DIGIT, PIXELS)

    assert picture.warnings == ()
    np.testing.assert_array_equal(picture.pixels, SEVEN)


def test_jpeg_is_close() -> None:
    picture = images.decode(encode(SEVEN, "JPEG", quality=100), PIXELS)

    assert np.abs(picture.astype(int) - SEVEN).max() <= 6


def as_mode(mode: str) -> Image.Image:
    gray = Image.fromarray(SEVEN)
    match mode:
        case "I;16":
            return Image.fromarray(SEVEN.astype(np.uint16) * 257)
        case "I":
            return Image.fromarray(SEVEN.astype(np.int32) * 257)
        case "F":
            return Image.fromarray(SEVEN.astype(np.float32) / 255)
        case "PA":
            return gray.convert("P").convert("PA")
        case _:
            return gray.convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_png_of_any_mode_passes_an_mnist_picture_unchanged(mode: str) -> None:
    np.testing.assert_array_equal(images.read(encode(as_mode(mode)), DIGIT, PIXELS).pixels, SEVEN)


@pytest.mark.parametrize("mode", ["I", "F", "CMYK", "LAB", "YCbCr"])
def test_tiff_of_any_mode_passes_an_mnist_picture_almost_unchanged(mode: str) -> None:
    image = Image.fromarray(SEVEN).convert("RGB").convert("LAB") if mode == "LAB" else as_mode(mode)
    decoded = images.decode(encode(image, "TIFF"), PIXELS)

    assert np.abs(decoded.astype(int) - SEVEN).max() <= (1 if mode != "LAB" else 3)


def test_one_bit_picture_keeps_its_pixels() -> None:
    decoded = images.decode(encode(Image.fromarray(SEVEN > 127)), PIXELS)

    np.testing.assert_array_equal(decoded, np.where(SEVEN > 127, 255, 0))


def test_cmyk_jpeg_is_read() -> None:
    decoded = images.decode(encode(Image.fromarray(SEVEN).convert("CMYK"), "JPEG", quality=100), PIXELS)

    assert np.abs(decoded.astype(int) - SEVEN).max() <= 8


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_a_transparent_background_stays_visible(ink: int) -> None:
    layers = np.zeros((28, 28, 4), np.uint8)
    layers[..., :3] = ink
    layers[..., 3] = SEVEN
    picture = images.read(encode(layers), DIGIT, PIXELS)

    np.testing.assert_array_equal(picture.pixels, SEVEN)
    assert picture.warnings == (("inverted",) if ink == 0 else ())


def test_palette_with_a_transparent_colour_is_resolved() -> None:
    image = Image.fromarray((SEVEN > 127).astype(np.uint8))
    image.putpalette([255, 0, 255, 0, 0, 0])
    decoded = images.decode(encode(image, "GIF", transparency=0), PIXELS)

    np.testing.assert_array_equal(decoded, np.where(SEVEN > 127, 0, 255))


def test_fully_transparent_picture_is_blank() -> None:
    assert images.read(encode(np.zeros((40, 40, 4), np.uint8)), DIGIT, PIXELS).warnings == ("blank",)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    turned = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.T,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }[orientation](SEVEN)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(np.ascontiguousarray(turned), exif=exif)

    np.testing.assert_array_equal(images.read(data, DIGIT, PIXELS).pixels, SEVEN)


def test_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.fromarray(SEVEN), Image.fromarray(255 - SEVEN)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])

    np.testing.assert_array_equal(images.decode(data, PIXELS), SEVEN)


def test_dark_ink_on_light_paper_is_turned_round() -> None:
    picture = images.read(encode(255 - SEVEN), DIGIT, PIXELS)

    assert picture.warnings == ("inverted",)
    np.testing.assert_array_equal(picture.pixels, SEVEN)


def test_enlarged_digit_is_brought_back_to_its_size() -> None:
    picture = images.read(encode(enlarged(SEVEN)), DIGIT, PIXELS)

    assert np.abs(picture.pixels.astype(int) - SEVEN).mean() < 3


def test_ink_fills_the_box_and_its_mass_is_in_the_middle() -> None:
    picture = images.read(encode(drawn_l()), DIGIT, PIXELS).pixels.astype(float)
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))

    assert rows[-1] - rows[0] + 1 == 20
    assert columns[-1] - columns[0] + 1 == 10
    assert abs(picture.sum(1) @ np.arange(28) / picture.sum() - 14) <= 0.5
    assert abs(picture.sum(0) @ np.arange(28) / picture.sum() - 14) <= 0.5


def test_garment_fills_the_frame_and_its_box_is_in_the_middle() -> None:
    picture = images.read(encode(drawn_l()), GARMENT, PIXELS).pixels
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))

    assert (rows[0], rows[-1]) == (0, 27)
    assert (columns[0], columns[-1]) == (7, 20)


def test_ink_far_from_the_middle_is_noted() -> None:
    image = Image.new("L", (300, 300), 255)
    image.paste(drawn_l().crop((180, 40, 240, 160)), (230, 170))

    assert images.read(encode(image), DIGIT, PIXELS).warnings == ("inverted", "off_centre")


@pytest.mark.parametrize("level", [0, 128, 255])
def test_empty_sheet_is_blank(level: int) -> None:
    picture = images.read(encode(np.full((64, 48), level, np.uint8)), DIGIT, PIXELS)

    assert picture.warnings == ("blank",)
    assert not picture.pixels.any()


def test_paper_noise_is_blank() -> None:
    noise = np.random.default_rng(1).normal(220, 2, (300, 300)).astype(np.uint8)

    assert images.read(encode(noise), DIGIT, PIXELS).warnings == ("blank",)


def test_single_pixel_of_ink_is_not_an_error() -> None:
    dot = np.zeros((9, 9), np.uint8)
    dot[2, 3] = 255

    assert images.read(encode(dot), DIGIT, PIXELS).pixels.shape == (28, 28)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_odd_sizes_are_answered(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, size, dtype=np.uint8)

    assert images.read(encode(pixels), DIGIT, PIXELS).pixels.shape == (28, 28)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"just a text", "is not an image that can be decoded: PNG, JPEG, WebP, GIF, BMP, TIFF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image that can be decoded"),
        (encode(drawn_l(), "JPEG")[:-400], "is damaged or truncated"),
        (encode(drawn_l())[:200], "is damaged or truncated"),
        (encode(drawn_l(), "ICO"), "is not an image that can be decoded"),
    ],
    ids=["empty", "text", "svg", "cut JPEG", "cut PNG", "format not allowed"],
)
def test_what_is_no_picture_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        images.read(data, DIGIT, PIXELS)


def bomb(side: int) -> bytes:
    """A PNG that says it has side × side pixels and ends there: decoding it would fail in another way."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + crc + struct.pack(">I", 0) + b"IDAT"


@pytest.mark.parametrize("side", [1_001, 9_000, 12_000, 60_000])
def test_too_many_pixels_are_refused_before_they_are_decoded(side: int) -> None:
    """Also where Pillow's own limits would warn (from 9,000 × 9,000 or so) or raise."""
    with pytest.raises(ContentTooLarge, match="1,000,000"):
        images.read(bomb(side), DIGIT, PIXELS)


def test_large_photograph_is_reduced_before_it_is_analysed() -> None:
    photo = encode(drawn_l().resize((3_000, 2_000)), "JPEG")

    assert max(images.decode(photo, 10_000_000).shape) <= images.WORKING_SIDE
    small = images.read(encode(drawn_l()), DIGIT, PIXELS).pixels.astype(int)
    assert np.abs(images.read(photo, DIGIT, 10_000_000).pixels - small).mean() < 6
