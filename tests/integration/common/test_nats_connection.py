"""nats-py's client over a server that follows a script: what a real one does rarely."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Srv

from common.adapters.companion import accompanied
from common.adapters.nats_connection import Connection
from common.adapters.nats_connections import keep_connecting, leave_nats
from common.adapters.nats_link import Link, deadline_in
from common.core.errors import UpstreamUnavailable
from tests.eventually import eventually

INFO = b'INFO {"server_id":"x","version":"2.15.0","headers":true,"max_payload":1048576}\r\n'


class Impatient(Connection):
    """Gives up a flush sooner than the ten seconds that nats-py waits after a reconnection."""

    async def flush(self, timeout: float = 0.2) -> None:  # noqa: ASYNC109 - as nats-py has it
        await super().flush(timeout)  # pyright: ignore[reportArgumentType] - seconds


class Losing(Impatient):
    """Loses the cancellation of an attempt that fails at the same moment, as `asyncio.wait_for` does now and then."""

    attempts = lost = 0

    async def _connect_to_server(self, s: Srv) -> None:
        self.attempts += 1
        try:
            await super()._connect_to_server(s)
            if self.attempts > 1:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.lost:
                raise
            self.lost += 1
            raise ConnectionResetError from None


class Scripted:
    """Answers the first `pongs[n]` PINGs of its n-th connection and nothing more; ends one when told to."""

    def __init__(self, *pongs: int) -> None:
        self._pongs = pongs
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.published: list[tuple[int, bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        self.connections += 1
        self.writers.append(writer)
        left = self._pongs[min(number, len(self._pongs) - 1)]
        writer.write(INFO)
        while line := await reader.readline():
            if line == b"PING\r\n" and left:
                left -= 1
                writer.write(b"PONG\r\n")
            elif line.startswith(b"PUB"):
                self.published.append((number, line))
        writer.close()


@asynccontextmanager
async def connected(scripted: Scripted, client: Connection | None = None) -> AsyncGenerator[tuple[Connection, Link]]:
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = client or Impatient()
    link = Link(client, "ann")
    try:
        async with accompanied(keep_connecting(client, f"nats://127.0.0.1:{port}", "ann", None)):
            await link.until_connected()
            yield client, link
    finally:
        await leave_nats(client)
        server.close()
        for writer in scripted.writers:
            writer.close()


def publishing(link: Link) -> asyncio.Task[None]:
    return asyncio.create_task(link.publish("a", b"x", {}, deadline=deadline_in(20)))


async def until(ask: Callable[[], bool]) -> None:
    async def answer() -> bool:
        return ask()

    await eventually(answer)


async def test_a_reconnection_that_fails_half_way_confirms_nothing_that_was_sent_over_it() -> None:
    """The second connection takes a login and falls silent; the third one answers."""
    scripted = Scripted(1000, 1, 1000)
    async with connected(scripted) as (client, link):
        await publishing(link)
        scripted.writers[0].close()
        await until(lambda: scripted.connections == 2 and client.stands)
        unconfirmed = publishing(link)
        await until(lambda: (1, b"PUB a 1\r\n") in scripted.published)
        await until(lambda: scripted.connections == 3 and client.stands)
        with pytest.raises(UpstreamUnavailable, match="may have arrived or not"):
            await unconfirmed
        await publishing(link)
        assert [number for number, _ in scripted.published] == [0, 1, 2]


async def test_a_connection_that_goes_before_it_confirmed_fails_what_was_sent() -> None:
    scripted = Scripted(1, 1000)
    async with connected(scripted) as (_, link):
        unconfirmed = [publishing(link) for _ in range(3)]
        await until(lambda: len(scripted.published) == 3)
        scripted.writers[0].close()
        for one in unconfirmed:
            with pytest.raises(UpstreamUnavailable, match="may have arrived or not"):
                await one
        await link.until_connected()


@pytest.mark.parametrize(
    "nonsense", [b"NONSENSE\r\n", b"MSG a 1 x\r\n", b"-ERR 'Unknown'\r\n", b"-ERR \r\n", b"PONG\r\n"]
)
async def test_nonsense_from_a_server_is_survived(nonsense: bytes) -> None:
    scripted = Scripted(1000)
    async with connected(scripted) as (_, link):
        scripted.writers[0].write(nonsense)
        await settled(link, lambda: publishing(link))


async def settled(link: Link, call: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await link.until_connected()
                return await call()
            except UpstreamUnavailable:
                await asyncio.sleep(0.01)


async def test_a_connection_that_is_left_while_it_reconnects_tries_no_more() -> None:
    scripted, client = Scripted(1000), Losing()
    before = asyncio.all_tasks()
    async with connected(scripted, client):
        scripted.writers[0].close()
        await until(lambda: client.attempts == 2)
    await until(lambda: asyncio.all_tasks() <= before)
    assert client.lost == 1
    assert client.is_closed
