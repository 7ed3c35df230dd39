"""Calls of code that runs in a loop of its own, carried out in the server's."""

import asyncio
from typing import Any

from gateway.core.bodies.record_body import UploadedFile
from gateway.core.route_files.database_call import DatabaseCall
from gateway.routing.database import Calls

ENDED = "the request that this database is of has been answered"
MAX_READ_BYTES = 8 * 1024 * 1024


class AcrossLoops:
    """Made in the server's loop, for one request. Whoever stops waiting gives the call up as well."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._server = asyncio.get_running_loop()
        self._has_ended = False

    def end(self) -> None:
        """A route that has kept the database must not go on as a caller who is gone."""
        self._has_ended = True

    async def call(self, call: DatabaseCall) -> Any:
        """Raises RuntimeError once the request is answered, and otherwise what the calls raise."""
        if self._has_ended:
            raise RuntimeError(ENDED)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._calls.call(call), self._server))


class RouteFile:
    """A file that waits in the server's spool; it is gone when the request is."""

    def __init__(self, upload: UploadedFile) -> None:
        self._upload = upload
        self._server = asyncio.get_running_loop()

    @property
    def filename(self) -> str:
        return self._upload.filename

    @property
    def content_type(self) -> str:
        return self._upload.declared_type

    @property
    def detected_type(self) -> str | None:
        return self._upload.detected_type

    @property
    def size_bytes(self) -> int:
        return self._upload.size_bytes

    async def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Raises ValueError for more than 8 MiB at once."""
        wanted = self.size_bytes - offset if length is None else length
        if wanted > MAX_READ_BYTES:
            raise ValueError(f"read at most {MAX_READ_BYTES} bytes at once, by offset and length")
        reading = self._upload.content.read(offset, max(wanted, 0))
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(reading, self._server))
