"""The shared tier in a real Valkey."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from typing import Any, cast
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from common.adapters.valkey_cache import ValkeyCache
from common.adapters.valkey_connections import open_valkey
from common.cache import EVERYTHING
from common.core.errors import UpstreamUnavailable
from infra.embedded import binaries
from tests.contracts.shared_tier import LEASE, LIFE, Bench, SharedTierContract, found, put
from tests.servers.process import directory, free_port, server


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncGenerator[Redis]:
    async with open_valkey(valkey_url) as client:
        yield client


@pytest.fixture
def name() -> str:
    return uuid4().hex


@pytest.fixture
def tier(valkey: Redis, name: str) -> ValkeyCache:
    return ValkeyCache(valkey, name)


async def keys_of(valkey: Redis, name: str, kind: str) -> list[bytes]:
    return [key async for key in cast(Any, valkey.scan_iter(f"cache:{{{name}}}:{kind}*"))]


class TestSharedTierInValkey(SharedTierContract):
    @pytest.fixture
    async def bench(self, valkey: Redis, name: str, valkey_url: str) -> AsyncGenerator[Bench]:
        async def forget() -> None:
            await valkey.delete(*await keys_of(valkey, name, "epoch"))

        async with open_valkey(valkey_url) as other:
            yield Bench(ValkeyCache(valkey, name), ValkeyCache(other, name), forget)


async def test_caches_of_different_names_know_nothing_of_each_other(valkey: Redis, name: str) -> None:
    one, two = ValkeyCache(valkey, name), ValkeyCache(valkey, name + "2")
    await put(one, "k", ("a",), b"one")
    await put(two, "k", ("a",), b"two")
    await one.bump(("a", EVERYTHING))
    assert await found(one, "k", ("a",)) is None
    assert await found(two, "k", ("a",)) == b"two"


@pytest.mark.parametrize("kind", ["entry", "epoch", "lease"])
async def test_foreign_values_under_our_keys_are_a_miss(valkey: Redis, tier: ValkeyCache, name: str, kind: str) -> None:
    await put(tier, "k", ("k",))
    key = f"cache:{{{name}}}:{kind}:k"
    await valkey.delete(key)
    await cast(Any, valkey.rpush(key, "foreign"))
    fetched = await tier.fetch("k", ("k",), LEASE)
    assert fetched.packed is None or kind == "lease"
    await tier.give_back("k", LEASE)
    assert await tier.store("k", ("k",), b"new", fetched.stamp, **LIFE, lease=LEASE)
    assert await found(tier, "k", ("k",)) == b"new"


async def test_everything_that_is_kept_expires(valkey: Redis, tier: ValkeyCache, name: str) -> None:
    await put(tier, "k", ("a",))
    await tier.fetch("j", ("b",), LEASE)
    kept = await keys_of(valkey, name, "")
    assert len(kept) == 5
    assert all([await valkey.pttl(key) > 0 for key in kept])


async def test_an_epoch_outlives_the_entries_that_bear_it(valkey: Redis, tier: ValkeyCache, name: str) -> None:
    month_ms = 30 * 24 * 3600 * 1000
    stamp = (await tier.fetch("k", ("a",), None)).stamp
    assert await tier.store("k", ("a",), b"value", stamp, life_ms=month_ms, stale_ms=0, lease=None)
    assert await valkey.pttl(f"cache:{{{name}}}:epoch:a") > month_ms - 60_000


async def test_scripts_that_the_server_forgot_are_told_again(valkey: Redis, tier: ValkeyCache) -> None:
    await put(tier, "k", ("a",))
    await valkey.script_flush()
    assert await found(tier, "k", ("a",)) == b"value"


async def test_a_server_that_comes_back_with_an_old_snapshot_brings_back_no_entry() -> None:
    """A bump may be among what it lost."""
    port = free_port()
    with directory() as home:
        command = [binaries.valkey_server(), "--bind", "127.0.0.1", "--port", str(port), "--dir", home]
        with server(command, port=port, log=home / "valkey.log", stop=signal.SIGKILL):
            async with open_valkey(f"redis://127.0.0.1:{port}/0") as client:
                tier = ValkeyCache(client, "restored")
                await put(tier, "k", ("a",))
                await cast(Any, client.save())
                await tier.bump(("a",))
        with server(command, port=port, log=home / "valkey.log", stop=signal.SIGKILL):
            async with open_valkey(f"redis://127.0.0.1:{port}/0") as client:
                tier = ValkeyCache(client, "restored")
                assert await tier.tags_of("k") == ("a",), "the entry is there"
                assert await found(tier, "k", ("a",)) is None, "and dead"


async def test_a_server_that_does_not_answer_is_given_up_in_time() -> None:
    port = free_port()
    with directory() as home:
        command = [binaries.valkey_server(), "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
        with server(command, port=port, log=home / "valkey.log") as process:
            async with open_valkey(f"redis://127.0.0.1:{port}/0") as client:
                tier = ValkeyCache(client, "stopped", timeout_seconds=0.2)
                await put(tier, "k", ("a",))
                process.send_signal(signal.SIGSTOP)
                began = asyncio.get_running_loop().time()
                with pytest.raises(UpstreamUnavailable, match="Valkey"):
                    await tier.fetch("k", ("a",), None)
                assert asyncio.get_running_loop().time() - began < 1
                process.send_signal(signal.SIGCONT)
                assert await found(tier, "k", ("a",)) == b"value"
        async with open_valkey(f"redis://127.0.0.1:{port}/0") as client:
            tier = ValkeyCache(client, "gone")
            for call in (tier.fetch("k", (), None), tier.bump(("a",)), tier.tags_of("k"), tier.give_back("k", LEASE)):
                with pytest.raises(UpstreamUnavailable, match="Valkey"):
                    await call
