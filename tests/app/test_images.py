"""Any picture becomes the array that the card asks for; what is none says so."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, PngImagePlugin

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


def decode(data: bytes, max_pixels: int = PIXELS) -> NDArray[np.uint8]:
    return images.decode(images.open_limited(data, max_pixels))


def read(data: bytes, contract: ImageInput = DIGIT, max_pixels: int = PIXELS) -> images.Picture:
    return images.fit(decode(data, max_pixels), contract)


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
    picture = read(encode(SEVEN, format, **options), DIGIT, PIXELS)

    assert picture.warnings == ()
    np.testing.assert_array_equal(picture.pixels, SEVEN)


def test_jpeg_is_close() -> None:
    picture = decode(encode(SEVEN, "JPEG", quality=100), PIXELS)

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
    np.testing.assert_array_equal(read(encode(as_mode(mode))).pixels, SEVEN)


@pytest.mark.parametrize("mode", ["I", "F", "CMYK", "LAB", "YCbCr"])
def test_tiff_of_any_mode_passes_an_mnist_picture_almost_unchanged(mode: str) -> None:
    image = Image.fromarray(SEVEN).convert("RGB").convert("LAB") if mode == "LAB" else as_mode(mode)
    decoded = decode(encode(image, "TIFF"), PIXELS)

    assert np.abs(decoded.astype(int) - SEVEN).max() <= (1 if mode != "LAB" else 3)


def test_one_bit_picture_keeps_its_pixels() -> None:
    decoded = decode(encode(Image.fromarray(SEVEN > 127)), PIXELS)

    np.testing.assert_array_equal(decoded, np.where(SEVEN > 127, 255, 0))


def test_cmyk_jpeg_is_read() -> None:
    decoded = decode(encode(Image.fromarray(SEVEN).convert("CMYK"), "JPEG", quality=100), PIXELS)

    assert np.abs(decoded.astype(int) - SEVEN).max() <= 8


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_a_transparent_background_stays_visible(ink: int) -> None:
    layers = np.zeros((28, 28, 4), np.uint8)
    layers[..., :3] = ink
    layers[..., 3] = SEVEN
    picture = read(encode(layers), DIGIT, PIXELS)

    np.testing.assert_array_equal(picture.pixels, SEVEN)
    assert picture.warnings == (("inverted",) if ink == 0 else ())


def test_palette_with_a_transparent_colour_is_resolved() -> None:
    image = Image.fromarray((SEVEN > 127).astype(np.uint8))
    image.putpalette([255, 0, 255, 0, 0, 0])
    decoded = decode(encode(image, "GIF", transparency=0), PIXELS)

    np.testing.assert_array_equal(decoded, np.where(SEVEN > 127, 0, 255))


def test_fully_transparent_picture_is_blank() -> None:
    assert read(encode(np.zeros((40, 40, 4), np.uint8)), DIGIT, PIXELS).warnings == ("blank",)


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

    np.testing.assert_array_equal(read(data, DIGIT, PIXELS).pixels, SEVEN)


def test_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.fromarray(SEVEN), Image.fromarray(255 - SEVEN)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])

    np.testing.assert_array_equal(decode(data), SEVEN)


def test_dark_ink_on_light_paper_is_turned_round() -> None:
    picture = read(encode(255 - SEVEN), DIGIT, PIXELS)

    assert picture.warnings == ("inverted",)
    np.testing.assert_array_equal(picture.pixels, SEVEN)


def test_enlarged_digit_is_brought_back_to_its_size() -> None:
    picture = read(encode(enlarged(SEVEN)), DIGIT, PIXELS)

    assert np.abs(picture.pixels.astype(int) - SEVEN).mean() < 3


def test_ink_fills_the_box_and_its_mass_is_in_the_middle() -> None:
    picture = read(encode(drawn_l()), DIGIT, PIXELS).pixels.astype(float)
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))

    assert rows[-1] - rows[0] + 1 == 20
    assert columns[-1] - columns[0] + 1 == 10
    assert abs(picture.sum(1) @ np.arange(28) / picture.sum() - 14) <= 0.5
    assert abs(picture.sum(0) @ np.arange(28) / picture.sum() - 14) <= 0.5


def test_garment_fills_the_frame_and_its_box_is_in_the_middle() -> None:
    picture = read(encode(drawn_l()), GARMENT, PIXELS).pixels
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))

    assert (rows[0], rows[-1]) == (0, 27)
    assert (columns[0], columns[-1]) == (7, 20)


def test_ink_far_from_the_middle_is_noted() -> None:
    image = Image.new("L", (300, 300), 255)
    image.paste(drawn_l().crop((180, 40, 240, 160)), (230, 170))

    assert read(encode(image), DIGIT, PIXELS).warnings == ("inverted", "off_centre")


@pytest.mark.parametrize("level", [0, 128, 255])
def test_empty_sheet_is_blank(level: int) -> None:
    picture = read(encode(np.full((64, 48), level, np.uint8)), DIGIT, PIXELS)

    assert picture.warnings == ("blank",)
    assert not picture.pixels.any()


def test_paper_noise_is_blank() -> None:
    noise = np.random.default_rng(1).normal(220, 2, (300, 300)).astype(np.uint8)

    assert read(encode(noise), DIGIT, PIXELS).warnings == ("blank",)


def test_single_pixel_of_ink_is_not_an_error() -> None:
    dot = np.zeros((9, 9), np.uint8)
    dot[2, 3] = 255

    assert read(encode(dot), DIGIT, PIXELS).pixels.shape == (28, 28)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_odd_sizes_are_answered(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, size, dtype=np.uint8)

    assert read(encode(pixels), DIGIT, PIXELS).pixels.shape == (28, 28)


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
        read(data, DIGIT, PIXELS)


def bomb(side: int) -> bytes:
    """A PNG that says it has side × side pixels and ends there: decoding it would fail in another way."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + crc + struct.pack(">I", 0) + b"IDAT"


