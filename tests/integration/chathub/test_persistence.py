"""From the log into PostgreSQL: each message once, or set aside with its reason; and the proof of it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import nats

from chathub.core.bus_messages import RoomMessage, encode, subject_of
from tests.chat_client import ChatClient, chatting
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer

SENDERS, MESSAGES = 10, 60


async def chatter(client: ChatClient, sender: int) -> None:
    for number in range(MESSAGES):
        await client.say(f"{sender}: {number}", client_msg_id=f"{sender}-{number}")
    await client.acked(f"{sender}-{MESSAGES - 1}")


async def sending(node: Chathub, tokens: Issuer, sender: int) -> None:
    async with chatting(node.ws, tokens.token(f"sender-{sender}")) as client:
        await chatter(client, sender)


async def reconciled(environment: dict[str, str]) -> tuple[int, dict[str, str]]:
    done = await asyncio.to_thread(chathub.run, "reconcile", environment=environment)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, {line[:11].strip(): line[11:] for line in done.stdout.splitlines()}


async def all_stored(environment: dict[str, str]) -> tuple[int, dict[str, str]]:
    return await eventually(lambda: reconciled(environment), lambda found: found[1]["waiting"] == "0", seconds=60)


async def test_many_senders_on_two_nodes_are_stored_once_each_and_it_is_proved(
    empty_database_url: str, own_log_url: str, tokens: Issuer, tmp_path: Path
) -> None:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    environment = chathub.environment(database_url=empty_database_url, nats_url=own_log_url, issuer=tokens)
    with (
        chathub.chathub(tmp_path / "one", environment) as one,
        chathub.chathub(tmp_path / "two", environment) as two,
    ):
        for node in (one, two):
            chathub.wait_until_ready(node)
        async with chatting(one.ws, tokens.token("ann")) as ann, chatting(two.ws, tokens.token("bob")) as bob:
            async with asyncio.TaskGroup() as tasks:
                for sender in range(SENDERS):
                    tasks.create_task(sending((one, two)[sender % 2], tokens, sender))
            for listener in (ann, bob):
                while len(listener.messages()) < SENDERS * MESSAGES:
                    await listener.next()
            assert ann.messages() == bob.messages()
            assert len(set(ann.messages())) == SENDERS * MESSAGES
            await ann.say("soon gone", client_msg_id="soon-gone")
            await ann.send(type="delete_message", cacheID=await ann.acked("soon-gone"), client_msg_id="gone")
            await ann.acked("gone")
        status, found = await all_stored(environment)
        assert (status, found["rows"], found["missing"]) == (0, str(SENDERS * MESSAGES), "0")
        connection = await asyncpg.connect(empty_database_url)
        rows = await connection.fetch("select cache_id, message from chatserver.chat_messages order by cache_id")
        assert [tuple(row) for row in rows] == ann.messages()[: SENDERS * MESSAGES]
        lost, changed = rows[5]["cache_id"], rows[6]["cache_id"]
        await connection.execute("delete from chatserver.chat_messages where cache_id = $1", lost)
        await connection.execute("update chatserver.chat_messages set message = 'forged' where cache_id = $1", changed)
        await connection.close()
        status, found = await reconciled(environment)
        assert (status, found["missing"], found["different"]) == (1, f"1 ({lost})", f"1 ({changed})")


async def test_a_poisoned_message_is_set_aside_shown_to_admins_and_holds_nobody_up(
    empty_database_url: str, own_log_url: str, tokens: Issuer, log_file: Path
) -> None:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    environment = chathub.environment(database_url=empty_database_url, nats_url=own_log_url, issuer=tokens)
    with chathub.chathub(log_file, environment) as node:
        chathub.wait_until_ready(node)
        async with chatting(node.ws, tokens.token("ann")) as ann:
            await poison(own_log_url)
            await ann.say("after the poison", client_msg_id="after")
            await ann.acked("after")
        status, found = await all_stored(environment)
        assert (status, found["rows"], found["set aside"]) == (0, "1", "2")
        async with httpx.AsyncClient(trust_env=False) as http:
            url = f"{node.http}/messages/unstorable"
            user = await http.get(url, headers={"Authorization": f"Bearer {tokens.token('ann')}"})
            assert user.status_code == 403
            admin = await http.get(url, headers={"Authorization": f"Bearer {tokens.token('boss', 'admin')}"})
            reasons: list[str] = [letter["reason"] for letter in admin.json()["messages"]]
            assert len(reasons) == 2
            assert any("too long" in reason for reason in reasons)


async def poison(nats_url: str) -> None:
    """What is no message, and what PostgreSQL does not take: written past chathub, which refuses both."""
    unstorable = RoomMessage(
        owner_id="eve", username="Eve", channel_id=1, channel="x" * 25, message="x", authored_at=datetime.now(UTC)
    )
    bus = await nats.connect(nats_url)
    await bus.jetstream().publish(subject_of(unstorable), b"no message")
    await bus.jetstream().publish(subject_of(unstorable), encode(unstorable))
    await bus.close()


async def test_a_node_that_is_killed_while_it_stores_leaves_nothing_out_and_nothing_twice(
    empty_database_url: str, own_log_url: str, tokens: Issuer, tmp_path: Path
) -> None:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    environment = chathub.environment(database_url=empty_database_url, nats_url=own_log_url, issuer=tokens)
    with chathub.chathub(tmp_path / "one", environment) as one:
        chathub.wait_until_ready(one)
        with chathub.chathub(tmp_path / "two", environment) as two:
            chathub.wait_until_ready(two)
            async with asyncio.TaskGroup() as tasks:
                for sender in range(4):
                    tasks.create_task(sending(one, tokens, sender))
                connection = await asyncpg.connect(empty_database_url)
                count = "select count(*) from chatserver.chat_messages"
                await eventually(lambda: connection.fetchval(count), lambda rows: rows > MESSAGES)
                two.process.kill()
        status, found = await all_stored(environment)
        assert (status, found["rows"]) == (0, str(4 * MESSAGES))
        await connection.close()
