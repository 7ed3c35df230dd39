"""What is made of an image that cannot be decided."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from common.adapters.nats_bus import Bus
from common.adapters.nats_listening import Received
from common.core import subjects
from common.core.messages import Message
from common.core.record_feed import FeedHeartbeat, RecordImage
from common.ending import ended
from gateway.core.realtime.recent_images import Cursor
from gateway.realtime.watch_images import ImageWatch
from tests.eventually import eventually

RULES = "schema"


@dataclass
class Feed:
    """A bus that brings what is put into it."""

    told: dict[str, asyncio.Queue[Message]] = field(
        default_factory=lambda: {subject: asyncio.Queue() for subject in (subjects.IMAGES, subjects.RECORDS_HEARTBEAT)}
    )

    @asynccontextmanager
    async def listening(
        self, subject: str, kind: type[Message], **bounds: int
    ) -> AsyncGenerator[AsyncIterator[Received[Message]]]:
        del kind, bounds
        yield self._items(subject)

    async def _items(self, subject: str) -> AsyncIterator[Received[Message]]:
        while True:
            yield Received(subject, await self.told[subject].get(), {})

    def beat(self, epoch: str, sequence: int) -> None:
        self.told[subjects.RECORDS_HEARTBEAT].put_nowait(FeedHeartbeat(epoch=epoch, sequence=sequence, schema=RULES))

    def image(self, epoch: str, sequence: int, title: str) -> None:
        image = RecordImage(
            epoch=epoch,
            sequence=sequence,
            collection="notes",
            collection_id="id_notes",
            id="r1",
            action="update",
            record={"title": title},
        )
        self.told[subjects.IMAGES].put_nowait(image)


@dataclass
class Taking:
    """Whoever is told; one title is too much for him."""

    rules: str = RULES
    taken: list[str] = field(default_factory=list[str])
    begun: list[str] = field(default_factory=list[str])

    async def take(self, image: RecordImage) -> None:
        assert image.record is not None
        if image.record["title"] == "unfit":
            raise TypeError("what the record says")
        self.taken.append(image.record["title"])

    def is_account(self, image: RecordImage) -> bool:
        del image
        return False

    def without_images(self, collection_ids: frozenset[str]) -> None:
        assert not collection_ids

    def begin_anew(self, reason: str, at: Cursor) -> None:
        del at
        self.begun.append(reason)

    async def stored(self, collection: str, id: str) -> Mapping[str, Any]:
        raise AssertionError((collection, id))

    async def has_taken(self) -> list[str]:
        return self.taken

    async def has_begun(self) -> list[str]:
        return self.begun


async def test_after_an_image_that_cannot_be_decided_all_begin_anew_and_the_feed_is_heard_on() -> None:
    feed, taking = Feed(), Taking()
    watch = ImageWatch(cast(Bus, feed), taking, taking, taking)
    listening = asyncio.create_task(watch.listen())

    async def is_current() -> bool:
        return watch.is_current

    feed.beat("e", 0)
    await eventually(is_current)
    feed.image("e", 1, "before")
    feed.image("e", 2, "unfit")
    await eventually(taking.has_begun, lambda begun: "undecided" in begun)
    assert not watch.is_current, "until the next heartbeat says where the feed stands"
    feed.beat("e", 2)
    await eventually(is_current)
    feed.image("e", 3, "after")
    await eventually(taking.has_taken, lambda taken: taken == ["before", "after"])
    await ended([listening])
