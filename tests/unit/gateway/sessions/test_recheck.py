"""Sessions of accounts that were changed past the gateway: ended for each change, and all looked at after a gap."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from common.core.errors import Forbidden, UpstreamUnavailable
from common.core.pocketbase_answers import Action
from gateway.core.collections.schema import Schema
from gateway.core.sessions.session import Held, NewSession, Owner
from gateway.core.sessions.token_word import Word, word_of
from gateway.sessions.end import Endings, Nobody
from gateway.sessions.recheck import AT_ONCE, Rechecks
from tests.eventually import eventually
from tests.fakes.memory_feed import MemoryFeed
from tests.fakes.memory_sessions import MemorySessions
from tests.unit.gateway.schemas import schema
from tests.virtual_time import in_virtual_time, now

ANN, BOB = Owner("id_users", "ann"), Owner("id_users", "bob")


@dataclass(slots=True)
class Answering:
    """A PocketBase that takes its time; `words` are what it says of a session, in turn, the last for ever."""

    words: dict[str, list[Word]] = field(default_factory=dict[str, list[Word]])
    asked: list[str] = field(default_factory=list[str])
    under_way: int = 0
    most_at_once: int = 0

    async def ask(self, held: Held) -> Word:
        self.asked.append(held.session_id)
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        await asyncio.sleep(0.01)
        self.under_way -= 1
        words = self.words.get(held.session_id, ["taken"])
        return words.pop(0) if len(words) > 1 else words[0]


class Flickering(MemorySessions):
    is_away = False

    async def claim(self, record_id: str, since_ms: int) -> list[Held]:
        if self.is_away:
            raise UpstreamUnavailable("away")
        return await super().claim(record_id, since_ms)


@dataclass(slots=True)
class Known:
    schema: Schema


@dataclass(slots=True)
class Scene:
    feed: MemoryFeed
    store: Flickering
    answering: Answering
    rechecks: list[Rechecks]

    async def begin(self, id: str, owner: Owner = ANN) -> None:
        await self.store.begin(NewSession(id, owner, f"token of {id}", 10**9, "", ""))

    async def living(self) -> set[str]:
        records = [record async for record in self.store.records()]
        return {held.session_id for record in records for held in await self.store.held_by(Owner("id_users", record))}


@asynccontextmanager
async def processes(number: int = 1, *, of: Callable[[], Schema] = schema) -> AsyncGenerator[Scene]:
    feed, answering, loop = MemoryFeed(), Answering(), asyncio.get_running_loop()
    store = Flickering(grace_seconds=10, max_sessions=99, clock_ms=lambda: round(loop.time() * 1000) + 1)
    endings = Endings(store, answering, Nobody())
    rechecks = [Rechecks(feed, store, endings, answering, Known(of())) for _ in range(number)]
    async with asyncio.TaskGroup() as tasks:
        loops = [loop for each in rechecks for loop in (each.listen, each.sweep)]
        running = [tasks.create_task(loop()) for loop in loops]
        await eventually(lambda: listeners(feed), lambda there: there == number)
        yield Scene(feed, store, answering, rechecks)
        for task in running:
            task.cancel()


async def listeners(feed: MemoryFeed) -> int:
    return len(feed.listeners)


@in_virtual_time
async def test_who_is_deleted_has_no_sessions_and_who_is_changed_those_that_pocketbase_takes() -> None:
    async with processes() as scene:
        for id, owner in (("a1", ANN), ("a2", ANN), ("b1", BOB)):
            await scene.begin(id, owner)
        scene.answering.words = {"a1": ["refused"]}
        scene.feed.change("users", "ann")
        await eventually(scene.living, lambda living: living == {"a2", "b1"})
        scene.feed.change("users", "bob", "delete")
        await eventually(scene.living, lambda living: living == {"a2"})
        assert "b1" not in scene.answering.asked


@in_virtual_time
@pytest.mark.parametrize(
    ("collection", "action"), [("users", "create"), ("posts", "update"), ("posts", "delete"), ("unknown", "delete")]
)
async def test_other_changes_end_nothing(collection: str, action: Action) -> None:
    async with processes() as scene:
        await scene.begin("a", Owner(f"id_{collection}", "ann"))
        await scene.begin("last", BOB)
        scene.feed.change(collection, "ann", action)
        scene.feed.say("records.users.update", b"{")
        scene.feed.change("users", "bob", "delete")
        await eventually(scene.living, lambda living: "last" not in living)
        assert await scene.store.held_by(Owner(f"id_{collection}", "ann"))
        assert scene.answering.asked == []


@in_virtual_time
async def test_after_a_gap_every_session_is_looked_at_a_few_at_a_time() -> None:
    async with processes() as scene:
        for number in range(50):
            await scene.begin(f"s{number}", Owner("id_users", f"user{number}"))
        scene.answering.words = {f"s{number}": ["refused"] for number in range(0, 50, 10)}
        scene.feed.gap()
        await eventually(scene.living, lambda living: len(living) == 45)
        await eventually(lambda: times_asked(scene), lambda times: times == 50)
        assert 1 < scene.answering.most_at_once <= AT_ONCE


async def times_asked(scene: Scene) -> int:
    return len(scene.answering.asked)


@in_virtual_time
async def test_processes_that_missed_the_same_share_the_work() -> None:
    async with processes(3) as scene:
        for number in range(50):
            await scene.begin(f"s{number}", Owner("id_users", f"user{number}"))
        scene.feed.gap()
        await eventually(lambda: times_asked(scene), lambda times: times >= 50)
        await asyncio.sleep(10)
        assert sorted(scene.answering.asked) == sorted(f"s{number}" for number in range(50))


@in_virtual_time
async def test_a_pocketbase_that_does_not_say_is_asked_again_and_ends_nobody_s_session() -> None:
    async with processes() as scene:
        await scene.begin("a")
        await scene.begin("b", BOB)
        scene.answering.words = {"a": ["away", "busy", "busy", "taken"], "b": ["busy", "refused"]}
        scene.rechecks[0].changes_missed()
        await eventually(scene.living, lambda living: living == {"a"})
        await eventually(lambda: times_asked(scene), lambda times: times == 6)
        await asyncio.sleep(10)
        assert len(scene.answering.asked) == 6


@in_virtual_time
async def test_a_change_that_pocketbase_is_too_busy_to_judge_is_looked_at_later() -> None:
    feed, answering = MemoryFeed(), Answering({"a": ["busy", "busy", "refused"]})
    store = MemorySessions(grace_seconds=10, max_sessions=9, clock_ms=lambda: 1)
    await store.begin(NewSession("a", ANN, "token", 10**9, "", ""))
    endings = Endings(store, answering, Nobody())
    rechecks = Rechecks(feed, store, endings, answering, Known(schema()))
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(loop()) for loop in (rechecks.listen, endings.run)]
        await eventually(lambda: listeners(feed))
        feed.change("users", "ann")
        await eventually(lambda: store.held_by(ANN), lambda held: not held)
        for task in running:
            task.cancel()


@in_virtual_time
async def test_what_is_missed_during_a_sweep_begins_another_one() -> None:
    async with processes() as scene:
        await scene.begin("a")
        scene.answering.words = {"a": ["away"]}
        scene.rechecks[0].changes_missed()
        await eventually(lambda: times_asked(scene), lambda times: times == 2)
        scene.answering.words = {"a": ["refused"]}
        scene.rechecks[0].changes_missed()
        await eventually(scene.living, lambda living: not living)


@in_virtual_time
async def test_a_store_that_is_away_is_asked_again() -> None:
    async with processes() as scene:
        await scene.begin("a")
        scene.answering.words = {"a": ["refused"]}
        scene.store.is_away = True
        scene.rechecks[0].changes_missed()
        begun = now()
        await asyncio.sleep(3)
        assert scene.answering.asked == []
        scene.store.is_away = False
        await eventually(scene.living, lambda living: not living)
        assert now() - begun < 6


@in_virtual_time
async def test_who_may_not_listen_tries_again() -> None:
    async with processes() as scene:
        await scene.begin("a")
        scene.feed.put(Forbidden("no"))
        await eventually(lambda: listeners(scene.feed), lambda there: there == 0)
        await eventually(lambda: listeners(scene.feed), lambda there: there == 1)
        scene.feed.change("users", "ann", "delete")
        await eventually(scene.living, lambda living: not living)


@pytest.mark.parametrize(
    ("statuses", "word"),
    [
        ((200, 403), "taken"),
        ((400, 401, 404), "refused"),
        ((408, 429), "busy"),
        ((204, 301, 500, 502, 503), "away"),
    ],
)
def test_what_pocketbase_s_status_says_of_a_token(statuses: tuple[int, ...], word: Word) -> None:
    assert {word_of(status) for status in statuses} == {word}
