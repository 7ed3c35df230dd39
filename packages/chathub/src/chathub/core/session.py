"""One client's conversation. Decides; never waits, reads a clock or sends."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from chathub.core import client_frames
from chathub.core.bus_messages import DirectMessage, RoomMessage
from chathub.core.channels import ChannelBook
from chathub.core.client_frames import BadFrame, FromClient, Say, Whisper
from chathub.core.outbox import Frame
from chathub.core.presence import User

Reason: TypeAlias = Literal["binary", "token_expired", "too_slow"]


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
class FellBehind:
    """More waits for the client than may."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing arrived before the session's deadline."""


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
class Publish:
    """To be appended to the log; the outcome comes back as Appended or NotAppended."""

    message: RoomMessage


@dataclass(frozen=True, slots=True)
class PublishDirect:
    """As Publish, once it is known whom `recipient_id` names."""

    message: DirectMessage


@dataclass(frozen=True, slots=True)
class Reply:
    frame: Frame


@dataclass(frozen=True, slots=True)
class Close:
    reason: Reason  # adapters/websocket.py owns the numeric close codes


Event: TypeAlias = TextReceived | BinaryReceived | ClientGone | FellBehind | TimePassed | Appended | NotAppended
Action: TypeAlias = Publish | PublishDirect | Reply | Close


class Session:
    def __init__(self, user: User, channels: ChannelBook, *, deadline: float, max_message_length: int) -> None:
        """`deadline` is when the client's token counts as expired, on the clock that `handle` is told."""
        self.user = user
        self.deadline = deadline
        self.closed = False
        self._channels = channels
        self._max_message_length = max_message_length

    def handle(self, event: Event, now: float, wall: datetime) -> list[Action]:
        """Return what must now be done, in order. `wall` is the time that new messages bear."""
        match event:
            case TextReceived() | TimePassed() if now >= self.deadline:
                return self._close("token_expired")
            case TextReceived(text):
                return [self._read(text, wall)]
            case Appended() | NotAppended():
                return self._outcome(event)
            case BinaryReceived():
                return self._close("binary")
            case FellBehind():
                return self._close("too_slow")
            case ClientGone() | TimePassed():
                self.closed = self.closed or isinstance(event, ClientGone)
                return []

    def _outcome(self, event: Appended | NotAppended) -> list[Action]:
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

    def _to_room(self, frame: Say, wall: datetime) -> RoomMessage:
        channel = self._channels.named(frame.channel)
        if channel is None:
            raise BadFrame("unknown_channel", "There is no such channel.", frame.client_msg_id)
        return RoomMessage(
            owner_id=self.user.id,
            username=self.user.username,
            channel_id=channel.id,
            channel=channel.name,
            message=frame.message,
            authored_at=wall,
            client_msg_id=frame.client_msg_id,
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
