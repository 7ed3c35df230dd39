"""Bans: sockets close everywhere within a second, none opens, and a pardon undoes all."""

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import httpx
import nats
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.chat_client import ChatClient, chatting
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.gate import gate
from tests.servers.issuer import Issuer
from tests.thorough import examples, takes_its_time

RACES = examples(60)
AT_ONCE = 20
ANSWERS = {"ack", "error", "rate_limited"}


@pytest.fixture(scope="module")
def other(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[Chathub]:
    with chathub.chathub(tmp_path_factory.mktemp("other") / "log", environment) as running:
        chathub.wait_until_ready(running)
        yield running


@pytest.fixture
async def admin(node: Chathub, tokens: Issuer) -> AsyncGenerator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {tokens.token('boss', 'admin')}"}
    async with httpx.AsyncClient(base_url=node.http, headers=headers, trust_env=False, timeout=60) as client:
        yield client


async def ban(admin: httpx.AsyncClient, user: str, **more: object) -> httpx.Response:
    return await admin.post("/users/ban", json={"banished_id": user, **more})


async def closed(client: ChatClient) -> int:
    """The code with which the server closed it; 0 for a connection that broke."""
    try:
        while True:
            await client.next()
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else 0


async def refused(node: Chathub, token: str) -> int | None:
    try:
        async with chatting(node.ws, token):
            return None
    except InvalidStatus as error:
        return error.response.status_code


async def test_a_ban_closes_every_socket_on_every_node_within_a_second_and_keeps_the_user_out(
    node: Chathub, other: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    token = tokens.token("mallory")
    async with (
        chatting(node.ws, token) as first,
        chatting(other.ws, token) as second,
        chatting(other.ws, tokens.token("ann")) as ann,
    ):
        begun = time.monotonic()
        answer = (await ban(admin, "mallory", reason="spam", duration=2)).json()
        assert (answer["message"], answer["banished"], answer["reason"]) == (
            "User banned successfully",
            "mallory",
            "spam",
        )
        assert answer["duration"] == "2 hours"
        assert [await closed(first), await closed(second)] == [4503, 4503]
        assert time.monotonic() - begun < 1
        await ann.say("unaffected")
        await ann.hear("unaffected")
    assert [await refused(node, token), await refused(other, token)] == [401, 401]


async def test_a_pardon_ends_all_bans_of_the_user_and_the_record_tells_who_did_what(
    node: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    for reason in ("one", "two"):
        await ban(admin, "nick", reason=reason)
    payload = (await admin.get("/users/bans", params={"limit": 1})).json()["payload"]
    [record] = payload["records"]
    assert payload["has_more"]
    expected = {"owner_id": "boss", "banished_id": "nick", "reason": "two", "pardoned": False, "duration": "Permanent"}
    assert record == {**record, **expected}
    pardon = await admin.delete("/users/ban", params={"ban_id": record["id"]})
    assert pardon.json()["ban_id"] == record["id"]
    records = (await admin.get("/users/bans")).json()["payload"]["records"]
    mine = [(record["pardoned"], record["pardoned_by"]) for record in records if record["banished_id"] == "nick"]
    assert mine == [(True, "boss"), (True, "boss")]
    assert await refused(node, tokens.token("nick")) is None


async def test_a_ban_ends_by_itself(node: Chathub, tokens: Issuer, admin: httpx.AsyncClient, database_url: str) -> None:
    await ban(admin, "otto", duration=1)
    assert await refused(node, tokens.token("otto")) == 401
    connection = await asyncpg.connect(database_url)
    passed = "update chatserver.bans set start_time = now() - interval '2 h', end_time = now() where banished_id = $1"
    await connection.execute(passed, "otto")
    await connection.close()
    assert await refused(node, tokens.token("otto")) is None


async def test_a_ban_that_nobody_was_told_of_closes_sockets_as_well(
    node: Chathub, tokens: Issuer, database_url: str
) -> None:
    async with chatting(node.ws, tokens.token("pete")) as pete:
        connection = await asyncpg.connect(database_url)
        await connection.execute("insert into chatserver.bans (owner_id, banished_id) values ('boss', 'pete')")
        await connection.close()
        assert await closed(pete) == 4503


async def test_the_other_services_are_told_of_bans_and_pardons(
    admin: httpx.AsyncClient, environment: dict[str, str]
) -> None:
    bus = await nats.connect(environment["NATS_URL"])
    heard = await bus.subscribe("user.*")
    await bus.flush()
    answer = (await ban(admin, "quentin", reason="why")).json()
    banned = await heard.next_msg(2)
    assert banned.subject == "user.banned"
    told = {"v": 1, "subject": "quentin", "collection_id": "", "until": 0, "reason": "why", "keeper": "chathub"}
    assert json.loads(banned.data) == told
    await admin.delete("/users/ban", params={"ban_id": answer["id"]})
    pardoned = await heard.next_msg(2)
    assert pardoned.subject == "user.pardoned"
    assert json.loads(pardoned.data) == {"v": 1, "subject": "quentin", "collection_id": ""}
    await bus.close()


async def test_a_ban_that_its_node_did_not_live_to_tell_is_told_by_another(
    node: Chathub, tokens: Issuer, environment: dict[str, str], log_file: Path
) -> None:
    bus = await nats.connect(environment["NATS_URL"])
    heard = await bus.subscribe("user.*")
    await bus.flush()
    async with gate(urlsplit(environment["NATS_URL"]).port or 4222) as relay:
        given = {**environment, "NATS_URL": f"nats://127.0.0.1:{relay.port}"}
        with chathub.chathub(log_file, given) as doomed:
            await asyncio.to_thread(chathub.wait_until_ready, doomed)
            relay.shut()
            headers = {"Authorization": f"Bearer {tokens.token('boss', 'admin')}"}
            async with httpx.AsyncClient(base_url=doomed.http, headers=headers, trust_env=False) as admin:
                await ban(admin, "ruth", duration=1)
                assert (await ban(admin, "ruth", reason="for good")).json()["duration"] == "Permanent"
                assert (await ban(admin, "ruth", duration=2)).json()["duration"] == "2 hours"
            doomed.process.kill()
    told: dict[str, object] = {}
    while told.get("until") != 0:
        told = json.loads((await heard.next_msg(10)).data)
    assert (told["subject"], told["reason"]) == ("ruth", "for good")
    await bus.close()


@pytest.mark.parametrize("body", [{}, {"banished_id": "a.b"}, {"banished_id": "x", "duration": -1}])
async def test_a_ban_that_makes_no_sense_is_refused(admin: httpx.AsyncClient, body: dict[str, object]) -> None:
    assert (await admin.post("/users/ban", json=body)).status_code == 400


async def test_bans_are_for_admins(node: Chathub, tokens: Issuer) -> None:
    headers = {"Authorization": f"Bearer {tokens.token('ann')}"}
    async with httpx.AsyncClient(base_url=node.http, headers=headers, trust_env=False) as client:
        answers = [
            await client.post("/users/ban", json={"banished_id": "bob"}),
            await client.delete("/users/ban", params={"ban_id": 1}),
            await client.get("/users/bans"),
            await client.get("/ratelimits"),
            await client.patch("/ratelimits", json={"id": 1, "message_limit": 1, "window_seconds": 1}),
        ]
    assert [answer.status_code for answer in answers] == [403] * 5


async def test_an_unknown_ban_cannot_be_pardoned(admin: httpx.AsyncClient) -> None:
    assert (await admin.delete("/users/ban", params={"ban_id": 999_999})).status_code == 404


async def race(node: Chathub, tokens: Issuer, admin: httpx.AsyncClient, user: str) -> str:
    """What became of a socket that was opened at the moment of the ban."""
    banning = asyncio.create_task(ban(admin, user))
    await asyncio.sleep(random.uniform(0, 0.02))
    try:
        async with chatting(node.ws, tokens.token(user)) as client:
            await banning
            return "closed" if await closed(client) == 4503 else "broken"
    except InvalidStatus as error:
        await banning
        return "refused" if error.response.status_code == 401 else "broken"
    except ConnectionClosed as error:
        await banning
        return "closed" if error.rcvd is not None and error.rcvd.code == 4503 else "broken"


@takes_its_time
async def test_no_socket_survives_a_ban_that_races_it(
    node: Chathub, other: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    """POCKETWIRE_EXAMPLES=1000 for a thousand tries."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def attempt(number: int) -> str:
        async with gate:
            return await race((node, other)[number % 2], tokens, admin, f"racer-{number}")

    async with asyncio.TaskGroup() as tasks:
        attempts = [tasks.create_task(attempt(number)) for number in range(RACES)]
    assert {task.result() for task in attempts} <= {"refused", "closed"}


async def test_the_limit_on_messages_counts_for_public_and_private_ones_on_all_nodes_and_changes_at_once(
    node: Chathub, other: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    before = (await admin.get("/ratelimits")).json()["rate_limiter"]
    assert before["owner_id"] == "default"
    try:
        async with chatting(other.ws, tokens.token("rita")) as rita:
            changed = await admin.patch("/ratelimits", json={**before, "message_limit": 3, "window_seconds": 600})
            assert changed.json()["rate_limiter"]["message_limit"] == 3
            begun = time.monotonic()

            while not any(frame["type"] == "rate_limited" for frame in rita.heard):
                await rita.say("one of many", client_msg_id=(id := uuid4().hex))
                await answered(rita, id)
            assert time.monotonic() - begun < 1
            await rita.whisper("rita", "a whisper counts as well", client_msg_id="whisper")
            assert await answered(rita, "whisper") == "rate_limited"
            async with chatting(node.ws, tokens.token("rita")) as elsewhere:
                await elsewhere.say("nor on another node", client_msg_id="elsewhere")
                assert await answered(elsewhere, "elsewhere") == "rate_limited"
    finally:
        await admin.patch("/ratelimits", json=before)


async def test_what_leads_nowhere_counts_for_the_limit_as_well_and_what_leads_somewhere_counts_once(
    node: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    before = (await admin.get("/ratelimits")).json()["rate_limiter"]
    try:
        async with chatting(node.ws, tokens.token("stan")) as stan:
            await admin.patch("/ratelimits", json={**before, "message_limit": 4, "window_seconds": 600})
            await stan.say("first", client_msg_id="first")
            place = await stan.acked("first")
            await stan.send(type="edit_message", cacheID=place, message="edited", client_msg_id="edit")
            await stan.acked("edit")
            await stan.whisper("nobody-of-that-name", "hello?", client_msg_id="nobody")
            await stan.send(type="delete_message", cacheID=10**9, client_msg_id="nothing")
            assert [await answered(stan, "nobody"), await answered(stan, "nothing")] == ["error", "error"]
            await stan.whisper("nobody-of-that-name", "hello?", client_msg_id="nobody-again")
            await stan.send(type="delete_message", cacheID=10**9, client_msg_id="nothing-again")
            assert [await answered(stan, f"{id}-again") for id in ("nobody", "nothing")] == ["rate_limited"] * 2
    finally:
        await admin.patch("/ratelimits", json=before)


async def answered(client: ChatClient, client_msg_id: str) -> str:
    """The type of the frame that answers it."""
    while True:
        frame = await client.next()
        if frame["type"] in ANSWERS and frame["payload"].get("client_msg_id") == client_msg_id:
            return frame["type"]


@pytest.mark.parametrize("change", [{"message_limit": 0}, {"window_seconds": 0}, {"message_limit": 10**9}])
async def test_a_limit_that_makes_no_sense_is_refused(admin: httpx.AsyncClient, change: dict[str, int]) -> None:
    before = (await admin.get("/ratelimits")).json()["rate_limiter"]
    assert (await admin.patch("/ratelimits", json={**before, **change})).status_code == 400
