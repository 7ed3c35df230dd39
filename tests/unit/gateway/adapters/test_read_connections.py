"""Reads over kept connections, from a server that says what each test tells it to, byte by byte."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from common.core.errors import UpstreamUnavailable
from gateway.adapters.read_connection import MAX_HEAD_BYTES, MAX_HELD_BYTES
from gateway.adapters.read_connections import ReadConnections
from gateway.core.front_door.exchange import UpstreamRequest
from tests.eventually import eventually

Talk: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

READ = UpstreamRequest("GET", "/api/health", [("accept", "*/*")], None)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\nok"
HINTED = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
UNCHANGED = b"HTTP/1.1 304 Not Modified\r\nEtag: x\r\n\r\n"
TWO = OK + OK.replace(b"ok", b"no")
BROKEN_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok"
TOO_LONG_HEAD = b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n"
TWO_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok"


@dataclass(slots=True)
class Server:
    url: str
    connections: int = 0


@asynccontextmanager
async def serving(talk: Talk) -> AsyncGenerator[Server]:
    talks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        talks.add(task := asyncio.ensure_future(held(talk(reader, writer))))
        await asyncio.wait([task])
        writer.close()

    async def held(talking: Awaitable[None]) -> None:
        try:
            await talking
        except (ConnectionError, asyncio.IncompleteReadError):
            return

    listening = await asyncio.start_server(accepted, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    server = Server(f"http://{host}:{port}")
    try:
        yield server
    finally:
        listening.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def answering(answer: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    return talk


def once(answer: bytes) -> Talk:
    """One answer, and the connection is closed."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return talk


def connections_to(server: Server, *, limit: int = 4, seconds: float = 5, idle_seconds: float = 30) -> ReadConnections:
    return ReadConnections(
        server.url, limit=limit, connect_seconds=seconds, silence_seconds=seconds, idle_seconds=idle_seconds
    )


async def read(connections: ReadConnections) -> tuple[int, bytes]:
    async with connections.exchange(READ) as answer:
        body = b"".join([chunk async for chunk in answer.chunks()])
        return answer.status, body


async def take_in(connections: ReadConnections, came: bytearray) -> None:
    async with connections.exchange(READ) as answer:
        async for chunk in answer.chunks():
            came += chunk


async def fail_within(connections: ReadConnections) -> None:
    async with connections.exchange(READ):
        raise LookupError


@pytest.mark.parametrize("answer", [OK, CHUNKED, HINTED])
async def test_whole_answers_come_over_one_connection(answer: bytes) -> None:
    async with serving(answering(answer)) as server:
        connections = connections_to(server)
        assert [await read(connections) for _ in range(3)] == [(200, b"ok")] * 3
        assert server.connections == 1


async def test_an_answer_without_a_body_is_over_with_its_head() -> None:
    async with serving(answering(UNCHANGED)) as server:
        connections = connections_to(server)
        assert [await read(connections) for _ in range(2)] == [(304, b"")] * 2
        assert server.connections == 1


@pytest.mark.parametrize("answer", [LAST, UNTIL_CLOSED])
async def test_a_connection_that_ends_with_its_answer_is_not_used_again(answer: bytes) -> None:
    async with serving(once(answer)) as server:
        connections = connections_to(server)
        assert [await read(connections) for _ in range(3)] == [(200, b"ok")] * 3
        assert server.connections == 3


async def test_a_connection_closed_meanwhile_is_replaced() -> None:
    async with serving(once(OK)) as server:
        connections = connections_to(server)
        assert [await read(connections) for _ in range(20)] == [(200, b"ok")] * 20


async def test_bytes_that_nobody_asked_for_are_nobodys_answer() -> None:
    async with serving(answering(TWO)) as server:
        connections = connections_to(server)
        assert [await read(connections) for _ in range(3)] == [(200, b"ok")] * 3
        assert server.connections == 3


@pytest.mark.parametrize("answer", [b"", b"220 ftp\r\n", TOO_LONG_HEAD, TWO_LENGTHS, BROKEN_OFF])
async def test_what_is_no_whole_answer_is_told_as_pocketbase_away(answer: bytes) -> None:
    async with serving(once(answer)) as server:
        with pytest.raises(UpstreamUnavailable):
            await read(connections_to(server))


async def test_what_came_before_an_answer_broke_off_is_handed_on() -> None:
    async with serving(once(BROKEN_OFF)) as server:
        came = bytearray()
        with pytest.raises(UpstreamUnavailable):
            await take_in(connections_to(server), came)
        assert came == b"ok"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", BROKEN_OFF])
async def test_silence_ends_an_answer(answer: bytes) -> None:
    async with serving(answering(answer)) as server:
        with pytest.raises(UpstreamUnavailable):
            await read(connections_to(server, seconds=0.1))


async def test_nobody_listening_is_pocketbase_away() -> None:
    async with serving(answering(OK)) as server:
        pass
    with pytest.raises(UpstreamUnavailable):
        await read(connections_to(server))


async def test_no_more_connections_than_allowed_and_who_waits_too_long_is_told() -> None:
    async with serving(answering(OK)) as server:
        connections = connections_to(server, limit=2, seconds=0.2)
        async with connections.exchange(READ), connections.exchange(READ):
            with pytest.raises(UpstreamUnavailable):
                await read(connections)
        assert server.connections == 2
        assert await read(connections) == (200, b"ok")


async def test_a_place_is_free_again_however_a_read_ends() -> None:
    async with serving(answering(BROKEN_OFF)) as server:
        connections = connections_to(server, limit=1)
        for _ in range(3):
            with pytest.raises(LookupError):
                await fail_within(connections)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(read(connections), 0.05)


async def test_an_answer_left_half_way_is_not_the_next_ones() -> None:
    async with serving(answering(CHUNKED)) as server:
        connections = connections_to(server)
        for _ in range(3):
            async with connections.exchange(READ) as answer:
                assert answer.status == 200
        assert await read(connections) == (200, b"ok")


async def test_connections_that_nobody_needed_for_long_are_closed() -> None:
    async with serving(answering(OK)) as server:
        connections = connections_to(server, idle_seconds=0)
        await read(connections)
        await read(connections)
        assert server.connections == 2


async def test_an_answer_that_nobody_takes_is_held_up() -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(64 * 1024))
            await writer.drain()
            sent += 64 * 1024

    async def still() -> bool:
        before = sent
        await asyncio.sleep(0.05)
        return sent == before

    async with serving(endless) as server, connections_to(server).exchange(READ) as answer:
        await eventually(still)
        in_the_sockets = sent
        taken = 0
        async for chunk in answer.chunks():
            assert len(chunk) < 2 * MAX_HELD_BYTES
            taken += len(chunk)
            if taken > 2 * in_the_sockets:
                break
        assert sent > in_the_sockets


def test_a_head_that_would_be_two_is_not_sent() -> None:
    with pytest.raises(ValueError, match="line break"):
        connections_to(Server("http://127.0.0.1:1")).exchange(UpstreamRequest("GET", "/", [("a", "b\r\nc: d")], None))
