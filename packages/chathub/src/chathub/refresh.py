"""Keeps this node's idea of the channels equal to PostgreSQL's."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from chathub.core.channels import Channel
from chathub.core.hub import Hub
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

INTERVAL_SECONDS = 5.0
RETRY_SECONDS = 0.2


class Channels(Protocol):
    async def all(self) -> Sequence[Channel]:
        """Raises UpstreamUnavailable."""
        ...


class Changes(Protocol):
    async def wait(self, seconds: float) -> None:
        """Return when somebody changed the channels, or after so many seconds."""
        ...


class Notices(Protocol):
    def changes(self) -> AbstractAsyncContextManager[Changes]: ...


class ChannelRefresh:
    def __init__(self, channels: Channels, notices: Notices, hub: Hub) -> None:
        self._channels = channels
        self._notices = notices
        self._hub = hub

    async def refresh(self) -> None:
        """Read the channels and tell everybody here if they changed. Raises UpstreamUnavailable."""
        if self._hub.channels.replace(await self._channels.all()):
            self._hub.announce_channels()

    async def run(self) -> None:
        while True:
            try:
                async with self._notices.changes() as changes:
                    while True:
                        await self.refresh()
                        await changes.wait(INTERVAL_SECONDS)
            except UpstreamUnavailable:
                await self._alone()

    async def _alone(self) -> None:
        """PostgreSQL may answer while NATS does not."""
        try:
            await self.refresh()
        except UpstreamUnavailable as error:
            logger.debug("channels not read", error=str(error))
        await asyncio.sleep(RETRY_SECONDS)
