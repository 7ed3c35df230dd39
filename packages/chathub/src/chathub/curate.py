"""Changes to the channels, by admins; everybody connected is told."""

from dataclasses import dataclass
from typing import Protocol

from chathub.search import ADMIN
from common.core.identity import Identity, require_role


@dataclass(frozen=True, slots=True)
class NewChannel:
    name: str
    description: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """`describes` and `moves` tell a value that was not given from one that was given as null."""

    id: int
    name: str | None
    description: str | None
    describes: bool
    before_id: int | None
    moves: bool


class Channels(Protocol):
    async def create(self, channel: NewChannel) -> None: ...

    async def change(self, change: Change) -> None: ...

    async def delete(self, id: int, *, purge: bool) -> None: ...


class Log(Protocol):
    async def purge_room(self, channel_id: int) -> None: ...


class Notices(Protocol):
    async def channels_changed(self) -> None: ...


class Refresh(Protocol):
    async def refresh(self) -> None: ...


class Curator:
    def __init__(self, channels: Channels, log: Log, notices: Notices, refresh: Refresh) -> None:
        self._channels = channels
        self._log = log
        self._notices = notices
        self._refresh = refresh

    async def create(self, caller: Identity, channel: NewChannel) -> None:
        require_role(caller, ADMIN)
        await self._channels.create(channel)
        await self._tell()

    async def change(self, caller: Identity, change: Change) -> None:
        require_role(caller, ADMIN)
        await self._channels.change(change)
        await self._tell()

    async def delete(self, caller: Identity, id: int, *, purge: bool) -> None:
        """A purge empties the log first, so that nothing is left that could be persisted afterwards."""
        require_role(caller, ADMIN)
        if purge:
            await self._log.purge_room(id)
        await self._channels.delete(id, purge=purge)
        await self._tell()

    async def _tell(self) -> None:
        await self._refresh.refresh()
        await self._notices.channels_changed()
