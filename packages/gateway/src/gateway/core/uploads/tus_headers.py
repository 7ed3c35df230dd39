"""What requests of the tus protocol 1.0.0 say in their headers, and what is answered (https://tus.io/protocols).

Extensions: creation, expiration, checksum, termination.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec

from common.core.errors import InvalidRequest
from gateway.core.front_door.headers import RawHeaders, first
from gateway.core.front_door.request_path import segments_of
from gateway.core.refusals import OtherVersion
from gateway.core.uploads.intent import MALFORMED, Intent

VERSION = b"1.0.0"
PATH = ("api", "files", "tus")
MEDIA_TYPE = "application/offset+octet-stream"
ALGORITHMS = {"sha1": 20, "sha256": 32}
METHODS = frozenset({"POST", "HEAD", "PATCH", "DELETE", "GET"})
RESUMABLE = (b"tus-resumable", VERSION)
EXPOSED = (
    b"access-control-expose-headers",
    b"Location,Tus-Resumable,Tus-Version,Tus-Extension,Tus-Max-Size,Tus-Checksum-Algorithm,"
    b"Upload-Offset,Upload-Length,Upload-Expires,X-Gateway-Token",
)
_NUMBER = re.compile(r"[0-9]{1,15}")
_KEYS = {"filename": "name", "name": "name", "filetype": "content_type", "type": "content_type"}
_OURS = frozenset({"collection", "record", "field", "sha256", "fields"})


@dataclass(frozen=True, slots=True)
class Checksum:
    algorithm: str
    digest: bytes


def upload_of(raw_path: bytes) -> str | None:
    """The id in a path of tus, empty for where uploads begin; None for a path that is something else.

    Raises MalformedPath.
    """
    if not raw_path.startswith(b"/api/files/tus"):
        return None
    segments = tuple(segments_of(raw_path))
    if segments[:3] != PATH or len(segments) > 4:
        return None
    return segments[3] if len(segments) == 4 else ""


def check_version(headers: RawHeaders) -> None:
    """Raises OtherVersion."""
    if first(headers, b"tus-resumable") != VERSION.decode():
        raise OtherVersion


def method_of(method: str, headers: RawHeaders) -> str:
    """The protocol lets clients that know no PATCH say it in a header of a POST."""
    meant = first(headers, b"x-http-method-override")
    return meant if method == "POST" and meant in ("PATCH", "DELETE") else method


def number(headers: RawHeaders, name: bytes) -> int:
    """Raises InvalidRequest for a header that is missing, given twice, or no number."""
    values = [value.decode("latin-1") for key, value in headers if key == name]
    if len(values) != 1 or not _NUMBER.fullmatch(values[0]):
        raise InvalidRequest(f"{name.decode().title()} is to be one number.")
    return int(values[0])


def intent_of(headers: RawHeaders) -> Intent:
    """What an upload's metadata say: `collection`, `field`, `filename`, and where wanted `record`, `filetype`, `sha256`
    and `fields`, a JSON object. Raises InvalidRequest."""
    told: dict[str, Any] = {"size": number(headers, b"upload-length")}
    for pair in filter(None, (first(headers, b"upload-metadata") or "").split(",")):
        key, _, value = pair.strip().partition(" ")
        if key in _KEYS or key in _OURS:
            told[_KEYS.get(key, key)] = decoded(value)
    fields = told.pop("fields", "{}")
    try:
        intent = msgspec.convert(told, Intent)
    except msgspec.ValidationError as error:
        raise InvalidRequest(MALFORMED) from error
    return msgspec.structs.replace(intent, fields=msgspec.Raw(fields.encode()))


def decoded(value: str) -> str:
    """Raises InvalidRequest."""
    try:
        return base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest("Upload-Metadata is not in base64.") from error


def checksum_of(headers: RawHeaders) -> Checksum | None:
    """Raises InvalidRequest for one that cannot be checked."""
    told = first(headers, b"upload-checksum")
    if told is None:
        return None
    algorithm, _, value = told.partition(" ")
    try:
        digest = base64.b64decode(value, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != ALGORITHMS.get(algorithm):
        raise InvalidRequest("Upload-Checksum is to be of sha1 or sha256, in base64.")
    return Checksum(algorithm, digest)


def discovery(max_bytes: int) -> list[tuple[bytes, bytes]]:
    return [
        RESUMABLE,
        (b"tus-version", VERSION),
        (b"tus-extension", b"creation,expiration,checksum,termination"),
        (b"tus-max-size", str(max_bytes).encode()),
        (b"tus-checksum-algorithm", ",".join(ALGORITHMS).encode()),
        EXPOSED,
    ]


def progress(offset: int, *, length: int, expires: float) -> list[tuple[bytes, bytes]]:
    when = format_datetime(datetime.fromtimestamp(expires, UTC), usegmt=True)
    return [
        RESUMABLE,
        EXPOSED,
        (b"upload-offset", str(offset).encode()),
        (b"upload-length", str(length).encode()),
        (b"upload-expires", when.encode()),
        (b"cache-control", b"no-store"),
    ]
