"""What admins can do, that nobody else can, and the record of it."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import nats
import pytest
from nats.aio.client import Client as NatsClient
from nats.js.errors import NotFoundError

from chathub.adapters.postgres_messages import PostgresMessages
from chathub.core.bus_messages import Amendment, Position, RoomMessage, encode, subject_of
from chathub.persist import DeadLetter, Pending
from common.adapters.postgres_connections import open_postgres
from common.core.subjects import CHAT_STREAM
from tests.chat_client import chatting
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer

ADMINS_ALONE: list[tuple[str, str, Any]] = [
    ("POST", "/channels", {"name": "mine"}),
    ("PATCH", "/channels", {"id": 1, "name": "mine"}),
    ("DELETE", "/channels?id=1", None),
    ("GET", "/channels/1/export", None),
    ("PUT", "/channels/1/members/ann", None),
    ("DELETE", "/channels/1/members/ann", None),
    ("GET", "/messages", None),
    ("GET", "/messages?keyword=a", None),
    ("DELETE", "/messages", {"ids": [1]}),
    ("GET", "/messages/unstorable", None),
    ("GET", "/users", None),
    ("GET", "/users?username=boss", None),
    ("POST", "/users/ban", {"banished_id": "bob"}),
    ("DELETE", "/users/ban?ban_id=1", None),
    ("GET", "/users/bans", None),
    ("GET", "/activity/sessions", None),
    ("GET", "/activity/sessions?user_id=ann", None),
    ("GET", "/activity/channels", None),
    ("GET", "/ratelimits", None),
    ("PATCH", "/ratelimits", {"id": 1, "message_limit": 1, "window_seconds": 1}),
    ("GET", "/moderation/log", None),
]
EVERYBODYS = {("GET", "/discovery"), ("GET", "/channels"), ("GET", "/channels/{id}/members"), ("POST", "/ws/ticket")}


@pytest.fixture
async def http(node: Chathub) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=node.http, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
async def admin(node: Chathub, tokens: Issuer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=node.http, headers=bearer(tokens, "boss", "admin"), trust_env=False
    ) as client:
        yield client


def bearer(tokens: Issuer, user: str, *roles: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.token(user, *roles)}"}


async def search(admin: httpx.AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    answer = await admin.get("/messages", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["payload"]["messages"]


async def log(admin: httpx.AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    answer = await admin.get("/moderation/log", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["payload"]["records"]


async def test_every_route_but_a_few_is_for_admins_alone(http: httpx.AsyncClient, tokens: Issuer) -> None:
    described = (await http.get("/chat/openapi.json")).json()["paths"]
    routes = {(method.upper(), path) for path, methods in described.items() for method in methods}
    tried = {(method, path.split("?")[0].replace("/1/", "/{id}/")) for method, path, _ in ADMINS_ALONE}
    assert routes - EVERYBODYS == {
        (method, path.replace("/members/ann", "/members/{user_id}")) for method, path in tried
    }
    for method, path, body in ADMINS_ALONE:
        nobody = await http.request(method, path, json=body)
        somebody = await http.request(method, path, json=body, headers=bearer(tokens, "ann", "Admin", "admins"))
        assert (nobody.status_code, somebody.status_code) == (401, 403), (method, path)


async def test_a_banned_admin_cannot_pardon_itself(admin: httpx.AsyncClient, tokens: Issuer) -> None:
    ban_id = (await admin.post("/users/ban", json={"banished_id": "rogue"})).json()["id"]
    answer = await admin.delete("/users/ban", params={"ban_id": ban_id}, headers=bearer(tokens, "rogue", "admin"))
    assert answer.status_code == 401
    assert (await admin.get("/channels", headers=bearer(tokens, "rogue"))).status_code == 401


async def test_what_is_not_stored_yet_is_found_and_can_be_deleted(
    empty_database_url: str, own_log_url: str, tokens: Issuer, log_file: Any
) -> None:
    """PostgreSQL refuses to store for as long as somebody holds the table, and answers all the same."""
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    given = chathub.environment(database_url=empty_database_url, nats_url=own_log_url, issuer=tokens)
    with chathub.chathub(log_file, given) as node:
        chathub.wait_until_ready(node)
        headers = bearer(tokens, "boss", "admin")
        blocker = await asyncpg.connect(empty_database_url)
        async with (
            httpx.AsyncClient(base_url=node.http, headers=headers, trust_env=False) as admin,
            chatting(node.ws, tokens.token("ann")) as ann,
        ):
            holding = blocker.transaction()
            await holding.start()
            await blocker.execute("lock table chatserver.chat_messages in share mode")
            for text in ("two zebras", "one zebra", "no cat"):
                await ann.say(text, client_msg_id=text.replace(" ", "-"))
            place = await ann.acked("one-zebra")
            await ann.acked("no-cat")
            found = await eventually(lambda: search(admin, keyword="zebra"), lambda found: len(found) == 2)
            assert (found[0]["message"], found[0]["id"]) == ("one zebra", -place)
            paged = await search(admin, limit=2, offset=1)
            assert [message["message"] for message in paged] == ["one zebra", "two zebras"]
            exported = (await admin.get("/channels/1/export")).text.splitlines()
            assert [json.loads(line)["message"] for line in exported] == ["two zebras", "one zebra", "no cat"]
            assert (await admin.request("DELETE", "/messages", json={"ids": [-place]})).status_code == 204
            assert [message["message"] for message in await search(admin, keyword="zebra")] == ["two zebras"]
            assert (await ann.until("message_deleted"))["cacheID"] == place
            await holding.rollback()
            await eventually(lambda: search(admin), lambda found: len(found) == 2 and all(m["id"] > 0 for m in found))
        await blocker.close()


async def test_messages_are_deleted_everywhere_and_the_log_tells_who_did_it(
    node: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann, chatting(node.ws, tokens.token("bob")) as bob:
        await ann.say("an unwanted aardvark")
        place = (await bob.hear("an unwanted aardvark"))["cacheID"]
        [found] = await eventually(
            lambda: search(admin, keyword="aardvark"), lambda found: any(message["id"] > 0 for message in found)
        )
        answer = await admin.request("DELETE", "/messages", json={"ids": [found["id"], found["id"], 10**15]})
        assert answer.status_code == 204
        assert await search(admin, keyword="aardvark") == []
        assert (await bob.until("message_deleted"))["cacheID"] == place
    async with chatting(node.ws, tokens.token("cleo")) as late:
        assert "an unwanted aardvark" not in [text for _, text in late.messages()]
    records = await eventually(lambda: log(admin, action="message.deleted", subject=str(place)))
    assert [(record["actor_id"], record["details"]) for record in records] == [("boss", {"owner": "ann"})]
    assert (await admin.request("DELETE", "/messages", json={"ids": [found["id"]]})).status_code == 404


async def test_who_deletes_a_whisper_by_a_guessed_number_finds_none(
    node: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.whisper("ann", "to myself", client_msg_id="to-myself")
        place = await ann.acked("to-myself")
    assert (await admin.request("DELETE", "/messages", json={"ids": [-place]})).status_code == 404


def unstorable(owner: str, message: str) -> RoomMessage:
    """PostgreSQL knows no channel of so long a name."""
    now = datetime.now(UTC)
    return RoomMessage(owner_id=owner, username=owner, channel_id=1, channel="x" * 25, message=message, authored_at=now)


async def smuggle(nats_url: str, data: bytes, subject: str = "chat.in.room.1") -> int:
    """Into the log past chathub, which would refuse it; its place there."""
    bus = await nats.connect(nats_url)
    told = await bus.jetstream().publish(subject, data)
    await bus.close()
    return told.seq


async def test_a_deletion_reaches_what_could_not_be_stored(
    tokens: Issuer, node: Chathub, admin: httpx.AsyncClient, database_url: str, environment: dict[str, str]
) -> None:
    place = await smuggle(environment["NATS_URL"], encode(unstorable("eve", "a wicked emu")))
    connection = await asyncpg.connect(database_url)
    await eventually(lambda: wordings(connection, "emu"), lambda found: len(found) == 1)
    async with chatting(node.ws, tokens.token("eve")) as eve:
        await eve.send(type="edit_message", cacheID=place, message="a tamer emu", client_msg_id="tamer")
        await eve.acked("tamer")
        await eventually(lambda: wordings(connection, "emu"), lambda found: len(found) == 2)
        letter = await connection.fetchrow("select * from chatserver.dead_letters where cache_id = $1", place)
        assert letter is not None
        await eve.send(type="delete_message", cacheID=place, client_msg_id="gone")
        await eve.acked("gone")
    await eventually(lambda: wordings(connection, "emu"), lambda found: found == [])
    pending = Pending(Position(letter["stream_epoch"], place), letter["subject"], letter["payload"], "")
    async with open_postgres(database_url) as pool:
        await PostgresMessages(pool).bury([DeadLetter(pending, "handed out once more")])
    assert await wordings(connection, "emu") == []
    await connection.close()


async def test_an_edit_that_comes_behind_the_deletion_shows_nothing_anywhere(
    node: Chathub, tokens: Issuer, database_url: str, environment: dict[str, str]
) -> None:
    async with chatting(node.ws, tokens.token("ann"), resume="new") as ann:
        epoch = int((await ann.until("resumed"))["epoch"])
        await ann.say("a shy okapi", client_msg_id="okapi")
        target = await ann.acked("okapi")
        await ann.send(type="delete_message", cacheID=target, client_msg_id="gone")
        await ann.until("message_deleted", lambda payload: payload["cacheID"] == target)
        gone = await ann.acked("gone")
        edit = Amendment(
            target_epoch=epoch,
            target=target,
            owner_id="ann",
            actor_id="ann",
            message="a shy okapi once more",
            authored_at=datetime.now(UTC),
            channel_id=1,
        )
        late = await smuggle(environment["NATS_URL"], encode(edit), subject_of(edit))
        await ann.say("said behind it")
        await ann.hear("said behind it")
        assert "message_edited" not in [frame["type"] for frame in ann.heard]
    for place in ("", f"{epoch}.{gone}"):
        async with chatting(node.ws, tokens.token("bob"), resume=place) as bob:
            assert "okapi" not in json.dumps(bob.heard)
    connection, bus = await asyncpg.connect(database_url), await nats.connect(environment["NATS_URL"])
    await eventually(lambda: is_in_log(bus, late), lambda found: not found)
    assert await wordings(connection, "okapi") == []
    await bus.close()
    await connection.close()


async def is_in_log(bus: NatsClient, place: int) -> bool:
    try:
        await bus.jetstream().get_msg(CHAT_STREAM, place)
    except NotFoundError:
        return False
    return True


async def test_a_purge_takes_all_that_the_user_said_and_nothing_else(
    node: Chathub, tokens: Issuer, admin: httpx.AsyncClient, database_url: str, environment: dict[str, str]
) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await smuggle(environment["NATS_URL"], encode(unstorable("spammer", "cheap pills, unstorable")))
        scrap = await smuggle(environment["NATS_URL"], b'{"owner_id": "spammer", "message": "cheap pills, unreadable"}')
        async with chatting(node.ws, tokens.token("spammer")) as spammer:
            for number in range(30):
                await spammer.say(f"cheap pills {number}")
            await spammer.whisper("ann", "cheap pills for you")
            await ann.say("I like pills", client_msg_id="ann")
            await ann.acked("ann")
            await ann.hear("cheap pills for you", "private_chat_message")
        await admin.post("/users/ban", json={"banished_id": "spammer", "purge": True})
        while sum(frame["type"] == "message_deleted" for frame in ann.heard) < 32:
            await ann.next()
        await eventually(lambda: search(admin, user_id="spammer"), lambda found: found == [], seconds=30)
        assert [message["message"] for message in await search(admin, keyword="pills")] == ["I like pills"]
    async with chatting(node.ws, tokens.token("ann")) as again:
        assert not any("cheap" in json.dumps(frame) for frame in again.heard)
    connection = await asyncpg.connect(database_url)
    left = "select count(*) from chatserver.private_messages where owner_id = 'spammer'"
    await eventually(lambda: connection.fetchval(left), lambda count: count == 0)
    [record] = await eventually(lambda: log(admin, action="user.purged", subject="spammer"), seconds=30)
    assert (record["actor_id"], record["details"]) == ("boss", {"messages": 33})
    assert await wordings(connection, "cheap pills") == []
    await connection.close()
    bus = await nats.connect(environment["NATS_URL"])
    assert not await is_in_log(bus, scrap)
    await bus.close()
    assert await log(admin, action="message.deleted", subject="spammer") == []


async def test_a_purged_channel_leaves_no_wording_behind_in_any_table(
    node: Chathub, tokens: Issuer, admin: httpx.AsyncClient, database_url: str, environment: dict[str, str]
) -> None:
    await admin.post("/channels", json={"name": "purged"})
    channels = (await admin.get("/channels")).json()["channels"]
    id = next(channel["id"] for channel in channels if channel["name"] == "purged")
    connection = await asyncpg.connect(database_url)
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.say("wombat one", channel="purged", client_msg_id="wombat")
        await ann.send(type="edit_message", cacheID=await ann.acked("wombat"), message="wombat two")
        await ann.hear("wombat two", "message_edited")
    bus = await nats.connect(environment["NATS_URL"])
    await bus.publish(f"chat.in.room.{id}", b"wombat: what nobody can store")
    await bus.close()
    await eventually(lambda: wordings(connection, "wombat"), lambda found: len(found) == 3)
    assert (await admin.delete("/channels", params={"id": id, "purge": True})).status_code == 200
    assert await wordings(connection, "wombat") == []
    await connection.close()


async def wordings(connection: asyncpg.Connection, text: str) -> list[str]:
    tables = ("chat_messages", "amendments", "dead_letters")
    rows = [row[0] for table in tables for row in await connection.fetch(f"select t::text from chatserver.{table} t")]
    return [row for row in rows if text in row or text.encode().hex() in row]


async def test_the_moderation_log_cannot_be_changed_and_forgery_is_proved(
    admin: httpx.AsyncClient, database_url: str
) -> None:
    await admin.post("/users/ban", json={"banished_id": "logged", "reason": "why", "duration": 3})
    [record] = await log(admin, subject="logged")
    assert record["details"] == {"ban": record["details"]["ban"], "hours": 3, "reason": "why", "purge": False}
    audit = await asyncio.to_thread(chathub.run, "audit", environment={"DATABASE_URL": database_url})
    assert audit.returncode == 0, audit.stderr
    assert f"entries    {record['id']}" in audit.stdout
    connection = await asyncpg.connect(database_url)
    forge = "update chatserver.moderation_log set actor_id = 'ann' where subject = 'logged'"
    for attempt in (forge, "delete from chatserver.moderation_log", "truncate chatserver.moderation_log"):
        with pytest.raises(asyncpg.RaiseError):
            await connection.execute(attempt)
    await connection.execute("set session_replication_role = replica")  # triggers off, as a superuser may
    await connection.execute(forge)
    forged = await asyncio.to_thread(chathub.run, "audit", environment={"DATABASE_URL": database_url})
    assert (forged.returncode, forged.stdout) == (1, f"broken at entry {record['id']}\n")
    await connection.execute("update chatserver.moderation_log set actor_id = 'boss' where subject = 'logged'")
    await connection.close()


async def test_every_deed_has_its_entry(node: Chathub, tokens: Issuer, admin: httpx.AsyncClient) -> None:
    await admin.post("/channels", json={"name": "deeds", "private": True})
    channels = (await admin.get("/channels")).json()["channels"]
    id = next(channel["id"] for channel in channels if channel["name"] == "deeds")
    await admin.patch("/channels", json={"id": id, "description": "Of old"})
    await admin.put(f"/channels/{id}/members/ann")
    await admin.delete(f"/channels/{id}/members/ann")
    await admin.get(f"/channels/{id}/export")
    await admin.delete("/channels", params={"id": id, "purge": True})
    done = [record["action"] for record in await log(admin, subject=str(id), limit=6)]
    expected = ["channel.deleted", "channel.exported", "member.removed", "member.added", "channel.changed"]
    assert done == [*expected, "channel.created"]
    assert await log(admin, actor_id="ann") == []


async def test_users_are_found_by_name_in_whatever_letter_case_and_bans_go_by_id(
    node: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    for user, name in (("twin1", "Gemini"), ("twin2", "gEMINI")):
        async with chatting(node.ws, tokens.token(user, preferred_username=name)):
            pass
    await admin.post("/users/ban", json={"banished_id": "twin1"})
    answer = (await admin.get("/users", params={"username": "gemini"})).json()
    assert (answer["type"], answer["sender"]) == ("user_search_result", "server")
    assert [(user["id"], user["is_banned"]) for user in answer["payload"]["users"]] == [
        ("twin1", True),
        ("twin2", False),
    ]
    renamed = tokens.token("twin1", preferred_username="Honest")
    assert (await admin.get("/channels", headers={"Authorization": f"Bearer {renamed}"})).status_code == 401
    everybody = (await admin.get("/users", params={"limit": 1})).json()["payload"]
    assert (len(everybody["users"]), everybody["has_more"]) == (1, True)


async def test_an_export_is_every_message_of_the_channel_and_no_other(
    node: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    await admin.post("/channels", json={"name": "exported"})
    channels = (await admin.get("/channels")).json()["channels"]
    id = next(channel["id"] for channel in channels if channel["name"] == "exported")
    async with chatting(node.ws, tokens.token("ann")) as ann:
        for number in range(5):
            await ann.say(f'line {number}\n"quoted"', channel="exported", client_msg_id=f"line-{number}")
        await ann.say("elsewhere")
        await ann.send(type="edit_message", cacheID=await ann.acked("line-1"), message="edited", client_msg_id="e")
        await ann.send(type="delete_message", cacheID=await ann.acked("line-2"), client_msg_id="d")
        await ann.acked("e")
        await ann.acked("d")
        await ann.until("message_deleted")
    answer = await admin.get(f"/channels/{id}/export")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["message"].split("\n")[0] for line in lines] == ["line 0", "edited", "line 3", "line 4"]
    assert {line["channel"] for line in lines} == {"exported"}
    assert all(datetime.fromisoformat(line["authored_at"]).tzinfo == UTC for line in lines)
    assert (await admin.get("/channels/999999/export")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/messages", {"ids": []}),
        ("DELETE", "/messages", {"ids": [2**63]}),
        ("DELETE", "/messages", {"ids": list(range(501))}),
        ("DELETE", "/messages", {"ids": ["1; drop table"]}),
        ("GET", "/users?limit=201", None),
        ("GET", "/users?username=a%00b", None),
        ("GET", "/moderation/log?offset=-1", None),
        ("GET", "/moderation/log?action=%00", None),
        ("GET", "/channels/0/export", None),
        ("GET", "/channels/1%20or%201=1/export", None),
        ("PUT", "/channels/1/members/a.b", None),
        ("PUT", "/channels/1/members/a%0A", None),
        ("GET", "/activity/sessions?user_id=a%00b", None),
    ],
)
async def test_what_makes_no_sense_is_refused(admin: httpx.AsyncClient, method: str, path: str, body: Any) -> None:
    answer = await admin.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), answer.text


@pytest.mark.parametrize(
    "text", ["'; drop table chatserver.bans; --", "%", "_", "\\", "$1 of nowhere", "qqq' or 'zyx'='zyx"]
)
async def test_text_is_never_taken_for_a_query(admin: httpx.AsyncClient, text: str) -> None:
    for path, name in (("/users", "username"), ("/messages", "keyword"), ("/moderation/log", "subject")):
        answer = await admin.get(path, params={name: text})
        assert answer.status_code == 200
        payload = answer.json()["payload"]
        assert [payload[kind] for kind in ("users", "messages", "records") if kind in payload] == [[]]
    answer = await admin.get("/messages", params={"channel": text, "user_id": text})
    assert answer.json()["payload"] == {"messages": [], "has_more": False}
