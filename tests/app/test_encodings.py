"""gzip and deflate, in and out, within limits."""

import gzip
import zlib

import pytest

from app.encodings import choose_coding, compress, decompress, unpacked_size
from app.errors import BadRequest, ContentTooLarge, UnsupportedMediaType

TEXT = b"the same again and again, " * 100


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("GZIP ", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
    ],
)
def test_body_is_what_it_was(coding: str, body: bytes) -> None:
    assert decompress(body, coding, len(TEXT)) == TEXT


def test_others_can_read_what_is_compressed() -> None:
    assert gzip.decompress(compress(TEXT, "gzip")) == TEXT
    assert zlib.decompress(compress(TEXT, "deflate")) == TEXT
    assert len(compress(TEXT, "gzip")) < len(TEXT) / 5


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bomb_is_given_up_at_the_limit(coding: str) -> None:
    bomb = compress(bytes(200_000_000), coding)
    assert len(bomb) < 1_000_000

    with pytest.raises(ContentTooLarge, match="longer than allowed once decompressed; at most 1,000 bytes are allowed"):
        decompress(bomb, coding, 1_000)


def test_limit_is_the_last_length_that_is_allowed() -> None:
    assert decompress(compress(bytes(1_000), "gzip"), "gzip", 1_000) == bytes(1_000)
    with pytest.raises(ContentTooLarge):
        decompress(compress(bytes(1_001), "gzip"), "gzip", 1_000)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (TEXT, "the body is not gzip, as its content encoding says"),
        (b"", "the body is cut off: its gzip stream does not end"),
        (gzip.compress(TEXT, mtime=0)[:-9], "the body is cut off: its gzip stream does not end"),
        (gzip.compress(TEXT, mtime=0) + b"xyz", "the body has 3 bytes after the end of its gzip stream"),
        (gzip.compress(TEXT, mtime=0)[:-8] + bytes(8), "the body is not gzip, as its content encoding says"),
    ],
)
def test_damaged_body_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        decompress(body, "gzip", 10_000)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, deflate", "x" * 5_000])
def test_other_coding_is_refused_with_those_that_are_read(coding: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="is not read here; allowed: gzip, deflate") as caught:
        decompress(b"", coding, 1)

    assert caught.value.headers == {"Accept-Encoding": "gzip, deflate"}
    assert len(caught.value.detail) < 150


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("br, DEFLATE;q=0.9 , gzip; q=0.5", "deflate"),
        ("gzip;q=0", None),
        ("gzip;q=0, deflate;q=0.001", "deflate"),
        ("gzip;q=x", None),
        ("gzip;q=nan", None),
    ],
)
def test_coding_is_the_one_the_caller_prefers(accepted: str, coding: str | None) -> None:
    assert choose_coding(accepted) == coding


def test_how_long_a_body_will_be_is_known_before_it_is_unpacked() -> None:
    content = b"[0,0,0]" * 5_000

    assert unpacked_size(compress(content, "gzip"), "GZIP ", 1_000_000) == len(content)
    assert unpacked_size(compress(content, "gzip"), "gzip", 1_000) == 1_000
    packed = compress(content, "deflate")
    assert unpacked_size(packed, "deflate", 10_000_000) == 1_032 * len(packed) >= len(content)
    assert unpacked_size(content, "", 1_000_000) == len(content)


def test_a_length_that_gzip_says_wrongly_is_refused() -> None:
    packed = compress(b"x" * 5_000, "gzip")

    with pytest.raises(BadRequest, match="the body is not gzip"):
        decompress(packed[:-4] + (7).to_bytes(4, "little"), "gzip", 10_000)
