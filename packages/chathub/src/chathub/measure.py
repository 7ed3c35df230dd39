"""What dashboards show: sessions by day, messages by channel. Asked for over HTTP, and pushed.

At most once an interval, at the price of a twentieth of one connection to PostgreSQL; not at all while nobody looks.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from chathub.core import client_frames
from chathub.core.activity import ChannelCount, DayOfSessions
from chathub.core.client_frames import Frame
from chathub.core.hub import Hub
from chathub.search import ADMIN
from common.core.errors import UpstreamUnavailable
from common.core.identity import Identity, require_role

logger = structlog.get_logger(__name__)

SPARING = 20
"""Times as long as asking took nothing is asked again."""

LOOK_SECONDS = 0.5


class Activity(Protocol):
    """Raises UpstreamUnavailable, all of it."""

    async def sessions(self, user_id: str | None) -> Sequence[DayOfSessions]:
        """Of the last seven days."""
        ...

    async def counts(self) -> Sequence[ChannelCount]: ...


class Measuring:
    def __init__(self, activity: Activity, hub: Hub, *, interval_seconds: float) -> None:
        self._activity = activity
        self._hub = hub
        self._interval_seconds = interval_seconds

    async def sessions(self, caller: Identity, user_id: str | None) -> Sequence[DayOfSessions]:
        require_role(caller, ADMIN)
        return await self._activity.sessions(user_id)

    async def counts(self, caller: Identity) -> Sequence[ChannelCount]:
        require_role(caller, ADMIN)
        return await self._activity.counts()

    async def run(self) -> None:
        while True:
            if not self._hub.is_observed():
                await asyncio.sleep(min(LOOK_SECONDS, self._interval_seconds))
                continue
            begun = asyncio.get_running_loop().time()
            try:
                self._hub.show_observers(await self._frames())
            except UpstreamUnavailable as error:
                logger.debug("nothing measured", error=str(error))
            took = asyncio.get_running_loop().time() - begun
            await asyncio.sleep(max(self._interval_seconds, SPARING * took))

    async def _frames(self) -> list[Frame]:
        return [
            client_frames.message_count_by_channel(await self._activity.counts()),
            client_frames.session_activity(await self._activity.sessions(None)),
        ]
