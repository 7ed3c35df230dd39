"""What a service asks of its cache. Memory first, then the shared tier, then the origin.

read:  `peek | trust | flights | loading.Attempt | answer`
bump:  `epochs | shared tier | announcer | answer`
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from common.cache.announcer import Announcer, News
from common.cache.explaining import explain
from common.cache.flights import Flight, Flights
from common.cache.loading import Attempt, Job, Load, Loader, Tally
from common.cache.local_tier import LocalTier
from common.cache.owned_tasks import OwnedTasks
from common.cache.shared_access import Debt, SharedAccess
from common.cache.shared_values import SharedValues
from common.core.cached import Answer, Explanation, Outcome, Tier, check_bump, check_key, check_tags
from common.core.epochs import EVERYTHING, Tags
from common.core.errors import ServiceError, UpstreamUnavailable
from common.core.freshness import Policy
from common.core.peers import Bumped
from common.core.trust import Doubt, Trust

T = TypeVar("T")

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Statistics:
    """`reads` by outcome and tier. `bumps` are those that reached everybody they had to."""

    reads: Mapping[tuple[Outcome, Tier], int]
    loads: int
    failed_loads: int
    load_seconds: float
    bumps: int
    failed_bumps: int
    evictions: int
    shared_failures: int
    memory_bytes: int
    entries: int
    is_trusted: bool


@dataclass(frozen=True, slots=True)
class Parts(Generic[T]):
    """What a cache is made of; `open_cache` puts it together. Without an announcer no other process is told or heard;
    without a shared tier there is only memory."""

    local: LocalTier[T]
    trust: Trust
    tasks: OwnedTasks
    access: SharedAccess | None
    values: SharedValues[T] | None
    announcer: Announcer | None


class Cache(Generic[T]):
    """Answers by key, dead as soon as one of their tags is bumped. Values are handed out as they are stored: treat
    them as immutable."""

    def __init__(
        self,
        name: str,
        parts: Parts[T],
        *,
        refreshes: int,
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.name = name
        self.is_closed = False
        self._refreshes = refreshes
        self._clock = clock
        self._local = parts.local
        self._trust = parts.trust
        self._tasks = parts.tasks
        self._access = parts.access
        self._values = parts.values
        self._announcer = parts.announcer
        self._flights: Flights[Answer[T]] = Flights(parts.tasks)
        self._loader = Loader(parts.local, parts.values, clock, chance, self._refresh, Tally())
        self._counts: dict[tuple[Outcome, Tier], int] = {}
        self._bumps = {True: 0, False: 0}

    async def get_or_load(self, key: str, load: Load[T], *, tags: Tags = (), policy: Policy) -> Answer[T]:
        """The answer stored under the key, or else what `load` brings, which is then stored.

        `tags` names all that the answer depends on. `load` is called by at most one task at a time for a key; those
        who ask meanwhile share its answer, or its error, which is not stored. It should raise UpstreamUnavailable when
        the origin is away; any other error is the origin's answer and goes to the caller.

        The answer was loaded after every bump of its tags that had returned, in this process, when the read began;
        with `Answer.outcome` `stale_if_error` the policy may have said otherwise.

        Raises InvalidRequest for a key or tags that are none, DeadlineExceeded when the load took too long, and what
        the loader raises.
        """
        return self._local.peek(key, tags) or await self._read(Job(key, tags, policy, load))

    def peek(self, key: str) -> Answer[T] | None:
        """The fresh answer in this process's memory, if there is one that may be believed. Never waits."""
        return self._local.peek(key)

    async def bump(self, *tags: str) -> bool:
        """Kill every answer that bears one of the tags: here, in the shared tier, and in every other process.

        To be called after the write it tells of, and awaited before the write is acknowledged. A read that begins once
        this has returned gets nothing older, in this process always, and in every process that confirmed the bump; True
        says that all did. False: one that is alive did not within `CacheOptions.confirm_seconds`; if it did not hear,
        it stops believing its memory within `silence_seconds`. Where the bump must be certain everywhere, set
        `confirm_seconds` above `silence_seconds`.

        Raises UpstreamUnavailable when the shared tier or the bus did not take it. It is done here nevertheless; the
        shared tier is told as soon as it answers, and not used for these tags until then; other processes notice the
        gap with the next message that reaches them, and drop everything.
        """
        check_bump(tags)
        self._local.bump(tags)
        debt = self._access.note_debt(tags) if self._access else {}
        self._refuse_if_closed()
        return await asyncio.shield(self._tasks.start(self._bump(tags, debt)))

    def changed(self, *tags: str) -> None:
        """The same for a change that every process hears of by itself: here at once, in the shared tier as soon as it
        can be told, and no other process is told.

        Until the shared tier was told, none of what it holds under these tags is read here. Raises InvalidRequest.
        """
        check_bump(tags)
        self._local.bump(tags)
        if self._access:
            self._access.owe(tags, is_late=False)

    def heard(self, source: str, epoch: str) -> None:
        """A heartbeat of a source of changes, named when the cache was opened. `epoch` names its unbroken run.

        Everything is dropped, the shared tier's entries included, when the epoch is another one or the source had been
        silent for too long. Raises InvalidRequest for an unknown source.
        """
        why = self._trust.heard(source, epoch, self._clock())
        if why:
            self._local.drop_all(why)
            if self._access:
                self._access.owe((EVERYTHING,), is_late=False)
        self._renew_trust()

    def doubt(self) -> Doubt | None:
        """Why nothing stored is believed just now, or None."""
        now = self._clock()
        lost = self._announcer.doubt(now) if self._announcer else None
        self._renew_trust()
        return self._trust.doubt(now) or lost

    async def explain(self, key: str) -> Explanation:
        """What a read of the key would meet just now, and why. It changes nothing, and never shows the value."""
        check_key(key)
        doubt = self.doubt()
        if doubt:
            return Explanation(key, "bypass", f"{doubt}: nothing stored is believed")
        return await explain(key, self._local, self._access, self._values, self._clock())

    def statistics(self) -> Statistics:
        """Counts since the cache was opened, and what it holds now."""
        reads = dict(self._counts)
        for outcome, count in self._local.hits.items():
            reads[outcome, "memory"] = count
        return Statistics(
            reads=reads,
            loads=self._loader.tally.loads,
            failed_loads=self._loader.tally.failed_loads,
            load_seconds=self._loader.tally.load_seconds,
            bumps=self._bumps[True],
            failed_bumps=self._bumps[False],
            evictions=self._local.evictions,
            shared_failures=self._access.failures if self._access else 0,
            memory_bytes=self._local.used_bytes,
            entries=self._local.entries,
            is_trusted=self.doubt() is None,
        )

    def hear_news(self, news: list[News]) -> None:
        """What the announcer heard of other processes."""
        for item in news:
            if isinstance(item, Bumped):
                self._local.bump(item.tags)
                if item.owed and self._access:
                    self._access.owe(item.tags, is_late=True)
            else:
                self._local.drop_all(item.why)
        self._renew_trust()

    def tell_late(self, tags: Tags) -> None:
        """The shared tier has only now learnt of a bump: what anybody took from it meanwhile is to be killed again."""
        self._local.bump(tags)
        if self._announcer and not self.is_closed:
            self._tasks.start(self._announcer.announce(tags, owed=False))

    async def _read(self, job: Job[T]) -> Answer[T]:
        check_key(job.key)
        check_tags(job.tags)
        self._refuse_if_closed()
        answer = self._stand_in(job) or (self._stale(job) if self.doubt() is None else None)
        if answer is None:
            flight = self._flights.joinable(job.key, job.tags) or self._start(job)
            answer = await self._flights.wait(job.key, flight)
        counted = answer.outcome, answer.tier
        self._counts[counted] = self._counts.get(counted, 0) + 1
        return answer

    def _stand_in(self, job: Job[T]) -> Answer[T] | None:
        """What stood in for the origin a moment ago does so again."""
        entry = self._local.stand_in(job.key, job.tags, job.policy)
        now = self._clock()
        if entry is None or not entry.stands_in or now >= entry.retry_at:
            return None
        return Answer(entry.value, "stale_if_error", "memory", now - entry.loaded_at)

    def _stale(self, job: Job[T]) -> Answer[T] | None:
        """What expired a moment ago, to be loaded anew behind the reader's back."""
        entry, now = self._local.find(job.key), self._clock()
        if entry is None or now >= entry.fresh_until + job.policy.stale_while_revalidate_seconds:
            return None
        if entry.tags != job.tags or not self._local.is_alive(entry):
            return None
        if now >= entry.retry_at:
            self._refresh(job)
        return Answer(entry.value, "stale", "memory", now - entry.loaded_at)

    def _start(self, job: Job[T], *, is_refresh: bool = False) -> Flight[Answer[T]]:
        async def fly(flight: Flight[Answer[T]]) -> None:
            attempt = Attempt(self._loader, flight, job)
            await (attempt.fill() if self.doubt() is None else attempt.bypass())

        return self._flights.start(job.key, job.tags, fly, is_refresh=is_refresh)

    def _refresh(self, job: Job[T]) -> None:
        """Load behind the reader's back, unless somebody does already or too many are."""
        if self._flights.refreshing < self._refreshes and not self._flights.joinable(job.key, job.tags):
            self._start(job, is_refresh=True)

    async def _bump(self, tags: Tags, debt: Debt) -> bool:
        try:
            return await self._tell(tags, debt)
        except asyncio.CancelledError:
            raise UpstreamUnavailable(f"The cache {self.name!r} was closed before all were told of a bump.") from None

    async def _tell(self, tags: Tags, debt: Debt) -> bool:
        told = await self._access.pay(debt) if self._access else True
        try:
            confirmed = await self._announcer.announce(tags, owed=not told) if self._announcer else True
        except ServiceError as error:
            self._bumps[False] += 1
            logger.warning("a bump did not reach the other processes", cache=self.name, error=str(error))
            raise
        self._bumps[told] += 1
        if not told:
            raise UpstreamUnavailable("The shared cache tier could not be told of the bump; it will be.")
        return confirmed

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise UpstreamUnavailable(f"The cache {self.name!r} is closed.")

    def _renew_trust(self) -> None:
        others = self._announcer.trusted_until if self._announcer else math.inf
        self._local.trusted_until = min(self._trust.until, others)
