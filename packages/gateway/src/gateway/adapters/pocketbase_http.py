"""The data plane to PocketBase: users' requests, streamed both ways over a bounded set of connections."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType

import aiohttp
from yarl import URL

from common.core.errors import UpstreamUnavailable
from gateway.core.front_door.exchange import UpstreamRequest

CHUNK_BYTES = 64 * 1024
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
IDLE_SECONDS = 30.0  # well within PocketBase's own patience, so that it is never the one to close first

AWAY = "PocketBase does not answer; please retry."
FAILURES = (aiohttp.ClientError, TimeoutError)

ENDLESS = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS)
ORDINARY = aiohttp.ClientTimeout(
    total=None, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS
)
_NOTHING_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class PocketBaseAnswer:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Sequence[tuple[bytes, bytes]] = response.raw_headers

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.content.iter_any():
            yield chunk


class Exchange:
    """One request, sent when the block begins. Raises UpstreamUnavailable when PocketBase is away, then or later."""

    __slots__ = ("_request", "_response", "_session", "_timeout", "_url")

    _response: aiohttp.ClientResponse

    def __init__(
        self, session: aiohttp.ClientSession, url: str, request: UpstreamRequest, timeout: aiohttp.ClientTimeout
    ) -> None:
        self._session = session
        self._url = url
        self._request = request
        self._timeout = timeout

    async def __aenter__(self) -> PocketBaseAnswer:
        request = self._request
        try:
            self._response = await self._session.request(
                request.method,
                URL(self._url + request.target, encoded=True),
                headers=request.headers,
                data=request.body,
                timeout=self._timeout,
                allow_redirects=False,
            )
        except FAILURES as error:
            raise UpstreamUnavailable(AWAY) from error
        return PocketBaseAnswer(self._response)

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        try:
            self._response.release()
            await self._response.wait_for_close()
        except FAILURES as failure:
            raise UpstreamUnavailable(AWAY) from failure
        if isinstance(error, FAILURES):
            raise UpstreamUnavailable(AWAY) from error


class PocketBaseHttp:
    def __init__(self, session: aiohttp.ClientSession, url: str, *, realtime_connections: int) -> None:
        self._session = session
        self._url = url
        self._realtime_left = realtime_connections

    def exchange(self, request: UpstreamRequest) -> AbstractAsyncContextManager[PocketBaseAnswer]:
        return self._stream(request) if request.is_endless else Exchange(self._session, self._url, request, ORDINARY)

    @asynccontextmanager
    async def _stream(self, request: UpstreamRequest) -> AsyncGenerator[PocketBaseAnswer]:
        """Streams are counted, so that they never use up the connections of ordinary requests."""
        if self._realtime_left == 0:
            raise UpstreamUnavailable("Too many realtime streams are open; please retry.")
        self._realtime_left -= 1
        try:
            async with Exchange(self._session, self._url, request, ENDLESS) as answer:
                yield answer
        finally:
            self._realtime_left += 1


@asynccontextmanager
async def open_pocketbase_http(
    url: str, *, connections: int, realtime_connections: int
) -> AsyncGenerator[PocketBaseHttp]:
    connector = aiohttp.TCPConnector(limit=connections + realtime_connections, keepalive_timeout=IDLE_SECONDS)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        requote_redirect_url=False,
        skip_auto_headers=_NOTHING_ADDED,
        trust_env=False,
        read_bufsize=CHUNK_BYTES,
    ) as session:
        yield PocketBaseHttp(session, url, realtime_connections=realtime_connections)
