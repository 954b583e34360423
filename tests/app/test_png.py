"""Small gray PNG pictures are decoded as Pillow decodes them, pixel by pixel, and everything else is left to Pillow."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from app.png import MAX_BYTES, MAX_SIDE, decode_gray, encode
from tests.conftest import SAMPLES

Pixels = NDArray[np.uint8]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = (b"IEND", b"")
# Number of a row's filter in the file, by what it subtracts.
FILTERS = {"none": 0, "left": 1, "above": 2, "mean": 3, "paeth": 4}


def paeth(left: int, above: int, corner: int) -> int:
    """RFC 2083, section 6.6: the neighbour that is nearest to left + above - corner."""
    guess = left + above - corner
    return min((left, above, corner), key=lambda neighbour: abs(guess - neighbour))


def filtered(pixels: Pixels, filters: Sequence[int]) -> bytes:
    """Each row behind the number of its filter."""
    content, previous = bytearray(), [0] * pixels.shape[1]
    for row, kind in zip(pixels.tolist(), filters, strict=True):
        content.append(kind)
        for place, value in enumerate(row):
            left, corner = (row[place - 1], previous[place - 1]) if place else (0, 0)
            above = previous[place]
            predicted = (0, left, above, (left + above) // 2, paeth(left, above, corner))[kind]
            content.append((value - predicted) % 256)
        previous = row
    return bytes(content)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int, height: int, depth: int = 8, colour: int = 0, interlaced: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return SIGNATURE + b"".join(chunk(*each) for each in chunks)


def picture(pixels: Pixels, filters: Sequence[int] | None = None, pieces: int = 1, level: int = 6) -> bytes:
    """A gray PNG of 8 bits, its data spread over so many IDAT chunks."""
    height, width = pixels.shape
    data = zlib.compress(filtered(pixels, filters or [0] * height), level)
    size = max(1, -(-len(data) // pieces))
    idat = [(b"IDAT", data[start : start + size]) for start in range(0, len(data), size)]
    return png(header(width, height), *idat, END)


def pillow(data: bytes) -> Pixels:
    image = Image.open(io.BytesIO(data), formats=("PNG",))
    image.load()
    assert image.mode == "L"
    return np.asarray(image)


def saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def noise(generator: np.random.Generator, width: int, height: int) -> Pixels:
    return generator.integers(0, 256, (height, width), np.uint8)


def assert_like_pillow(data: bytes) -> None:
    """None, or what Pillow gives; never more than Pillow takes."""
    gray = decode_gray(data)
    if gray is not None:
        np.testing.assert_array_equal(gray, pillow(data))


SEVEN = (SAMPLES / "seven.png").read_bytes()
DOTS = noise(np.random.default_rng(7), 6, 5)
SMALL = picture(DOTS, [0, 1, 2, 3, 4], pieces=2)


@pytest.mark.parametrize("kind", FILTERS.values(), ids=FILTERS)
def test_every_filter_is_undone(kind: int) -> None:
    for width, height in ((1, 1), (1, 9), (9, 1), (28, 28), (31, 17)):
        pixels = noise(np.random.default_rng(kind), width, height)
        data = picture(pixels, [kind] * height)

        np.testing.assert_array_equal(decode_gray(data), pixels)
        np.testing.assert_array_equal(pillow(data), pixels)


def test_three_hundred_random_pictures_are_what_pillow_makes_of_them() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        width, height = (int(side) for side in generator.integers(1, 41, 2))
        pixels = noise(generator, width, height) // generator.choice([1, 64, 200])
        filters = generator.integers(0, 5, height).tolist()
        data = picture(pixels, filters, pieces=int(generator.integers(1, 6)), level=int(generator.integers(0, 10)))
        gray = decode_gray(data)

        assert gray is not None
        assert (gray.shape, gray.dtype) == ((height, width), np.uint8)
        np.testing.assert_array_equal(gray, pixels)
        np.testing.assert_array_equal(gray, pillow(data))


@pytest.mark.parametrize("side", [1, 2, 127, 128])
def test_sides_up_to_the_limit_are_decoded(side: int) -> None:
    pixels = noise(np.random.default_rng(side), side, side)

    np.testing.assert_array_equal(decode_gray(saved(Image.fromarray(pixels))), pixels)


def test_samples_are_decoded() -> None:
    np.testing.assert_array_equal(decode_gray(SEVEN), pillow(SEVEN))


def test_pieces_of_the_data_may_be_empty() -> None:
    data = zlib.compress(filtered(DOTS, [0] * 5))

    np.testing.assert_array_equal(
        decode_gray(png(header(6, 5), (b"IDAT", b""), (b"IDAT", data), (b"IDAT", b""), END)), DOTS
    )


def test_what_is_decoded_cannot_be_written_to() -> None:
    gray = decode_gray(SMALL)

    assert gray is not None
    assert not gray.flags.writeable


def text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "nobody")
    return info


def exif() -> Image.Exif:
    """Turned upside down."""
    found = Image.Exif()
    found[0x0112] = 3
    return found


IDAT = (b"IDAT", zlib.compress(filtered(DOTS, [0] * 5)))
GRAY = Image.fromarray(DOTS)
OTHERS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "signature alone": lambda: SIGNATURE,
    "RGB": lambda: saved(GRAY.convert("RGB")),
    "palette": lambda: saved(GRAY.convert("P")),
    "gray with alpha": lambda: saved(GRAY.convert("LA")),
    "16 bits": lambda: saved(Image.fromarray(DOTS.astype(np.uint16) * 200)),
    "1 bit": lambda: saved(GRAY.convert("1")),
    "interlaced": lambda: png(header(1, 1, interlaced=1), (b"IDAT", zlib.compress(b"\0\x07")), END),
    "unknown filter method": lambda: png((b"IHDR", struct.pack(">IIBBBBB", 6, 5, 8, 0, 0, 1, 0)), IDAT, END),
    "tRNS": lambda: saved(GRAY, transparency=3),
    "eXIf": lambda: saved(GRAY, exif=exif()),
    "tEXt": lambda: saved(GRAY, pnginfo=text()),
    "gAMA": lambda: png(header(6, 5), (b"gAMA", struct.pack(">I", 45_455)), IDAT, END),
    "animation": lambda: saved(GRAY, save_all=True, append_images=[GRAY.rotate(90)]),
    "width 0": lambda: png(header(0, 5), IDAT, END),
    "height 0": lambda: png(header(6, 0), IDAT, END),
    "wider than the limit": lambda: saved(Image.new("L", (MAX_SIDE + 1, 1))),
    "higher than the limit": lambda: saved(Image.new("L", (1, MAX_SIDE + 1))),
    "sides beyond any memory": lambda: png(header(0xFFFFFFFF, 0xFFFFFFFF), IDAT, END),
    "longer than the limit": lambda: png(header(6, 5), *[(b"IDAT", b"")] * (MAX_BYTES // 12), IDAT, END),
    "no data": lambda: png(header(6, 5), END),
    "no end": lambda: png(header(6, 5), IDAT),
    "a second header": lambda: png(header(6, 5), header(6, 5), IDAT, END),
    "JPEG": lambda: (SAMPLES / "three-on-paper.jpg").read_bytes(),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_other_pictures_are_left_to_pillow(other: Callable[[], bytes]) -> None:
    assert decode_gray(other()) is None


def test_neither_a_bad_checksum_nor_a_bad_length_is_overlooked() -> None:
    for place in range(len(SIGNATURE), len(SMALL)):
        broken = bytearray(SMALL)
        broken[place] ^= 0x01

        assert decode_gray(bytes(broken)) is None, place


def test_picture_cut_off_anywhere_is_left_to_pillow() -> None:
    for length in range(len(SMALL)):
        assert decode_gray(SMALL[:length]) is None, length


@pytest.mark.parametrize("tail", [b"\0", b"trailing garbage", SMALL], ids=["a zero", "garbage", "another picture"])
def test_what_follows_the_end_changes_nothing(tail: bytes) -> None:
    np.testing.assert_array_equal(decode_gray(SMALL + tail), DOTS)
    np.testing.assert_array_equal(pillow(SMALL + tail), DOTS)


def test_data_of_another_length_than_the_picture_is_taken_as_pillow_takes_it() -> None:
    whole = filtered(DOTS, [4] * 5)
    for length in range(len(whole) + 20):
        data = zlib.compress((whole + bytes(20))[:length])
        assert_like_pillow(png(header(6, 5), (b"IDAT", data), END))


def test_deflate_stream_cut_off_anywhere_is_taken_as_pillow_takes_it() -> None:
    for length in range(len(IDAT[1])):
        assert_like_pillow(png(header(6, 5), (b"IDAT", IDAT[1][:length]), END))


def test_damaged_deflate_stream_in_a_sound_chunk_is_taken_as_pillow_takes_it() -> None:
    decoded = 0
    for place in range(len(IDAT[1])):
        for bit in range(8):
            data = bytearray(IDAT[1])
            data[place] ^= 1 << bit
            file = png(header(6, 5), (b"IDAT", bytes(data)), END)
            assert_like_pillow(file)
            decoded += decode_gray(file) is not None

    assert decoded  # a filter or a pixel that is another is no damage


def test_unknown_filter_is_taken_as_pillow_takes_it() -> None:
    for kind in (5, 77, 255):
        content = bytearray(filtered(DOTS, [0] * 5))
        content[7] = kind
        assert_like_pillow(png(header(6, 5), (b"IDAT", zlib.compress(bytes(content))), END))


def test_data_that_inflates_without_end_is_not_inflated() -> None:
    bomb = zlib.compress(bytes(18_000_000), 9)
    file = png(header(6, 5), (b"IDAT", bomb), END)

    assert len(file) < MAX_BYTES
    assert_like_pillow(file)


def test_mutated_pictures_never_raise_and_are_what_pillow_makes_of_them() -> None:
    generator = random.Random(0)
    decoded = 0
    for _ in range(4_000):
        data = bytearray(generator.choice((SMALL, SEVEN)))
        for _ in range(generator.randint(1, 3)):
            place = generator.randrange(len(data))
            match generator.randrange(4):
                case 0:
                    data[place] = generator.randrange(256)
                case 1:
                    del data[place : place + generator.randint(1, 4)]
                case 2:
                    data[place:place] = generator.randbytes(generator.randint(1, 4))
                case 3:
                    other = generator.randrange(len(data))
                    data[place], data[other] = data[other], data[place]
        assert_like_pillow(bytes(data))
        decoded += decode_gray(bytes(data)) is not None

    assert 0 < decoded < 400  # what is changed behind the end, or for itself


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (3, 128), (128, 5)])
def test_encoded_picture_is_the_same_to_pillow_and_to_us(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    encoded = encode(pixels)
    with Image.open(io.BytesIO(encoded)) as read:
        assert (read.format, read.mode) == ("PNG", "L")
        assert np.array_equal(np.asarray(read), pixels)

    ours = decode_gray(encoded)
    assert ours is not None
    assert np.array_equal(ours, pixels)


def test_encoded_colours_are_the_same_to_pillow() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 128, 3)).astype(np.uint8)
    encoded = encode(pixels)
    with Image.open(io.BytesIO(encoded)) as read:
        assert (read.format, read.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(read), pixels)

    assert decode_gray(encoded) is None
