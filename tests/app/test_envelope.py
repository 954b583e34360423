"""Every response is counted once and carries its request id, however it comes about."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.envelope import Envelope, RequestIds

GIVEN = (b"x-request-id", b"mine")


def ask(messages: list[Message], headers: list[tuple[bytes, bytes]], raises: bool = False) -> tuple[Any, ...]:
    """What the caller gets, what was counted and the id that the inside saw, of an application that answers so."""
    sent: list[Message] = []
    counted: list[int] = []
    scope: Scope = {"type": "http", "headers": headers}

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if raises:
            raise RuntimeError("inside")

    async def receive() -> Message:
        raise AssertionError("nobody reads")

    async def send(message: Message) -> None:
        sent.append(message)

    try:
        asyncio.run(Envelope(inside, counted.append, RequestIds())(scope, receive, send))
    except RuntimeError:
        assert raises
    return sent, counted, scope.get("request_id")


def start(status: int) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [(b"a", b"b")]}


BODY: Message = {"type": "http.response.body", "body": b"all"}


def test_id_is_added_behind_the_other_headers_and_the_body_is_left_alone() -> None:
    sent, counted, seen = ask([start(404), BODY], [GIVEN])

    assert sent == [start(404) | {"headers": [(b"a", b"b"), (b"x-content-type-options", b"nosniff"), GIVEN]}, BODY]
    assert (counted, seen) == ([404], "mine")


@pytest.mark.parametrize("given", [b"", b"two words", b"x" * 129, b"a\nb", b"a\n", "ä".encode()])
def test_id_that_could_break_a_log_is_replaced(given: bytes) -> None:
    sent, _, seen = ask([start(200), BODY], [(b"x-request-id", given)])

    assert seen != given.decode()
    assert dict(sent[0]["headers"])[b"x-request-id"] == seen.encode()
    assert len(seen) == 16


def test_of_several_ids_the_first_counts() -> None:
    assert ask([start(200), BODY], [GIVEN, (b"x-request-id", b"other")])[2] == "mine"


def test_failure_before_an_answer_is_counted_as_500() -> None:
    assert ask([], [GIVEN], raises=True) == ([], [500], "mine")


def test_failure_in_the_middle_of_an_answer_is_not_counted_a_second_time() -> None:
    _, counted, _ = ask([start(200)], [GIVEN], raises=True)

    assert counted == [200]


def test_what_is_no_request_passes_untouched() -> None:
    seen = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    asyncio.run(Envelope(inside, lambda status: None, RequestIds())({"type": "lifespan"}, None, None))  # type: ignore[arg-type]

    assert seen == [({"type": "lifespan"}, None, None)]
