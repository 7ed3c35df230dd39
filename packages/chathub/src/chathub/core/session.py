"""One client's conversation. Decides; never waits, reads a clock or sends."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from chathub.core import client_frames
from chathub.core.bus_messages import Amendment, DirectMessage, Message, RoomMessage, Stored
from chathub.core.channels import Channel, ChannelBook
from chathub.core.client_frames import Amend, BadFrame, Frame, FromClient, Read, Refresh, Say, Typing, Whisper
from chathub.core.closing import Reason
from chathub.core.cut_off import SignIn
from chathub.core.flow import Flow
from chathub.core.lifetime import Due, Lifetime
from chathub.core.presence import User
from chathub.core.signals import Place, ReadPosition, Signal, TypingNow


@dataclass(frozen=True, slots=True)
class TextReceived:
    text: str


@dataclass(frozen=True, slots=True)
class BinaryReceived:
    """A frame of bytes, which nobody here speaks."""


@dataclass(frozen=True, slots=True)
class ClientGone:
    """The socket is closed; nothing more will come from it."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The session's deadline is here."""


@dataclass(frozen=True, slots=True)
class Appended:
    """The log has acknowledged a message of this client."""

    client_msg_id: str | None
    sequence: int


@dataclass(frozen=True, slots=True)
class NotAppended:
    """A message of this client was not acknowledged; the same `client_msg_id` may be sent again."""

    client_msg_id: str | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Limited:
    """A message of this client came too early and was dropped."""

    client_msg_id: str | None
    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a client wants to amend, as it stands; None if there is no such message."""

    wanted: Amend
    target: Stored | None


@dataclass(frozen=True, slots=True)
class Verified:
    """A newer token is good. `expires_in` is in seconds from now, `expires_at` in Unix seconds."""

    subject: str
    client_id: str
    is_admin: bool
    expires_in: float
    expires_at: int
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Publish:
    """To be appended to the log; the outcome comes back as Appended, NotAppended or Limited."""

    message: RoomMessage | Amendment


@dataclass(frozen=True, slots=True)
class Find:
    """To be read; comes back as Found."""

    wanted: Amend


@dataclass(frozen=True, slots=True)
class PublishDirect:
    """As Publish, once it is known whom `recipient_id` names."""

    message: DirectMessage


@dataclass(frozen=True, slots=True)
class Verify:
    """To be verified; comes back as Verified or NotAppended."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tell:
    """To be told to whom it concerns, on all nodes; lost if that cannot be now."""

    signal: Signal


@dataclass(frozen=True, slots=True)
class Reply:
    frame: Frame


@dataclass(frozen=True, slots=True)
class Close:
    reason: Reason


