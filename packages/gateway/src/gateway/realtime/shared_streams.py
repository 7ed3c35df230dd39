"""What only PocketBase can decide, heard from PocketBase: over one connection for all guests, one for each account.

A topic's text and the caller's record decide all that PocketBase sends, so that every client of one account is told
what one subscription of that account is told. Where such a connection ends, so do the streams of those who were told by
it; they come again, as they do when PocketBase itself ends theirs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol, TypeAlias

import orjson
import structlog
from prometheus_client import Gauge

from common.core.errors import ServiceError, UpstreamUnavailable
from common.task_group import TaskGroup
from gateway.core.front_door.exchange import Upstream, UpstreamRequest
from gateway.core.realtime.caller import Caller
from gateway.core.realtime.subscription import MAX_SUBSCRIPTIONS
from gateway.core.sessions.session import Owner
from gateway.realtime.clients import Client, Hearers, Members

logger = structlog.get_logger(__name__)

CONNECT_SECONDS = 10.0
MAX_EVENT_BYTES = 8 * 1024 * 1024
AWAY = "PocketBase does not take the subscription; please retry."
JSON = ("Content-Type", "application/json")

UPSTREAM = Gauge("gateway_realtime_upstream", "Realtime connections to PocketBase that clients share.")

Account: TypeAlias = Owner | None


class Tokens(Protocol):
    async def pocketbase_token(self, caller: Caller) -> str:
        """Raises Forbidden when the session has ended, UpstreamUnavailable."""
        ...


class Told(Protocol):
    """Must not raise."""

    async def tell(self, hearers: Hearers, topic: str, data: bytes) -> None: ...
    def lose(self, clients: Iterable[Client], reason: str) -> None: ...


class SharedStream:
    """One connection. `topics` are those that somebody wants; PocketBase has them once `settled` has returned."""

    def __init__(self, upstream: Upstream, account: Account, told: Told) -> None:
        self.account = account
        self.topics: dict[str, Members] = {}
        self.has_ended = False
        self._upstream = upstream
        self._told = told
        self._client_id: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._posting = asyncio.Lock()
        self._posted: frozenset[str] = frozenset()
        self._is_unwanted = asyncio.Event()
        self._posted_by = ""

    def add(self, client: Client, topic: str) -> None:
        self.topics.setdefault(topic, Members()).add(client)

    def tells(self, client: Client, topic: str) -> bool:
        members = self.topics.get(topic)
        return members is not None and client in members

    def remove(self, client: Client, topic: str) -> None:
        members = self.topics.get(topic)
        if members is not None and members.remove(client):
            del self.topics[topic]
        if not self.topics:
            self.has_ended = True
            self._is_unwanted.set()

    def has_room(self, topics: Iterable[str]) -> bool:
        return not self.has_ended and len(self.topics.keys() | set(topics)) <= MAX_SUBSCRIPTIONS

    async def settled(self, token: str) -> None:
        """Nobody is told by the token of another session, which may have ended. Raises UpstreamUnavailable."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                client_id = await asyncio.shield(self._client_id)
                async with self._posting:
                    if token != self._posted_by or not self.topics.keys() <= self._posted:
                        await self._post(client_id, frozenset(self.topics), token)
        except TimeoutError:
            raise UpstreamUnavailable(AWAY) from None

    async def run(self) -> None:
        """Until nobody wants it any more, or it is lost."""
        try:
            async with TaskGroup() as tasks:
                listening = tasks.create_task(self._listen())
                await self._is_unwanted.wait()
                listening.cancel()
        except* ServiceError as errors:
            logger.warning("a shared subscription ended", error=str(errors.exceptions[0]))
        finally:
            self.has_ended = True
            if not self._client_id.done():
                self._client_id.set_exception(UpstreamUnavailable(AWAY))
                self._client_id.exception()  # somebody may have been waiting, or nobody
            self._told.lose([client for members in self.topics.values() for client in members], "upstream")

    async def _listen(self) -> None:
        request = UpstreamRequest("GET", "/api/realtime", [("Accept", "text/event-stream")], None, is_endless=True)
        async with self._upstream.exchange(request) as answer:
            if answer.status != 200:
                raise UpstreamUnavailable(AWAY)
            async for topic, data in events_of(answer.chunks()):
                await self._hear(topic, data)
        raise UpstreamUnavailable("PocketBase ended the stream.")

    async def _hear(self, topic: str, data: bytes) -> None:
        if topic == "PB_CONNECT":
            self._client_id.set_result(orjson.loads(data)["clientId"])
        elif members := self.topics.get(topic):
            await self._told.tell(members.now(), topic, data)

    async def _post(self, client_id: str, topics: frozenset[str], token: str) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield orjson.dumps({"clientId": client_id, "subscriptions": sorted(topics)})

        headers = [JSON, *([("Authorization", token)] if token else [])]
        async with self._upstream.exchange(UpstreamRequest("POST", "/api/realtime", headers, body())) as answer:
            async for _ in answer.chunks():
                pass
            if answer.status != 204:
                raise UpstreamUnavailable(AWAY)
        self._posted, self._posted_by = topics, token


