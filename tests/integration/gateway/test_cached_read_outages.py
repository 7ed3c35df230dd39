"""What two processes answer while the record feed, NATS or PocketBase is away, and what they believe afterwards."""

import os
import signal
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from uuid import uuid4

import httpx
import pytest

from tests.eventually import eventually, not_later_than
from tests.servers.gateway import GatewayServer, User, signed_up
from tests.servers.gateway import prepare as prepare_for_gateway
from tests.servers.nats import nats_process
from tests.servers.natsync import Stack, prepare, stack
from tests.servers.process import server
from tests.session_client import RECORDS, bearing, sign_in, two_gateways

EVERYBODY: dict[str, str] = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
MEMBERS: dict[str, str] = dict.fromkeys(("listRule", "viewRule"), "@request.auth.id != ''")


@dataclass(slots=True)
class Platform:
    """What the two processes stand on; natsync and NATS can be hurt and brought back."""

    stack: Stack
    servers: tuple[GatewayServer, GatewayServer]
    superuser_token: str
    nats: ExitStack
    natsync: ExitStack
    process_ids: dict[str, int]

    def start_nats(self) -> None:
        running = nats_process(self.stack.directory / "nats.conf", self.stack.nats_port, self.stack.home / "nats.log")
        self.process_ids["nats"] = self.nats.enter_context(running).pid

    def start_natsync(self) -> None:
        command = [sys.executable, "-m", "natsync", "serve"]
        log, told = self.stack.home / "natsync.log", self.stack.environment
        running = server(command, port=self.stack.port, log=log, environment=told)
        self.process_ids["natsync"] = self.natsync.enter_context(running).pid

    def hurt(self, way: str) -> None:
        name, number = {
            "natsync stands still": ("natsync", signal.SIGSTOP),
            "natsync is killed": ("natsync", signal.SIGKILL),
            "NATS is killed": ("nats", signal.SIGKILL),
        }[way]
        os.kill(self.process_ids[name], number)

    def mend(self, way: str) -> None:
        match way:
            case "natsync stands still":
                os.kill(self.process_ids["natsync"], signal.SIGCONT)
            case "natsync is killed":
                self.natsync.close()
                self.start_natsync()
            case _:
                self.nats.close()
                self.start_nats()


@pytest.fixture(scope="module")
def platform(valkey_url: str) -> Generator[Platform]:
    with ExitStack() as running:
        whole = running.enter_context(stack())
        done = whole.command("bootstrap")
        assert done.returncode == 0, done.stderr
        prepare(whole.pocketbase)
        token = prepare_for_gateway(whole.pocketbase)
        creds = str(whole.directory / "creds" / "gateway.creds")
        told = {"NATS_URL": whole.nats_url, "GATEWAY_NATS_CREDS": creds}
        servers = running.enter_context(two_gateways(whole.pocketbase, valkey_url, **told))
        nats, natsync = running.enter_context(ExitStack()), running.enter_context(ExitStack())
        platform = Platform(whole, servers, token, nats, natsync, {})
        platform.start_nats()
        platform.start_natsync()
        yield platform


@dataclass(frozen=True, slots=True)
class Scene:
    """Both processes, PocketBase as its superuser, and a record that everybody may read and one for members."""

    clients: tuple[httpx.AsyncClient, httpx.AsyncClient]
    direct: httpx.AsyncClient
    public: str
    members: str

    async def change(self, path: str, title: str) -> None:
        (await self.direct.patch(path, json={"title": title})).raise_for_status()

    async def is_kept_by_all(self, path: str, user: User | None = None) -> None:
        for client in self.clients:
            await eventually(lambda client=client: outcome(client, path, user), lambda told: told == "HIT", seconds=30)

    async def are_true_after_a_second(self, path: str, title: str, user: User | None = None) -> None:
        for client in self.clients:
            await not_later_than(1, lambda client=client: read(client, path, user), lambda told: title in told.text)


