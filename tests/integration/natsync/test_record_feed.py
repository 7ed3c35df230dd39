"""What natsync tells on the bus about PocketBase's records, and when it falls silent."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

from common.adapters.nats_bus import open_bus
from common.adapters.nats_listening import Gap, Listening
from common.adapters.pocketbase import PocketBase, open_pocketbase
from common.core import subjects
from common.core.record_feed import Alive, Changed, FeedReader, read
from tests.servers.natsync import Stack


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

    async def alive(self, *, but: Alive | None = None) -> Alive:
        async with asyncio.timeout(10):
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


async def collection(control: PocketBase) -> str:
    name = f"things_{uuid4().hex[:8]}"
    fields = [{"name": "title", "type": "text"}]
    await control.request("POST", "/api/collections", {"name": name, "type": "base", "fields": fields})
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
        await settled(natsync)
        await control.create(name, {"title": "a secret"})
        async with asyncio.timeout(10):
            async for item in listening:
                assert isinstance(item, Gap) or b"a secret" not in item.message
                if not isinstance(item, Gap) and item.subject == f"records.{name}.create":
                    return


async def test_another_rule_is_another_schema(natsync: Stack) -> None:
    async with hearing(natsync) as heard, controlling(natsync) as control:
        name = await collection(control)
        before = await settled_by(heard)
        await control.request("PATCH", f"/api/collections/{name}", {"listRule": ""})
        after = await heard.alive(but=before)
        assert after.run == before.run
        assert after.schema != before.schema


async def test_a_pocketbase_that_hangs_silences_the_feed(natsync: Stack) -> None:
    async with hearing(natsync) as heard:
        await heard.alive()
        os.kill(natsync.pocketbase.process_id, signal.SIGSTOP)
        try:
            async with asyncio.timeout(8):
                while await is_heard(heard, seconds=2):
                    pass
        finally:
            os.kill(natsync.pocketbase.process_id, signal.SIGCONT)
        await heard.alive()


async def is_heard(heard: Heard, *, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await heard.next()
    except TimeoutError:
        return False
    return True


async def settled(natsync: Stack) -> None:
    async with hearing(natsync) as heard:
        await settled_by(heard)


async def settled_by(heard: Heard) -> Alive:
    """The feed follows what collections there are: two heartbeats agree."""
    last = await heard.alive()
    while (said := await heard.alive()) != last:
        last = said
    return said
