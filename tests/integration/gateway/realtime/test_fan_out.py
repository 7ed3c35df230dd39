"""Realtime streams that the gateway tells itself: the ways in, and the ways in which they end."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from tests.eventually import eventually
from tests.integration.gateway.realtime.listener import Listener, listening, until_own_streams
from tests.realtime_client import stream, subscribe
from tests.servers.gateway import GatewayServer, signed_up
from tests.servers.natsync import PASSWORD, Stack, tenants_of

NOTES = "/api/collections/notes/records"


@asynccontextmanager
async def fanned(client: httpx.AsyncClient) -> AsyncGenerator[tuple[str, AsyncIterator[Any]]]:
    """A stream of the gateway's own: until its feed is heard, streams are PocketBase's."""

    await until_own_streams(str(client.base_url))
    async with stream(client) as opened:
        assert opened[0].startswith("gw-")
        yield opened


async def test_whoever_may_see_a_record_is_told_of_it_by_whichever_worker_holds_him(client: httpx.AsyncClient) -> None:
    ann, bob = await signed_up(client), await signed_up(client)
    async with fanned(client) as (ann_id, ann_hears), fanned(client) as (bob_id, bob_hears):
        for _ in range(6):  # connections of their own may reach either worker
            async with httpx.AsyncClient(base_url=client.base_url) as other:
                assert await subscribe(other, ann_id, ann.headers, "notes/*") == 204
                assert await subscribe(other, bob_id, bob.headers, "notes/*") == 204
        for user in (ann, bob):
            await client.post(NOTES, json={"title": f"of {user.id}", "owner": user.id}, headers=user.headers)
        heard = await anext(ann_hears)
        assert (heard["action"], heard["record"]["title"]) == ("create", f"of {ann.id}")
        assert (await anext(bob_hears))["record"]["title"] == f"of {bob.id}", "bob heard of ann's note"


async def test_ids_are_new_for_each_connection_and_belong_to_one_address_and_one_account(
    client: httpx.AsyncClient,
) -> None:
    ann, bob = await signed_up(client), await signed_up(client)
    async with fanned(client) as (first, _), fanned(client) as (second, _):
        assert first != second
        assert await subscribe(client, first[:-1] + ("a" if first[-1] != "a" else "b"), {}, "notes/*") == 404
        assert await subscribe(client, f"gw-{secrets.token_hex(8)}-{first[-32:]}", {}, "notes/*") == 404
        assert await subscribe(client, first, ann.headers, "notes/*") == 204, "a guest may become a user"
        assert await subscribe(client, first, bob.headers, "notes/*") == 403
        assert await subscribe(client, first, {}, "notes/*") == 403
        elsewhere = {**bob.headers, "X-Forwarded-For": "203.0.113.8"}
        assert await subscribe(client, second, elsewhere, "notes/*") == 400


async def test_as_many_topics_as_pocketbase_takes_reach_whichever_worker(client: httpx.AsyncClient) -> None:
    ann = await signed_up(client)
    topics = [f"notes/{number:04}?options=" + "x" * 2400 for number in range(999)]
    async with fanned(client) as (client_id, hears):
        for _ in range(6):
            async with httpx.AsyncClient(base_url=client.base_url, timeout=30) as other:
                assert await subscribe(other, client_id, ann.headers, *topics, "notes/*") in (204, 400)
                options = [topic.replace("x" * 2400, "%7B%7D" + "&x=" + "x" * 2300) for topic in topics]
                assert await subscribe(other, client_id, ann.headers, *options, "notes/*") == 204
        await client.post(NOTES, json={"title": "at last", "owner": ann.id}, headers=ann.headers)
        assert (await anext(hears))["record"]["title"] == "at last"


async def test_topics_with_control_characters_are_refused_and_so_are_too_many(client: httpx.AsyncClient) -> None:
    async with fanned(client) as (client_id, _):
        assert await subscribe(client, client_id, {}, "notes/*\nevent: x") == 400
        assert await subscribe(client, client_id, {}, *(f"notes/{number}" for number in range(1001))) == 400
        assert await subscribe(client, client_id, {}, "notes/" + "a" * 2500) == 400


async def test_what_natsync_keeps_out_of_its_images_is_told_by_pocketbase_itself(
    fed: Stack, fanning: GatewayServer
) -> None:
    await until_own_streams(fanning.url)
    async with tenants_of(fed) as tenants, AsyncExitStack() as stack:
        *_, user, _ = await tenants.someone()
        listeners: list[Listener] = []
        for url in (fed.pocketbase.url, fanning.url):
            async with httpx.AsyncClient(base_url=url, timeout=20) as client:
                credentials = {"identity": user["email"], "password": PASSWORD}
                answer = await client.post("/api/collections/nats_users/auth-with-password", json=credentials)
            headers = {"Authorization": answer.raise_for_status().json()["token"]}
            listeners.append(await stack.enter_async_context(listening(url, headers)))
            assert await listeners[-1].subscribe("nats_users/*", f"nats_users/{user['id']}") == 204
        direct, through = listeners
        await tenants.control.update("nats_users", user["id"], {"emailVisibility": True})

        async def is_equal() -> bool:
            assert direct.told
            return direct.counted == through.counted

        await eventually(is_equal)
        assert not through.is_over, "who listens is followed, though his record is in no image"
