"""Frames that no client of ours sends, byte by byte: the right close code, nobody else disturbed, no memory taken."""

import asyncio
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chat_client import chatting
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer

TEXT, BINARY, CONTINUATION, PING, RESERVED = 1, 2, 0, 9, 3
LAST, COMPRESSED = 0x80, 0x40
BOMB = zlib.compressobj(wbits=-15)
BOMB_BYTES = BOMB.compress(bytes(60 * 1024 * 1024)) + BOMB.flush(zlib.Z_SYNC_FLUSH)[:-4]


def frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    mask = 0x80 if masked else 0
    size = len(payload)
    if size <= 125:
        head = bytes((first, mask | size))
    elif size <= 0xFFFF:
        head = bytes((first, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, mask | 127)) + size.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload  # the mask changes nothing


@asynccontextmanager
async def raw(node: Chathub, token: str) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    try:
        writer.write(
            f"GET /ws?token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        assert b"permessage-deflate" not in head
        yield reader, writer
    finally:
        writer.transport.abort()


async def close_code(reader: asyncio.StreamReader) -> int:
    """Of the close frame, behind whatever else there was to say."""
    async with asyncio.timeout(10):
        while True:
            first, second = await reader.readexactly(2)
            size = second
            if second == 126:
                size = int.from_bytes(await reader.readexactly(2), "big")
            elif second == 127:
                size = int.from_bytes(await reader.readexactly(8), "big")
            payload = await reader.readexactly(size)
            if first == 0x88:
                return int.from_bytes(payload[:2], "big")


HOSTILE = {
    "binary": (frame(LAST | BINARY, b"\0\1"), 1003),
    "one frame too large": (frame(LAST | TEXT, b"x" * (64 * 1024 + 1)), 1009),
    "a size without its bytes": (bytes((LAST | TEXT, 0xFF)) + (1 << 40).to_bytes(8, "big"), 1009),
    "fragments too large together": (
        frame(TEXT, b"x" * 40_000) + frame(CONTINUATION, b"x" * 20_000) + frame(LAST | CONTINUATION, b"x" * 20_000),
        1009,
    ),
    "a message within a message": (frame(TEXT, b"{") + frame(LAST | TEXT, b"}"), 1002),
    "a continuation of nothing": (frame(LAST | CONTINUATION, b"x"), 1002),
    "not masked": (frame(LAST | TEXT, b"{}", masked=False), 1002),
    "a reserved kind": (frame(LAST | RESERVED, b""), 1002),
    "a ping in fragments": (frame(PING, b"x"), 1002),
    "a ping too long": (frame(LAST | PING, b"x" * 126), 1002),
    "no UTF-8": (frame(LAST | TEXT, b"\xff\xfe"), 1007),
    "compressed though nobody agreed": (frame(LAST | COMPRESSED | TEXT, BOMB_BYTES[:60_000]), 1002),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_it_closes_its_own_socket_with_the_right_code_and_no_other(
    node: Chathub, tokens: Issuer, name: str
) -> None:
    data, code = HOSTILE[name]
    async with chatting(node.ws, tokens.token("bob")) as bob, raw(node, tokens.token("trudy")) as (reader, writer):
        writer.write(data)
        assert await close_code(reader) == code
        await bob.say(f"after {name}")
        await bob.hear(f"after {name}")


async def test_a_message_in_fragments_is_one_message(node: Chathub, tokens: Issuer) -> None:
    text = b'{"type":"chat_message","channel":"general","message":"in pieces"}'
    async with chatting(node.ws, tokens.token("bob")) as bob, raw(node, tokens.token("ann")) as (_, writer):
        writer.write(frame(TEXT, text[:10]) + frame(LAST | PING, b"still here"))
        writer.write(frame(CONTINUATION, text[10:30]) + frame(LAST | CONTINUATION, text[30:]))
        await bob.hear("in pieces")


async def test_bombs_and_giants_take_no_memory(node: Chathub, tokens: Issuer) -> None:
    token = tokens.token("trudy")

    async def all_of_them() -> None:
        for data, code in HOSTILE.values():
            async with raw(node, token) as (reader, writer):
                writer.write(data)
                assert await close_code(reader) == code

    await all_of_them()
    before = resident_kib(node)
    for _ in range(5):
        await all_of_them()
    assert resident_kib(node) - before < 4096


def resident_kib(node: Chathub) -> int:
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
