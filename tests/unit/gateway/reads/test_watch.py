"""What is held for true of rules and records, as the feed speaks, falls silent and speaks again."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from common.core.epochs import EVERYTHING
from common.core.errors import Forbidden, UpstreamUnavailable
from common.core.notices import Notice, SessionRevoked, UserBanned, UserPardoned
from common.core.record_feed import fingerprint
from gateway.core.caching.cache_class import Never
from gateway.core.caching.record_tag import record_tag
from gateway.core.sessions.session import Owner
from gateway.reads.watch import SOURCE, RecordWatch
from tests.eventually import eventually
from tests.fakes.memory_feed import MemoryFeed
from tests.unit.gateway.schemas import ROWS, Row, collection, of, schema
from tests.virtual_time import in_virtual_time

CHANGED: tuple[Row, ...] = (*ROWS, collection("new"))


@dataclass(slots=True)
class Told:
    """In the place of the cache, and of those who doubt sessions."""

    changed_tags: list[str] = field(default_factory=list[str])
    heard_runs: list[str] = field(default_factory=list[str])
    accounts: list[Owner] = field(default_factory=list[Owner])
    misses: int = 0

    def changed(self, *tags: str) -> None:
        self.changed_tags += tags

    def heard(self, source: str, epoch: str) -> None:
        assert source == SOURCE
        self.heard_runs.append(epoch)

    def account_changed(self, owner: Owner) -> None:
        self.accounts.append(owner)

    def changes_missed(self) -> None:
        self.misses += 1


@dataclass(slots=True)
class Listed:
    """PocketBase's list of collections; it may be away."""

    rows: Sequence[Row] = ROWS
    is_away: bool = False
    asked: int = 0

    async def listed(self) -> Sequence[Mapping[str, Any]]:
        self.asked += 1
        if self.is_away:
            raise UpstreamUnavailable("away")
        return self.rows


@dataclass(slots=True)
class Scene:
    watch: RecordWatch
    feed: MemoryFeed = field(default_factory=MemoryFeed)
    told: Told = field(default_factory=Told)
    listed: Listed = field(default_factory=Listed)

    async def beats(self, rows: Sequence[Row] = ROWS) -> None:
        """Heartbeats until the rules that they tell of are in force."""
        known = fingerprint(rows)

        async def is_current() -> bool:
            self.feed.beat(known)
            await asyncio.sleep(0)
            return self.watch.is_current

        await eventually(is_current)

    async def is_taken(self) -> None:
        """Returns once everything that was said has been heard."""

        async def is_empty() -> bool:
            return bool(self.feed.listeners) and all(waiting.empty() for waiting in self.feed.listeners)

        await eventually(is_empty)


@asynccontextmanager
async def watching(enriched: Sequence[str] = (), *, is_away: bool = False) -> AsyncGenerator[Scene]:
    feed, told, listed = MemoryFeed(), Told(), Listed(is_away=is_away)
    watch = RecordWatch(feed, told, listed, enriched)
    watch.also_tell(told)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(watch.listen()), tasks.create_task(watch.learn())]
        scene = Scene(watch, feed, told, listed)
        await scene.is_taken()
        yield scene
        for task in running:
            task.cancel()


@in_virtual_time
async def test_nothing_is_in_force_before_the_feed_confirms_what_was_listed() -> None:
    async with watching() as scene:
        await eventually(lambda: asked(scene.listed))
        assert not scene.watch.is_current
        await scene.beats()
        assert scene.told.heard_runs
        assert scene.watch.plans
        assert of(scene.watch.plans.schema, "posts")


async def asked(listed: Listed) -> int:
    return listed.asked


@in_virtual_time
async def test_pocketbase_is_asked_again_for_its_collections_until_it_answers() -> None:
    async with watching(is_away=True) as scene:
        await eventually(lambda: asked(scene.listed), lambda times: times > 3)
        scene.listed.is_away = False
        await scene.beats()


@in_virtual_time
async def test_other_definitions_end_everything_until_they_are_known() -> None:
    async with watching() as scene:
        await scene.beats()
        before, scene.listed.rows = scene.watch.plans, CHANGED
        scene.feed.beat(fingerprint(CHANGED))
        await scene.is_taken()
        assert (scene.watch.plans, scene.told.changed_tags) == (None, [EVERYTHING])
        await scene.beats(CHANGED)
        assert scene.watch.plans is not before
        assert scene.watch.schema.find("new")


