"""Two gateway processes that keep answers, and PocketBase changed past them, with every server real."""

from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.eventually import eventually
from tests.servers.gateway import GatewayServer, User, prepare, signed_up
from tests.servers.natsync import Stack, running_stack
from tests.session_client import two_gateways

SOON_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Site:
    stack: Stack
    servers: tuple[GatewayServer, GatewayServer]
    superuser_token: str


@dataclass(frozen=True, slots=True)
class Scene:
    """Two processes, and PocketBase itself as its superuser."""

    here: httpx.AsyncClient
    there: httpx.AsyncClient
    direct: httpx.AsyncClient

    async def collection(self, **terms: Any) -> str:
        name = f"posts_{uuid4().hex[:8]}"
        fields = [{"name": "title", "type": "text"}, {"name": "owner", "type": "text"}]
        rules = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
        body = {"name": name, "type": "base", "fields": [*fields, *terms.pop("fields", ())], **rules, **terms}
        (await self.direct.post("/api/collections", json=body)).raise_for_status()
        return name

    async def record(self, collection: str, **fields: Any) -> str:
        answer = await self.direct.post(f"/api/collections/{collection}/records", json=fields)
        return answer.raise_for_status().json()["id"]

    async def changed(self, collection: str, id: str, **fields: Any) -> None:
        path = f"/api/collections/{collection}/records/{id}"
        (await self.direct.patch(path, json=fields)).raise_for_status()


@pytest.fixture(scope="module")
def site(valkey_url: str) -> Generator[Site]:
    with ExitStack() as running:
        stack = running.enter_context(running_stack())
        token = prepare(stack.pocketbase)
        servers = running.enter_context(two_gateways(stack.pocketbase, valkey_url, **listening(stack)))
        yield Site(stack, servers, token)


def listening(stack: Stack) -> dict[str, str]:
    creds = stack.directory / "creds" / "gateway.creds"
    return {"NATS_URL": stack.nats_url, "GATEWAY_NATS_CREDS": str(creds)}


@pytest.fixture
async def scene(site: Site) -> AsyncGenerator[Scene]:
    async with (
        httpx.AsyncClient(base_url=site.servers[0].url, timeout=20) as here,
        httpx.AsyncClient(base_url=site.servers[1].url, timeout=20) as there,
        httpx.AsyncClient(
            base_url=site.stack.pocketbase.url, timeout=20, headers={"Authorization": site.superuser_token}
        ) as direct,
    ):
        yield Scene(here, there, direct)


async def read(client: httpx.AsyncClient, path: str, user: User | None = None, **headers: str) -> httpx.Response:
    return await client.get(path, headers={**(user.headers if user else {}), **headers})


async def kept(client: httpx.AsyncClient, path: str, user: User | None = None) -> httpx.Response:
    """The answer once it comes from memory."""

    async def ask() -> httpx.Response:
        return await read(client, path, user)

    return await eventually(ask, lambda answer: answer.headers.get("x-cache") == "HIT")


async def soon(client: httpx.AsyncClient, path: str, status: int, text: str = "", user: User | None = None) -> None:
    async def ask() -> httpx.Response:
        return await read(client, path, user)

    await eventually(ask, lambda answer: answer.status_code == status and text in answer.text, seconds=SOON_SECONDS)


def path_of(collection: str, id: str = "") -> str:
    return f"/api/collections/{collection}/records" + (f"/{id}" if id else "")


async def test_a_read_is_asked_once_and_then_answered_from_memory_with_the_same_body(scene: Scene) -> None:
    posts = await scene.collection()
    id = await scene.record(posts, title="first")
    for path in (path_of(posts, id), path_of(posts), f"{path_of(posts)}?filter=title='first'&page=1"):
        answer = await kept(scene.here, path)
        assert answer.json() == (await scene.direct.get(path)).json()


async def test_a_change_made_directly_counts_in_both_processes_within_a_second(scene: Scene) -> None:
    posts = await scene.collection()
    id = await scene.record(posts, title="first")
    for client in (scene.here, scene.there):
        await kept(client, path_of(posts, id))
    await scene.changed(posts, id, title="second")
    for client in (scene.here, scene.there):
        await soon(client, path_of(posts, id), 200, '"second"')