@pytest.fixture
async def scene(platform: Platform) -> AsyncGenerator[Scene]:
    here, there = platform.servers
    async with (
        httpx.AsyncClient(base_url=here.url, timeout=20) as first,
        httpx.AsyncClient(base_url=there.url, timeout=20) as second,
        httpx.AsyncClient(
            base_url=platform.stack.pocketbase.url, timeout=20, headers=bearing(platform.superuser_token)
        ) as direct,
    ):
        paths = [await record_of(direct, rules) for rules in (EVERYBODY, MEMBERS)]
        found = Scene((first, second), direct, *paths)
        await found.is_kept_by_all(found.public)
        yield found


async def record_of(direct: httpx.AsyncClient, rules: dict[str, str]) -> str:
    """The path of one record, in a collection of its own."""
    name = f"posts_{uuid4().hex[:8]}"
    fields = [{"name": "title", "type": "text"}]
    made = await direct.post("/api/collections", json={"name": name, "type": "base", "fields": fields, **rules})
    made.raise_for_status()
    record = await direct.post(f"/api/collections/{name}/records", json={"title": "first"})
    return f"/api/collections/{name}/records/{record.json()['id']}"


async def read(client: httpx.AsyncClient, path: str, user: User | None = None) -> httpx.Response:
    return await client.get(path, headers=user.headers if user else {})


async def outcome(client: httpx.AsyncClient, path: str, user: User | None = None) -> str:
    return (await read(client, path, user)).headers.get("x-cache", "")


@pytest.mark.parametrize("way", ["natsync stands still", "natsync is killed", "NATS is killed"])
async def test_without_the_feed_pocketbase_is_asked_and_afterwards_nobody_is_believed_unasked(
    platform: Platform, scene: Scene, way: str
) -> None:
    ann, bob, carl = [await signed_up(scene.clients[0], name=name) for name in ("ann", "bob", "carl")]
    for user in (ann, bob, carl):
        await scene.is_kept_by_all(scene.members, user)
    platform.hurt(way)
    await scene.change(scene.public, "without")
    await scene.are_true_after_a_second(scene.public, '"without"')
    for number in range(10):
        await scene.change(scene.public, f"title {number}")
        for client in scene.clients:
            answer = await read(client, scene.public)
            assert (answer.headers["x-cache"], answer.json()["title"]) == ("BYPASS", f"title {number}")
    await scene.direct.delete(f"{RECORDS}/{ann.id}")
    new = {"password": "another password", "passwordConfirm": "another password"}
    await scene.direct.patch(f"{RECORDS}/{bob.id}", json=new)
    written = await scene.clients[0].patch(scene.public, json={"title": "by carl"}, headers=carl.headers)
    assert written.status_code == 200
    for client in scene.clients:
        assert (await read(client, scene.public)).json()["title"] == "by carl"
        for user in (ann, bob):
            assert (await read(client, scene.members, user)).status_code == 404
    platform.mend(way)
    await scene.is_kept_by_all(scene.public)
    again = replace(bob, token=await sign_in(scene.clients[0], replace(bob, password=new["password"])))
    for user in (again, carl):
        await scene.is_kept_by_all(scene.members, user)
    for client in scene.clients:
        assert (await read(client, scene.public)).json()["title"] == "by carl"
        for user in (ann, bob):
            assert (await read(client, scene.members, user)).status_code == 404, "what is kept is for another session"
            assert (await client.get("/sessions", headers=user.headers)).status_code == 401


async def test_what_anybody_may_read_stands_in_for_a_pocketbase_that_is_away(platform: Platform, scene: Scene) -> None:
    """The last one, since PocketBase does not come back."""
    client = scene.clients[0]
    ann = await signed_up(client)
    mine = f"{RECORDS}/{ann.id}"
    await scene.is_kept_by_all(mine, ann)
    os.kill(platform.stack.pocketbase.process_id, signal.SIGKILL)
    await eventually(lambda: outcome(client, scene.public), lambda told: told == "STALE", seconds=10)
    answer = await read(client, scene.public)
    assert (answer.status_code, answer.json()["title"], answer.headers["x-cache"]) == (200, "first", "STALE")
    assert int(answer.headers["age"]) >= 0
    as_member = await read(client, scene.public, ann)
    assert (as_member.status_code, as_member.headers["x-cache"]) == (200, "STALE")
    refused = await read(client, mine, ann)
    assert refused.status_code == 503
    assert (await read(client, f"{scene.public[:-1]}_")).status_code == 503