@in_virtual_time
async def test_a_changed_record_ends_what_depends_on_it_or_on_its_collection() -> None:
    async with watching() as scene:
        await scene.beats()
        scene.feed.change("posts", "p1", "create")
        await scene.is_taken()
        assert scene.told.changed_tags == ["id_posts", record_tag("id_posts", "p1")]
        assert scene.watch.is_current


@in_virtual_time
async def test_accounts_that_were_changed_or_deleted_are_told_and_nothing_else() -> None:
    async with watching() as scene:
        await scene.beats()
        scene.feed.change("users", "new", "create")
        scene.feed.change("posts", "p1")
        scene.feed.change("users", "ann")
        scene.feed.change("staff", "bob", "delete")
        scene.feed.change("never_listed", "eve")
        await scene.is_taken()
        told = [(owner.collection_id, owner.record_id) for owner in scene.told.accounts]
        assert told == [("id_users", "ann"), ("id_staff", "bob"), ("id_never_listed", "eve")]


@in_virtual_time
async def test_that_changes_were_missed_is_told_once_for_each_time() -> None:
    async with watching() as scene:
        await scene.beats()
        assert scene.told.misses == 1, "what was changed before this process was there"
        scene.feed.change("users", "ann")
        await scene.beats()
        await scene.beats()
        assert scene.told.misses == 1
        scene.feed.sequence += 1  # an event that did not arrive
        await scene.beats()
        assert scene.told.misses == 2
        scene.feed.epoch = "b"
        await scene.beats()
        assert scene.told.misses == 3
        scene.listed.rows = CHANGED
        await scene.beats(CHANGED)
        await scene.is_taken()
        await scene.beats(CHANGED)
        assert scene.told.misses == 4, "another secret of tokens is a definition, too"
        assert len(set(scene.told.heard_runs)) == 3


@in_virtual_time
async def test_nothing_is_in_force_between_a_gap_and_the_next_heartbeat() -> None:
    async with watching() as scene:
        await scene.beats()
        run = scene.told.heard_runs[-1]
        scene.feed.gap()
        await scene.is_taken()
        assert (scene.watch.is_current, scene.told.changed_tags) == (False, [EVERYTHING])
        await scene.beats()
        assert scene.told.misses == 2
        assert scene.told.heard_runs[-1] != run


@in_virtual_time
async def test_what_cannot_be_read_counts_as_missed() -> None:
    async with watching() as scene:
        await scene.beats()
        scene.feed.say("records.posts.update", b"{")
        await scene.is_taken()
        assert not scene.watch.is_current


@in_virtual_time
async def test_who_may_not_listen_knows_nothing_and_tries_again() -> None:
    async with watching() as scene:
        await scene.beats()
        scene.feed.put(Forbidden("no"))

        async def is_lost() -> bool:
            return not scene.watch.is_current

        await eventually(is_lost)
        await scene.is_taken()
        await scene.beats()


async def test_without_a_bus_nothing_is_ever_known() -> None:
    told = Told()
    watch = RecordWatch(None, told, Listed(), ())
    await watch.listen()
    await watch.learn()
    assert (watch.is_current, told) == (False, Told())


@in_virtual_time
async def test_collections_that_hooks_change_go_by_any_name() -> None:
    async with watching(["POSTS", "id_notes", "unknown"]) as scene:
        await scene.beats()
        plans = scene.watch.plans
        assert plans
        kept = {
            name: not isinstance(plans.plan(of(schema(), name), "list", b"").verdict.cache_class, Never)
            for name in ("posts", "notes", "teams")
        }
        assert kept == {"posts": False, "notes": False, "teams": True}


@pytest.mark.parametrize(
    ("notice", "tags"),
    [
        (SessionRevoked(session_id="s", collection_id="c", record_id="r"), [record_tag("c", "r")]),
        (SessionRevoked(session_id="s"), [EVERYTHING]),
        (UserBanned(subject="r"), [EVERYTHING]),
        (UserPardoned(subject="r"), []),
        (None, [EVERYTHING]),
    ],
)
def test_what_was_kept_for_whose_session_ended_ends_too(notice: Notice | None, tags: list[str]) -> None:
    told = Told()
    watch = RecordWatch(None, told, Listed(), ())
    watch.heard(notice) if notice else watch.missed()
    assert told.changed_tags == tags
