"""What travels through the log and beside it, and how it is written there."""

from datetime import datetime
from typing import NamedTuple, TypeAlias

import msgspec

from common.core.errors import ServiceError
from common.core.subjects import direct_in, room_in

VERSION = 1


class Unreadable(ServiceError):
    """Bytes on the bus that are no message of ours, or one of a version this node does not know."""


class Position(NamedTuple):
    """A place in the log. The epoch is when the log was created, so that one made anew sorts after the old one."""

    epoch: int
    sequence: int


class RoomMessage(msgspec.Struct, frozen=True, tag="room", kw_only=True):
    owner_id: str
    username: str
    channel_id: int
    channel: str
    message: str
    authored_at: datetime
    client_msg_id: str | None = None
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


Message: TypeAlias = RoomMessage | DirectMessage


class Stored(NamedTuple):
    """A message and its place in the log."""

    position: Position
    message: Message


class ChannelsChanged(msgspec.Struct, frozen=True, tag="channels_changed", kw_only=True):
    """The channels are to be read anew."""

    v: int = VERSION


_message_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(RoomMessage | DirectMessage)
_control_decoder: msgspec.json.Decoder[ChannelsChanged] = msgspec.json.Decoder(ChannelsChanged)


def encode(message: Message | ChannelsChanged) -> bytes:
    return msgspec.json.encode(message)


def read_message(data: bytes) -> Message:
    """Raises Unreadable."""
    try:
        message = _message_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Unreadable(str(error)) from error
    return of_known_version(message)


def read_control(data: bytes) -> ChannelsChanged:
    """Raises Unreadable."""
    try:
        message = _control_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Unreadable(str(error)) from error
    if message.v != VERSION:
        raise Unreadable(f"version {message.v} is not known")
    return message


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


def message_key(message: Message) -> str | None:
    """By which the log knows a repeated message; one user's keys cannot meet another's."""
    if message.client_msg_id is None:
        return None
    return f"{message.owner_id}:{message.client_msg_id}"
