"""What readers get when a load ends otherwise than with a value, in virtual time."""

import asyncio

import pytest

from common.cache import RAW, Policy, open_cache
from common.core.errors import Forbidden, UpstreamUnavailable
from tests.virtual_time import in_virtual_time, now

POLICY = Policy(ttl_seconds=10, jitter=0, stale_if_error_seconds=600, retry_seconds=5)


async def value() -> bytes:
    return b"old"


async def away() -> bytes:
    raise UpstreamUnavailable("The origin is away.")


async def refused() -> bytes:
    raise Forbidden("No longer.")


@in_virtual_time
async def test_once_the_origin_has_refused_nothing_stands_in_for_it() -> None:
    async with open_cache("refusals", RAW, clock=now) as cache:
        await cache.get_or_load("k", value, policy=POLICY)
        await asyncio.sleep(11)
        assert (await cache.get_or_load("k", away, policy=POLICY)).outcome == "stale_if_error"
        await asyncio.sleep(6)
        for _ in range(2):
            with pytest.raises(Forbidden):
                await cache.get_or_load("k", refused, policy=POLICY)


@in_virtual_time
async def test_a_load_that_ends_in_no_ordinary_error_leaves_nobody_waiting() -> None:
    class Odd(BaseException): ...

    async def odd() -> bytes:
        raise Odd

    async with open_cache("odd", RAW, clock=now) as cache, asyncio.timeout(1):
        with pytest.raises(UpstreamUnavailable):
            await cache.get_or_load("k", odd, policy=POLICY)
