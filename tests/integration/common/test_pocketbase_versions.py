"""Compare-and-set on a real PocketBase."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from common.adapters.pocketbase import PocketBase, open_pocketbase
from common.adapters.pocketbase_versions import COLLECTION, Versioned, VersionedRecords
from common.core.errors import Conflict, Forbidden, InvalidRequest, NotFound
from tests.servers.pocketbase import PocketBaseServer


@pytest.fixture
async def control(pocketbase: PocketBaseServer) -> AsyncIterator[PocketBase]:
    async with open_pocketbase(pocketbase.url, email=pocketbase.email, password=pocketbase.password) as opened:
        await opened.request("PATCH", "/api/settings", {"batch": {"enabled": True}})
        yield opened


@pytest.fixture
async def records(control: PocketBase) -> VersionedRecords:
    versioned = VersionedRecords(control)
    await versioned.prepare()
    return versioned


@pytest.fixture
async def seen(control: PocketBase, records: VersionedRecords) -> Versioned:
    name = f"counted_{uuid4().hex[:8]}"
    fields = [{"name": "count", "type": "number", "max": 1000}]
    await control.request("POST", "/api/collections", {"name": name, "type": "base", "fields": fields})
    made = await control.create(name, {"count": 0})
    return await records.read(name, made["id"])


async def test_what_was_read_can_be_changed_again_and_again(records: VersionedRecords, seen: Versioned) -> None:
    for count in (1, 2, 3):
        seen = await records.change(seen, {"count": count})
        assert seen.record["count"] == count
    assert await records.read(seen.collection, seen.record["id"]) == seen


async def test_who_read_before_anothers_change_is_refused(records: VersionedRecords, seen: Versioned) -> None:
    changed = await records.change(seen, {"count": 1})
    with pytest.raises(Conflict):
        await records.change(seen, {"count": 7})
    await records.change(changed, {"count": 2})
    with pytest.raises(Conflict):
        await records.change(changed, {"count": 7})
    assert (await records.read(seen.collection, seen.record["id"])).record["count"] == 2


async def test_no_increment_of_many_at_once_is_lost(records: VersionedRecords, seen: Versioned) -> None:
    async def increment() -> None:
        while True:
            now = await records.read(seen.collection, seen.record["id"])
            try:
                await records.change(now, {"count": now.record["count"] + 1})
            except Conflict:
                continue
            return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(increment())
    assert (await records.read(seen.collection, seen.record["id"])).record["count"] == 8


async def test_a_refused_value_leaves_record_and_token_alone(records: VersionedRecords, seen: Versioned) -> None:
    seen = await records.change(seen, {"count": 1})
    with pytest.raises(InvalidRequest, match="count"):
        await records.change(seen, {"count": 1001})
    assert await records.read(seen.collection, seen.record["id"]) == seen


async def test_one_token_is_kept_a_record(control: PocketBase, records: VersionedRecords, seen: Versioned) -> None:
    for count in range(3):
        seen = await records.change(seen, {"count": count})
    tokens = await control.records(COLLECTION, filter=f'collection = "{seen.collection}"')
    assert [token["id"] for token in tokens] == [seen.token]


async def test_preparing_twice_changes_nothing(control: PocketBase, records: VersionedRecords) -> None:
    before = await control.collections()
    await records.prepare()
    assert await control.collections() == before


@pytest.mark.parametrize("id", ['" || id != "', "nosuchrecord000"])
async def test_no_such_record(records: VersionedRecords, seen: Versioned, id: str) -> None:
    with pytest.raises(NotFound):
        await records.read(seen.collection, id)


async def test_batches_switched_off_are_said_so(
    control: PocketBase, records: VersionedRecords, seen: Versioned
) -> None:
    await control.request("PATCH", "/api/settings", {"batch": {"enabled": False}})
    try:
        with pytest.raises(Forbidden):
            await records.change(seen, {"count": 1})
    finally:
        await control.request("PATCH", "/api/settings", {"batch": {"enabled": True}})
