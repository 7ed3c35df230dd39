"""One subscriber, to the gateway or to PocketBase itself, and all that it was told."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from common.adapters.nats_bus import Bus, open_bus
from common.adapters.nats_listening import Listening, Received
from common.core import subjects
from common.core.record_feed import FeedHeartbeat, RecordImage, fingerprint
from common.ending import ended
from gateway.core.realtime.client_id import read_client_id
from tests.eventually import eventually
from tests.servers.natsync import Stack


@dataclass(slots=True)
class Listener:
    """`told` are topic and data of each event, as canonical JSON."""

    client: httpx.AsyncClient
    headers: Mapping[str, str]
    client_id: str = ""
    told: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    is_over: bool = False

    async def subscribe(self, *topics: str) -> int:
        body = {"clientId": self.client_id, "subscriptions": topics}
        answer = await self.client.post("/api/realtime", json=body, headers=dict(self.headers))
        return answer.status_code

    @property
    def counted(self) -> Counter[tuple[str, str]]:
        return Counter(self.told)

    def records(self, action: str = "") -> list[dict[str, Any]]:
        events = [json.loads(data) for _, data in self.told]
        return [event["record"] for event in events if action in ("", event["action"])]

    async def follow(self, events: AsyncIterator[tuple[str, Any]]) -> None:
        async for topic, data in events:
            self.told.append((topic, json.dumps(data, sort_keys=True)))
        self.is_over = True


async def events_of(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in lines:
        if line.startswith("event:"):
            name = line.removeprefix("event:")
        elif line.startswith("data:"):
            yield name, json.loads(line.removeprefix("data:"), parse_int=float)


@asynccontextmanager
async def listening(
    url: str, headers: Mapping[str, str] | None = None, address: str = "127.0.0.1"
) -> AsyncGenerator[Listener]:
    """Raises AssertionError unless the stream begins as PocketBase's does."""
    async with (
        httpx.AsyncClient(base_url=url, headers={"X-Forwarded-For": address}, timeout=30) as client,
        client.stream("GET", "/api/realtime", timeout=60) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = events_of(answer.aiter_lines())
        name, data = await anext(events)
        assert name == "PB_CONNECT"
        listener = Listener(client, headers or {}, data["clientId"])
        following = asyncio.ensure_future(listener.follow(events))
        try:
            yield listener
        finally:
            await ended([following])


def topic(path: str, **query: str) -> str:
    return f"{path}?options={quote(json.dumps({'query': query}))}" if query else path


async def own_stream(url: str) -> str:
    """The worker that tells it itself; nothing where PocketBase does."""
    async with listening(url) as listener:
        id = read_client_id(listener.client_id)
        return id.worker if id and await listener.subscribe("notes/*") == 204 else ""


async def until_own_streams(url: str, *, workers: int = 2) -> None:
    """Its workers may still be starting, or learn rules one after the other."""
    telling: set[str] = set()

    async def all_tell() -> bool:
        worker = await own_stream(url)
        telling.add(worker) if worker else telling.clear()
        return len(telling) == workers

    await eventually(all_tell, seconds=30)


def bus_of(feed: Stack, name: str = "gateway") -> AbstractAsyncContextManager[Bus]:
    """NATS as that service reaches it."""
    return open_bus(feed.nats_url, name=name, creds=feed.directory / "creds" / f"{name}.creds")


async def until_told(root: httpx.AsyncClient, feed: Stack) -> None:
    """Returns once the rules that hold have been told of twice, so that the gateway has heard of them too."""
    rows = (await root.get("/api/collections", params={"perPage": 500})).json()["items"]
    async with (
        asyncio.timeout(10),
        bus_of(feed) as bus,
        bus.listening(subjects.RECORDS_HEARTBEAT, FeedHeartbeat) as beats,
    ):
        count = 0
        async for beat in beats:
            if isinstance(beat, Received) and beat.message.schema == fingerprint(rows):
                count += 1
            if count == 2:
                return


@dataclass(slots=True)
class InOrder:
    """Writes, each told of before the next is made: PocketBase tells of two at once in either order."""

    root: httpx.AsyncClient
    images: Listening[RecordImage]

    async def create(self, path: str, body: Mapping[str, Any]) -> str:
        answer = (await self.root.post(path, json=dict(body))).raise_for_status()
        return await self._until(answer.json()["id"])

    async def update(self, path: str, id: str, body: Mapping[str, Any]) -> None:
        (await self.root.patch(f"{path}/{id}", json=dict(body))).raise_for_status()
        await self._until(id)

    async def delete(self, path: str, id: str) -> None:
        (await self.root.delete(f"{path}/{id}")).raise_for_status()
        await self._until(id)

    async def _until(self, id: str) -> str:
        async with asyncio.timeout(20):
            async for item in self.images:
                assert isinstance(item, Received), "the test itself has missed something"
                if item.message.id == id:
                    break
        return id


@asynccontextmanager
async def in_order(root: httpx.AsyncClient, feed: Stack) -> AsyncGenerator[InOrder]:
    async with bus_of(feed) as bus, bus.listening(subjects.IMAGES, RecordImage) as images:
        yield InOrder(root, images)
