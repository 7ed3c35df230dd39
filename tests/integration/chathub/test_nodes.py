"""Two nodes over one log and one database."""

import asyncio
import secrets
from collections.abc import Generator
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.chat_client import ChatClient, chatting
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer

MESSAGES = 60
RUN = secrets.token_hex(4)


@pytest.fixture(scope="module")
def other(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[Chathub]:
    with chathub.chathub(tmp_path_factory.mktemp("other") / "log", environment) as running:
        chathub.wait_until_ready(running)
        yield running


async def chatter(client: ChatClient, name: str) -> None:
    for number in range(MESSAGES):
        await client.say(f"{RUN} {name} {number}")


async def test_everybody_on_both_nodes_hears_the_same_sequence_and_it_is_what_is_stored(
    node: Chathub, other: Chathub, tokens: Issuer, database_url: str
) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann, chatting(other.ws, tokens.token("bob")) as bob:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(chatter(ann, "ann"))
            tasks.create_task(chatter(bob, "bob"))
        for client in (ann, bob):
            await client.hear(f"{RUN} ann {MESSAGES - 1}")
            await client.hear(f"{RUN} bob {MESSAGES - 1}")
        heard, too = [[one for one in client.messages() if one[1].startswith(RUN)] for client in (ann, bob)]
        assert heard == too
        assert len(set(heard)) == 2 * MESSAGES
    connection = await asyncpg.connect(database_url)
    query = "select cache_id, message from chatserver.chat_messages where message like $1 order by cache_id"
    rows = await eventually(lambda: connection.fetch(query, f"{RUN} %"), lambda rows: len(rows) >= 2 * MESSAGES)
    assert [tuple(row) for row in rows] == heard
    await connection.close()


async def test_who_writes_and_who_has_read_is_told_across_nodes_and_not_kept(
    node: Chathub, other: Chathub, tokens: Issuer
) -> None:
    async with (
        chatting(node.ws, tokens.token("ann")) as ann,
        chatting(other.ws, tokens.token("ann")) as ann_too,
        chatting(other.ws, tokens.token("bob")) as bob,
    ):
        await ann.send(type="typing", channel="general")
        assert await bob.until("typing") == {"id": "ann", "username": "Ann", "channel": "general"}
        await ann.send(type="read", recipient_id="bob", cacheID=7)
        expected = {"id": "ann", "username": "Ann", "recipient_id": "bob", "cacheID": 7}
        assert await bob.until("read") == await ann_too.until("read") == expected


async def test_a_whisper_crosses_nodes(node: Chathub, other: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann, chatting(other.ws, tokens.token("bob")) as bob:
        await ann.whisper("bob", "across")
        await bob.hear("across", "private_chat_message")


async def test_a_change_of_channels_reaches_the_other_node(node: Chathub, other: Chathub, tokens: Issuer) -> None:
    headers = {"Authorization": f"Bearer {tokens.token('boss', 'admin')}"}
    async with chatting(other.ws, tokens.token("bob")) as bob, httpx.AsyncClient(trust_env=False) as http:
        await http.post(f"{node.http}/channels", headers=headers, json={"name": "elsewhere"})
        await bob.until("active_channels", lambda payload: "elsewhere" in str(payload))
        await bob.say("heard of it", channel="elsewhere")
        await bob.hear("heard of it")


async def test_a_killed_node_takes_nothing_with_it(
    node: Chathub, environment: dict[str, str], tokens: Issuer, log_file: Path
) -> None:
    with chathub.chathub(log_file, environment) as doomed:
        chathub.wait_until_ready(doomed)
        async with chatting(doomed.ws, tokens.token("ann")) as ann:
            await ann.say("last words", client_msg_id="last-words")
            sequence = await ann.acked("last-words")
            doomed.process.kill()
    async with chatting(node.ws, tokens.token("bob")) as bob:
        assert (sequence, "last words") in bob.messages()
