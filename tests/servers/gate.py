"""A TCP relay that can be shut, so that a server is away without being stopped."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from tests.servers.process import free_port


class Gate:
    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.mute = False
        """What the server says is dropped; what it is told still reaches it."""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    def shut(self) -> None:
        """Refuse newcomers and cut who is connected."""
        if self._server:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            pair = {writer, far_writer}
            self._writers |= pair
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(pump(reader, far_writer))
                    tasks.create_task(pump(far_reader, writer, lambda: not self.mute))
            finally:
                self._writers -= pair


async def pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: Callable[[], bool] = lambda: True
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            if passes():
                writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def gate(target: int) -> AsyncGenerator[Gate]:
    relay = Gate(free_port(), target)
    await relay.open()
    try:
        yield relay
    finally:
        relay.shut()
