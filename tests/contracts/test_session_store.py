"""What every session store does: the one in memory and the one in Valkey, side by side."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from common.adapters.valkey_connections import open_valkey
from gateway.adapters.valkey_sessions import ValkeySessions
from gateway.core.refusals import Banned
from gateway.core.sessions.sealed_session import SessionSeal
from gateway.core.sessions.session import NewSession, Owner, SessionList, Use
from gateway.core.sessions.token_family import MAX_GENERATION, MAX_GRACED
from gateway.sessions.end import EndingStore
from gateway.sessions.identify import PresentingStore
from gateway.sessions.note_use import UseStore
from gateway.sessions.recheck import DoubtedStore
from gateway.sessions.sign_in import RollingStore
from tests.fakes.memory_sessions import MemorySessions

ANN, BOB = Owner("users", "ann"), Owner("users", "bob")
GRACE_SECONDS, MAX_SESSIONS = 10, 3
CONNECTIONS = 50
DAY_SECONDS = 86_400
NOW = int(time.time())


class Store(PresentingStore, RollingStore, EndingStore, SessionList, UseStore, DoubtedStore, Protocol):
    """All that the gateway wants of it."""


class Clock:
    """Stands until it is moved. It begins at the real time, since Valkey expires keys by its own clock."""

    def __init__(self) -> None:
        self.now_ms = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.now_ms

    def move(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


def memory(clock: Clock) -> MemorySessions:
    return MemorySessions(grace_seconds=GRACE_SECONDS, max_sessions=MAX_SESSIONS, clock_ms=clock)


def in_valkey(client: Redis, clock: Clock) -> ValkeySessions:
    return ValkeySessions(
        client,
        SessionSeal(b"k" * 32),
        grace_seconds=GRACE_SECONDS,
        max_sessions=MAX_SESSIONS,
        prefix=uuid4().hex,
        clock_ms=clock,
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "valkey"])
async def store(request: pytest.FixtureRequest, valkey_url: str, clock: Clock) -> AsyncGenerator[Store]:
    if request.param == "memory":
        yield memory(clock)
        return
    async with open_valkey(valkey_url, connections=CONNECTIONS) as client:
        yield in_valkey(client, clock)


def new(id: str, owner: Owner = ANN, *, token: str = "", days: float = 5) -> NewSession:
    return NewSession(id, owner, token or f"token of {id}", later(days), "Firefox on Linux", "203.0.113.7")


def later(days: float) -> int:
    return int(NOW + days * DAY_SECONDS)


async def ids(store: Store, owner: Owner = ANN) -> list[str]:
    return [session.id for session in await store.of(owner)]


async def test_a_session_gives_its_pocketbase_token_to_who_presents_its_own(store: Store) -> None:
    assert await store.begin(new("a")) == []
    told = await store.present("a", 1)
    assert (told.standing, told.pocketbase_token, told.newest) == ("current", "token of a", 1)
    assert (await store.present("b", 1)).standing == "ended"


async def test_a_session_is_listed_with_where_it_began(store: Store, clock: Clock) -> None:
    await store.begin(new("a"))
    clock.move(1)
    await store.begin(new("b"))
    await store.begin(new("c", BOB))
    newest, oldest = await store.of(ANN)
    assert (newest.id, oldest.id) == ("b", "a")
    assert (oldest.device, oldest.address, oldest.owner) == ("Firefox on Linux", "203.0.113.7", ANN)
    assert oldest.created_ms == oldest.used_ms == clock.now_ms - 1000
    assert {held.session_id: held.pocketbase_token for held in await store.held_by(ANN)} == {
        "a": "token of a",
        "b": "token of b",
    }
    assert await store.of(Owner("users", "nobody")) == []


async def test_every_record_with_a_session_is_found(store: Store) -> None:
    for number in range(3):
        await store.begin(new(f"s{number}", Owner("users", f"user{number}")))
    assert {record async for record in store.records()} == {"user0", "user1", "user2"}


async def test_a_session_is_claimed_once_for_each_time_that_it_is_doubted(store: Store, clock: Clock) -> None:
    twin = Owner("devices", "ann")
    for id, owner in (("a", ANN), ("b", twin), ("c", BOB)):
        await store.begin(new(id, owner))
    since_ms = await store.now_ms()
    claimed = await store.claim("ann", since_ms)
    assert sorted((held.session_id, held.owner, held.pocketbase_token, held.address) for held in claimed) == [
        ("a", ANN, "token of a", "203.0.113.7"),
        ("b", twin, "token of b", "203.0.113.7"),
    ]
    assert await store.claim("ann", since_ms) == []
    assert [held.session_id for held in await store.claim("bob", since_ms)] == ["c"]
    clock.move(1)
    assert len(await store.claim("ann", await store.now_ms())) == 2
    await store.end_all(ANN, "operator")
    clock.move(1)
    assert [held.session_id for held in await store.claim("ann", await store.now_ms())] == ["b"]


async def test_records_of_one_id_in_two_collections_are_two_owners(store: Store) -> None:
    twin = Owner("devices", "ann")
    await store.begin(new("a"))
    await store.begin(new("b", twin))
    assert (await ids(store), await ids(store, twin)) == (["a"], ["b"])
    assert await store.end_all(ANN, "signed out everywhere") == ["a"]
    assert await store.end("b", "signed out", ANN) is None
    assert await ids(store, twin) == ["b"]


async def test_a_refresh_rolls_and_its_predecessor_has_a_grace(store: Store, clock: Clock) -> None:
    await store.begin(new("a"))
    assert await store.succeed("a", 1, "newer", later(6)) == 2
    assert await store.succeed("a", 1, "newer", later(6)) == 2
    clock.move(GRACE_SECONDS - 0.001)
    told = await store.present("a", 1)
    assert (told.standing, told.pocketbase_token) == ("graced", "newer")
    assert (await store.present("a", 2)).standing == "current"


async def test_a_replay_ends_the_session_for_everybody(store: Store, clock: Clock) -> None:
    await store.begin(new("a"))
    await store.begin(new("b"))
    await store.succeed("a", 1, None, 0)
    clock.move(GRACE_SECONDS)
    told = await store.present("a", 1)
    assert (told.standing, told.pocketbase_token, told.newest) == ("replayed", "", 2)
    assert (await store.present("a", 2)).standing == "ended"
    assert await store.succeed("a", 2, "newer", later(6)) is None
    assert await ids(store) == ["b"]


async def test_a_refresh_under_way_brings_no_ended_session_back(store: Store) -> None:
    await store.begin(new("a"))
    assert await store.end("a", "signed out", ANN) == ANN
    assert await store.succeed("a", 1, "newer", later(6)) is None
    assert (await store.present("a", 1)).standing == "ended"
    assert await store.end("a", "signed out", ANN) is None
    assert await ids(store) == []


async def test_the_token_that_lasts_longer_is_kept(store: Store) -> None:
    await store.begin(new("a", days=5))
    await store.succeed("a", 1, "shorter", later(4))
    assert (await store.present("a", 2)).pocketbase_token == "token of a"
    await store.succeed("a", 2, "as long", later(5))
    assert (await store.present("a", 3)).pocketbase_token == "as long"
    await store.succeed("a", 3, "longer", later(6))
    assert (await store.present("a", 4)).pocketbase_token == "longer"
    assert (await store.of(ANN))[0].expires_ms == later(6) * 1000


async def test_a_session_ends_with_pocketbase_s_token(store: Store) -> None:
    await store.begin(new("gone", days=-0.1))
    await store.begin(new("a"))
    assert (await store.present("gone", 1)).standing == "ended"
    assert await ids(store) == ["a"]


async def test_one_too_many_ends_the_oldest_of_the_same_owner(store: Store, clock: Clock) -> None:
    await store.begin(new("of bob", BOB))
    for id in ("a", "b", "c"):
        assert await store.begin(new(id)) == []
        clock.move(0.001)
    assert await store.begin(new("d")) == ["a"]
    assert await ids(store) == ["d", "c", "b"]
    assert await ids(store, BOB) == ["of bob"]


async def test_signing_out_everywhere_may_keep_one(store: Store, clock: Clock) -> None:
    for id in ("a", "b", "c"):
        await store.begin(new(id))
        clock.move(0.001)
    assert await store.end_all(ANN, "signed out everywhere", keep="b") == ["a", "c"]
    assert await ids(store) == ["b"]
    assert await store.end_all(ANN, "signed out everywhere") == ["b"]
    assert await store.end_all(ANN, "signed out everywhere") == []


async def test_a_use_is_written_at_most_once_a_minute(store: Store, clock: Clock) -> None:
    await store.begin(new("a"))
    begun_ms = clock.now_ms
    await store.note([Use("a", begun_ms + 59_999, "198.51.100.1"), Use("gone", begun_ms, "198.51.100.1")])
    assert ((await store.of(ANN))[0].used_ms, (await store.of(ANN))[0].address) == (begun_ms, "203.0.113.7")
    await store.note([Use("a", begun_ms + 60_000, "198.51.100.2"), Use("a", begun_ms + 60_001, "198.51.100.3")])
    session = (await store.of(ANN))[0]
    assert (session.used_ms, session.address, session.created_ms) == (begun_ms + 60_000, "198.51.100.2", begun_ms)
    assert (await store.present("gone", 1)).standing == "ended", "a use made a session"


async def test_a_ban_ends_sessions_and_lets_none_begin_until_the_pardon(store: Store) -> None:
    await store.begin(new("a"))
    await store.begin(new("b", BOB))
    assert await store.ban("ann", "", 0) == ["a"]
    assert await store.ban("ann", "", 0) is None
    assert (await store.present("a", 1)).standing == "ended"
    with pytest.raises(Banned):
        await store.begin(new("c"))
    assert await ids(store, BOB) == ["b"]
    assert await store.pardon("ann", "")
    assert not await store.pardon("ann", "")
    await store.begin(new("d"))
    assert await ids(store) == ["d"]


async def test_a_ban_may_be_of_one_collection_and_of_limited_time(store: Store, clock: Clock) -> None:
    twin = Owner("devices", "ann")
    await store.begin(new("a"))
    await store.begin(new("b", twin))
    until = clock.now_ms // 1000 + 3600
    assert await store.ban("ann", "users", until) == ["a"]
    assert await ids(store, twin) == ["b"]
    with pytest.raises(Banned):
        await store.begin(new("c"))
    clock.move(3601)
    await store.begin(new("d"))


@pytest.mark.parametrize(("banned", "pardoned"), [("users", "users"), ("", "users"), ("users", ""), ("", "")])
async def test_a_pardon_lifts_what_was_said_of_the_same_user(store: Store, banned: str, pardoned: str) -> None:
    await store.ban("ann", banned, 0)
    assert await store.pardon("ann", pardoned)
    await store.begin(new("a"))


async def test_of_a_thousand_parallel_refreshes_none_makes_a_second_chain(store: Store) -> None:
    await store.begin(new("a"))
    room = asyncio.Semaphore(CONNECTIONS)

    async def refreshed(index: int) -> int | None:
        async with room:  # who finds every connection taken is refused after a second
            return await store.succeed("a", 1, f"token {index}", later(6))

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(refreshed(index)) for index in range(1000)]
    assert {task.result() for task in asked} == {2}
    assert (await store.present("a", 2)).newest == 2


async def test_quick_refreshes_in_a_row_leave_every_predecessor_its_grace(store: Store, clock: Clock) -> None:
    await store.begin(new("a"))
    newest = 1
    for _ in range(12):
        newest = await store.succeed("a", newest, None, 0)
        assert newest
        clock.move(0.5)
    assert newest == MAX_GRACED + 1
    assert [(await store.present("a", each)).standing for each in range(1, newest)] == ["graced"] * MAX_GRACED
    clock.move(GRACE_SECONDS - 6)
    assert await store.succeed("a", newest, None, 0) == newest + 1
    assert (await store.present("a", 2)).standing == "graced"
    assert (await store.present("a", 1)).standing == "replayed"


async def test_a_clock_that_is_set_back_shortens_no_grace(store: Store, clock: Clock) -> None:
    await store.begin(new("a"))
    await store.succeed("a", 1, None, 0)
    clock.move(-5)
    await store.succeed("a", 2, None, 0)
    clock.move(GRACE_SECONDS + 4.999)
    assert (await store.present("a", 2)).standing == "graced"


async def test_a_generation_ahead_of_the_store_is_taken_up(store: Store) -> None:
    await store.begin(new("a"))
    assert (await store.present("a", 3)).standing == "current"
    assert await store.succeed("a", 3, None, 0) == 4
    assert (await store.present("a", 3)).standing == "graced"
    assert (await store.present("a", 2)).standing == "replayed"


ONCE = ("end", "end_all", "ban", "pardon", "use")
Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from([*("begin", "succeed", "succeed", "present", "move") * 3, *ONCE]),
        st.integers(0, 1),
        st.integers(-1, 3),
        st.integers(0, 12),
    ),
    min_size=10,
    max_size=40,
)


def called(store: Store, clock: Clock, step: Step, newest: dict[str, int]) -> Awaitable[Any]:
    """`newest` are the sessions begun so far and their generations; tokens are up to three behind, or one ahead."""
    kind, which, behind, amount = step
    owner = (ANN, BOB, Owner("devices", "ann"))[amount % 3]
    id = [*newest, "none"][-2 - which] if len(newest) > which else "none"
    generation = max(newest.get(id, 1) - behind, 1)
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "begin": lambda: store.begin(new(f"s{len(newest)}", owner)),
        "present": lambda: store.present(id, generation),
        "succeed": lambda: store.succeed(id, generation, f"newer {amount}", later(amount)),
        "end": lambda: store.end(id, "signed out", owner if amount > 6 else None),
        "end_all": lambda: store.end_all(owner, "signed out everywhere", keep=id if amount > 6 else ""),
        "ban": lambda: store.ban(owner.record_id, owner.collection_id if amount > 6 else "", 0),
        "pardon": lambda: store.pardon(owner.record_id, owner.collection_id if amount > 6 else ""),
        "use": lambda: store.note([Use(id, clock() + amount * 10_000, f"198.51.100.{amount}")]),
    }
    return calls[kind]()


async def seen(store: Store, clock: Clock, steps: list[Step]) -> list[object]:
    told: list[object] = []
    newest: dict[str, int] = {}
    for step in steps:
        if step[0] == "move":
            clock.move(step[3])
            continue
        try:
            told.append(await called(store, clock, step, newest))
        except Banned:
            told.append("banned")
        if step[0] == "begin":
            newest[f"s{len(newest)}"] = 1
            clock.move(0.001)
        for id in [*newest][-2:]:
            newest[id] = (await store.present(id, MAX_GENERATION)).newest or newest[id]
    return [*told, *[await store.of(owner) for owner in (ANN, BOB)]]


@asynccontextmanager
async def both(valkey_url: str) -> AsyncGenerator[list[tuple[Store, Clock]]]:
    clocks = [Clock(), Clock()]
    clocks[1].now_ms = clocks[0].now_ms
    async with open_valkey(valkey_url) as client:
        yield [(memory(clocks[0]), clocks[0]), (in_valkey(client, clocks[1]), clocks[1])]


@settings(max_examples=80, deadline=None)
@given(steps=steps)
def test_valkey_and_the_arithmetic_never_differ(valkey_url: str, steps: list[Step]) -> None:
    async def compare() -> None:
        async with both(valkey_url) as pair:
            by_arithmetic, by_valkey = [await seen(store, clock, steps) for store, clock in pair]
            assert by_valkey == by_arithmetic

    asyncio.run(compare())
