"""The record feed within one process."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from common.adapters.nats_listening import Gap, Received
from common.core import subjects
from common.core.errors import Forbidden
from common.core.messages import encode
from common.core.pocketbase_answers import Action
from common.core.record_feed import FeedHeartbeat, RecordEvent

Item = Received[bytes] | Gap | Forbidden


class MemoryFeed:
    """Numbers what it says, as the one publisher does."""

    def __init__(self) -> None:
        self.epoch = "a"
        self.sequence = 0
        self.listeners: list[asyncio.Queue[Item]] = []

    @asynccontextmanager
    async def listening(
        self,
        subject: str,
        kind: type[bytes],
        *,
        queue: str = "",  # noqa: ARG002 - one listener is a queue of its own
    ) -> AsyncGenerator[AsyncIterator[Received[bytes] | Gap]]:
        assert (subject, kind) == (subjects.RECORDS, bytes)
        waiting: asyncio.Queue[Item] = asyncio.Queue()
        self.listeners.append(waiting)
        try:
            yield said(waiting)
        finally:
            self.listeners.remove(waiting)

    def change(self, collection: str, id: str, action: Action = "update") -> None:
        self.sequence += 1
        event = RecordEvent(
            epoch=self.epoch,
            sequence=self.sequence,
            collection=collection,
            collection_id=f"id_{collection}",
            id=id,
            action=action,
        )
        self.say(subjects.record(collection, action), encode(event))

    def beat(self, schema: str) -> None:
        beat = FeedHeartbeat(epoch=self.epoch, sequence=self.sequence, schema=schema)
        self.say(subjects.RECORDS_HEARTBEAT, encode(beat))

    def say(self, subject: str, payload: bytes) -> None:
        self.put(Received(subject, payload, {}))

    def gap(self) -> None:
        self.put(Gap("overflow", 1))

    def put(self, item: Item) -> None:
        for listener in self.listeners:
            listener.put_nowait(item)


async def said(waiting: asyncio.Queue[Item]) -> AsyncIterator[Received[bytes] | Gap]:
    while True:
        item = await waiting.get()
        if isinstance(item, Forbidden):
            raise item
        yield item
