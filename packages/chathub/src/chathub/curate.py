"""Changes to the channels and to who may be in them, by admins; everybody connected is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chathub.core.bus_messages import Notice
from chathub.core.channels import Channel, ChannelBook
from chathub.search import ADMIN
from common.core.errors import NotFound
from common.core.identity import Identity, require_role

MAX_MEMBERS = 5000
"""Every node knows all members of all private channels."""


@dataclass(frozen=True, slots=True)
class NewChannel:
    name: str
    description: str | None
    is_private: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """`describes` and `moves` tell a value that was not given from one that was given as null."""

    id: int
    name: str | None
    description: str | None
    describes: bool
    before_id: int | None
    moves: bool


@dataclass(frozen=True, slots=True)
class MemberOf:
    id: str
    username: str


class Channels(Protocol):
    """The actor is who does it, for the moderation log."""

    async def create(self, actor_id: str, channel: NewChannel) -> None: ...

    async def change(self, actor_id: str, change: Change) -> None: ...

    async def delete(self, actor_id: str, id: int, *, purge: bool) -> None: ...


class Members(Protocol):
    """Raises NotFound for a channel that is not private, Conflict when there are too many."""

    async def add(self, actor_id: str, channel_id: int, user_id: str) -> None: ...

    async def remove(self, actor_id: str, channel_id: int, user_id: str) -> None: ...

    async def of(self, channel_id: int, limit: int, offset: int) -> Sequence[MemberOf]: ...


class Log(Protocol):
    async def purge_room(self, channel_id: int) -> None: ...


class Notices(Protocol):
    async def tell(self, notice: Notice) -> None: ...


class Refresh(Protocol):
    async def refresh(self) -> None: ...


class Announcing:
    """What changed is read here at once, and by the other nodes as they hear of it."""

    def __init__(self, notices: Notices, refresh: Refresh) -> None:
        self._notices = notices
        self._refresh = refresh

    async def tell(self) -> None:
        await self._refresh.refresh()
        await self._notices.tell(Notice(about="channels"))


class Curator:
    def __init__(self, channels: Channels, log: Log, announcing: Announcing) -> None:
        self._channels = channels
        self._log = log
        self._announcing = announcing

    async def create(self, caller: Identity, channel: NewChannel) -> None:
        require_role(caller, ADMIN)
        await self._channels.create(caller.subject, channel)
        await self._announcing.tell()

    async def change(self, caller: Identity, change: Change) -> None:
        require_role(caller, ADMIN)
        await self._channels.change(caller.subject, change)
        await self._announcing.tell()

    async def delete(self, caller: Identity, id: int, *, purge: bool) -> None:
        """A purge empties the log first, so that nothing is left that could be persisted afterwards; and once more, of
        what was said until the channel was gone."""
        require_role(caller, ADMIN)
        if purge:
            await self._log.purge_room(id)
        await self._channels.delete(caller.subject, id, purge=purge)
        await self._announcing.tell()
        if purge:
            await self._log.purge_room(id)


class Membership:
    def __init__(self, members: Members, book: ChannelBook, announcing: Announcing) -> None:
        self._members = members
        self._book = book
        self._announcing = announcing

    async def add(self, caller: Identity, channel_id: int, user_id: str) -> None:
        require_role(caller, ADMIN)
        await self._members.add(caller.subject, channel_id, user_id)
        await self._announcing.tell()

    async def remove(self, caller: Identity, channel_id: int, user_id: str) -> None:
        require_role(caller, ADMIN)
        await self._members.remove(caller.subject, channel_id, user_id)
        await self._announcing.tell()

    async def of(self, caller: Identity, channel_id: int, limit: int, offset: int) -> tuple[Sequence[MemberOf], bool]:
        """For admins and the members themselves; to all others there is no such channel. Raises NotFound."""
        channel = self._book.with_id(channel_id)
        if ADMIN not in caller.roles and not (channel and channel.is_private and channel.is_open_to(caller.subject)):
            raise NotFound("There is no such channel.")
        found = await self._members.of(channel_id, limit + 1, offset)
        return found[:limit], len(found) > limit


def channels_for(caller: Identity, book: ChannelBook) -> Sequence[Channel]:
    return book.listed if ADMIN in caller.roles else book.open_to(caller.subject)
