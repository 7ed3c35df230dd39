"""Typed values under keys in a JetStream bucket, each write with a revision that only grows.

Source: ADR-8 (key-value on JetStream). A revision is the sequence of the write in the bucket's stream, so revisions
grow over all keys of a bucket, and over deletions too.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeAlias

import structlog
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, StorageType, StreamConfig

from common import correlation
from common.adapters.bus_metrics import GAPS
from common.adapters.nats_jetstream import (
    EXPECTED_SEQUENCE,
    MESSAGE_ID,
    WRONG_SEQUENCE,
    StreamRefused,
    ask,
    ensure_stream,
    store,
    store_once,
)
from common.adapters.nats_link import Link, deadline_in
from common.adapters.nats_listening import Gap, Refusals
from common.adapters.nats_pulling import Handed, Pull, ensure_consumer
from common.core import subjects
from common.core.errors import Conflict, NotFound, ServiceError, UpstreamUnavailable
from common.core.messages import InvalidMessage, M, Message, decode, encode
from common.core.nats_protocol import Headers

logger = structlog.get_logger(__name__)

NONE: Mapping[str, str] = {}
OPERATION = "KV-Operation"
DELETION = "DEL"
GONE = frozenset({DELETION, "PURGE"})
MARKER = "nats-marker-reason"
"""Set by the server on a marker that it left itself, when a value had lived its time."""
SECONDS = 5.0
RETRY_SECONDS = 0.25
LEAVE_SECONDS = 1.0
WATCH_BATCH = 256
WATCH_WAIT_SECONDS = 30.0
WATCHER_IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Entry(Generic[M]):
    key: str
    value: M
    revision: int


@dataclass(frozen=True, slots=True)
class Deleted:
    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Current:
    """All that the bucket held when the watch began, or began anew after a gap, has been told."""


Watched: TypeAlias = Entry[M] | Deleted | Current | Gap


@dataclass(frozen=True, slots=True)
class BucketTerms:
    """`max_age_seconds` of 0 keeps values for ever. `history` is how many values a key keeps, 1 to 64."""

    max_age_seconds: float = 0
    history: int = 1
    max_bytes: int = 64 * 1024 * 1024
    in_memory: bool = False
    replicas: int = 1

    def config(self, bucket: str) -> StreamConfig:
        return StreamConfig(
            name=subjects.bucket_stream(bucket),
            subjects=[subjects.bucket_keys(bucket)],
            max_msgs_per_subject=self.history,
            max_age=self.max_age_seconds,
            max_bytes=self.max_bytes,
            duplicate_window=min(120.0, self.max_age_seconds or 120.0),
            discard=DiscardPolicy.NEW,
            storage=StorageType.MEMORY if self.in_memory else StorageType.FILE,
            num_replicas=self.replicas,
            allow_rollup_hdrs=True,
            deny_delete=True,
            allow_direct=True,
        )


class KeyValue(Generic[M]):
    """One bucket. A key is one to eight plain tokens with dots between; each call takes at most 5 s.

    Every call raises UpstreamUnavailable (a write may have been done or not), Forbidden, and InvalidRequest for a bad
    key or value.
    """

    def __init__(self, link: Link, bucket: str, kind: type[M]) -> None:
        self._link = link
        self._bucket = bucket
        self._kind = kind
        self._stream = subjects.bucket_stream(bucket)
        self._refusals = Refusals()

    async def ensure(self, terms: BucketTerms) -> None:
        """Make the bucket, or bring it to those terms. Raises Conflict where it is of another kind of storage."""
        await ensure_stream(self._link, terms.config(self._bucket))

    async def get(self, key: str) -> Entry[M]:
        """Raises NotFound, and InvalidMessage for a value of another kind or version.

        In a cluster the answering replica may be a moment behind; `compare_and_set` is not deceived by that.
        """
        entry = await self.last(key)
        if isinstance(entry, Entry):
            return entry
        raise NotFound(f"There is no {key!r} in {self._bucket}.")

    async def last(self, key: str) -> Entry[M] | Deleted:
        """Like `get`, with the revision of a deletion, or 0 for a key that never was."""
        subject = subjects.bucket_key(self._bucket, key)
        asked = subjects.last_message(self._stream, subject)
        arrived = await self._link.request(asked, b"", {}, deadline=deadline_in(SECONDS))
        headers = arrived.headers
        if headers.status == "404":
            return Deleted(key, 0)
        return self._entry(key, headers, arrived.payload, int(headers.values["nats-sequence"]))

    async def put(self, key: str, value: M, headers: Mapping[str, str] = NONE) -> int:
        """Whatever is there now; the revision."""
        return await self._write(key, value, headers)

    async def create(self, key: str, value: M) -> int:
        """Raises Conflict when the key has a value."""
        try:
            return await self.compare_and_set(key, value, 0)
        except Conflict:
            last = await self.last(key)
            if isinstance(last, Entry):
                raise
            return await self.compare_and_set(key, value, last.revision)

    async def compare_and_set(self, key: str, value: M, revision: int) -> int:
        """Write only where `revision` is the last one of the key, 0 standing for none. Raises Conflict."""
        return await self._write(key, value, {EXPECTED_SEQUENCE: str(revision)})

    async def delete(self, key: str, revision: int | None = None, headers: Mapping[str, str] = NONE) -> int:
        """The revision of the deletion. With `revision`, only where that is the last one. Raises Conflict."""
        expected = {} if revision is None else {EXPECTED_SEQUENCE: str(revision)}
        return await self._write(key, b"", {**headers, OPERATION: DELETION, **expected})

    async def write_once(self, key: str, value: Message | bytes, headers: Mapping[str, str], *, deadline: float) -> int:
        """One try, for callers that must know when it was sent. `deadline` is in the loop's time."""
        subject = subjects.bucket_key(self._bucket, key)
        return (await store_once(self._link, subject, encode(value), headers, deadline=deadline)).sequence

    @asynccontextmanager
    async def watching(self, keys: str = ">") -> AsyncGenerator[AsyncIterator[Watched[M]]]:
        """What the bucket holds, then `Current`, then each change as it comes; for ever.

        After a `Gap` everything is told anew, to its own `Current`: a key that is not in it is gone. Of several quick
        changes to one key the last is told. Raises Forbidden.
        """
        subject = subjects.bucket_keys(self._bucket, keys)
        changes = self._watch(subject)
        try:
            yield changes
        finally:
            await changes.aclose()

    async def _write(self, key: str, value: Message | bytes, headers: Mapping[str, str]) -> int:
        """Sent until it is known whether it was done."""
        subject = subjects.bucket_key(self._bucket, key)
        given = {**correlation.outgoing(), **headers, MESSAGE_ID: self._link.new_id()}
        deadline = deadline_in(SECONDS)
        try:
            return (await store(self._link, subject, encode(value), given, deadline=deadline)).sequence
        except StreamRefused as error:
            if error.reason not in WRONG_SEQUENCE or not error.repeated:
                raise
            # The server compares before it looks for repetitions, so our own first try may be what is in the way.
            return await self._done_before(subject, given[MESSAGE_ID])

    async def _done_before(self, subject: str, message_id: str) -> int:
        asked = subjects.last_message(self._stream, subject)
        values = (await self._link.request(asked, b"", {}, deadline=deadline_in(SECONDS))).headers.values
        if values.get(MESSAGE_ID.lower()) != message_id:
            raise UpstreamUnavailable(f"The write to {subject} may have been done before another one, or not at all.")
        return int(values["nats-sequence"])

    def _entry(self, key: str, headers: Headers, payload: bytes, revision: int) -> Entry[M] | Deleted:
        if headers.values.get(OPERATION.lower()) in GONE or MARKER in headers.values:
            return Deleted(key, revision)
        return Entry(key, decode(self._kind, payload), revision)

    async def _watch(self, subject: str) -> AsyncGenerator[Watched[M]]:
        begun = False
        while True:
            await self._link.until_connected()
            try:
                async with self._reader(subject) as reader:
                    if begun:
                        yield Gap("restored")
                    begun = True
                    async for watched in self._told(reader):
                        yield watched
            except (UpstreamUnavailable, NotFound) as error:
                if not begun and isinstance(error, NotFound):
                    raise
                logger.warning("bucket not watched", bucket=self._bucket, error=str(error))
            if begun:
                GAPS.labels("lost").inc()
                yield Gap("lost")
            await asyncio.sleep(RETRY_SECONDS)

    async def _told(self, reader: "Reader") -> AsyncGenerator[Watched[M]]:
        """Everything once from a consumer of its own. Raises UpstreamUnavailable at the first thing that is missing."""
        current = not reader.pending
        if current:
            yield Current()
        for number in count(1):
            one = await reader.next()
            if one.delivered.consumer_sequence != number:
                raise UpstreamUnavailable(f"A change to {self._bucket} did not arrive.")
            if watched := self._watched(one):
                yield watched
            if not current and not one.delivered.pending:
                current = True
                yield Current()

    def _watched(self, one: Handed) -> Entry[M] | Deleted | None:
        arrived, delivered = one
        key = arrived.subject.split(".", 2)[2]
        if key == subjects.FENCE_KEY:
            return None
        try:
            return self._entry(key, arrived.headers, arrived.payload, delivered.stream_sequence)
        except InvalidMessage as error:
            self._refusals.tell(arrived.subject, error)
            return None

    @asynccontextmanager
    async def _reader(self, subject: str) -> AsyncGenerator["Reader"]:
        name = f"watch-{self._link.new_id().replace('.', '-')}"
        config = ConsumerConfig(
            name=name,
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
            ack_policy=AckPolicy.NONE,
            filter_subject=subject,
            inactive_threshold=WATCHER_IDLE_SECONDS,
            mem_storage=True,
            num_replicas=1,
        )
        pending = await ensure_consumer(self._link, self._stream, name, config)
        try:
            async with Pull(self._link, self._stream, name).opened() as pull:
                yield Reader(pull, pending)
        finally:
            with suppress(ServiceError):  # else it goes by itself when it has been idle
                deletion = subjects.consumer_request("DELETE", self._stream, name)
                await ask(self._link, deletion, {}, seconds=LEAVE_SECONDS)


class Reader:
    """One message after the other from a consumer, whose `pending` were there when it was made."""

    def __init__(self, pull: Pull, pending: int) -> None:
        self.pending = pending
        self._pull = pull
        self._fetched: deque[Handed] = deque()

    async def next(self) -> Handed:
        while not self._fetched:
            self._fetched.extend(await self._pull.fetch(WATCH_BATCH, WATCH_WAIT_SECONDS))
        return self._fetched.popleft()
