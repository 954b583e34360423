"""Heads of requests that have come before, byte for byte, and what the parser made of them. Callers repeat themselves:
who sends a second picture of the same size sends the same head. Parses nothing itself."""

from typing import NamedTuple

from app.routes.hot_path import Asked, Headers

METHOD, END = b"POST ", b"\r\n\r\n"
# Who puts something new into every head fills this and gains nothing; the others are soon known again.
MOST, LONGEST = 256, 1_024
# Heads with one of these are not remembered.
SECRETS = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"x-api-key"})


class Head(NamedTuple):
    asked: Asked
    headers: Headers
    length: int  # of the body
    keep_alive: bool


class RequestHeads:
    """One per worker."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, received: bytes) -> Head | None:
        """None unless these bytes are a head that is known, and a body of its length."""
        end = received.find(END) + len(END)
        head = self._known.get(received[:end])
        return head if head is not None and end + head.length == len(received) else None

    def remember(self, received: bytes, head: Head) -> None:
        """What the parser found at the beginning of these bytes. Only if they are one request and no more: it begins
        with the first of them, so that the first empty line ends its head, and the body it announces is the rest."""
        end = received.find(END) + len(END)
        if not received.startswith(METHOD) or end + head.length != len(received):
            return
        if end > LONGEST or not SECRETS.isdisjoint(head.headers):
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[received[:end]] = head
