"""One search among all messages, those included that are not stored yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from chathub.core.bus_messages import Amendment, RoomMessage, Stored
from chathub.core.channels import ChannelBook
from chathub.core.recent import under_present_name
from chathub.core.resume import as_it_stands, latest_amendments
from common.core.identity import Identity, require_role

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Query:
    channels: list[str]
    keyword: str | None
    user_id: str | None
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class Found:
    """`id` is that of the row; for a message that is not stored yet it is the negated `cache_id`."""

    id: int
    cache_id: int
    owner_id: str
    username: str
    channel: str
    message: str
    authored_at: datetime


class Unstored(NamedTuple):
    """What PostgreSQL may not know yet: messages under their present names, and what has become of older ones."""

    messages: Sequence[Stored]
    amendments: Sequence[Amendment]


class Messages(Protocol):
    async def search(self, query: Query, channel_ids: Sequence[int] | None, unstored: Unstored) -> Sequence[Found]:
        """In those channels, or in all; newest first; one more than the limit where there are more.

        Raises UpstreamUnavailable.
        """
        ...


class Unsaved(Protocol):
    async def entries(self) -> Sequence[Stored]: ...


class Searching:
    def __init__(self, messages: Messages, unsaved: Unsaved, book: ChannelBook) -> None:
        self._messages = messages
        self._unsaved = unsaved
        self._book = book

    async def search(self, caller: Identity, query: Query) -> tuple[Sequence[Found], bool]:
        """Newest first, and whether there are more. Raises Forbidden.

        Everybody may read back one channel that is open to them; across channels, by author or by keyword is for
        admins. What is looked through is the channel that was found open, whatever has its name by then.
        """
        if len(query.channels) != 1 or query.keyword is not None or query.user_id is not None:
            require_role(caller, ADMIN)
        if ADMIN not in caller.roles and self._book.named(query.channels[0], caller.subject) is None:
            return [], False
        named = [channel.id for channel in self._book.listed if channel.name in query.channels]
        channel_ids = named if query.channels else None
        unstored = unstored_of(await self._unsaved.entries(), query.user_id, channel_ids, self._book)
        found = await self._messages.search(query, channel_ids, unstored)
        return found[: query.limit], len(found) > query.limit


def unstored_of(
    entries: Sequence[Stored], user_id: str | None, channel_ids: Sequence[int] | None, book: ChannelBook
) -> Unstored:
    messages = [
        named
        for stored in as_it_stands(entries)
        if isinstance(stored.message, RoomMessage)
        and (user_id is None or stored.message.owner_id == user_id)
        and (channel_ids is None or stored.message.channel_id in channel_ids)
        and (named := under_present_name(stored, book))
    ]
    return Unstored(messages, list(latest_amendments(entries).values()))
