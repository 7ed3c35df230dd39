"""One process's cache, or two on one store and bus, in virtual time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest

from common.cache import (
    ABSENT,
    EVERYTHING,
    RAW,
    Absent,
    Answer,
    Cache,
    CacheOptions,
    Doubt,
    Policy,
    Unstored,
    key_of,
    open_cache,
    typed,
)
from common.cache.ports import Hear
from common.core.errors import DeadlineExceeded, Forbidden, InvalidRequest, NotFound, UpstreamUnavailable
from tests.fakes.invalidations import BusServer, InMemoryInvalidations
from tests.fakes.shared_tier import InMemorySharedTier, Store
from tests.virtual_time import in_virtual_time, now

MINUTE = Policy(ttl_seconds=60, jitter=0)
TAGS = ("posts",)


@dataclass(slots=True)
class Origin:
    """Answers with the number of the call, or as told."""

    seconds: float = 0.0
    calls: int = 0
    running: int = 0
    most_running: int = 0
    error: Exception | None = None
    answers: list[Any] = field(default_factory=list[Any])

    async def __call__(self) -> bytes | Absent | Unstored[bytes]:
        self.calls += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        answer = b"%d" % self.calls
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        if self.error:
            raise self.error
        return self.answers.pop(0) if self.answers else answer


@dataclass(slots=True)
class Wire:
    """What lies between a process and its store."""

    seconds: float = 0.0
    is_cut: bool = False
    trips: int = 0

    async def __call__(self) -> None:
        self.trips += 1
        await asyncio.sleep(self.seconds)
        if self.is_cut:
            raise UpstreamUnavailable("The store cannot be reached.")


@dataclass(slots=True)
class Site:
    """Two processes, their wires and their lines."""

    one: Cache[bytes]
    two: Cache[bytes]
    store: Store
    wires: tuple[Wire, Wire]
    lines: tuple[InMemoryInvalidations, InMemoryInvalidations]


def alone(name: str = "alone", **terms: Any) -> AbstractAsyncContextManager[Cache[bytes]]:
    return open_cache(name, RAW, clock=now, chance=lambda: 0.0, **terms)


@asynccontextmanager
async def site(**options: Any) -> AsyncGenerator[Site]:
    store, server = Store(now), BusServer(lambda: 0.001)
    wires, lines = (Wire(), Wire()), (InMemoryInvalidations(server), InMemoryInvalidations(server))

    def opened(index: int) -> AbstractAsyncContextManager[Cache[bytes]]:
        shared = InMemorySharedTier(store, wires[index])
        return alone("site", shared=shared, invalidations=lines[index], options=CacheOptions(**options))

    async with opened(0) as one, opened(1) as two:
        yield Site(one, two, store, wires, lines)


async def read(
    cache: Cache[bytes], origin: Origin, policy: Policy = MINUTE, key: str = "k", tags: tuple[str, ...] = TAGS
) -> Answer[bytes]:
    return await cache.get_or_load(key, origin, tags=tags, policy=policy)


async def why(cache: Cache[bytes], key: str = "k") -> tuple[str, str]:
    explained = await cache.explain(key)
    return explained.outcome, explained.why


@in_virtual_time
async def test_what_was_loaded_is_answered_from_memory_until_it_expires() -> None:
    async with alone() as cache:
        origin = Origin()
        assert await read(cache, origin) == Answer(b"1", "miss", "origin", 0.0)
        await asyncio.sleep(59)
        assert await read(cache, origin) == Answer(b"1", "hit", "memory", 59.0)
        assert cache.peek("k") == Answer(b"1", "hit", "memory", 59.0)
        await asyncio.sleep(1)
        assert cache.peek("k") is None
        assert await why(cache) == ("miss", "expired 0.0 s ago")
        assert await read(cache, origin) == Answer(b"2", "miss", "origin", 0.0)


@in_virtual_time
async def test_a_bump_of_any_of_its_tags_kills_an_answer() -> None:
    async with alone() as cache:
        origin = Origin()
        for tag in ("posts", "users", EVERYTHING):
            await read(cache, origin, tags=("posts", "users"))
            await cache.bump("others")
            assert cache.peek("k")
            assert await cache.bump(tag)
            assert cache.peek("k") is None
        assert origin.calls == 3


@in_virtual_time
async def test_a_change_that_everybody_hears_of_kills_here_and_in_the_shared_tier_and_tells_nobody() -> None:
    async with site() as there:
        origin = Origin()
        await read(there.one, origin)
        await asyncio.sleep(0.1)
        assert (await read(there.two, origin)).tier == "shared"
        there.one.changed("posts")
        assert there.one.peek("k") is None
        await asyncio.sleep(0.1)
        assert await read(there.one, origin) == Answer(b"2", "miss", "origin", 0.0)
        assert (known := there.two.peek("k"))
        assert known.value == b"1"
        there.two.changed("posts")
        assert await read(there.two, origin) == Answer(b"3", "miss", "origin", 0.0)


@in_virtual_time
async def test_a_change_that_the_shared_tier_was_not_told_of_is_not_read_past() -> None:
    async with site() as there:
        origin = Origin()
        await read(there.one, origin)
        await asyncio.sleep(0.1)
        there.wires[0].is_cut = True
        there.one.changed("posts")
        await asyncio.sleep(1)
        assert await read(there.one, origin) == Answer(b"2", "miss", "origin", 0.0)
        there.wires[0].is_cut = False
        await asyncio.sleep(1)
        assert await read(there.two, origin) == Answer(b"3", "miss", "origin", 0.0)


@in_virtual_time
async def test_an_answer_is_not_given_to_one_who_names_other_tags() -> None:
    async with alone() as cache:
        origin = Origin()
        await read(cache, origin, tags=("posts",))
        assert (await read(cache, origin, tags=("posts", "users"))).outcome == "miss"


@in_virtual_time
async def test_absence_is_kept_for_a_time_of_its_own() -> None:
    async with alone() as cache:
        origin = Origin(answers=[ABSENT, b"there", ABSENT])
        policy = Policy(ttl_seconds=60, negative_ttl_seconds=5, jitter=0)
        assert await read(cache, origin, policy) == Answer(None, "miss", "origin", 0.0)
        await asyncio.sleep(4)
        assert await read(cache, origin, policy) == Answer(None, "negative", "memory", 4.0)
        await asyncio.sleep(1)
        assert (await read(cache, origin, policy)).value == b"there"
        await asyncio.sleep(60)
        assert (await read(cache, origin)).outcome == "miss"
        assert cache.peek("k") is None


@in_virtual_time
async def test_what_a_loader_says_is_not_to_be_stored_is_not() -> None:
    async with alone() as cache:
        origin = Origin(answers=[Unstored(b"mine")])
        assert await read(cache, origin) == Answer(b"mine", "miss", "origin", 0.0)
        assert await why(cache) == ("miss", "not stored: the loader or the policy says so")


@in_virtual_time
async def test_those_who_ask_at_one_time_share_one_load() -> None:
    async with alone() as cache:
        origin = Origin(seconds=1)
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read(cache, origin)) for _ in range(100)]
        assert origin.calls == 1
        assert {reader.result().value for reader in readers} == {b"1"}


@in_virtual_time
async def test_a_leader_who_leaves_does_not_fail_those_who_follow() -> None:
    async with alone() as cache:
        origin = Origin(seconds=1)
        leader = asyncio.create_task(read(cache, origin))
        await asyncio.sleep(0.5)
        follower = asyncio.create_task(read(cache, origin))
        await asyncio.sleep(0.1)
        leader.cancel()
        assert (await follower).value == b"1"
        assert origin.calls == 1


@in_virtual_time
async def test_a_load_that_nobody_waits_for_any_more_is_called_off() -> None:
    async with alone() as cache:
        origin = Origin(seconds=1)
        readers = [asyncio.create_task(read(cache, origin)) for _ in range(3)]
        await asyncio.sleep(0.5)
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)
        await asyncio.sleep(0)
        assert origin.running == 0
        assert (await read(cache, origin)).value == b"2"


@in_virtual_time
async def test_a_failed_load_fails_all_who_share_it_and_is_not_stored() -> None:
    async with alone() as cache:
        origin = Origin(seconds=1, error=NotFound("No such post."))
        readers = [asyncio.create_task(read(cache, origin)) for _ in range(3)]
        await asyncio.wait(readers)
        assert {str(reader.exception()) for reader in readers} == {"No such post."}
        origin.error = None
        assert (await read(cache, origin)).value == b"2"


@in_virtual_time
async def test_a_read_that_begins_after_a_bump_gets_no_load_from_before() -> None:
    async with alone() as cache:
        origin = Origin(seconds=1)
        early = asyncio.create_task(read(cache, origin))
        await asyncio.sleep(0.5)
        await cache.bump("posts")
        late = asyncio.create_task(read(cache, origin))
        assert (await early).value == b"1"
        assert cache.peek("k") is None
        assert (await late).value == b"2"
        assert cache.peek("k") == Answer(b"2", "hit", "memory", 0.0)


@in_virtual_time
async def test_bumps_during_a_slow_load_never_make_more_than_one_load_run() -> None:
    async with alone() as cache:
        origin = Origin(seconds=1)
        readers: list[asyncio.Task[Answer[bytes]]] = []
        for _ in range(10):
            readers.append(asyncio.create_task(read(cache, origin)))
            await asyncio.sleep(0.01)
            await cache.bump("posts")
        await asyncio.wait(readers)
        assert origin.calls == 2
        assert origin.most_running == 1


@in_virtual_time
async def test_a_load_that_takes_too_long_is_given_up() -> None:
    async with alone() as cache:
        origin = Origin(seconds=100)
        with pytest.raises(DeadlineExceeded, match="2 s"):
            await read(cache, origin, Policy(ttl_seconds=1, load_deadline_seconds=2))
        assert now() == 2
        assert origin.running == 0


@in_virtual_time
async def test_a_loader_that_is_cancelled_from_within_fails_those_who_wait_without_cancelling_them() -> None:
    async def load() -> bytes:
        raise asyncio.CancelledError

    async with alone() as cache:
        with pytest.raises(UpstreamUnavailable, match="called off"):
            await cache.get_or_load("k", load, policy=MINUTE)


@in_virtual_time
async def test_a_stale_answer_is_given_at_once_and_loaded_anew_behind_the_readers_back() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, stale_while_revalidate_seconds=5)
    async with alone() as cache:
        origin = Origin(seconds=1)
        await read(cache, origin, policy)
        await asyncio.sleep(12)
        for _ in range(3):
            assert await read(cache, origin, policy) == Answer(b"1", "stale", "memory", 12.0)
        await asyncio.sleep(1.5)
        assert await read(cache, origin, policy) == Answer(b"2", "hit", "memory", 0.5)
        assert origin.calls == 2
        await asyncio.sleep(15)
        assert (await read(cache, origin, policy)).outcome == "miss"


@in_virtual_time
async def test_a_stale_answer_is_never_given_across_a_bump() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, stale_while_revalidate_seconds=5, stale_if_error_seconds=50)
    async with alone() as cache:
        origin = Origin()
        await read(cache, origin, policy)
        await asyncio.sleep(12)
        await cache.bump("posts")
        assert await read(cache, origin, policy) == Answer(b"2", "miss", "origin", 0.0)
        await cache.bump("posts")
        origin.error = UpstreamUnavailable("The origin is away.")
        with pytest.raises(UpstreamUnavailable):
            await read(cache, origin, policy)


@in_virtual_time
async def test_refreshes_are_bounded_in_number() -> None:
    policy = Policy(ttl_seconds=1, jitter=0, stale_while_revalidate_seconds=100)
    async with alone(options=CacheOptions(refreshes=2)) as cache:
        origin = Origin()
        for key in "abcd":
            await read(cache, origin, policy, key)
        await asyncio.sleep(2)
        origin.seconds = 1
        for key in "abcd":
            assert (await read(cache, origin, policy, key)).outcome == "stale"
        await asyncio.sleep(0.5)
        assert origin.running == 2
        await asyncio.sleep(1)
        assert [(await read(cache, origin, policy, key)).outcome for key in "abcd"] == ["hit", "hit", "stale", "stale"]


@in_virtual_time
async def test_what_expired_stands_in_for_an_origin_that_is_away_and_is_marked() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, stale_if_error_seconds=100, retry_seconds=5)
    async with alone() as cache:
        origin = Origin()
        await read(cache, origin, policy)
        origin.error = ConnectionRefusedError()
        await asyncio.sleep(20)
        assert await read(cache, origin, policy) == Answer(b"1", "stale_if_error", "memory", 20.0)
        await asyncio.sleep(4)
        assert (await read(cache, origin, policy)).outcome == "stale_if_error"
        assert origin.calls == 2, "it is not asked again at once"
        await asyncio.sleep(1)
        assert (await read(cache, origin, policy)).outcome == "stale_if_error"
        assert origin.calls == 3
        origin.error = None
        await asyncio.sleep(5)
        assert (await read(cache, origin, policy)).outcome == "miss"
        origin.error = ConnectionRefusedError()
        await asyncio.sleep(110)
        with pytest.raises(ConnectionRefusedError):
            await read(cache, origin, policy)
        assert await why(cache) == ("miss", "expired 100.0 s ago")


@in_virtual_time
async def test_an_answer_of_the_origin_is_never_replaced_even_if_it_is_a_refusal() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, stale_if_error_seconds=100)
    async with alone() as cache:
        origin = Origin()
        await read(cache, origin, policy)
        await asyncio.sleep(20)
        origin.error = NotFound("Gone.")
        with pytest.raises(NotFound):
            await read(cache, origin, policy)


@in_virtual_time
async def test_what_was_bumped_stands_in_only_where_the_policy_says_so() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, stale_if_error_seconds=100, stale_if_error_serves="bumped")
    async with alone() as cache:
        origin = Origin()
        await read(cache, origin, policy)
        await cache.bump("posts")
        origin.error = UpstreamUnavailable("The origin is away.")
        assert (await read(cache, origin, policy)).outcome == "stale_if_error"


@in_virtual_time
async def test_what_is_asked_for_often_and_loads_slowly_is_kept_longer() -> None:
    policy = Policy(ttl_seconds=10, max_ttl_seconds=110, jitter=0)
    async with alone() as cache:
        origin = Origin(seconds=0.1)
        await read(cache, origin, policy)
        for _ in range(10):
            await read(cache, origin, policy)
            await asyncio.sleep(1)
        await read(cache, origin, policy)
        assert (await cache.explain("k")).ttl_left_seconds == pytest.approx(60), "a hit a second, 0.1 s each: half way"


@in_virtual_time
async def test_memory_is_bounded_and_what_has_no_room_is_explained() -> None:
    async with alone(options=CacheOptions(memory_bytes=16_000)) as cache:
        origin = Origin(answers=[bytes(1000) for _ in range(30)])
        for number in range(30):
            await read(cache, origin, key=str(number))
        statistics = cache.statistics()
        assert statistics.memory_bytes <= 16_000
        assert statistics.entries + statistics.evictions == 30
        assert await why(cache, "0") == ("miss", "evicted to make room")
        assert await why(cache, "never") == ("miss", "never stored")
        origin.answers = [bytes(5000)]
        assert (await read(cache, origin)).outcome == "miss"
        assert "2000 are allowed" in (await why(cache))[1]


@in_virtual_time
async def test_an_explanation_names_tags_age_and_size_and_the_tag_that_was_bumped() -> None:
    async with alone() as cache:
        await read(cache, Origin())
        await asyncio.sleep(5)
        explained = await cache.explain("k")
        assert (explained.outcome, explained.tier, explained.tags) == ("hit", "memory", TAGS)
        assert (explained.age_seconds, explained.ttl_left_seconds) == (5, 55)
        assert explained.size_bytes
        await cache.bump("posts")
        assert await why(cache) == ("miss", "the tag 'posts' was bumped, or forgotten for want of room")


@in_virtual_time
async def test_a_source_that_is_silent_for_three_seconds_makes_everything_a_bypass() -> None:
    async with alone(sources=("records",)) as cache:
        origin = Origin()
        assert (await read(cache, origin)).outcome == "bypass"
        assert await why(cache) == ("bypass", "records has not been heard yet: nothing stored is believed")
        cache.heard("records", "e1")
        await read(cache, origin)
        await asyncio.sleep(2.9)
        assert (await read(cache, origin)).outcome == "hit"
        await asyncio.sleep(0.1)
        assert cache.peek("k") is None
        assert cache.doubt() == Doubt("records", 3.0)
        assert (await read(cache, origin)).outcome == "bypass"
        cache.heard("records", "e1")
        assert cache.peek("k") is None
        assert await why(cache) == ("miss", "everything was dropped: records came back after 3.0 s of silence")


@in_virtual_time
async def test_a_source_that_begins_anew_empties_the_cache() -> None:
    async with alone(sources=("records",)) as cache:
        cache.heard("records", "e1")
        await read(cache, Origin())
        cache.heard("records", "e1")
        assert cache.peek("k")
        cache.heard("records", "e2")
        assert cache.peek("k") is None


@in_virtual_time
async def test_while_nothing_is_believed_nobody_is_given_a_load_that_began_before_he_asked() -> None:
    async with alone(sources=("records",)) as cache:
        origin = Origin(seconds=1)
        early = asyncio.create_task(read(cache, origin))
        await asyncio.sleep(0.5)
        late = [asyncio.create_task(read(cache, origin)) for _ in range(10)]
        await asyncio.wait([early, *late])
        assert {reader.result().value for reader in late} == {b"2"}
        assert origin.most_running == 1
        assert cache.statistics().entries == 0


@in_virtual_time
async def test_what_cannot_be_verified_stands_in_where_the_policy_says_so() -> None:
    careful = Policy(ttl_seconds=10, jitter=0, stale_if_error_seconds=100)
    lenient = Policy(ttl_seconds=10, jitter=0, stale_if_error_seconds=100, stale_if_error_serves="unverified")
    async with alone(sources=("records",)) as cache:
        origin = Origin()
        cache.heard("records", "e1")
        await read(cache, origin)
        await asyncio.sleep(5)
        origin.error = UpstreamUnavailable("The origin is away.")
        with pytest.raises(UpstreamUnavailable):
            await read(cache, origin, careful)
        assert (await read(cache, origin, lenient)).outcome == "stale_if_error"


@in_virtual_time
async def test_another_process_finds_in_the_shared_tier_what_one_has_loaded() -> None:
    async with site() as here:
        origin = Origin()
        await read(here.one, origin)
        await asyncio.sleep(10)
        assert await read(here.two, origin) == Answer(b"1", "hit", "shared", 10.0)
        assert await read(here.two, origin) == Answer(b"1", "hit", "memory", 10.0)
        assert (await here.two.explain("k")).ttl_left_seconds == 50


@in_virtual_time
async def test_a_bump_that_has_returned_counts_in_every_process() -> None:
    async with site() as here:
        origin = Origin()
        for _ in range(20):
            await read(here.one, origin)
            await read(here.two, origin)
            assert await here.one.bump("posts")
            assert here.two.peek("k") is None
            assert (await read(here.two, origin)).outcome == "miss"
        assert origin.calls == 21


@in_virtual_time
async def test_an_explanation_tells_of_both_tiers() -> None:
    async with site() as here:
        origin = Origin()
        assert await why(here.two) == ("miss", "memory: never stored; shared tier: not there")
        await read(here.one, origin, Policy(ttl_seconds=10, jitter=0, stale_if_error_seconds=10))
        explained = await here.two.explain("k")
        assert (explained.outcome, explained.tier) == ("hit", "shared")
        assert explained.why == "memory: never stored; shared tier: stored and fresh"
        assert (explained.tags, explained.ttl_left_seconds) == (TAGS, 10)
        await asyncio.sleep(15)
        assert await why(here.two) == ("stale", "memory: never stored; shared tier: expired")
        await here.one.bump("posts")
        assert await why(here.two) == ("miss", "memory: never stored; shared tier: bumped, or unreadable")
        here.wires[1].is_cut = True
        await read(here.two, origin, key="x")
        await read(here.two, origin, key="y")
        assert await why(here.two, "z") == ("miss", "memory: never stored; the shared tier does not answer")
        with pytest.raises(UpstreamUnavailable):
            await here.two.bump("posts")


@in_virtual_time
async def test_an_entry_that_cannot_be_read_is_a_miss() -> None:
    async with site() as here:
        origin = Origin()
        await read(here.one, origin)
        here.store.entries["k"].packed = b"nonsense"
        assert (await read(here.two, origin)).outcome == "miss"
        await read(here.one, origin, key="j")
        here.store.entries["j"].packed = here.store.entries["j"].packed[:-1]
        assert (await read(here.two, origin, key="j")).outcome == "miss"


@in_virtual_time
async def test_values_of_a_type_are_handed_out_as_they_are_and_written_as_messagepack() -> None:
    store = Store(now)

    async def load() -> dict[str, int]:
        return {"posts": 3}

    async def unlike() -> list[int]:
        return [3]

    async with (
        open_cache("typed", typed(dict[str, int]), shared=InMemorySharedTier(store), clock=now) as one,
        open_cache("typed", typed(dict[str, int]), shared=InMemorySharedTier(store), clock=now) as two,
        open_cache("typed", typed(list[int]), shared=InMemorySharedTier(store), clock=now) as three,
    ):
        loaded = await one.get_or_load("k", load, policy=MINUTE)
        assert (await two.get_or_load("k", load, policy=MINUTE)) == Answer({"posts": 3}, "hit", "shared", 0.0)
        again = await one.get_or_load("k", load, policy=MINUTE)
        assert again.value is loaded.value
        assert (await three.get_or_load("k", unlike, policy=MINUTE)).outcome == "miss"


@in_virtual_time
async def test_a_stale_answer_of_the_shared_tier_is_given_and_loaded_anew_once() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, stale_while_revalidate_seconds=20)
    async with site() as here:
        origin = Origin()
        await read(here.one, origin, policy)
        await asyncio.sleep(15)
        origin.seconds = 1
        assert await read(here.two, origin, policy) == Answer(b"1", "stale", "shared", 15.0)
        assert await read(here.two, origin, policy) == Answer(b"1", "stale", "memory", 15.0)
        await asyncio.sleep(1.1)
        assert (await read(here.two, origin, policy)).value == b"2"
        assert origin.calls == 2


@in_virtual_time
async def test_what_the_shared_tier_holds_stands_in_for_the_origin_too() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, stale_if_error_seconds=20)
    async with site() as here:
        origin = Origin()
        await read(here.one, origin, policy)
        await asyncio.sleep(15)
        origin.error = UpstreamUnavailable("The origin is away.")
        assert await read(here.two, origin, policy) == Answer(b"1", "stale_if_error", "memory", 15.0)
        await asyncio.sleep(15)
        with pytest.raises(UpstreamUnavailable):
            await read(here.two, origin, policy)


@in_virtual_time
async def test_one_process_may_load_for_all() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, one_load_across_processes=True)
    async with site() as here:
        origin = Origin(seconds=1)
        first = asyncio.create_task(read(here.one, origin, policy))
        second = asyncio.create_task(read(here.two, origin, policy))
        outcomes = {(await first).outcome, (await second).outcome}
        assert outcomes == {"miss", "hit"}
        assert origin.calls == 1
        assert now() < 1.5


@in_virtual_time
async def test_when_the_one_that_loads_fails_another_takes_over() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, one_load_across_processes=True)
    async with site() as here:
        origin, failing = Origin(seconds=1), Origin(seconds=1, error=NotFound("No."))
        first = asyncio.create_task(read(here.one, failing, policy))
        await asyncio.sleep(0.5)
        second = asyncio.create_task(read(here.two, origin, policy))
        with pytest.raises(NotFound):
            await first
        assert (await second).value == b"1"
        assert now() < 2.5


@in_virtual_time
async def test_when_the_one_that_loads_leaves_another_takes_over() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, one_load_across_processes=True)
    async with site() as here:
        first = asyncio.create_task(read(here.one, Origin(seconds=1), policy))
        await asyncio.sleep(0.5)
        second = asyncio.create_task(read(here.two, Origin(seconds=1), policy))
        await asyncio.sleep(0.1)
        first.cancel()
        assert (await second).value == b"1"
        assert now() < 2.0


@in_virtual_time
async def test_nobody_waits_for_another_process_longer_than_for_his_own_load() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, one_load_across_processes=True, load_deadline_seconds=3)
    async with site() as here:
        first = asyncio.create_task(read(here.one, Origin(seconds=2), policy))
        await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        here.wires[0].is_cut = True
        second = await read(here.two, Origin(), policy)
        assert second.value == b"1"
        assert now() == pytest.approx(3.1, abs=0.3)
        await first


@in_virtual_time
async def test_a_shared_tier_that_is_away_is_a_miss_that_costs_no_time() -> None:
    async with site() as here:
        origin = Origin()
        here.wires[0].is_cut, here.wires[0].seconds = True, 0.5
        began = now()
        for number in range(100):
            assert (await read(here.one, origin, key=str(number))).outcome == "miss"
        assert now() - began < 1.1, "two reads wait for it; the others are told that it is away"
        assert here.one.peek("0"), "memory goes on"
        here.wires[0].is_cut, here.wires[0].seconds = False, 0.0
        await asyncio.sleep(1)
        await read(here.one, origin, key="x")
        assert (await read(here.two, origin, key="x")).tier == "shared"


@in_virtual_time
async def test_a_bump_that_the_shared_tier_did_not_take_raises_counts_in_memory_and_is_made_up_for() -> None:
    async with site() as here:
        origin = Origin()
        await read(here.one, origin)
        await read(here.two, origin)
        here.wires[0].is_cut = True
        with pytest.raises(UpstreamUnavailable, match="shared cache tier"):
            await here.one.bump("posts")
        assert here.one.peek("k") is None
        assert here.two.peek("k") is None
        assert (await read(here.two, origin)).value == b"2"
        here.wires[0].is_cut = False
        await asyncio.sleep(1)
        await here.two.bump("others")
        assert (await read(here.one, origin)).value in (b"2", b"3")
        assert origin.calls <= 3


@in_virtual_time
async def test_one_who_never_heard_that_the_shared_tier_was_not_told_is_told_when_it_is() -> None:
    async with site() as here:
        await asyncio.sleep(1)
        await read(here.one, Origin())
        here.wires[0].is_cut = here.lines[1].is_cut = True
        with pytest.raises(UpstreamUnavailable, match="shared cache tier"):
            await here.one.bump("posts")
        here.lines[1].is_cut = False
        await asyncio.sleep(1.1)
        assert (await read(here.two, Origin())).tier == "shared", "nobody told it"
        here.wires[0].is_cut = False
        await asyncio.sleep(0.5)
        assert here.two.peek("k") is None


@in_virtual_time
async def test_a_restarted_source_costs_each_process_its_own_memory_only() -> None:
    store, server = Store(now), BusServer()

    def opened(**terms: Any) -> AbstractAsyncContextManager[Cache[bytes]]:
        return alone("s", shared=InMemorySharedTier(store), invalidations=InMemoryInvalidations(server), **terms)

    async with opened() as one:
        await read(one, Origin())
        async with opened(sources=("records",)) as two:
            two.heard("records", "e1")
            await asyncio.sleep(0.1)
            assert one.peek("k")
            assert (await read(two, Origin())).outcome == "miss", "what was shared before may have missed changes"


@in_virtual_time
async def test_a_bump_that_the_bus_did_not_take_raises_and_the_others_notice_when_it_is_back() -> None:
    async with site() as here:
        origin = Origin()
        await asyncio.sleep(1)
        await read(here.one, origin)
        await read(here.two, origin)
        here.lines[0].is_cut = True
        with pytest.raises(UpstreamUnavailable, match="line is cut"):
            await here.one.bump("posts")
        assert here.one.peek("k") is None
        here.lines[0].is_cut = False
        await asyncio.sleep(1.1)
        assert here.two.peek("k") is None
        assert await why(here.two) == (
            "miss",
            "memory: everything was dropped: a bump of another process was lost; shared tier: bumped, or unreadable",
        )


@in_virtual_time
async def test_a_bump_that_vanished_on_its_way_raises() -> None:
    async with site() as here:
        here.lines[0].is_cut = here.lines[0].is_leaky = True
        with pytest.raises(UpstreamUnavailable, match="within a second"):
            await here.one.bump("posts")


@in_virtual_time
async def test_a_process_that_the_bus_does_not_reach_bypasses_after_three_seconds_and_comes_back_alone() -> None:
    async with site() as here:
        origin = Origin()
        await read(here.two, origin)
        here.lines[1].is_cut = True
        await asyncio.sleep(3.1)
        assert here.two.doubt()
        assert (await read(here.two, origin)).outcome == "bypass"
        assert (await why(here.two))[1].startswith("the bus has been silent for 3.")
        began = now()
        with pytest.raises(UpstreamUnavailable):
            await here.two.bump("posts")
        assert now() - began < 0.1, "what is known to be away is not waited for"
        here.lines[1].is_cut = False
        await asyncio.sleep(1.1)
        assert here.two.doubt() is None
        assert here.two.peek("k") is None
        assert (await read(here.two, origin)).outcome == "miss"
        assert (await read(here.one, origin)).tier == "shared"


@in_virtual_time
async def test_an_interruption_however_short_costs_the_memory_and_a_moment() -> None:
    async with site() as here:
        await asyncio.sleep(1)
        await read(here.two, Origin())
        here.lines[1].is_cut = True
        await asyncio.sleep(0.2)
        assert here.two.peek("k"), "it may go on for three seconds"
        here.lines[1].is_cut = False
        assert here.two.doubt()
        assert here.two.peek("k") is None
        await asyncio.sleep(0.1)
        assert here.two.doubt() is None


@in_virtual_time
async def test_a_bump_waits_no_longer_than_told_for_a_process_that_does_not_confirm_and_says_so() -> None:
    async with site(confirm_seconds=0.5) as here:
        await asyncio.sleep(1)
        here.lines[1].is_cut = True
        began = now()
        assert not await here.one.bump("posts")
        assert now() - began == pytest.approx(0.5, abs=0.1)
        began = now()
        await here.one.bump("posts")
        assert now() - began < 0.1, "once excused it is not waited for again"


@in_virtual_time
async def test_a_bump_that_must_be_certain_waits_until_the_silent_process_bypasses() -> None:
    async with site(confirm_seconds=3.5) as here:
        await read(here.two, Origin())
        await asyncio.sleep(1)
        here.lines[1].is_cut = True
        assert await here.one.bump("posts")
        assert here.two.peek("k") is None


@in_virtual_time
async def test_a_bump_goes_on_when_its_caller_leaves() -> None:
    async with site() as here:
        await asyncio.sleep(1)
        await read(here.two, Origin())
        here.wires[0].seconds = 0.2
        bumping = asyncio.create_task(here.one.bump("posts"))
        await asyncio.sleep(0.1)
        bumping.cancel()
        with suppress(asyncio.CancelledError):
            await bumping
        await asyncio.sleep(0.5)
        assert here.two.peek("k") is None


@in_virtual_time
async def test_a_process_that_ends_in_order_is_not_missed() -> None:
    async with site() as here:
        origin = Origin()
        await read(here.one, origin)
        line = InMemoryInvalidations(here.lines[0]._server)
        async with alone("site", invalidations=line):
            await asyncio.sleep(1)
        began = now()
        assert await here.one.bump("others")
        assert now() - began < 0.1
        await asyncio.sleep(5)
        assert here.one.peek("k")


@in_virtual_time
async def test_a_cache_that_closes_ends_its_loads_and_answers_nothing_more() -> None:
    async with alone() as cache:
        origin = Origin(seconds=100)
        waiting = asyncio.create_task(read(cache, origin))
        await asyncio.sleep(0.1)
    with pytest.raises(UpstreamUnavailable, match="called off"):
        await waiting
    assert origin.running == 0
    with pytest.raises(UpstreamUnavailable, match="closed"):
        await read(cache, origin)
    with pytest.raises(UpstreamUnavailable, match="closed"):
        await cache.bump("posts")
    assert len(asyncio.all_tasks()) == 1


@in_virtual_time
async def test_a_cache_opens_without_its_bus_and_bypasses_until_it_comes() -> None:
    line = InMemoryInvalidations(BusServer())
    line.is_cut = True
    async with alone(invalidations=line) as cache:
        assert now() == 1
        origin = Origin()
        assert (await read(cache, origin)).outcome == "bypass"
        line.is_cut = False
        await asyncio.sleep(1.1)
        assert (await read(cache, origin)).outcome == "miss"
        assert (await read(cache, origin)).outcome == "hit"


@in_virtual_time
async def test_what_cannot_be_read_on_the_bus_drops_everything() -> None:
    server = BusServer()
    other = InMemoryInvalidations(server)
    async with alone(invalidations=InMemoryInvalidations(server)) as cache:
        for data in (b"nonsense", b'{"v":2}', b'{"v":1,"cache":7}', b"", b"\xff" * 100):
            await read(cache, Origin())
            assert cache.peek("k")
            await other.publish(data)
            await asyncio.sleep(0.01)
            assert cache.peek("k") is None
            assert cache.doubt() is None


@in_virtual_time
async def test_a_listener_that_is_refused_is_tried_again() -> None:
    class Refused(InMemoryInvalidations):
        tries = 0

        async def listen(self, hear: Hear) -> None:
            self.tries += 1
            if self.tries < 3:
                raise Forbidden("No subscription.")
            await super().listen(hear)

    line = Refused(BusServer())
    async with alone(invalidations=line) as cache:
        assert (await read(cache, Origin())).outcome == "bypass"
        await asyncio.sleep(3)
        assert cache.doubt() is None


@in_virtual_time
async def test_a_loop_that_fails_is_begun_again() -> None:
    class Faulty(InMemoryInvalidations):
        is_faulty = False

        async def publish(self, data: bytes) -> None:
            if self.is_faulty:
                raise ZeroDivisionError
            await super().publish(data)

    line = Faulty(BusServer())
    async with alone(invalidations=line) as cache:
        line.is_faulty = True
        await asyncio.sleep(5)
        assert cache.doubt()
        line.is_faulty = False
        await asyncio.sleep(3)
        assert cache.doubt() is None


@in_virtual_time
async def test_a_refresh_that_fails_is_not_repeated_at_once() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, stale_while_revalidate_seconds=50, retry_seconds=5)
    async with alone() as cache:
        origin = Origin()
        await read(cache, origin, policy)
        await asyncio.sleep(15)
        origin.error = NotFound("Gone.")
        for _ in range(10):
            assert (await read(cache, origin, policy)).outcome == "stale"
            await asyncio.sleep(0.1)
        assert origin.calls == 2
        await asyncio.sleep(5)
        assert (await read(cache, origin, policy)).outcome == "stale"
        await asyncio.sleep(0)
        assert origin.calls == 3


@in_virtual_time
async def test_a_loader_that_returns_nothing_is_a_bug() -> None:
    async with alone() as cache:
        with pytest.raises(TypeError, match="ABSENT"):
            await read(cache, Origin(answers=[None]))


@in_virtual_time
async def test_a_timeout_of_the_loaders_own_is_the_origin_being_away() -> None:
    policy = Policy(ttl_seconds=10, jitter=0, stale_if_error_seconds=50)
    async with alone() as cache:
        origin = Origin(error=TimeoutError("the origin's"))
        with pytest.raises(TimeoutError, match="origin"):
            await read(cache, origin, policy)
        origin.error = None
        await read(cache, origin, policy)
        await asyncio.sleep(15)
        origin.error = TimeoutError()
        assert (await read(cache, origin, policy)).outcome == "stale_if_error"


@in_virtual_time
async def test_a_bump_that_is_under_way_when_the_cache_closes_says_that_it_was_not_finished() -> None:
    line = InMemoryInvalidations(BusServer())
    slow = Wire(seconds=5)
    async with alone(shared=InMemorySharedTier(Store(now), slow), invalidations=line) as cache:
        bumping = asyncio.create_task(cache.bump("posts"))
        await asyncio.sleep(0.1)
    with pytest.raises(UpstreamUnavailable, match="closed"):
        await bumping


@in_virtual_time
async def test_a_value_too_large_for_the_shared_tier_stays_in_memory() -> None:
    async with site(shared_value_bytes=100) as here:
        origin = Origin(answers=[bytes(101)])
        await read(here.one, origin)
        assert here.one.peek("k")
        assert here.store.entries == {}


@in_virtual_time
async def test_one_process_takes_no_more_of_the_shared_tier_than_its_room() -> None:
    async with site(shared_bytes=10_000) as here:
        for number in range(100):
            await read(here.one, Origin(answers=[bytes(range(256)) * 4]), key=f"k{number}")
            assert here.one.peek(f"k{number}")
        assert 0 < len(here.store.entries) < 10
        await read(here.two, Origin(), key="of another")
        assert "of another" in here.store.entries
        await asyncio.sleep(61)
        await read(here.one, Origin(), key="later")
        assert "later" in here.store.entries


@in_virtual_time
async def test_very_many_bumps_that_the_shared_tier_was_not_told_of_become_one_of_everything() -> None:
    async with site() as here:
        await read(here.one, Origin(), key="other", tags=("others",))
        here.wires[0].is_cut = here.lines[0].is_cut = True
        for number in range(5000):
            with suppress(UpstreamUnavailable):
                await here.one.bump(str(number))
        here.wires[0].is_cut = here.lines[0].is_cut = False
        await asyncio.sleep(5)
        assert (await read(here.two, Origin(), key="other", tags=("others",))).outcome == "miss"
        assert (await read(here.one, Origin(), key="other", tags=("others",))).tier == "shared"


@in_virtual_time
async def test_while_the_shared_tier_is_owed_a_bump_it_is_not_asked_and_an_explanation_says_so() -> None:
    async with site() as here:
        origin = Origin()
        await read(here.one, origin)
        here.wires[0].is_cut, here.wires[1].seconds = True, 0.2
        explaining = asyncio.create_task(here.two.explain("k"))
        reading = asyncio.create_task(read(here.two, origin))
        await asyncio.sleep(0.3)
        with pytest.raises(UpstreamUnavailable):
            await here.one.bump("posts")
        assert (await explaining).why == "memory: never stored; shared tier: it has yet to be told of a bump"
        await reading
        assert here.two.peek("k") is None
        trips = here.wires[0].trips
        await read(here.one, origin)
        assert here.wires[0].trips == trips


@in_virtual_time
async def test_a_shared_tier_with_a_bug_harms_no_answer() -> None:
    class Faulty(InMemorySharedTier):
        async def store(self, *_: Any, **__: Any) -> bool:
            raise ZeroDivisionError

    async with alone(shared=Faulty(Store(now))) as cache:
        assert (await read(cache, Origin())).outcome == "miss"
        await asyncio.sleep(0.1)
        assert cache.peek("k")


@in_virtual_time
async def test_malformed_questions_are_refused_by_name() -> None:
    async with alone() as cache:
        origin = Origin()
        bad_tags: list[Any] = [["posts"], "posts", ("",), ("*",), ("x" * 513,), ("\ud800",), tuple(map(str, range(65)))]
        for tags in bad_tags:
            with pytest.raises(InvalidRequest, match="tags"):
                await read(cache, origin, tags=tags)
        bad_keys: list[Any] = ["", "x" * 4097, "\ud800", 7, None]
        for key in bad_keys:
            with pytest.raises(InvalidRequest, match="key"):
                await read(cache, origin, key=key)
        for tags in [(), ("",), ("\ud800",)]:
            with pytest.raises(InvalidRequest, match="tags"):
                await cache.bump(*tags)
        with pytest.raises(InvalidRequest, match="source"):
            cache.heard("rumours", "e1")
        assert origin.calls == 0


@pytest.mark.parametrize("name", ["", "a:b", "a b", "x" * 65, "{a}"])
@in_virtual_time
async def test_a_name_that_would_not_fit_into_keys_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="name"):
        async with alone(name):
            pass


@pytest.mark.parametrize(
    ("field", "value"), [("memory_bytes", 0), ("refreshes", -1), ("silence_seconds", 0.0), ("beat_seconds", 2.0)]
)
def test_options_that_make_no_sense_are_refused_by_name(field: str, value: float) -> None:
    options: dict[str, Any] = {field: value}
    with pytest.raises(InvalidRequest, match=field):
        CacheOptions(**options)


@in_virtual_time
async def test_a_loader_that_returns_what_the_cache_does_not_hold_is_a_bug_told_to_its_caller() -> None:
    async with alone() as cache:
        with pytest.raises(TypeError, match="int"):
            await read(cache, Origin(answers=[7]))


@in_virtual_time
async def test_prometheus_is_told_of_every_open_cache_and_of_no_closed_one() -> None:
    async with alone("metered") as cache:
        await read(cache, Origin())
        await read(cache, Origin())
        await cache.bump("posts")
        told = generate_latest(REGISTRY).decode()
    assert 'cache_reads_total{cache="metered",outcome="miss",tier="origin"} 1.0' in told
    assert 'cache_reads_total{cache="metered",outcome="hit",tier="memory"} 1.0' in told
    assert 'cache_bumps_total{cache="metered"} 1.0' in told
    assert 'cache_is_trusted{cache="metered"} 1.0' in told
    assert "metered" not in generate_latest(REGISTRY).decode()


def test_different_texts_never_make_the_same_key() -> None:
    parts = [
        ("a", "b"),
        ("a:b",),
        ("a\\", "b"),
        ("a\\:b",),
        ("a", "", "b"),
        ("a", "b", ""),
        ("", "a", "b"),
        ("a\\:", "b"),
    ]
    assert len({key_of(*part) for part in parts}) == len(parts)
