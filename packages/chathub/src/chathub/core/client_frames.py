"""What clients send and what they are sent, as text frames. Shapes and names are OnRabble's.

`cacheID` is a message's sequence in the log. Times are RFC 3339 in UTC.
"""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import orjson

from chathub.core.bus_messages import DirectMessage, RoomMessage, Stored
from chathub.core.channels import Channel
from chathub.core.outbox import Frame
from chathub.core.presence import User
from common.core.errors import InvalidRequest, ServiceError
from common.core.subjects import token

SERVER = "Server"
MAX_BULK_BYTES = 512 * 1024

_CLIENT_MESSAGE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@dataclass(frozen=True, slots=True)
class Say:
    channel: str
    message: str
    client_msg_id: str | None


@dataclass(frozen=True, slots=True)
class Whisper:
    recipient_id: str
    message: str
    client_msg_id: str | None


FromClient: TypeAlias = Say | Whisper


class BadFrame(ServiceError):
    """A frame that is refused. The socket lives; `code` tells a program why and the text tells a person."""

    def __init__(self, code: str, message: str, client_msg_id: str | None = None) -> None:
        super().__init__(message)
        self.reason = code
        self.client_msg_id = client_msg_id


class _Frame(msgspec.Struct):
    type: str = ""
    channel: str | None = None
    recipient_id: str | None = None
    message: str | None = None
    client_msg_id: str | None = None


_decoder = msgspec.json.Decoder(_Frame)


def parse(text: str, *, max_length: int) -> FromClient:
    """Raises BadFrame for whatever is not a message of at most `max_length` characters."""
    try:
        frame = _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadFrame("malformed", "The frame is not a JSON object of the expected shape.") from error
    id = frame.client_msg_id
    if id is not None and not _CLIENT_MESSAGE_ID.fullmatch(id):
        raise BadFrame("malformed", "client_msg_id is 1 to 64 letters, digits or . _ : - characters.")
    match frame.type:
        case "chat_message":
            return Say(required(frame.channel, "channel", id), message_of(frame, max_length), id)
        case "private_chat_message":
            return Whisper(recipient_of(frame), message_of(frame, max_length), id)
        case _:
            raise BadFrame("unknown_type", "There is no such type of frame.", id)


def required(value: str | None, name: str, client_msg_id: str | None) -> str:
    if not value:
        raise BadFrame("malformed", f"{name} is missing.", client_msg_id)
    return value


def recipient_of(frame: _Frame) -> str:
    try:
        return token(required(frame.recipient_id, "recipient_id", frame.client_msg_id))
    except InvalidRequest as error:
        raise BadFrame("unknown_recipient", "There is no such user.", frame.client_msg_id) from error


def message_of(frame: _Frame, max_length: int) -> str:
    id = frame.client_msg_id
    text = required(frame.message, "message", id)
    if not text.strip():
        raise BadFrame("empty", "The message is empty.", id)
    if len(text) > max_length:
        raise BadFrame("too_long", f"A message may have {max_length} characters.", id)
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BadFrame("unsupported_text", "The message holds characters that cannot be stored.", id)
    return text


def envelope(type: str, sender: str, payload: Mapping[str, Any]) -> Frame:
    encoded = orjson.dumps({"type": type, "sender": sender, "payload": payload}, option=orjson.OPT_UTC_Z)
    return Frame(encoded.decode(), len(encoded))


def message_frame(stored: Stored) -> Frame:
    match stored.message:
        case RoomMessage():
            return envelope("chat_message", stored.message.username, room_payload(stored))
        case DirectMessage():
            return envelope("private_chat_message", stored.message.username, direct_payload(stored))


def bulk_chat_messages(messages: Sequence[Stored]) -> Frame:
    return bulk("bulk_chat_messages", [room_payload(stored) for stored in messages])


def bulk_private_messages(messages: Sequence[Stored]) -> Frame:
    return bulk("bulk_private_messages", [direct_payload(stored) for stored in messages])


def bulk(type: str, payloads: Sequence[dict[str, Any]]) -> Frame:
    """The newest that fit: many clients refuse a frame of more than a megabyte."""
    kept: deque[bytes] = deque()
    size = 0
    for payload in reversed(payloads):
        encoded = orjson.dumps(payload, option=orjson.OPT_UTC_Z)
        size += len(encoded)
        if size > MAX_BULK_BYTES:
            break
        kept.appendleft(encoded)
    return envelope(type, SERVER, {"messages": [orjson.Fragment(encoded) for encoded in kept]})


def room_payload(stored: Stored) -> dict[str, Any]:
    position, message = stored
    assert isinstance(message, RoomMessage)  # noqa: S101 - callers keep the two kinds apart
    return {
        "cacheID": position.sequence,
        "owner_id": message.owner_id,
        "username": message.username,
        "channel": message.channel,
        "message": message.message,
        "authored_at": message.authored_at,
    }


def direct_payload(stored: Stored) -> dict[str, Any]:
    position, message = stored
    assert isinstance(message, DirectMessage)  # noqa: S101 - callers keep the two kinds apart
    return {
        "cacheID": position.sequence,
        "owner_id": message.owner_id,
        "username": message.username,
        "recipient_id": message.recipient_id,
        "recipient": message.recipient,
        "message": message.message,
        "authored_at": message.authored_at,
    }


def user_status(user: User, *, present: bool) -> Frame:
    return envelope("user_status", SERVER, status_payload(user, present=present))


def connected_users(users: Sequence[User]) -> Frame:
    return envelope("connected_users", SERVER, {"users": [status_payload(user, present=True) for user in users]})


def status_payload(user: User, *, present: bool) -> dict[str, Any]:
    return {"username": user.username, "id": user.id, "status": present}


def active_channels(channels: Sequence[Channel]) -> Frame:
    return envelope("active_channels", SERVER, {"channels": [channel_payload(channel) for channel in channels]})


def channel_payload(channel: Channel) -> dict[str, Any]:
    described = {"description": channel.description} if channel.description else {}
    return {"id": channel.id, "name": channel.name, **described, "sort_order": channel.sort_order}


def ack(client_msg_id: str, sequence: int) -> Frame:
    return envelope("ack", SERVER, {"client_msg_id": client_msg_id, "cacheID": sequence})


def error(code: str, message: str, client_msg_id: str | None) -> Frame:
    about = {} if client_msg_id is None else {"client_msg_id": client_msg_id}
    return envelope("error", SERVER, {"code": code, "message": message, **about})