class SharedStreams:
    """`run` must run beside the server."""

    def __init__(self, upstream: Upstream, tokens: Tokens, told: Told) -> None:
        self._upstream = upstream
        self._tokens = tokens
        self._told = told
        self._streams: dict[Account, list[SharedStream]] = {}
        self._tasks: TaskGroup | None = None
        UPSTREAM.set(0)

    async def run(self) -> None:
        async with TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.Event().wait()

    async def join(self, client: Client, caller: Caller | None, topics: list[str]) -> SharedStream:
        """Returns once PocketBase tells of all of them. Raises Forbidden, UpstreamUnavailable."""
        token = await self._tokens.pocketbase_token(caller) if caller else ""
        stream = self._with_room(caller.owner if caller else None, topics)
        fresh = [topic for topic in topics if not stream.tells(client, topic)]
        for topic in fresh:
            stream.add(client, topic)
        try:
            await stream.settled(token)
        except BaseException:
            self.leave(client, stream, fresh)
            raise
        return stream

    def leave(self, client: Client, stream: SharedStream, topics: Iterable[str]) -> None:
        """PocketBase goes on telling of what nobody wants until the topics are set anew."""
        for topic in topics:
            stream.remove(client, topic)

    def _with_room(self, account: Account, topics: list[str]) -> SharedStream:
        """Raises UpstreamUnavailable."""
        found = self._streams.setdefault(account, [])
        stream = next((one for one in found if one.has_room(topics)), None)
        if stream is None:
            if self._tasks is None:
                raise UpstreamUnavailable(AWAY)
            stream = SharedStream(self._upstream, account, self._told)
            found.append(stream)
            self._tasks.create_task(self._kept(stream, found))
        return stream

    async def _kept(self, stream: SharedStream, among: list[SharedStream]) -> None:
        UPSTREAM.inc()
        try:
            await stream.run()
        except Exception:
            logger.exception("a shared subscription failed")
        finally:
            UPSTREAM.dec()
            among.remove(stream)
            if not among and self._streams.get(stream.account) is among:
                del self._streams[stream.account]


def lines_reader() -> Callable[[bytes], list[bytes]]:
    rest = b""

    def read(chunk: bytes) -> list[bytes]:
        nonlocal rest
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_EVENT_BYTES:
            raise UpstreamUnavailable("PocketBase's event is too large.")
        return lines

    return read


async def events_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, bytes]]:
    """Name and data of each event. PocketBase writes each as lines of `id:`, `event:` and `data:`."""
    read, name, data = lines_reader(), "", b""
    async for chunk in chunks:
        for line in read(chunk):
            if line.startswith(b"event:"):
                name = line[6:].decode()
            elif line.startswith(b"data:"):
                data = line[5:]
            elif not line and name:
                yield name, data
                name, data = "", b""
