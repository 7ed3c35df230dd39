"""What a read would meet, and why: for operators, so it changes nothing and shows no value."""

from typing import TypeVar

from common.cache.local_tier import LocalTier
from common.cache.shared_access import SharedAccess
from common.cache.shared_values import SharedValues
from common.core.cached import Explanation
from common.core.memory_tier import Entry

T = TypeVar("T")


async def explain(
    key: str, local: LocalTier[T], access: SharedAccess | None, values: SharedValues[T] | None, now: float
) -> Explanation:
    """For a cache that may be believed."""
    entry = local.find(key)
    if entry and now < entry.fresh_until and local.is_alive(entry):
        return of_memory(key, entry, "stored and fresh", now)
    why = why_not(key, entry, local, now)
    if access is None or values is None:
        return Explanation(key, "miss", why) if entry is None else missed(key, entry, why, now)
    if access.is_away:
        return Explanation(key, "miss", f"memory: {why}; the shared tier does not answer")
    return await of_shared(key, why, access, values)


def why_not(key: str, entry: Entry[T] | None, local: LocalTier[T], now: float) -> str:
    if entry is None:
        return local.why_missing(key)
    return local.why_dead(entry) or f"expired {now - entry.fresh_until:.1f} s ago"


async def of_shared(key: str, why: str, access: SharedAccess, values: SharedValues[T]) -> Explanation:
    tags = await access.tags_of(key)
    if tags is None:
        return Explanation(key, "miss", f"memory: {why}; shared tier: not there")
    if not access.is_usable(tags):
        return Explanation(key, "miss", f"memory: {why}; shared tier: it has yet to be told of a bump", tags=tags)
    consulted = await values.consult(key, tags, None)
    if consulted is None or consulted.found is None:
        return Explanation(key, "miss", f"memory: {why}; shared tier: bumped, or unreadable", tags=tags)
    found = consulted.found
    fresh = found.fresh_seconds > 0
    return Explanation(
        key,
        found.outcome if fresh else "stale",
        f"memory: {why}; shared tier: {'stored and fresh' if fresh else 'expired'}",
        "shared",
        tags,
        found.age_seconds,
        found.fresh_seconds,
        found.size_bytes,
    )


def of_memory(key: str, entry: Entry[T], why: str, now: float) -> Explanation:
    return Explanation(
        key,
        entry.outcome,
        why,
        "memory",
        entry.tags,
        now - entry.loaded_at,
        entry.fresh_until - now,
        entry.size_bytes,
    )


def missed(key: str, entry: Entry[T], why: str, now: float) -> Explanation:
    """The entry is no longer given out; how old it is may still help."""
    return Explanation(
        key,
        "miss",
        why,
        "origin",
        entry.tags,
        now - entry.loaded_at,
        entry.fresh_until - now,
        entry.size_bytes,
    )
