"""What is asked over HTTP, and by whom."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chat_client import chatting
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer


@pytest.fixture
async def http(node: Chathub) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=node.http, trust_env=False) as client:
        yield client


@pytest.fixture
def user(tokens: Issuer) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.token('ann')}"}


@pytest.fixture
def admin(tokens: Issuer) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.token('boss', 'admin')}"}


async def names(http: httpx.AsyncClient, user: dict[str, str]) -> list[str]:
    return [channel["name"] for channel in (await http.get("/channels", headers=user)).json()["channels"]]


async def id_of(http: httpx.AsyncClient, user: dict[str, str], name: str) -> int:
    channels = (await http.get("/channels", headers=user)).json()["channels"]
    return next(channel["id"] for channel in channels if channel["name"] == name)


async def test_discovery_tells_everybody_where_things_are(http: httpx.AsyncClient) -> None:
    found = (await http.get("/discovery")).json()
    assert set(found) == {
        *("auth_url", "token_url", "chat_client", "chat_url", "health_url", "server_name", "server_id")
    }
    assert found["chat_url"] == "ws://localhost:8080/ws"
    assert found == (await http.get("/discovery")).json()


@pytest.mark.parametrize("path", ["/channels", "/messages?channel=general"])
async def test_nothing_else_is_told_without_a_token(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_a_token_in_the_query_counts_for_sockets_alone(http: httpx.AsyncClient, tokens: Issuer) -> None:
    assert (await http.get("/channels", params={"token": tokens.token("ann")})).status_code == 401


async def test_who_is_no_admin_changes_no_channel(http: httpx.AsyncClient, user: dict[str, str]) -> None:
    answers = [
        await http.post("/channels", headers=user, json={"name": "mine"}),
        await http.patch("/channels", headers=user, json={"id": 1, "name": "mine"}),
        await http.delete("/channels", headers=user, params={"id": 1, "purge": True}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "forbidden")] * 3
    assert "mine" not in await names(http, user)
    assert "general" in await names(http, user)


async def test_channels_are_made_changed_moved_and_deleted_and_sockets_hear_of_it(
    http: httpx.AsyncClient, node: Chathub, tokens: Issuer, user: dict[str, str], admin: dict[str, str]
) -> None:
    async with chatting(node.ws, tokens.token("bob")) as bob:
        made = await http.post("/channels", headers=admin, json={"name": "news", "description": "What is new"})
        assert (made.status_code, made.json()) == (201, {"message": "Channel created", "name": "news"})
        await bob.until("active_channels", lambda payload: "news" in str(payload))

        news, general = await id_of(http, user, "news"), await id_of(http, user, "general")
        moved = await http.patch("/channels", headers=admin, json={"id": news, "before_id": general})
        assert moved.json() == {"message": "Channel reordered"}
        assert (await names(http, user))[:2] == ["news", "general"]
        await http.patch("/channels", headers=admin, json={"id": news, "before_id": None})
        assert (await names(http, user))[-1] == "news"

        await bob.say("first of all", channel="news")
        await bob.hear("first of all")
        renamed = await http.patch("/channels", headers=admin, json={"id": news, "name": "latest", "description": ""})
        assert renamed.json() == {"message": "Channel updated"}
        channel = next(c for c in (await http.get("/channels", headers=user)).json()["channels"] if c["id"] == news)
        assert set(channel) == {"id", "name", "sort_order"}
        assert channel["name"] == "latest"
        await eventually(lambda: messages(http, user, channel="latest"), lambda found: found == ["first of all"])

        deleted = await http.delete("/channels", headers=admin, params={"id": news, "purge": "1"})
        assert deleted.json() == {"message": "Channel deleted"}
        await bob.until("active_channels", lambda payload: "latest" not in str(payload) and "news" not in str(payload))
        await bob.say("too late", channel="latest")
        assert (await bob.until("error"))["code"] == "unknown_channel"
        assert await messages(http, admin, channel="latest") == []
    async with chatting(node.ws, tokens.token("bob")) as again:
        assert "first of all" not in [text for _, text in again.messages()]


async def test_where_the_last_channel_was_deleted_people_still_whisper_and_a_new_one_can_be_made(
    empty_database_url: str, own_log_url: str, tokens: Issuer, admin: dict[str, str], log_file: Path
) -> None:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    environment = chathub.environment(database_url=empty_database_url, nats_url=own_log_url, issuer=tokens)
    with chathub.chathub(log_file, environment) as first:
        await asyncio.to_thread(chathub.wait_until_ready, first)
        async with httpx.AsyncClient(base_url=first.http, trust_env=False, headers=admin) as asked:
            for channel in (await asked.get("/channels")).json()["channels"]:
                (await asked.delete("/channels", params={"id": channel["id"]})).raise_for_status()
    with chathub.chathub(log_file, environment) as begun_later:
        await asyncio.to_thread(chathub.wait_until_ready, begun_later)
        async with chatting(begun_later.ws, tokens.token("ann")) as ann:
            await ann.whisper("ann", "nobody else to talk to")
            await ann.hear("nobody else to talk to", "private_chat_message")
            async with httpx.AsyncClient(base_url=begun_later.http, trust_env=False, headers=admin) as asked:
                (await asked.post("/channels", json={"name": "again"})).raise_for_status()
            await ann.until("active_channels", lambda payload: "again" in str(payload))
            await ann.say("here we are", channel="again")
            await ann.hear("here we are")


async def messages(http: httpx.AsyncClient, headers: dict[str, str], **asked: Any) -> list[str]:
    answer = await http.get("/messages", headers=headers, params=asked)
    assert answer.status_code == 200, answer.text
    return [message["message"] for message in answer.json()["payload"]["messages"]]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/channels", {}),
        ("POST", "/channels", {"name": ""}),
        ("POST", "/channels", {"name": "   "}),
        ("POST", "/channels", {"name": "x" * 25}),
        ("POST", "/channels", {"name": "a\0b"}),
        ("POST", "/channels", {"name": 7}),
        ("PATCH", "/channels", {"name": "x"}),
        ("PATCH", "/channels", {"id": 2**63}),
        ("PATCH", "/channels", {"id": "1; drop table"}),
        ("DELETE", "/channels", None),
        ("GET", "/messages?channel=general&limit=0", None),
        ("GET", "/messages?channel=general&limit=1000000", None),
        ("GET", "/messages?channel=general&offset=-1", None),
        ("GET", "/messages?channel=a%00b", None),
    ],
)
async def test_what_makes_no_sense_is_refused_in_the_shape_of_every_error(
    http: httpx.AsyncClient, admin: dict[str, str], method: str, path: str, body: Any
) -> None:
    answer = await http.request(method, path, headers=admin, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_a_name_that_is_taken_and_a_channel_that_is_not_there(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    assert (await http.post("/channels", headers=admin, json={"name": "general"})).status_code == 409
    assert (await http.patch("/channels", headers=admin, json={"id": 999, "name": "x"})).status_code == 404
    assert (await http.patch("/channels", headers=admin, json={"id": 1, "before_id": 999})).status_code == 404
    assert (await http.delete("/channels", headers=admin, params={"id": 999})).status_code == 404


async def test_messages_are_found_newest_first_page_by_page(
    http: httpx.AsyncClient, node: Chathub, tokens: Issuer, user: dict[str, str], admin: dict[str, str]
) -> None:
    async with chatting(node.ws, tokens.token("gus")) as gus:
        for number in range(5):
            await gus.say(f"paging the zebras {number}")
        await gus.hear("paging the zebras 4")
    expected = [f"paging the zebras {number}" for number in (4, 3, 2, 1, 0)]
    await eventually(lambda: messages(http, admin, user_id="gus"), lambda found: found == expected)
    assert await messages(http, admin, keyword="zebra") == expected  # by its stem
    answer = await http.get("/messages", headers=admin, params={"user_id": "gus", "limit": 2, "offset": 3})
    assert (answer.json()["type"], answer.json()["sender"]) == ("message_search_result", "server")
    page = answer.json()["payload"]
    assert ([message["message"] for message in page["messages"]], page["has_more"]) == (expected[3:], False)
    assert set(page["messages"][0]) == {"id", "cacheID", "owner_id", "username", "channel", "message", "authored_at"}
    first = (await http.get("/messages", headers=user, params={"channel": "general", "limit": 2})).json()["payload"]
    assert ([message["message"] for message in first["messages"]], first["has_more"]) == (expected[:2], True)


@pytest.mark.parametrize(
    "asked", ["", "?keyword=x", "?user_id=bob", "?channel=general&user_id=bob", "?channel=general&channel=news"]
)
async def test_free_search_is_for_admins(
    http: httpx.AsyncClient, user: dict[str, str], admin: dict[str, str], asked: str
) -> None:
    assert (await http.get(f"/messages{asked}", headers=user)).status_code == 403
    assert (await http.get(f"/messages{asked}", headers=admin)).status_code == 200


async def test_whispers_are_never_found(
    http: httpx.AsyncClient, node: Chathub, tokens: Issuer, admin: dict[str, str]
) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.whisper("ann", "secret pangolin")
        await ann.say("public pangolin")
        await ann.hear("public pangolin")
    found = await eventually(lambda: messages(http, admin, keyword="pangolin"))
    assert found == ["public pangolin"]


@pytest.mark.parametrize("framing", ["Content-Length: 1073741824", "Transfer-Encoding: chunked"])
async def test_nobody_fills_the_memory_with_a_body(node: Chathub, framing: str) -> None:
    head = f"POST /channels HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    chunks = [b"10000\r\n" + b" " * 0x10000 + b"\r\n"] * 20 if "chunked" in framing else []
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(b"".join((head.encode(), *chunks)))
        status, _, rest = (await reader.readuntil(b"}")).partition(b"\r\n")
        writer.close()
    assert status == b"HTTP/1.1 413 Request Entity Too Large"
    assert json.loads(rest.partition(b"\r\n\r\n")[2]) == {
        "code": "invalid_request",
        "message": "The body is too large.",
    }
