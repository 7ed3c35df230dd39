"""What nodes tell each other beside the log. One that does not hear it finds out by itself within seconds."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog

from chathub.core.bus_messages import Notice
from common.adapters.nats_bus import Bus
from common.adapters.nats_listening import Gap, Listening
from common.core import subjects
from common.core.errors import ServiceError

logger = structlog.get_logger(__name__)


class NatsNotices:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def tell(self, notice: Notice) -> None:
        """Tell all nodes, this one included."""
        try:
            await self._bus.publish(subjects.CHAT_CONTROL_ALL, notice, deadline_seconds=2)
        except ServiceError as error:
            logger.warning("notice not sent", about=notice.about, error=str(error))

    @asynccontextmanager
    async def heard(self) -> AsyncGenerator["HeardNotices"]:
        async with self._bus.listening(subjects.CHAT_CONTROL_ALL, Notice) as listening:
            yield HeardNotices(listening)


class HeardNotices:
    def __init__(self, listening: Listening[Notice]) -> None:
        self._listening = listening

    async def next(self) -> Notice | None:
        """The next notice; None where some may have been missed, so that all is to be read anew."""
        received = await anext(self._listening)
        return None if isinstance(received, Gap) else received.message
