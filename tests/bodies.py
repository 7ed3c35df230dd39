"""Request bodies as clients spell them, and files as the gateway holds them."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from gateway.adapters.upload_spool import UploadSpool
from gateway.bodies.take_in import Expected, Intake
from gateway.core.bodies.body_pace import Pace
from gateway.core.bodies.media_type import parsed
from gateway.core.bodies.record_body import ReceivedBody, UploadedFile
from gateway.core.uploads.file_type import HEAD_BYTES, detected

BOUNDARY = "q7Yb3"
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart form; `head` is what stands after `form-data` and on further lines."""

    head: str
    data: bytes = b""

    def __bytes__(self) -> bytes:
        return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {self.head}\r\n\r\n".encode() + self.data + b"\r\n"


def value(name: str, text: str) -> Part:
    return Part(f'name="{name}"', text.encode())


def file(name: str, data: bytes, filename: str = "file.bin", declared: str = "application/octet-stream") -> Part:
    return Part(f'name="{name}"; filename="{filename}"\r\nContent-Type: {declared}', data)


def multipart(*parts: Part) -> bytes:
    return b"".join(map(bytes, parts)) + f"--{BOUNDARY}--\r\n".encode()


MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class MemoryContent:
    data: bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), 1000):
            yield self.data[start : start + 1000]

    async def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


def uploaded(
    data: bytes, *, key: str = "f", filename: str = "file.bin", declared: str = "application/octet-stream"
) -> UploadedFile:
    head = data[:HEAD_BYTES]
    return UploadedFile(key, filename, declared, detected(head), len(data), head, MemoryContent(data))


async def in_chunks(body: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def any_file(_key: str) -> int | None:
    return 1000 * MEBIBYTE


ANY_FILE = Expected(any_file)


@asynccontextmanager
async def taken_in(
    directory: Path, content_type: str, body: bytes, expected: Expected = ANY_FILE
) -> AsyncGenerator[ReceivedBody]:
    spool = UploadSpool(directory, max_bytes=1000 * MEBIBYTE, max_files=100)
    intake = Intake(spool, pace=Pace(), max_field_bytes=32 * MEBIBYTE, max_memory_bytes=64 * MEBIBYTE)
    async with intake.take_in(in_chunks(body), parsed(content_type), expected) as received:
        yield received


async def joined(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def urlencoded(pairs: Iterable[tuple[str, str]]) -> bytes:
    return urlencode(list(pairs)).encode()
