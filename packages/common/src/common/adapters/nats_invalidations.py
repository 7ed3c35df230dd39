"""Cache invalidations over NATS, one subject for all caches. A sender hears its own messages, and everybody hears them
in the order in which the server took them."""

import asyncio
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from common.core.errors import UpstreamUnavailable
from common.core.subjects import CACHE_INVALIDATE

LOOK_SECONDS = 0.05


class NatsInvalidations:
    """`client` as `open_nats` gives it: perhaps not connected yet, and reconnecting for ever."""

    def __init__(self, client: Client, subject: str = CACHE_INVALIDATE) -> None:
        self._client = client
        self._subject = subject

    async def publish(self, data: bytes) -> None:
        """Raises UpstreamUnavailable unless connected: what is buffered meanwhile may vanish without a word."""
        if not self._client.is_connected:
            raise UpstreamUnavailable("NATS is not connected.")
        try:
            await self._client.publish(self._subject, data)
        except (Error, OSError) as error:
            raise UpstreamUnavailable(f"NATS did not take a cache invalidation: {type(error).__name__}.") from error

    async def listen(self, hear: Callable[[bytes], None]) -> None:
        """Raises UpstreamUnavailable once the client is closed for good."""

        async def receive(message: Msg) -> None:
            hear(message.data)

        while not self._client.is_connected:
            if self._client.is_closed:
                raise UpstreamUnavailable("The NATS client is closed.")
            await asyncio.sleep(LOOK_SECONDS)
        subscription = await self._client.subscribe(self._subject, cb=receive)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            if self._client.is_connected:
                await subscription.unsubscribe()
