"""A hit in the memory tier, through the public functions, beside the peers' memory backends."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

import structlog
from aiocache import SimpleMemoryCache  # pyright: ignore[reportMissingTypeStubs] - a peer, nothing of ours
from cachetools import TTLCache
from cashews import Cache as CashewsCache

from bench.metric import Metric, Timed, side_by_side
from common.adapters.nats_bus import open_bus
from common.adapters.nats_invalidations import NatsInvalidations
from common.adapters.valkey_cache import ValkeyCache
from common.adapters.valkey_connections import open_valkey
from common.cache import RAW, Cache, Policy, open_cache
from tests.eventually import eventually
from tests.servers.nats import nats_server
from tests.servers.valkey import valkey_server

VALUE = bytes(2048)
KEYS = [f"/api/collections/posts/records/{number:015}" for number in range(1000)]
TAGS = ("posts", "users")
POLICY = Policy(ttl_seconds=3600)
READS = 50_000

Reads: TypeAlias = Callable[[Sequence[str]], Awaitable[None]]


async def measure() -> list[Metric]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with valkey_server() as valkey_url, nats_server() as nats_url:
        async with opened(valkey_url, nats_url) as cache:
            return await beside_peers(cache)


@asynccontextmanager
async def opened(valkey_url: str, nats_url: str) -> AsyncGenerator[Cache[bytes]]:
    """As a service has it: with a shared tier, a bus and a source, so that a hit checks all that it has to."""
    async with (
        open_valkey(valkey_url) as valkey,
        open_bus(nats_url, name="bench") as bus,
        open_cache(
            "bench",
            RAW,
            shared=ValkeyCache(valkey, "bench"),
            invalidations=NatsInvalidations(bus),
            sources=("records",),
        ) as cache,
    ):
        yield cache


async def beside_peers(cache: Cache[bytes]) -> list[Metric]:
    aiocache, cashews = SimpleMemoryCache(), CashewsCache()
    cashews.setup("mem://", size=10_000)
    expiring: TTLCache[str, bytes, float] = TTLCache(10_000, 3600, timer=time.monotonic)
    for key in KEYS:
        await aiocache.set(key, VALUE, ttl=3600)
        await cashews.set(key, VALUE, expire=3600)
        expiring[key] = VALUE

    async def get_or_load(keys: Sequence[str]) -> None:
        for key in keys:
            await cache.get_or_load(key, load, tags=TAGS, policy=POLICY)

    async def peek(keys: Sequence[str]) -> None:
        for key in keys:
            cache.peek(key)

    async def look_up(keys: Sequence[str]) -> None:
        for key in keys:
            expiring.get(key)

    ours, sync = hits_of(cache, get_or_load), hits_of(cache, peek)
    return [
        await compared("memory_hit_vs_aiocache", ours, timed(each(cast(Any, aiocache.get))), "aiocache memory", ">= 3"),
        await compared("memory_hit_vs_cashews", ours, timed(each(cashews.get)), "cashews mem://", ">= 3"),
        await compared("memory_peek_vs_ttlcache", sync, timed(look_up), "cachetools TTLCache (no tags, no trust)"),
    ]


async def load() -> bytes:
    return VALUE


def each(get: Callable[[str], Awaitable[object]]) -> Reads:
    async def reads(keys: Sequence[str]) -> None:
        for key in keys:
            await get(key)

    return reads


def hits_of(cache: Cache[bytes], reads: Reads) -> Timed:
    """Every read that is timed is a hit, or this fails."""
    measured = timed(reads)

    async def is_believed() -> bool:
        cache.heard("records", "bench")
        return cache.doubt() is None

    async def warm() -> float:
        await eventually(is_believed)  # the peers never yield, so that the bus may not have been heard for seconds
        for key in KEYS:
            await cache.get_or_load(key, load, tags=TAGS, policy=POLICY)
        before = cache.statistics().reads["hit", "memory"]
        rate = await measured()
        assert cache.statistics().reads["hit", "memory"] - before == READS
        return rate

    return warm


def timed(reads: Reads) -> Timed:
    """Keys come as from as many requests: Python remembers the hash of a text that it has seen."""

    async def measured() -> float:
        keys = [KEYS[number % len(KEYS)].encode().decode() for number in range(READS)]
        began = time.perf_counter()
        await reads(keys)
        return READS / (time.perf_counter() - began)

    return measured


async def compared(name: str, ours: Timed, peers: Timed, peer: str, bar: str = "") -> Metric:
    value, peer_value, ratio = await side_by_side(ours, peers)
    return Metric(name, value, "hits/s", peer, peer_value, ratio, bar)
