"""How the processes that share a cache keep each other's memory true.

Everybody says on one subject what was bumped, and every second that they are alive and how many bumps they have told
of so far. Whoever hears that a bump passed it by drops everything. From that follow three rules:

- A process believes its memory only while it hears itself: what it said at most `silence_seconds` ago has come back.
  The bus delivers in order, so whatever others said before that has come, too, or the connection broke since.
- A peer that falls silent may have said something that was lost: everything is dropped.
- A bump is settled once it has come back to its sender and every peer known by then has said that it heard it. (A peer
  that joins later stores nothing that it read before it was heard by itself, hence by the sender.) A peer that does
  not confirm is excused after `patience_seconds`: where that is more than `silence_seconds`, it has stopped believing
  its memory by then.

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
"""Who joins waits so long for those who are there already to answer, before it counts on knowing them."""


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
class AnswerDue:
    """Somebody waits to learn what was heard."""


Event: TypeAlias = Bumped | Missed | AnswerDue


@dataclass(slots=True)
class Peer:
    number: int
    heard_at: float
    confirmed: int
    unanswered_since: float
    is_silent: bool = False


class Peers:
    """One process's view of the others. Times are seconds of its monotonic clock."""

    def __init__(self, cache: str, me: str, *, silence_seconds: float, patience_seconds: float) -> None:
        self._cache = cache
        self._me = me
        self._silence_seconds = silence_seconds
        self._patience_seconds = patience_seconds
        # A peer that cannot reach us has heard itself for a beat longer than we heard it at most.
        self._forgotten_seconds = 1.5 * silence_seconds
        self._number = 0
        self._returned = 0
        self._returned_sent = -math.inf
        self._joined_at = math.inf
        self._peers: dict[str, Peer] = {}
        self._unanswered: set[str] = set()

    @property
    def trusted_until(self) -> float:
        heard = min((peer.heard_at for peer in self._peers.values() if not peer.is_silent), default=math.inf)
        return min(heard, self._returned_sent) + self._silence_seconds

    def doubt(self, now: float) -> Doubt | None:
        """Only our own silence is a lasting doubt; a peer's ends with `drop_for_silent`."""
        silent_seconds = now - self._returned_sent
        return Doubt("the bus", silent_seconds) if silent_seconds >= self._silence_seconds else None

    @property
    def knows_everybody_at(self) -> float:
        """When the roll will have been called; infinity as long as we do not hear ourselves."""
        return self._joined_at + ROLL_CALL_SECONDS

    def bump(self, tags: Tags, now: float, *, owed: bool) -> Notice:
        """The notice to send now; it counts as said even if sending fails, so that the others notice."""
        self._number += 1
        for peer in self._peers.values():
            peer.unanswered_since = min(peer.unanswered_since, now)
        told = tags if len(tags) <= MAX_TOLD_TAGS else (EVERYTHING,)
        return self._notice(now, tags=told, owed=owed)

    def sign_of_life(self, now: float) -> Notice:
        """Between two beats only those who wait for an answer are named."""
        asking = self._unanswered & self._peers.keys()
        named = asking or self._peers.keys()
        self._unanswered = set()
        return self._notice(now, heard={name: self._peers[name].number for name in named})

    def farewell(self, now: float) -> Notice:
        return self._notice(now, leaving=True)

    def hear(self, notice: Notice, now: float) -> list[Event]:
        """What must now be done, in this order."""
        if notice.cache != self._cache:
            return []
        if notice.source == self._me:
            return self._hear_myself(notice, now)
        peer = self._peers.get(notice.source)
        if peer is None:
            return [] if notice.leaving else self._meet(notice, now)
        if notice.leaving:
            del self._peers[notice.source]
        return self._follow(peer, notice, now)

    def drop_for_silent(self, now: float) -> list[Event]:
        """What must be done for the sake of peers that were not heard for too long. Bumps go on waiting for them."""
        gone = [name for name, peer in self._peers.items() if now >= peer.heard_at + self._forgotten_seconds]
        for name in gone:
            del self._peers[name]
        silent = [
            peer for peer in self._peers.values() if not peer.is_silent and now >= peer.heard_at + self._silence_seconds
        ]
        for peer in silent:
            peer.is_silent = True
        return [Missed("another process fell silent")] if silent else []

    def has_returned(self, number: int) -> bool:
        """Has the bus taken that bump of ours and brought it back?"""
        return self._returned >= number

    def is_confirmed(self, number: int) -> bool:
        """Has every peer said that it heard of that bump?"""
        return all(peer.confirmed >= number for peer in self._peers.values())

    def excused_at(self, number: int) -> float:
        """When the last of those that have not confirmed that bump will have been given up on."""
        silent_since = (peer.unanswered_since for peer in self._peers.values() if peer.confirmed < number)
        return max(silent_since, default=-math.inf) + self._patience_seconds

    def _notice(
        self,
        now: float,
        tags: Tags = (),
        *,
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
            heard=heard or {},
            leaving=leaving,
        )

    def _hear_myself(self, notice: Notice, now: float) -> list[Event]:
        was_lost = now >= self._returned_sent + self._silence_seconds
        first = math.isinf(self._returned_sent)
        self._returned = max(self._returned, notice.number)
        self._returned_sent = max(self._returned_sent, notice.sent)
        if first:
            self._joined_at = now
        return [Missed("the bus came back")] if was_lost and not first else []

    def _meet(self, notice: Notice, now: float) -> list[Event]:
        """A peer not known so far. It was heard from its first bump on, or something of it was missed."""
        events: list[Event] = []
        if len(self._peers) >= MAX_PEERS:
            oldest = min(self._peers, key=lambda name: self._peers[name].heard_at)
            del self._peers[oldest]
            events.append(Missed(f"more than {MAX_PEERS} processes"))
        unanswered_since = now if self._number > self._returned else math.inf
        self._peers[notice.source] = peer = Peer(0, now, self._returned, unanswered_since)
        return [*events, *self._follow(peer, notice, now), *self._answer(notice.source)]

    def _follow(self, peer: Peer, notice: Notice, now: float) -> list[Event]:
        expected = peer.number + 1 if notice.tags else peer.number
        passed_by = notice.number > expected
        peer.number, peer.heard_at, peer.is_silent = max(peer.number, notice.number), now, False
        self._note_confirmation(peer, notice, now)
        events: list[Event] = [Missed("a bump of another process was lost")] if passed_by else []
        if notice.tags:
            events.append(Bumped(notice.tags, notice.owed))
        return [*events, *self._answer(notice.source)] if events else []

    def _answer(self, source: str) -> list[Event]:
        self._unanswered.add(source)
        return [AnswerDue()]

    def _note_confirmation(self, peer: Peer, notice: Notice, now: float) -> None:
        confirmed = notice.heard.get(self._me, 0)
        if confirmed > peer.confirmed:
            peer.confirmed = confirmed
            peer.unanswered_since = math.inf if confirmed >= self._number else now
