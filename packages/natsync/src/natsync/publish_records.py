"""The record feed: every change in PocketBase told on the bus, by whichever natsync leads, and never with a gap untold.

leases.run_as_leader | pocketbase.follow | Turns -> Numbering -> bus    (one epoch an unbroken view and schema)
                     | pocketbase.collections -> heartbeat -> bus   (only while the subscription stands)
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec
import structlog

from common.adapters.nats_bus import Bus
from common.adapters.nats_leases import Lease, Leases
from common.adapters.pocketbase import PocketBase, RealtimeEvent, RecordChange, Resubscribed, StreamLost
from common.core import subjects
from common.core.errors import ServiceError, UpstreamUnavailable
from common.core.messages import MessageTooLarge
from common.core.pocketbase_answers import Record
from common.core.record_feed import FeedHeartbeat, RecordEvent, RecordImage, fingerprint
from common.task_group import TaskGroup
from natsync.adapters.nats_record_stream import keep_records
from natsync.core.collections.collection_names import CollectionNames
from natsync.core.collections.followed import Followed
from natsync.follow_in_turn import Turns, TurnTerms

logger = structlog.get_logger(__name__)

LEASE = "record-feed"
BEAT_SECONDS = 0.5
SIGHT_SECONDS = 1.5
"""PocketBase has to list its collections within this time, else the feed falls silent."""
PAUSE_SECONDS = 0.5


class CollectionsChanged(Exception):
    """Other collections exist than those that are followed."""


@dataclass(slots=True)
class Numbering:
    """Where the feed stands. No epoch: nothing can be said for certain."""

    epoch: str = ""
    sequence: int = 0
    schema: str = ""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def begin(self) -> None:
        self.epoch, self.sequence = secrets.token_hex(8), 0

    def end(self) -> None:
        self.epoch = ""

    def under(self, schema: str) -> None:
        """Collections that are defined otherwise are told of in another epoch."""
        if self.epoch and schema != self.schema:
            self.begin()
        self.schema = schema


class RecordFeed:
    def __init__(self, pocketbase: PocketBase, bus: Bus, leases: Leases, names: CollectionNames) -> None:
        self._pocketbase = pocketbase
        self._bus = bus
        self._leases = leases
        self._names = names

    async def run(self) -> None:
        """Loop: lead when nobody else does."""
        await self._leases.run_as_leader(LEASE, self._lead)

    async def _lead(self, lease: Lease) -> None:
        logger.info("record feed begins", lease=lease.epoch)
        while True:
            try:
                await self._follow()
            except* CollectionsChanged:
                logger.info("record feed follows other collections")
            except* ServiceError as errors:
                logger.warning("record feed broken", error=str(errors.exceptions[0]))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _follow(self) -> None:
        """Until the collections change or something fails; always raises, in a group."""
        numbering = Numbering()
        async with TaskGroup() as tasks:
            await self._keep()
            followed = Followed.of(await self._seen(), self._names)
            tasks.create_task(self._relay(followed, numbering, tasks))
            tasks.create_task(self._beat(followed, numbering))

    async def _keep(self) -> None:
        """Without the stream the feed goes on: whoever listens misses nothing."""
        try:
            await keep_records(self._bus)
        except ServiceError as error:
            logger.warning("what the record feed says is not kept", error=str(error))

    async def _relay(self, followed: Followed, numbering: Numbering, tasks: TaskGroup) -> None:
        def begin() -> AsyncGenerator[RealtimeEvent]:
            return self._pocketbase.follow(followed.names, whole=followed.shown)

        async with aclosing(Turns(tasks, begin, TurnTerms()).events()) as events:
            async for event in events:
                await self._told(event, followed, numbering)

    async def _told(self, event: RealtimeEvent, followed: Followed, numbering: Numbering) -> None:
        match event:
            case Resubscribed():
                numbering.begin()
            case StreamLost():
                numbering.end()
            case RecordChange():
                async with numbering.turn:
                    numbering.sequence += 1
                    told = followed.event(
                        event.collection,
                        event.record["id"],
                        event.action,
                        epoch=numbering.epoch,
                        sequence=numbering.sequence,
                    )
                    await self._publish(told, followed.image(told, event.record))

    async def _publish(self, event: RecordEvent, beside: RecordImage) -> None:
        """The event first: whoever reads the record because of its image must not be given what was kept before."""
        await self._bus.publish(subjects.record(event.collection, event.action), event)
        subject = subjects.image(event.collection, event.action)
        try:
            await self._bus.publish(subject, beside)
        except MessageTooLarge:
            await self._bus.publish(subject, msgspec.structs.replace(beside, record=None, left_out="too_large"))

    async def _beat(self, followed: Followed, numbering: Numbering) -> None:
        while True:
            collections = await self._seen()
            if Followed.of(collections, self._names) != followed:
                raise CollectionsChanged
            await self._alive(numbering, fingerprint(collections), followed.secret_ids)
            await asyncio.sleep(BEAT_SECONDS)

    async def _alive(self, numbering: Numbering, schema: str, secret: tuple[str, ...]) -> None:
        async with numbering.turn:
            numbering.under(schema)
            if numbering.epoch:
                alive = FeedHeartbeat(epoch=numbering.epoch, sequence=numbering.sequence, schema=schema, secret=secret)
                await self._bus.publish(subjects.RECORDS_HEARTBEAT, alive)

    async def _seen(self) -> list[Record]:
        try:
            async with asyncio.timeout(SIGHT_SECONDS):
                return await self._pocketbase.collections()
        except TimeoutError:
            raise UpstreamUnavailable("PocketBase does not list its collections in time.") from None
