"""Leases on a key-value bucket: one holder at a time, another within seconds after it died, at once after it left."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import structlog

from common.adapters.bus_metrics import LEASES
from common.adapters.companion import accompanied
from common.adapters.nats_bus import Bus
from common.adapters.nats_jetstream import EXPECTED_SEQUENCE, StreamRefused, ensure_stream, stream_info
from common.adapters.nats_key_value import DELETION, OPERATION, BucketTerms, Entry, KeyValue
from common.adapters.nats_link import Link, deadline_in
from common.core import subjects
from common.core.errors import NoResponders, NotFound, ServiceError, StaleLease, UpstreamUnavailable
from common.core.lease import UNREADABLE, Candidate, Claim, Look, Rest, Seen, Terms, Write, epoch_of
from common.core.messages import InvalidMessage, decode

logger = structlog.get_logger(__name__)

TRY_SECONDS = 1.0
"""For one read or write of the key; a holder has time for two before it has to give up."""
USUAL = Terms()
BUCKET = BucketTerms(max_bytes=4 * 1024 * 1024)

Clock: TypeAlias = Callable[[], float]


def awake_or_not() -> float:
    """Seconds since the machine started, those included in which it slept: a lease goes on while a laptop is shut."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


STEADY: Clock = awake_or_not if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic


class Lease:
    """Held from now on, until it is lost or left."""

    def __init__(self, name: str, epoch: int, holds: Callable[[], bool]) -> None:
        self.name = name
        self.epoch = epoch
        """Larger than that of every holder before. 63 bits; give it to whatever is to refuse stale writes."""
        self.lost = asyncio.Event()
        self._holds = holds

    def held(self) -> bool:
        """Whether it is held at this moment, by the clock. True may be outdated as soon as it is said: see `epoch`."""
        return not self.lost.is_set() and self._holds()

    def check(self) -> None:
        """Raises StaleLease unless it is held."""
        if not self.held():
            raise StaleLease(f"The lease {self.name!r} is not held any more.")


Leading: TypeAlias = Callable[[Lease], Awaitable[None]]


class Leases:
    """`holder` is for people who look into the bucket; each candidacy adds a part of its own."""

    def __init__(
        self,
        bus: Bus,
        *,
        bucket: str = subjects.LEASES_BUCKET,
        holder: str = "",
        terms: Terms = USUAL,
        clock: Clock = STEADY,
    ) -> None:
        self._link = bus.link
        self._bucket = bucket
        self._holder = holder
        self._terms = terms
        self._clock = clock

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncGenerator[Lease]:
        """Entered once the lease is held, however long that takes; left, it is another's at once.

        When it is lost, `lost` is set, the body is cancelled and StaleLease comes out of the block: in time, before
        another can hold it. Raises Forbidden, and InvalidRequest for a bad name.
        """
        me = f"{self._holder}-{secrets.token_hex(8)}"
        candidacy = Candidacy(self._link, self._bucket, name, Candidate(me, self._terms), self._clock)
        try:
            async with accompanied(candidacy.hear()):
                lease = await candidacy.win()
                async with accompanied(candidacy.keep(lease)):
                    yield lease
        finally:
            await candidacy.leave()

    async def run_as_leader(self, name: str, run: Leading) -> None:
        """Run under the lease, and again after every loss; ends when `run` returns, raises or is cancelled.

        When the lease is lost `run` is cancelled, and begins anew when the lease is held again, here or elsewhere.
        """
        while True:
            try:
                async with self.hold(name) as lease:
                    return await run(lease)
            except StaleLease as error:
                logger.warning("no longer the leader", lease=name, reason=str(error))


