"""Connections to PocketBase for reads without a body, a bounded number of them, kept for the next read.

aiohttp's client does the same for every kind of request; on a read that is passed on it took a third of the gateway's
time (docs/explanation/performance.md).
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from urllib.parse import urlsplit

from common.core.errors import UpstreamUnavailable
from gateway.adapters.read_connection import BrokenAnswer, ReadConnection, Unanswered
from gateway.core.front_door.exchange import UpstreamRequest
from gateway.core.front_door.request_head import request_head

AWAY = "PocketBase does not answer; please retry."


class ReadConnections:
    """`limit` connections at once; who waits longer than `connect_seconds` for one is told that PocketBase is away."""

    def __init__(
        self, url: str, *, limit: int, connect_seconds: float, silence_seconds: float, idle_seconds: float
    ) -> None:
        parts = urlsplit(url)
        self._is_secure = parts.scheme == "https"
        self._address = parts.hostname or "", parts.port or (443 if self._is_secure else 80)
        self._host = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")
        self._places = asyncio.Semaphore(limit)
        self._idle: deque[ReadConnection] = deque()
        self._connect_seconds = connect_seconds
        self._silence_seconds = silence_seconds
        self._idle_seconds = idle_seconds

    def exchange(self, request: UpstreamRequest) -> "ReadExchange":
        """Of a GET without a body. Raises ValueError for a head that cannot be written."""
        return ReadExchange(self, request_head("GET", self._prefix + request.target, self._host, request.headers))

    async def taken(self, *, fresh: bool) -> ReadConnection:
        """Raises OSError or TimeoutError when there is none. To be handed to `give_back`."""
        if self._places.locked():
            async with asyncio.timeout(self._connect_seconds):
                await self._places.acquire()
        else:
            await self._places.acquire()
        try:
            return (None if fresh else self._kept()) or await self._connected()
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: ReadConnection) -> None:
        if connection.is_reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.close()
        self._places.release()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> ReadConnection | None:
        """The one used last; those that nobody has needed for long go."""
        oldest = asyncio.get_running_loop().time() - self._idle_seconds
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connected(self) -> ReadConnection:
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if self._is_secure else None
        async with asyncio.timeout(self._connect_seconds):
            _, connection = await loop.create_connection(
                lambda: ReadConnection(loop, self._silence_seconds), *self._address, ssl=context
            )
        return connection


class ReadAnswer:
    __slots__ = ("_connection", "headers", "status")

    def __init__(self, connection: ReadConnection) -> None:
        self._connection = connection
        self.status = connection.status
        self.headers: Sequence[tuple[bytes, bytes]] = connection.headers

    def chunks(self) -> AsyncIterator[bytes]:
        return self._connection.chunks()


class ReadExchange:
    """One request, sent when the block begins. Raises UpstreamUnavailable when PocketBase is away, then or later."""

    __slots__ = ("_connection", "_connections", "_head")

    _connection: ReadConnection

    def __init__(self, connections: ReadConnections, head: bytes) -> None:
        self._connections = connections
        self._head = head

    async def __aenter__(self) -> ReadAnswer:
        try:
            try:
                await self._ask(fresh=False)
            except Unanswered:  # PocketBase closed it as the request was on its way
                await self._ask(fresh=True)
        except (OSError, TimeoutError, Unanswered, BrokenAnswer) as error:
            raise UpstreamUnavailable(AWAY) from error
        return ReadAnswer(self._connection)

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._connections.give_back(self._connection)
        if isinstance(error, BrokenAnswer):
            raise UpstreamUnavailable(AWAY) from error

    async def _ask(self, *, fresh: bool) -> None:
        self._connection = connection = await self._connections.taken(fresh=fresh)
        try:
            connection.ask(self._head)
            await connection.head()
        except BaseException:
            self._connections.give_back(connection)
            raise
