"""Everybody who is connected to this node, and what each of them is sent. Nothing here waits.

Whoever enters gets the history up to this instant and is live from it on, in one step: that is why no message is
missed or seen twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chathub.core import client_frames
from chathub.core.bus_messages import Position, RoomMessage, Stored, concerns_all, parties, private_room_of
from chathub.core.channels import ChannelBook
from chathub.core.client_frames import Frame
from chathub.core.closing import Reason
from chathub.core.cut_off import SignIn
from chathub.core.presence import Change, Roster, User
from chathub.core.recent import Recent, as_shown
from chathub.core.resume import Loss, as_it_stands
from chathub.core.signals import Place, Signal, TypingNow

SPARE_LISTINGS = 1000
"""Of users who have left, kept since most come back."""


class Peer(Protocol):
    """One client's end of the wire. No method waits; a peer that falls behind sees to its own end."""

    def welcome(self, frames: Sequence[Frame]) -> None:
        """The first it is told; from then on it is told what everybody is told, until it leaves."""
        ...

    def push(self, frame: Frame) -> None:
        """Behind all that everybody was told before."""
        ...

    def leave(self) -> None: ...

    def end(self, reason: Reason) -> None:
        """Close it, soon."""
        ...


class Everybody(Protocol):
    """All peers that were welcomed and have not left."""

    def tell(self, frame: Frame, *, but: Iterable[Peer] = ()) -> None: ...


@dataclass(eq=False, slots=True)
class Member:
    """One socket. An observer (a dashboard) sees everything public and is seen by nobody."""

    user: User
    peer: Peer
    observer: bool
    live: bool = False
    banned: bool = False
    sign_in: SignIn = field(default_factory=SignIn)


@dataclass(frozen=True, slots=True)
class Missed:
    """What the log holds from where a client stood up to `upto`; the rest is remembered here."""

    upto: Position
    entries: Sequence[Stored]


