"""Ends the sessions of auth records that were changed or deleted past the gateway.

one change:     bus | read | endings.follow                                           (in one process of all)
some unheard:   records | claim | ask | endings.refused                               (in all, each a part)
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

import structlog

from common.adapters.nats_listening import Gap, Received
from common.core import subjects
from common.core.errors import Forbidden, UpstreamUnavailable
from common.core.messages import InvalidMessage
from common.core.record_feed import RecordEvent, read
from common.task_group import TaskGroup
from gateway.core.collections.schema import Schema
from gateway.core.sessions.account_change import Doubtful, Ended
from gateway.core.sessions.session import Held, Owner
from gateway.sessions.ask_pocketbase import Asking
from gateway.sessions.end import Endings

logger = structlog.get_logger(__name__)

QUEUE = "gateway-endings"
REFUSED_SECONDS = 5.0
AT_ONCE = 4
PAUSE_SECONDS = 1.0


class Feed(Protocol):
    """The bus, as far as the record feed is concerned."""

    def listening(
        self, subject: str, kind: type[bytes], *, queue: str = ""
    ) -> AbstractAsyncContextManager[AsyncIterator[Received[bytes] | Gap]]:
        """Raises Forbidden, then or while it is iterated."""
        ...


class DoubtedStore(Protocol):
    """Every method raises UpstreamUnavailable when the store is away."""

    async def now_ms(self) -> int: ...
    def records(self) -> AsyncGenerator[str]: ...
    async def claim(self, record_id: str, since_ms: int) -> list[Held]: ...


class Knowing(Protocol):
    @property
    def schema(self) -> Schema: ...


class Rechecks:
    """`listen` and `sweep` must run beside the server, and it must be told of changes that were missed."""

    def __init__(self, bus: Feed, store: DoubtedStore, endings: Endings, asking: Asking, knowing: Knowing) -> None:
        self._bus = bus
        self._store = store
        self._endings = endings
        self._asking = asking
        self._knowing = knowing
        self._is_wanted = asyncio.Event()

    def account_changed(self, owner: Owner) -> None:
        """Whichever process hears of it by `listen` sees to it."""

    def changes_missed(self) -> None:
        self._is_wanted.set()

    async def listen(self) -> None:
        while True:
            try:
                async with self._bus.listening(subjects.RECORDS, bytes, queue=QUEUE) as told:
                    async for item in told:
                        await self._take(item)
            except Forbidden as error:
                logger.error("the record feed is not heard", error=str(error))
            await asyncio.sleep(REFUSED_SECONDS)

    async def sweep(self) -> None:
        """Whenever changes were missed, ask PocketBase about every session there is, a few at a time."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            try:
                await self._sweep()
            except* UpstreamUnavailable:
                self._is_wanted.set()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _take(self, item: Received[bytes] | Gap) -> None:
        if isinstance(item, Gap):
            self.changes_missed()
        elif change := self._change_in(item):
            await self._endings.follow([change])

    def _change_in(self, item: Received[bytes]) -> Ended | Doubtful | None:
        try:
            event = read(item.subject, item.message)
        except InvalidMessage:
            return None
        if not isinstance(event, RecordEvent) or event.action == "create":
            return None
        collection = self._knowing.schema.find(event.collection_id)
        if collection is None or not collection.is_auth:
            return None
        owner = Owner(collection.id, event.id)
        return Ended(owner, "record deleted") if event.action == "delete" else Doubtful(owner)

    async def _sweep(self) -> None:
        """Gives up when there is reason to begin anew."""
        since_ms, turns = await self._store.now_ms(), asyncio.Semaphore(AT_ONCE)
        async with aclosing(self._store.records()) as records, TaskGroup() as tasks:
            async for record_id in records:
                await turns.acquire()
                tasks.create_task(self._check_all(record_id, since_ms, turns))
                if self._is_wanted.is_set():
                    return

    async def _check_all(self, record_id: str, since_ms: int, turns: asyncio.Semaphore) -> None:
        try:
            for held in await self._store.claim(record_id, since_ms):
                await self._check(held)
        finally:
            turns.release()

    async def _check(self, held: Held) -> None:
        while (word := await self._asking.ask(held)) in ("busy", "away"):
            if await self._begins_anew():
                return
        if word == "refused":
            await self._endings.refused(held)

    async def _begins_anew(self) -> bool:
        """To be asked instead of PocketBase, for a moment."""
        try:
            async with asyncio.timeout(PAUSE_SECONDS):
                await self._is_wanted.wait()
        except TimeoutError:
            return False
        return True
