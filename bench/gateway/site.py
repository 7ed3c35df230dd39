"""PocketBase with one user's posts, and everything that a gateway in front of it needs."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from bench.gateway.load import Target
from bench.gateway.peers import REPOSITORY, WORKERS
from tests.eventually import eventually
from tests.servers.gateway import PASSWORD, GatewayServer, gateway_server, prepare, signed_up
from tests.servers.natsync import Stack, running_stack
from tests.servers.pocketbase import PocketBaseServer
from tests.servers.process import directory
from tests.servers.valkey import valkey_server

ROWS = 30
KEPT: Final = "posts"
PASSED_ON: Final = "live"
"""A collection like the other; but its records are declared to be changed by hooks, so that none may be kept."""

PLENTY = json.dumps({name: {"limit": 60_000_000, "every": 60_000} for name in ("view", "list")})
SIGNED_IN = "@request.auth.id != ''"


@dataclass(frozen=True, slots=True)
class Site:
    """The user's tokens: the gateway's for the gateway, PocketBase's for all who pass it on."""

    stack: Stack
    gateway: GatewayServer
    home: Path
    gateway_token: str
    pocketbase_token: str
    ids: Mapping[str, str]

    @property
    def pocketbase(self) -> PocketBaseServer:
        return self.stack.pocketbase

    @property
    def pocketbase_port(self) -> int:
        return urlsplit(self.pocketbase.url).port or 80

    def view(self, collection: str) -> str:
        return f"{self.list(collection)}/{self.ids[collection]}"

    def list(self, collection: str) -> str:
        return f"/api/collections/{collection}/records"

    def from_gateway(self, path: str) -> Target:
        return Target("gateway", self.gateway.url + path, self.gateway_token, self.gateway.process_id)

    def from_pocketbase(self, path: str) -> Target:
        server = self.pocketbase
        return Target("PocketBase", server.url + path, self.pocketbase_token, server.process_id)

    def from_peer(self, name: str, server: tuple[str, int], path: str) -> Target:
        return Target(name, server[0] + path, self.pocketbase_token, server[1])


@asynccontextmanager
async def open_site(*, module: str = "gateway", workers: int = WORKERS) -> AsyncGenerator[Site]:
    """`module` is what is run as the gateway."""
    with ExitStack() as running:
        home = running.enter_context(directory())
        valkey_url, stack = running.enter_context(valkey_server()), running.enter_context(running_stack())
        superuser_token = prepare(stack.pocketbase)
        changed = {
            "NATS_URL": stack.nats_url,
            "GATEWAY_NATS_CREDS": str(stack.directory / "creds" / "gateway.creds"),
            "GATEWAY_WORKERS": str(workers),
            "PYTHONPATH": str(REPOSITORY),
            "GATEWAY_RATE_LIMITS": PLENTY,
            "GATEWAY_ENRICHED_COLLECTIONS": PASSED_ON,
        }
        async with httpx.AsyncClient(base_url=stack.pocketbase.url, timeout=30, trust_env=False) as control:
            control.headers["Authorization"] = superuser_token
            ids = {name: await filled(control, name) for name in (KEPT, PASSED_ON)}
        gateway = running.enter_context(gateway_server(stack.pocketbase, valkey_url, changed, module=module))
        tokens = await signed_in(gateway.url, stack.pocketbase.url)
        yield Site(stack, gateway, home, *tokens, ids)


async def filled(control: httpx.AsyncClient, collection: str) -> str:
    """Makes it, with its rows; the id of the last."""
    fields = [{"name": name, "type": "text"} for name in ("title", "body", "owner")]
    numbers = [{"name": name, "type": "number"} for name in ("likes", "views")]
    rules = {"listRule": SIGNED_IN, "viewRule": SIGNED_IN}
    body: dict[str, Any] = {"name": collection, "type": "base", "fields": [*fields, *numbers], **rules}
    (await control.post("/api/collections", json=body)).raise_for_status()
    answer = httpx.Response(404)
    for row in range(ROWS):
        post = {"title": f"post {row}", "body": "words " * 40, "owner": "ann", "likes": row, "views": row * 10}
        answer = await control.post(f"/api/collections/{collection}/records", json=post)
        answer.raise_for_status()
    return answer.json()["id"]


async def signed_in(gateway_url: str, pocketbase_url: str) -> tuple[str, str]:
    async with (
        httpx.AsyncClient(base_url=gateway_url, timeout=30, trust_env=False) as client,
        httpx.AsyncClient(base_url=pocketbase_url, timeout=30, trust_env=False) as direct,
    ):
        user = await signed_up(client)
        credentials = {"identity": user.email, "password": PASSWORD}
        answer = await direct.post("/api/collections/users/auth-with-password", json=credentials)
        return user.token, answer.raise_for_status().json()["token"]


async def checked(site: Site, path: str, x_cache: str) -> httpx.Response:
    """The gateway's answer, once it comes from where it should; it says what PocketBase says."""
    ours, direct = site.from_gateway(path), site.from_pocketbase(path)
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        answer = await eventually(
            lambda: client.get(ours.url, headers={"Authorization": ours.token}),
            lambda answer: answer.status_code == 200 and answer.headers["x-cache"] == x_cache,
        )
        assert answer.json() == (await client.get(direct.url, headers={"Authorization": direct.token})).json()
    return answer
