"""What a node knows of the members of private channels when a message for them comes."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from chathub.core.bus_messages import RoomMessage
from chathub.core.channels import Channel
from chathub.refresh import KNOW_SECONDS, ChannelRefresh
from common.core.errors import UpstreamUnavailable
from common.serving.background import running
from tests.unit.chathub.present import OpenHub
from tests.unit.chathub.silent import unanswered
from tests.virtual_time import in_virtual_time, now

GENERAL = Channel(1, "general", None, 1)


class Rows:
    """The port to the channels in PostgreSQL."""

    def __init__(self, *channels: Channel) -> None:
        self.channels = [GENERAL, *channels]
        self.is_away = False
        self.is_silent = False
        self.read = 0
        self.waits: list[asyncio.Event] = []

    async def all(self) -> Sequence[Channel]:
        self.read += 1
        if self.is_away:
            raise UpstreamUnavailable("away")
        if self.is_silent:
            await unanswered()
        found = list(self.channels)
        if self.waits:
            await self.waits.pop(0).wait()
        return found


def board(version: int, *members: str) -> Channel:
    return Channel(2, "board", None, 2, frozenset(members), version)


def message(version: int | None, channel_id: int = 2) -> RoomMessage:
    return RoomMessage(
        owner_id="a",
        username="A",
        channel_id=channel_id,
        channel="x",
        message="x",
        authored_at=datetime(2026, 1, 2, tzinfo=UTC),
        members_version=version,
    )


@asynccontextmanager
async def refreshing(rows: Rows, hub: OpenHub) -> AsyncGenerator[ChannelRefresh]:
    refresh = ChannelRefresh(rows, hub)
    async with running(refresh.run):
        yield refresh


async def test_members_are_read_when_the_sender_has_seen_later_ones() -> None:
    hub, rows = OpenHub(), Rows(board(3, "ann"))
    async with refreshing(rows, hub) as refresh:
        await refresh.known(message(3))
        assert hub.channels.members_of(2) == {"ann"}
        await refresh.known(message(3))
        await refresh.known(message(2))
        await refresh.known(message(None, channel_id=77))
    assert rows.read == 1


async def test_a_channel_that_is_gone_is_asked_for_once() -> None:
    hub, rows = OpenHub(), Rows()
    async with refreshing(rows, hub) as refresh:
        for _ in range(5):
            await refresh.known(message(1))
    assert rows.read == 1


async def test_while_postgresql_is_away_nobody_is_let_in_and_delivery_goes_on() -> None:
    hub, rows = OpenHub(), Rows()
    hub.channels.replace([GENERAL, board(1, "ann")])
    rows.is_away = True
    async with refreshing(rows, hub) as refresh:
        for _ in range(5):
            await refresh.known(message(2))
    assert rows.read == 1
    assert hub.channels.members_of(2) == {"ann"}


@in_virtual_time
async def test_while_postgresql_is_silent_a_message_waits_a_second_and_no_longer() -> None:
    hub, rows = OpenHub(), Rows()
    hub.channels.replace([GENERAL, board(1, "ann")])
    rows.is_silent = True
    async with refreshing(rows, hub) as refresh:
        begun = now()
        await refresh.known(message(2))
        assert now() - begun == KNOW_SECONDS
    assert hub.channels.members_of(2) == {"ann"}


async def test_a_reading_that_comes_late_does_not_bring_back_who_was_removed() -> None:
    hub, rows = OpenHub(), Rows(board(1, "ann", "eve"))
    refresh, slow = ChannelRefresh(rows, hub), asyncio.Event()
    rows.waits.append(slow)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(refresh.refresh())
        await asyncio.sleep(0)
        rows.channels = [GENERAL, board(2, "ann")]
        tasks.create_task(refresh.refresh())
        await asyncio.sleep(0)
        slow.set()
    assert hub.channels.members_of(2) == {"ann"}
