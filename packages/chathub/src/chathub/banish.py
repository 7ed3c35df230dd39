"""Bans and pardons, by admins. The row is what counts; sockets close at the word of it, or once it is read again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from chathub.core.ban import Ban, BanRecord, StandingBan, notice_of
from chathub.core.hub import Hub
from chathub.search import ADMIN
from common.core.errors import Unauthenticated, UpstreamUnavailable
from common.core.identity import Identity, require_role
from common.core.notices import UserBanned, UserPardoned

logger = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5
LOOK_SECONDS = 5.0
"""After which a node looks for what another left untold."""


class Bans(Protocol):
    async def ban(self, ban: Ban) -> BanRecord: ...

    async def pardon(self, ban_id: int, actor_id: str) -> None:
        """End all bans of whom that one concerns. Raises NotFound."""
        ...

    def untold(self) -> AbstractAsyncContextManager[tuple[str, StandingBan | None] | None]:
        """Somebody of whom the others have to be told, and what holds for him now; told if the block raises nothing.
        Nobody else tells of him meanwhile."""
        ...

    async def records(self, limit: int, offset: int) -> Sequence[BanRecord]: ...

    async def standing(self, user_ids: Sequence[str]) -> Sequence[str]:
        """Those of them who are banned. Raises UpstreamUnavailable."""
        ...


class BanNotices(Protocol):
    async def tell(self, notice: UserBanned | UserPardoned) -> None:
        """Raises UpstreamUnavailable."""
        ...

    def heard(self) -> AbstractAsyncContextManager[AsyncIterator[UserBanned | None]]:
        """None where some may have been missed."""
        ...


class Purging(Protocol):
    def wake(self) -> None: ...


class Banishment:
    def __init__(self, bans: Bans, notices: BanNotices, hub: Hub, purging: Purging) -> None:
        self._bans = bans
        self._notices = notices
        self._hub = hub
        self._purging = purging
        self._wanted = asyncio.Event()

    async def ban(self, caller: Identity, ban: Ban) -> BanRecord:
        require_role(caller, ADMIN)
        record = await self._bans.ban(ban)
        self._hub.banish(ban.banished_id)
        self._wanted.set()
        if ban.purge:
            self._purging.wake()
        return record

    async def pardon(self, caller: Identity, ban_id: int) -> None:
        require_role(caller, ADMIN)
        await self._bans.pardon(ban_id, caller.subject)
        self._wanted.set()

    async def records(self, caller: Identity, limit: int, offset: int) -> tuple[Sequence[BanRecord], bool]:
        """Newest first, and whether there are more."""
        require_role(caller, ADMIN)
        found = await self._bans.records(limit + 1, offset)
        return found[:limit], len(found) > limit

    async def refuse(self, caller: Identity) -> None:
        """Raises Unauthenticated for one who is banned, UpstreamUnavailable where that cannot be known."""
        if await self._bans.standing([caller.subject]):
            raise Unauthenticated("User is banned.")

    async def refresh(self) -> None:
        """Close whoever is banned by a word that never came here. Raises UpstreamUnavailable."""
        for user_id in await self._bans.standing(self._hub.user_ids()):
            self._hub.banish(user_id)

    async def listen(self) -> None:
        async with self._notices.heard() as heard:
            async for notice in heard:
                if notice is not None:
                    self._hub.banish(notice.subject)
                    continue
                try:
                    await self.refresh()
                except UpstreamUnavailable as error:  # read again within seconds
                    logger.debug("bans not read", error=str(error))

    async def run(self) -> None:
        """Tell the other services, for as long as it takes, whichever node it was that banned."""
        while True:
            self._wanted.clear()
            try:
                while await self._tell_one():
                    pass
            except UpstreamUnavailable as error:
                logger.debug("bans not told", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await self._sleep()

    async def _tell_one(self) -> bool:
        async with self._bans.untold() as found:
            if found is not None:
                await self._notices.tell(notice_of(*found))
            return found is not None

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._wanted.wait()
        except TimeoutError:
            return
