"""One client's event stream, from its first word until it leaves or is ended."""

import secrets
from collections.abc import Sequence
from typing import Protocol

from starlette.types import Receive, Scope

from common.core.event_frames import sse_event
from common.serving.direct_writes import outlet_of
from gateway.core.front_door.cross_origin import ALLOW_ORIGIN
from gateway.realtime.clients import SSE
from gateway.realtime.hub import Hub
from gateway.realtime.serve_socket import Sockets

HEADERS = [
    (b"content-type", b"text/event-stream; charset=UTF-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    ALLOW_ORIGIN,
]
LEFT = "client_gone"
LEAST_RETRY_MS, RETRY_SPREAD_MS = 500, 2500
"""Not all come again at once when a gateway is gone without a word; the SDK goes by delays of its own."""


class Begun(Protocol):
    reason: str

    async def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None: ...
    async def piece(self, body: bytes) -> None: ...


class Following(Protocol):
    @property
    def is_current(self) -> bool: ...


class Waiting(Protocol):
    def end_all(self) -> None: ...


class Streams:
    """`waiting` are those who have no stream but for their sign-in."""

    def __init__(self, hub: Hub, following: Following, waiting: Waiting) -> None:
        self._hub = hub
        self._waiting = waiting
        self._following = following
        self.sockets = Sockets(hub)

    @property
    def is_current(self) -> bool:
        """Can clients be told here of all that happens? Else they are to be connected to PocketBase."""
        return self._following.is_current

    def close(self) -> None:
        """The gateway is about to stop."""
        self._hub.begin_anew("stopping")
        self._waiting.end_all()

    async def serve(self, scope: Scope, receive: Receive, reply: Begun, address: str) -> None:
        """Until the connection is gone. Raises UpstreamUnavailable before anything was said."""
        id = self._hub.new_id()
        await reply.begin(200, HEADERS)
        retry_ms = LEAST_RETRY_MS + secrets.randbelow(RETRY_SPREAD_MS)
        data = b'{"clientId":"%b"}' % id.encode()
        await reply.piece(sse_event(b"PB_CONNECT", data, id=id.encode(), retry_ms=retry_ms))
        client = self._hub.open(id, outlet_of(scope), SSE, address)
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            reply.reason = LEFT
            self._hub.close(client)
