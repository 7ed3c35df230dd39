"""Channels that are there for their members alone, on two nodes."""

import json
from collections.abc import AsyncGenerator, Generator
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.chat_client import ChatClient, chatting
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer


@pytest.fixture(scope="module")
def other(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[Chathub]:
    with chathub.chathub(tmp_path_factory.mktemp("other") / "log", environment) as running:
        chathub.wait_until_ready(running)
        yield running


@pytest.fixture
async def admin(node: Chathub, tokens: Issuer) -> AsyncGenerator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {tokens.token('boss', 'admin')}"}
    async with httpx.AsyncClient(base_url=node.http, headers=headers, trust_env=False) as client:
        yield client


async def private_channel(admin: httpx.AsyncClient, *members: str) -> tuple[int, str]:
    name = uuid4().hex[:12]
    assert (await admin.post("/channels", json={"name": name, "private": True})).status_code == 201
    channels = (await admin.get("/channels")).json()["channels"]
    [id] = [channel["id"] for channel in channels if channel["name"] == name and channel["private"]]
    for member in members:
        assert (await admin.put(f"/channels/{id}/members/{member}")).status_code == 204
    return id, name


def knows(client: ChatClient, text: str) -> bool:
    return any(text in json.dumps(frame) for frame in client.heard)


async def caught_up(client: ChatClient, sender: ChatClient) -> None:
    """Whatever was sent before to everybody has come."""
    mark = uuid4().hex
    await sender.say(mark)
    await client.hear(mark)


async def test_members_hear_each_other_on_every_node_and_nobody_else_does(
    node: Chathub, other: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    _, name = await private_channel(admin, "ann", "bob")
    async with (
        chatting(node.ws, tokens.token("ann")) as ann,
        chatting(other.ws, tokens.token("bob")) as bob,
        chatting(other.ws, tokens.token("eve")) as eve,
        chatting(other.ws, tokens.token("boss", "admin", azp="WebClient")) as dashboard,
    ):
        await bob.until("active_channels", lambda payload: name in str(payload))
        await ann.say("a secret", channel=name, client_msg_id=f"{name}-1")
        place = await ann.acked(f"{name}-1")
        await bob.hear("a secret")
        await ann.send(type="typing", channel=name)
        await bob.until("typing")
        await ann.send(type="edit_message", cacheID=place, message="a changed secret")
        await bob.until("message_edited")
        for outsider in (eve, dashboard):
            await caught_up(outsider, ann)
            assert not knows(outsider, "secret")
            assert name not in str([frame for frame in outsider.heard if frame["type"] != "message_count_by_channel"])
            assert place not in [frame["payload"].get("cacheID") for frame in outsider.heard]


async def test_outsiders_cannot_write_read_back_export_or_even_see_that_it_is_there(
    node: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    id, name = await private_channel(admin, "ann")
    async with chatting(node.ws, tokens.token("ann")) as ann, chatting(node.ws, tokens.token("eve")) as eve:
        await ann.say("not for eve", channel=name, client_msg_id=f"{name}-1")
        place = await ann.acked(f"{name}-1")
        for number, frame in enumerate(
            [
                {"type": "chat_message", "channel": name, "message": "let me in"},
                {"type": "typing", "channel": name},
                {"type": "edit_message", "cacheID": place, "message": "changed"},
                {"type": "delete_message", "cacheID": place},
            ]
        ):
            await eve.send(**frame, client_msg_id=f"{name}-eve-{number}")
        codes = set[str]()
        while len(codes) < 2:
            frame = await eve.next()
            if frame["type"] == "error":
                codes.add(frame["payload"]["code"])
        assert codes == {"unknown_channel", "not_found"}
    outsider = {"Authorization": f"Bearer {tokens.token('eve')}"}
    member = {"Authorization": f"Bearer {tokens.token('ann')}"}
    asked = {"channel": name}
    unknown = (await admin.get("/messages", params={"channel": "no such"}, headers=outsider)).json()
    assert (await admin.get("/messages", params=asked, headers=outsider)).json() == unknown
    back = (await admin.get("/messages", params=asked, headers=member)).json()["payload"]["messages"]
    assert [message["message"] for message in back] == ["not for eve"]
    assert name not in (await admin.get("/channels", headers=outsider)).text
    assert name in (await admin.get("/channels", headers=member)).text
    assert (await admin.get(f"/channels/{id}/members", headers=outsider)).status_code == 404
    assert (await admin.get("/channels/99999/members", headers=outsider)).status_code == 404
    assert (await admin.get(f"/channels/{id}/members", headers=member)).json()["members"][0]["id"] == "ann"
    for headers in (outsider, member):
        assert (await admin.get(f"/channels/{id}/export", headers=headers)).status_code == 403
    assert (await admin.get(f"/channels/{id}/export")).text.count("\n") == 1


async def test_history_and_what_was_missed_are_for_members_alone(
    node: Chathub, other: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    _, name = await private_channel(admin, "ann")
    async with chatting(other.ws, tokens.token("eve"), resume="new") as eve:
        place = eve.place()
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.say("kept among us", channel=name, client_msg_id=f"{name}-1")
        await ann.acked(f"{name}-1")
        await ann.say("for all of you", client_msg_id=f"{name}-2")
        await ann.acked(f"{name}-2")
    for node_ in (node, other):
        async with chatting(node_.ws, tokens.token("eve"), resume=place) as eve:
            await eve.hear("for all of you")
            assert not knows(eve, "kept among us")
        async with chatting(node_.ws, tokens.token("eve")) as eve:
            assert not knows(eve, "kept among us")
            assert not knows(eve, name)
        async with chatting(node_.ws, tokens.token("ann")) as ann:
            assert "kept among us" in [text for _, text in ann.messages()]


async def test_whoever_is_removed_hears_nothing_said_by_those_who_know_of_it(
    node: Chathub, other: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    """The removal is made on one node, the removed one sits on the other, and the very next message counts."""
    for _ in range(10):
        id, name = await private_channel(admin, "ann", "eve")
        async with (
            chatting(node.ws, tokens.token("ann")) as ann,
            chatting(other.ws, tokens.token("eve")) as eve,
        ):
            await ann.say("welcome", channel=name)
            await eve.hear("welcome")
            assert (await admin.delete(f"/channels/{id}/members/eve")).status_code == 204
            await ann.say("now that she is gone", channel=name)
            await caught_up(eve, ann)
            assert not knows(eve, "now that she is gone")
            assert (await admin.delete(f"/channels/{id}/members/eve")).status_code == 404


async def test_whoever_is_added_hears_the_very_next_message_on_another_node(
    node: Chathub, other: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann, chatting(other.ws, tokens.token("bob")) as bob:
        for number in range(10):
            _, name = await private_channel(admin, "ann", "bob")
            await ann.say(f"at once {number}", channel=name)
            await bob.hear(f"at once {number}")


async def test_a_public_channel_has_no_members(admin: httpx.AsyncClient) -> None:
    assert (await admin.put("/channels/1/members/ann")).status_code == 404
    assert (await admin.get("/channels/1/members")).status_code == 404


async def test_nothing_of_a_deleted_private_channel_comes_out_afterwards(
    node: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    id, name = await private_channel(admin, "ann")
    async with chatting(node.ws, tokens.token("ann")) as ann, chatting(node.ws, tokens.token("eve")) as eve:
        await ann.say("before the end", channel=name, client_msg_id=f"{name}-1")
        place = await ann.acked(f"{name}-1")
        await admin.delete("/channels", params={"id": id})
        await ann.until("active_channels", lambda payload: name not in str(payload))
        await ann.send(type="edit_message", cacheID=place, message="after the end", client_msg_id=f"{name}-2")
        await ann.until("error", lambda payload: payload["client_msg_id"] == f"{name}-2")
        await caught_up(eve, ann)
        assert not knows(eve, "before the end")
        assert not knows(eve, "after the end")

    async def found() -> str:
        return (await admin.get("/messages", params={"user_id": "ann", "keyword": "end"})).text

    await eventually(found, lambda text: "before the end" in text)


async def test_a_private_channel_that_takes_a_public_ones_name_is_not_read_back_as_that(
    node: Chathub, tokens: Issuer, admin: httpx.AsyncClient, database_url: str
) -> None:
    """Renamed where this node is not told of it at once."""
    id, name = await private_channel(admin, "ann")
    await admin.post("/channels", json={"name": (public := uuid4().hex[:12])})
    member = {"Authorization": f"Bearer {tokens.token('ann')}"}
    outsider = {"Authorization": f"Bearer {tokens.token('eve')}"}

    async def found(channel: str, headers: dict[str, str]) -> str:
        return (await admin.get("/messages", params={"channel": channel}, headers=headers)).text

    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.say("whatever it is called", channel=name)
        await eventually(lambda: found(name, member), lambda text: '"id":-' not in text and "whatever" in text)
    connection = await asyncpg.connect(database_url)
    await connection.execute("update chatserver.channels set name = $2 where name = $1", public, uuid4().hex[:12])
    await connection.execute("update chatserver.channels set name = $2 where id = $1", id, public)
    await connection.close()
    assert "whatever it is called" not in await found(public, outsider)
