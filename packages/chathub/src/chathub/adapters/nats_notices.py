"""What nodes tell each other beside the log."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from chathub.adapters.nats_log import left, translated
from chathub.core.bus_messages import ChannelsChanged, Unreadable, encode, read_control
from common.core import subjects
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)


class NatsNotices:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def channels_changed(self) -> None:
        """Tell all nodes. One that does not hear it finds out by itself within seconds."""
        try:
            await self._client.publish(subjects.CHAT_CONTROL_ALL, encode(ChannelsChanged()))
        except nats.errors.Error as error:
            logger.warning("change of channels not announced", error=type(error).__name__)

    @asynccontextmanager
    async def changes(self) -> AsyncGenerator["NatsChanges"]:
        if not self._client.is_connected:
            raise UpstreamUnavailable("NATS is not connected.")
        with translated():
            subscription = await self._client.subscribe(subjects.CHAT_CONTROL_ALL)
        async with left(subscription):
            yield NatsChanges(subscription)


class NatsChanges:
    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not concerns_channels(await self._next(seconds)):
                    pass
        except TimeoutError:
            return

    async def _next(self, seconds: float) -> bytes:
        try:
            return (await self._subscription.next_msg(seconds)).data
        except nats.errors.TimeoutError:
            raise
        except nats.errors.Error as error:
            raise UpstreamUnavailable(f"NATS does not deliver: {type(error).__name__}.") from error


def concerns_channels(data: bytes) -> bool:
    try:
        read_control(data)
    except Unreadable as error:
        logger.warning("notice left out", error=str(error))
        return False
    return True
