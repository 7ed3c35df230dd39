"""What a node reads from the log for clients that come back from far behind, and how much of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from chathub.catch_up import READ_A_MINUTE, READ_AT_ONCE, CatchUp
from chathub.core.bus_messages import Position, RoomMessage, encode
from chathub.core.hub import Missed
from chathub.core.resume import MAX_MISSED, LogBounds
from chathub.deliver import Arrived
from tests.eventually import eventually
from tests.unit.chathub.present import OpenHub

BEGIN = Position(7, 0)
SAID = encode(
    RoomMessage(
        owner_id="a",
        username="A",
        channel_id=1,
        channel="general",
        message="x",
        authored_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
)


class Log:
    """All of it is there at once, as soon as it may be read."""

    def __init__(self) -> None:
        self.readable = asyncio.Event()
        self.readers = 0

    async def state(self) -> LogBounds:
        return LogBounds(7, 1, MAX_MISSED)

    async def read(self, first: int, last: int) -> AsyncIterator[Arrived]:
        self.readers += 1
        await self.readable.wait()
        for sequence in range(first, last + 1):
            yield Arrived(sequence, SAID)
        self.readers -= 1


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def catch_up(log: Log) -> CatchUp:
    hub = OpenHub()
    hub.recent.begin([], Position(7, MAX_MISSED + 1))
    return CatchUp(log, hub)


async def test_a_user_is_read_for_so_often_a_minute_and_then_gets_the_history_as_others_do(
    catch_up: CatchUp, log: Log
) -> None:
    log.readable.set()
    found = [await catch_up.missed(BEGIN, "eve") for _ in range(READ_A_MINUTE + 2)]
    assert [isinstance(one, Missed) for one in found] == [True] * READ_A_MINUTE + [False] * 2
    assert found[-2:] == ["too_far", "too_far"]
    assert isinstance(await catch_up.missed(BEGIN, "ann"), Missed)


async def test_what_the_node_remembers_itself_is_given_however_often(catch_up: CatchUp) -> None:
    end = Position(7, MAX_MISSED)
    found = [await catch_up.missed(end, "ann") for _ in range(10 * READ_A_MINUTE)]
    assert all(isinstance(one, Missed) for one in found)


async def test_only_so_many_are_read_for_at_once(catch_up: CatchUp, log: Log) -> None:
    async def readers() -> int:
        return log.readers

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(catch_up.missed(BEGIN, str(number))) for number in range(2 * READ_AT_ONCE)]
        await eventually(readers, lambda count: count >= READ_AT_ONCE)
        assert await readers() == READ_AT_ONCE
        log.readable.set()
    assert all(isinstance(one.result(), Missed) for one in asked)


async def test_others_have_their_turns_while_much_is_read(catch_up: CatchUp, log: Log) -> None:
    log.readable.set()
    turns = 0
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(catch_up.missed(BEGIN, "ann"))
        while not asked.done():
            turns += 1
            await asyncio.sleep(0)
    assert turns > MAX_MISSED / 1000
