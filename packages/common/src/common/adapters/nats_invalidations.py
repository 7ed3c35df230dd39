"""Cache invalidations over NATS, one subject for all caches. A sender hears its own messages, and everybody hears them
in the order in which the server took them."""

import asyncio
from collections.abc import Callable

from common.adapters.nats_bus import Bus
from common.adapters.nats_connection import ConnectionLost
from common.adapters.nats_subscriptions import Arrived
from common.core.errors import UpstreamUnavailable
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

    async def listen(self, hear: Callable[[bytes], None]) -> None:
        """Until cancelled. Raises Forbidden."""

        def deliver(arrived: Arrived) -> None:
            hear(arrived.payload)

        async with self._link.subscribed(self._subject, deliver):
            await asyncio.get_running_loop().create_future()
