"""common.cache.SharedTier in memory. Several tiers on one store are several processes on one Valkey."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from common.cache import EVERYTHING, Fetched, Lease
from common.core.epochs import Tags


@dataclass(slots=True)
class StoredEntry:
    stamp: bytes
    packed: bytes
    tags: Tags
    expires_at: float
    stale_seconds: float


@dataclass(slots=True)
class Store:
    clock: Callable[[], float]
    incarnation: int = 0
    entries: dict[str, StoredEntry] = field(default_factory=dict[str, StoredEntry])
    epochs: dict[str, int] = field(default_factory=dict[str, int])
    leases: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    fresh: "itertools.count[int]" = field(default_factory=itertools.count)

    def stamp(self, tags: Tags, *, make: bool) -> bytes:
        wanted = (EVERYTHING, *tags)
        if make:
            for tag in wanted:
                self.epochs.setdefault(tag, next(self.fresh))
        return " ".join([str(self.incarnation), *(str(self.epochs.get(tag)) for tag in wanted)]).encode()

    def live(self, key: str) -> StoredEntry | None:
        entry = self.entries.get(key)
        return entry if entry and self.clock() < entry.expires_at else None

    def take_lease(self, key: str, lease: Lease) -> bool:
        holder, until = self.leases.get(key, ("", 0.0))
        if holder not in ("", lease.token) and self.clock() < until:
            return False
        if holder != lease.token:
            self.leases[key] = (lease.token, self.clock() + lease.milliseconds / 1000)
        return True

    def give_back(self, key: str, lease: Lease) -> None:
        if self.leases.get(key, ("", 0.0))[0] == lease.token:
            del self.leases[key]


async def no_delay() -> None:
    pass


class InMemorySharedTier:
    """`trip` is awaited on the way to the store and on the way back: it may take time, or raise."""

    def __init__(self, store: Store, trip: Callable[[], Awaitable[None]] = no_delay) -> None:
        self._store = store
        self._trip = trip

    async def fetch(self, key: str, tags: Tags, lease: Lease | None) -> Fetched:
        await self._trip()
        fetched = self._fetch(key, tags, lease)
        await self._trip()
        return fetched

    async def store(
        self, key: str, tags: Tags, packed: bytes, stamp: bytes, *, life_ms: int, stale_ms: int, lease: Lease | None
    ) -> bool:
        await self._trip()
        store = self._store
        holds = store.stamp(tags, make=False) == stamp
        if holds:
            store.entries[key] = StoredEntry(stamp, packed, tags, store.clock() + life_ms / 1000, stale_ms / 1000)
        if lease:
            store.give_back(key, lease)
        await self._trip()
        return holds

    async def give_back(self, key: str, lease: Lease) -> None:
        await self._trip()
        self._store.give_back(key, lease)
        await self._trip()

    async def bump(self, tags: Tags) -> None:
        await self._trip()
        for tag in tags:
            self._store.epochs.pop(tag, None)
        await self._trip()

    async def tags_of(self, key: str) -> Tags | None:
        await self._trip()
        entry = self._store.live(key)
        await self._trip()
        return entry and entry.tags

    def _fetch(self, key: str, tags: Tags, lease: Lease | None) -> Fetched:
        store = self._store
        stamp = store.stamp(tags, make=True)
        entry = store.live(key)
        if entry and entry.stamp != stamp:
            entry = None
        left_seconds = entry.expires_at - store.clock() if entry else 0.0
        fresh = entry is not None and left_seconds > entry.stale_seconds
        may_load = lease is None or fresh or store.take_lease(key, lease)
        return Fetched(stamp, entry and entry.packed, round(left_seconds * 1000), may_load)
