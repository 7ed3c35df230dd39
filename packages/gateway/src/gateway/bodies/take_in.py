"""Takes in one request's body: all of it is read, bounded and parsed before anybody judges it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.bodies import form_values, json_body
from gateway.core.bodies.body_pace import Pace
from gateway.core.bodies.media_type import MediaType
from gateway.core.bodies.multipart_reader import MultipartReader, PartEnded
from gateway.core.bodies.part_head import PartHead
from gateway.core.bodies.record_body import Content, ReceivedBody, UploadedFile
from gateway.core.body_refusals import InvalidFields, MalformedBody, NoRoom, TooSlow
from gateway.core.refusals import TooLarge
from gateway.core.uploads.file_type import HEAD_BYTES, detected
from gateway.core.uploads.upload_checks import Accepts, too_large

TOO_SLOW = "The request body comes in too slowly."
TOO_LARGE = "Request entity too large."
BUSY = "Too many requests are being taken in; please retry."
NO_TEXT = "A field of the form is not UTF-8."
WRONG_FILE = "Something went wrong while processing your request."

PARSED_AT_ONCE_BYTES = 64 * 1024


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


class Memory:
    """What all bodies together may hold in memory; files are not counted here."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    def reserve(self, size: int) -> None:
        """Raises NoRoom."""
        if size > self._left:
            raise NoRoom(BUSY)
        self._left -= size

    def release(self, size: int) -> None:
        self._left += size


class Share:
    """One request's part of the memory."""

    def __init__(self, memory: Memory, max_bytes: int) -> None:
        self._memory = memory
        self._max_bytes = max_bytes
        self._held = 0

    def take(self, size: int) -> None:
        """Raises TooLarge, NoRoom."""
        if self._held + size > self._max_bytes:
            raise TooLarge(TOO_LARGE)
        self._memory.reserve(size)
        self._held += size

    def give_back(self) -> None:
        self._memory.release(self._held)
        self._held = 0


class Intake:
    """`max_field_bytes` bounds all of one body that is not a file."""

    def __init__(self, spool: Spool, *, pace: Pace, max_field_bytes: int, max_memory_bytes: int) -> None:
        self._spool = spool
        self._pace = pace
        self._max_field_bytes = max_field_bytes
        self._memory = Memory(max_memory_bytes)

    @asynccontextmanager
    async def take_in(
        self,
        chunks: AsyncIterator[bytes],
        media: MediaType,
        expected: Expected = NO_FILES,
        *,
        declared_bytes: int | None = None,
    ) -> AsyncGenerator[ReceivedBody]:
        """The files last as long as the context. How large all of the body may be is for `chunks` to say.

        Raises MalformedBody, TooLarge, TooSlow, NoRoom, InvalidFields for a file that is too large for its field,
        and whatever `chunks` raises.
        """
        if media.kind != "multipart" and (declared_bytes or 0) > self._max_field_bytes:
            raise TooLarge(TOO_LARGE)
        share = Share(self._memory, self._max_field_bytes)
        form = IncomingForm(self._spool, share, expected)
        try:
            async with aclosing(in_time(chunks, self._pace)) as paced:
                received = await read(paced, media, form, share)
            yield received
        finally:
            form.close()
            share.give_back()


async def read(chunks: AsyncIterator[bytes], media: MediaType, form: "IncomingForm", share: "Share") -> ReceivedBody:
    match media.kind:
        case "none":
            return ReceivedBody()
        case "json":
            return ReceivedBody(value=await parsed(json_body.parsed, await whole(chunks, share)))
        case "form":
            return ReceivedBody(pairs=await parsed(form_values.pairs_of, await whole(chunks, share)))
        case "multipart":
            return await form.read(chunks, media.boundary)


async def in_time(chunks: AsyncIterator[bytes], pace: Pace) -> AsyncGenerator[bytes]:
    """Raises TooSlow."""
    loop = asyncio.get_running_loop()
    begun, received = loop.time(), 0
    while True:
        try:
            async with asyncio.timeout_at(pace.deadline(begun, received)):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise TooSlow(TOO_SLOW) from error
        if chunk is None:
            return
        received += len(chunk)
        yield chunk


async def whole(chunks: AsyncIterator[bytes], share: Share) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        share.take(len(chunk))
        body += chunk
    return bytes(body)


async def parsed(parse: Any, body: bytes) -> Any:
    """In a thread when it takes long enough for others to notice."""
    return parse(body) if len(body) <= PARSED_AT_ONCE_BYTES else await asyncio.to_thread(parse, body)


class IncomingForm:
    """A multipart form as it grows. `close` lets go of its files, whole or not."""

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
        return ReceivedBody(pairs=tuple(self._pairs), files=tuple(self._files))

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
