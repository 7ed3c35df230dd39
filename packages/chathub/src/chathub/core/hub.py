"""Everybody who is connected to this node, and what each of them is sent. Nothing here waits.

Whoever enters gets the history up to this instant and is live from it on, in one step: that is why no message is
missed or seen twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chathub.core import client_frames
from chathub.core.bus_messages import DirectMessage, Stored
from chathub.core.channels import ChannelBook
from chathub.core.outbox import Frame
from chathub.core.presence import Presence, User
from chathub.core.recent import Recent


class Peer(Protocol):
    """One client's end of the wire. Neither method blocks; a peer that falls behind sees to its own end."""

    def push(self, frame: Frame) -> None: ...

    def welcome(self, frames: Sequence[Frame]) -> None: ...


@dataclass(eq=False, slots=True)
class Member:
    """One socket. An observer (a dashboard) sees everything public and is seen by nobody."""

    user: User
    peer: Peer
    observer: bool
    live: bool = False


class Hub:
    def __init__(self, recent: Recent, channels: ChannelBook) -> None:
        self.recent = recent
        self.channels = channels
        self.presence = Presence()
        self._members: set[Member] = set()
        self._by_user: dict[str, set[Member]] = {}

    def register(self, member: Member) -> None:
        """Known from here on, but sent nothing before `enter`. Every registered member must `leave`."""
        self._members.add(member)
        self._by_user.setdefault(member.user.id, set()).add(member)

    def enter(self, member: Member, persisted: Sequence[Stored]) -> None:
        """Tell the others, send the history and go live; `persisted` are the user's whispers from PostgreSQL."""
        if not member.observer and self.presence.join(member.user):
            self._broadcast(client_frames.user_status(member.user, present=True))
        member.peer.welcome(self._welcome(member, persisted))
        member.live = True

    def leave(self, member: Member) -> None:
        self._members.discard(member)
        mine = self._by_user[member.user.id]
        mine.discard(member)
        if not mine:
            del self._by_user[member.user.id]
        if member.live and not member.observer and self.presence.leave(member.user):
            self._broadcast(client_frames.user_status(member.user, present=False))
        member.live = False

    def deliver(self, stored: Stored) -> None:
        """Remember the log's next message and send it to all whom it concerns; one encoding for all."""
        self.recent.add(stored)
        frame = client_frames.message_frame(stored)
        if isinstance(stored.message, DirectMessage):
            for user_id in {stored.message.owner_id, stored.message.recipient_id}:
                for member in self._by_user.get(user_id, ()):
                    if member.live:
                        member.peer.push(frame)
        else:
            self._broadcast(frame)

    def announce_channels(self) -> None:
        self._broadcast(client_frames.active_channels(self.channels.listed))

    def _broadcast(self, frame: Frame) -> None:
        for member in self._members:
            if member.live:
                member.peer.push(frame)

    def _welcome(self, member: Member, persisted: Sequence[Stored]) -> list[Frame]:
        public = self.recent.public(self.channels)
        private = self.recent.private(member.user.id, persisted)
        return [
            *([client_frames.bulk_chat_messages(public)] if public else []),
            client_frames.active_channels(self.channels.listed),
            *([client_frames.bulk_private_messages(private)] if private else []),
            client_frames.connected_users(self.presence.users()),
        ]
