"""A request's body once it is read, and the body that PocketBase gets in its place.

What goes upstream is written from the parsed pieces alone: JSON, or where there are files a multipart form with one
`@jsonPayload` and the files after it.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from gateway.core.bodies.form_values import PAYLOAD, Pairs, fields_of
from gateway.core.bodies.json_body import as_object, written
from gateway.core.operation import Upload

_FIELD = re.compile(r"(?:requests\.[0-9]+\.)?\+?\w+[+-]?", re.ASCII)


class Content(Protocol):
    """A file that waits on this machine; it may be read as often as needed, until the body is let go of."""

    def chunks(self) -> AsyncIterator[bytes]: ...

    async def read(self, offset: int, length: int) -> bytes:
        """Fewer bytes, or none, at the end of the file."""
        ...


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """`key` is the name that the file came under, modifiers included; `detected_type` is what its bytes say."""

    key: str
    filename: str
    declared_type: str
    detected_type: str | None
    size_bytes: int
    head: bytes
    content: Content

    def as_upload(self) -> Upload:
        """As rules see it."""
        return Upload(self.filename, self.declared_type, self.size_bytes, self.head)


@dataclass(frozen=True, slots=True)
class ReceivedBody:
    """A body whose grammar is known and whose meaning is not yet: `pairs` is None unless it was a form."""

    value: Any = None
    pairs: Pairs | None = None
    files: tuple[UploadedFile, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordBody:
    """A record's fields as PocketBase will understand them, modifiers (`tags+`) under the name they came with."""

    fields: dict[str, Any]
    files: tuple[UploadedFile, ...] = ()

    def uploads(self) -> dict[str, tuple[Upload, ...]]:
        """The files as rules see them, by the name they came under."""
        found: dict[str, tuple[Upload, ...]] = {}
        for file in self.files:
            found[file.key] = (*found.get(file.key, ()), file.as_upload())
        return found


def record_body(received: ReceivedBody) -> RecordBody:
    """Raises MalformedBody."""
    fields = as_object(received.value) if received.pairs is None else fields_of(received.pairs)
    return RecordBody(fields, received.files)


Piece: TypeAlias = bytes | Content


@dataclass(frozen=True, slots=True)
class UpstreamBody:
    """To be sent with exactly this type and length."""

    content_type: str
    length: int
    pieces: Sequence[Piece]


def upstream_body(body: RecordBody, boundary: str) -> UpstreamBody:
    """`boundary` must be one that no client can guess."""
    return assembled(body.fields, [(file.key, file) for file in body.files], boundary)


def assembled(payload: Mapping[str, Any], files: Sequence[tuple[str, UploadedFile]], boundary: str) -> UpstreamBody:
    """Raises ValueError for a file under a name that is no field's."""
    document = written(payload)
    if not files:
        return UpstreamBody("application/json", len(document), (document,))
    pieces: list[Piece] = [head(boundary, f'name="{PAYLOAD}"') + document]
    for key, file in files:
        if not _FIELD.fullmatch(key):
            raise ValueError("a file is under a name that is no field's")
        pieces += [b"\r\n" + head(boundary, f'name="{key}"; filename="{file.filename}"'), file.content]
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    length = sum(len(piece) for piece in pieces if isinstance(piece, bytes)) + sum(file.size_bytes for _, file in files)
    return UpstreamBody(f"multipart/form-data; boundary={boundary}", length, tuple(pieces))


def head(boundary: str, disposition: str) -> bytes:
    return f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()


async def streamed(body: UpstreamBody) -> AsyncIterator[bytes]:
    for piece in body.pieces:
        if isinstance(piece, bytes):
            yield piece
        else:
            async for chunk in piece.chunks():
                yield chunk
