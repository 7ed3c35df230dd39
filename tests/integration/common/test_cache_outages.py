"""The cache on real servers, across processes, and while they are killed under load."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from common.cache import Cache, Policy
from common.core.errors import UpstreamUnavailable
from tests.eventually import eventually
from tests.servers.cache_node import node, opened
from tests.servers.nats import nats_server
from tests.servers.process import free_port
from tests.servers.valkey import valkey_server

POLICY = Policy(ttl_seconds=600)
KEYS = [str(number) for number in range(20)]


@dataclass(slots=True)
class Load:
    """Readers that never stop, and a writer; the origin is a count of the writes."""

    caches: tuple[Cache[bytes], ...]
    version: int = 0
    acknowledged: int = 0
    outcomes: Counter[str] = field(default_factory=Counter[str])
    refused_bumps: int = 0
    slowest_read_seconds: float = 0.0

    async def load(self) -> bytes:
        await asyncio.sleep(0)
        return b"%d" % self.version

    async def read_for_ever(self, number: int) -> None:
        while True:
            for cache in self.caches:
                least, began, outcomes = self.acknowledged, time.monotonic(), self.outcomes
                answer = await cache.get_or_load(KEYS[number], self.load, tags=("posts",), policy=POLICY)
                self.slowest_read_seconds = max(self.slowest_read_seconds, time.monotonic() - began)
                outcomes[f"{answer.outcome} {answer.tier}"] += 1
                assert int(answer.value or b"-1") >= least, "older than an acknowledged bump"
            await asyncio.sleep(0.005)

    async def write_for_ever(self) -> None:
        while True:
            self.version += 1
            version = self.version
            try:
                if await self.caches[0].bump("posts"):
                    self.acknowledged = version
            except UpstreamUnavailable:
                self.refused_bumps += 1
            await asyncio.sleep(0.02)

    async def shows(self, outcome: str) -> None:
        """Waits until reads have that outcome from now on."""
        self.count_anew()
        await eventually(self.count, lambda outcomes: outcomes[outcome] > 0)

    def count_anew(self) -> None:
        """Reads that begin from now on."""
        self.outcomes = Counter()

    async def bumps_go_through(self) -> None:
        before = self.acknowledged

        async def acknowledged() -> int:
            return self.acknowledged

        await eventually(acknowledged, lambda number: number > before + 2)

    async def bumps_are_refused(self) -> None:
        async def refused() -> int:
            return self.refused_bumps

        await eventually(refused, lambda number: number > 0)

    async def count(self) -> Counter[str]:
        return self.outcomes


@dataclass(slots=True)
class Server:
    """One that can be killed and started again on its port."""

    url: str
    start: Callable[[], AbstractContextManager[str]]
    running: ExitStack

    def kill(self) -> None:
        self.running.close()

    def restart(self) -> None:
        self.running.enter_context(self.start())


@contextmanager
def servers() -> Generator[tuple[Server, Server]]:
    with ExitStack() as valkey_running, ExitStack() as nats_running:
        valkey_port, nats_port = free_port(), free_port()
        valkey = Server(f"redis://127.0.0.1:{valkey_port}/0", lambda: valkey_server(valkey_port), valkey_running)
        nats = Server(f"nats://127.0.0.1:{nats_port}", lambda: nats_server(port=nats_port), nats_running)
        valkey.restart()
        nats.restart()
        yield valkey, nats


@asynccontextmanager
async def site() -> AsyncGenerator[tuple[Server, Server, Cache[bytes], Cache[bytes]]]:
    """Valkey, NATS, and two caches on them."""
    with servers() as (valkey, nats):
        async with opened(valkey.url, nats.url, "load") as one, opened(valkey.url, nats.url, "load") as two:
            yield valkey, nats, one, two


@asynccontextmanager
async def under_load(*caches: Cache[bytes]) -> AsyncGenerator[Load]:
    load = Load(caches)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(load.read_for_ever(number)) for number in range(len(KEYS))]
        tasks.append(group.create_task(load.write_for_ever()))
        yield load
        for task in tasks:
            task.cancel()


async def test_valkey_killed_under_load_leaves_memory_and_the_origin_and_comes_back_alone() -> None:
    async with site() as (valkey, _, one, two), under_load(one, two) as load:
        await load.shows("hit memory")
        await load.shows("hit shared")
        await load.bumps_go_through()
        assert load.refused_bumps == 0
        valkey.kill()
        await load.shows("miss origin")
        await load.shows("hit memory")
        await load.bumps_are_refused()
        assert one.doubt() is None
        valkey.restart()
        await load.bumps_go_through()
        await load.shows("hit shared")
    assert load.slowest_read_seconds < 2


async def both_doubt(one: Cache[bytes], two: Cache[bytes]) -> None:
    """Each counts its seconds from what it heard last."""

    async def ask() -> bool:
        return one.doubt() is not None and two.doubt() is not None

    await eventually(ask)


async def test_nats_killed_under_load_means_bypass_after_three_seconds_and_comes_back_alone() -> None:
    async with site() as (_, nats, one, two), under_load(one, two) as load:
        await load.shows("hit memory")
        await load.bumps_go_through()
        nats.kill()
        killed = time.monotonic()
        await load.shows("bypass origin")
        assert time.monotonic() - killed < 3.5
        await both_doubt(one, two)
        load.count_anew()
        await eventually(load.count, lambda outcomes: outcomes.total() > 200)
        assert set(load.outcomes) == {"bypass origin"}
        nats.restart()
        await load.bumps_go_through()
        await load.shows("hit memory")
        assert one.doubt() is two.doubt() is None


async def test_a_bump_in_one_process_counts_in_another_when_it_returns(valkey_url: str, nats_url: str) -> None:
    name = uuid4().hex
    async with opened(valkey_url, nats_url, name) as here, node(valkey_url, nats_url, name) as there:
        assert (await there.ask("read", "k", "posts"))[0] == "miss"
        bumped_ms: list[float] = []
        for _ in range(50):
            assert (await there.ask("read", "k", "posts"))[0] == "hit"
            began = time.perf_counter()
            assert await here.bump("posts")
            bumped_ms.append((time.perf_counter() - began) * 1000)
            assert (await there.ask("read", "k", "posts"))[0] == "miss"
        assert statistics.median(bumped_ms) < 100
        assert max(bumped_ms) < 1000


async def test_a_bump_in_another_process_counts_here(valkey_url: str, nats_url: str) -> None:
    name, loads = uuid4().hex, 0

    async def load() -> bytes:
        nonlocal loads
        loads += 1
        return b"%d" % loads

    async with opened(valkey_url, nats_url, name) as here, node(valkey_url, nats_url, name) as there:
        for number in range(20):
            assert (await here.get_or_load("k", load, tags=("posts",), policy=POLICY)).value == b"%d" % (number + 1)
            assert here.peek("k")
            await there.ask("bump", "posts")
            assert here.peek("k") is None


async def test_a_process_that_is_killed_holds_up_the_others_bumps_once_and_briefly(
    valkey_url: str, nats_url: str
) -> None:
    name = uuid4().hex
    async with opened(valkey_url, nats_url, name) as here, node(valkey_url, nats_url, name) as there:
        assert await here.bump("posts")
        there.process.kill()
        await there.process.wait()
        began = time.monotonic()
        assert not await here.bump("posts"), "nobody knows that it is dead rather than out of reach"
        assert time.monotonic() - began == pytest.approx(0.5, abs=0.3)
        began = time.monotonic()
        await here.bump("posts")
        assert time.monotonic() - began < 0.3
