"""What ends a stream, and how soon: nobody is told anything for longer than a second after he has lost the right."""

import os
import secrets
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack

import httpx
import pytest

from common.core import subjects
from common.core.notices import UserBanned
from tests.eventually import eventually
from tests.integration.gateway.realtime.listener import Listener, bus_of, listening, until_own_streams, until_told
from tests.servers.gateway import GatewayServer, User, gateway_server, prepare, signed_up
from tests.servers.natsync import Stack, hearing, stack

NOTES = "/api/collections/notes/records"
SHORTEST_SECONDS = 10
"""Of PocketBase's tokens."""
SPREAD_SECONDS = 1.0
"""Streams end within this time of when they are told nothing any more."""


@pytest.fixture
async def ann(client: httpx.AsyncClient, fanning: GatewayServer) -> User:
    await until_own_streams(fanning.url)
    return await signed_up(client)


async def write(root: httpx.AsyncClient, owner: User, title: str) -> None:
    assert (await root.post(NOTES, json={"title": title, "owner": owner.id})).is_success


async def is_told(listener: Listener, title: str) -> bool:
    return any(record["title"] == title for record in listener.records())


async def is_over(listener: Listener) -> bool:
    return listener.is_over


async def signed_in(client: httpx.AsyncClient, user: User) -> str:
    credentials = {"identity": user.email, "password": user.password}
    return (await client.post("/api/collections/users/auth-with-password", json=credentials)).json()["token"]


async def sign_out(client: httpx.AsyncClient, user: User) -> None:
    sessions = (await client.get("/sessions", headers=user.headers)).json()["items"]
    own = next(session["id"] for session in sessions if session["current"])
    assert (await client.delete(f"/sessions/{own}", headers=user.headers)).is_success


async def hears_what_is_written(
    listener: Listener, other: Listener, client: httpx.AsyncClient, owner: User, headers: Mapping[str, str]
) -> bool:
    """`other` does."""
    title = secrets.token_hex(4)
    await client.post(NOTES, json={"title": title, "owner": owner.id}, headers=dict(headers))
    await eventually(lambda: is_told(other, title))
    return await is_told(listener, title)


async def ends_within_a_second(listener: Listener) -> None:
    begun = time.monotonic()
    await eventually(lambda: is_over(listener))
    assert time.monotonic() - begun < 1 + SPREAD_SECONDS


async def test_a_sign_out_ends_the_streams_of_that_session_and_no_other(
    fanning: GatewayServer, client: httpx.AsyncClient, root: httpx.AsyncClient, ann: User
) -> None:
    other = await signed_in(client, ann)
    async with listening(fanning.url, ann.headers) as first, listening(fanning.url, {"Authorization": other}) as second:
        for listener in (first, second):
            assert await listener.subscribe("notes/*") == 204
        await write(root, ann, "before")
        for listener in (first, second):
            await eventually(lambda listener=listener: is_told(listener, "before"))
        await sign_out(client, ann)
        await write(root, ann, "after")
        await eventually(lambda: is_told(second, "after"))
        await ends_within_a_second(first)
        assert not await is_told(first, "after")
        assert not second.is_over


async def test_a_ban_ends_the_streams_of_a_user(
    fed: Stack, fanning: GatewayServer, root: httpx.AsyncClient, ann: User
) -> None:
    async with listening(fanning.url, ann.headers) as listener:
        assert await listener.subscribe("notes/*") == 204
        async with bus_of(fed, "chathub") as bus:
            await bus.ready()
            await bus.publish(subjects.USER_BANNED, UserBanned(subject=ann.id))
        await ends_within_a_second(listener)
        await write(root, ann, "after")
        assert not listener.told


async def test_another_password_and_the_end_of_the_account_end_its_streams(
    fanning: GatewayServer, client: httpx.AsyncClient, root: httpx.AsyncClient, ann: User
) -> None:
    async with listening(fanning.url, ann.headers) as listener:
        assert await listener.subscribe("notes/*") == 204
        body = {"password": "another-horse", "passwordConfirm": "another-horse"}
        assert (await root.patch(f"/api/collections/users/records/{ann.id}", json=body)).is_success
        await ends_within_a_second(listener)
    bob = await signed_up(client)
    async with listening(fanning.url, bob.headers) as listener:
        assert await listener.subscribe("notes/*") == 204
        assert (await root.delete(f"/api/collections/users/records/{bob.id}")).is_success
        await ends_within_a_second(listener)


