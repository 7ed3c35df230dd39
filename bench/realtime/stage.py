"""PocketBase with what is listened to, natsync that tells of it, the gateway, the crowd, and what the servers take."""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from bench.gateway.load import cpu_seconds
from tests.eventually import eventually
from tests.servers import natsync
from tests.servers.gateway import PASSWORD, GatewayServer, gateway_server, prepare
from tests.servers.pocketbase import PocketBaseServer
from tests.servers.valkey import valkey_server

WORKERS = 2
USERS = 5
PUBLIC, OWNED = "posts", "notes"
"""Whose records everybody sees, and whose records only their owners see."""
PATIENCE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Caller:
    id: str
    gateway_token: str
    pocketbase_token: str


@dataclass(frozen=True, slots=True)
class Stage:
    pocketbase: PocketBaseServer
    gateway: GatewayServer
    feed_process_ids: tuple[int, int]
    root: httpx.AsyncClient
    callers: Sequence[Caller]

    def cpu_seconds(self, *, through_gateway: bool) -> float:
        """What all who have a part in telling of a change have taken: natsync and nats-server too, idle or not."""
        ours = (self.gateway.process_id, *self.feed_process_ids) if through_gateway else ()
        return sum(cpu_seconds(process) for process in (self.pocketbase.process_id, *ours))

    async def write(self, collection: str, index: int) -> float:
        """Seconds that one write took, as its client sees it."""
        body = {"title": "a change " * 8, "owner": self.callers[index % USERS].id}
        begun = time.perf_counter()
        (await self.root.post(f"/api/collections/{collection}/records", json=body)).raise_for_status()
        return time.perf_counter() - begun

    async def write_seconds(self, collection: str, count: int, *, apart_seconds: float = 0.0) -> float:
        taken: list[float] = []
        for index in range(count):
            await asyncio.sleep(apart_seconds)
            taken.append(await self.write(collection, index))
        return statistics.median(taken)


@asynccontextmanager
async def open_stage() -> AsyncGenerator[Stage]:
    with ExitStack() as running:
        feed, valkey_url = running.enter_context(natsync.stack()), running.enter_context(valkey_server())
        feed.command("bootstrap").check_returncode()
        natsync.prepare(feed.pocketbase)
        pocketbase, token = feed.pocketbase, prepare(feed.pocketbase)
        async with httpx.AsyncClient(base_url=pocketbase.url, headers={"Authorization": token}, timeout=60) as root:
            await collections_made(root)
            feed_ids = (running.enter_context(feed.nats()).pid, running.enter_context(feed.serving()).pid)
            limits = json.dumps({name: {"limit": 0} for name in ("realtime", "default", "auth", "users:auth")})
            changed = {"GATEWAY_WORKERS": str(WORKERS), "GATEWAY_RATE_LIMITS": limits, **natsync.hearing(feed)}
            gateway = running.enter_context(gateway_server(pocketbase, valkey_url, changed))
            callers = [await made_caller(root, pocketbase.url, gateway.url, index) for index in range(USERS)]
            await eventually(lambda: is_fanning(gateway))
            yield Stage(pocketbase, gateway, feed_ids, root, callers)


async def collections_made(root: httpx.AsyncClient) -> None:
    fields = [{"name": "title", "type": "text"}, {"name": "owner", "type": "text"}]
    body = {"name": PUBLIC, "type": "base", "fields": fields, "listRule": "", "viewRule": ""}
    (await root.post("/api/collections", json=body)).raise_for_status()
    own = "owner = @request.auth.id"
    (await root.patch(f"/api/collections/{OWNED}", json={"listRule": own, "viewRule": own})).raise_for_status()


async def made_caller(root: httpx.AsyncClient, direct: str, through: str, index: int) -> Caller:
    email = f"user{index}@example.com"
    body = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD}
    made = (await root.post("/api/collections/users/records", json=body)).raise_for_status().json()
    tokens: list[str] = []
    for url in (through, direct):
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            credentials = {"identity": email, "password": PASSWORD}
            answer = await client.post("/api/collections/users/auth-with-password", json=credentials)
            tokens.append(answer.raise_for_status().json()["token"])
    return Caller(made["id"], *tokens)


async def is_fanning(gateway: GatewayServer) -> bool:
    async with (
        httpx.AsyncClient(base_url=gateway.url) as client,
        client.stream("GET", "/api/realtime") as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("id:"):
                return line.startswith("id:gw-")
    return False


class Crowd:
    """See `bench.realtime.crowd`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def heard(self, count: int) -> tuple[int, float]:
        """Once so many events have come: how many there were, and when the last one came."""
        self._say(f"AT LEAST {count}")
        told: dict[str, Any] = json.loads(await self.line())
        if told["events"] != count:
            raise RuntimeError(f"{told['events']} events came, and not {count}")
        return told["events"], told["last"]

    def _say(self, text: str) -> None:
        if self._process.stdin:
            self._process.stdin.write(f"{text}\n".encode())

    async def line(self) -> str:
        if self._process.stdout is None:
            raise RuntimeError("the crowd cannot be heard")
        async with asyncio.timeout(PATIENCE_SECONDS):
            return (await self._process.stdout.readline()).decode()


@asynccontextmanager
async def crowd(url: str, count: int, topic: str, tokens: Sequence[str]) -> AsyncGenerator[Crowd]:
    command = [sys.executable, "-m", "bench.realtime.crowd", url, str(count), topic, json.dumps(list(tokens))]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        opened = Crowd(process)
        if (await opened.line()).strip() != "ready":
            raise RuntimeError("the crowd did not assemble")
        yield opened
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
