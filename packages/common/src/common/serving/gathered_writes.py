"""uvicorn's HTTP/1.1 connection, which sends what was written in one turn of the event loop in one piece.

uvicorn writes the head and the body of an answer one after the other, and uvloop sends each write at once: two calls to
the system and two packets, where one of each costs a quarter less of the processor (docs/explanation/performance.md).
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from common.serving.direct_writes import EXTENSION, Sending

MAX_HELD_BYTES = 64 * 1024
"""What is written beyond is sent at once, so that whoever writes is told soon enough when the client does not read."""


class GatheredWrites:
    """A transport before the one that sends; whatever is no write goes to that one."""

    __slots__ = ("_held", "_held_bytes", "_loop", "sending")

    def __init__(self, sending: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.sending = sending
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > MAX_HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._held:
            return
        held, size = self._held, self._held_bytes
        self._held, self._held_bytes = [], 0
        if self.sending.is_closing():
            return
        if size > MAX_HELD_BYTES:
            self.sending.writelines(held)
        else:
            self.sending.write(b"".join(held))

    def direct(self) -> Sending:
        """See `common.serving.direct_writes`."""
        self.flush()
        return self.sending

    def close(self) -> None:
        self.flush()
        self.sending.close()

    def is_closing(self) -> bool:
        return self.sending.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sending, name)


class GatheringHttp(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        gathered = GatheredWrites(cast(asyncio.Transport, transport), self.loop)
        self._extensions = {EXTENSION: {"connection": gathered}}
        super().connection_made(cast(asyncio.Transport, gathered))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)["extensions"] = self._extensions

    def handle_websocket_upgrade(self) -> None:
        """A WebSocket has the connection for itself."""
        gathered = cast(GatheredWrites, self.transport)
        gathered.flush()
        self.transport = gathered.sending
        super().handle_websocket_upgrade()
