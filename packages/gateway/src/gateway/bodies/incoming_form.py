"""A multipart form as it grows: values in memory, files in the spool, each bounded as it comes in."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from gateway.bodies.memory import Share, weigh
from gateway.core.bodies.multipart_reader import MultipartReader, PartEnded
from gateway.core.bodies.part_head import PartHead
from gateway.core.bodies.record_body import Content, ReceivedBody, UploadedFile
from gateway.core.body_refusals import InvalidFields, MalformedBody
from gateway.core.uploads.file_type import HEAD_BYTES, detected
from gateway.core.uploads.upload_checks import Accepts, too_large

NO_TEXT = "A field of the form is not UTF-8."
WRONG_FILE = "Something went wrong while processing your request."


class WaitingFile(Content, Protocol):
    @property
    def size_bytes(self) -> int: ...

    async def write(self, chunk: bytes) -> None:
        """Raises NoRoom."""
        ...

    def close(self) -> None: ...


class Spool(Protocol):
    def open(self) -> WaitingFile:
        """Raises NoRoom."""
        ...


@dataclass(frozen=True, slots=True)
class Expected:
    """`accepts` tells how large a file may be under its key, None for one that PocketBase would pass over."""

    accepts: Accepts
    refusal: str = WRONG_FILE
    """The message over the field's error when a file is too large."""


def no_files(_key: str) -> int | None:
    return None


NO_FILES = Expected(no_files)


class IncomingForm:
    """`close` lets go of its files, whole or not."""

    def __init__(self, spool: Spool, share: Share, expected: Expected) -> None:
        self._spool = spool
        self._share = share
        self._expected = expected
        self._pairs: list[tuple[str, str]] = []
        self._files: list[UploadedFile] = []
        self._opened: list[WaitingFile] = []
        self._part: ValuePart | FilePart | PassedOverPart = PassedOverPart()

    async def read(self, chunks: AsyncIterator[bytes], boundary: bytes) -> ReceivedBody:
        reader = MultipartReader(boundary)
        async for chunk in chunks:
            for event in reader.feed(chunk):
                match event:
                    case PartHead():
                        self._part = self._begun(event)
                    case PartEnded():
                        await self._part.end(self._pairs, self._files)
                    case bytes():
                        await self._part.add(event)
        reader.finish()
        size = sum(len(value) for _, value in self._pairs)
        return ReceivedBody(pairs=tuple(self._pairs), files=tuple(self._files), size_bytes=size)

    def _begun(self, head: PartHead) -> "ValuePart | FilePart | PassedOverPart":
        if head.filename is None:
            self._share.take(len(head.name))
            return ValuePart(head.name, self._share)
        max_bytes = self._expected.accepts(head.name)
        if max_bytes is None:
            return PassedOverPart()
        self._opened.append(file := self._spool.open())
        return FilePart(head, file, max_bytes, self._expected.refusal)

    def close(self) -> None:
        for file in self._opened:
            file.close()


class ValuePart:
    def __init__(self, name: str, share: Share) -> None:
        self._name = name
        self._share = share
        self._value = bytearray()

    async def add(self, data: bytes) -> None:
        self._share.take(len(data))
        self._value += data

    async def end(self, pairs: list[tuple[str, str]], _files: list[UploadedFile]) -> None:
        await weigh(bytes(self._value), self._share)
        try:
            pairs.append((self._name, self._value.decode("utf-8")))
        except UnicodeDecodeError as error:
            raise MalformedBody(NO_TEXT) from error


class FilePart:
    def __init__(self, head: PartHead, file: WaitingFile, max_bytes: int, refusal: str) -> None:
        self._head = head
        self._file = file
        self._max_bytes = max_bytes
        self._refusal = refusal

    async def add(self, data: bytes) -> None:
        if self._file.size_bytes + len(data) > self._max_bytes:
            error = too_large(self._head.filename or "", self._max_bytes)
            raise InvalidFields.of(self._refusal, {self._head.name.strip("+"): error})
        await self._file.write(data)

    async def end(self, _pairs: list[tuple[str, str]], files: list[UploadedFile]) -> None:
        head = await self._file.read(0, HEAD_BYTES)
        files.append(
            UploadedFile(
                key=self._head.name,
                filename=self._head.filename or "",
                declared_type=self._head.declared_type,
                detected_type=detected(head),
                size_bytes=self._file.size_bytes,
                head=head,
                content=self._file,
            )
        )


class PassedOverPart:
    """A file that PocketBase would not look at is not kept either."""

    async def add(self, _data: bytes) -> None: ...

    async def end(self, _pairs: list[tuple[str, str]], _files: list[UploadedFile]) -> None: ...
