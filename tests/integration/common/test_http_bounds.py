"""Connections that want more than their share: heads without an end, requests ahead of their turn, unread answers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from common.serving.bounded_http import MAX_AHEAD, MAX_HEAD_BYTES, MAX_HEADERS, BoundedHttp
from tests.eventually import eventually

PLAIN = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
ENDLESS = b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


class Impatient(BoundedHttp):
    head_seconds = 0.3
    stalled_seconds = 0.3


@dataclass(slots=True)
class Site:
    """`/endless` is answered until the client leaves, `/large` with more than any buffer holds, all else at once."""

    port: int = 0
    answered: int = 0
    left: int = 0
    connections: set[Any] = field(default_factory=set[Any])

    async def is_left(self) -> bool:
        return self.left == 1

    async def is_empty(self) -> bool:
        return self.answered == 1 and not self.connections

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.answered += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/endless":
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left += 1
            return
        body = bytes(32 * 1024 * 1024 if scope["path"] == "/large" else 0)
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(kind: type[BoundedHttp]) -> AsyncGenerator[Site]:
    site = Site()
    config, state = Config(site.app, log_config=None, http=kind, lifespan="off", interface="asgi3"), ServerState()
    config.load()
    site.connections = state.connections
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: kind(config, state, {}), "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()


@pytest.fixture
async def site() -> AsyncGenerator[Site]:
    async with served(Impatient) as running:
        yield running


@pytest.fixture
async def patient() -> AsyncGenerator[Site]:
    async with served(BoundedHttp) as running:
        yield running


@asynccontextmanager
async def connected(site: Site) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def said_to(site: Site, *pieces: bytes) -> bytes:
    """All that comes back until the server closes; what it does not read any more is left unsaid."""
    async with connected(site) as (reader, writer):
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await reader.read()
    return b""


async def has_arrived(site: Site) -> None:
    """What was written to the server before: another connection is answered after it was read."""
    assert await said_to(site, LAST)


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"GET / HTTP/1.1", b"Host: here", b"Connection: close", *lines, b"", b""))


async def test_a_head_within_its_bounds_is_answered(patient: Site) -> None:
    fields = [b"X-%d: %s" % (number, b"y" * 500) for number in range(MAX_HEADERS - 2)]
    assert (await said_to(patient, head(*fields))).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "fields",
    [
        [b"X: " + b"y" * MAX_HEAD_BYTES],
        [b"X-%d: y" % number for number in range(MAX_HEADERS)],
        [b"X-%d: %s" % (number, b"y" * 1000) for number in range(100)],
    ],
)
async def test_a_head_that_is_too_large_is_431(patient: Site, fields: list[bytes]) -> None:
    assert (await said_to(patient, head(*fields))).startswith(b"HTTP/1.1 431")
    assert patient.answered == 0


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n"])
async def test_a_head_without_an_end_is_cut_off(patient: Site, begin: bytes) -> None:
    piece = b"X: y\r\n" * 10_000 if begin.endswith(b"\n") else b"y" * 60_000
    await said_to(patient, begin, *[piece] * 1000)
    assert patient.answered == 0
    assert not patient.connections


@pytest.mark.parametrize(
    "target", [b"http://here/", b"http://here", b"here:80", b"/path#fragment", b"path", b"/?a=b#/../c"]
)
async def test_a_target_that_is_more_than_path_and_query_is_refused(patient: Site, target: bytes) -> None:
    answer = await said_to(patient, b"GET " + target + b" HTTP/1.1\r\nHost: here\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert patient.answered == 0


@pytest.mark.parametrize("begin", [b"", b"\r\n", b"GET / HTTP/1.1\r\nHost: here\r\n"])
async def test_a_connection_that_comes_up_with_no_head_is_closed(site: Site, begin: bytes) -> None:
    assert await said_to(site, begin) == b""


@pytest.mark.parametrize("more", [b"\r\n", b"GET / HT"])
async def test_neither_does_one_stay_open_by_the_answer_to_an_earlier_request(site: Site, more: bytes) -> None:
    async with connected(site) as (reader, writer):
        writer.write(PLAIN)
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(more)
        async with asyncio.timeout(3):
            assert await reader.read() == b""


async def test_what_comes_after_a_request_for_another_protocol_is_not_waited_for(site: Site) -> None:
    upgrade = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert (await said_to(site, upgrade + PLAIN)).count(b"HTTP/1.1 200") == 1


async def test_a_request_that_is_worked_on_has_all_the_time_it_takes(site: Site) -> None:
    async with connected(site) as (reader, writer):
        writer.write(ENDLESS)
        await reader.readuntil(b"begun\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2 * Impatient.head_seconds):
                await reader.read(1)


@pytest.mark.parametrize("ahead", [b"", PLAIN, 2 * PLAIN, POST + b"y" * 1000])
async def test_whoever_leaves_is_missed_though_he_has_sent_more_ahead(patient: Site, ahead: bytes) -> None:
    for together in (True, False):
        async with connected(patient) as (reader, writer):
            writer.write(ENDLESS + ahead if together else ENDLESS)
            await reader.readuntil(b"begun")
            if not together:
                writer.write(ahead)
                await has_arrived(patient)
        await eventually(patient.is_left)
        patient.left = 0
    assert patient.answered == 3  # `has_arrived` among them


async def test_what_is_sent_ahead_is_answered_in_turn(patient: Site) -> None:
    assert (await said_to(patient, 4 * PLAIN + LAST)).count(b"HTTP/1.1 200") == 5


@pytest.mark.parametrize("ahead", [(MAX_AHEAD + 1) * PLAIN, POST + bytes(100_000)])
async def test_what_is_sent_ahead_is_bounded(patient: Site, ahead: bytes) -> None:
    async with connected(patient) as (reader, writer):
        writer.write(ENDLESS)
        await reader.readuntil(b"begun")
        writer.write(ahead)
        assert b"HTTP/1.1" not in await reader.read()
        await eventually(patient.is_left)


async def test_a_client_that_reads_nothing_is_cut_off(site: Site) -> None:
    async with connected(site) as (_, writer):
        cast(asyncio.ReadTransport, writer.transport).pause_reading()
        writer.write(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
        await eventually(site.is_empty)
