"""Content codings of bodies: gzip and deflate, in and out. Knows no HTTP framework and no limits of its own."""

import zlib
from functools import lru_cache

from app.errors import BadRequest, ContentTooLarge, UnsupportedMediaType

# `deflate` in HTTP is the zlib format (RFC 9110, section 8.4.1.2).
WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# The quickest: what the highest saves beyond it is little, and it takes ten times as long.
LEVEL = 1
# No more can deflate make of a byte.
MOST_TIMES = 1_032
# Less than this is one packet, compressed or not.
WORTH_COMPRESSING = 1_024


def decompress(body: bytes, coding: str, max_bytes: int) -> bytes:
    """The body before Content-Encoding. What would become longer than `max_bytes` is given up there. Raises
    UnsupportedMediaType for another coding, ContentTooLarge, and BadRequest for a body that is damaged."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in WINDOW_BITS:
        known = ", ".join(WINDOW_BITS)
        raise UnsupportedMediaType(
            f"content encoding {coding[:40]!r} is not read here; allowed: {known}", {"Accept-Encoding": known}
        )
    reader = zlib.decompressobj(WINDOW_BITS[coding])
    try:
        content = reader.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise BadRequest(f"the body is not {coding}, as its content encoding says: {error}") from None
    if len(content) > max_bytes:
        raise ContentTooLarge(
            f"the body is longer than allowed once decompressed; at most {max_bytes:,} bytes are allowed "
            "(PERCEPT_MAX_BODY_BYTES)"
        )
    if not reader.eof:
        raise BadRequest(f"the body is cut off: its {coding} stream does not end")
    if reader.unused_data:
        raise BadRequest(f"the body has {len(reader.unused_data)} bytes after the end of its {coding} stream")
    return content


def unpacked_size(body: bytes, coding: str, most: int) -> int:
    """Bytes of the body before Content-Encoding, `most` at most, without unpacking it: what gzip says at its end, which
    has to be true for it to be read (RFC 1952, ISIZE), else the most that it could be."""
    match coding.strip().lower():
        case "gzip":
            size = int.from_bytes(body[-4:], "little")
        case "deflate":
            size = len(body) * MOST_TIMES
        case _:
            size = len(body)
    return min(size, most)


def compress(body: bytes, coding: str) -> bytes:
    return zlib.compress(body, LEVEL, WINDOW_BITS[coding])


@lru_cache(maxsize=64)
def choose_coding(accepted: str) -> str | None:
    """The coding that Accept-Encoding prefers among ours, the first named among equals; None is to send the body as
    it is."""
    best, best_weight = None, 0.0
    for item in accepted.split(","):
        coding, _, parameter = item.partition(";")
        weight = _weight(parameter)
        if coding.strip().lower() in WINDOW_BITS and weight > best_weight:
            best, best_weight = coding.strip().lower(), weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
