"""What is written is what arrives, in as few writes as may be."""

import asyncio
from collections.abc import Callable

import pytest

from app.transport import LARGE_BYTES, OneWrite


class Recorder(asyncio.Transport):
    """A transport that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def written(act: Callable[[OneWrite], None]) -> tuple[list[bytes], list[bytes]]:
    """What has been written when `act` returns, and when the loop has been round."""

    async def run() -> tuple[list[bytes], list[bytes]]:
        recorder = Recorder()
        act(OneWrite(recorder, asyncio.get_running_loop()))
        at_once = [*recorder.writes]
        await asyncio.sleep(0)
        return at_once, recorder.writes

    return asyncio.run(run())


def test_head_and_body_are_one_write() -> None:
    def respond(transport: OneWrite) -> None:
        transport.write(b"head")
        transport.write(b"body")

    assert written(respond) == ([b"headbody"], [b"headbody"])


def test_head_alone_goes_when_the_loop_has_been_round() -> None:
    assert written(lambda transport: transport.write(b"100 Continue")) == ([], [b"100 Continue"])


@pytest.mark.parametrize("more", [1, 2, 3, 4])
def test_nothing_is_lost_or_changes_its_place(more: int) -> None:
    def respond(transport: OneWrite) -> None:
        for number in range(more):
            transport.write(b"%d" % number)

    assert b"".join(written(respond)[1]) == b"0123"[:more]


def test_large_body_is_not_copied() -> None:
    body = bytes(LARGE_BYTES + 1)

    def respond(transport: OneWrite) -> None:
        transport.write(b"head")
        transport.write(body)

    assert written(respond)[0] == [b"head", body]


def test_empty_body_leaves_the_head_to_the_loop() -> None:
    def respond(transport: OneWrite) -> None:
        transport.write(b"head")
        transport.write(b"")

    assert written(respond)[1] == [b"head"]


def test_what_is_held_goes_before_the_end() -> None:
    recorder = Recorder()

    async def run() -> None:
        transport = OneWrite(recorder, asyncio.get_running_loop())
        transport.write(b"goodbye")
        transport.close()
        assert transport.is_closing()

    asyncio.run(run())
    assert (recorder.writes, recorder.closed) == ([b"goodbye"], True)