class Candidacy:
    """Carries out what one candidate decides."""

    def __init__(self, link: Link, bucket: str, name: str, candidate: Candidate, clock: Clock) -> None:
        self._link = link
        self._bucket = bucket
        self._name = name
        self._candidate = candidate
        self._clock = clock
        self._claims = KeyValue(link, bucket, bytes)
        self._subject = subjects.bucket_key(bucket, name)
        self._woken = asyncio.Event()
        self._born = 0.0
        self._lease: Lease | None = None

    async def win(self) -> Lease:
        while not self._holds():
            await self._step()
        revision = self._candidate.epoch_revision
        lease = Lease(self._name, epoch_of(self._born, revision), lambda: self._still(revision))
        self._lease = lease
        LEASES.labels("won").inc()
        logger.info("lease held", lease=self._name, epoch=lease.epoch)
        return lease

    async def keep(self, lease: Lease) -> None:
        """Renews for ever. Raises StaleLease when the time is up, even while a renewal is under way."""
        while lease.held():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._candidate.holds_until - self._clock()):
                    await self._step()
        lease.lost.set()
        LEASES.labels("lost").inc()
        raise StaleLease(f"The lease {self._name!r} could not be renewed in time, or was taken away.")

    async def hear(self) -> None:
        """Word of changes, so that none has to wait for the next look. Where we may not listen we look only."""
        try:
            async with self._link.subscribed(self._subject, lambda _: self._wake()):
                await asyncio.get_running_loop().create_future()
        except ServiceError as error:
            logger.info("changes of a lease are looked for, not heard", lease=self._name, reason=str(error))

    async def leave(self) -> None:
        """Whoever waits may have it at once; if that fails, when its time is up."""
        if self._lease:
            self._lease.lost.set()
        revision = self._candidate.released()
        try:
            async with asyncio.timeout(TRY_SECONDS):
                with suppress(ServiceError):
                    await self._give_back(revision)
        except TimeoutError:
            return

    async def _give_back(self, revision: int | None) -> None:
        try:
            if revision is not None:
                await self._delete(revision)
        except StreamRefused:  # by a renewal that was under way when we left
            seen = await self._read()
            if seen.claim and seen.claim.holder == self._candidate.me:
                await self._delete(seen.revision)

    async def _delete(self, revision: int) -> None:
        headers = {OPERATION: DELETION, EXPECTED_SEQUENCE: str(revision)}
        await self._claims.write_once(self._name, b"", headers, deadline=deadline_in(TRY_SECONDS))
        LEASES.labels("given_back").inc()

    async def _step(self) -> None:
        match self._candidate.next(self._clock()):
            case Rest(until):
                await self._rest(until - self._clock())
            case Look():
                await self._look()
            case Write(revision):
                await self._write(revision)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(TRY_SECONDS):
                seen = await self._read()
        except NoResponders:
            await self._make_bucket()
            self._candidate.unknown(self._clock())
        except (UpstreamUnavailable, TimeoutError):
            self._candidate.unknown(self._clock())
        else:
            self._candidate.looked(seen, self._clock())

    async def _write(self, revision: int) -> None:
        headers = {EXPECTED_SEQUENCE: str(revision)}
        try:
            if not self._holds():
                self._born = await self._birth()
            sent_at = self._clock()
            deadline = deadline_in(TRY_SECONDS)
            written = await self._claims.write_once(self._name, self._candidate.claim(), headers, deadline=deadline)
        except StreamRefused:
            self._candidate.refused(self._clock())
        except (UpstreamUnavailable, NotFound):
            self._candidate.unknown(self._clock())
        else:
            self._candidate.written(written, sent_at, self._clock())

    async def _read(self) -> Seen:
        last = await self._claims.last(self._name)
        if not isinstance(last, Entry):
            return Seen(None, last.revision)
        try:
            return Seen(decode(Claim, last.value), last.revision)
        except InvalidMessage as error:
            logger.warning("claim not understood", lease=self._name, error=str(error))
            return Seen(UNREADABLE, last.revision)

    async def _make_bucket(self) -> None:
        with suppress(UpstreamUnavailable):
            await ensure_stream(self._link, BUCKET.config(self._bucket))

    async def _birth(self) -> float:
        """When the bucket was made: one that was made anew counts its revisions from 1 again."""
        created = (await stream_info(self._link, subjects.bucket_stream(self._bucket))).created
        return created.timestamp() if created else 0.0

    def _holds(self) -> bool:
        return self._candidate.holds(self._clock())

    def _still(self, revision: int) -> bool:
        return self._holds() and self._candidate.epoch_revision == revision

    def _wake(self) -> None:
        self._candidate.changed(self._clock())
        self._woken.set()
