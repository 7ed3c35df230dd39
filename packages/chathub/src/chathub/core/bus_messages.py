"""What travels through the log and beside it, and how it is written there."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec

from common.core import messages
from common.core.errors import InvalidRequest, ServiceError
from common.core.subjects import change_in, direct_in, room_in

VERSION = 1

PURGE = "~purge."


class Unreadable(ServiceError):
    """Bytes on the bus that are no message of ours, or one of a version this node does not know."""


class Position(NamedTuple):
    """A place in the log. The epoch is when the log was created, so that one made anew sorts after the old one."""

    epoch: int
    sequence: int


class RoomMessage(msgspec.Struct, frozen=True, tag="room", kw_only=True):
    """`members_version` is that of the members of a private channel as the sender's node knew them."""

    owner_id: str
    username: str
    channel_id: int
    channel: str
    message: str
    authored_at: datetime
    client_msg_id: str | None = None
    members_version: int | None = None
    v: int = VERSION


class DirectMessage(msgspec.Struct, frozen=True, tag="direct", kw_only=True):
    owner_id: str
    username: str
    recipient_id: str
    recipient: str
    message: str
    authored_at: datetime
    client_msg_id: str | None = None
    v: int = VERSION


class Amendment(msgspec.Struct, frozen=True, tag="amendment", kw_only=True):
    """What becomes of an earlier message: another text, or none at all.

    It lies below the messages of the same channel or recipient, under its target: all that ever became of one message
    is found there.
    """

    target_epoch: int
    target: int
    owner_id: str
    actor_id: str
    message: str | None
    authored_at: datetime
    channel_id: int | None = None
    recipient_id: str = ""
    client_msg_id: str | None = None
    members_version: int | None = None
    v: int = VERSION


Said: TypeAlias = RoomMessage | DirectMessage
Message: TypeAlias = Said | Amendment


class Stored(NamedTuple):
    """A message and its place in the log."""

    position: Position
    message: Message


class Notice(messages.Message, frozen=True):
    """Something in PostgreSQL is to be read anew."""

    about: Literal["channels", "limits"]


StoredText: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[^\\x00]*$")]
StoredNumber: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Traces(msgspec.Struct, frozen=True):
    """Of an entry that cannot be stored what it takes to delete it: whose it is, and of which message it speaks."""

    owner_id: StoredText | None = None
    target_epoch: StoredNumber | None = None
    target: StoredNumber | None = None

    def about(self, own: Position) -> Position:
        if self.target_epoch is None or self.target is None:
            return own
        return Position(self.target_epoch, self.target)


_traces_decoder = msgspec.json.Decoder(Traces)
_message_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(RoomMessage | DirectMessage | Amendment)


def encode(message: Message) -> bytes:
    return msgspec.json.encode(message)


def read_message(data: bytes) -> Message:
    """Raises Unreadable."""
    try:
        message = _message_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Unreadable(str(error)) from error
    return of_known_version(message)


def read_traces(data: bytes) -> Traces:
    """None at all of what is not even nearly a message."""
    try:
        return _traces_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError):
        return Traces()


def said_at(position: Position, subject: str, data: bytes) -> Stored | None:
    """An entry that can be deleted as any message can: it is one, and lies where it belongs."""
    try:
        message = read_message(data)
        belongs = subject_of(message) == subject
    except (Unreadable, InvalidRequest):
        return None
    return Stored(position, message) if belongs and not isinstance(message, Amendment) else None


def of_known_version(message: Message) -> Message:
    if message.v != VERSION:
        raise Unreadable(f"version {message.v} is not known")
    return message


def subject_of(message: Message) -> str:
    match message:
        case RoomMessage():
            return room_in(str(message.channel_id))
        case DirectMessage():
            return direct_in(message.recipient_id)
        case Amendment():
            said_in = (
                direct_in(message.recipient_id) if message.channel_id is None else room_in(str(message.channel_id))
            )
            return change_in(said_in, f"{message.target_epoch}-{message.target}")


def message_key(message: Message) -> str | None:
    """By which the log knows a repeated message; one user's keys cannot meet another's."""
    if message.client_msg_id is None:
        return None
    sender = message.actor_id if isinstance(message, Amendment) else message.owner_id
    return f"{sender}:{message.client_msg_id}"


def concerns(message: Message, user_id: str) -> bool:
    """Whether that user may see it; in a private channel that is for its members to say."""
    return isinstance(message, RoomMessage) or concerns_all(message) or user_id in parties(message)


def concerns_all(message: Message) -> bool:
    return isinstance(message, RoomMessage) or (isinstance(message, Amendment) and message.channel_id is not None)


def private_room_of(message: Message) -> int | None:
    """The private channel in which it is said, if it is one."""
    if isinstance(message, DirectMessage) or message.members_version is None:
        return None
    return message.channel_id


def parties(message: DirectMessage | Amendment) -> set[str]:
    """Between whom it is said."""
    return {message.owner_id, message.recipient_id}


def is_of_purge(amendment: Amendment) -> bool:
    """One of many that delete all of a user's messages; no client can send such an id."""
    return (amendment.client_msg_id or "").startswith(PURGE)


def amends(amendment: Amendment) -> Position:
    return Position(amendment.target_epoch, amendment.target)


def amended(stored: Stored, amendment: Amendment) -> Stored | None:
    """The message as it is from then on; None once it is deleted."""
    if amendment.message is None or isinstance(stored.message, Amendment):
        return None
    return Stored(stored.position, msgspec.structs.replace(stored.message, message=amendment.message))


def prevailing(earlier: Amendment | None, later: Amendment) -> Amendment:
    """What is deleted stays deleted, whoever edits it afterwards. `later` is so by its place in the log."""
    return earlier if earlier is not None and earlier.message is None else later


def superseded(changes: Sequence[Stored]) -> list[Position]:
    """Of all that became of one message, in order: the places where something stands that nobody needs any more.

    An edit gives way to a later one, and everything to a deletion, the message itself included. An edited message
    stays: who was away is given it, under its last wording.
    """
    deletion = next((change for change in changes if change.message.message is None), None)
    last_word = deletion or changes[-1]
    given_way = [change.position for change in changes if change is not last_word]
    if deletion is not None and isinstance(deletion.message, Amendment):
        given_way.append(amends(deletion.message))
    return given_way
