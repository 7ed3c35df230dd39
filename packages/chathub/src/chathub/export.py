"""One channel from its first message to its last, for admins, as it stands; no more of it in memory than a page."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import msgspec

from chathub.core.bus_messages import Amendment, Position, RoomMessage, Stored, amended
from chathub.core.moderation import Deed
from chathub.core.resume import as_it_stands, latest_amendments
from chathub.search import ADMIN
from common.core.errors import NotFound
from common.core.identity import Identity, require_role

STRETCH = 1000
BEGINNING = Position(0, 0)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    cache_id: int = msgspec.field(name="cacheID")
    owner_id: str
    username: str
    channel: str
    message: str
    authored_at: str


class Rows(Protocol):
    async def stretch(self, channel_id: int, after: Position, limit: int) -> Sequence[Stored]:
        """Of one channel, in the order of the log. Raises UpstreamUnavailable."""
        ...


class Channels(Protocol):
    async def exists(self, id: int) -> bool:
        """Or did, and left messages. Raises UpstreamUnavailable."""
        ...


class Unsaved(Protocol):
    async def entries(self) -> Sequence[Stored]: ...


class Deeds(Protocol):
    async def note(self, deed: Deed) -> None: ...


class Exporting:
    def __init__(self, rows: Rows, channels: Channels, unsaved: Unsaved, deeds: Deeds) -> None:
        self._rows = rows
        self._channels = channels
        self._unsaved = unsaved
        self._deeds = deeds

    async def export(self, caller: Identity, channel_id: int) -> AsyncIterator[bytes]:
        """JSON lines. Raises Forbidden, NotFound, UpstreamUnavailable before the first of them.

        What fails later ends the transfer early, so that nobody takes a part for the whole.
        """
        require_role(caller, ADMIN)
        if not await self._channels.exists(channel_id):
            raise NotFound("There is no such channel.")
        await self._deeds.note(Deed(caller.subject, "channel.exported", str(channel_id)))
        return self._lines(channel_id)

    async def _lines(self, channel_id: int) -> AsyncIterator[bytes]:
        """What is not stored at the beginning comes last, unless it was stored and read meanwhile."""
        entries = await self._unsaved.entries()
        unsaved = {stored.position: stored for stored in as_it_stands(entries) if is_of(stored, channel_id)}
        changes, position = latest_amendments(entries), BEGINNING
        while found := await self._rows.stretch(channel_id, position, STRETCH):
            position = found[-1].position
            for stored in found:
                unsaved.pop(stored.position, None)
            yield written(found, changes)
            changes |= latest_amendments(await self._unsaved.entries())
        yield written([unsaved[position] for position in sorted(unsaved)], changes)


def is_of(stored: Stored, channel_id: int) -> bool:
    return isinstance(stored.message, RoomMessage) and stored.message.channel_id == channel_id


def written(messages: Sequence[Stored], changes: Mapping[Position, Amendment]) -> bytes:
    lines = bytearray()
    for stored in messages:
        change = changes.get(stored.position)
        now = amended(stored, change) if change else stored
        if now and isinstance(now.message, RoomMessage):
            lines += msgspec.json.encode(line_of(now.position, now.message)) + b"\n"
    return bytes(lines)


def line_of(position: Position, message: RoomMessage) -> Line:
    return Line(
        cache_id=position.sequence,
        owner_id=message.owner_id,
        username=message.username,
        channel=message.channel,
        message=message.message,
        authored_at=message.authored_at.isoformat(),
    )