@pytest.mark.parametrize("side", [1_001, 9_000, 12_000, 60_000])
def test_too_many_pixels_are_refused_before_they_are_decoded(side: int) -> None:
    """Also where Pillow's own limits would warn (from 9,000 × 9,000 or so) or raise."""
    with pytest.raises(ContentTooLarge, match=f"has {side} × {side} pixels; 1,000,000 are left"):
        images.open_limited(bomb(side), PIXELS)


def test_limit_may_be_set_beyond_pillows_own() -> None:
    assert images.open_limited(bomb(15_000), 300_000_000).size == (15_000, 15_000)


def test_side_that_is_too_long_is_refused() -> None:
    with pytest.raises(ContentTooLarge, match="has 70000 × 1 pixels; at most 65,535 on a side"):
        images.open_limited(encode(np.zeros((1, 70_000), np.uint8)), PIXELS)


@pytest.mark.parametrize("begin", [16, 2**31, 2**63 - 1, 2**64 - 1])
def test_a_large_tiff_whose_directory_lies_nowhere_is_no_picture(begin: int) -> None:
    with pytest.raises(InvalidRequest, match="is not an image that can be decoded"):
        images.open_limited(b"II+\0\x08\0\0\0" + struct.pack("<Q", begin), 1_000)


def test_jpeg_that_would_be_decoded_over_and_over_is_refused() -> None:
    """A progressive JPEG whose last scan is repeated: each repetition costs a pass and almost no bytes."""
    data = encode(drawn_l(), "JPEG", progressive=True)
    last = data.rindex(images.START_OF_SCAN)
    images.open_limited(data, PIXELS)

    with pytest.raises(ContentTooLarge, match="is a JPEG of 206 scans; at most 100 are allowed"):
        images.open_limited(data[:last] + data[last:-2] * 201 + data[-2:], PIXELS)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_sixteen_bit_picture_may_use_fewer_bits(bits: int) -> None:
    values = np.rint(SEVEN / 255 * (2**bits - 1)).astype(np.uint16)

    assert np.abs(decode(encode(values)).astype(int) - SEVEN).max() <= 1


@pytest.mark.parametrize("scale", [1, 255, 1_023, 1e9])
def test_floating_point_picture_may_have_any_scale(scale: float) -> None:
    values = (SEVEN / 255 * scale).astype(np.float32)
    values[0, 0], values[0, 1] = np.nan, -1

    assert np.abs(decode(encode(values, "TIFF")).astype(int) - SEVEN).max() <= 1