async def test_a_token_that_expires_ends_its_streams(
    fed: Stack, fanning: GatewayServer, client: httpx.AsyncClient, root: httpx.AsyncClient
) -> None:
    name = f"visitors_{secrets.token_hex(3)}"
    terms = {"duration": SHORTEST_SECONDS}
    made = await root.post("/api/collections", json={"name": name, "type": "auth", "authToken": terms})
    assert made.is_success, made.text
    email, password = f"{name}@example.com", "correct-horse"
    body = {"email": email, "password": password, "passwordConfirm": password}
    assert (await root.post(f"/api/collections/{name}/records", json=body)).is_success
    await until_told(root, fed)
    await until_own_streams(fanning.url)
    credentials = {"identity": email, "password": password}
    begun = time.time()
    token = (await client.post(f"/api/collections/{name}/auth-with-password", json=credentials)).json()["token"]
    async with listening(fanning.url, {"Authorization": token}) as listener:
        assert await listener.subscribe("notes/*") == 204
        await eventually(lambda: is_over(listener), seconds=SHORTEST_SECONDS + 10)
    assert SHORTEST_SECONDS - 1 < time.time() - begun < SHORTEST_SECONDS + 1 + SPREAD_SECONDS + 1


async def test_other_rules_end_all_streams_and_nothing_is_told_by_the_old_ones(
    fed: Stack, fanning: GatewayServer, root: httpx.AsyncClient, ann: User
) -> None:
    name = f"rooms_{secrets.token_hex(3)}"
    fields = [{"name": "title", "type": "text"}]
    made = await root.post("/api/collections", json={"name": name, "type": "base", "fields": fields, "listRule": ""})
    assert made.is_success
    await until_told(root, fed)
    await until_own_streams(fanning.url)
    async with listening(fanning.url, ann.headers) as listener:
        assert await listener.subscribe(f"{name}/*") == 204
        await root.patch(f"/api/collections/{name}", json={"listRule": None})
        await ends_within_a_second(listener)
        await root.post(f"/api/collections/{name}/records", json={"title": "not for you"})
        assert not listener.told


async def test_without_the_feed_pocketbase_tells_those_that_come_again_until_their_session_or_the_silence_ends(
    valkey_url: str,
) -> None:
    with stack() as alone, ExitStack() as running:
        assert alone.command("bootstrap").returncode == 0
        prepare(alone.pocketbase)
        running.enter_context(alone.nats())
        with alone.serving():
            gateway = running.enter_context(gateway_server(alone.pocketbase, valkey_url, hearing(alone)))
            await until_own_streams(gateway.url, workers=1)
            opened = AsyncExitStack()
            listener = await opened.enter_async_context(listening(gateway.url))
            assert await listener.subscribe("notes/*") == 204
        async with opened:
            await eventually(lambda: is_over(listener))
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
            cid = await signed_up(client)
            async with listening(gateway.url, cid.headers, "203.0.113.8") as listener:
                assert not listener.client_id.startswith("gw-")
                assert await listener.subscribe("notes/*") == 204
                await client.post(NOTES, json={"title": "passed on", "owner": cid.id}, headers=cid.headers)
                await eventually(lambda: is_told(listener, "passed on"))
                again = {"Authorization": await signed_in(client, cid)}
                async with listening(gateway.url, again) as other:
                    assert await other.subscribe("notes/*") == 204
                    await sign_out(client, cid)
                    signed_out = time.monotonic()
                    while await hears_what_is_written(listener, other, client, cid, again):
                        assert time.monotonic() - signed_out < 1
                    with alone.serving():
                        for left in (listener, other):
                            await eventually(lambda left=left: is_over(left), seconds=20)
                        await until_own_streams(gateway.url, workers=1)


async def test_a_gateway_that_stops_ends_its_streams_in_order(fed: Stack, fed_token: str, valkey_url: str) -> None:
    assert fed_token
    with gateway_server(fed.pocketbase, valkey_url, hearing(fed)) as gateway:
        await until_own_streams(gateway.url, workers=1)
        async with listening(gateway.url) as listener:
            os.kill(gateway.process_id, signal.SIGTERM)
            await eventually(lambda: is_over(listener))
