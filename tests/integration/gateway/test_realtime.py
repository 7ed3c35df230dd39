"""Realtime streams through the gateway, one to one."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.eventually import eventually
from tests.servers.gateway import User

NOTES = "/api/collections/notes/records"


@asynccontextmanager
async def stream(client: httpx.AsyncClient, **headers: str) -> AsyncGenerator[tuple[str, AsyncIterator[Any]]]:
    """The client id that PocketBase chose, and the events' data as they come."""
    async with client.stream("GET", "/api/realtime", headers=headers, timeout=10) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        assert "content-length" not in answer.headers
        events = data_of(answer.aiter_lines())
        yield (await anext(events))["clientId"], events


async def data_of(lines: AsyncIterator[str]) -> AsyncIterator[Any]:
    async for line in lines:
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


async def subscribe(client: httpx.AsyncClient, client_id: str, headers: dict[str, str], *topics: str) -> int:
    body = {"clientId": client_id, "subscriptions": topics}
    return (await client.post("/api/realtime", json=body, headers=headers)).status_code


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
