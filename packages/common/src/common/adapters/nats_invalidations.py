"""Cache invalidations over NATS, one subject for all caches. A sender hears its own messages, and everybody hears each
sender in order. Two senders at once may be heard in different orders: a server serves each connection by itself."""

import asyncio

from common.adapters.nats_bus import Bus
from common.adapters.nats_connection import ConnectionLost
from common.adapters.nats_subscriptions import Arrived, Change
from common.cache.ports import Hear
from common.core.errors import ServiceError, UpstreamUnavailable
from common.core.subjects import CACHE_INVALIDATE


class NatsInvalidations:
    """Over a bus that may be away at any time. What is lost on the way is noticed by the cache: it numbers what it
    says, so nothing here waits for confirmation."""

    def __init__(self, bus: Bus, subject: str = CACHE_INVALIDATE) -> None:
        self._link = bus.link
        self._subject = subject

    async def publish(self, data: bytes) -> None:
        """Raises UpstreamUnavailable unless connected."""
        try:
            self._link.send(self._subject, data, {})
        except ConnectionLost as error:
            raise UpstreamUnavailable("NATS is not connected: a cache invalidation was not sent.") from error

    async def listen(self, hear: Hear) -> None:
        """Until cancelled. Raises Forbidden."""
        refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def deliver(arrived: Arrived) -> None:
            hear(arrived.payload)

        def changed(change: Change) -> None:
            if change == "in_place":
                hear(None)
            elif isinstance(change, ServiceError) and not refused.done():
                refused.set_exception(change)

        async with self._link.subscribed(self._subject, deliver, changed=changed):
            await refused
