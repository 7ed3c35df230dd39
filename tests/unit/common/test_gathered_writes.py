"""What is written in one turn of the loop goes out in one piece, in its order, and nothing is held for longer."""

import asyncio
from typing import Any, cast

from common.serving.gathered_writes import MAX_HELD_BYTES, GatheredWrites


class Wire(asyncio.Transport):
    """Notes each piece that it is given to send."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


def gathered() -> tuple[Wire, GatheredWrites]:
    wire = Wire()
    return wire, GatheredWrites(wire, asyncio.get_running_loop())


async def test_what_is_written_in_one_turn_is_sent_as_one_and_in_order() -> None:
    wire, writes = gathered()
    for piece in (b"head", b"", b"body"):
        writes.write(piece)
    assert wire.sent == []
    await asyncio.sleep(0)
    assert wire.sent == [b"headbody"]


async def test_the_next_turn_is_sent_by_itself() -> None:
    wire, writes = gathered()
    for piece in (b"one", b"two"):
        writes.write(piece)
        await asyncio.sleep(0)
    assert wire.sent == [b"one", b"two"]


async def test_more_than_may_be_held_is_sent_before_the_turn_is_over() -> None:
    wire, writes = gathered()
    writes.write(b"head")
    writes.write(bytes(MAX_HELD_BYTES))
    assert b"".join(wire.sent) == b"head" + bytes(MAX_HELD_BYTES)


async def test_what_is_held_is_sent_before_the_connection_is_closed_and_nothing_after() -> None:
    wire, writes = gathered()
    writes.write(b"last")
    writes.close()
    writes.write(b"too late")
    await asyncio.sleep(0)
    assert wire.sent == [b"last"]
    assert writes.is_closing()


async def test_whatever_is_no_write_is_the_transports_own() -> None:
    wire, writes = gathered()
    assert cast(asyncio.Transport, writes).get_extra_info("peername") == wire.get_extra_info("peername")
