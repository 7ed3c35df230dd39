"""What clients send and what they are sent, as text frames. Shapes and names are OnRabble's.

`cacheID` is a message's sequence in the log. Times are RFC 3339 in UTC.
"""

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import msgspec
import orjson

from chathub.core.activity import ChannelCount, DayOfSessions
from chathub.core.bus_messages import Amendment, DirectMessage, Position, RoomMessage, Stored
from chathub.core.channels import Channel
from chathub.core.presence import User
from common.core.errors import InvalidRequest, ServiceError
from common.core.subjects import token

SERVER = "Server"

Frame: TypeAlias = bytes
"""One text frame's JSON, encoded once for all who get it."""

MAX_BULK_BYTES = 512 * 1024

_CONNECTED_USERS = b'{"type":"connected_users","sender":"Server","payload":{"users":[%b]}}'
_CLIENT_MESSAGE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""NUL, and halves of surrogate pairs."""


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


@dataclass(frozen=True, slots=True)
class Amend:
    """Another text for an earlier message of the sender's own, or None to delete it."""

    cache_id: int
    message: str | None
    client_msg_id: str | None


@dataclass(frozen=True, slots=True)
class Refresh:
    """A newer token of the same user."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Typing:
    """The user is writing, in a channel or to somebody."""

    channel: str | None
    recipient_id: str | None


@dataclass(frozen=True, slots=True)
class Read:
    """The user has read up to a message, in a channel or of somebody."""

    channel: str | None
    recipient_id: str | None
    cache_id: int


FromClient: TypeAlias = Say | Whisper | Amend | Refresh | Typing | Read


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
    cache_id: int | None = msgspec.field(default=None, name="cacheID")
    client_msg_id: str | None = None
    token: str | None = None


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
        case "edit_message":
            return Amend(target_of(frame), message_of(frame, max_length), id)
        case "delete_message":
            return Amend(target_of(frame), None, id)
        case _:
            return parse_signal(frame)


def parse_signal(frame: _Frame) -> FromClient:
    """What is not kept."""
    match frame.type:
        case "refresh":
            return Refresh(required(frame.token, "token", frame.client_msg_id))
        case "typing":
            return Typing(*place_of(frame))
        case "read":
            return Read(*place_of(frame), target_of(frame))
        case _:
            raise BadFrame("unknown_type", "There is no such type of frame.", frame.client_msg_id)


def place_of(frame: _Frame) -> tuple[str | None, str | None]:
    """A channel, or else somebody."""
    if frame.recipient_id is None:
        return required(frame.channel, "channel", frame.client_msg_id), None
    return None, recipient_of(frame)


def required(value: str | None, name: str, client_msg_id: str | None) -> str:
    if not value:
        raise BadFrame("malformed", f"{name} is missing.", client_msg_id)
    return value


def target_of(frame: _Frame) -> int:
    if frame.cache_id is None or not 0 < frame.cache_id < 2**63:
        raise BadFrame("malformed", "cacheID is missing.", frame.client_msg_id)
    return frame.cache_id


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
    if _UNSTORABLE.search(text):
        raise BadFrame("unsupported_text", "The message holds characters that cannot be stored.", id)
    return text


def envelope(type: str, sender: str, payload: Mapping[str, Any]) -> Frame:
    return orjson.dumps({"type": type, "sender": sender, "payload": payload}, option=orjson.OPT_UTC_Z)


def message_frame(stored: Stored) -> Frame:
    match stored.message:
        case RoomMessage():
            return envelope("chat_message", stored.message.username, room_payload(stored))
        case DirectMessage():
            return envelope("private_chat_message", stored.message.username, direct_payload(stored))
        case Amendment():
            type = "message_deleted" if stored.message.message is None else "message_edited"
            return envelope(type, SERVER, amendment_payload(stored.position, stored.message))


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


def amendment_payload(position: Position, amendment: Amendment) -> dict[str, Any]:
    text = {} if amendment.message is None else {"message": amendment.message}
    return {"cacheID": amendment.target, **text, "amended_at": amendment.authored_at, "sequence": position.sequence}


def resumed(last: Position, reason: str | None) -> Frame:
    """Whether all follows that was said since the place the client named, and where it stands after the welcome."""
    why = {} if reason is None else {"reason": reason}
    place = {"epoch": str(last.epoch), "cacheID": last.sequence}
    return envelope("resumed", SERVER, {**place, "recovered": reason is None, **why})


def user_status(user: User, *, present: bool) -> Frame:
    return envelope("user_status", SERVER, status_payload(user, present=present))


def connected_users(listings: Iterable[bytes]) -> Frame:
    return _CONNECTED_USERS % b",".join(listings)


def listing(user: User) -> bytes:
    """One of them, encoded."""
    return orjson.dumps(status_payload(user, present=True))


def status_payload(user: User, *, present: bool) -> dict[str, Any]:
    return {"username": user.username, "id": user.id, "status": present}


def active_channels(channels: Sequence[Channel]) -> Frame:
    return envelope("active_channels", SERVER, {"channels": [channel_payload(channel) for channel in channels]})


def message_count_by_channel(counts: Sequence[ChannelCount]) -> Frame:
    return envelope("message_count_by_channel", SERVER, {"channels": [asdict(count) for count in counts]})


def session_activity(days: Sequence[DayOfSessions]) -> Frame:
    return envelope("session_activity", SERVER, {"session_activity": [asdict(day) for day in days]})


def channel_payload(channel: Channel) -> dict[str, Any]:
    described = {"description": channel.description} if channel.description else {}
    private = {"private": True} if channel.is_private else {}
    return {"id": channel.id, "name": channel.name, **described, "sort_order": channel.sort_order, **private}


def ack(client_msg_id: str, sequence: int) -> Frame:
    return envelope("ack", SERVER, {"client_msg_id": client_msg_id, "cacheID": sequence})


def error(code: str, message: str, client_msg_id: str | None) -> Frame:
    about = {} if client_msg_id is None else {"client_msg_id": client_msg_id}
    return envelope("error", SERVER, {"code": code, "message": message, **about})


def rate_limited(retry_after_ms: int, client_msg_id: str | None) -> Frame:
    about = {} if client_msg_id is None else {"client_msg_id": client_msg_id}
    return envelope("rate_limited", SERVER, {"retry_after_ms": retry_after_ms, **about})


def token_expiring(seconds: int) -> Frame:
    return envelope("token_expiring", SERVER, {"expires_in": seconds})


def refreshed(expires_at: int) -> Frame:
    """In Unix seconds."""
    return envelope("refreshed", SERVER, {"expires_at": expires_at})


def reconnect(last: Position, after_ms: int) -> Frame:
    """The socket is about to close: when to connect again, and from where to go on."""
    return envelope("reconnect", SERVER, {"resume": f"{last.epoch}.{last.sequence}", "after_ms": after_ms})


def typing(user: User, place: Mapping[str, str]) -> Frame:
    return envelope("typing", user.username, {"id": user.id, "username": user.username, **place})


def read_position(user: User, place: Mapping[str, str], cache_id: int) -> Frame:
    return envelope("read", user.username, {"id": user.id, "username": user.username, **place, "cacheID": cache_id})
