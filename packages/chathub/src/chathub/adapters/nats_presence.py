"""Who is where, as the nodes tell each other over NATS."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from chathub.core.presence import Report
from common.adapters.nats_bus import Bus
from common.adapters.nats_listening import Gap, Listening
from common.core import subjects


class NatsPresence:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def tell(self, report: Report) -> None:
        await self._bus.publish(subjects.CHAT_PRESENCE, report, deadline_seconds=1)

    def is_deaf(self) -> bool:
        return not self._bus.link.connection.stands

    @asynccontextmanager
    async def heard(self) -> AsyncGenerator[AsyncIterator[Report | None]]:
        async with self._bus.listening(subjects.CHAT_PRESENCE, Report) as listening:
            yield reports(listening)


async def reports(listening: Listening[Report]) -> AsyncIterator[Report | None]:
    async for received in listening:
        yield None if isinstance(received, Gap) else received.message
