"""A client of `/api/files/ws`, which says what it is told to and waits for what is said."""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import websockets

from tests.servers.gateway import GatewayServer

PATH = "/api/files/ws"
CHUNK_BYTES = 60 * 1024
PATIENCE_SECONDS = 150.0


class UploadClient:
    """Answers are kept by the number of what they are about, 0 for the socket itself."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.told: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.bytes: dict[int, bytearray] = defaultdict(bytearray)
        self.offsets: dict[int, int] = {}

    async def say(self, type: str, **values: Any) -> None:
        await self.socket.send(json.dumps({"type": type, **values}))

    async def send(self, ref: int, offset: int, data: bytes) -> None:
        await self.socket.send(ref.to_bytes(4, "big") + offset.to_bytes(8, "big") + data)

    async def hear(self) -> None:
        """One message, wherever it belongs."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = await self.socket.recv()
        if isinstance(message, bytes):
            ref, offset = int.from_bytes(message[:4], "big"), int.from_bytes(message[4:12], "big")
            self.offsets.setdefault(ref, offset)
            assert offset == self.offsets[ref] + len(self.bytes[ref])
            self.bytes[ref] += message[12:]
            return
        told = json.loads(message)
        self.told[told.get("ref", 0)].append(told)

    async def until(self, ref: int, *types: str) -> dict[str, Any]:
        """The first message of one of these types, or an error."""
        wanted = (*types, "error")
        while True:
            for told in self.told[ref]:
                if told["type"] in wanted:
                    self.told[ref].remove(told)
                    return told
            await self.hear()

    async def start(self, ref: int, data: bytes, **values: Any) -> dict[str, Any]:
        told = {"collection": "notes", "field": "attachment", "name": "a.bin", "size": len(data), **values}
        await self.say("start", ref=ref, **told)
        return await self.until(ref, "ready")

    async def put(self, ref: int, data: bytes, begin: int = 0, end: int | None = None) -> int:
        """Each piece is sent once the one before it was taken; returns where it ended."""
        end = len(data) if end is None else end
        for offset in range(begin, end, CHUNK_BYTES):
            await self.send(ref, offset, data[offset : min(offset + CHUNK_BYTES, end)])
            told = await self.until(ref, "ack")
            assert told["type"] == "ack", told
        return end

    async def upload(self, ref: int, data: bytes, **values: Any) -> dict[str, Any]:
        """What came of all of it."""
        ready = await self.start(ref, data, **values)
        if ready["type"] == "error":
            return ready
        await self.put(ref, data)
        return await self.until(ref, "done")

    async def closed(self) -> int | None:
        async with asyncio.timeout(10):
            await self.socket.wait_closed()
        return self.socket.close_code


@asynccontextmanager
async def upload_client(gateway: GatewayServer | str, token: str = "") -> AsyncGenerator[UploadClient]:
    base = gateway if isinstance(gateway, str) else gateway.url
    async with websockets.connect(base.replace("http:", "ws:") + PATH, compression=None) as socket:
        client = UploadClient(socket)
        if token:
            await client.say("auth", token=token)
            assert (await client.until(0, "auth"))["record"]
        yield client


def sha256(pieces: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()
