"""Keeps this node's idea of the channels, and of who is in them, equal to PostgreSQL's."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from chathub.ask_aside import AskingAside
from chathub.core.bus_messages import DirectMessage, Message, private_room_of
from chathub.core.channels import Channel
from chathub.core.hub import Hub
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

KNOW_SECONDS = 1.0
GONE = 10_000
"""Deleted private channels that are remembered; their numbers do not come again."""


class Channels(Protocol):
    async def all(self) -> Sequence[Channel]:
        """Raises UpstreamUnavailable."""
        ...


class ChannelRefresh:
    def __init__(self, channels: Channels, hub: Hub) -> None:
        self._channels = channels
        self._hub = hub
        self._one_at_a_time = asyncio.Lock()
        self._asking = AskingAside(self.refresh)
        self._gone: set[int] = set()
        self._not_before = 0.0

    async def run(self) -> None:
        """What `known` waits for."""
        await self._asking.run()

    async def refresh(self) -> None:
        """Read the channels and tell everybody here if they changed. Raises UpstreamUnavailable.

        What is read is never older than what was read before: who was removed from a channel does not come back.
        """
        async with self._one_at_a_time:
            if self._hub.channels.replace(await self._channels.all()):
                self._hub.announce_channels()

    async def known(self, message: Message) -> None:
        """Read the channels if the sender of a message in a private one has seen later members than this node.

        While PostgreSQL is away the members are those last read: who is new waits, nobody sees what is not for them.
        """
        room = private_room_of(message)
        if room is None or isinstance(message, DirectMessage) or room in self._gone:
            return
        now = asyncio.get_running_loop().time()
        if now < self._not_before or not self._hub.channels.is_behind(room, message.members_version or 0):
            return
        try:
            await self._asking.anew(KNOW_SECONDS)
        except UpstreamUnavailable as error:
            logger.warning("members not read", channel=room, error=str(error))
            self._not_before = asyncio.get_running_loop().time() + KNOW_SECONDS
        else:
            self._remember_if_gone(room)

    def _remember_if_gone(self, room: int) -> None:
        if self._hub.channels.with_id(room) is None:
            if len(self._gone) == GONE:
                self._gone.clear()
            self._gone.add(room)
