"""Who writes and who has read how far, told to all nodes a few times a second; what is not told by then is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

import structlog

from chathub.core.hub import Hub
from chathub.core.signals import Place, Signal, Signals
from common.core.errors import ServiceError

logger = structlog.get_logger(__name__)

TICK_SECONDS = 0.25
MOST = 2000
"""Of a tick; users with more to tell than that, together, are not heard in full."""

_Key: TypeAlias = tuple[type[Signal], tuple[str, str], Place]


class Ether(Protocol):
    async def tell(self, signals: Signals) -> None:
        """Tell all nodes, this one included. Raises UpstreamUnavailable."""
        ...

    def heard(self) -> AbstractAsyncContextManager[AsyncIterator[Signals]]: ...


class TellSignals:
    def __init__(self, hub: Hub, ether: Ether) -> None:
        self._hub = hub
        self._ether = ether
        self._waiting: dict[_Key, Signal] = {}
        self._arrived = asyncio.Event()

    def tell(self, signal: Signal) -> None:
        """Of several by one user about one place the last counts."""
        key = (type(signal), signal.user, signal.place)
        if key in self._waiting or len(self._waiting) < MOST:
            self._waiting[key] = signal
            self._arrived.set()

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            waiting, self._waiting = self._waiting, {}
            try:
                await self._ether.tell(Signals(signals=tuple(waiting.values())))
            except ServiceError as error:
                logger.debug("signals not told", error=str(error))
            await asyncio.sleep(TICK_SECONDS)

    async def listen(self) -> None:
        async with self._ether.heard() as heard:
            async for signals in heard:
                for signal in signals.signals:
                    self._hub.signal(signal)
