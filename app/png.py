"""Small gray PNGs: the commonest upload decoded without Pillow's search for a plugin and its file machinery, and the
pictures that models see or answer encoded.

Pure. Decoding answers what Pillow answers, or None for whatever it does not know; Pillow's own C decoder does the work.
"""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL.Image import core  # type: ignore[attr-defined]  # internal, and pinned in pyproject.toml

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Then the length and the name of the first chunk.
BEGIN = SIGNATURE + b"\x00\x00\x00\rIHDR"
# Depth 8, gray, deflate, adaptive filters, not interlaced.
GRAY_8 = b"\x08\x00\x00\x00\x00"
# The same in red, green and blue.
COLOURS_8 = b"\x08\x02\x00\x00\x00"
MAX_BYTES = 20_000
MAX_SIDE = 128
CHUNK = struct.Struct(">I4s")
SIZE = struct.Struct(">II")
CHECKSUM = struct.Struct(">I")
CHUNK_BYTES = CHUNK.size + CHECKSUM.size


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """[H, W], gray, or [H, W, 3], red, green and blue, as a PNG of 8 bits. Rows are not filtered: of so small a picture
    it would save next to nothing."""
    height, width = pixels.shape[:2]
    levels = pixels.reshape(height, -1)
    rows = np.zeros((height, 1 + levels.shape[1]), np.uint8)  # each behind the number of its filter, 0
    rows[:, 1:] = levels
    data = _chunk(b"IDAT", zlib.compress(rows.tobytes(), 1))
    kind = GRAY_8 if pixels.ndim == 2 else COLOURS_8
    return SIGNATURE + _chunk(b"IHDR", SIZE.pack(width, height) + kind) + data + _chunk(b"IEND", b"")


def address(pixels: NDArray[np.uint8]) -> str:
    """The same as an address, which any browser shows."""
    return f"data:image/png;base64,{base64.b64encode(encode(pixels)).decode('ascii')}"


def png_at(address: str) -> bytes:
    """What such an address holds."""
    return base64.b64decode(address.partition(",")[2])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return CHUNK.pack(len(body), kind) + body + CHECKSUM.pack(zlib.crc32(kind + body))


def decode_gray(data: bytes) -> NDArray[np.uint8] | None:
    """[H, W], read-only; None if it is anything but an undamaged gray PNG of 8 bits with no more than pixels in it."""
    if not data.startswith(BEGIN) or data[24:29] != GRAY_8 or len(data) > MAX_BYTES:
        return None
    width, height = SIZE.unpack_from(data, 16)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        return None
    compressed = _image_data(data)
    return None if compressed is None else _inflate(compressed, width, height)


def _image_data(data: bytes) -> bytes | None:
    """The content of the IDAT chunks. None if there are chunks that change the picture's meaning, or a damaged one."""
    content, place, end = b"", 8, len(data)
    while place + CHUNK_BYTES <= end:
        length, kind = CHUNK.unpack_from(data, place)
        after = place + CHUNK_BYTES + length
        if after > end:
            return None
        body = data[place + 4 : after - 4]
        if CHECKSUM.unpack_from(data, after - 4)[0] != zlib.crc32(body):
            return None
        if kind == b"IDAT":
            content += body[4:]
        elif kind == b"IEND":
            return content
        elif place != 8:
            return None
        place = after
    return None


def _inflate(compressed: bytes, width: int, height: int) -> NDArray[np.uint8] | None:
    # What ImageFile.load and Image.tobytes do, without looking anything up.
    image = core.new("L", (width, height))
    decoder = core.zip_decoder("L", "L", 0)
    decoder.setimage(image, (0, 0, width, height))
    consumed, error = decoder.decode(compressed)
    if consumed >= 0 or error < 0:  # it waits for more, or gave up
        return None
    encoder = core.raw_encoder("L", "L", 0, 1)
    encoder.setimage(image, (0, 0, width, height))
    _, _, pixels = encoder.encode(width * height)
    return np.frombuffer(pixels, np.uint8).reshape(height, width)
