"""No read gets what is older than a bump it knows of, whatever the order of things and whatever breaks.

Several processes share one store and one bus, in virtual time. They read, write, bump, are cancelled, crash and join;
the store forgets, is restored from an older snapshot or cannot be reached; lines are cut and leak. Every read is
compared with the writes that were acknowledged before it began.
"""

import asyncio
import itertools
import random
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from common.cache import ABSENT, Absent, Cache, CacheOptions, Policy, Unstored, open_cache, typed
from common.core.errors import UpstreamUnavailable
from tests import virtual_time
from tests.fakes.invalidations import BusServer, InMemoryInvalidations
from tests.fakes.shared_tier import InMemorySharedTier, Store, StoredEntry

PROCESSES = 3
VISITORS = 8
RUN_SECONDS = 8.0
HEALING_SECONDS = 12.0
LONGEST_LEG_SECONDS = 0.1
SETTLED_SECONDS = 3.0
"""A bump counts everywhere if its process has known the others for that long: see `Cache.bump`."""

COLLECTIONS = ("a", "b", "c")
WRITTEN_TO = ("a", "a", "a", "a", "b", "b", "c")
KEYS: dict[str, tuple[str, ...]] = {"a": ("a",), "b": ("b",), "c": ("c",), "ab": ("a", "b"), "abc": ("a", "b", "c")}
POLICIES = (
    Policy(ttl_seconds=1000),
    Policy(ttl_seconds=0.5, stale_while_revalidate_seconds=30, negative_ttl_seconds=5),
    Policy(ttl_seconds=1, max_ttl_seconds=50, stale_if_error_seconds=1000, one_load_across_processes=True),
    Policy(ttl_seconds=2, shared=False, negative_ttl_seconds=1),
)

Versions = dict[str, int]


class Fault(NamedTuple):
    at: float
    kind: Literal["cut", "leak", "unreachable", "forget", "save", "restore", "wipe", "crash"]
    process: int
    what: int
    seconds: float


@dataclass(slots=True)
class Process:
    number: int
    began: float
    line: InMemoryInvalidations
    cache: Cache[Versions]
    unreachable: bool = False


@dataclass(slots=True)
class Bumped:
    collection: str
    version: int
    process: Process
    called_at: float
    acknowledged_at: float | None = None