class Hub:
    def __init__(self, recent: Recent, channels: ChannelBook, roster: Roster, everybody: Everybody) -> None:
        self.recent = recent
        self.channels = channels
        self.roster = roster
        self._everybody = everybody
        self._members: set[Member] = set()
        self._by_user: dict[str, set[Member]] = {}
        self._listings: dict[str, tuple[User, bytes]] = {}

    def __len__(self) -> int:
        """Sockets that are registered."""
        return len(self._members)

    def register(self, member: Member) -> None:
        """Known from here on, but sent nothing before `enter`. Every registered member must `leave`."""
        self._members.add(member)
        self._by_user.setdefault(member.user.id, set()).add(member)

    def enter(self, member: Member, persisted: Sequence[Stored], back: Missed | Loss | None = None) -> None:
        """Send the history and go live. `persisted` are the user's whispers from PostgreSQL; `back` what becomes of
        the place at which a client says it stood, None for clients that do not speak of places."""
        if not member.observer:
            self.roster.join(member.user)
        member.peer.welcome(self._welcome(member, persisted, back))
        member.live = True

    def leave(self, member: Member) -> None:
        member.peer.leave()
        self._members.discard(member)
        mine = self._by_user[member.user.id]
        mine.discard(member)
        if not mine:
            del self._by_user[member.user.id]
        if member.live and not member.observer:
            self.roster.leave(member.user)
        member.live = False

    def banish(self, user_id: str) -> None:
        """Whoever is registered is met, also one that is still on the way in."""
        for member in self._by_user.get(user_id, ()):
            member.banned = True
            member.peer.end("banned")

    def end_session(self, session_id: str, user_id: str = "") -> None:
        """Of a user, where it is known whose the session was."""
        members = self._by_user.get(user_id, ()) if user_id else self._members
        for member in members:
            if member.sign_in.session_id == session_id:
                member.peer.end("session_ended")

    def send_away(self, member: Member, after_ms: int) -> None:
        """Because this node stops: it is told where it stands, to go on elsewhere."""
        if member.live:
            member.peer.push(client_frames.reconnect(self.recent.last, after_ms))
        member.peer.end("restarting")

    def members(self) -> list[Member]:
        """All who are registered."""
        return list(self._members)

    def user_ids(self) -> list[str]:
        return list(self._by_user)

    def deliver(self, stored: Stored) -> None:
        """Remember the log's next entry and send it to all whom it concerns; one encoding for all."""
        if not self.recent.add(stored):
            return
        frame = client_frames.message_frame(stored)
        message = stored.message
        room = private_room_of(message)
        if room is not None:
            self._tell_users(self.channels.members_of(room), frame)
        elif isinstance(message, RoomMessage) or concerns_all(message):
            self._everybody.tell(frame)
        else:
            self._tell_users(parties(message), frame)

    def interrupt(self, at: Position, reason: Loss) -> None:
        """Nobody here can be given what lay between: all are told, and that they now stand right before `at`."""
        self.recent.restart(at)
        self._everybody.tell(client_frames.resumed(self.recent.last, reason))

    def announce(self, changes: Sequence[Change]) -> None:
        """Who came and who left; nobody is told of themselves."""
        for user, present in changes:
            self._everybody.tell(client_frames.user_status(user, present=present), but=self._peers_of(user.id))

    def announce_channels(self) -> None:
        """To each user those that are open to it."""
        more = self.channels.has_members()
        with_more = [peer for user_id in more for peer in self._peers_of(user_id)]
        self._everybody.tell(self._channels_of(""), but=with_more)
        for user_id in more:
            self._tell_user(user_id, self._channels_of(user_id))

    def is_observed(self) -> bool:
        """Whether a dashboard is connected here."""
        return any(member.observer and member.live for member in self._members)

    def show_observers(self, frames: Sequence[Frame]) -> None:
        for member in self._members:
            if member.observer and member.live:
                for frame in frames:
                    member.peer.push(frame)

    def signal(self, signal: Signal) -> None:
        """Who writes is told to the others; who has read how far, to the user's own sockets and to whose words they
        are, but of a channel to nobody else: there are too many."""
        user, place = User(*signal.user), signal.place
        named = self._named(place)
        if named is None:
            return
        if isinstance(signal, TypingNow):
            frame = client_frames.typing(user, named)
            if place.recipient_id is None:
                self._tell_channel(place.channel_id or 0, frame, but=user.id)
        else:
            frame = client_frames.read_position(user, named, signal.cache_id)
            self._tell_user(user.id, frame)
        if place.recipient_id is not None and place.recipient_id != user.id:
            self._tell_user(place.recipient_id, frame)

    def _named(self, place: Place) -> dict[str, str] | None:
        """As clients know it; None for a channel that is gone."""
        if place.recipient_id is not None:
            return {"recipient_id": place.recipient_id}
        channel = self.channels.with_id(place.channel_id or 0)
        return {"channel": channel.name} if channel else None

    def _tell_channel(self, id: int, frame: Frame, *, but: str) -> None:
        channel = self.channels.with_id(id)
        if channel and channel.members is not None:
            self._tell_users(channel.members - {but}, frame)
        else:
            self._everybody.tell(frame, but=self._peers_of(but))

    def _channels_of(self, user_id: str) -> Frame:
        return client_frames.active_channels(self.channels.open_to(user_id))

    def _tell_users(self, user_ids: Iterable[str], frame: Frame) -> None:
        for user_id in user_ids:
            self._tell_user(user_id, frame)

    def _tell_user(self, user_id: str, frame: Frame) -> None:
        for peer in self._peers_of(user_id):
            peer.push(frame)

    def _peers_of(self, user_id: str) -> list[Peer]:
        return [member.peer for member in self._by_user.get(user_id, ()) if member.live]

    def _welcome(self, member: Member, persisted: Sequence[Stored], back: Missed | Loss | None) -> list[Frame]:
        if isinstance(back, Missed):
            since = self.recent.since(back.upto)
            if since is not None:
                return self._continuation(member.user, [*back.entries, *since])
            back = "expired"
        resumed = [] if back is None else [client_frames.resumed(self.recent.last, back)]
        public = self.recent.public(self.channels, member.user.id)
        private = self.recent.private(member.user.id, persisted)
        return [
            *resumed,
            *([client_frames.bulk_chat_messages(public)] if public else []),
            self._channels_of(member.user.id),
            *([client_frames.bulk_private_messages(private)] if private else []),
            self._connected_users(),
        ]

    def _connected_users(self) -> Frame:
        """Of ten thousand users, who may all come at once; so each is encoded once."""
        known, users = self._listings, self.roster.users()
        for user in users:
            if user.id not in known or known[user.id][0] is not user:
                known[user.id] = (user, client_frames.listing(user))
        if len(known) > 2 * len(users) + SPARE_LISTINGS:
            self._listings = {user.id: known[user.id] for user in users}
        return client_frames.connected_users([known[user.id][1] for user in users])

    def _continuation(self, user: User, missed: Sequence[Stored]) -> list[Frame]:
        """All that the user missed, in the order in which everybody else was sent it."""
        entries = [stored for stored in as_it_stands(missed) if not self.recent.is_void(stored)]
        return [
            client_frames.resumed(self.recent.last, None),
            self._channels_of(user.id),
            *(client_frames.message_frame(stored) for stored in self._visible(user, entries)),
            self._connected_users(),
        ]

    def _visible(self, user: User, entries: Sequence[Stored]) -> Iterator[Stored]:
        for stored in entries:
            if self.channels.may_see(user.id, stored.message) and (shown := as_shown(stored, self.channels)):
                yield shown
