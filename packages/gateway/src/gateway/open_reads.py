"""What answers reads and follows what changes them: put together apart from the rest, for it stands or falls with NATS.

Without NATS, or while it is away, every read is asked of PocketBase.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import cast

import structlog
from redis.asyncio import Redis

from common.adapters.nats_bus import Bus, open_bus
from common.adapters.nats_invalidations import NatsInvalidations
from common.adapters.valkey_cache import ValkeyCache
from common.adapters.valkey_rate_limit import ValkeyCounters
from common.cache import Cache, CacheOptions, Codec, open_cache, typed
from common.core.errors import UpstreamUnavailable
from common.limiter import open_limiter
from gateway.core.caching.kept_answer import Kept, KeptAnswer, KeptMember
from gateway.core.front_door.limits import rules_of
from gateway.limit import Limits
from gateway.reads.load import Terms
from gateway.reads.watch import SOURCE, Listing, RecordWatch
from gateway.settings import Settings

logger = structlog.get_logger(__name__)

CACHE = "gateway"
CODEC: Codec[Kept] = typed(cast(type[Kept], KeptAnswer | KeptMember))


@dataclass(frozen=True, slots=True)
class ReadGround:
    """`bus` is None where no NATS is configured."""

    bus: Bus | None
    cache: Cache[Kept]
    limits: Limits
    watch: RecordWatch
    changes: "ChangedAnswers"


class ChangedAnswers:
    """Ends the answers that a write of ours made untrue, wherever they are kept, before the write is answered."""

    def __init__(self, cache: Cache[Kept]) -> None:
        self._cache = cache

    async def written(self, collection_ids: Sequence[str]) -> None:
        """What could not be told is made up for by the cache; the write has been done."""
        try:
            await self._cache.bump(*collection_ids)
        except UpstreamUnavailable as error:
            logger.warning("other processes were not told of a write at once", error=str(error))


@asynccontextmanager
async def open_read_ground(settings: Settings, valkey: Redis, listing: Listing) -> AsyncGenerator[ReadGround]:
    rules = rules_of(settings.rate_limits)
    async with AsyncExitStack() as opened:
        bus: Bus | None = None
        if settings.nats_url:
            bus = await opened.enter_async_context(
                open_bus(settings.nats_url, name="gateway", creds=settings.nats_creds)
            )
        limiter = await opened.enter_async_context(
            open_limiter(rules, ValkeyCounters(valkey, prefix="gateway:limit:"), nodes=settings.workers)
        )
        cache: Cache[Kept] = await opened.enter_async_context(
            open_cache(
                CACHE,
                CODEC,
                shared=ValkeyCache(valkey, CACHE),
                invalidations=NatsInvalidations(bus) if bus else None,
                sources=(SOURCE,),
                options=options_of(settings),
            )
        )
        watch = RecordWatch(bus, cache, listing, settings.enriched_collections)
        yield ReadGround(bus, cache, Limits(limiter, rules), watch, ChangedAnswers(cache))


def options_of(settings: Settings) -> CacheOptions:
    silence_seconds = settings.cache_silence_seconds
    return CacheOptions(
        memory_bytes=settings.cache_memory_bytes,
        shared_bytes=settings.cache_shared_bytes,
        shared_value_bytes=settings.cache_answer_bytes,
        silence_seconds=silence_seconds,
        beat_seconds=silence_seconds / 4,
    )


def terms_of(settings: Settings) -> Terms:
    return Terms(
        settings.cache_seconds, settings.cache_stale_seconds, settings.cache_answer_bytes, settings.roll_every_seconds
    )
