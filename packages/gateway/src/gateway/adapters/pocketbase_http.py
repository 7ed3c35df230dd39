"""The data plane to PocketBase: users' requests, streamed both ways over a bounded set of connections."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager

import aiohttp
from yarl import URL

from common.core.errors import UpstreamUnavailable
from gateway.core.front_door.exchange import UpstreamRequest

CHUNK_BYTES = 64 * 1024
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
IDLE_SECONDS = 30.0  # well within PocketBase's own patience, so that it is never the one to close first

AWAY = "PocketBase does not answer; please retry."
_NOTHING_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class PocketBaseAnswer:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Sequence[tuple[bytes, bytes]] = response.raw_headers

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.content.iter_any():
            yield chunk


class PocketBaseHttp:
    def __init__(self, session: aiohttp.ClientSession, url: str, *, realtime_connections: int) -> None:
        self._session = session
        self._url = url
        self._realtime_left = realtime_connections

    @asynccontextmanager
    async def exchange(self, request: UpstreamRequest) -> AsyncGenerator[PocketBaseAnswer]:
        read_seconds = None if request.is_endless else ANSWER_SECONDS
        timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=read_seconds
        )
        with self._realtime_slot(request.is_endless), translated():
            async with self._session.request(
                request.method,
                URL(self._url + request.target, encoded=True),
                headers=request.headers,
                data=request.body,
                timeout=timeout,
                allow_redirects=False,
                skip_auto_headers=_NOTHING_ADDED,
            ) as response:
                yield PocketBaseAnswer(response)

    @contextmanager
    def _realtime_slot(self, is_needed: bool) -> Generator[None]:
        """Streams are counted, so that they never use up the connections of ordinary requests."""
        if not is_needed:
            yield
            return
        if self._realtime_left == 0:
            raise UpstreamUnavailable("Too many realtime streams are open; please retry.")
        self._realtime_left -= 1
        try:
            yield
        finally:
            self._realtime_left += 1


@contextmanager
def translated() -> Generator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UpstreamUnavailable(AWAY) from error


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
        trust_env=False,
        read_bufsize=CHUNK_BYTES,
    ) as session:
        yield PocketBaseHttp(session, url, realtime_connections=realtime_connections)
