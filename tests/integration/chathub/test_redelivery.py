"""What was handed out to be stored and not confirmed is handed out again; it has its rows once, and in order."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from chathub.adapters.nats_log import PERSIST_SECONDS, NatsLog, persisting
from chathub.adapters.postgres_messages import PostgresMessages
from chathub.core.bus_messages import Amendment, RoomMessage, Stored, read_message
from chathub.persist import Backlog, Pending, Persistence
from common.adapters.nats_bus import Bus, open_bus
from common.adapters.nats_jetstream import ask
from common.adapters.postgres_connections import open_postgres
from common.core.errors import NotFound
from common.core.nats_protocol import read_delivered
from common.core.subjects import CHAT_STREAM, consumer_request
from common.ending import ended
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.gate import gate
from tests.servers.issuer import Issuer

ROWS = "select cache_id, message from chatserver.chat_messages order by cache_id"
MEBIBYTE = 1024 * 1024


def said(text: str) -> RoomMessage:
    now = datetime.now(UTC)
    return RoomMessage(owner_id="a", username="A", channel_id=1, channel="general", message=text, authored_at=now)


def edit(epoch: int, target: int, text: str | None, actor: str = "a") -> Amendment:
    return Amendment(
        target_epoch=epoch,
        target=target,
        owner_id="a",
        actor_id=actor,
        message=text,
        authored_at=datetime.now(UTC),
        channel_id=1,
    )


def read(batch: Sequence[Pending]) -> list[Stored]:
    return [Stored(pending.position, read_message(pending.data)) for pending in batch]


def deliveries(batch: Sequence[Pending]) -> set[int]:
    return {delivered.deliveries for pending in batch if (delivered := read_delivered(pending.receipt))}


async def fetched(backlog: Backlog, count: int) -> list[Pending]:
    found: list[Pending] = []
    async with asyncio.timeout(PERSIST_SECONDS + 15):
        while len(found) < count:
            found += await backlog.fetch(500, PERSIST_SECONDS)
    return found


async def test_what_was_stored_and_not_confirmed_comes_again_behind_what_is_newer_and_changes_nothing(
    empty_database_url: str, own_log_url: str
) -> None:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    async with open_bus(own_log_url, name="chathub") as bus, open_postgres(empty_database_url) as pool:
        await bus.ready()
        log, rows = NatsLog(bus, days=1, size=MEBIBYTE), PostgresMessages(pool)
        epoch = (await log.ensure(0)).epoch
        places = [(await log.append(said(f"{number}"))).sequence for number in range(5)]
        await log.append(edit(epoch, places[0], "edited once"))
        async with log.backlog() as backlog:
            unconfirmed = await fetched(backlog, 6)
            assert deliveries(unconfirmed) == {1}
            await rows.store(read(unconfirmed))
            last = (await log.append(edit(epoch, places[0], "edited twice"))).sequence
            newer = await fetched(backlog, 1)
            await rows.store(read(newer))
            await backlog.done(newer)
            again = await fetched(backlog, 6)
            assert [pending.position for pending in again] == [pending.position for pending in unconfirmed]
            assert [pending.data for pending in again] == [pending.data for pending in unconfirmed]
            assert deliveries(again) == {2}
            await rows.store(read(again))
            await backlog.done(again)
            assert await eventually(log.stored_to, lambda stored_to: stored_to == last)
            assert await backlog.fetch(500, 0.1) == []
        stored = [tuple(row) for row in await pool.fetch(ROWS)]
        assert stored == [(places[0], "edited twice"), *((place, str(n)) for n, place in enumerate(places) if n)]


async def handed_out_again(bus: Bus, epoch: int) -> int:
    try:
        told = await ask(bus.link, consumer_request("INFO", CHAT_STREAM, persisting(epoch)), {})
    except NotFound:  # nobody has begun to store
        return 0
    return told["num_redelivered"]


async def test_a_commit_that_fails_until_all_was_handed_out_again_is_made_up_for_once_and_in_order(
    empty_database_url: str, own_log_url: str, tokens: Issuer
) -> None:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    parts = urlsplit(empty_database_url)
    async with gate(parts.port or 5432) as relay, open_bus(own_log_url, name="chathub") as bus:
        await bus.ready()
        through_gate = parts._replace(netloc=parts.netloc.replace(str(parts.port), str(relay.port))).geturl()
        log = NatsLog(bus, days=1, size=MEBIBYTE)
        epoch = (await log.ensure(0)).epoch
        places = [(await log.append(said(f"{number}"))).sequence for number in range(20)]
        await log.append(edit(epoch, places[0], "edited once"))
        await log.append(edit(epoch, places[0], "edited twice"))
        last = (await log.append(edit(epoch, places[1], None, "boss"))).sequence
        relay.shut()
        async with open_postgres(through_gate) as pool:
            storing = asyncio.create_task(Persistence(log, PostgresMessages(pool)).run())
            await eventually(lambda: handed_out_again(bus, epoch), lambda count: count > 0, seconds=30)
            assert await log.stored_to() < places[0]
            await relay.open()
            await eventually(log.stored_to, lambda stored_to: stored_to == last, seconds=30)
            await ended([storing])
            stored = [tuple(row) for row in await pool.fetch(ROWS)]
            assert stored == [
                (places[0], "edited twice"),
                *((place, str(n)) for n, place in enumerate(places) if n > 1),
            ]
            noted = "select array_agg(subject) from chatserver.moderation_log where action = 'message.deleted'"
            assert await pool.fetchval(noted) == [str(places[1])]
    environment = chathub.environment(database_url=empty_database_url, nats_url=own_log_url, issuer=tokens)
    done = await asyncio.to_thread(chathub.run, "reconcile", environment=environment)
    assert done.returncode == 0, done.stdout
