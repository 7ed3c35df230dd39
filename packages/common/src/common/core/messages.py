"""What is said on the bus: typed JSON with a version, written and read here.

A reader accepts exactly the version its kind names. Within one version a writer may add fields, which older readers
ignore; anything else (a field gone, renamed, of another type or meaning) is a new version, so that a message is never
half understood. Where two versions are about at once, give the new one a subject of its own.
"""

import re
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

import msgspec

from common.core.errors import InvalidRequest

MAX_MESSAGE_BYTES = 1024 * 1024 - 16 * 1024
"""nats-server's own default limit less room for headers, which count towards it."""

_WHERE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"^Object missing required field `(?P<name>[^`]*)`")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all that is said on the bus. A kind of a later version is `kw_only=True` and says `v: int = 2`."""

    v: int = 1


class Done(Message, frozen=True):
    """The answer to a request that asks for nothing but that something be done."""


M = TypeVar("M", bound=Message | bytes)
"""A kind of message, or `bytes` for what is no message of ours: it is passed on as it is."""


class InvalidMessage(InvalidRequest):
    """Bytes that are no message of the expected kind; `field` is the path to what is wrong, empty for the whole."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class MessageTooLarge(InvalidMessage):
    """More bytes than may be sent or are read."""


class UnknownVersion(InvalidMessage):
    """A message of a version that this process does not know."""


class _Head(msgspec.Struct):
    v: int


_heads = msgspec.json.Decoder(_Head)


def encode(message: Message | bytes, *, limit_bytes: int = MAX_MESSAGE_BYTES) -> bytes:
    """Raises MessageTooLarge, and InvalidMessage for text that has no UTF-8 form."""
    try:
        data = message if isinstance(message, bytes) else msgspec.json.encode(message)
    except UnicodeEncodeError as error:
        raise InvalidMessage(f"A text in {type(message).__name__} holds half of a surrogate pair.") from error
    if len(data) > limit_bytes:
        raise MessageTooLarge(f"The message has {len(data)} bytes; {limit_bytes} are allowed.")
    return data


def decode(kind: type[M], data: bytes, *, limit_bytes: int = MAX_MESSAGE_BYTES) -> M:
    """A message of that kind, or an error that names the field at fault and never holds a value.

    Raises MessageTooLarge, UnknownVersion, InvalidMessage.
    """
    if len(data) > limit_bytes:
        raise MessageTooLarge(f"The message has {len(data)} bytes; {limit_bytes} are read.")
    if issubclass(kind, bytes):
        return kind(data)
    decoder, version = _reader(kind)
    try:
        said = _heads.decode(data).v
        if said != version:
            raise UnknownVersion(f"`v`: version {said} of {kind.__name__} is not known here.", field="v")
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError) as error:
        refuse(kind, error)
    except RecursionError as error:
        raise InvalidMessage(f"{kind.__name__} is nested too deeply.") from error


@lru_cache(maxsize=1024)
def _reader(kind: type[Any]) -> tuple[msgspec.json.Decoder[Any], int]:
    version = next(field.default for field in msgspec.structs.fields(kind) if field.name == "v")
    return msgspec.json.Decoder(kind), version


def refuse(kind: type[Any], error: Exception) -> NoReturn:
    """msgspec names the place at the end of its text; a value that it quotes is left out."""
    if not isinstance(error, msgspec.ValidationError):
        raise InvalidMessage(f"{kind.__name__} is not JSON.") from error
    text = str(error)
    path, reason = "", text
    if where := _WHERE.search(text):
        path, reason = where["path"], text[: where.start()]
    if missing := _MISSING.match(reason):
        path = f"{path}.{missing['name']}".lstrip(".")
        reason = "it is required"
    elif reason.startswith("Invalid"):
        reason = "it is not one of the allowed values"
    named = f"`{path}`" if path else kind.__name__
    raise InvalidMessage(f"{named}: {reason[0].lower()}{reason[1:]}.", field=path) from error
