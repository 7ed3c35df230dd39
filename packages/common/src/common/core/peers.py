"""How the processes that share a cache keep each other's memory true.

Everybody says on one subject what was bumped, and every second that it is alive and how many bumps it has told of so
far: whoever finds that one passed it by drops everything. All hear every sender in order, themselves included, unless a
line breaks. From that follow four rules:

- A process believes its memory only while it hears itself: what it said at most `silence_seconds` ago came back to it,
  and with it all that others had said before, unless the line broke since.
- One that has not heard itself, or whose line broke, is deaf, and says so. It drops everything, and believes again once
  it has heard itself say that it no longer is. Being deaf, it asks who is there, and the others answer.
- A peer that falls silent may have said something that was lost: everything is dropped.
- A bump is certain once it came back to its sender, and every peer known by then has confirmed it, is deaf, or was not
  heard for so long that it must be. One that joins later stores nothing that it read before it was heard.

This is the state and the decisions; common.cache.announcer sends and waits.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

from common.core.epochs import EVERYTHING, Tags
from common.core.messages import Message
from common.core.trust import Doubt

MAX_PEERS = 256
MAX_TOLD_TAGS = 256
"""A bump of more tags is told as one of everything."""

ROLL_CALL_SECONDS = 0.25
"""How long the others have to answer one that was deaf, before it counts on knowing them."""

CERTAIN_FACTOR = 1.15
"""A peer that was not heard for `silence_seconds` is deaf by its own clock; this is for clocks that are not ours."""


FORGET_FACTOR = 10.0
"""Much longer, for the peer may have come back while we did not hear for a moment, without noticing it."""


class Notice(Message, frozen=True):
    """What is said on `cache.invalidate`: with tags a bump, without them a sign of life.

    `number` counts the sender's bumps, this one included. `sent` is on the sender's own clock. `owed`: the shared tier
    was not told of it. `heard`: the last number heard from each peer. `leaving`: nothing will come after this.
    """

    cache: str
    source: str
    number: int
    sent: float
    tags: Tags = ()
    owed: bool = False
    deaf: bool = False
    heard: dict[str, int] = {}  # noqa: RUF012 - msgspec copies an empty default
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Bumped:
    tags: Tags
    owed: bool


@dataclass(frozen=True, slots=True)
class Missed:
    """Bumps may have passed unheard: everything is to be dropped."""

    why: str


@dataclass(frozen=True, slots=True)
class SignDue:
    """A sign of life is to be sent at once: somebody waits for it, perhaps we ourselves."""


Event: TypeAlias = Bumped | Missed | SignDue


@dataclass(slots=True)
class Peer:
    """`unanswered_since`: when a bump of ours that it has not confirmed became known, or the peer was last heard."""

    number: int
    heard_at: float
    confirmed: int
    unanswered_since: float = math.inf
    is_deaf: bool = False
    is_silent: bool = False


class Peers:
    """One process's view of the others. Times are seconds of its monotonic clock."""

    def __init__(self, cache: str, me: str, *, silence_seconds: float, patience_seconds: float) -> None:
        self._cache = cache
        self._me = me
        self._silence_seconds = silence_seconds
        self._patience_seconds = patience_seconds
        self._number = 0
        self._returned = 0
        self._heard_myself = -math.inf
        self._believed_sent = -math.inf
        self._deaf_sent = -math.inf
        self._line_broke_at = -math.inf
        self._joined_at = math.inf
        self._has_believed = False
        self._peers: dict[str, Peer] = {}
        self._asking: set[str] = set()

    @property
    def trusted_until(self) -> float:
        heard = min((peer.heard_at for peer in self._peers.values() if not peer.is_silent), default=math.inf)
        return min(heard, self._believed_sent) + self._silence_seconds

    @property
    def knows_everybody_at(self) -> float:
        """When the roll will have been called; infinity as long as we are deaf."""
        return self._joined_at + ROLL_CALL_SECONDS

    def doubt(self, now: float) -> Doubt | None:
        """Only our own deafness is a lasting doubt; a peer's silence ends with `drop_for_silent`."""
        if now < self._believed_sent + self._silence_seconds:
            return None
        return Doubt("the bus", now - self._heard_myself)

    def bump(self, tags: Tags, now: float, *, owed: bool) -> Notice:
        """The notice to send now; it counts as said even if sending fails, so that the others notice."""
        self._number += 1
        told = tags if len(tags) <= MAX_TOLD_TAGS else (EVERYTHING,)
        return self._notice(now, tags=told, owed=owed)

    def sign_of_life(self, now: float) -> Notice:
        """Between two beats only those who wait for an answer are named."""
        asking = self._asking & self._peers.keys()
        named = asking or self._peers.keys()
        self._asking = set()
        return self._notice(now, heard={name: self._peers[name].number for name in named})

    def farewell(self, now: float) -> Notice:
        return self._notice(now, leaving=True)

    def hear(self, notice: Notice, now: float) -> list[Event]:
        """What must now be done, in this order."""
        if notice.cache != self._cache:
            return []
        if notice.source == self._me:
            return self._hear_myself(notice, now)
        events: list[Event] = []
        peer = self._peers.get(notice.source)
        if peer is None:
            if notice.leaving:
                return []
            events = self._make_room()
            self._peers[notice.source] = peer = Peer(0, now, self._returned)
        if notice.leaving:
            del self._peers[notice.source]
        return [*events, *self._follow(peer, notice, now)]

    def line_broke(self, now: float) -> list[Event]:
        """The line stands again, and what the others said meanwhile was lost: begin as one who was deaf."""
        self._line_broke_at = now
        self._heard_myself = self._believed_sent = -math.inf
        return [Missed("the bus was interrupted"), SignDue()]

    def drop_for_silent(self, now: float) -> list[Event]:
        """What must be done for the sake of peers that were not heard for too long. Bumps go on waiting for them."""
        for name in [name for name, peer in self._peers.items() if now >= self._forget_at(peer)]:
            del self._peers[name]
        silent = [peer for peer in self._peers.values() if now >= peer.heard_at + self._silence_seconds]
        new = [peer for peer in silent if not peer.is_silent]
        for peer in new:
            peer.is_silent = True
        return [Missed("another process fell silent")] if new else []

    def has_returned(self, number: int) -> bool:
        """Has the bus taken that bump of ours and brought it back?"""
        return self._returned >= number

    def is_confirmed(self, number: int) -> bool:
        """Has everybody who might believe what it killed said that he heard of it?"""
        return not self._unconfirmed(number)

    def is_certain(self, number: int, now: float) -> bool:
        """Does nobody believe what that bump killed?"""
        grace_seconds = self._silence_seconds * CERTAIN_FACTOR
        return all(now >= peer.unanswered_since + grace_seconds for peer in self._unconfirmed(number))

    def excused_at(self, number: int) -> float:
        """When the last of those who have not confirmed that bump will have been waited for long enough."""
        since = max((peer.unanswered_since for peer in self._unconfirmed(number)), default=-math.inf)
        return since + self._patience_seconds

    def _unconfirmed(self, number: int) -> list[Peer]:
        return [peer for peer in self._peers.values() if peer.confirmed < number and not peer.is_deaf]

    def _notice(
        self,
        now: float,
        *,
        tags: Tags = (),
        owed: bool = False,
        heard: dict[str, int] | None = None,
        leaving: bool = False,
    ) -> Notice:
        return Notice(
            cache=self._cache,
            source=self._me,
            number=self._number,
            sent=now,
            tags=tags,
            owed=owed,
            deaf=self._is_deaf(now),
            heard=heard or {},
            leaving=leaving,
        )

    def _is_deaf(self, now: float) -> bool:
        """To be called for what is then said: from that moment the others take us at our word."""
        if now < self._heard_myself + self._silence_seconds:
            return False
        self._deaf_sent, self._believed_sent, self._joined_at = now, -math.inf, math.inf
        return True

    def _hear_myself(self, notice: Notice, now: float) -> list[Event]:
        """What came back counts once we are no longer deaf: until then we do not know who is there."""
        if notice.sent < self._line_broke_at:
            return []
        self._heard_myself = max(self._heard_myself, notice.sent)
        if notice.deaf:
            return [SignDue()]
        if notice.sent < self._deaf_sent:
            return []
        self._believed_sent = max(self._believed_sent, notice.sent)
        if notice.number > self._returned:
            self._returned = notice.number
            for peer in self._unconfirmed(self._returned):
                peer.unanswered_since = min(peer.unanswered_since, now)
        return self._join(now) if math.isinf(self._joined_at) else []

    def _join(self, now: float) -> list[Event]:
        self._joined_at = now
        for peer in self._peers.values():
            self._take_for_believing(peer, now)
        was_here, self._has_believed = self._has_believed, True
        return [Missed("the bus was not heard")] if was_here else []

    def _take_for_believing(self, peer: Peer, now: float) -> None:
        """What was known of it may be old."""
        peer.is_deaf = False
        peer.unanswered_since = now if peer.confirmed < self._returned else math.inf

    def _make_room(self) -> list[Event]:
        if len(self._peers) < MAX_PEERS:
            return []
        del self._peers[min(self._peers, key=lambda name: self._peers[name].heard_at)]
        return [Missed(f"more than {MAX_PEERS} processes")]

    def _forget_at(self, peer: Peer) -> float:
        """While we are deaf ourselves a peer's silence means nothing."""
        return max(peer.heard_at, self._joined_at) + self._silence_seconds * FORGET_FACTOR

    def _follow(self, peer: Peer, notice: Notice, now: float) -> list[Event]:
        """A peer not known so far has number 0: it was heard from its first bump on, or something of it was missed."""
        expected = peer.number + 1 if notice.tags else peer.number
        events: list[Event] = []
        if notice.number > expected:
            events.append(Missed("a bump of another process was lost"))
        if notice.tags:
            events.append(Bumped(notice.tags, notice.owed))
        if events or notice.deaf:
            self._asking.add(notice.source)
            events.append(SignDue())
        self._update(peer, notice, now)
        return events

    def _update(self, peer: Peer, notice: Notice, now: float) -> None:
        peer.number = max(peer.number, notice.number)
        peer.heard_at, peer.is_silent, peer.is_deaf = now, False, notice.deaf
        peer.confirmed = max(peer.confirmed, notice.heard.get(self._me, 0))
        peer.unanswered_since = now if peer.confirmed < self._returned else math.inf
