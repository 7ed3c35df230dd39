"""What this process has in memory: bounded in bytes, the least recently used going first."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from cachetools import LRUCache

from common.core.epochs import Stamp, Tags

T = TypeVar("T")

ENTRY_BYTES = 704
"""What an entry takes besides its value, its key and its tags: itself, its numbers, its stamp, its places in the
tables. tests/unit/common/test_memory_tier.py compares it with what Python really allocates."""

LARGEST_SHARE = 8
"""A single entry takes an eighth of the memory at most, lest it throw out all the others."""


@dataclass(slots=True)
class Entry(Generic[T]):
    """A value (None for 'there is no such thing') and what it stands on. Times are seconds of the cache's clock."""

    value: T | None
    outcome: Literal["hit", "negative"]
    tags: Tags
    stamp: Stamp
    generation: int
    loaded_at: float
    fresh_until: float
    size_bytes: int
    hits: int = 0
    retry_at: float = 0.0
    """The origin was away; until then it is not asked again as long as this may stand in."""

    def hits_per_second(self, now: float) -> float:
        """Over its life so far, counted as a second at least."""
        return self.hits / max(min(now, self.fresh_until) - self.loaded_at, 1.0)


def entry_size_bytes(key: str, tags: Tags, value_bytes: int) -> int:
    return ENTRY_BYTES + value_bytes + sum(map(sys.getsizeof, (key, tags, *tags)))


class MemoryTier(LRUCache[str, Entry[T]]):
    """`memory[key]` touches what it returns; `look` does not."""

    def __init__(self, limit_bytes: int, on_eviction: Callable[[str], None]) -> None:
        super().__init__(limit_bytes, getsizeof=lambda entry: entry.size_bytes)
        self._on_eviction = on_eviction
        self.largest_bytes = limit_bytes // LARGEST_SHARE

    def look(self, key: str) -> Entry[T] | None:
        return super(LRUCache, self).__getitem__(key) if key in self else None

    def keep(self, key: str, entry: Entry[T]) -> bool:
        """Whether there was room for it. What was stored under the key is gone in any case."""
        self.pop(key, None)
        if entry.size_bytes > self.largest_bytes:
            return False
        self[key] = entry
        return True

    def popitem(self) -> tuple[str, Entry[T]]:
        key, entry = super().popitem()
        self._on_eviction(key)
        return key, entry
