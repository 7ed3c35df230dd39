"""What is answered while the record feed, NATS or PocketBase is away; each test has servers of its own to end."""

import os
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import httpx

from tests.eventually import eventually
from tests.servers.gateway import GatewayServer, gateway_server, signed_up
from tests.servers.gateway import prepare as prepare_for_gateway
from tests.servers.natsync import Stack, prepare, stack

POSTS = "/api/collections/posts/records"
RULES = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")


class Parts:
    """A gateway and what it hears, which can be ended one by one."""

    def __init__(self, whole: Stack, gateway: GatewayServer, natsync: ExitStack, nats: ExitStack) -> None:
        self.stack = whole
        self.gateway = gateway
        self.natsync = natsync
        self.nats = nats


@contextmanager
def parts(valkey_url: str) -> Generator[Parts]:
    with ExitStack() as running:
        whole = running.enter_context(stack())
        done = whole.command("bootstrap")
        assert done.returncode == 0, done.stderr
        prepare(whole.pocketbase)
        prepare_for_gateway(whole.pocketbase)
        nats, natsync = running.enter_context(ExitStack()), running.enter_context(ExitStack())
        nats.enter_context(whole.nats())
        natsync.enter_context(whole.serving())
        creds = str(whole.directory / "creds" / "gateway.creds")
        changed = {"NATS_URL": whole.nats_url, "GATEWAY_NATS_CREDS": creds}
        gateway = running.enter_context(gateway_server(whole.pocketbase, valkey_url, changed))
        yield Parts(whole, gateway, natsync, nats)


@asynccontextmanager
async def scene(running: Parts) -> AsyncGenerator[tuple[httpx.AsyncClient, httpx.AsyncClient, str]]:
    """The gateway, PocketBase as its superuser, and the path of a record that anybody may read, which is kept."""
    known = running.stack.pocketbase
    async with (
        httpx.AsyncClient(base_url=running.gateway.url, timeout=20) as client,
        httpx.AsyncClient(base_url=known.url, timeout=20) as direct,
    ):
        login = {"identity": known.email, "password": known.password}
        answer = await direct.post("/api/collections/_superusers/auth-with-password", json=login)
        direct.headers["Authorization"] = answer.json()["token"]
        fields = [{"name": "title", "type": "text"}]
        await direct.post("/api/collections", json={"name": "posts", "type": "base", "fields": fields, **RULES})
        made = await direct.post(POSTS, json={"title": "0"})
        path = f"{POSTS}/{made.json()['id']}"
        await eventually(lambda: outcome(client, path), lambda told: told == "HIT")
        yield client, direct, path


async def outcome(client: httpx.AsyncClient, path: str) -> str:
    return (await client.get(path)).headers.get("x-cache", "")


async def is_bypassed_and_true(client: httpx.AsyncClient, direct: httpx.AsyncClient, path: str) -> None:
    for number in range(10):
        title = f"title {number}"
        await direct.patch(path, json={"title": title})
        answer = await client.get(path)
        assert (answer.headers["x-cache"], answer.json()["title"]) == ("BYPASS", title)


async def test_without_the_feed_every_read_is_asked_of_pocketbase_until_it_is_back(valkey_url: str) -> None:
    with parts(valkey_url) as running:
        async with scene(running) as (client, direct, path):
            running.natsync.close()
            await eventually(lambda: outcome(client, path), lambda told: told == "BYPASS", seconds=2)
            await is_bypassed_and_true(client, direct, path)
            running.natsync.enter_context(running.stack.serving())
            await eventually(lambda: outcome(client, path), lambda told: told == "HIT", seconds=30)
            assert (await client.get(path)).json()["title"] == "title 9"


async def test_without_nats_every_read_is_asked_of_pocketbase_and_writes_go_on(valkey_url: str) -> None:
    with parts(valkey_url) as running:
        async with scene(running) as (client, direct, path):
            running.nats.close()
            await eventually(lambda: outcome(client, path), lambda told: told == "BYPASS", seconds=2)
            await is_bypassed_and_true(client, direct, path)
            user = await signed_up(client)
            written = await client.patch(path, json={"title": "by ann"}, headers=user.headers)
            assert written.status_code == 200
            assert (await client.get(path)).json()["title"] == "by ann"


async def test_what_anybody_may_read_stands_in_for_a_pocketbase_that_is_away(valkey_url: str) -> None:
    with parts(valkey_url) as running:
        async with scene(running) as (client, _, path):
            user = await signed_up(client)
            mine = f"/api/collections/users/records/{user.id}"

            async def of_mine() -> str:
                return (await client.get(mine, headers=user.headers)).headers.get("x-cache", "")

            await eventually(of_mine, lambda told: told == "HIT")
            os.kill(running.stack.pocketbase.process_id, signal.SIGKILL)
            await eventually(lambda: outcome(client, path), lambda told: told == "STALE", seconds=10)
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["title"], answer.headers["x-cache"]) == (200, "0", "STALE")
            assert int(answer.headers["age"]) >= 0
            refused = await client.get(mine, headers=user.headers)
            assert refused.status_code == 503
            assert (await client.get(f"{POSTS}/never_asked_for")).status_code == 503
