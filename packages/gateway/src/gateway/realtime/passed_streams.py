"""Streams that PocketBase itself tells while the feed is away, and what ends what they are told.

A stream is held by one process, its subscriptions may be carried by any. The process that carried them takes them back
from PocketBase once the session is over; the one that holds the stream ends it once the gateway can tell its clients
itself again, or other rules hold.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import orjson
import structlog

from common.core.errors import UpstreamUnavailable
from common.core.notices import Notice, SessionRevoked, UserBanned
from common.task_group import TaskGroup
from gateway.bodies.receive import Closing
from gateway.core.front_door.exchange import Upstream, UpstreamRequest
from gateway.core.sessions.principal import Principal

logger = structlog.get_logger(__name__)

TICK_SECONDS = 0.2
MOST_CARRIED = 10_000
MOST_OF_A_USER = 100
MOST_ENDED = 1_000
SPREAD_MILLISECONDS = 1000
"""Within what time streams end that end together: their clients come again at once."""
TRIES = 3
AHEAD_SECONDS = 5
"""How long before a token expires its subscriptions are taken back: PocketBase must still take it."""
JSON = ("Content-Type", "application/json")


class Following(Protocol):
    @property
    def is_current(self) -> bool:
        """Does the gateway tell its clients itself?"""
        ...


class Rules(Protocol):
    @property
    def current(self) -> object:
        """Another one once rule files were read again."""
        ...


@dataclass(frozen=True, slots=True)
class Carried:
    """What one session subscribed to over a client of PocketBase's, which takes no other address for it."""

    client_id: str
    by: Principal
    address: str

    def is_over_by(self, notice: Notice) -> bool:
        match notice:
            case SessionRevoked():
                return self.by.session_id == notice.session_id
            case UserBanned():
                is_here = notice.collection_id in ("", self.by.collection_id)
                return is_here and self.by.record_id == notice.subject
            case _:
                return False


class PassedStreams:
    """`run` must run beside the server; it is a Hearer of what ends sessions."""

    def __init__(self, upstream: Upstream, rules: Rules, following: Following | None) -> None:
        self._upstream = upstream
        self._rules = rules
        self._following = following
        self._open: set[asyncio.Timeout] = set()
        self._carried: dict[str, Carried] = {}
        self._over: dict[str, Carried] = {}
        self._ended: dict[str, None] = {}  # sessions: one may end while its subscriptions are on their way
        self._is_due = asyncio.Event()

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """While a stream is passed on. Raises Closing where it is to end."""
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._open.add(limit)
                try:
                    yield
                finally:
                    self._open.discard(limit)
        except TimeoutError:
            if not limit.expired():
                raise
            raise Closing from None

    def carried(self, client_id: str, by: Principal | None, address: str) -> None:
        """PocketBase has taken subscriptions; a guest's may go on for ever. Beyond the bounds the oldest are taken
        back, of the same user first: nobody goes on unheeded, and nobody crowds out the others."""
        for before in (self._carried, self._over):
            before.pop(client_id, None)
        if by is None:
            return
        mine = [one for one in self._carried.values() if one.by.owner == by.owner]
        if len(mine) >= MOST_OF_A_USER:
            self._take_back(mine[:1])
        elif len(self._carried) >= MOST_CARRIED:
            self._take_back([next(iter(self._carried.values()))])
        self._carried[client_id] = Carried(client_id, by, address)
        if by.session_id in self._ended:
            self._take_back([self._carried[client_id]])

    def heard(self, notice: Notice) -> None:
        if isinstance(notice, SessionRevoked):
            self._note_ended(notice.session_id)
        self._take_back([one for one in self._carried.values() if one.is_over_by(notice)])

    def missed(self) -> None:
        """Sessions may have ended unheard."""
        self._take_back(list(self._carried.values()))

    def _note_ended(self, session_id: str) -> None:
        if len(self._ended) >= MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[session_id] = None

    async def run(self) -> None:
        async with TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._clear())

    async def _watch(self) -> None:
        was_current, rules = self._tells_itself, self._rules.current
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if (self._tells_itself and not was_current) or self._rules.current is not rules:
                self._end_all()
            was_current, rules = self._tells_itself, self._rules.current
            soon = time.time() + AHEAD_SECONDS
            self._take_back([one for one in self._carried.values() if one.by.expires_at <= soon])

    @property
    def _tells_itself(self) -> bool:
        return self._following is not None and self._following.is_current

    def _end_all(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._open:  # each once: one that has run out cannot be set again
            self._open.pop().reschedule(now + secrets.randbelow(SPREAD_MILLISECONDS) / 1000)

    def _take_back(self, over: list[Carried]) -> None:
        for one in over:
            del self._carried[one.client_id]
            self._over[one.client_id] = one
        if over:
            self._is_due.set()

    async def _clear(self) -> None:
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            while self._over:
                one = next(iter(self._over.values()))
                await self._unsubscribe(one)
                if self._is_over(one):
                    del self._over[one.client_id]

    def _is_over(self, one: Carried) -> bool:
        """And not subscribed to anew."""
        return self._over.get(one.client_id) is one

    async def _unsubscribe(self, one: Carried) -> None:
        for _ in range(TRIES):
            if not self._is_over(one):
                return
            try:
                status = await self._asked(one)
            except UpstreamUnavailable:
                await asyncio.sleep(TICK_SECONDS)
                continue
            if status not in (204, 404):
                logger.warning("PocketBase may go on telling a session that has ended", status=status)
            return
        logger.warning("PocketBase may go on telling a session that has ended", status=0)

    async def _asked(self, one: Carried) -> int:
        async def body() -> AsyncIterator[bytes]:
            yield orjson.dumps({"clientId": one.client_id, "subscriptions": []})

        headers = [JSON, ("Authorization", one.by.pocketbase_token), ("X-Forwarded-For", one.address)]
        async with self._upstream.exchange(UpstreamRequest("POST", "/api/realtime", headers, body())) as answer:
            async for _ in answer.chunks():
                pass
            return answer.status