Outcome: TypeAlias = Appended | NotAppended | Limited
Result: TypeAlias = Found | Verified | Outcome
Event: TypeAlias = TextReceived | BinaryReceived | ClientGone | TimePassed | Result
Action: TypeAlias = Publish | PublishDirect | Find | Verify | Tell | Reply | Close


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whom the session is with, as the token says it."""

    user: User
    client_id: str
    is_admin: bool = False
    observes: bool = False
    sign_in: SignIn = field(default_factory=SignIn)


class Session:
    __slots__ = (
        "_channels",
        "_flow",
        "_is_admin",
        "_lifetime",
        "_max_message_length",
        "_speaker",
        "closed",
        "user",
    )

    def __init__(
        self, speaker: Speaker, channels: ChannelBook, lifetime: Lifetime, flow: Flow, *, max_message_length: int
    ) -> None:
        self.user = speaker.user
        self.closed = False
        self._speaker = speaker
        self._is_admin = speaker.is_admin
        self._channels = channels
        self._lifetime = lifetime
        self._flow = flow
        self._max_message_length = max_message_length

    @property
    def deadline(self) -> float:
        """When TimePassed is due, on the clock that `handle` is told."""
        return self._lifetime.next_at

    def handle(self, event: Event, now: float, wall: datetime) -> list[Action]:
        """Return what must now be done, in order. `wall` is the time that new messages bear."""
        match event:
            case TextReceived() | TimePassed() if due := self._lifetime.due(now):
                return [*self._due(due, now), *self._after_warning(event, due, now, wall)]
            case TextReceived(text):
                return self._hear(text, now, wall)
            case BinaryReceived():
                return self._close("binary")
            case ClientGone() | TimePassed():
                self.closed = self.closed or isinstance(event, ClientGone)
                return []
            case _:
                return self._result(event, now, wall)

    def _result(self, event: Result, now: float, wall: datetime) -> list[Action]:
        match event:
            case Found():
                return [self._amend(event, wall)]
            case Verified():
                return self._refresh(event, now)
            case Appended() | NotAppended() | Limited():
                return self._outcome(event)

    def _due(self, due: Due, now: float) -> list[Action]:
        if due != "warning":
            return self._close(due)
        return [Reply(client_frames.token_expiring(self._lifetime.seconds_left(now)))]

    def _after_warning(self, event: Event, due: Due, now: float, wall: datetime) -> list[Action]:
        """What was heard at that moment counts all the same."""
        return self._hear(event.text, now, wall) if due == "warning" and isinstance(event, TextReceived) else []

    def _hear(self, text: str, now: float, wall: datetime) -> list[Action]:
        self._lifetime.heard(now)
        match self._flow.judge(now):
            case "pass":
                return [self._read(text, wall)]
            case "drop":
                return [Reply(client_frames.rate_limited(self._flow.wait_ms(), None))]
            case "close":
                return self._close("flooding")

    def _refresh(self, verified: Verified, now: float) -> list[Action]:
        """Raised rights take a new connection; lost ones are lost at once."""
        mine = verified.subject == self.user.id and verified.client_id == self._speaker.client_id
        if not mine or (self._speaker.observes and not verified.is_admin):
            return self._close("wrong_token")
        self._is_admin = self._is_admin and verified.is_admin
        self._speaker.sign_in.session_id = verified.session_id
        self._lifetime.refreshed(now + verified.expires_in)
        return [Reply(client_frames.refreshed(verified.expires_at))]

    def _outcome(self, event: Outcome) -> list[Action]:
        if isinstance(event, Limited):
            return [Reply(client_frames.rate_limited(event.retry_after_ms, event.client_msg_id))]
        if isinstance(event, NotAppended):
            return [Reply(client_frames.error(event.code, event.message, event.client_msg_id))]
        if event.client_msg_id is None:
            return []
        return [Reply(client_frames.ack(event.client_msg_id, event.sequence))]

    def _read(self, text: str, wall: datetime) -> Action:
        try:
            return self._publication(client_frames.parse(text, max_length=self._max_message_length), wall)
        except BadFrame as refused:
            return Reply(client_frames.error(refused.reason, str(refused), refused.client_msg_id))

    def _publication(self, frame: FromClient, wall: datetime) -> Action:
        match frame:
            case Say():
                return Publish(self._to_room(frame, wall))
            case Whisper():
                return PublishDirect(self._to_person(frame, wall))
            case Amend():
                return Find(frame)
            case Refresh():
                return Verify(frame.token)
            case Typing():
                return Tell(TypingNow(user=self._named(), place=self._place(frame)))
            case Read():
                return Tell(ReadPosition(user=self._named(), place=self._place(frame), cache_id=frame.cache_id))

    def _amend(self, found: Found, wall: datetime) -> Action:
        wanted, target = found.wanted, found.target
        if target is None or not self._may_see(target.message):
            return Reply(client_frames.error("not_found", "There is no such message.", wanted.client_msg_id))
        message = target.message
        if message.owner_id != self.user.id and not (self._is_admin and wanted.message is None):
            return Reply(client_frames.error("forbidden", "The message is another's.", wanted.client_msg_id))
        return Publish(self._channels.stamped(amendment(target, wanted, self.user.id, wall)))

    def _may_see(self, message: Message) -> bool:
        return not isinstance(message, Amendment) and (self._is_admin or self._channels.may_see(self.user.id, message))

    def _named(self) -> tuple[str, str]:
        return self.user.id, self.user.username

    def _place(self, frame: Typing | Read) -> Place:
        if frame.channel is None:
            return Place(recipient_id=frame.recipient_id)
        return Place(channel_id=self._channel(frame.channel, None).id)

    def _channel(self, name: str, client_msg_id: str | None) -> Channel:
        channel = self._channels.named(name, self.user.id)
        if channel is None:
            raise BadFrame("unknown_channel", "There is no such channel.", client_msg_id)
        return channel

    def _to_room(self, frame: Say, wall: datetime) -> RoomMessage:
        channel = self._channel(frame.channel, frame.client_msg_id)
        return RoomMessage(
            owner_id=self.user.id,
            username=self.user.username,
            channel_id=channel.id,
            channel=channel.name,
            message=frame.message,
            authored_at=wall,
            client_msg_id=frame.client_msg_id,
            members_version=channel.members_version if channel.is_private else None,
        )

    def _to_person(self, frame: Whisper, wall: datetime) -> DirectMessage:
        return DirectMessage(
            owner_id=self.user.id,
            username=self.user.username,
            recipient_id=frame.recipient_id,
            recipient="",
            message=frame.message,
            authored_at=wall,
            client_msg_id=frame.client_msg_id,
        )

    def _close(self, reason: Reason) -> list[Action]:
        self.closed = True
        return [Close(reason)]


def amendment(target: Stored, wanted: Amend, actor_id: str, wall: datetime) -> Amendment:
    message = target.message
    return Amendment(
        target_epoch=target.position.epoch,
        target=target.position.sequence,
        owner_id=message.owner_id,
        actor_id=actor_id,
        message=wanted.message,
        authored_at=wall,
        channel_id=message.channel_id if isinstance(message, RoomMessage) else None,
        recipient_id=message.recipient_id if isinstance(message, DirectMessage) else "",
        client_msg_id=wanted.client_msg_id,
        members_version=message.members_version if isinstance(message, RoomMessage) else None,
    )
