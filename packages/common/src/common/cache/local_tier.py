"""What this process holds, and whether it may be believed."""

from collections.abc import Callable
from typing import Final, Generic, Literal, TypeVar

import structlog
from cachetools import LRUCache

from common.cache.options import CacheOptions
from common.core.cached import Answer, Outcome
from common.core.epochs import EVERYTHING, EpochTable, Stamp, Tags
from common.core.freshness import Policy, serves_on_error
from common.core.memory_tier import Entry, MemoryTier, entry_size_bytes

T = TypeVar("T")

logger = structlog.get_logger(__name__)

REMEMBERED_REASONS = 1024
NEVER_STORED: Final = "never stored"


class LocalTier(Generic[T]):
    """Memory, epochs and trust of one process. `trusted_until` is set by whoever hears from outside."""

    def __init__(self, options: CacheOptions, *, size_bytes: Callable[[T], int], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._size_bytes = size_bytes
        self._epochs = EpochTable(options.known_tags)
        self._memory: MemoryTier[T] = MemoryTier(options.memory_bytes, self._note_eviction)
        self._reasons: LRUCache[str, str] = LRUCache(REMEMBERED_REASONS)
        self._dropped_because = ""
        self.trusted_until = 0.0
        self.evictions = 0
        self.hits: dict[Outcome, int] = {"hit": 0, "negative": 0}

    @property
    def used_bytes(self) -> int:
        return int(self._memory.currsize)

    @property
    def entries(self) -> int:
        return len(self._memory)

    def peek(self, key: str, tags: Tags | None = None) -> Answer[T] | None:
        """A fresh answer that may be believed, or None. `tags` must be those it was stored with, if given."""
        try:
            entry = self._memory[key]
        except KeyError:
            return None
        now = self._clock()
        if now >= entry.fresh_until or now >= self.trusted_until or (tags is not None and tags != entry.tags):
            return None
        if entry.generation != self._epochs.generation and not self.is_alive(entry):
            return None
        entry.hits += 1
        self.hits[entry.outcome] += 1
        return Answer(entry.value, entry.outcome, "memory", now - entry.loaded_at)

    def stand_in(self, key: str, tags: Tags, policy: Policy) -> Entry[T] | None:
        """What is stored and may be served if the origin is away."""
        entry = self._memory.look(key)
        if entry is None or entry.tags != tags:
            return None
        overdue_seconds = self._clock() - entry.fresh_until
        bumped, verified = not self.is_alive(entry), self.is_trusted()
        serves = serves_on_error(policy, overdue_seconds=overdue_seconds, bumped=bumped, verified=verified)
        return entry if serves else None

    def find(self, key: str) -> Entry[T] | None:
        """Whatever is stored, dead or alive."""
        return self._memory.look(key)

    def is_alive(self, entry: Entry[T]) -> bool:
        """Whether nothing it depends on was bumped."""
        generation = self._epochs.generation
        if not self._epochs.holds(entry.tags, entry.stamp):
            return False
        entry.generation = generation
        return True

    def stamp(self, tags: Tags) -> Stamp:
        return self._epochs.stamp(tags)

    def holds(self, tags: Tags, stamp: Stamp) -> bool:
        """Whether nothing was bumped since the stamp was taken, as far as is known here."""
        return self._epochs.holds(tags, stamp)

    def is_trusted(self) -> bool:
        """Whether what is known here is all there is to know."""
        return self._clock() < self.trusted_until

    def put(
        self,
        key: str,
        tags: Tags,
        stamp: Stamp,
        value: T | None,
        *,
        outcome: Literal["hit", "negative"],
        loaded_at: float,
        fresh_until: float,
    ) -> None:
        """Unless what it stands on has changed since the stamp was taken."""
        if not (self.is_trusted() and self.holds(tags, stamp)):
            self._reasons[key] = "not stored: it was bumped, or trust was lost, while it was loaded"
            return
        weight = 0 if value is None else self._size_bytes(value)
        size = entry_size_bytes(key, tags, weight)
        generation = self._epochs.generation
        entry = Entry(value, outcome, tags, stamp, generation, loaded_at, fresh_until, size)
        if not self._memory.keep(key, entry):
            self._reasons[key] = f"not stored in memory: {size} bytes, {self._memory.largest_bytes} are allowed"

    def bump(self, tags: Tags) -> None:
        self._epochs.bump(tags)

    def drop_all(self, why: str) -> None:
        """Nothing is believed any more; the memory is taken back as it is needed."""
        self._dropped_because = why
        self._epochs.bump((EVERYTHING,))

    def note(self, key: str, reason: str) -> None:
        """Why something was not stored, for `why_missing`."""
        self._reasons[key] = reason

    def why_missing(self, key: str) -> str:
        return self._reasons.get(key, NEVER_STORED)

    def why_dead(self, entry: Entry[T]) -> str | None:
        tag = self._epochs.ended(entry.tags, entry.stamp)
        if tag is None:
            return None
        if tag == EVERYTHING and self._dropped_because:
            return f"everything was dropped: {self._dropped_because}"
        return f"the tag {tag!r} was bumped, or forgotten for want of room"

    def _note_eviction(self, key: str) -> None:
        self.evictions += 1
        self._reasons[key] = "evicted to make room"
