"""What users are told of each other without being kept, between nodes over NATS."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from chathub.core.signals import Signals
from common.adapters.nats_bus import Bus
from common.adapters.nats_listening import Gap, Listening
from common.core import subjects


class NatsSignals:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def tell(self, signals: Signals) -> None:
        await self._bus.publish(subjects.CHAT_CONTROL_SIGNALS, signals, deadline_seconds=1)

    @asynccontextmanager
    async def heard(self) -> AsyncGenerator[AsyncIterator[Signals]]:
        async with self._bus.listening(subjects.CHAT_CONTROL_SIGNALS, Signals) as listening:
            yield each(listening)


async def each(listening: Listening[Signals]) -> AsyncIterator[Signals]:
    """Those that were missed are of no use by then."""
    async for received in listening:
        if not isinstance(received, Gap):
            yield received.message
