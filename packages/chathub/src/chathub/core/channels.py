"""The channels there are, as this node last read them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from chathub.core.bus_messages import Amendment, Message, concerns, private_room_of


@dataclass(frozen=True, slots=True)
class Channel:
    """Without `members` it is everybody's; with them it is there for those alone. The version grows as they change."""

    id: int
    name: str
    description: str | None
    sort_order: int
    members: frozenset[str] | None = None
    members_version: int = 0

    @property
    def is_private(self) -> bool:
        return self.members is not None

    def is_open_to(self, user_id: str) -> bool:
        return self.members is None or user_id in self.members


@dataclass(slots=True)
class ChannelBook:
    listed: tuple[Channel, ...] = ()
    is_read: bool = False
    """Only then `listed` says anything: where all channels were deleted, there are none."""
    _by_name: dict[str, Channel] = field(default_factory=dict[str, Channel])
    _by_id: dict[int, Channel] = field(default_factory=dict[int, Channel])

    def replace(self, channels: Sequence[Channel]) -> bool:
        """Take a new reading; true if it differs from the last."""
        self.is_read = True
        if self.listed == tuple(channels):
            return False
        self.listed = tuple(channels)
        self._by_name = {channel.name: channel for channel in channels}
        self._by_id = {channel.id: channel for channel in channels}
        return True

    def open_to(self, user_id: str) -> list[Channel]:
        return [channel for channel in self.listed if channel.is_open_to(user_id)]

    def named(self, name: str, user_id: str) -> Channel | None:
        """To whom a channel is not open there is none of that name."""
        channel = self._by_name.get(name)
        return channel if channel and channel.is_open_to(user_id) else None

    def with_id(self, id: int) -> Channel | None:
        return self._by_id.get(id)

    def members_of(self, channel_id: int) -> frozenset[str]:
        """Nobody, for a private channel that is not known here (any more)."""
        channel = self._by_id.get(channel_id)
        return channel.members or frozenset() if channel else frozenset()

    def may_see(self, user_id: str, message: Message) -> bool:
        room = private_room_of(message)
        return concerns(message, user_id) if room is None else user_id in self.members_of(room)

    def has_members(self) -> frozenset[str]:
        """Whoever is in a private channel."""
        return frozenset[str]().union(*(channel.members for channel in self.listed if channel.members))

    def stamped(self, amendment: Amendment) -> Amendment:
        """With the members that are known now, who may be others than when the message was written."""
        room = private_room_of(amendment)
        channel = None if room is None else self._by_id.get(room)
        if channel is None:
            return amendment
        return msgspec.structs.replace(amendment, members_version=channel.members_version)

    def is_behind(self, channel_id: int, members_version: int) -> bool:
        """Whether somebody has seen other members of a private channel than this node has."""
        channel = self._by_id.get(channel_id)
        return channel is None or channel.members_version < members_version
