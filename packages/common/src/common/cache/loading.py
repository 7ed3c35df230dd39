"""What one flight does: ask the shared tier, else load from the origin, and put away what still stands.

`stamp | shared tier | lease | load | holds? | memory | land | shared tier`
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

from common.cache.flights import Flight
from common.cache.local_tier import LocalTier
from common.cache.ports import Lease
from common.cache.shared_values import Consulted, Found, SharedValues
from common.core.cached import Absent, Answer, Unstored
from common.core.epochs import Tags
from common.core.errors import DeadlineExceeded, UpstreamUnavailable
from common.core.freshness import Policy, lifetime_seconds

T = TypeVar("T")

FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.01, 0.2
LEASE_MARGIN_SECONDS = 1.0

Load: TypeAlias = Callable[[], Awaitable[T | Absent | Unstored[T]]]
"""Asks the origin. UpstreamUnavailable and OSError mean that it is away; any other error is its answer."""


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """What is asked for, and how to get it."""

    key: str
    tags: Tags
    policy: Policy
    load: Load[T]


@dataclass(slots=True)
class Tally:
    loads: int = 0
    failed_loads: int = 0
    load_seconds: float = 0.0


class Loaded(NamedTuple, Generic[T]):
    value: T | None
    seconds: float
    fresh_seconds: float
    """0 for what is not to be stored."""


@dataclass(frozen=True, slots=True)
class Loader(Generic[T]):
    """What every attempt needs. `refresh` starts another flight that nobody waits for."""

    local: LocalTier[T]
    shared: SharedValues[T] | None
    clock: Callable[[], float]
    chance: Callable[[], float]
    refresh: Callable[[Job[T]], None]
    tally: Tally

    async def load(self, job: Job[T]) -> Loaded[T]:
        """Raises what the loader raises, and DeadlineExceeded."""
        began = self.clock()
        self.tally.loads += 1
        try:
            value = await within_deadline(job)
        except Exception:
            self.tally.failed_loads += 1
            raise
        finally:
            self.tally.load_seconds += self.clock() - began
        return self._weigh(job, value, self.clock() - began)

    def _weigh(self, job: Job[T], value: T | Absent | Unstored[T], seconds: float) -> Loaded[T]:
        if isinstance(value, Unstored):
            return Loaded(value.value, seconds, 0.0)
        if isinstance(value, Absent):
            chance = 1 - job.policy.jitter * self.chance()
            return Loaded(None, seconds, job.policy.negative_ttl_seconds * chance)
        before = self.local.find(job.key)
        rate = before.hits_per_second(self.clock()) if before else 0.0
        fresh_seconds = lifetime_seconds(job.policy, hits_per_second=rate, load_seconds=seconds, chance=self.chance())
        return Loaded(value, seconds, fresh_seconds)


class Attempt(Generic[T]):
    def __init__(self, loader: Loader[T], flight: Flight[Answer[T]], job: Job[T]) -> None:
        self._loader = loader
        self._local = loader.local
        self._shared = loader.shared if job.policy.shared else None
        self._flight = flight
        self._job = job
        self._stamp = self._local.stamp(job.tags)
        self._lease = self._wish() if self._shared and job.policy.one_load_across_processes else None

    async def bypass(self) -> None:
        """Nothing stored is believed, nothing is stored, and nobody joins once the load has begun."""
        self._flight.holds = lambda: False
        try:
            loaded = await self._loader.load(self._job)
        except (UpstreamUnavailable, OSError) as error:
            self._land_stand_in(error, None)
        else:
            self._flight.land(Answer(loaded.value, "bypass", "origin", 0.0))

    async def fill(self) -> None:
        self._flight.holds = self._holds
        consulted = await self._consult()
        try:
            consulted = await self._wait_for_others(consulted)
            if not self._land_found(consulted and consulted.found):
                await self._fill_from_origin(consulted)
        finally:
            if self._shared:
                await self._shared.give_back(self._job.key, self._lease)

    async def _fill_from_origin(self, consulted: Consulted[T] | None) -> None:
        try:
            loaded = await self._loader.load(self._job)
        except (UpstreamUnavailable, OSError) as error:
            self._land_stand_in(error, consulted and consulted.found)
            return
        if loaded.fresh_seconds > 0:
            self._put(loaded.value, 0.0, loaded.fresh_seconds)
        else:
            self._local.note(self._job.key, "not stored: the loader or the policy says so")
        self._flight.land(Answer(loaded.value, "miss", "origin", 0.0))
        if consulted and loaded.fresh_seconds > 0 and self._holds():
            await self._share(loaded, consulted.stamp)

    async def _share(self, loaded: Loaded[T], stamp: bytes) -> None:
        assert self._shared  # noqa: S101 - there is a stamp because it was asked
        lease, self._lease = self._lease, None
        await self._shared.keep(
            self._job.key,
            self._job.tags,
            stamp,
            loaded.value,
            fresh_seconds=loaded.fresh_seconds,
            policy=self._job.policy,
            lease=lease,
        )

    async def _consult(self) -> Consulted[T] | None:
        if not self._shared:
            return None
        self._stamp = self._local.stamp(self._job.tags)
        return await self._shared.consult(self._job.key, self._job.tags, self._lease)

    async def _wait_for_others(self, consulted: Consulted[T] | None) -> Consulted[T] | None:
        """Until there is something fresh, or it is for us to load, or another took too long."""
        pause_seconds = FIRST_POLL_SECONDS
        until = self._loader.clock() + self._job.policy.load_deadline_seconds
        while consulted and not consulted.may_load and not self._serves(consulted.found):
            if self._loader.clock() >= until:
                self._lease = None
                break
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(1.5 * pause_seconds, LONGEST_POLL_SECONDS)
            consulted = await self._consult()
        return consulted

    def _serves(self, found: Found[T] | None) -> bool:
        if found is None:
            return False
        window = 0.0 if self._flight.is_refresh else self._job.policy.stale_while_revalidate_seconds
        return found.fresh_seconds + window > 0

    def _land_found(self, found: Found[T] | None) -> bool:
        """Whether the shared tier had an answer for those who wait."""
        if found is None or not self._serves(found):
            return False
        self._put(found.value, found.age_seconds, found.fresh_seconds)
        outcome = found.outcome if found.fresh_seconds > 0 else "stale"
        self._flight.land(Answer(found.value, outcome, "shared", found.age_seconds))
        if outcome == "stale":
            self._loader.refresh(self._job)
        return True

    def _land_stand_in(self, error: Exception, found: Found[T] | None) -> None:
        """What is stored, for want of the origin. Raises the error if the policy has nothing to be served."""
        key, tags, policy = self._job.key, self._job.tags, self._job.policy
        if found:
            self._put(found.value, found.age_seconds, found.fresh_seconds)
        entry = self._local.stand_in(key, tags, policy)
        if entry is None:
            self._local.note(key, "the last load failed")
            raise error
        now = self._loader.clock()
        entry.retry_at = now + policy.retry_seconds
        self._flight.land(Answer(entry.value, "stale_if_error", "memory", now - entry.loaded_at))

    def _put(self, value: T | None, age_seconds: float, fresh_seconds: float) -> None:
        now = self._loader.clock()
        outcome: Literal["hit", "negative"] = "negative" if value is None else "hit"
        self._local.put(
            self._job.key,
            self._job.tags,
            self._stamp,
            value,
            outcome=outcome,
            loaded_at=now - age_seconds,
            fresh_until=now + fresh_seconds,
        )

    def _holds(self) -> bool:
        return self._local.is_trusted() and self._local.holds(self._job.tags, self._stamp)

    def _wish(self) -> Lease:
        return Lease(
            secrets.token_hex(8), round((self._job.policy.load_deadline_seconds + LEASE_MARGIN_SECONDS) * 1000)
        )


async def within_deadline(job: Job[T]) -> T | Absent | Unstored[T]:
    seconds = job.policy.load_deadline_seconds
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            return await job.load()
    except TimeoutError as error:
        if deadline.expired():
            raise DeadlineExceeded(f"The load took longer than {seconds:g} s.") from error
        raise
