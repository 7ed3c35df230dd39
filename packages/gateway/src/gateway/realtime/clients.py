"""Realtime clients as this process holds them, and how an event is written to many of them."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from prometheus_client import Counter, Gauge

from common.core.event_frames import (
    LAST_CHUNK,
    http_chunk,
    sse_comment,
    sse_event,
    websocket_close,
    websocket_text,
)
from common.serving.direct_writes import Outlet, write_to_all
from gateway.core.realtime.caller import Caller
from gateway.core.realtime.groups import Group

RESTART = 1012
"""Service Restart: the client is to come again (RFC 6455 §7.4, IANA's registry)."""

SLICE = 250
"""Clients that are told in one turn of the event loop: some milliseconds, so that nothing else is late."""

CLIENTS = Gauge("gateway_realtime_clients", "Realtime clients that are connected.")
EVENTS = Counter("gateway_realtime_events", "Events written to realtime clients.")
CUT = Counter("gateway_realtime_cut", "Realtime clients that were cut off, by why.", ("reason",))


@dataclass(frozen=True, slots=True, eq=False)
class Framing:
    """How events travel; `last` ends a stream in order."""

    event: Callable[[str, bytes], bytes]
    comment: bytes
    last: bytes


def sse_frame(topic: str, data: bytes) -> bytes:
    return http_chunk(sse_event(topic.encode(), data))


def websocket_frame(topic: str, data: bytes) -> bytes:
    return websocket_text(b'{"event":%b,"data":%b}' % (orjson.dumps(topic), data))


SSE = Framing(sse_frame, http_chunk(sse_comment()), LAST_CHUNK)
WEBSOCKET = Framing(websocket_frame, b"\x89\x00", websocket_close(RESTART))  # a ping, which every client answers itself


class Client:
    """`groups` and `shared` are where it is told of something; what is wanted is set in `turn`. More may wait for it
    until `catches_up_until`, in seconds of the loop's time.
    """

    __slots__ = (
        *("address", "caller", "catches_up_until", "framing", "groups", "id"),
        *("is_open", "outlet", "own", "shared", "turn"),
    )

    def __init__(self, id: str, outlet: Outlet, framing: Framing, address: str) -> None:
        self.id = id
        self.outlet = outlet
        self.framing = framing
        self.address = address
        self.caller: Caller | None = None
        self.groups: tuple[Group[Members], ...] = ()
        self.shared: tuple[Any, ...] = ()
        self.own: frozenset[str] = frozenset()
        self.is_open = True
        self.turn = asyncio.Lock()
        self.catches_up_until = 0.0


class Members:
    """Of one topic, by how events travel to them."""

    __slots__ = ("_by_framing",)

    def __init__(self) -> None:
        self._by_framing: dict[Framing, dict[Outlet, Client]] = {}

    def add(self, client: Client) -> None:
        self._by_framing.setdefault(client.framing, {})[client.outlet] = client

    def remove(self, client: Client) -> bool:
        """Whether nobody is left."""
        found = self._by_framing.get(client.framing, {})
        found.pop(client.outlet, None)
        if not found:
            self._by_framing.pop(client.framing, None)
        return not self._by_framing

    def __contains__(self, client: Client) -> bool:
        return client.outlet in self._by_framing.get(client.framing, {})

    def __iter__(self) -> Iterator[Client]:
        for found in self._by_framing.values():
            yield from found.values()

    def now(self) -> "Hearers":
        """Those who are here at this moment."""
        return [(framing, found, list(found)) for framing, found in self._by_framing.items()]


Hearers: TypeAlias = list[tuple[Framing, dict[Outlet, Client], list[Outlet]]]


async def tell(hearers: Hearers, topic: str, data: bytes, *, most_waiting_bytes: int) -> list[Client]:
    """Those who do not read what they are sent; they are not told. Who leaves meanwhile is not told either."""
    slow: list[Client] = []
    for framing, found, outlets in hearers:
        frame = framing.event(topic, data)
        for begin in range(0, len(outlets), SLICE):
            if begin:
                await asyncio.sleep(0)
            here = [outlet for outlet in outlets[begin : begin + SLICE] if outlet in found]
            left_out = write_to_all(here, frame, most_waiting_bytes=most_waiting_bytes)
            EVENTS.inc(len(here) - len(left_out))
            slow += [found[outlet] for outlet in left_out]
    return slow
