"""Heads that are known by their bytes, and bytes that are no reason to know one."""

import pytest

from app.request_heads import LONGEST, MOST, Head, RequestHeads
from app.routes.hot_path import Asked

ASKED = Asked("/predict/digits", "digits", None, infers=False)


def head(length: int, **headers: bytes) -> Head:
    return Head(ASKED, {name.encode().replace(b"_", b"-"): value for name, value in headers.items()}, length, True)


def test_head_is_known_with_a_body_of_its_length_and_no_other() -> None:
    heads = RequestHeads()
    assert heads.of(b"POST a\r\n\r\n12345") is None
    heads.remember(b"POST a\r\n\r\n12345", head(5))

    assert heads.of(b"POST a\r\n\r\n67890") == head(5)
    assert heads.of(b"POST a\r\n\r\n\r\n\r\nx") == head(5)
    for other in (
        b"POST a\r\n\r\n1234",
        b"POST a\r\n\r\n123456",
        b"POST b\r\n\r\n12345",
        b"POST a\r\n\r\n",
        b"POST a",
        b"",
    ):
        assert heads.of(other) is None


@pytest.mark.parametrize(
    "received",
    [
        b"POST a\r\n\r\n1234",  # not all of it
        b"POST a\r\n\r\n12345POST b\r\n\r\n",  # and another
        b"\r\n\r\nPOST a\r\n\r\n12345",  # empty lines before it
        b"\r\n\r\nPOST ",  # and not all of it, so that their lengths add up
        b"POST a\r\n\r\n123456",
        b"POST a" + b" " * LONGEST + b"\r\n\r\n12345",
    ],
)
def test_what_is_not_one_short_request_is_not_remembered(received: bytes) -> None:
    heads = RequestHeads()
    heads.remember(received, head(5))

    assert len(heads) == 0
    assert heads.of(received) is None


@pytest.mark.parametrize("name", ["authorization", "cookie", "proxy_authorization", "x_api_key"])
def test_secrets_are_not_kept(name: str) -> None:
    heads = RequestHeads()
    heads.remember(b"POST a\r\n\r\n12345", head(5, **{name: b"secret"}))

    assert len(heads) == 0


def test_new_heads_without_end_take_no_more_room_and_what_is_said_again_is_known_again() -> None:
    heads = RequestHeads()
    for number in range(3 * MOST):
        heads.remember(b"POST a%d\r\n\r\n" % number, head(0))
        assert len(heads) <= MOST
        assert heads.of(b"POST a%d\r\n\r\n" % number) == head(0)
