"""One event written to many clients: framed once, and handed straight to their connections.

ASGI's `send` costs a coroutine, a message and a frame for every client. Once an answer without an end has begun, its
`Outlet` takes whole frames past it (`common.core.event_frames`). What a client does not read waits in its connection,
up to a bound; whoever lets more wait is to be cut, so that nobody else waits for him.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol, cast

from starlette.types import Scope

EXTENSION = "pocketwire.direct"
"""What the servers of `common.serving.server` add to a scope: under `connection`, the connection itself."""

CLOSE_SECONDS = 2
"""What a client has to take what was last written to it, such as a WebSocket's close frame."""


class NoDirectWrites(RuntimeError):
    """The server does not say which connection a request came over."""


class Sending(Protocol):
    """What an asyncio transport does, as far as it is used here."""

    def write(self, data: bytes) -> None: ...
    def is_closing(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class Connection(Protocol):
    def direct(self) -> Sending:
        """The transport, everything before being on its way. From now on nobody else must write."""
        ...


class Outlet:
    """A client whose answer has begun. Compared by identity."""

    __slots__ = ("__weakref__", "transport")

    def __init__(self, transport: Sending) -> None:
        self.transport = transport

    @property
    def is_open(self) -> bool:
        return not self.transport.is_closing()

    def end(self, last: bytes) -> None:
        """Say a last thing and close, whether or not the client reads; the application then receives a disconnect."""
        if not self.transport.is_closing():
            self.transport.write(last)
            self.transport.close()
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.transport.abort)

    def cut(self) -> None:
        """Close at once; what the client has not read is lost."""
        self.transport.abort()


def outlet_of(scope: Scope) -> Outlet:
    """To be called once the answer has begun, or the WebSocket is accepted. Raises NoDirectWrites."""
    extension = cast(dict[str, Any], scope.get("extensions") or {}).get(EXTENSION)
    if extension is None:
        raise NoDirectWrites("The server hands out no connections.")
    return Outlet(cast(Connection, extension["connection"]).direct())


def write_to_all(outlets: Iterable[Outlet], frame: bytes, *, most_waiting_bytes: int) -> list[Outlet]:
    """Those for whom too much waits already; they did not get it. Who is gone is left out."""
    slow: list[Outlet] = []
    for outlet in outlets:
        transport = outlet.transport
        if transport.is_closing():
            continue
        if transport.get_write_buffer_size() > most_waiting_bytes:
            slow.append(outlet)
        else:
            transport.write(frame)
    return slow


class DirectTransport:
    """A connection that nothing gathers writes for."""

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def direct(self) -> Sending:
        return self._transport
