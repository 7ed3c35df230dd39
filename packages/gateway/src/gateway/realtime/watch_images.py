"""Follows the images of the record feed, and begins anew wherever one may have been missed.

images.>          | ImageReader.image | hub.take
records.heartbeat | ImageReader.beat  | hub.begin_anew
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
import structlog

from common.adapters.nats_bus import Bus
from common.adapters.nats_listening import Gap
from common.core import subjects
from common.core.errors import Forbidden, NotFound, UpstreamUnavailable
from common.core.record_feed import FeedHeartbeat, RecordImage
from common.task_group import TaskGroup
from gateway.core.realtime.image_reader import ImageReader
from gateway.core.realtime.recent_images import Cursor

logger = structlog.get_logger(__name__)

REFUSED_SECONDS = 5.0
BACKLOG_MESSAGES = 8192
BACKLOG_BYTES = 64 * 1024 * 1024


class Records(Protocol):
    async def stored(self, collection: str, id: str) -> Mapping[str, Any]:
        """As the superuser sees it. Raises NotFound, UpstreamUnavailable."""
        ...


class Taking(Protocol):
    async def take(self, image: RecordImage) -> None: ...
    def is_account(self, image: RecordImage) -> bool:
        """Is it about somebody who listens here?"""
        ...

    def without_images(self, collection_ids: frozenset[str]) -> None:
        """The images of those collections never bear records."""
        ...

    def begin_anew(self, reason: str, at: Cursor) -> None: ...


class Ruling(Protocol):
    @property
    def rules(self) -> str:
        """The fingerprint of the collections whose rules hold; empty while that is not known."""
        ...


class ImageWatch:
    """`listen` must run beside the server."""

    def __init__(
        self, bus: Bus, records: Records, taking: Taking, ruling: Ruling, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus = bus
        self._records = records
        self._taking = taking
        self._ruling = ruling
        self._clock = clock
        self._reader = ImageReader()

    @property
    def is_current(self) -> bool:
        """Is every change heard of, and are the rules known that decide who is told?"""
        return self._reader.is_current(self._clock()) and self._ruling.rules == self._reader.schema

    async def listen(self) -> None:
        while True:
            try:
                async with TaskGroup() as tasks:
                    tasks.create_task(self._hear_images())
                    tasks.create_task(self._hear_beats())
            except* Forbidden as refusals:
                logger.error("the images of records are not heard", error=str(refusals.exceptions[0]))
            finally:
                self._miss("refused")
            await asyncio.sleep(REFUSED_SECONDS)

    async def _hear_images(self) -> None:
        listening = self._bus.listening(
            subjects.IMAGES, RecordImage, messages=BACKLOG_MESSAGES, size_bytes=BACKLOG_BYTES
        )
        async with listening as told:
            async for item in told:
                if isinstance(item, Gap):
                    self._miss(item.reason)
                elif self._reader.image(item.message.epoch, item.message.sequence) == "next":
                    await self._take(item.message)
                else:
                    self._begin_anew("gap")

    async def _hear_beats(self) -> None:
        async with self._bus.listening(subjects.RECORDS_HEARTBEAT, FeedHeartbeat) as told:
            async for item in told:
                if isinstance(item, Gap):
                    self._miss(item.reason)
                    continue
                beat = item.message
                self._taking.without_images(frozenset(beat.secret))
                if self._reader.beat(beat.epoch, beat.sequence, beat.schema, self._clock()) == "gap":
                    self._begin_anew("gap")

    async def _take(self, image: RecordImage) -> None:
        is_needed = image.left_out == "too_large" or self._taking.is_account(image)
        if image.record is None and image.action != "delete" and is_needed:
            try:
                record = await self._records.stored(image.collection, image.id)
            except NotFound:
                return
            except UpstreamUnavailable:
                self._miss("unread")
                return
            image = msgspec.structs.replace(image, record=dict(record))
        try:
            await self._taking.take(image)
        except Exception as error:  # noqa: BLE001 - a record may be of any shape, and its words are not to be logged
            logger.error("an image was not decided", collection=image.collection, error=type(error).__name__)
            self._miss("undecided")
        await asyncio.sleep(0)  # many images may wait; what else is due comes in between

    def _miss(self, reason: str) -> None:
        self._reader.miss()
        self._begin_anew(reason)

    def _begin_anew(self, reason: str) -> None:
        self._taking.begin_anew(reason, Cursor(*self._reader.position))
