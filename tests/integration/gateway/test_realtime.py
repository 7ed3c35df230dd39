"""Realtime streams through the gateway, one to one."""

import json
import secrets
from urllib.parse import quote

import httpx

from tests.eventually import eventually
from tests.realtime_client import stream, subscribe
from tests.servers.gateway import User

NOTES = "/api/collections/notes/records"


async def test_a_change_reaches_the_one_who_may_see_it(client: httpx.AsyncClient, ann: User, bob: User) -> None:
    async with stream(client) as (ann_id, ann_hears), stream(client) as (bob_id, bob_hears):
        assert await subscribe(client, ann_id, ann.headers, "notes/*") == 204
        assert await subscribe(client, bob_id, bob.headers, "notes/*") == 204
        for user in (ann, bob):
            await client.post(NOTES, json={"title": f"of {user.id}", "owner": user.id}, headers=user.headers)
        heard = await anext(ann_hears)
        assert (heard["action"], heard["record"]["title"]) == ("create", f"of {ann.id}")
        assert (await anext(bob_hears))["record"]["title"] == f"of {bob.id}", "bob heard of ann's note"


async def test_a_guest_hears_nothing_that_is_not_public(client: httpx.AsyncClient, ann: User) -> None:
    async with stream(client) as (guest_id, guest_hears), stream(client) as (ann_id, ann_hears):
        assert await subscribe(client, guest_id, {}, "notes/*", "users/*", "_superusers/*") == 204
        assert await subscribe(client, ann_id, ann.headers, "notes/*") == 204
        await client.post(NOTES, json={"title": "secret", "owner": ann.id}, headers=ann.headers)
        await anext(ann_hears)
        assert await subscribe(client, guest_id, ann.headers, "notes/*") == 204  # a guest may become a user
        await client.post(NOTES, json={"title": "later", "owner": ann.id}, headers=ann.headers)
        assert (await anext(guest_hears))["record"]["title"] == "later"


def with_headers(topic: str, **headers: str) -> str:
    return f"{topic}?options={quote(json.dumps({'headers': headers}))}"


async def test_a_topic_speaks_for_its_client_alone(
    client: httpx.AsyncClient, superuser: httpx.AsyncClient, ann: User
) -> None:
    """PocketBase takes a topic's headers for the request's, and echoes the topic as it is into the stream."""
    name = f"inner_{secrets.token_hex(4)}"
    rules = {"listRule": "@request.headers.x_real_ip = '10.0.0.1' || @request.headers.x_tenant = 'a'", "createRule": ""}
    fields = [{"name": "title", "type": "text"}]
    await superuser.post("/api/collections", json={"name": name, "type": "base", "fields": fields, **rules})
    async with stream(client) as (client_id, hears):
        for topic in (
            with_headers(f"{name}/*", **{"X-Real-IP": "10.0.0.1"}),
            with_headers(f"{name}/*", xRealIp="10.0.0.1"),
            f"{name}/*?x=\nid: other",
        ):
            assert await subscribe(client, client_id, ann.headers, "notes/*", topic) == 400
        await client.post(f"/api/collections/{name}/records", json={"title": "not for the public"})
        own = with_headers(f"{name}/*", **{"X-Tenant": "a"})
        assert await subscribe(client, client_id, ann.headers, own) == 204
        await client.post(f"/api/collections/{name}/records", json={"title": "for tenants"})
        assert (await anext(hears))["record"]["title"] == "for tenants"


async def test_only_the_address_that_opened_a_stream_may_subscribe_it(client: httpx.AsyncClient, ann: User) -> None:
    async with stream(client, **{"X-Forwarded-For": "203.0.113.7"}) as (client_id, _):
        elsewhere = {**ann.headers, "X-Forwarded-For": "203.0.113.8"}
        assert await subscribe(client, client_id, elsewhere, "notes/*") == 400
        here = {**ann.headers, "X-Forwarded-For": "203.0.113.7"}
        assert await subscribe(client, client_id, here, "notes/*") == 204


async def test_a_stream_that_is_left_is_closed_towards_pocketbase(client: httpx.AsyncClient, ann: User) -> None:
    async with stream(client) as (client_id, _):
        assert await subscribe(client, client_id, ann.headers, "notes/*") == 204

    async def status() -> int:
        return await subscribe(client, client_id, ann.headers, "notes/*")

    await eventually(status, lambda status: status == 404)
