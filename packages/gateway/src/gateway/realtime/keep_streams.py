"""What the clock brings about: heartbeats, expired tokens, a feed that falls silent, streams that end in turn."""

import asyncio
import secrets
import time
from typing import Protocol

from gateway.realtime.clients import Client
from gateway.realtime.hub import Hub

TICK_SECONDS = 0.2
UNHEARD_TICKS = 2
"""Once may be this process being late itself."""
HEARTBEAT_SECONDS = 20.0
SLICE = 500
SPREAD_MILLISECONDS = 1000
"""Within what time streams end that end together: their clients come again at once."""


class Hearing(Protocol):
    @property
    def heard_until(self) -> float:
        """Seconds of `time.monotonic` before which every ending of a session is heard of in time."""
        ...


class Following(Protocol):
    @property
    def is_current(self) -> bool: ...


class Rules(Protocol):
    @property
    def current(self) -> object:
        """Another one once rule files were read again."""
        ...


class SpreadEndings:
    """Ends connections at random within a second."""

    def later(self, client: Client) -> None:
        delay_seconds = secrets.randbelow(SPREAD_MILLISECONDS) / 1000
        asyncio.get_running_loop().call_later(delay_seconds, end, client)


def end(client: Client) -> None:
    client.outlet.end(client.framing.last)


class Keeping:
    """`tick` and `beat` must run beside the server."""

    def __init__(self, hub: Hub, hearing: Hearing, following: Following, rules: Rules) -> None:
        self._hub = hub
        self._rules = rules
        self._hearing = hearing
        self._following = following

    async def tick(self) -> None:
        was_current, unheard_ticks, rules = False, 0, self._rules.current
        while True:
            self._hub.expire(time.time())
            unheard_ticks = unheard_ticks + 1 if self._hearing.heard_until <= time.monotonic() else 0
            if unheard_ticks >= UNHEARD_TICKS:
                self._hub.missed()
            is_current = self._following.is_current
            if was_current and not is_current:
                self._hub.begin_anew("silence")
            was_current = is_current
            if self._rules.current is not rules:
                rules = self._rules.current
                self._hub.begin_anew("rules")  # they may refuse now what is being told
            await asyncio.sleep(TICK_SECONDS)

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            clients = self._hub.clients
            for begin in range(0, len(clients), SLICE):
                for client in clients[begin : begin + SLICE]:
                    self._hub.keep_alive(client)
                await asyncio.sleep(0)
