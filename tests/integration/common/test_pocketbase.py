"""The control-plane client against a real PocketBase."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from uuid import uuid4

import pytest

from common.adapters import pocketbase as client_module
from common.adapters.pocketbase import (
    BatchRefused,
    PocketBase,
    RealtimeEvent,
    RecordChange,
    Resubscribed,
    StreamLost,
    open_pocketbase,
)
from common.core.errors import InvalidRequest, NotFound, UpstreamUnavailable
from tests.servers.pocketbase import PocketBaseServer, serving
from tests.servers.process import free_port


@pytest.fixture
async def control(pocketbase: PocketBaseServer) -> AsyncIterator[PocketBase]:
    async with open_pocketbase(pocketbase.url, email=pocketbase.email, password=pocketbase.password) as opened:
        yield opened


@pytest.fixture
async def collection(control: PocketBase) -> str:
    name = f"things_{uuid4().hex[:8]}"
    fields = [
        {"name": "title", "type": "text", "required": True},
        {"name": "updated", "type": "autodate", "onUpdate": True},
    ]
    await control.request("POST", "/api/collections", {"name": name, "type": "base", "fields": fields})
    return name


async def test_a_record_is_created_changed_read_and_deleted(control: PocketBase, collection: str) -> None:
    made = await control.create(collection, {"title": "a"})
    await control.update(collection, made["id"], {"title": "b"})
    assert (await control.record(collection, made["id"]))["title"] == "b"
    await control.delete(collection, made["id"])
    with pytest.raises(NotFound):
        await control.record(collection, made["id"])


async def test_a_listing_is_complete_beyond_one_page(
    control: PocketBase, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PAGE", 3)
    made = {(await control.create(collection, {"title": str(number)}))["id"] for number in range(10)}
    listed = [record["id"] for record in await control.records(collection)]
    assert set(listed) == made
    assert listed == sorted(listed)


async def test_a_listing_is_complete_while_others_write(
    control: PocketBase, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PAGE", 4)
    lasting = [(await control.create(collection, {"title": str(number)}))["id"] for number in range(20)]
    passing = [(await control.create(collection, {"title": str(number)}))["id"] for number in range(20)]
    seen: list[str] = []
    async for record in control.each(collection, fields="id"):
        seen.append(record["id"])
        if passing:
            await control.delete(collection, passing.pop())
            await control.create(collection, {"title": "new"})
    assert set(lasting) <= set(seen)
    assert len(seen) == len(set(seen))


async def test_ids_of_any_characters_do_not_break_the_pages(
    control: PocketBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PAGE", 1)
    name = f"odd_{uuid4().hex[:8]}"
    identifier = {
        "name": "id",
        "type": "text",
        "primaryKey": True,
        "required": True,
        "system": True,
        "min": 1,
        "max": 30,
    }
    fields = [{**identifier, "pattern": "^[^/]+$"}, {"name": "title", "type": "text"}]
    await control.request("POST", "/api/collections", {"name": name, "type": "base", "fields": fields})
    odd = ["a&&b", "a(b", "ä", "A~b", "a=b"]
    for id in odd:
        await control.create(name, {"id": id})
    assert [record["id"] for record in await control.records(name)] == sorted(odd)


async def test_a_batch_is_all_or_nothing_and_names_what_failed(batches: PocketBase, collection: str) -> None:
    url = f"/api/collections/{collection}/records"
    with pytest.raises(BatchRefused, match="title") as refused:
        await batches.batch(
            [{"method": "POST", "url": url, "body": {"title": "a"}}, {"method": "POST", "url": url, "body": {}}]
        )
    assert refused.value.index == 1
    assert isinstance(refused.value.reason, InvalidRequest)
    assert not await batches.records(collection)


async def test_a_refusal_names_the_field(control: PocketBase, collection: str) -> None:
    with pytest.raises(InvalidRequest, match="title"):
        await control.create(collection, {})


@pytest.fixture
async def batches(control: PocketBase) -> PocketBase:
    await control.request("PATCH", "/api/settings", {"batch": {"enabled": True}})
    return control


@pytest.fixture
async def lapsed(control: PocketBase) -> PocketBase:
    """A client whose token PocketBase no longer accepts: it answers it as a guest."""
    await control.collections()
    control._token = "lapsed"
    return control


async def test_a_lapsed_token_does_not_make_records_disappear_from_a_listing(
    lapsed: PocketBase, control: PocketBase
) -> None:
    name = f"guarded_{uuid4().hex[:8]}"
    fields = [{"name": "title", "type": "text"}]
    await control.request(
        "POST", "/api/collections", {"name": name, "type": "base", "fields": fields, "listRule": "title = 'nobody'"}
    )
    made = await control.create(name, {"title": "a"})
    for ask in (control.records(name), control.records(name, filter="title = 'a'")):
        control._token = "lapsed"
        assert [record["id"] for record in await ask] == [made["id"]]
    control._token = "lapsed"
    assert (await control.record(name, made["id"]))["title"] == "a"
    control._token = "lapsed"
    await control.update(name, made["id"], {"title": "b"})
    control._token = "lapsed"
    await control.delete(name, made["id"])
    assert not await control.records(name)


async def test_a_lapsed_token_is_replaced_before_a_subscription(lapsed: PocketBase, collection: str) -> None:
    lapsed._token = "lapsed"
    async with aclosing(lapsed.follow([collection])) as events:
        assert await next_event(events) == Resubscribed()
        await lapsed.create(collection, {"title": "a"})
        assert isinstance(await next_event(events), RecordChange)


@pytest.mark.parametrize("id", ['" || id != "', "a b", "", "x" * 300])
async def test_what_cannot_be_an_id_is_not_found(control: PocketBase, collection: str, id: str) -> None:
    await control.create(collection, {"title": "a"})
    with pytest.raises(NotFound):
        await control.record(collection, id)


async def test_a_wrong_password_is_an_error_and_not_a_loop(pocketbase: PocketBaseServer) -> None:
    async with open_pocketbase(pocketbase.url, email=pocketbase.email, password="wrong-password") as control:
        with pytest.raises(InvalidRequest):
            await control.collections()


async def test_pocketbase_away_is_an_error_of_ours() -> None:
    async with open_pocketbase(f"http://127.0.0.1:{free_port()}", email="a@b.cd", password="x") as control:
        with pytest.raises(UpstreamUnavailable):
            await control.healthy()


async def next_event(events: AsyncIterator[RealtimeEvent]) -> RealtimeEvent:
    return await asyncio.wait_for(anext(events), 10)


async def test_changes_are_hinted_at_after_a_word_that_the_past_is_unknown(
    control: PocketBase, collection: str
) -> None:
    async with aclosing(control.follow([collection])) as events:
        assert await next_event(events) == Resubscribed()
        made = await control.create(collection, {"title": "a"})
        change = await next_event(events)
        assert isinstance(change, RecordChange)
        assert (change.collection, change.action, change.record["id"]) == (collection, "create", made["id"])
        assert "title" not in change.record


async def test_of_a_collection_that_is_followed_whole_the_record_comes_with_the_hint(
    control: PocketBase, collection: str
) -> None:
    async with aclosing(control.follow([collection, "users"], whole=[collection])) as events:
        assert await next_event(events) == Resubscribed()
        made = await control.create(collection, {"title": "a"})
        assert await next_event(events) == RecordChange(collection, "create", made)


async def test_a_lost_stream_is_taken_up_again_and_the_gap_is_told(tmp_path: Path) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        with serving(tmp_path, port) as server:
            opened = open_pocketbase(server.url, email=server.email, password=server.password)
            control = await stack.enter_async_context(opened)
            events = await stack.enter_async_context(aclosing(control.follow(["users"])))
            assert await next_event(events) == Resubscribed()
        assert await next_event(events) == StreamLost()
        with serving(tmp_path, port):
            assert await next_event(events) == Resubscribed()
