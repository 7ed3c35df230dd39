"""What every implementation of the cache's shared tier does."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from common.cache import EVERYTHING, Lease, SharedTier
from common.core.epochs import Tags

LIFE = {"life_ms": 60_000, "stale_ms": 10_000}
LEASE, OTHERS_LEASE = Lease("mine", 60_000), Lease("another's", 60_000)


@dataclass(frozen=True, slots=True)
class Bench:
    """Two processes on one store, and what may happen to it: `forget` loses every epoch and no entry."""

    tier: SharedTier
    other: SharedTier
    forget: Callable[[], Awaitable[None]]


async def put(tier: SharedTier, key: str, tags: Tags, packed: bytes = b"value") -> None:
    stamp = (await tier.fetch(key, tags, None)).stamp
    assert await tier.store(key, tags, packed, stamp, **LIFE, lease=None)


async def found(tier: SharedTier, key: str, tags: Tags) -> bytes | None:
    return (await tier.fetch(key, tags, None)).packed


class SharedTierContract:
    """A test module derives from it and gives it a fixture `bench`."""

    async def test_what_was_stored_is_found_by_every_process_with_the_life_it_has_left(self, bench: Bench) -> None:
        await put(bench.tier, "k", ("a", "b"))
        fetched = await bench.other.fetch("k", ("a", "b"), None)
        assert fetched.packed == b"value"
        assert 50_000 < fetched.left_ms <= 60_000
        assert await bench.other.tags_of("k") == ("a", "b")

    async def test_what_was_not_stored_is_not_found_and_its_tags_stand_still(self, bench: Bench) -> None:
        first = await bench.tier.fetch("k", ("a",), None)
        second = await bench.other.fetch("k", ("a",), None)
        assert first.packed is None
        assert first.may_load
        assert first.stamp == second.stamp
        assert await bench.tier.tags_of("k") is None

    @pytest.mark.parametrize("tag", ["a", "b", EVERYTHING])
    async def test_a_bump_of_any_tag_kills_the_entry(self, bench: Bench, tag: str) -> None:
        await put(bench.tier, "k", ("a", "b"))
        await bench.other.bump((tag,))
        assert await found(bench.tier, "k", ("a", "b")) is None

    async def test_a_bump_of_another_tag_does_not(self, bench: Bench) -> None:
        await put(bench.tier, "k", ("a",))
        await bench.other.bump(("b", "c"))
        assert await found(bench.tier, "k", ("a",)) == b"value"

    @pytest.mark.parametrize("tag", ["a", EVERYTHING])
    async def test_what_was_read_before_a_bump_is_not_stored_after_it(self, bench: Bench, tag: str) -> None:
        stamp = (await bench.tier.fetch("k", ("a",), None)).stamp
        await bench.other.bump((tag,))
        assert not await bench.tier.store("k", ("a",), b"old", stamp, **LIFE, lease=None)
        await bench.tier.fetch("k", ("a",), None)
        assert not await bench.tier.store("k", ("a",), b"old", stamp, **LIFE, lease=None)
        assert await found(bench.tier, "k", ("a",)) is None

    async def test_a_lost_epoch_kills_and_never_comes_back(self, bench: Bench) -> None:
        await put(bench.tier, "k", ("a",))
        before = (await bench.tier.fetch("k", ("a",), None)).stamp
        await bench.forget()
        for process in (bench.tier, bench.other):
            fetched = await process.fetch("k", ("a",), None)
            assert fetched.packed is None
            assert fetched.stamp != before

    async def test_an_entry_is_found_only_by_those_who_name_its_tags(self, bench: Bench) -> None:
        await put(bench.tier, "k", ("a", "b"))
        for tags in [(), ("a",), ("b", "a"), ("a", "b", "c")]:
            assert await found(bench.tier, "k", tags) is None

    async def test_keys_and_tags_of_any_text_are_kept_apart(self, bench: Bench) -> None:
        long = "x" * 3000
        texts = ["a", "A", "a:b", "a b", "{a}", "a*", "\n", "é", "ä" * 200, "😀", long, long + "y", "entry:a", "#a"]
        for number, text in enumerate(texts):
            await put(bench.tier, text, (text,), b"%d" % number)
        await bench.tier.bump(("a", long))
        for number, text in enumerate(texts):
            expected = None if text in ("a", long) else b"%d" % number
            assert await found(bench.tier, text, (text,)) == expected

    async def test_entries_of_any_bytes_are_kept_as_they_are(self, bench: Bench) -> None:
        for packed in (b"", b"\x00\xff", bytes(300_000)):
            await put(bench.tier, "k", ("a",), packed)
            assert await found(bench.other, "k", ("a",)) == packed

    async def test_an_entry_ends_with_its_life(self, bench: Bench) -> None:
        stamp = (await bench.tier.fetch("k", ("a",), None)).stamp
        assert await bench.tier.store("k", ("a",), b"value", stamp, life_ms=40, stale_ms=0, lease=None)
        await asyncio.sleep(0.05)
        assert await found(bench.tier, "k", ("a",)) is None

    async def test_one_at_a_time_may_load(self, bench: Bench) -> None:
        assert (await bench.tier.fetch("k", ("a",), LEASE)).may_load
        assert (await bench.tier.fetch("k", ("a",), LEASE)).may_load
        assert not (await bench.other.fetch("k", ("a",), OTHERS_LEASE)).may_load
        assert (await bench.other.fetch("j", ("a",), OTHERS_LEASE)).may_load
        assert (await bench.other.fetch("k", ("a",), None)).may_load

    async def test_a_lease_is_given_back_by_its_holder_alone_or_by_storing(self, bench: Bench) -> None:
        stamp = (await bench.tier.fetch("k", ("a",), LEASE)).stamp
        await bench.other.give_back("k", OTHERS_LEASE)
        assert not (await bench.other.fetch("k", ("a",), OTHERS_LEASE)).may_load
        await bench.tier.give_back("k", LEASE)
        assert (await bench.other.fetch("k", ("a",), OTHERS_LEASE)).may_load
        assert await bench.tier.store("k", ("a",), b"value", stamp, **LIFE, lease=OTHERS_LEASE)
        await bench.tier.bump(("a",))
        assert (await bench.tier.fetch("k", ("a",), LEASE)).may_load

    async def test_a_lease_is_given_back_even_if_nothing_is_stored(self, bench: Bench) -> None:
        stamp = (await bench.tier.fetch("k", ("a",), LEASE)).stamp
        await bench.tier.bump(("a",))
        assert not await bench.tier.store("k", ("a",), b"old", stamp, **LIFE, lease=LEASE)
        assert (await bench.other.fetch("k", ("a",), OTHERS_LEASE)).may_load

    async def test_a_lease_ends_by_itself(self, bench: Bench) -> None:
        assert (await bench.tier.fetch("k", ("a",), Lease("mine", 40))).may_load
        await asyncio.sleep(0.05)
        assert (await bench.other.fetch("k", ("a",), OTHERS_LEASE)).may_load

    async def test_no_lease_is_taken_while_there_is_something_fresh(self, bench: Bench) -> None:
        await put(bench.tier, "k", ("a",))
        assert (await bench.tier.fetch("k", ("a",), LEASE)).may_load
        assert (await bench.other.fetch("k", ("a",), OTHERS_LEASE)).may_load

    async def test_what_is_stale_is_found_and_one_may_load_it_anew(self, bench: Bench) -> None:
        stamp = (await bench.tier.fetch("k", ("a",), None)).stamp
        assert await bench.tier.store("k", ("a",), b"value", stamp, life_ms=60_000, stale_ms=60_000, lease=None)
        assert await bench.tier.fetch("k", ("a",), LEASE) == (stamp, b"value", pytest.approx(60_000, abs=5000), True)
        assert not (await bench.other.fetch("k", ("a",), OTHERS_LEASE)).may_load

    async def test_a_bump_of_nothing_asks_for_a_sign_of_life(self, bench: Bench) -> None:
        await put(bench.tier, "k", ("a",))
        await bench.tier.bump(())
        assert await found(bench.tier, "k", ("a",)) == b"value"

    async def test_of_many_who_store_at_once_one_prevails_and_bumps_are_never_undone(self, bench: Bench) -> None:
        async def store(process: SharedTier, number: int) -> None:
            for _ in range(5):
                stamp = (await process.fetch("k", ("a",), None)).stamp
                await process.store("k", ("a",), b"%d" % number, stamp, **LIFE, lease=None)

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(store((bench.tier, bench.other)[number % 2], number))
            group.create_task(bench.tier.bump(("a",)))
        await bench.tier.bump(("a",))
        assert await found(bench.other, "k", ("a",)) is None
