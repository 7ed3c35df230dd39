"""What natsync tells on the bus about PocketBase's records, to whom, and when it falls silent."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from nats.errors import TimeoutError as NothingHeard

from common.adapters.nats_bus import open_bus
from common.adapters.nats_listening import Gap, Listening
from common.adapters.pocketbase import PocketBase, open_pocketbase
from common.core import subjects
from common.core.record_feed import Alive, Changed, FeedReader, RecordImage, fingerprint, read
from tests.eventually import eventually
from tests.servers.natsync import Stack, Tenants, connected_with, prepare, stack

OTHERS = ("chathub", "natsync", "sys", "callout")
SILENCE_SECONDS = 0.5


class Heard:
    """Takes what is said on the feed, as a gateway does."""

    def __init__(self, listening: Listening[bytes]) -> None:
        self._listening = listening
        self._reader = FeedReader()

    async def next(self) -> Alive | Changed:
        while True:
            item = await self._listening.__anext__()
            if not isinstance(item, Gap):
                return self._reader.accept(read(item.subject, item.message))

    async def change(self, collection: str) -> Changed:
        async with asyncio.timeout(10):
            while True:
                said = await self.next()
                if isinstance(said, Changed) and said.event.collection == collection:
                    return said

    async def alive(self, *, but: Alive | None = None, seconds: float = 10) -> Alive:
        async with asyncio.timeout(seconds):
            while True:
                said = await self.next()
                if isinstance(said, Alive) and said != but:
                    return said


@asynccontextmanager
async def hearing(natsync: Stack) -> AsyncGenerator[Heard]:
    creds = natsync.directory / "creds" / "gateway.creds"
    async with (
        open_bus(natsync.nats_url, name="gateway", creds=creds) as bus,
        bus.listening(subjects.RECORDS, bytes) as listening,
    ):
        yield Heard(listening)


@asynccontextmanager
async def controlling(natsync: Stack) -> AsyncGenerator[PocketBase]:
    known = natsync.pocketbase
    async with open_pocketbase(known.url, email=known.email, password=known.password) as control:
        yield control


@asynccontextmanager
async def seeing(natsync: Stack) -> AsyncGenerator[Listening[RecordImage]]:
    creds = natsync.directory / "creds" / "gateway.creds"
    async with (
        open_bus(natsync.nats_url, name="gateway", creds=creds) as bus,
        bus.listening(subjects.IMAGES, RecordImage) as listening,
    ):
        yield listening


async def image(images: Listening[RecordImage], collection: str) -> RecordImage:
    async with asyncio.timeout(10):
        async for item in images:
            if not isinstance(item, Gap) and item.message.collection == collection:
                assert item.subject == f"images.{collection}.{item.message.action}"
                return item.message
    raise AssertionError


async def collection(control: PocketBase, kind: str = "base", **more: Any) -> str:
    name = f"things_{uuid4().hex[:8]}"
    fields = [{"name": "title", "type": "text", "max": 10_000_000}, {"name": "note", "type": "text", "hidden": True}]
    await control.request("POST", "/api/collections", {"name": name, "type": kind, "fields": fields, **more})
    return name


async def test_every_write_is_told_within_an_unbroken_run(natsync: Stack) -> None:
    async with hearing(natsync) as heard, controlling(natsync) as control:
        before = await heard.alive()
        name = await collection(control)
        begun = await heard.alive(but=before)
        made = await control.create(name, {"title": "a"})
        await control.update(name, made["id"], {"title": "b"})
        await control.delete(name, made["id"])
        told = [(await heard.change(name)).event for _ in range(3)]
        assert [(event.id, event.action) for event in told] == [
            (made["id"], "create"),
            (made["id"], "update"),
            (made["id"], "delete"),
        ]
        assert (await heard.alive()).run == begun.run != before.run


async def test_no_value_of_a_record_is_told(natsync: Stack) -> None:
    creds = natsync.directory / "creds" / "gateway.creds"
    async with (
        open_bus(natsync.nats_url, name="gateway", creds=creds) as bus,
        bus.listening(subjects.RECORDS, bytes) as listening,
        controlling(natsync) as control,
    ):
        name = await collection(control)
        await settled(natsync, control)
        await control.create(name, {"title": "a secret"})
        async with asyncio.timeout(10):
            async for item in listening:
                assert isinstance(item, Gap) or b"a secret" not in item.message
                if not isinstance(item, Gap) and item.subject == f"records.{name}.create":
                    return


async def test_another_rule_is_another_schema_and_another_epoch(natsync: Stack) -> None:
    async with hearing(natsync) as heard, controlling(natsync) as control:
        name = await collection(control)
        before = await settled_by(heard, control)
        await control.request("PATCH", f"/api/collections/{name}", {"listRule": ""})
        after = await settled_by(heard, control)
        assert epoch(after) != epoch(before)
        assert after.schema != before.schema
        assert await heard.alive() == after


async def test_a_pocketbase_that_hangs_silences_the_feed(natsync: Stack) -> None:
    async with hearing(natsync) as heard:
        before = await heard.alive()
        os.kill(natsync.pocketbase.process_id, signal.SIGSTOP)
        try:
            async with asyncio.timeout(15):
                while await is_heard(heard, seconds=3):
                    pass
        finally:
            os.kill(natsync.pocketbase.process_id, signal.SIGCONT)
        assert epoch(await heard.alive()) != epoch(before)


def epoch(alive: Alive) -> str:
    return alive.run.partition(".")[0]


async def test_whoever_takes_over_begins_another_epoch() -> None:
    with stack() as alone:
        assert alone.command("bootstrap").returncode == 0
        prepare(alone.pocketbase)
        with alone.nats():
            async with hearing(alone) as heard:
                with alone.serving():
                    before = epoch(await heard.alive(seconds=20))
                with alone.serving():
                    await another(heard, before)


async def test_a_loss_of_nats_beneath_a_running_natsync_begins_another_epoch() -> None:
    with stack() as alone:
        assert alone.command("bootstrap").returncode == 0
        prepare(alone.pocketbase)
        async with AsyncExitStack() as running:
            with alone.nats():
                heard = await running.enter_async_context(hearing(alone))
                running.enter_context(alone.serving())
                before = epoch(await heard.alive(seconds=20))
            with alone.nats():
                await another(heard, before)
                await running.aclose()


async def test_a_leader_whose_lease_is_taken_away_tells_again_once_it_leads_again(natsync: Stack) -> None:
    creds = natsync.directory / "creds" / "natsync.creds"
    async with hearing(natsync) as heard, controlling(natsync) as control:
        await heard.alive()
        await collection(control)  # which the leader follows from now on, too
        before = epoch(await settled_by(heard, control))
        async with connected_with(natsync.nats_url, creds, name="natsync") as live:
            lease = subjects.bucket_key(subjects.LEASES_BUCKET, "record-feed")
            await live.client.publish(lease, b"", headers={"KV-Operation": "DEL"})
            await another(heard, before)


async def another(heard: Heard, known: str) -> None:
    async with asyncio.timeout(30):
        while epoch(await heard.alive(seconds=30)) == known:
            pass


async def test_every_event_has_its_image_under_the_same_number(natsync: Stack) -> None:
    """Whole, as a superuser sees it: after a write, before a deletion."""
    async with hearing(natsync) as heard, seeing(natsync) as images, controlling(natsync) as control:
        name = await collection(control)
        await settled_by(heard, control)
        made = await control.create(name, {"title": "a", "note": "hidden"})
        seen = [await image(images, name)]
        changed = await control.update(name, made["id"], {"title": "b"})
        seen.append(await image(images, name))
        await control.delete(name, made["id"])
        seen.append(await image(images, name))
        assert [each.record for each in seen] == [made, changed, changed]
        assert made["note"] == "hidden"
        for each in seen:
            event = (await heard.change(name)).event
            assert all(getattr(each, field) == getattr(event, field) for field in event.__struct_fields__)


async def test_an_image_of_somebody_holds_neither_password_nor_token_key(natsync: Stack) -> None:
    async with hearing(natsync) as heard, seeing(natsync) as images, controlling(natsync) as control:
        name = await collection(control, "auth")
        await settled_by(heard, control)
        login = {"email": "a@example.com", "password": "correct-horse", "passwordConfirm": "correct-horse"}
        await control.create(name, login)
        record = (await image(images, name)).record or {}
        assert record["email"] == "a@example.com", "an address that is not public is a superuser's to see"
        assert not {"password", "tokenKey"} & record.keys()


async def test_a_record_that_no_message_holds_is_to_be_fetched(natsync: Stack) -> None:
    async with hearing(natsync) as heard, seeing(natsync) as images, controlling(natsync) as control:
        name = await collection(control)
        await settled_by(heard, control)
        made = await control.create(name, {"title": "x" * 2_000_000})
        told = await image(images, name)
        assert (told.id, told.record, told.left_out) == (made["id"], None, "too_large")
        await control.create(name, {"title": "small"})
        assert (await image(images, name)).left_out == "", "the feed goes on"


async def test_keys_and_credentials_are_in_no_message(natsync: Stack, tenants: Tenants) -> None:
    creds = natsync.directory / "creds" / "gateway.creds"
    async with (
        open_bus(natsync.nats_url, name="gateway", creds=creds) as bus,
        bus.listening(subjects.IMAGES, bytes) as images,
    ):
        *_, user, shown = await tenants.someone()
        seed = shown.split("BEGIN USER NKEY SEED-----\n")[1].split("\n")[0]
        told: list[RecordImage] = []
        async with asyncio.timeout(10):
            async for item in images:
                assert not isinstance(item, Gap)
                assert seed.encode() not in item.message
                assert b"BEGIN" not in item.message
                told.append(RecordImage(**json.loads(item.message)))
                if told[-1].id == user["id"] and told[-1].action == "update":
                    break
        assert {(each.record, each.left_out) for each in told if each.collection.startswith("nats")} == {
            (None, "secret")
        }


@pytest.mark.parametrize("name", OTHERS)
async def test_no_other_service_hears_images(natsync: Stack, name: str) -> None:
    async with connected_with(natsync.nats_url, natsync.directory / "creds" / f"{name}.creds", name=name) as service:
        for subject in (subjects.IMAGES, "images.users.>", "*.users.create", ">"):
            await service.client.subscribe(subject)
            await service.is_refused(f'"{subject}"')


async def test_no_user_hears_images_whatever_its_role_and_its_account_ask_for(natsync: Stack, tenants: Tenants) -> None:
    async with hearing(natsync) as heard:
        name = await collection(tenants.control)
        account, role = await tenants.account(), await tenants.role('["_INBOX.>"]', '["images.>", ">"]')
        asked = await tenants.control.create(
            "nats_account_imports",
            {"account_id": account["id"], "account": "PLATFORM", "subject": "images.>", "type": "stream"},
        )
        user = await tenants.user(account, role)
        row = await tenants.synced(asked)
        assert "nothing is exported under this subject" in row["sync_error"]
        await settled_by(heard, tenants.control)
        async with connected_with(natsync.nats_url, await tenants.credentials(user)) as somebody:
            listening = [await somebody.hears(subject) for subject in ("images.>", ">")]
            made = await tenants.control.create(name, {"title": "a secret"})
            assert (await heard.change(name)).event.id == made["id"]
            for each in listening:
                with pytest.raises(NothingHeard):
                    await each.next_msg(timeout=SILENCE_SECONDS)


async def test_a_role_grants_the_changes_of_one_collection_and_another_role_does_not(
    natsync: Stack, tenants: Tenants
) -> None:
    async with hearing(natsync) as heard:
        shown, other = await collection(tenants.control), await collection(tenants.control)
        account = await tenants.account()
        granted = await tenants.role('["_INBOX.>"]', f'["records.{shown}.>", "_INBOX.>"]')
        plain = await tenants.role('["sensors.>"]', '["sensors.>", "_INBOX.>"]')
        asked = await tenants.control.create(
            "nats_account_imports",
            {"account_id": account["id"], "account": "PLATFORM", "subject": "records.>", "type": "stream"},
        )
        users = [await tenants.user(account, role) for role in (granted, plain)]
        assert (await tenants.synced(asked))["sync_error"] == ""
        await settled_by(heard, tenants.control)
        async with (
            connected_with(natsync.nats_url, await tenants.credentials(users[0])) as reader,
            connected_with(natsync.nats_url, await tenants.credentials(users[1])) as stranger,
        ):
            changes = await reader.hears(f"records.{shown}.>")
            for client, subject in ((reader, f"records.{other}.>"), (reader, "records.>"), (stranger, "records.>")):
                await client.client.subscribe(subject)
                await client.is_refused(subject)
            said = await first_of(changes, tenants.control, shown)
            assert said["collection"] == shown
            assert said.keys() == {"v", "epoch", "sequence", "collection", "collection_id", "id", "action"}
            await stranger.client.publish(f"records.{shown}.create", b"forged")
            await stranger.is_refused(f"records.{shown}.create")


async def first_of(changes: Any, control: PocketBase, collection: str) -> dict[str, Any]:
    """A fresh subscription in an account that imports may miss the first message."""

    async def made() -> dict[str, Any]:
        await control.create(collection, {"title": "x"})
        try:
            return json.loads((await changes.next_msg(timeout=0.3)).data)
        except NothingHeard:
            return {}

    return await eventually(made)


async def test_what_was_told_is_kept_for_a_while(natsync: Stack) -> None:
    async with hearing(natsync) as heard, controlling(natsync) as control:
        name = await collection(control)
        await settled_by(heard, control)
        made = await control.create(name, {"title": "a"})
        await heard.change(name)
        async with connected_with(
            natsync.nats_url, natsync.directory / "creds" / "natsync.creds", name="natsync"
        ) as reader:
            stream = reader.client.jetstream(timeout=5)
            kept = await stream.get_last_msg(subjects.RECORDS_STREAM, f"records.{name}.create")
            assert json.loads(kept.data or b"")["id"] == made["id"]
            terms = (await stream.stream_info(subjects.RECORDS_STREAM)).config
            assert (terms.subjects, terms.max_age) == ([subjects.RECORDS], 600)


async def is_heard(heard: Heard, *, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await heard.next()
    except TimeoutError:
        return False
    return True


async def settled(natsync: Stack, control: PocketBase) -> None:
    async with hearing(natsync) as heard:
        await settled_by(heard, control)


async def settled_by(heard: Heard, control: PocketBase) -> Alive:
    """The feed follows what collections there are."""
    schema = fingerprint(await control.collections())
    while (said := await heard.alive()).schema != schema:
        pass
    return said
