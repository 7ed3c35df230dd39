"""What a topic may ask for beyond PocketBase: that a record has left, what was missed, what there is to begin with."""

import json
import secrets
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from tests.eventually import eventually
from tests.integration.gateway.realtime.listener import (
    InOrder,
    Listener,
    in_order,
    listening,
    topic,
    until_own_streams,
    until_told,
)
from tests.servers.gateway import GatewayServer, User, signed_up
from tests.servers.natsync import Stack


@pytest.fixture
async def rooms(fed: Stack, fanning: GatewayServer, root: httpx.AsyncClient) -> str:
    """A collection whose records are their owners', and everybody's once they are open."""
    name = f"rooms_{secrets.token_hex(3)}"
    fields = [{"name": "owner", "type": "text"}, {"name": "open", "type": "bool"}]
    rule = "open = true || owner = @request.auth.id"
    body = {"name": name, "type": "base", "fields": fields, "listRule": rule, "viewRule": rule}
    assert (await root.post("/api/collections", json=body)).is_success
    await until_told(root, fed)
    await until_own_streams(fanning.url)
    return f"/api/collections/{name}/records"


@pytest.fixture
async def write(fed: Stack, root: httpx.AsyncClient) -> AsyncGenerator[InOrder]:
    async with in_order(root, fed) as writing:
        yield writing


@pytest.fixture
async def ann(client: httpx.AsyncClient, rooms: str) -> User:
    assert rooms
    return await signed_up(client)


def name_of(rooms: str) -> str:
    return rooms.split("/")[3]


async def told_of(listener: Listener, count: int) -> list[tuple[str, Any]]:
    """Action and record's id of so many events, in order."""

    async def so_far() -> list[dict[str, Any]]:
        return [json.loads(data) for _, data in listener.told]

    events = await eventually(so_far, lambda events: len(events) >= count)
    assert len(events) == count, events
    return [(event["action"], event["record"].get("id")) for event in events]


async def test_a_record_that_does_not_match_any_more_leaves_and_says_nothing_else(
    fanning: GatewayServer, write: InOrder, rooms: str, ann: User
) -> None:
    async with listening(fanning.url, ann.headers) as listener:
        assert await listener.subscribe(topic(f"{name_of(rooms)}/*", leave="1")) == 204
        first = await write.create(rooms, {"owner": ann.id})
        other = await write.create(rooms, {"owner": "another"})
        await write.update(rooms, first, {"owner": "another"})
        await write.update(rooms, first, {"owner": "a third"})
        await write.update(rooms, other, {"open": True})
        await write.delete(rooms, first)
        await write.update(rooms, other, {"open": False})
        told = await told_of(listener, 4)
        assert told == [("create", first), ("leave", first), ("update", other), ("leave", other)]
        left = json.loads(listener.told[1][1])["record"]
        assert left.keys() == {"id", "collectionId", "collectionName"}


async def test_who_comes_again_with_a_cursor_is_told_the_last_of_what_he_missed(
    fanning: GatewayServer, write: InOrder, rooms: str, ann: User
) -> None:
    path = f"{name_of(rooms)}/*"
    async with listening(fanning.url, ann.headers) as listener:
        assert await listener.subscribe(topic(path, since="")) == 204
        known = await write.create(rooms, {"owner": ann.id})
        await told_of(listener, 1)
        cursor = json.loads(listener.told[0][1])["cursor"]
    missed, lost = await write.create(rooms, {"owner": ann.id}), await write.create(rooms, {"owner": ann.id})
    await write.update(rooms, missed, {"open": True})
    await write.update(rooms, lost, {"owner": "another"})
    await write.delete(rooms, known)

    async def replayed() -> list[tuple[str, Any]]:
        async with listening(fanning.url, ann.headers) as listener:
            assert await listener.subscribe(topic(path, since=cursor)) == 204
            return await told_of(listener, 2)

    assert await eventually(replayed) == [("update", missed), ("delete", known)]


async def test_a_cursor_of_another_time_is_answered_by_a_loss(fanning: GatewayServer, rooms: str, ann: User) -> None:
    async with listening(fanning.url, ann.headers) as listener:
        for index, cursor in enumerate(("nonsense", "abc.7")):
            assert await listener.subscribe(topic(f"{name_of(rooms)}/*", since=cursor)) == 204
            assert await told_of(listener, index + 1) == [("lost", None)] * (index + 1)


async def test_a_snapshot_is_what_the_caller_may_read_and_then_what_happens(
    fanning: GatewayServer, write: InOrder, rooms: str, ann: User
) -> None:
    own, opened = await write.create(rooms, {"owner": ann.id}), await write.create(rooms, {"open": True})
    await write.create(rooms, {"owner": "another"})
    async with listening(fanning.url, ann.headers) as listener:
        wanted = topic(f"{name_of(rooms)}/*", snapshot="1", leave="1")
        assert await listener.subscribe(wanted) == 204

        async def begun() -> list[str]:
            return [json.loads(data)["action"] for _, data in listener.told]

        actions = await eventually(begun, lambda actions: "synced" in actions)
        assert actions[:3] == ["snapshot", "snapshot", "synced"]
        assert {record.get("id") for record in listener.records("snapshot")} == {own, opened}
        assert await listener.subscribe(wanted, "notes/*") == 204, "what is held already is not told again"
        await write.update(rooms, own, {"owner": "another"})
        actions = await eventually(begun, lambda actions: "leave" in actions)
        assert actions.count("synced") == 1
