"""What every revocation stream does: the one in memory, Valkey's, and the bus's."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from common.adapters.nats_bus import open_bus
from common.adapters.valkey_connections import open_valkey
from common.core.errors import UpstreamUnavailable
from common.core.notices import Notice, SessionRevoked, UserBanned, UserPardoned
from gateway.adapters.bus_revocations import BusRevocations
from gateway.adapters.valkey_revocations import ValkeyRevocations
from gateway.sessions.hear_revocations import RevocationStream
from tests.eventually import eventually
from tests.fakes.memory_revocations import MemoryRevocations
from tests.servers.gate import Gate, gate
from tests.servers.nats import nats_server
from tests.servers.valkey import valkey_server

NOTICES: list[Notice] = [
    SessionRevoked(session_id="s", collection_id="users", record_id="ann", reason="signed out"),
    UserBanned(subject="ann", until=7, reason="spam"),
    UserPardoned(subject="ann", collection_id="users"),
]


@dataclass(slots=True)
class Ear:
    notices: list[Notice] = field(default_factory=list[Notice])
    gaps: int = 0

    def heard(self, notice: Notice) -> None:
        self.notices.append(notice)

    def missed(self) -> None:
        self.gaps += 1


@dataclass(frozen=True, slots=True)
class Parted:
    """Two ends of one stream. The far one's way to what carries it can be shut and opened again."""

    near: RevocationStream
    far: RevocationStream
    way: "Way"


class Way:
    def __init__(self, gate: Gate | None, memory: MemoryRevocations | None = None) -> None:
        self._gate = gate
        self._memory = memory

    async def shut(self) -> None:
        if self._memory:
            self._memory.go_away()
        if self._gate:
            self._gate.shut()

    async def open(self) -> None:
        if self._memory:
            self._memory.come_back()
        if self._gate:
            await self._gate.open()


@asynccontextmanager
async def in_memory() -> AsyncGenerator[Parted]:
    stream = MemoryRevocations()
    yield Parted(stream, stream, Way(None, stream))


@asynccontextmanager
async def over_valkey() -> AsyncGenerator[Parted]:
    with valkey_server() as url:
        port = int(url.rpartition(":")[2].removesuffix("/0"))
        async with gate(port) as way, open_valkey(url) as near, open_valkey(at(way)) as far:
            prefix = uuid4().hex
            yield Parted(ValkeyRevocations(near, prefix=prefix), ValkeyRevocations(far, prefix=prefix), Way(way))


def at(way: Gate) -> str:
    return f"redis://127.0.0.1:{way.port}/0"


@asynccontextmanager
async def over_nats() -> AsyncGenerator[Parted]:
    with nats_server() as url:
        port = int(url.rpartition(":")[2])
        async with (
            gate(port) as way,
            open_bus(url, name="near") as near,
            open_bus(f"nats://127.0.0.1:{way.port}", name="far") as far,
        ):
            await near.ready()
            await far.ready()
            yield Parted(BusRevocations(near), BusRevocations(far), Way(way))


@pytest.fixture(params=[in_memory, over_valkey, over_nats], ids=["memory", "valkey", "nats"])
async def parted(request: pytest.FixtureRequest) -> AsyncGenerator[Parted]:
    async with request.param() as both:
        yield both


@asynccontextmanager
async def listening(stream: RevocationStream, *ears: Ear) -> AsyncGenerator[None]:
    task = asyncio.create_task(stream.listen(*ears))
    try:
        await eventually(lambda: is_heard(stream))
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def is_heard(stream: RevocationStream) -> bool:
    return time.monotonic() < stream.heard_until


async def test_every_hearer_gets_every_notice_in_order(parted: Parted) -> None:
    ears = Ear(), Ear()
    assert not await is_heard(parted.far), "nobody listens yet"
    async with listening(parted.far, *ears):
        for notice in NOTICES:
            await parted.near.publish(notice)
        for ear in ears:
            await eventually(lambda ear=ear: count(ear), lambda count: count == len(NOTICES))
            assert sorted(map(repr, ear.notices)) == sorted(map(repr, NOTICES))
    assert not await is_heard(parted.far), "nobody listens any more"


async def count(ear: Ear) -> int:
    return len(ear.notices)


async def test_a_hearer_is_told_when_listening_begins_and_after_every_silence(parted: Parted) -> None:
    ear = Ear()
    async with listening(parted.far, ear):
        assert ear.gaps == 1
        await parted.way.shut()
        await eventually(lambda: is_heard(parted.far), lambda heard: not heard, seconds=1)
        await parted.way.open()
        await eventually(lambda: is_heard(parted.far))
        assert ear.gaps >= 2
        await parted.near.publish(NOTICES[0])
        await eventually(lambda: count(ear))


async def test_a_notice_that_nobody_carries_is_an_error(parted: Parted) -> None:
    await parted.way.shut()
    with pytest.raises(UpstreamUnavailable):
        await parted.far.publish(NOTICES[0])


async def test_a_valkey_that_only_stopped_answering_is_not_heard() -> None:
    async with over_valkey() as parted:
        ear = Ear()
        async with listening(parted.far, ear), Redis.from_url(url_of(parted)) as control:
            await control.client_pause(1500)  # PING is answered only afterwards; the connection stands meanwhile
            await eventually(lambda: is_heard(parted.far), lambda heard: not heard, seconds=1.2)
            await eventually(lambda: is_heard(parted.far))
            assert ear.gaps == 2


def url_of(parted: Parted) -> str:
    assert isinstance(parted.near, ValkeyRevocations)
    port = parted.near._client.connection_pool.connection_kwargs["port"]
    return f"redis://127.0.0.1:{port}/0"


async def test_a_notice_that_cannot_be_read_makes_everything_doubtful() -> None:
    async with over_valkey() as parted:
        ear = Ear()
        async with listening(parted.far, ear), Redis.from_url(url_of(parted)) as control:
            assert isinstance(parted.near, ValkeyRevocations)
            await control.publish(f"{parted.near._prefix}:session.revoked", b'{"v":99}')

            async def gaps() -> int:
                return ear.gaps

            await eventually(gaps, lambda gaps: gaps == 2)
            await parted.near.publish(NOTICES[0])
            await eventually(lambda: count(ear))
