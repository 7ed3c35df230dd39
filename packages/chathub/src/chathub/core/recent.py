"""The latest messages of the log, so that who connects sees them and then the live ones, without hole or double."""

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from chathub.core.bus_messages import DirectMessage, Position, RoomMessage, Stored
from chathub.core.channels import ChannelBook

PUBLIC = 500
PRIVATE = 500
TAIL = 5000
"""Whispers of everybody that a node remembers; those a user may not yet find in PostgreSQL must be among them."""


class Recent:
    def __init__(self) -> None:
        self.last = Position(0, 0)
        self._public: deque[Stored] = deque(maxlen=PUBLIC)
        self._private: deque[Stored] = deque(maxlen=TAIL)

    def begin(self, persisted: Iterable[Stored], at: Position) -> None:
        """Start from what was persisted before a place in the log, from which on `add` is called."""
        self._public.extend(stored for stored in persisted if stored.position < at)
        self.last = Position(at.epoch, at.sequence - 1)

    def add(self, stored: Stored) -> None:
        """The next message of the log."""
        self.last = stored.position
        if isinstance(stored.message, RoomMessage):
            self._public.append(stored)
        else:
            self._private.append(stored)

    def public(self, channels: ChannelBook) -> list[Stored]:
        """Of the channels that exist, under their present names."""
        found: list[Stored] = []
        for position, message in self._public:
            if isinstance(message, RoomMessage) and (channel := channels.with_id(message.channel_id)):
                found.append(Stored(position, msgspec.structs.replace(message, channel=channel.name)))
        return found

    def private(self, user_id: str, persisted: Sequence[Stored]) -> list[Stored]:
        """One user's whispers: those read from PostgreSQL, completed by those remembered.

        What PostgreSQL has beyond the last message added is left out: it is about to arrive live.
        """
        found = {stored.position: stored for stored in persisted if stored.position <= self.last}
        for stored in self._private:
            if concerns(stored, user_id):
                found[stored.position] = stored
        return [found[position] for position in sorted(found)][-PRIVATE:]


def concerns(stored: Stored, user_id: str) -> bool:
    message = stored.message
    return isinstance(message, DirectMessage) and user_id in (message.owner_id, message.recipient_id)