def test_large_sixteen_bit_picture_is_reduced_as_an_eight_bit_one_is() -> None:
    large = enlarged(SEVEN, 40)
    eight, sixteen = decode(encode(large), 2_000_000), decode(encode(large.astype(np.uint16) * 257), 2_000_000)

    assert sixteen.shape == (1_120 // 3, 1_120 // 3)
    assert np.abs(eight[: len(sixteen), : len(sixteen)].astype(int) - sixteen).max() <= 1


@pytest.mark.parametrize("inverted", [False, True])
def test_picture_with_a_transparent_margin_keeps_its_own_background(inverted: bool) -> None:
    layers = np.zeros((400, 400, 2), np.uint8)
    layers[60:340, 60:340, 0] = enlarged(255 - SEVEN if inverted else SEVEN)
    layers[60:340, 60:340, 1] = 255
    alone = read(encode(layers[60:340, 60:340, 0]))

    np.testing.assert_array_equal(read(encode(layers)).pixels, alone.pixels)


def test_solid_stroke_on_nothing_is_ink_not_a_picture() -> None:
    layers = np.zeros((100, 100, 2), np.uint8)
    layers[20:80, 45:55, 1] = 255

    assert read(encode(layers)).pixels.max() == 255


def test_large_photograph_is_reduced_before_it_is_analysed() -> None:
    photo = encode(drawn_l().resize((3_000, 2_000)), "JPEG")

    assert max(decode(photo, 10_000_000).shape) <= images.WORKING_SIDE
    small = read(encode(drawn_l()), DIGIT, PIXELS).pixels.astype(int)
    assert np.abs(read(photo, DIGIT, 10_000_000).pixels - small).mean() < 6


def test_text_that_inflates_beside_a_picture_is_refused_before_it_does() -> None:
    file, text = io.BytesIO(), PngImagePlugin.PngInfo()
    text.add_text("comment", "a" * 10_000_000, zip=True)
    Image.new("RGB", (2, 2)).save(file, "PNG", pnginfo=text)
    assert len(file.getvalue()) < 20_000

    with pytest.raises(InvalidRequest, match="is not an image that can be decoded"):
        images.open_limited(file.getvalue(), 1_000)


RED, GREEN = (200, 0, 0), (0, 102, 0)  # as light as each other, in gray levels


def red_on_green(mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (300, 200), GREEN)
    image.paste(RED, (0, 0, 300, 200), Image.eval(drawn_l(), lambda level: 255 - level))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("format", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB"), ("TIFF", "CMYK")]
)
def test_colours_of_equal_lightness_are_told_apart(format: str, mode: str) -> None:
    """By the channel with the most contrast, since the gray levels have none."""
    picture = read(encode(red_on_green(mode), format))
    plain = read(encode(drawn_l()))

    assert np.ptp(np.asarray(red_on_green().convert("L"))) <= 1
    assert "blank" not in picture.warnings
    assert np.abs(picture.pixels.astype(int) - plain.pixels).mean() < 3


def test_colours_of_a_large_jpeg_are_told_apart() -> None:
    """Of which only the gray levels are decoded at first, at a quarter of its size, lying on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = encode(red_on_green().resize((3_000, 2_000)).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)
    small = read(encode(drawn_l())).pixels.astype(int)

    assert np.abs(read(photo, max_pixels=10_000_000).pixels - small).mean() < 6


def test_blank_sheet_of_colour_is_blank() -> None:
    noise = np.random.default_rng(1).normal((220, 200, 180), 4, (300, 300, 3)).astype(np.uint8)

    assert read(encode(noise)).warnings == ("blank",)
    assert read(encode(noise, "JPEG")).warnings == ("blank",)


def test_another_object_is_noted_and_a_speck_is_not() -> None:
    """A second one of comparable size, apart from the first; of what it is, nobody knows yet."""
    one = Image.new("L", (400, 300), 255)
    one.paste(drawn_l().crop((170, 30, 250, 170)), (100, 80))
    two, speck = one.copy(), one.copy()
    two.paste(drawn_l().crop((170, 30, 250, 170)), (220, 80))
    speck.paste(0, (280, 150, 288, 158))

    assert read(encode(one)).warnings == ("inverted",)
    assert read(encode(speck)).warnings == ("inverted",)
    assert read(encode(two)).warnings == ("inverted", "several_objects")
    assert "several_objects" not in read(encode(two), GARMENT).warnings


def test_several_things_in_the_models_own_geometry_are_not_noted() -> None:
    pair = np.zeros((28, 28), np.uint8)
    pair[4:24, 8:11] = pair[4:24, 17:20] = 255

    assert read(encode(pair)).warnings == ()
    np.testing.assert_array_equal(read(encode(pair)).pixels, pair)


# Pillow reads pieces and tags one at a time, in Python: what has millions of them would hold up whoever opens it.

JPEG, PNG_FILE = (SAMPLES / "three-on-paper.jpg").read_bytes(), (SAMPLES / "seven.png").read_bytes()
MILLION = 1_000_000


def png_chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def small_gif() -> tuple[bytes, bytes]:
    """What stands before its frame, and the rest."""
    with io.BytesIO() as file:
        Image.new("P", (28, 28)).save(file, "GIF")
        begin, comma, rest = file.getvalue().partition(b",\0\0\0\0")
    return begin, comma + rest


@pytest.mark.parametrize(
    "file",
    [
        JPEG[:2] + b"\xff" * MILLION + JPEG[2:],
        JPEG[:2] + b"\xff\xfe\0\2" * MILLION + JPEG[2:],
        PNG_FILE[:33] + png_chunk(b"prVt") * MILLION + PNG_FILE[33:],
        small_gif()[0] + b"!\xfe\0" * MILLION + small_gif()[1],
        small_gif()[0] + b"!\xfe" + b"\1a" * MILLION + b"\0" + small_gif()[1],
    ],
    ids=["fill bytes", "comments", "chunks", "extensions", "blocks of a comment"],
)
def test_header_without_end_is_refused(file: bytes) -> None:
    with pytest.raises(ContentTooLarge, match="has a header of more than 4,000 pieces; at most so many are allowed"):
        images.open_limited(file, 1_000_000)


@pytest.mark.parametrize("place", [33, -12], ids=["before the pixels", "after them"])
def test_png_of_a_million_pieces_is_refused_when_it_is_decoded(place: int) -> None:
    image = images.open_limited(PNG_FILE[:place] + png_chunk(b"IDAT") * MILLION + PNG_FILE[place:], 1_000_000)

    with pytest.raises(ContentTooLarge, match="has a file of more than 50,000 pieces"):
        images.decode(image)


def tiff_of_strips(strips: int, order: str, is_big: bool) -> bytes:
    """2,000 × 2,000 pixels, a row each."""
    begin = b"II" if order == "<" else b"MM"
    tags = ((256, 1, 2_000), (257, 1, 2_000), (258, 1, 8), (259, 1, 1), (262, 1, 1))
    tags += ((273, strips, 300), (277, 1, 1), (278, 1, 1), (279, strips, 300))
    if is_big:
        head = begin + struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, len(tags))
        entries = b"".join(struct.pack(f"{order}HHQQ", tag, 4, count, value) for tag, count, value in tags)
    else:
        head = begin + struct.pack(f"{order}HIH", 42, 8, len(tags))
        entries = b"".join(struct.pack(f"{order}HHII", tag, 4, count, value) for tag, count, value in tags)
    return head + entries + bytes(9 * strips + 1_000)


@pytest.mark.parametrize(("order", "is_big"), [("<", False), (">", False), ("<", True)])
def test_tiff_of_a_million_strips_is_refused(order: str, is_big: bool) -> None:
    with pytest.raises(ContentTooLarge, match="has a TIFF tag of 1,000,000 values; at most 65,536 are allowed"):
        images.open_limited(tiff_of_strips(MILLION, order, is_big), 10_000_000)

    assert images.open_limited(tiff_of_strips(2_000, order, is_big), 10_000_000).size == (2_000, 2_000)


def test_exif_of_a_damaged_png_is_the_callers_fault() -> None:
    """It may stand behind the pixels, so that all of them are read for it."""
    image = images.open_limited(
        PNG_FILE[:33] + png_chunk(b"IDAT", PNG_FILE[41:61]) + png_chunk(b"\xff\xfe\xfd\xfc"), 1_000_000
    )

    with pytest.raises(InvalidRequest, match="is damaged or truncated"):
        images.upright_size(image)
