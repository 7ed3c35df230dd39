"""A realtime stream and what is subscribed to on it, as an SDK would have it."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx


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
