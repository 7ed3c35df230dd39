"""One connection for all sessions of an account, and each let in by its own token."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from common.core.errors import UpstreamUnavailable
from common.ending import ended
from common.serving.direct_writes import Outlet
from gateway.core.front_door.exchange import UpstreamAnswer, UpstreamRequest
from gateway.core.realtime.caller import Caller
from gateway.realtime.clients import SSE, Client, Hearers
from gateway.realtime.shared_streams import SharedStreams
from tests.eventually import eventually
from tests.unit.gateway.realtime.test_hub import Line

TOPIC = "notes/*"


@dataclass
class Answer:
    status: int
    chunks_of: AsyncIterator[bytes]
    headers: Sequence[tuple[bytes, bytes]] = ()

    def chunks(self) -> AsyncIterator[bytes]:
        return self.chunks_of


async def nothing() -> AsyncIterator[bytes]:
    return
    yield


@dataclass
class PocketBase:
    """It connects when it is told to, takes every token but `ended`, and says nothing."""

    is_connecting: asyncio.Event = field(default_factory=asyncio.Event)
    tokens: list[str] = field(default_factory=list[str])
    waiting: int = 0

    @asynccontextmanager
    async def exchange(self, request: UpstreamRequest) -> AsyncGenerator[UpstreamAnswer]:
        if request.is_endless:
            yield Answer(200, self._connected())
            return
        self.tokens.append(dict(request.headers)["Authorization"])
        yield Answer(403 if self.tokens[-1] == "ended" else 204, nothing())

    async def _connected(self) -> AsyncIterator[bytes]:
        await self.is_connecting.wait()
        yield b'event:PB_CONNECT\ndata:{"clientId":"c"}\n\n'
        await asyncio.Event().wait()

    async def pocketbase_token(self, caller: Caller) -> str:
        self.waiting += 1
        return caller.session_id

    async def has_waiting(self) -> int:
        return self.waiting

    async def tell(self, hearers: Hearers, topic: str, data: bytes) -> None:
        raise AssertionError((hearers, topic, data))

    def lose(self, clients: Iterable[Client], reason: str) -> None:
        """They come again."""


@asynccontextmanager
async def shared(pocketbase: PocketBase) -> AsyncGenerator[SharedStreams]:
    streams = SharedStreams(pocketbase, pocketbase, pocketbase)
    running = asyncio.create_task(streams.run())
    await asyncio.sleep(0)
    try:
        yield streams
    finally:
        await ended([running])


async def join(streams: SharedStreams, session: str) -> None:
    client = Client(session, Outlet(Line()), SSE, "10.0.0.1")
    await streams.join(client, Caller("id_users", "ann", session, 1, 1000), [TOPIC])


async def test_a_session_that_has_ended_neither_keeps_another_out_nor_comes_in_by_its_token() -> None:
    pocketbase = PocketBase()
    async with shared(pocketbase) as streams:
        joining = [asyncio.ensure_future(join(streams, session)) for session in ("lives", "ended")]
        await eventually(pocketbase.has_waiting, lambda waiting: waiting == 2)
        pocketbase.is_connecting.set()
        await joining[0]
        with pytest.raises(UpstreamUnavailable):
            await joining[1]
        with pytest.raises(UpstreamUnavailable):
            await join(streams, "ended")


async def test_pocketbase_is_asked_once_for_what_a_session_has_been_given_already() -> None:
    pocketbase = PocketBase()
    pocketbase.is_connecting.set()
    async with shared(pocketbase) as streams:
        for session in ("first", "first", "second"):
            await join(streams, session)
    assert pocketbase.tokens == ["first", "second"]
