"""Parts on disk: nobody writes out of turn, nothing is followed, and what is left behind goes away."""

import asyncio
import os
from pathlib import Path

import pytest

from common.core.errors import NotFound
from gateway.adapters import part_store
from gateway.adapters.part_files import Busy
from gateway.adapters.part_store import PartStore
from gateway.core.body_refusals import NoRoom
from gateway.core.uploads.part_name import Bounds, claim_of_account
from gateway.core.uploads.transfer_refusals import Moved, TakenOver

ANN, BOB = claim_of_account("users", "ann", "s1"), claim_of_account("users", "bob", "s2")
BOUNDS = Bounds(1000, 10, 600, 4, idle_seconds=10, most_seconds=60)


class Time:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(tmp_path: Path, time: Time) -> PartStore:
    return PartStore(tmp_path / "uploads", BOUNDS, time)


@pytest.fixture
def other_worker(store: PartStore, time: Time) -> PartStore:
    return PartStore(store.directory, BOUNDS, time)


def touched(store: PartStore, time: Time) -> None:
    for path in store.directory.iterdir():
        os.utime(path, (time.now, time.now))


async def test_another_worker_goes_on_where_one_ended(store: PartStore, other_worker: PartStore) -> None:
    part = await store.begin(ANN, 10, b"intent")
    assert await part.append(0, b"01234") == 5
    again = await other_worker.take(ANN, part.id)
    assert (again.intent, await again.offset()) == (b"intent", 5)
    assert await again.append(5, b"56789") == 10
    assert b"".join([chunk async for chunk in again.chunks()]) == b"0123456789"
    assert await again.read(3, 4) == b"3456"


async def test_who_was_taken_over_writes_takes_back_and_finishes_nothing(
    store: PartStore, other_worker: PartStore
) -> None:
    first = await store.begin(ANN, 10, b"")
    await first.append(0, b"01234")
    second = await other_worker.take(ANN, first.id)
    for work in (first.append(5, b"x"), first.cut(0), first.hold()):
        with pytest.raises(TakenOver):
            await work
    assert await second.offset() == 5
    found = await store.find(ANN, first.id)
    with pytest.raises(TakenOver):
        await found.append(5, b"x")  # who only looks has no turn


async def test_bytes_come_in_order_and_no_more_than_were_announced(store: PartStore) -> None:
    part = await store.begin(ANN, 10, b"")
    for offset, data in ((1, b"x"), (0, b"x" * 11), (-5, b"x")):
        with pytest.raises(Moved):
            await part.append(offset, data)
    assert await part.offset() == 0


async def test_whatever_a_client_brings_leads_to_his_own_parts_or_nowhere(store: PartStore, tmp_path: Path) -> None:
    part = await store.begin(ANN, 10, b"")
    (tmp_path / "secret").write_text("secret")
    name = str(part.name)
    for id in ("../secret", name, "", ".lock", "*", part.id + "\0", part.id.lower()[:31] + "!"):
        with pytest.raises(NotFound):
            await store.take(ANN, id)
    for claim in (BOB, claim_of_account("users", "ann", "s2")):
        with pytest.raises(NotFound):
            await store.find(claim, part.id)


async def test_links_are_not_followed(store: PartStore, tmp_path: Path) -> None:
    part = await store.begin(ANN, 10, b"")
    path, elsewhere = store.directory / str(part.name), tmp_path / "elsewhere"
    elsewhere.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(elsewhere)
    with pytest.raises(NoRoom):
        await part.append(0, b"x")
    with pytest.raises(NoRoom):
        await store.take(ANN, part.id)
    assert b"x" not in elsewhere.read_bytes()[-1:]


async def test_a_folder_that_others_may_look_into_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "linked").symlink_to(tmp_path / "open")
    for name in ("open", "linked"):
        with pytest.raises(NoRoom):
            await PartStore(tmp_path / name, BOUNDS).begin(ANN, 10, b"")
    assert list((tmp_path / "open").iterdir()) == []


async def test_what_is_being_written_to_pocketbase_is_nobody_elses(
    store: PartStore, other_worker: PartStore, monkeypatch: pytest.MonkeyPatch, time: Time
) -> None:
    monkeypatch.setattr(part_store, "LOCK_TRIES", 2)
    part = await store.begin(ANN, 0, b"")
    hold = await part.hold()
    with pytest.raises(Busy):
        await other_worker.take(ANN, part.id)
    time.now += 1000
    assert await other_worker.sweep() == 0
    assert await other_worker.remove_session(ANN.session) == 0
    hold.release()
    assert await other_worker.remove_session(ANN.session) == 1
    with pytest.raises(NotFound):
        await part.append(0, b"")


async def test_the_end_of_a_session_takes_its_parts_alone(store: PartStore) -> None:
    ann, bob = await store.begin(ANN, 10, b""), await store.begin(BOB, 10, b"")
    assert await store.remove_session(ANN.session) == 1
    with pytest.raises(NotFound):
        await ann.append(0, b"x")
    assert await bob.append(0, b"x") == 1


async def test_an_answer_stands_in_for_what_was_written(store: PartStore, time: Time) -> None:
    part = await store.begin(ANN, 3, b"intent")
    await part.append(0, b"abc")
    hold = await part.hold()
    await part.settle(b'{"id":"r1"}')
    hold.release()
    kept = await store.take(ANN, part.id)
    assert kept.is_done
    assert await kept.read(0, 100) == b'{"id":"r1"}'
    assert len(list(store.directory.glob("*.part"))) == 0
    time.now += 601
    touched(store, time)
    time.now += 601
    assert await store.sweep() == 1


async def test_as_many_begin_as_there_is_room_for_however_many_try_at_once(
    store: PartStore, other_worker: PartStore
) -> None:
    async def begin(store: PartStore) -> bool:
        try:
            await store.begin(ANN, 100, b"")
        except NoRoom:
            return False
        return True

    async with asyncio.TaskGroup() as tasks:
        tried = [tasks.create_task(begin(one)) for one in (store, other_worker) * 10]
    assert sum(task.result() for task in tried) == BOUNDS.max_owner_parts


async def test_age_removes_what_nobody_goes_on_with_and_what_a_worker_left_half_made(
    store: PartStore, time: Time
) -> None:
    old = await store.begin(ANN, 10, b"")
    unfinished = store.directory / ".new-0"
    unfinished.write_text("half of a head")
    touched(store, time)
    time.now += 9
    assert await store.sweep() == 0
    fresh = await store.begin(BOB, 10, b"")
    os.utime(store.directory / str(fresh.name), (time.now, time.now))
    time.now += 2
    assert await store.sweep() == 1
    with pytest.raises(NotFound):
        await old.offset()
    assert await fresh.offset() == 0
    time.now += 60
    await store.sweep()
    assert not unfinished.exists()
