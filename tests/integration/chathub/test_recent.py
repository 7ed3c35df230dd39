"""What Valkey has of the latest messages is what a node remembers, or it is not used."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from chathub.adapters.valkey_recent import ValkeyRecent
from chathub.core.bus_messages import Amendment, DirectMessage, Message, Position, RoomMessage, Stored
from chathub.core.hub import Hub
from chathub.core.recent import TAIL
from chathub.mirror_recent import MirrorRecent, RecentHistory
from common.adapters.valkey_connections import open_valkey
from common.ending import ended
from tests.eventually import eventually
from tests.servers.valkey import valkey_server
from tests.unit.chathub.present import OpenHub

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
KEPT = 50
SOON_SECONDS = 100


class Rows:
    """PostgreSQL's, which nobody is to ask for."""

    def __init__(self) -> None:
        self.asked = 0

    async def recent(self) -> Sequence[Stored]:
        self.asked += 1
        return []


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncGenerator[Redis]:
    async with open_valkey(valkey_url) as client:
        await client.flushall()
        yield client


@pytest.fixture
def mirror(valkey: Redis) -> ValkeyRecent:
    return ValkeyRecent(valkey, messages=KEPT)


@pytest.fixture
def hub() -> OpenHub:
    hub = OpenHub()
    hub.recent.begin([], Position(7, 1))
    return hub


def said(text: str, channel_id: int = 1) -> RoomMessage:
    return RoomMessage(
        owner_id="a", username="Ä", channel_id=channel_id, channel="general", message=text, authored_at=WHEN
    )


def change(target: int, message: str | None) -> Amendment:
    return Amendment(
        target_epoch=7,
        target=target,
        owner_id="a",
        actor_id="a",
        message=message,
        authored_at=WHEN,
        channel_id=1,
    )


def whisper() -> DirectMessage:
    return DirectMessage(
        owner_id="a", username="A", recipient_id="b", recipient="B", message="for b alone", authored_at=WHEN
    )


def deliver(hub: Hub, *messages: Message) -> None:
    for message in messages:
        hub.deliver(Stored(Position(7, hub.recent.last.sequence + 1), message))


@asynccontextmanager
async def mirroring(hub: Hub, mirror: ValkeyRecent) -> AsyncGenerator[None]:
    task = asyncio.create_task(MirrorRecent(hub, mirror).run())
    try:
        yield
    finally:
        await ended([task])


async def complete(hub: Hub, mirror: ValkeyRecent) -> list[Stored]:
    """What is there, once all that the node remembers is."""
    await eventually(lambda: mirror.upto(7), lambda upto: upto == hub.recent.last.sequence)
    found = await mirror.read(7)
    assert found is not None
    return list(found.messages)


async def test_a_node_begins_with_what_the_others_remember(hub: OpenHub, mirror: ValkeyRecent) -> None:
    async with mirroring(hub, mirror):
        deliver(hub, said("one"), whisper(), said("two"), said("two"))
        assert await complete(hub, mirror) == hub.recent.latest()
        deliver(hub, said("three ☕"), change(1, 'edited "☕"'), change(3, None))
        found = await complete(hub, mirror)
    assert found == hub.recent.latest()
    assert [stored.message.message for stored in found] == ['edited "☕"', "two", "three ☕"]


async def test_several_nodes_write_it_and_it_is_there_once(hub: OpenHub, mirror: ValkeyRecent) -> None:
    other = OpenHub()
    other.recent.begin([], Position(7, 1))
    async with mirroring(hub, mirror), mirroring(other, mirror):
        for number in range(20):
            for one in (hub, other):
                deliver(one, said(f"message {number}"))
            await asyncio.sleep(0)
        assert await complete(hub, mirror) == hub.recent.latest() == other.recent.latest()


async def test_of_each_channel_only_so_many_are_kept(hub: OpenHub, mirror: ValkeyRecent) -> None:
    async with mirroring(hub, mirror):
        deliver(hub, *(said(f"message {number}") for number in range(KEPT + 20)))
        assert await complete(hub, mirror) == hub.recent.latest()[-KEPT:]


async def test_after_valkey_forgot_it_is_written_anew(hub: OpenHub, mirror: ValkeyRecent, valkey: Redis) -> None:
    async with mirroring(hub, mirror):
        deliver(hub, said("before"))
        await complete(hub, mirror)
        await valkey.flushall()
        deliver(hub, said("after"))
        assert [stored.message.message for stored in await complete(hub, mirror)] == ["before", "after"]


async def test_what_nobody_can_complete_is_thrown_away(hub: OpenHub, mirror: ValkeyRecent) -> None:
    async with mirroring(hub, mirror):
        deliver(hub, said("deleted while nobody wrote"))
        await complete(hub, mirror)
    deliver(hub, change(1, None), *(said("x") for _ in range(TAIL + 1)))
    async with mirroring(hub, mirror):
        found = await complete(hub, mirror)
    assert found == hub.recent.latest()[-KEPT:]


async def test_nothing_is_left_of_a_deleted_channel(hub: OpenHub, mirror: ValkeyRecent, valkey: Redis) -> None:
    async with mirroring(hub, mirror):
        deliver(hub, said("in a channel that goes"))
        await complete(hub, mirror)
        hub.channels.replace([])
        deliver(hub, whisper())
        await eventually(lambda: valkey.keys("*of:1"), lambda keys: keys == [])
        assert await complete(hub, mirror) == []


async def test_a_quiet_channel_stays_as_long_as_the_others(hub: OpenHub, mirror: ValkeyRecent, valkey: Redis) -> None:
    async with mirroring(hub, mirror):
        deliver(hub, said("long ago", channel_id=2), said("too"))
        await complete(hub, mirror)
        for key in await valkey.keys():
            await valkey.expire(key, SOON_SECONDS)
        deliver(hub, said("now"))
        await complete(hub, mirror)
    kept = {key: await valkey.ttl(key) for key in await valkey.keys()}
    assert len(kept) == 5, "up to where, which channels, that it is whole, and two channels"
    assert min(kept.values()) > SOON_SECONDS


async def test_a_node_begins_with_it_if_that_is_all_and_else_with_the_rows(hub: OpenHub, mirror: ValkeyRecent) -> None:
    async with mirroring(hub, mirror):
        deliver(hub, said("one"), said("two"))
        await complete(hub, mirror)
    rows = Rows()
    history = RecentHistory(mirror, rows)
    assert [stored.message.message for stored in await history.before(Position(7, 3))] == ["one", "two"]
    assert rows.asked == 0
    for elsewhere in (Position(7, 100), Position(8, 1)):  # not complete, another log
        await history.before(elsewhere)
    with valkey_server() as url:
        async with open_valkey(url) as other:
            gone = ValkeyRecent(other, messages=KEPT)
    await RecentHistory(gone, rows).before(Position(7, 3))
    assert rows.asked == 3


async def test_where_something_is_remembered_of_a_log_before_the_rows_count(mirror: ValkeyRecent) -> None:
    hub = OpenHub()
    hub.recent.begin([Stored(Position(6, 9), said("in the log before"))], Position(7, 1))
    async with mirroring(hub, mirror):
        deliver(hub, said("one"))
        await complete(hub, mirror)
    rows = Rows()
    await RecentHistory(mirror, rows).before(Position(7, 2))
    assert rows.asked == 1
