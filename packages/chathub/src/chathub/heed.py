"""What other services tell: sessions that ended, users who are banned. Sockets of theirs close, and none opens again.

All of it is read from a stream that keeps it for as long as tokens live: a node that was not there knows it too.
"""

import time
from collections.abc import AsyncIterator
from typing import Protocol

from chathub.core.ban import KEEPER
from chathub.core.cut_off import CutOff
from chathub.core.hub import Hub
from common.adapters.nats_notices import KEPT_SECONDS
from common.core.errors import UpstreamUnavailable
from common.core.notices import Batch, SessionRevoked, Told, UserBanned, UserPardoned


class Notices(Protocol):
    def batches(self) -> AsyncIterator[Batch]:
        """For ever, from the oldest that is kept."""
        ...


class Heeding:
    def __init__(self, notices: Notices, hub: Hub) -> None:
        self._notices = notices
        self._hub = hub
        self._cut_off = CutOff()
        self._is_informed = False

    async def run(self) -> None:
        async for batch in self._notices.batches():
            for told in batch.told:
                self._heed(told)
            self._is_informed = self._is_informed or batch.is_latest

    async def ready(self) -> None:
        """Health probe: raises UpstreamUnavailable until all is read that was told before."""
        if not self._is_informed:
            raise UpstreamUnavailable("It is not known yet which sessions have ended.")

    async def refuse(self, user_id: str, session_id: str | None) -> None:
        """Raises Unauthenticated, or UpstreamUnavailable where it cannot be known."""
        await self.ready()
        self._cut_off.refuse(user_id, session_id, time.time())

    def _heed(self, told: Told) -> None:
        match told.notice:
            case SessionRevoked(session_id=session_id, record_id=user_id):
                self._cut_off.end_session(session_id, (told.at or time.time()) + KEPT_SECONDS)
                self._hub.end_session(session_id, user_id)
            case UserBanned(subject=user_id, until=until, keeper=keeper):
                if keeper != KEEPER and (until == 0 or until > time.time()):
                    self._cut_off.ban(user_id, until)
                    self._hub.banish(user_id)
            case UserPardoned(subject=user_id):
                self._cut_off.pardon(user_id)
