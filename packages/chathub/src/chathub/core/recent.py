"""The latest of the log, so that who connects sees it and then what is live, without hole or double."""

from collections import deque
from collections.abc import Iterable, Sequence
from operator import attrgetter

import msgspec

from chathub.core.bus_messages import (
    Amendment,
    DirectMessage,
    Position,
    RoomMessage,
    Stored,
    amended,
    amends,
    concerns,
    prevailing,
    private_room_of,
)
from chathub.core.channels import ChannelBook

PUBLIC = 500
PRIVATE = 500
TAIL = 5000
"""Entries of the log that a node remembers; whispers that a user may not yet find in PostgreSQL must be among them."""


class Recent:
    def __init__(self, public: int = PUBLIC) -> None:
        """`public` is how many public messages are remembered, and as many of private channels."""
        self.last = Position(0, 0)
        self._first = 1
        self._most = public
        self._public: deque[Stored] = deque(maxlen=public)
        self._closed: deque[Stored] = deque(maxlen=public)
        self._tail: deque[Stored] = deque(maxlen=TAIL)
        self._amendments: dict[Position, Amendment] = {}

    def begin(self, persisted: Iterable[Stored], at: Position) -> None:
        """Start from what was persisted before a place in the log, from which on `add` is called."""
        for stored in persisted:
            if stored.position < at:
                self._shelf(stored).append(stored)
        self.restart(at)

    def restart(self, at: Position) -> None:
        """What lay before this place is gone from the log, and not all of it came here."""
        self._tail.clear()
        self._first = at.sequence
        self.last = Position(at.epoch, at.sequence - 1)

    def add(self, stored: Stored) -> bool:
        """The next entry of the log. False, and it is as if there were none, for an edit of what was deleted: its
        author had not heard of that yet."""
        self.last = stored.position
        if self.is_void(stored):
            return False
        if len(self._tail) == TAIL:
            self._first = self._tail[0].position.sequence + 1
        self._tail.append(stored)
        match stored.message:
            case RoomMessage():
                self._shelf(stored).append(stored)
            case Amendment():
                self._amend(stored.message)
            case DirectMessage():
                pass
        return True

    def is_void(self, stored: Stored) -> bool:
        """Whether it is an edit of what is known to be deleted."""
        message = stored.message
        if not isinstance(message, Amendment) or message.message is None:
            return False
        return self.is_deleted(amends(message))

    def is_deleted(self, position: Position) -> bool:
        """As far as that is remembered."""
        known = self._amendments.get(position)
        return known is not None and known.message is None

    def passed(self, position: Position) -> None:
        """Up to here the log has nothing more that could be read."""
        self.last = max(self.last, position)

    def since(self, position: Position) -> list[Stored] | None:
        """All that came after a place in the log, in order; None where not all of it is remembered."""
        if position.epoch != self.last.epoch or not self._first - 1 <= position.sequence <= self.last.sequence:
            return None
        found: list[Stored] = []
        for stored in reversed(self._tail):
            if stored.position <= position:
                break
            found.append(stored)
        return found[::-1]

    def latest(self) -> list[Stored]:
        """All that is remembered of channels, public or not, in its order; of the log that is followed."""
        found = [stored for stored in (*self._public, *self._closed) if stored.position.epoch == self.last.epoch]
        return sorted(found, key=attrgetter("position"))

    def is_of_one_log(self) -> bool:
        """Whether nothing else is remembered of channels."""
        return all(stored.position.epoch == self.last.epoch for stored in (*self._public, *self._closed))

    def remembered(self) -> list[Stored]:
        return list(self._tail)

    def public(self, channels: ChannelBook, user_id: str = "") -> list[Stored]:
        """Of the channels that exist and are open to the user, under their present names."""
        closed = [stored for stored in self._closed if channels.may_see(user_id, stored.message)]
        seen = sorted([*self._public, *closed], key=attrgetter("position"))[-self._most :] if closed else self._public
        return [named for stored in seen if (named := under_present_name(stored, channels))]

    def private(self, user_id: str, persisted: Sequence[Stored]) -> list[Stored]:
        """One user's whispers: those read from PostgreSQL, completed by those remembered.

        What PostgreSQL has beyond the last entry added is left out: it is about to arrive live.
        """
        found = {stored.position: stored for stored in persisted if stored.position <= self.last}
        for stored in self._tail:
            if isinstance(stored.message, DirectMessage) and concerns(stored.message, user_id):
                found[stored.position] = stored
        ordered = [found[position] for position in sorted(found)]
        return [now for stored in ordered if (now := self._as_amended(stored))][-PRIVATE:]

    def _shelf(self, stored: Stored) -> deque[Stored]:
        """What is said in private channels displaces nothing that everybody is shown."""
        return self._public if private_room_of(stored.message) is None else self._closed

    def _as_amended(self, stored: Stored) -> Stored | None:
        """PostgreSQL may not have heard of an amendment yet."""
        amendment = self._amendments.get(stored.position)
        return amended(stored, amendment) if amendment else stored

    def _amend(self, amendment: Amendment) -> None:
        target = amends(amendment)
        self._amendments[target] = prevailing(self._amendments.pop(target, None), amendment)
        if len(self._amendments) > TAIL:
            del self._amendments[next(iter(self._amendments))]
        for kept in (self._public, self._closed, self._tail):
            rewritten = [now for stored in kept if (now := self._as_amended(stored))]
            kept.clear()
            kept.extend(rewritten)


def under_present_name(stored: Stored, channels: ChannelBook) -> Stored | None:
    """None for a message of a channel that is not there any more."""
    position, message = stored
    if not isinstance(message, RoomMessage) or not (channel := channels.with_id(message.channel_id)):
        return None
    return Stored(position, msgspec.structs.replace(message, channel=channel.name))


def as_shown(stored: Stored, channels: ChannelBook) -> Stored | None:
    """None for what has a text in a channel that is not there any more, be it a message or its new wording."""
    match stored.message:
        case RoomMessage():
            return under_present_name(stored, channels)
        case Amendment(message=str(), channel_id=int(channel_id)) if channels.with_id(channel_id) is None:
            return None
        case _:
            return stored
