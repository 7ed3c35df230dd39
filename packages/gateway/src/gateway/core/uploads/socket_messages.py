"""What is said on `/api/files/ws`: JSON messages to and fro, and binary frames of a file's bytes.

frame: the transfer's number in 4 bytes, the offset of what follows in 8, both big-endian; then the bytes
"""

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote, urlencode

import msgspec
import orjson

from common.core.errors import InvalidRequest
from gateway.core.front_door.pocketbase_route import Route, find
from gateway.core.uploads.intent import Intent, Name

HEAD_BYTES = 12
MAX_CHUNK_BYTES = 60 * 1024
WINDOW_BYTES = 1024 * 1024
MALFORMED = "A message is one of the protocol's JSON objects, or a frame of at most 60 KiB."
NO_FILE = "A download is of one file of one record."

Ref = Annotated[int, msgspec.Meta(ge=1, lt=2**32)]
Position = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="auth"):
    """Without a token: as a guest."""

    token: str = ""


class Start(Intent, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="start"):
    ref: Ref

    def intent(self) -> Intent:
        return Intent(**{name: getattr(self, name) for name in Intent.__struct_fields__})


class Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="resume"):
    ref: Ref
    upload: str


class Abort(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="abort"):
    ref: Ref


class Get(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="get"):
    """`begin` and `end` as in HTTP's Range: both count; `token` is PocketBase's for protected files."""

    ref: Ref
    collection: Name
    record: Name
    file: Name
    begin: Position | None = None
    end: Position | None = None
    token: str = ""
    thumb: str = ""

    def route(self) -> Route:
        """Found as a request's is. Raises MalformedPath, InvalidRequest, NotFound."""
        pieces = [quote(piece, safe="") for piece in (self.collection, self.record, self.file)]
        route = find("GET", f"/api/files/{'/'.join(pieces)}".encode())
        if route is None or route.kind != "file":
            raise InvalidRequest(NO_FILE)
        return route

    def query(self) -> bytes:
        told = {"token": self.token, "thumb": self.thumb}
        return urlencode({name: value for name, value in told.items() if value}).encode()

    def range(self) -> list[tuple[bytes, bytes]]:
        """As a header, where only a part is wanted."""
        if self.begin is None and self.end is None:
            return []
        end = "" if self.end is None else self.end
        return [(b"range", f"bytes={self.begin or 0}-{end}".encode())]


Message: TypeAlias = Auth | Start | Resume | Abort | Get


@dataclass(frozen=True, slots=True)
class Chunk:
    ref: int
    offset: int
    data: bytes

    def __bytes__(self) -> bytes:
        return self.ref.to_bytes(4, "big") + self.offset.to_bytes(8, "big") + self.data


_messages: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def message_of(text: str) -> Message:
    """Raises InvalidRequest."""
    try:
        return _messages.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(MALFORMED) from error


def ref_of(text: str) -> int:
    """Of a message that cannot be read otherwise; 0 where it names none."""
    try:
        told: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return 0
    ref = told.get("ref") if isinstance(told, dict) else None  # pyright: ignore[reportUnknownVariableType]
    return ref if isinstance(ref, int) and 0 < ref < 2**32 else 0


def chunk_of(frame: bytes) -> Chunk:
    """Raises InvalidRequest."""
    if not HEAD_BYTES < len(frame) <= HEAD_BYTES + MAX_CHUNK_BYTES:
        raise InvalidRequest(MALFORMED)
    return Chunk(int.from_bytes(frame[:4], "big"), int.from_bytes(frame[4:HEAD_BYTES], "big"), frame[HEAD_BYTES:])