@dataclass(slots=True)
class World:
    seed: int
    options: CacheOptions
    chance: random.Random = field(init=False)
    store: Store = field(init=False)
    saved: tuple[dict[str, StoredEntry], dict[str, int]] = field(default_factory=lambda: ({}, {}))
    server: BusServer = field(init=False)
    processes: list[Process] = field(default_factory=list[Process])
    written: Versions = field(default_factory=lambda: dict.fromkeys(COLLECTIONS, 0))
    bumps: list[Bumped] = field(default_factory=list[Bumped])
    crashes: int = 0
    reads: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.store = Store(virtual_time.now)
        self.server = BusServer(self.leg_seconds)

    def leg_seconds(self) -> float:
        return self.chance.choice((0.0, 0.0001, 0.001, 0.01, LONGEST_LEG_SECONDS))

    async def join(self, closing: AsyncExitStack, number: int) -> Process:
        async def trip() -> None:
            await asyncio.sleep(self.leg_seconds())
            if process and process.unreachable:
                raise UpstreamUnavailable("The store cannot be reached.")

        process: Process | None = None
        line = InMemoryInvalidations(self.server)
        opened = open_cache(
            "model",
            typed(dict[str, int]),
            shared=InMemorySharedTier(self.store, trip),
            invalidations=line,
            options=self.options,
            clock=virtual_time.now,
            chance=self.chance.random,
        )
        process = Process(number, virtual_time.now(), line, await closing.enter_async_context(opened))
        self.processes.append(process)
        return process

    async def load(self, key: str) -> Versions | Absent | Unstored[Versions]:
        await asyncio.sleep(self.leg_seconds())
        seen = {collection: self.written[collection] for collection in KEYS[key]}
        await asyncio.sleep(self.chance.choice((0.0, 0.001, 0.05, 0.5)))
        if self.chance.random() < 0.1:
            raise UpstreamUnavailable("The origin is away.")
        if self.chance.random() < 0.1:
            return Unstored(seen)
        return ABSENT if any(version % 5 == 4 for version in seen.values()) else seen

    async def read(self, process: Process, key: str, policy: Policy) -> None:
        began = virtual_time.now()
        required = {collection: self.required(process, collection, began) for collection in KEYS[key]}
        try:
            answer = await process.cache.get_or_load(key, lambda: self.load(key), tags=KEYS[key], policy=policy)
        except UpstreamUnavailable:
            return
        self.reads += 1
        self.hits += answer.outcome in ("hit", "stale")
        seen = answer.value
        if seen is None:  # an absence tells only that some version was of those that bring it
            possible = {
                collection: range(required[collection], self.written[collection] + 1) for collection in required
            }
            assert any(version % 5 == 4 for versions in possible.values() for version in versions), (answer, required)
            return
        late = {
            collection: (seen[collection], least) for collection, least in required.items() if seen[collection] < least
        }
        assert not late, f"process {process.number} at {began:.4f}: {key}: {answer}: {late}"

    def required(self, process: Process, collection: str, now: float) -> int:
        """The version below which a read that begins now must not fall."""
        return max(
            (bump.version for bump in self.bumps if bump.collection == collection and self.counts(bump, process, now)),
            default=0,
        )

    def counts(self, bump: Bumped, process: Process, now: float) -> bool:
        if bump.process is process:
            return True  # at once, acknowledged or not
        known = bump.process.began + SETTLED_SECONDS <= bump.called_at
        return known and bump.acknowledged_at is not None and bump.acknowledged_at <= now

    async def write(self, process: Process, collection: str) -> None:
        await asyncio.sleep(self.leg_seconds())
        self.written[collection] += 1
        bump = Bumped(collection, self.written[collection], process, virtual_time.now())
        self.bumps.append(bump)
        with suppress(UpstreamUnavailable):
            await process.cache.bump(collection)
            bump.acknowledged_at = virtual_time.now()

    async def has_converged(self) -> None:
        """Once all is well again everybody gets the newest: bumps that failed were made up for, unless he who owed
        them is gone."""
        await asyncio.sleep(HEALING_SECONDS)
        for process, key in itertools.product(self.processes, KEYS):
            await self.read(process, key, POLICIES[0])
            stored = process.cache.peek(key)
            newest = {collection: self.written[collection] for collection in KEYS[key]}
            if stored and stored.value and not self.crashes:
                assert stored.value == newest, f"process {process.number} never learnt of {newest}: {stored}"

    async def visit(self, number: int, until: float) -> None:
        """One of many who read and write wherever they are sent, and sometimes leave in the middle."""
        while virtual_time.now() < until:
            await asyncio.sleep(self.chance.choice((0.0, 0.001, 0.02, 0.2)))
            process = self.chance.choice(self.processes)
            key, policy = self.chance.choice(list(KEYS)), POLICIES[number % len(POLICIES)]
            work = self.read(process, key, policy)
            if self.chance.random() < 0.04:
                work.close()
                writing = self.chance.choice((process, self.processes[0], self.processes[0]))
                work = self.write(writing, self.chance.choice(WRITTEN_TO))
            if self.chance.random() < 0.1:
                await cancelled_after(self.chance.choice((0.0, 0.001, 0.02)), work)
            else:
                await work

    async def suffer(self, fault: Fault, closing: AsyncExitStack) -> None:
        await asyncio.sleep(fault.at)
        process = self.processes[fault.process % len(self.processes)]
        match fault.kind:
            case "cut" | "leak":
                process.line.is_leaky = fault.kind == "leak"
                await while_true(process.line, "is_cut", fault.seconds)
            case "unreachable":
                await while_true(process, "unreachable", fault.seconds)
            case "forget":
                self.forget(fault.what)
            case "save":
                self.saved = self.store.entries.copy(), self.store.epochs.copy()
            case "restore":
                self.restart(*self.saved)
            case "wipe":
                self.restart({}, {})
            case "crash":
                await self.crash(process, closing)

    def forget(self, what: int) -> None:
        """Epochs and entries vanish, as they do when memory is short."""
        held = [*self.store.epochs]
        if held:
            del self.store.epochs[held[what % len(held)]]
        if self.store.entries and what % 2:
            del self.store.entries[next(iter(self.store.entries))]

    def restart(self, entries: dict[str, StoredEntry], epochs: dict[str, int]) -> None:
        """The server comes back with what it had saved. Fresh epochs are made by the clients, and never twice."""
        self.store.entries, self.store.epochs = entries.copy(), epochs.copy()
        self.store.leases.clear()
        self.store.incarnation += 1

    async def crash(self, process: Process, closing: AsyncExitStack) -> None:
        """It is gone without a farewell, and another one joins."""
        if process.line.is_cut and process.unreachable:
            return
        self.crashes += 1
        process.unreachable = process.line.is_cut = True
        await self.join(closing, process.number + 10)
        self.processes.remove(process)


async def while_true(thing: object, flag: str, seconds: float) -> None:
    setattr(thing, flag, True)
    await asyncio.sleep(seconds)
    setattr(thing, flag, False)


async def cancelled_after(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    await asyncio.sleep(seconds)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def live(faults: list[Fault], seed: int, options: CacheOptions) -> World:
    world = World(seed, options)
    async with AsyncExitStack() as closing:
        for number in range(PROCESSES):
            await world.join(closing, number)
        await asyncio.sleep(SETTLED_SECONDS)
        until = virtual_time.now() + RUN_SECONDS
        async with asyncio.TaskGroup() as group:
            for number in range(VISITORS):
                group.create_task(world.visit(number, until))
            for fault in faults:
                group.create_task(world.suffer(fault, closing))
        await world.has_converged()
    return world


def faults(*kinds: str) -> st.SearchStrategy[list[Fault]]:
    one = st.builds(
        Fault,
        at=st.floats(0, RUN_SECONDS),
        kind=st.sampled_from(kinds),
        process=st.integers(0, PROCESSES - 1),
        what=st.integers(0, 20),
        seconds=st.sampled_from([0.05, 0.5, 1.5, 2.9, 3.1, 6.0, 8.0]),
    )
    return st.lists(one, max_size=12)


CERTAIN = CacheOptions(confirm_seconds=3.5)
CRAMPED = CacheOptions(confirm_seconds=3.5, memory_bytes=20_000, known_tags=2, refreshes=1)

model = settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
seeds = st.integers(0, 2**32)
sizes = st.sampled_from([CERTAIN, CRAMPED])


@model
@given(faults("forget"), seeds, sizes)
def test_no_read_is_older_than_an_acknowledged_bump(faults: list[Fault], seed: int, options: CacheOptions) -> None:
    world = virtual_time.run(live(faults, seed, options))
    assert world.hits > world.reads / 50


@model
@given(faults("cut", "cut", "leak", "unreachable", "forget", "save", "restore", "wipe", "crash"), seeds, sizes)
def test_nor_while_lines_are_cut_stores_lose_writes_and_processes_crash(
    faults: list[Fault], seed: int, options: CacheOptions
) -> None:
    virtual_time.run(live(faults, seed, options))
