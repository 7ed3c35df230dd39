"""Files on their way through, in temporary files without a name: whatever ends, nothing of them is left."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Lock
from typing import BinaryIO, cast

from gateway.core.body_refusals import NoRoom

IN_MEMORY_BYTES = 256 * 1024
CHUNK_BYTES = 256 * 1024

FULL = "Too many uploads are under way; please retry."


class UploadSpool:
    """`directory` should be on a disk: on a file system in memory the files would be held there after all."""

    def __init__(self, directory: Path, *, max_bytes: int, max_files: int) -> None:
        self._directory = directory
        self._bytes_left = max_bytes
        self._files_left = max_files

    def open(self) -> "SpooledFile":
        """Raises NoRoom. The file must be closed, and is closed as often as one likes."""
        if self._files_left == 0:
            raise NoRoom(FULL)
        self._files_left -= 1
        return SpooledFile(self)

    def reserve(self, size: int) -> None:
        if size > self._bytes_left:
            raise NoRoom(FULL)
        self._bytes_left -= size

    def release(self, size: int) -> None:
        self._bytes_left += size
        self._files_left += 1

    def temporary(self) -> BinaryIO:
        return cast(BinaryIO, tempfile.TemporaryFile(dir=self._directory, buffering=0))


class SpooledFile:
    """Small ones stay in memory; of larger ones no more than IN_MEMORY_BYTES do.

    Threads outlive the requests that they work for: the lock keeps one from writing to a file that is closed.
    """

    def __init__(self, spool: UploadSpool) -> None:
        self._spool = spool
        self._buffer = bytearray()
        self._file: BinaryIO | None = None
        self._lock = Lock()
        self._stored_bytes = 0
        self._is_open = True

    @property
    def size_bytes(self) -> int:
        return self._stored_bytes + len(self._buffer)

    async def write(self, chunk: bytes) -> None:
        """Raises NoRoom."""
        self._spool.reserve(len(chunk))
        self._buffer += chunk
        if len(self._buffer) > IN_MEMORY_BYTES:
            await self._store()

    async def _store(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        self._stored_bytes += len(data)
        await asyncio.to_thread(self._append, data)

    def _append(self, data: bytearray) -> None:
        with self._lock:
            if not self._is_open:
                return
            try:
                self._file = self._file or self._spool.temporary()
                with memoryview(data) as left:
                    write_all(self._file, left)
            except OSError as error:
                raise NoRoom(FULL) from error

    async def read(self, offset: int, length: int) -> bytes:
        """Only after all has been written."""
        if offset >= self._stored_bytes:
            begin = offset - self._stored_bytes
            return bytes(self._buffer[begin : begin + length])
        stored = await asyncio.to_thread(self._stored, offset, min(length, self._stored_bytes - offset))
        return stored + bytes(self._buffer[: length - len(stored)])

    def _stored(self, offset: int, length: int) -> bytes:
        with self._lock:
            if self._file is None or not self._is_open:
                raise ValueError("the file is closed")
            data = os.pread(self._file.fileno(), length, offset)
        if len(data) != length:
            raise OSError("a temporary file is shorter than what was written to it")
        return data

    async def chunks(self) -> AsyncIterator[bytes]:
        offset = 0
        while chunk := await self.read(offset, CHUNK_BYTES):
            offset += len(chunk)
            yield chunk

    def close(self) -> None:
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            if self._file is not None:
                self._file.close()
        self._spool.release(self.size_bytes)
        self._buffer = bytearray()


def write_all(file: BinaryIO, data: memoryview) -> None:
    """A file without a buffer may take less than it is given."""
    done = 0
    while done < len(data):
        done += file.write(data[done:])
