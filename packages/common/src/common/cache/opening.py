"""Puts a cache together and sees to its end."""

import random
import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

from common.cache.announcer import Announcer, News
from common.cache.local_tier import LocalTier
from common.cache.metrics import observed
from common.cache.options import CacheOptions
from common.cache.owned_tasks import OwnedTasks
from common.cache.ports import Invalidations, SharedTier
from common.cache.reading import Cache, Parts
from common.cache.shared_access import SharedAccess
from common.cache.shared_values import SharedValues
from common.core.cache_frame import FrameCodec
from common.core.cached import Codec
from common.core.errors import InvalidRequest
from common.core.peers import Peers
from common.core.shared_room import SharedRoom
from common.core.trust import Trust

T = TypeVar("T")

JOIN_SECONDS = 1.0
CLOSE_SECONDS = 1.0

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@asynccontextmanager
async def open_cache(
    name: str,
    codec: Codec[T],
    *,
    shared: SharedTier | None = None,
    invalidations: Invalidations | None = None,
    sources: Iterable[str] = (),
    options: CacheOptions = CacheOptions(),  # noqa: B008 - frozen
    clock: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = random.random,
) -> AsyncGenerator[Cache[T]]:
    """A cache for as long as the block runs.

    Processes that open the same `name` on the same shared tier and bus share their entries and bumps. `sources` are
    heartbeats without which nothing stored is believed; the service hands them in with `Cache.heard`. Either of
    `shared` and `invalidations` may be away at start and at any time; this waits a second at most for the bus.

    Raises InvalidRequest for a name that is not 1 to 64 characters of `A-Z a-z 0-9 _ -`.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest("name: must be 1 to 64 characters of A-Z a-z 0-9 _ -.")
    tasks = OwnedTasks()
    local = LocalTier(name, options, size_bytes=codec.size_bytes, clock=clock)
    access = SharedAccess(shared, on_late=lambda tags: cache.tell_late(tags)) if shared else None
    frames = FrameCodec(compress_above_bytes=options.compress_above_bytes, limit_bytes=options.shared_value_bytes)
    values = SharedValues(access, codec, frames, SharedRoom(options.shared_bytes), clock) if access else None
    announcer = (
        announcer_of(name, invalidations, options, clock, lambda news: cache.hear_news(news)) if invalidations else None
    )
    trust = Trust(sources, options.silence_seconds)
    parts = Parts(local, trust, tasks, access, values, announcer)
    cache = Cache(name, parts, refreshes=options.refreshes, clock=clock, chance=chance)
    loops = OwnedTasks()
    with observed(cache):
        try:
            if access:
                loops.keep(access.tend)
            if announcer:
                loops.keep(announcer.listen)
                loops.keep(announcer.beat)
                await announcer.joined(JOIN_SECONDS)
            yield cache
        finally:
            cache.is_closed = True
            await tasks.settle(CLOSE_SECONDS)
            await tasks.close()
            await loops.close()
            if announcer:
                await announcer.say_farewell()


def announcer_of(
    name: str,
    bus: Invalidations,
    options: CacheOptions,
    clock: Callable[[], float],
    on_news: Callable[[list[News]], None],
) -> Announcer:
    me = secrets.token_hex(8)
    peers = Peers(name, me, silence_seconds=options.silence_seconds, patience_seconds=options.confirm_seconds)
    return Announcer(
        bus,
        peers,
        clock=clock,
        beat_seconds=options.beat_seconds,
        patience_seconds=options.confirm_seconds,
        on_news=on_news,
    )
