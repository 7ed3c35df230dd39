"""A bucket that only the holder of a lease writes: the server itself refuses the writes of an earlier holder.

The holder first writes its epoch under one key of the bucket, the fence. Each of its later writes names the revision of
the fence, which nats-server (2.11 and later) compares in the same step in which it stores. So once a new holder has
written the fence, nothing of the old one is stored any more, to whatever key, and what the new one reads stays as it
is until it writes itself. An older server refuses every such write.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic

from common.adapters.nats_bus import Bus
from common.adapters.nats_jetstream import EXPECTED_SEQUENCE, WRONG_SEQUENCE, StreamRefused
from common.adapters.nats_key_value import BucketTerms, Entry, KeyValue, Watched
from common.adapters.nats_leases import Lease
from common.core import subjects
from common.core.errors import Conflict, InvalidRequest, StaleLease
from common.core.messages import M, Message

EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
EPOCH = "Lease-Epoch"
TRIES = 3
USUAL = BucketTerms()


class Fence(Message, frozen=True):
    epoch: int
    lease: str


class FencedKeyValue(Generic[M]):
    """Reads as `KeyValue` does. Each write raises StaleLease once the lease is lost or another has held it since."""

    def __init__(self, bus: Bus, bucket: str, kind: type[M], lease: Lease) -> None:
        self._fences = KeyValue(bus.link, bucket, Fence)
        self._values = KeyValue(bus.link, bucket, kind)
        self._lease = lease
        self._fence_subject = subjects.bucket_key(bucket, subjects.FENCE_KEY)
        self._fence_revision = 0

    async def take_over(self, terms: BucketTerms) -> None:
        """From now on the writes of earlier holders are refused. Raises StaleLease, Conflict."""
        if terms.max_age_seconds:
            raise InvalidRequest("`max_age_seconds` has to be 0: the fence of a bucket must not go by itself.")
        await self._values.ensure(terms)
        await self._raise_fence()

    async def get(self, key: str) -> Entry[M]:
        return await self._values.get(key)

    def watching(self, keys: str = ">") -> AbstractAsyncContextManager[AsyncIterator[Watched[M]]]:
        return self._values.watching(keys)

    async def put(self, key: str, value: M) -> int:
        return await self._fenced(lambda: self._values.put(key, value, self._headers()))

    async def delete(self, key: str) -> int:
        return await self._fenced(lambda: self._values.delete(key, headers=self._headers()))

    async def _fenced(self, write: Callable[[], Awaitable[int]]) -> int:
        self._lease.check()
        try:
            return await write()
        except StreamRefused as error:
            if error.reason not in WRONG_SEQUENCE:
                raise
        await self._raise_fence()  # raises, unless the bucket was made anew or an earlier holder came in between
        return await write()

    def _headers(self) -> dict[str, str]:
        return {
            EXPECTED_SEQUENCE: str(self._fence_revision),
            EXPECTED_SUBJECT: self._fence_subject,
            EPOCH: str(self._lease.epoch),
        }

    async def _raise_fence(self) -> None:
        ours = Fence(epoch=self._lease.epoch, lease=self._lease.name)
        for _ in range(TRIES):
            last = await self._fences.last(subjects.FENCE_KEY)
            if isinstance(last, Entry) and last.value.epoch > ours.epoch:
                raise StaleLease(f"The lease {ours.lease!r} has been held by another since: nothing was written.")
            if isinstance(last, Entry) and last.value.epoch == ours.epoch:  # ours, by another part of this process
                self._fence_revision = last.revision
                return
            self._lease.check()
            try:
                self._fence_revision = await self._fences.compare_and_set(subjects.FENCE_KEY, ours, last.revision)
            except Conflict:
                continue
            return
        raise Conflict(f"Others write the fence of the lease {ours.lease!r} at the same time.")


async def open_fenced(
    bus: Bus, bucket: str, kind: type[M], lease: Lease, terms: BucketTerms = USUAL
) -> FencedKeyValue[M]:
    """The bucket, made if it is not there, with the writes of all earlier holders of the lease shut out.

    Read what you build on after this. Raises StaleLease, Conflict, Forbidden, UpstreamUnavailable.
    """
    fenced = FencedKeyValue(bus, bucket, kind, lease)
    await fenced.take_over(terms)
    return fenced
